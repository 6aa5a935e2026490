/** An app that has the client alone, by `import`: no types of any runtime, and nothing but what the web has. */
import { type Change, createClient, type Issue, LastwordError, type MessageToTrack } from 'lastword-client'

declare const process: { env: Record<'LASTWORD_URL' | 'LASTWORD_API_KEY', string> }

const { LASTWORD_URL: url, LASTWORD_API_KEY: apiKey } = process.env
const lastword = createClient({ url, apiKey })

const sent: MessageToTrack[] = [
  { messageId: 77232007287, sentAt: new Date(), recipient: '+491701234567', metadata: { parcel: 4711 } },
  { messageId: null, recipient: undefined },
]
const {
  tracked,
  alreadyTracked,
  refused = [],
} = await lastword.track({
  account: 'seven',
  messages: sent,
  partial: true,
})
console.log('tracked', tracked, alreadyTracked, refused.map(({ index }) => index).join())

const receipt = 'webhook_event=dlr&msg_id=77232007287&status=DELIVERED&timestamp=2026-01-31+11:00:05'
await fetch(`${url}/webhooks/seven?${receipt}`)
const told: Change[] = []
for await (const { changes } of lastword.changes()) {
  told.push(...changes)
  if (told.some(({ final }) => final)) break
}
for (const { messageId, status, metadata } of told) console.log('changed', messageId, status, metadata?.parcel)

const { reports, settledBy } = await lastword.get('seven', '77232007287')
console.log('reports', reports.length, reports[0]?.rawStatus, settledBy)
for await (const { messageId } of lastword.list({ account: 'seven' })) console.log('listed', messageId)

try {
  await lastword.track({ account: 'seven', messages: [{ messageId: ' ' }] })
} catch (error) {
  if (!(error instanceof LastwordError)) throw error
  const issues: Issue[] = error.issues ?? []
  console.log('failed', error.code, error.status, error.retryable, issues.map(({ path }) => path).join())
}

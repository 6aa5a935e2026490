/** Signed delivery receipts over real HTTP, as the sandbox provider signs them. */
import { createHash, createHmac, randomUUID } from 'node:crypto'
import { afterEach, expect, it } from 'vitest'
import {
  closeAll,
  createInstallation,
  minutesAgo,
  ONE_MINUTE,
  openSandbox,
  type Service,
  sevenAccount,
  startService,
  statusesOf,
  trackOver,
  truthsOf,
  until,
} from '../support/service.ts'
import { freePort } from '../support/services.ts'

afterEach(closeAll)

const KEY = 'the-signing-key'
const RECEIPT = (messageId: string, status = 'DELIVERED') =>
  JSON.stringify({ webhook_event: 'dlr', data: { msg_id: messageId, status, timestamp: '2026-01-31 10:00:00.000' } })

async function startSigned(more: object = {}, signingKey = KEY): Promise<{ service: Service; publicUrl: string }> {
  const port = await freePort()
  const publicUrl = `http://127.0.0.1:${port}`
  const sandbox = { url: 'http://127.0.0.1:9/api', apiKey: 'unused' }
  const account = sevenAccount(sandbox, { query: 'off', signingKey, ...more })
  const installation = await createInstallation('postgres')
  const environment = { PORT: String(port), PUBLIC_URL: publicUrl }
  const parts = { api: true, workers: false }
  return { service: await startService({ installation, accounts: [account], parts, environment }), publicUrl }
}

interface Signed {
  url: string
  body: string
  headers: Record<string, string>
}

function sign(url: string, body: string, { key = KEY, at = Date.now(), nonce = randomUUID() as string } = {}): Signed {
  const timestamp = String(Math.floor(at / 1000))
  const digest = createHash('md5').update(body).digest('hex')
  const signed = [timestamp, nonce, 'POST', url, digest].join('\n')
  const signature = createHmac('sha256', key).update(signed).digest('hex')
  return { url, body, headers: { 'x-signature': signature, 'x-timestamp': timestamp, 'x-nonce': nonce } }
}

async function send({ url, body, headers }: Signed): Promise<number> {
  const response = await fetch(url, { method: 'POST', body, headers })
  await response.arrayBuffer()
  return response.status
}

it('takes honest receipts and their retries, and refuses whatever is not', async () => {
  const { service, publicUrl } = await startSigned()
  const url = `${publicUrl}/webhooks/seven`
  const body = RECEIPT('77232007287')
  await trackOver(service.url, ['77232007287', '77232007288'])
  const honest = sign(url, body)

  expect(await send(sign(url, body, { key: 'another-key' }))).toBe(401)
  expect(await send(sign(url, body, { at: Date.now() - 3_660_000 }))).toBe(401)
  expect(await send({ ...honest, url: `${url}?changed=1` })).toBe(401)
  expect(await send({ ...honest, body: body.replace('77232007287', '77232007288') })).toBe(401)
  expect(await send({ ...honest, headers: {} })).toBe(401)
  expect(await statusesOf(service)).toEqual({ '77232007287': null, '77232007288': null })

  expect(await send(honest)).toBe(200)
  expect(await send(honest)).toBe(200)
  const replay = sign(url, RECEIPT('77232007288'), { nonce: honest.headers['x-nonce'] ?? '' })
  expect(await send(replay)).toBe(401)
  expect(await send(sign(url, RECEIPT('77232007288', 'FAILED')))).toBe(200)
  expect(await statusesOf(service)).toEqual({ '77232007287': 'delivered', '77232007288': 'failed' })
})

it('takes everything the provider sends, signed over the URL or over the path', async () => {
  for (const signatureUrl of ['full', 'path'] as const) {
    const { service, publicUrl } = await startSigned()
    const sandbox = await openSandbox({ law: ONE_MINUTE, knobs: { signingKey: KEY, signatureUrl, webhookNoise: 0.2 } })
    const sentAt = minutesAgo(10)
    const messageIds = sandbox.send(40, { sentAt: new Date() })
    await trackOver(service.url, messageIds, { sentAt })
    sandbox.set({ webhookUrl: `${publicUrl}/webhooks/seven` })
    const past = sandbox.send(40, { sentAt })
    await trackOver(service.url, past, { sentAt })
    await until(async () => {
      const statuses = await statusesOf(service)
      const truths = truthsOf(sandbox)
      expect(past.map((messageId) => statuses[messageId])).toEqual(past.map((messageId) => truths[messageId]))
    })
    expect(sandbox.stats().webhooks).toMatchObject({ refused: 0, exhausted: 0 })
    await closeAll()
  }
})

/**
 * Everything that the sandbox can play is read by the service: each form of each provider's receipts in each encoding,
 * noise in between, and answers to status queries in every disguise.
 */
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { WEBHOOK_ENCODINGS } from '../../src/sandbox/encodings.ts'
import { CM_WEBHOOK_FORMS, type KnobsPatch, SEVEN_WEBHOOK_FORMS } from '../../src/sandbox/knobs.ts'
import type { Sandbox } from '../../src/sandbox/server.ts'
import { type Api, startApi } from '../support/api.ts'
import {
  allSettled,
  closeAll,
  minutesAgo,
  ONE_MINUTE,
  openSandbox,
  type Service,
  sevenAccount,
  startService,
  statusesOf,
  trackOver,
  truthsOf,
} from '../support/service.ts'

const FAST = { timeScale: 864_000, neverShare: 0 }
const SIGNING_KEY = 'a-signing-key'
describe('receipts', () => {
  let api: Api
  let sandbox: Sandbox

  beforeAll(async () => {
    const accounts = [
      { name: 'seven', provider: 'seven', apiKey: 'a-key' },
      { name: 'signed', provider: 'seven', apiKey: 'a-key', signingKey: SIGNING_KEY },
      { name: 'cm', provider: 'cm', productToken: 'a-token' },
    ]
    sandbox = await openSandbox({ seed: 11, law: FAST })
    api = await startApi({ ACCOUNTS: JSON.stringify(accounts), PUBLIC_URL: 'http://sms.example' })
  })
  afterAll(async () => {
    await closeAll()
    await api?.close()
  })

  const finalOf = async (account: string, messageId: string) => {
    const { body } = await api.get(`/v1/messages/${account}/${messageId}`)
    return (body as { status: string }).status
  }

  it.each([...SEVEN_WEBHOOK_FORMS, 'mixed'] as const)(
    'of seven.io are read in every encoding, as %s',
    async (webhookForm) => {
      for (const webhookEncoding of WEBHOOK_ENCODINGS) {
        for (const account of ['seven', 'signed']) {
          const signing = { signingKey: account === 'signed' ? SIGNING_KEY : null, signatureUrl: 'path' } as const
          const webhookUrl = `${api.url}/webhooks/${account}`
          sandbox.set({ webhookUrl, webhookForm, webhookEncoding, webhookNoise: 0.5, ...signing })
          const [messageId = ''] = sandbox.send(1)
          await api.post('/v1/messages', { account, messages: [{ messageId }] })
          await sandbox.settled()
          expect([account, webhookEncoding, await finalOf(account, messageId)]).toEqual([
            account,
            webhookEncoding,
            sandbox.truth(messageId)?.finalStatus,
          ])
        }
      }
      const { webhooks, webhookNoise } = sandbox.stats()
      expect([webhooks.refused, webhooks.exhausted, webhookNoise.refused, webhookNoise.exhausted]).toEqual([0, 0, 0, 0])
    },
  )

  it.each([...CM_WEBHOOK_FORMS, 'mixed'] as const)(
    'of CM.com are read in every encoding, as %s',
    async (cmWebhookForm) => {
      sandbox.set({ webhookUrl: null })
      for (const webhookEncoding of WEBHOOK_ENCODINGS) {
        sandbox.set({ cmWebhookUrl: `${api.url}/webhooks/cm`, cmWebhookForm, webhookEncoding, webhookNoise: 0.5 })
        const keys = sandbox.cm.send(2)
        const messages = keys.map(({ messageId, recipient }) => ({ messageId, recipient: `+${recipient}` }))
        await api.post('/v1/messages', { account: 'cm', messages })
        await sandbox.settled()
        for (const { messageId, recipient } of keys) {
          const found = await finalOf('cm', messageId)
          const { finalStatuses } = sandbox.cm.truth(messageId, recipient) ?? { finalStatuses: [] }
          expect({ cmWebhookForm, webhookEncoding, right: finalStatuses.some((status) => status === found) }).toEqual({
            cmWebhookForm,
            webhookEncoding,
            right: true,
          })
        }
      }
      const { webhooks } = sandbox.stats().cm
      expect([webhooks.refused, webhooks.exhausted]).toEqual([0, 0])
    },
  )
})

const ANSWERS: Record<string, KnobsPatch> = {
  gzipped: { gzippedAnswers: true },
  moved: { moved: 'here' },
  'moved-and-gzipped': { moved: 'here', gzippedAnswers: true },
  'after-one-404': { httpError: { share: 1, status: 404, times: 1 } },
  'after-a-503-that-says-how-long': { httpError: { share: 1, status: 503, retryAfter: 2, times: 1 } },
  'after-a-burst-of-400': { httpError: { share: 1, status: 400, times: 8 } },
}

describe.concurrent('answers', () => {
  const sandboxes = new Map<string, Sandbox>()
  let service: Service
  beforeAll(async () => {
    for (const [name, knobs] of Object.entries(ANSWERS)) {
      sandboxes.set(name, await openSandbox({ law: ONE_MINUTE, knobs }))
    }
    const accounts = [...sandboxes].map(([name, sandbox]) => sevenAccount(sandbox, { name, requestsPerSecond: 50 }))
    service = await startService({ accounts })
  })
  afterAll(closeAll)

  it.each(Object.entries(ANSWERS))('settle every message: %s', { timeout: 40_000 }, async (account, knobs) => {
    const sandbox = sandboxes.get(account) ?? expect.fail('no sandbox')
    const sentAt = minutesAgo(10)
    await trackOver(service.url, sandbox.send(150, { sentAt }), { account, sentAt })
    await allSettled(service, account, 35_000)
    expect(await statusesOf(service, account)).toEqual(truthsOf(sandbox))
    expect(sandbox.stats().faults.httpError).toBe(knobs.httpError?.times ?? 0)
    const [row] = await service.sql`
      SELECT count(query_error)::int AS blamed FROM lastword.messages WHERE account = ${account}`
    expect(row?.blamed).toBe(0)
  })
})

/**
 * An invented provider, to keep true that one is added with a file of its own and a line in the registry. It differs
 * from the real ones in what providers are known to differ in:
 *
 * - its webhook brings several reports, signed with an HMAC of the body in the header `x-signature`;
 * - its status query is destructive: it hands out what has been reported since it was last asked, each report once,
 *   whatever window is asked about, and says how many are still waiting;
 * - its times are Unix milliseconds;
 * - it wants to see "OK" as the answer to a webhook;
 * - `"query": "single"` asks by one ID and the day of sending, where 404 means that the message is not there, every answer
 *   is paid for, and an error names its parameter; `"query": "pages"` asks by window, with pages that it names itself.
 */
import { createHmac, timingSafeEqual } from 'node:crypto'
import { z } from 'zod'
import { LastwordError, ProviderError } from '../../src/core/errors.ts'
import type { Status, StatusReport } from '../../src/core/status.ts'
import type { Account } from '../../src/providers/account.ts'
import { commonAccountFields, credentialSchema, signingKeySchema } from '../../src/providers/account.ts'
import { normalizePhoneNumber } from '../../src/providers/phone-number.ts'
import type { Nonce, Provider, StatusLookup, WebhookRequest } from '../../src/providers/provider.ts'
import { unfold } from '../../src/providers/receipt-content.ts'
import type { ProviderFixture } from './provider-conformance.ts'

interface ForgetfulAccount extends Account {
  provider: 'polls-and-forgets'
  user: string
  password: string
  signingKey: readonly string[]
}

const accountSchema = z
  .strictObject({
    ...commonAccountFields,
    provider: z.literal('polls-and-forgets'),
    user: z.string(),
    password: credentialSchema,
    signingKey: signingKeySchema,
    baseUrl: z.url({ protocol: /^https?$/ }).default('https://api.example.com'),
    query: z.enum(['auto', 'single', 'pages', 'off']).default('auto'),
  })
  .transform(({ timeout, ...account }): ForgetfulAccount => ({ ...account, timeoutMs: timeout }))

const STATUSES: ReadonlyMap<string, Status> = new Map<string, Status>([
  ['sent', 'transmitted'],
  ['arrived', 'delivered'],
  ['lost', 'undelivered'],
])

function normalizeId(messageId: string): string | undefined {
  const id = messageId.trim().toLowerCase()
  return /^m-\d{1,20}$/.test(id) ? id : undefined
}

const reportSchema = z.object({
  id: z.string().transform((id, context) => {
    const normal = normalizeId(id)
    if (normal !== undefined) return normal
    context.addIssue({ code: 'custom', message: 'expected a message ID' })
    return z.NEVER
  }),
  state: z.string().min(1),
  at: z.coerce.number().min(0).max(4_102_444_800_000),
})
const answerSchema = z.object({ reports: z.array(reportSchema), waiting: z.int().min(0) })

function reportsOf(
  account: Account,
  rows: z.infer<typeof reportSchema>[],
  source: StatusReport['source'],
): StatusReport[] {
  return rows.map(({ id, state, at }) => ({
    account: account.name,
    messageId: id,
    status: STATUSES.get(state) ?? 'accepted',
    rawStatus: state,
    occurredAt: new Date(at),
    source,
    ...(STATUSES.has(state) ? {} : { unmapped: true }),
  }))
}

function parse<T>(schema: z.ZodType<T>, text: string): T | undefined {
  try {
    return schema.safeParse(JSON.parse(text)).data
  } catch {
    return undefined
  }
}

export function signBody(signingKey: string, body: Buffer | string): string {
  return createHmac('sha256', signingKey).update(body).digest('hex')
}

function checkSignature({ signingKey }: ForgetfulAccount, { headers, body }: WebhookRequest): Nonce | undefined {
  const given = Buffer.from(String(headers['x-signature'] ?? ''))
  const fits = signingKey.some((key) => {
    const expected = Buffer.from(signBody(key, body))
    return given.length === expected.length && timingSafeEqual(given, expected)
  })
  if (fits) return undefined
  throw new LastwordError('UNAUTHORIZED', 'Expected x-signature to be the HMAC of the body.')
}

/** The objects with an ID, wherever they stand. */
function objectsIn(given: unknown): unknown[] {
  const value = unfold(given)
  if (typeof value !== 'object' || value === null) return []
  return 'id' in value ? [value] : Object.values(value).flatMap(objectsIn)
}

function headersOf({ user, password }: ForgetfulAccount) {
  return { authorization: `Basic ${Buffer.from(`${user}:${password}`).toString('base64')}` }
}

function readAnswer(text: string) {
  const answer = parse(answerSchema, text)
  if (!answer) throw new ProviderError('transient', 'the provider sent no list of reports')
  return answer
}

/** One ID and its day a request. */
function singleOf(account: ForgetfulAccount): StatusLookup {
  return {
    name: 'single',
    paidByRecord: true,
    byIds: {
      limits: { maxIds: 1, maxChars: 100 },
      async ask(http, [message], signal) {
        if (!message) return { reports: [], missing: [] }
        const { messageId, sentAt } = message
        const path = `/messages/${messageId}?day=${sentAt.toISOString().slice(0, 10)}`
        try {
          const { text } = await http.get(path, headersOf(account), signal)
          return { reports: reportsOf(account, readAnswer(text).reports, 'poll'), missing: [] }
        } catch (error) {
          if (!(error instanceof ProviderError)) throw error
          if (error.response?.status === 404) return { reports: [], missing: [messageId] }
          const wrong = parse(z.object({ parameter: z.enum(['day', 'id']) }), error.response?.text ?? '')
          throw wrong ? new ProviderError('request', `the provider refuses the parameter ${wrong.parameter}`) : error
        }
      },
    },
  }
}

/** Pages that only the provider can name. */
function pagesOf(account: ForgetfulAccount): StatusLookup {
  return {
    name: 'pages',
    byWindow: {
      maxSpanMs: account.polling.windowMs,
      slackMs: 0,
      pageSize: account.batchSize,
      async ask(http, { from, to, cursor }, signal) {
        const query = new URLSearchParams({ from: from.toJSON(), to: to.toJSON(), ...(cursor ? { cursor } : {}) })
        const { text } = await http.get(`/pages?${query}`, headersOf(account), signal)
        const next = parse(z.object({ next: z.string() }), text)?.next
        const reports = reportsOf(account, readAnswer(text).reports, 'poll')
        return { reports, noStatusYet: [], hasMore: next !== undefined, cursor: next }
      },
    },
  }
}

export const pollsAndForgets: Provider<ForgetfulAccount> = {
  name: 'polls-and-forgets',
  accountSchema,
  keyedByRecipient: false,
  idsMayRecur: false,
  messageIdRule: '"m-" and 1 to 20 digits',
  normalizeMessageId: normalizeId,
  normalizeRecipient: normalizePhoneNumber,
  webhookAnswer: { contentType: 'text/plain', body: 'OK' },
  lookups(account) {
    if (account.query === 'off') return []
    if (account.query === 'single') return [singleOf(account)]
    if (account.query === 'pages') return [pagesOf(account)]
    return [
      {
        name: 'inbox',
        readsOnce: true,
        byWindow: {
          maxSpanMs: account.polling.windowMs,
          slackMs: 0,
          pageSize: account.batchSize,
          async ask(http, _window, signal) {
            const { text } = await http.get(`/reports?most=${account.batchSize}`, headersOf(account), signal)
            const answer = readAnswer(text)
            const reports = reportsOf(account, answer.reports, 'poll')
            return { reports, noStatusYet: [], hasMore: answer.waiting > 0 && reports.length > 0 }
          },
        },
      },
    ]
  },
  verifyWebhook: checkSignature,
  readReceipts(account, content) {
    const rows = z.array(reportSchema).safeParse(objectsIn(content)).data
    if (!rows)
      return { reports: [], ignored: [], issues: [{ path: '', message: 'expected a list of {id, state, at}' }] }
    return { reports: reportsOf(account, rows, 'webhook'), ignored: rows.length > 0 ? [] : ['no reports'], issues: [] }
  },
}

const STATES: Readonly<Record<string, Status>> = { sent: 'transmitted', arrived: 'delivered', lost: 'undelivered' }
const rowOf = ({ messageId, status, time }: { messageId: string; status: string; time: string }) => ({
  id: messageId,
  state: status,
  at: Date.parse(time.endsWith('Z') ? time : `${time}Z`),
})
const TIMES = [
  { text: '2026-03-29T01:30:00.000Z', occurredAt: '2026-03-29T01:30:00.000Z' },
  { text: '2026-10-25T00:30:00.000Z', occurredAt: '2026-10-25T00:30:00.000Z' },
  { text: '2026-10-25T01:30:00.000Z', occurredAt: '2026-10-25T01:30:00.000Z' },
]

export const pollsAndForgetsFixture: ProviderFixture = {
  provider: pollsAndForgets as Provider<never>,
  entry: {
    name: 'third',
    provider: 'polls-and-forgets',
    user: 'me',
    password: 'password-91d34a6688e1c0b9f7d25f0c2b',
    signingKey: 'signing-key-4c3f2a1908d70b7d6a5e77',
  },
  secrets: ['password', 'signingKey'],
  credentials: ['password', 'signingKey'],
  messageIds: {
    normal: [
      ['m-1', 'm-1'],
      [' M-2', 'm-2'],
    ],
    refused: ['1', 'm-', 'm-x'],
  },
  recipients: [['+1 (555) 0100', '15550100']],
  webhook: {
    statuses: STATES,
    request: (account, body, receivedAt, query = '') => ({
      method: 'POST',
      publicUrl: 'https://example.com/webhooks/third',
      path: `/webhooks/third${query}`,
      headers: { 'x-signature': signBody(account.signingKey?.[0] ?? '', body) },
      body,
      receivedAt,
    }),
    body: (sample) => JSON.stringify([rowOf(sample)]),
    payloads: [rowOf({ messageId: 'm-1', status: 'arrived', time: '2026-06-15T12:00:00' })],
    times: TIMES.map((time) => ({ ...time, receivedAt: time.occurredAt })),
  },
  lookups: {
    inbox: {
      statuses: STATES,
      answer: (samples) => JSON.stringify({ reports: samples.map(rowOf), waiting: 0 }),
      times: TIMES,
    },
  },
}

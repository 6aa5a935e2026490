/**
 * seven.io: status query by many IDs, and delivery receipts by webhook.
 *
 * Sources: https://docs.seven.io/en/rest-api/endpoints/status and https://docs.seven.io/en/rest-api/webhooks.
 * Unconfirmed and therefore taken every way it may come: what an unknown ID does to a batch (a missing row, a null row,
 * an error for the whole request), IDs as numbers, error numbers inside a 200.
 */
import { z } from 'zod'
import { LastwordError, ProviderError } from '../core/errors.ts'
import type { Status, StatusReport } from '../core/status.ts'
import { commonAccountFields, credentialSchema } from './account.ts'
import type { ProviderHttp } from './http.ts'
import { parseLocalTime } from './local-time.ts'
import { normalizePhoneNumber } from './phone-number.ts'
import type { Account, Provider, StatusAnswer, WebhookReading, WebhookRequest } from './provider.ts'

export interface SevenAccount extends Account {
  provider: 'seven'
  apiKey: string
}

/** Times come without an offset, in the vendor's own time. */
const TIME_ZONE = 'Europe/Berlin'

/** The most characters of IDs in one URL: the whole URL stays under 4,000. */
const MAX_ID_CHARS = 3_700

/** Every status the API reports. UNKNOWN stands in the vendor's clients; nobody says that it is final. */
const STATUSES: Readonly<Record<string, Status>> = {
  ACCEPTED: 'accepted',
  TRANSMITTED: 'transmitted',
  BUFFERED: 'buffered',
  UNKNOWN: 'accepted',
  DELIVERED: 'delivered',
  NOTDELIVERED: 'undelivered',
  EXPIRED: 'expired',
  REJECTED: 'rejected',
  FAILED: 'failed',
}

const accountSchema = z
  .strictObject({
    ...commonAccountFields,
    provider: z.literal('seven'),
    apiKey: credentialSchema,
    baseUrl: z.url({ protocol: /^https?$/ }).default('https://gateway.seven.io/api'),
    query: z.enum(['auto', 'status', 'off']).default('auto'),
  })
  .transform(({ timeout, ...account }): SevenAccount => ({ ...account, timeoutMs: timeout }))

export const seven: Provider<SevenAccount> = {
  name: 'seven',
  accountSchema,
  keyedByRecipient: false,
  messageIdRule: '1 to 64 letters, digits, dots, hyphens and underscores, as in "77232007287"',
  normalizeMessageId(messageId) {
    const id = messageId.trim()
    return isMessageId(id) ? id : undefined
  },
  normalizeRecipient: normalizePhoneNumber,
  lookups(account) {
    if (account.query === 'off') return []
    return [
      {
        name: 'status',
        byIds: {
          limits: { maxIds: account.batchSize, maxChars: MAX_ID_CHARS },
          ask: (http, messageIds, signal) => queryStatuses(http, account, messageIds, signal),
        },
      },
    ]
  },
  readWebhook: readDeliveryReceipt,
}

function isMessageId(text: string): boolean {
  return /^[A-Za-z0-9._-]{1,64}$/.test(text)
}

async function queryStatuses(
  http: ProviderHttp,
  account: SevenAccount,
  messageIds: readonly string[],
  signal: AbortSignal,
): Promise<StatusAnswer> {
  const path = `/status?msg_id=${messageIds.map(encodeURIComponent).join(',')}`
  const { text } = await http.get(path, { 'X-Api-Key': account.apiKey, Accept: 'application/json' }, signal)
  return parseStatusAnswer(account.name, messageIds, text, new Date())
}

const idSchema = z.union([z.string(), z.number()]).transform((id) => String(id).trim())
/** Whatever is not a text stands for none, so that no report is refused for its time or for what else comes with it. */
const optionalTextSchema = z.string().nullish().catch(null)
const statusRowSchema = z.looseObject({
  id: idSchema,
  status: z.union([z.string(), z.number().transform(String)]).nullish(),
  status_time: optionalTextSchema,
})

/** Reads the answer to a status query. Rows that nobody asked for are passed over. */
export function parseStatusAnswer(
  account: string,
  messageIds: readonly string[],
  text: string,
  receivedAt: Date,
): StatusAnswer {
  const answer = parseJson(text)
  throwIfErrorCode(answer)
  const missing = new Set(messageIds)
  const reports: StatusReport[] = []
  for (const { id, status, status_time } of readRows(answer)) {
    if (!missing.delete(id) || !status) continue
    const occurredAt = (status_time && parseLocalTime(status_time, TIME_ZONE)) || receivedAt
    reports.push({ account, messageId: id, ...readStatus(status), occurredAt, source: 'poll' })
  }
  return { reports, missing: [...missing] }
}

/** The rows that can be read: one that cannot, or a null in its place, must not cost the others their reports. */
function readRows(answer: unknown): z.infer<typeof statusRowSchema>[] {
  const rows = Array.isArray(answer) ? answer.filter((row) => row !== null) : undefined
  const readable = rows?.flatMap((row) => statusRowSchema.safeParse(row).data ?? [])
  if (!readable || (readable.length === 0 && rows?.length !== 0)) {
    throw new ProviderError('transient', 'the provider sent an answer that is not a list of {id, status, status_time}')
  }
  return readable
}

function parseJson(text: string): unknown {
  try {
    return JSON.parse(text)
  } catch {
    const found = text.trim() === '' ? 'an empty body' : `${text.length} characters that are not JSON`
    throw new ProviderError('transient', `the provider sent ${found}`)
  }
}

/** Codes of https://docs.seven.io/en/rest-api/response-codes that say more than "it did not work". */
const ERROR_CODES: Readonly<Record<string, readonly ['account' | 'request', string]>> = {
  403: ['account', 'the limit of the account is reached'],
  600: ['request', 'carrier or sending error, or an unknown message ID'],
  900: ['account', 'the API key is wrong'],
  901: ['request', 'a message ID is wrong'],
  902: ['account', 'the API key lacks the right to use this interface'],
  903: ['account', 'the IP address is not allowed'],
}

/** Errors often come with HTTP 200: a bare number, a quoted number, or an object with `code` or `error_code`. */
function throwIfErrorCode(answer: unknown): void {
  const value = typeof answer === 'object' && answer !== null && !Array.isArray(answer) ? codeOf(answer) : answer
  if (typeof value !== 'string' && typeof value !== 'number') return
  const code = String(value).trim()
  const known = Object.hasOwn(ERROR_CODES, code) ? ERROR_CODES[code] : undefined
  const [kind, meaning] = known ?? (['transient', 'an error without a known meaning'] as const)
  throw new ProviderError(kind, `the provider answered with code ${code.slice(0, 20)}: ${meaning}`)
}

function codeOf(answer: object): unknown {
  return 'code' in answer ? answer.code : 'error_code' in answer ? answer.error_code : undefined
}

/** A status not in the table is kept raw and taken as intermediate: more may come. */
function readStatus(raw: string): Pick<StatusReport, 'status' | 'rawStatus' | 'unmapped'> {
  const status = STATUSES[raw.trim().toUpperCase()]
  return status ? { status, rawStatus: raw } : { status: 'accepted', rawStatus: raw, unmapped: true }
}

const receiptSchema = z.looseObject({
  webhook_event: z.string(),
  webhook_timestamp: optionalTextSchema,
  data: z.unknown().optional(),
})
const receiptDataSchema = z.looseObject({
  msg_id: idSchema.refine(isMessageId, 'expected a message ID'),
  status: z.string().min(1),
  timestamp: optionalTextSchema,
  foreign_id: z.union([z.string(), z.number()]).nullish().catch(null),
})

function readDeliveryReceipt(account: SevenAccount, request: WebhookRequest): WebhookReading {
  if (request.body.length === 0) return { reports: [], ignored: 'the body is empty' }
  const receipt = checkReceipt(receiptSchema, parseReceiptJson(request.body), [])
  if (receipt.webhook_event !== 'dlr') return { reports: [], ignored: `the event is not dlr` }
  const { msg_id, status, timestamp, foreign_id } = checkReceipt(receiptDataSchema, receipt.data, ['data'])
  const announcedAt = receipt.webhook_timestamp ? parseLocalTime(receipt.webhook_timestamp, TIME_ZONE) : undefined
  const occurredAt = (timestamp && parseLocalTime(timestamp, TIME_ZONE, announcedAt)) || announcedAt
  const report: StatusReport = {
    account: account.name,
    messageId: msg_id,
    ...readStatus(status),
    occurredAt: occurredAt ?? request.receivedAt,
    source: 'webhook',
    ...(foreign_id ? { details: { foreignId: String(foreign_id) } } : {}),
  }
  return { reports: [report] }
}

function parseReceiptJson(body: Buffer): unknown {
  try {
    return JSON.parse(body.toString('utf8'))
  } catch {
    throw new LastwordError(
      'INPUT_INVALID',
      `Expected a JSON delivery receipt, found ${body.length} bytes that are not JSON.`,
    )
  }
}

function checkReceipt<T>(schema: z.ZodType<T>, value: unknown, parent: string[]): T {
  const result = schema.safeParse(value)
  if (result.success) return result.data
  const issues = result.error.issues.map(({ path, message }) => ({ path: [...parent, ...path].join('.'), message }))
  throw new LastwordError(
    'INPUT_INVALID',
    'Expected a delivery receipt {"webhook_event":"dlr","data":{"msg_id","status","timestamp"}}.',
    { issues },
  )
}

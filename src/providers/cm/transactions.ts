/**
 * CM.com's transactions API: everything sent in a window of time, page by page, whatever its reference. One page
 * answers for a thousand messages, so it is never asked by single references.
 *
 * Seen in working code, not in documents: the names of the parameters, `page` (taken to count from 1) and the time zone
 * of `startdate` and `enddate`, which are given in local time as everything else at CM is.
 */
import { Temporal } from 'temporal-polyfill'
import { z } from 'zod'
import { ProviderError } from '../../core/errors.ts'
import { isFinal, type Status, type StatusReport } from '../../core/status.ts'
import type { ProviderHttp } from '../http.ts'
import { readJson } from '../json-text.ts'
import { parseLocalTime } from '../local-time.ts'
import type { LookupByWindow, WindowAnswer } from '../provider.ts'
import { CM_TIME_ZONE, type CmAccount, normalizeReference, readRecipient } from './account.ts'

/** Another scale than the webhook's. That 22 is a refusal and 40 a failed delivery is unconfirmed; both are final. */
const STATUSES: Readonly<Record<string, Status>> = {
  19: 'accepted',
  20: 'delivered',
  21: 'failed',
  22: 'rejected',
  37: 'accepted',
  40: 'undelivered',
}

/** One page that was asked for. */
export interface Page {
  from: Date
  to: Date
  /** Counted from 0. */
  page: number
}

export function transactionsOf(account: CmAccount): LookupByWindow {
  return {
    maxSpanMs: account.maxWindowMs,
    slackMs: account.clockSlackMs,
    pageSize: account.pageSize,
    ask: (http, page, signal) => askForPage(http, account, page, signal),
  }
}

async function askForPage(
  http: ProviderHttp,
  account: CmAccount,
  page: Page,
  signal: AbortSignal,
): Promise<WindowAnswer> {
  const parameters = new URLSearchParams({
    startdate: localTime(page.from, 'start'),
    enddate: localTime(page.to, 'end'),
    channel: 'SMS',
    direction: 'out',
    pagesize: String(account.pageSize),
    page: String(page.page + 1),
  })
  const headers = { 'X-CM-PRODUCTTOKEN': account.productToken, Accept: 'application/json' }
  try {
    const { text } = await http.get(`/transactions/?${parameters}`, headers, signal)
    return parseTransactions(account, page, text)
  } catch (error) {
    return readError(error)
  }
}

/** An error whose body has a known meaning counts by that, any other by its HTTP status. */
function readError(error: unknown): WindowAnswer {
  if (!(error instanceof ProviderError) || !error.response || error.retryAfterMs !== undefined) throw error
  if (error.response.status === 429) throw error
  const json = readJson(error.response.text)
  const message = (json.ok ? answerSchema.safeParse(json.value).data?.message : undefined) ?? ''
  if (NOTHING_SENT.test(message)) return NO_ROWS
  const refusal = error.response.status < 500 ? refusalOf(message) : undefined
  throw refusal ? new ProviderError(refusal.kind, `${error.message}: ${refusal.meaning}`) : error
}

/**
 * Local time in whole seconds, rounded away from the window. In the doubled hour of autumn nobody knows which of the
 * two instants is understood, so the window is widened by that hour.
 */
function localTime(instant: Date, edge: 'start' | 'end'): string {
  const outward = edge === 'start' ? -1 : 1
  const local = Temporal.Instant.fromEpochMilliseconds(instant.getTime())
    .toZonedDateTimeISO(CM_TIME_ZONE)
    .toPlainDateTime()
    .round({ smallestUnit: 'second', roundingMode: edge === 'start' ? 'floor' : 'ceil' })
  const [earlier, later] = (['earlier', 'later'] as const).map((disambiguation) =>
    local.toZonedDateTime(CM_TIME_ZONE, { disambiguation }),
  )
  const isDoubled = earlier?.epochMilliseconds !== later?.epochMilliseconds
  return local.add({ hours: isDoubled ? outward : 0 }).toString({ smallestUnit: 'second' })
}

/** A value that is neither text nor number stands for none, so that no row is lost for a field it is not read for. */
const textSchema = z
  .union([z.string(), z.number()])
  .nullish()
  .catch(null)
  .transform((value) => String(value ?? '').trim())
const countSchema = z.coerce.number().int().nonnegative().optional().catch(undefined)

/** The look-up window: a delivery that took longer is a mistake. */
const MOST_DELIVERY_SECONDS = 30 * 86_400

const rowSchema = z.looseObject({
  recipient: textSchema,
  reference: textSchema,
  status: textSchema,
  statusdescription: textSchema,
  standarderror: textSchema,
  errordescription: textSchema,
  statusdate: textSchema,
  created: textSchema,
  deliverytime: z.coerce.number().min(0).max(MOST_DELIVERY_SECONDS).nullish().catch(null),
})

const answerSchema = z.looseObject({
  status: textSchema,
  message: textSchema,
  pagination: z
    .looseObject({ currentPage: countSchema, totalPages: countSchema, pageSize: countSchema })
    .nullish()
    .catch(null),
  result: z.array(z.unknown()).nullish(),
})
type Answer = z.infer<typeof answerSchema>

/** Reads one page. Throws a ProviderError that says what to do about it, and never quotes what came. */
export function parseTransactions(account: CmAccount, page: Page, text: string): WindowAnswer {
  const json = readJson(text)
  if (!json.ok) {
    const found = text.trim() === '' ? 'an empty body' : `${text.length} characters that are not JSON`
    throw new ProviderError('transient', `the provider sent ${found}`)
  }
  const { success, data: answer } = answerSchema.safeParse(json.value)
  if (!success) throw new ProviderError('transient', 'the provider sent an answer that is not {status,message,result}')
  if (NOTHING_SENT.test(answer.message)) return NO_ROWS
  throwIfRefused(answer)
  const rows = readRows(answer)
  return {
    reports: rows.flatMap((row) => readRow(account, page, row) ?? []),
    noStatusYet: rows.flatMap((row) => (row.status === '' ? (normalizeReference(row.reference) ?? []) : [])),
    hasMore: hasMore(account, page, answer),
  }
}

const NOTHING_SENT = /no transactions/i
const NO_ROWS: WindowAnswer = { reports: [], noStatusYet: [], hasMore: false }

/**
 * The numbers of refusals are not documented; the words of the message tell whose fault it is. The first that fits counts:
 * a limit is often one "of this account" or "for your access token", and a window may be longer than its limit.
 */
const REFUSALS = [
  { words: /too many|rate.?limit|limit of requests|throttl|quota/i, kind: 'throttled', meaning: 'too many requests' },
  {
    words: /(?<![a-z])(?:start|end)?[_ -]?date(?:s|time)?(?![a-z])|period|range|\bpage/i,
    kind: 'request',
    meaning: 'the window or the page is refused',
  },
  {
    words:
      /(?<!unexpected )(?<![a-z])(?:product)?_?token(?![a-z])|authenti|authori[sz]|access (?:is |was )?(?:denied|refused|not allowed)|\b(?:no|not have|without) access|permission|credential|account (?:is|was|has|not|unknown|blocked|disabled)|(?:unknown|invalid|blocked|disabled|suspended) account/i,
    kind: 'account',
    meaning: 'the product token is refused',
  },
  { words: /\blimit/i, kind: 'throttled', meaning: 'too many requests' },
  { words: /parameter/i, kind: 'request', meaning: 'the window or the page is refused' },
] as const

function refusalOf(message: string) {
  return REFUSALS.find(({ words }) => words.test(message))
}

function throwIfRefused({ status, message }: Answer): void {
  if (status === '' || status === '1' || /^(ok|success|200)$/i.test(status)) return
  const said = `the provider answered with status ${/^-?\d{1,9}$/.test(status) ? status : 'other than 1'}`
  const refusal = refusalOf(message)
  throw new ProviderError(refusal?.kind ?? 'transient', refusal ? `${said}: ${refusal.meaning}` : said)
}

/** The rows that can be read: one that cannot must not cost the others their reports. */
function readRows({ result }: Answer): z.infer<typeof rowSchema>[] {
  const rows = result?.flatMap((row) => (isTransaction(row) ? (rowSchema.safeParse(row).data ?? []) : []))
  if (!rows || (rows.length === 0 && result?.length !== 0)) {
    throw new ProviderError('transient', 'the provider sent an answer whose result is not a list of transactions')
  }
  return rows
}

function isTransaction(row: unknown): boolean {
  return typeof row === 'object' && row !== null && 'status' in row
}

/** The report of a row; rows without a status, and those sent without a reference by other means, have none. */
function readRow(account: CmAccount, page: Page, row: z.infer<typeof rowSchema>): StatusReport | undefined {
  const messageId = normalizeReference(row.reference)
  if (messageId === undefined || row.status === '') return undefined
  const mapped = Object.hasOwn(STATUSES, row.status) ? STATUSES[row.status] : undefined
  const status = mapped ?? 'accepted'
  const recipient = readRecipient(account, row.recipient)
  const isFailure = !mapped || (isFinal(status) && status !== 'delivered')
  const error = {
    ...(row.standarderror ? { code: row.standarderror } : {}),
    ...(row.errordescription ? { description: row.errordescription } : {}),
  }
  return {
    account: account.name,
    messageId,
    recipient,
    status,
    rawStatus: row.status,
    ...(mapped ? {} : { unmapped: true }),
    occurredAt: timeOf(row, page),
    source: 'poll',
    ...(isFailure && Object.keys(error).length > 0 ? { error } : {}),
    // Of the rest of a row only this is kept: it may hold the text and the price of the message.
    ...(row.statusdescription ? { details: { statusdescription: row.statusdescription } } : {}),
  }
}

/**
 * When the status came about, as far as the row tells. `created` is the time of sending, and `deliverytime` the seconds
 * from then on. Without them `created` is before any status; taken for the status it makes the report older than every
 * webhook's, so that a webhook, which knows the time, has the last word whenever the two disagree. Without that too the
 * beginning of the window does the same.
 */
function timeOf({ statusdate, created, deliverytime }: z.infer<typeof rowSchema>, { from }: Page): Date {
  const told = parseLocalTime(statusdate, CM_TIME_ZONE)
  if (told) return told
  const sentAt = parseLocalTime(created, CM_TIME_ZONE)
  return sentAt ? new Date(sentAt.getTime() + (deliverytime ?? 0) * 1000) : from
}

/**
 * By the number of pages where it is told, otherwise while pages are full; the provider's page may be smaller than the
 * one asked for. Counted by our own number, so that it ends whatever the answer says; an answer that stays at the first
 * page does not know the parameter, and smaller windows are the remedy.
 */
function hasMore(account: CmAccount, { page }: Page, { pagination, result }: Answer): boolean {
  const { currentPage, totalPages, pageSize } = pagination ?? {}
  if (page > 1 && currentPage !== undefined && currentPage <= 1) {
    throw new ProviderError('request', `the provider answered with page ${currentPage} when asked for page ${page + 1}`)
  }
  const rows = result?.length ?? 0
  if (totalPages !== undefined) return rows > 0 && page + 1 < totalPages
  return rows >= Math.min(account.pageSize, pageSize || account.pageSize)
}

/**
 * Webhook requests, from the bytes to the reports: the wrapping comes off here, the same for every provider, and the
 * provider's module only reads values.
 *
 *   bytes → inflated → decoded (body-text.ts) → values of body and query (receipt-content.ts) → reports (the module)
 *
 * A request is refused only when something in it looks like a receipt, or like nothing at all, and cannot be read. A
 * request that surely concerns nobody is accepted without a report, and needs no signature.
 */
import { type Issue, LastwordError } from '../core/errors.ts'
import { rankOf } from '../core/settle.ts'
import type { StatusReport } from '../core/status.ts'
import { decodeText, encodingLeft, inflateBody } from './body-text.ts'
import type { Provider, ProviderAccount, ReceiptReading, WebhookReading, WebhookRequest } from './provider.ts'
import { isObject, type ReceiptContent, readContent, readQuery } from './receipt-content.ts'

const MOST_ISSUES = 20
const MOST_REPORTS_OF_A_MESSAGE = 20

/**
 * Reads one webhook request and checks who sent it.
 * Throws UNAUTHORIZED for a signature that is truly wrong, INPUT_INVALID for a request in which no receipt can be read,
 * TOO_LARGE for a body that grows beyond the bound when it is inflated.
 */
export async function readWebhook(
  provider: Provider,
  account: ProviderAccount,
  request: WebhookRequest,
): Promise<WebhookReading> {
  // Nobody signs the body of a GET, so where receipts are signed it says nothing.
  const isUnsigned = account.signingKey !== undefined && request.method.toUpperCase() === 'GET'
  const sent = isUnsigned ? Buffer.alloc(0) : request.body
  const inflated = await inflateBody(sent, headerOf(request, 'content-encoding'))
  const body = readBody(request, inflated)
  const contents = contentsOf(body, readQuery(request.path))
  const readings = contents.map(({ value }) => provider.readReceipts(account, value, request.receivedAt))
  const reading =
    readings.find(({ reports }) => reports.length > 0) ??
    readings.find(({ issues }) => issues.length > 0) ??
    readings[0]
  const unfilled = contents.flatMap((content) => content.unfilled)
  const hasReports = reading !== undefined && reading.reports.length > 0
  const isUnreadable = body.mistake !== undefined || (reading !== undefined && reading.issues.length > 0)
  if (!hasReports && (unfilled.length > 0 || !isUnreadable))
    return { reports: [], ignored: reasonOf(reading, unfilled) }

  const nonce = provider.verifyWebhook?.(account, { ...request, inflated })
  if (!hasReports) throw unreadable(body.mistake, reading?.issues ?? [])
  const reports = withoutRepeats(reading.reports)
  const issues = reading.issues.slice(0, MOST_ISSUES)
  const passedOver = reading.ignored.length + reading.reports.length - reports.length
  return {
    reports,
    ...(passedOver > 0 ? { passedOver } : {}),
    ...(issues.length > 0 ? { skipped: issues } : {}),
    ...(nonce ? { nonce } : {}),
  }
}

function readBody(request: WebhookRequest, inflated: Buffer): ReceiptContent {
  const encoding = encodingLeft(inflated, headerOf(request, 'content-encoding'))
  const mistake = `a body in ${JSON.stringify(encoding)} that cannot be inflated`
  if (encoding !== undefined) return { value: undefined, unfilled: [], mistake }
  const contentType = headerOf(request, 'content-type')
  return readContent(decodeText(inflated, contentType), contentType)
}

/**
 * Each report once, and of one message no more than the few that decide its status: each takes a statement, and a request
 * that repeats itself to the bound of its size would keep the database busy until the sender gives up.
 */
function withoutRepeats(reports: readonly StatusReport[]): StatusReport[] {
  const ofMessages = new Map<string, Map<string, StatusReport>>()
  for (const report of reports) {
    const message = JSON.stringify([report.messageId, report.recipient])
    const known = ofMessages.get(message) ?? new Map<string, StatusReport>()
    ofMessages.set(message, known.set(JSON.stringify(report), report))
  }
  return [...ofMessages.values()].flatMap((known) => {
    const byRank = [...known.values()].sort((one, other) => rankOf(one) - rankOf(other))
    const latest = byRank.slice(-MOST_REPORTS_OF_A_MESSAGE)
    const read = byRank.findLast(({ status }) => status === 'read')
    return read === undefined || latest.includes(read) ? latest : [read, ...latest.slice(1)]
  })
}

/** A form adds to the query what the query lacks; any other body speaks before the query. */
function contentsOf(body: ReceiptContent, query: ReceiptContent): ReceiptContent[] {
  const both =
    isObject(body.value) && isObject(query.value) ? [{ ...body, value: { ...query.value, ...body.value } }] : []
  return [body, ...both, query].filter(({ value, unfilled }) => value !== undefined || unfilled.length > 0)
}

function reasonOf(reading: ReceiptReading | undefined, unfilled: readonly string[]): string {
  if (unfilled.length > 0)
    return `placeholders were not filled: ${[...new Set(unfilled)].slice(0, MOST_ISSUES).join(', ')}`
  return reading?.ignored[0] ?? 'the request is empty'
}

function unreadable(mistake: string | undefined, issues: Issue[]): LastwordError {
  if (issues.length === 0 && mistake !== undefined) {
    return new LastwordError('INPUT_INVALID', `Expected a delivery receipt, found ${mistake}.`)
  }
  return new LastwordError('INPUT_INVALID', 'Expected a delivery receipt, found one that says too little.', {
    issues: issues.slice(0, MOST_ISSUES),
  })
}

function headerOf({ headers }: WebhookRequest, name: string): string {
  return [headers[name] ?? []].flat().join(', ')
}

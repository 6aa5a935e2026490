/**
 * CM.com's delivery receipts: JSON, XML, form fields or a query, one message or several.
 *
 * Source: https://developers.cm.com/messaging/docs/incoming-status-report. JSON and XML nest the code in `status`; older
 * set-ups send flat fields under many names. Members are found by name whatever the case.
 *
 * CM repeats a request for up to seven days after any answer that is not a success, and does not repeat it after one.
 * A message without a usable reference is passed over: it belongs to another application of the same product token.
 */
import { isFinal, type Status, type StatusReport } from '../../core/status.ts'
import { parseLocalTime, parseUnixTime } from '../local-time.ts'
import type { ReceiptReading } from '../provider.ts'
import { DEEPEST, isObject, levelsWithin, unfold } from '../receipt-content.ts'
import { CM_TIME_ZONE, type CmAccount, normalizeReference, readRecipient } from './account.ts'

/** Every code of `status.code`; the texts beside it do not decide. */
const STATUSES: Readonly<Record<string, Status>> = {
  0: 'accepted',
  1: 'rejected',
  2: 'delivered',
  3: 'failed',
  4: 'read',
}

/** The names under which the same thing comes, in lower case, without what separates their words. */
const NAMES = {
  reference: ['reference'],
  recipient: ['to', 'gsm', 'recipient', 'msisdn'],
  code: ['statuscode', 'status'],
  /** True for a message that arrived. */
  success: ['statusissuccess'],
  /** By the documents the description of the status. */
  errorCode: ['errorcode', 'statusdescription'],
  /** By the documents the standard error text. */
  errorDescription: ['errordescription', 'standarderrortext', 'externalstatusdescription'],
  /** When the report was registered at the platform. */
  time: ['received', 'srcreateds', 'datetimes', 'createds', 'time'],
} as const

const KNOWN_NAMES: ReadonlySet<string> = new Set([
  ...Object.values(NAMES).flat(),
  ...['id', 'sent', 'sents', 'operator', 'channel'],
])

/** A message as it came: where it stands, and what its envelope says about all of its messages. */
interface Found {
  place: string
  value: unknown
  envelope: Readonly<Record<string, unknown>>
}

interface Field {
  /** As it came. */
  key: string
  /** In lower case, without what separates its words; the code within `status` is called `statuscode`, as in the flat vocabulary. */
  name: string
  value: unknown
}

/** Reads the receipts in a request's values. */
export function readCmReceipts(account: CmAccount, content: unknown, receivedAt: Date): ReceiptReading {
  const reading: ReceiptReading = { reports: [], ignored: [], issues: [] }
  const found = findMessages(content, '', {}, DEEPEST).filter(({ value }) => !isBlank(value))
  for (const message of found) readMessage(account, message, receivedAt, reading)
  if (found.length === 0) reading.ignored.push('the request carries no message')
  return reading
}

/** The fields of a complete message, and of one that lacks something; other names stand in envelopes as well. */
const STATUS_NAMES: ReadonlySet<string> = new Set([NAMES.code, NAMES.success].flat())
const TELLING_NAMES: ReadonlySet<string> = new Set([...NAMES.reference, ...NAMES.recipient, ...STATUS_NAMES])

/** The messages, which stand in `messages.msg` as a rule; a list, another envelope, or none is read as well. */
function findMessages(given: unknown, place: string, envelope: Found['envelope'], levels: number): Found[] {
  if (levels < 0) return []
  const value = unfold(given)
  if (Array.isArray(value)) {
    return value.flatMap((item, index) =>
      findMessages(item, `${place}[${index}]`, envelope, levelsWithin(item, levels)),
    )
  }
  if (!isObject(value)) return []
  const here = { place, value, envelope }
  const names = fieldsOf(value).map(({ name }) => name)
  if (names.includes('reference') && names.some((name) => STATUS_NAMES.has(name))) return [here]
  const entries = Object.entries(value).map(([key, item]) => ({ key, item, inner: unfold(item) }))
  const leaves = entries.filter(({ inner }) => !isNested(inner) && !isBlank(inner))
  const said = { ...envelope, ...Object.fromEntries(leaves.map(({ key, item }) => [key, item])) }
  const within = entries
    .filter(({ inner }) => isNested(inner))
    .flatMap(({ key, item, inner }) => findMessages(inner, join(place, key), said, levelsWithin(item, levels)))
  return within.length === 0 && names.some((name) => TELLING_NAMES.has(name)) ? [here] : within
}

function isNested(value: unknown): boolean {
  return typeof value === 'object' && value !== null
}

/** Adds the report of one message to the reading, or why there is none. */
function readMessage(
  account: CmAccount,
  { place, value, envelope }: Found,
  receivedAt: Date,
  { reports, ignored, issues }: ReceiptReading,
): void {
  const fields = isObject(value) ? fieldsOf(value) : []
  const find = (names: readonly string[]) =>
    names.flatMap((name) => fields.filter((field) => field.name === name)).find((field) => textOf(field.value) !== '')
  const [reference, recipient, code, time] = [NAMES.reference, NAMES.recipient, NAMES.code, NAMES.time].map(find)
  const texts = [find(NAMES.errorCode), find(NAMES.errorDescription)] as const
  const messageId = normalizeReference(textOf(reference?.value))
  if (messageId === undefined) return void ignored.push('the message has no reference')
  const success = find(NAMES.success)
  const rawStatus = code ? textOf(code.value).replace(/^0+(?=\d)/, '') : codeOf(success)
  if (rawStatus === '') {
    issues.push({ path: join(place, 'status.code'), message: 'expected a status code, from 0 to 4' })
    return
  }
  const mapped = readStatus(rawStatus)
  const number = readRecipient(account, textOf(recipient?.value))
  const occurredAt = readTime(textOf(time?.value), receivedAt)
  // On a message that arrived, "Delivered" is not an error: its texts are details.
  const error = isFailure(mapped) ? errorOf(texts) : undefined
  const used = new Set([reference, code, number && recipient, occurredAt && time, ...(error ? texts : [])])
  const rest = fields.filter((field) => !used.has(field) && !isBlank(field.value))
  const details = Object.fromEntries([...Object.entries(envelope), ...rest.map(({ key, value }) => [key, value])])
  reports.push({
    account: account.name,
    messageId,
    recipient: number,
    ...mapped,
    occurredAt: occurredAt ?? receivedAt,
    source: 'webhook',
    ...(error ? { error } : {}),
    ...(Object.keys(details).length > 0 ? { details } : {}),
  })
}

/** The code of a message that says no more than whether it arrived; one that has not yet may still. */
function codeOf(success: Field | undefined): string {
  const text = textOf(success?.value)
  if (/^(?:1|true|yes)$/i.test(text)) return '2'
  return /^(?:0|false|no)$/i.test(text) ? 'false' : ''
}

function fieldsOf(message: object): Field[] {
  return Object.entries(message).flatMap(([key, given]) => {
    const name = nameOf(key)
    const value = name === 'status' ? unfold(given) : given
    if (name !== 'status' || !isObject(value) || '#text' in value) return [{ key, name, value }]
    return Object.entries(value).map(([inner, innerValue]) => {
      const isCode = nameOf(inner) === 'code'
      return { key: isCode ? join(key, inner) : inner, name: isCode ? 'statuscode' : nameOf(inner), value: innerValue }
    })
  })
}

function nameOf(key: string): string {
  return key.toLowerCase().replace(/[_.-]/g, '')
}

/** A code not in the table is kept raw and taken as intermediate: more may come. */
function readStatus(rawStatus: string): Pick<StatusReport, 'status' | 'rawStatus' | 'unmapped'> {
  const status = Object.hasOwn(STATUSES, rawStatus) ? STATUSES[rawStatus] : undefined
  return status ? { status, rawStatus } : { status: 'accepted', rawStatus, unmapped: true }
}

/** Of a code without a known meaning the texts may be all there is to go by. */
function isFailure({ status, unmapped }: Pick<StatusReport, 'status' | 'unmapped'>): boolean {
  return unmapped === true || (isFinal(status) && status !== 'delivered' && status !== 'read')
}

function errorOf([code, description]: readonly (Field | undefined)[]): StatusReport['error'] {
  const error = {
    ...(textOf(code?.value) ? { code: textOf(code?.value) } : {}),
    ...(textOf(description?.value) ? { description: textOf(description?.value) } : {}),
  }
  return Object.keys(error).length > 0 ? error : undefined
}

const HALF_AN_HOUR_MS = 30 * 60_000

/**
 * Local time, or Unix time, which `CREATED_S` may hold. In the doubled hour of autumn the later of the two instants
 * is meant unless it lies ahead of the arrival: being nearer to half an hour before the arrival says exactly that.
 */
function readTime(text: string, receivedAt: Date): Date | undefined {
  const near = new Date(receivedAt.getTime() - HALF_AN_HOUR_MS)
  return parseUnixTime(text) ?? parseLocalTime(text, CM_TIME_ZONE, near)
}

/** The text of a leaf, without spaces around it; empty for what is none, and for a list of different texts. */
function textOf(value: unknown): string {
  if (typeof value === 'string') return value.trim()
  if (typeof value === 'boolean') return String(value)
  if (typeof value === 'number' && (Number.isSafeInteger(value) || !Number.isInteger(value))) return String(value)
  if (Array.isArray(value)) return new Set(value.map(textOf)).size === 1 ? textOf(value[0]) : ''
  return isObject(value) && '#text' in value ? textOf(value['#text']) : ''
}

/** True for what says nothing: the set-up screen sends nothing at all, or the names of the fields without values. */
function isBlank(value: unknown): boolean {
  if (value === undefined || value === null) return true
  if (typeof value === 'string') return value.trim() === ''
  if (Array.isArray(value)) return value.every(isBlank)
  if (!isObject(value)) return false
  const fields = fieldsOf(value)
  return (
    fields.every((field) => KNOWN_NAMES.has(field.name) || field.name === 'statuscode') &&
    fields.every((field) => isBlank(field.value))
  )
}

function join(place: string, key: string): string {
  return place === '' ? key : `${place}.${key}`
}

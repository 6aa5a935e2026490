/**
 * CM.com's delivery receipts: JSON, XML, form fields or a query, one message or several.
 *
 * Source: https://developers.cm.com/messaging/docs/delivery-and-status-reports. The content type is often missing or
 * wrong, so the first character decides what a body is. All four become the same list of messages, and their members
 * are found by name whatever the case: JSON and XML nest the code in `status`, the two older vocabularies are flat.
 *
 * CM repeats a request for up to seven days after any answer that is not a success, and does not repeat it after one.
 * A request is therefore refused only when no message in it can be read: refusing it for one bad message would hold the
 * reports of the others back for seven days, and then lose them.
 */
import { type Issue, LastwordError } from '../../core/errors.ts'
import { isFinal, type Status, type StatusReport } from '../../core/status.ts'
import { readJson } from '../json-text.ts'
import { parseLocalTime } from '../local-time.ts'
import { normalizePhoneNumber } from '../phone-number.ts'
import type { WebhookReading, WebhookRequest } from '../provider.ts'
import { CM_REFERENCE_RULE, CM_TIME_ZONE, type CmAccount, normalizeReference } from './account.ts'
import { parseXml } from './xml.ts'

/** Every code of `status.code`; the texts beside it do not decide. */
const STATUSES: Readonly<Record<string, Status>> = {
  0: 'accepted',
  1: 'rejected',
  2: 'delivered',
  3: 'failed',
  4: 'read',
}

/** The names under which the same thing comes, in lower case. */
const NAMES = {
  reference: ['reference'],
  recipient: ['to', 'gsm'],
  code: ['statuscode', 'status'],
  /** By the documents the description of the status. */
  errorCode: ['errorcode', 'statusdescription'],
  /** By the documents the standard error text. */
  errorDescription: ['errordescription', 'standarderrortext'],
  /** When the report was registered at the platform. */
  time: ['received', 'created_s'],
} as const

const KNOWN_NAMES: ReadonlySet<string> = new Set([...Object.values(NAMES).flat(), 'sent', 'operator', 'channel'])

/** JSON may come nested without end; what is kept has to be written down again. */
const DEEPEST = 20
const MOST_ISSUES = 20

/** A message as it came: where it stands, and what its envelope says about all of its messages. */
interface Found {
  place: string
  value: unknown
  envelope: Readonly<Record<string, unknown>>
}

interface Field {
  /** As it came. */
  key: string
  /** In lower case; the code within `status` is called `statuscode`, as in the flat vocabulary. */
  name: string
  value: unknown
}

export function readCmWebhook(account: CmAccount, request: WebhookRequest): WebhookReading {
  const found = findMessages(readRequest(request), '', {}).filter(({ value }) => !isBlank(value))
  if (found.length === 0) return { reports: [], ignored: 'the request carries no message' }
  const issues: Issue[] = []
  const reports = found.flatMap((message) => readMessage(account, message, request.receivedAt, issues) ?? [])
  if (reports.length > 0) return issues.length > 0 ? { reports, skipped: issues.slice(0, MOST_ISSUES) } : { reports }
  throw new LastwordError('INPUT_INVALID', 'Expected a delivery receipt with a reference and a status code.', {
    issues: issues.slice(0, MOST_ISSUES),
  })
}

function readRequest({ body, query }: WebhookRequest): unknown {
  const text = body.toString('utf8').replace(/^\uFEFF/, '')
  const first = text.trimStart().charAt(0)
  if (first === '') return query
  if (first === '<') return parseXml(text)
  if (first !== '{' && first !== '[') return readForm(text)
  const json = readJson(text)
  if (!json.ok) {
    const { line, column, expected } = json.mistake
    throw new LastwordError(
      'INPUT_INVALID',
      `Expected a delivery receipt in JSON, found a mistake at line ${line}, column ${column}: ${expected} should stand there.`,
    )
  }
  if (isDeeperThan(json.value, DEEPEST)) {
    throw new LastwordError('INPUT_INVALID', `Expected a delivery receipt in JSON, nested ${DEEPEST} levels at most.`)
  }
  return json.value
}

/** A field that comes twice becomes a list, as in a query. */
function readForm(text: string): Record<string, unknown> {
  const form = new URLSearchParams(text)
  return Object.fromEntries(
    [...new Set(form.keys())].map((key) => {
      const values = form.getAll(key)
      return [key, values.length > 1 ? values : values[0]]
    }),
  )
}

/** The messages in `messages.msg`; a list, or a message without an envelope, is read as well. */
function findMessages(value: unknown, place: string, envelope: Found['envelope']): Found[] {
  if (Array.isArray(value)) return value.flatMap((item, index) => findMessages(item, `${place}[${index}]`, envelope))
  if (isObject(value)) {
    const isInner = ([key]: [string, unknown]) => /^(messages|msg)$/i.test(key)
    const inner = Object.entries(value).filter(isInner)
    const beside = Object.entries(value).filter((entry) => !isInner(entry) && !isBlank(entry[1]))
    const said = Object.fromEntries([...Object.entries(envelope), ...beside])
    if (inner.length > 0) return inner.flatMap(([key, item]) => findMessages(item, join(place, key), said))
  }
  return [{ place, value, envelope }]
}

/** The report of one message, or undefined with the reasons added to `issues`. */
function readMessage(
  account: CmAccount,
  { place, value, envelope }: Found,
  receivedAt: Date,
  issues: Issue[],
): StatusReport | undefined {
  const fields = isObject(value) ? fieldsOf(value) : []
  const find = (names: readonly string[]) =>
    names.flatMap((name) => fields.filter((field) => field.name === name)).find((field) => !isBlank(field.value))
  const [reference, recipient, code, time] = [NAMES.reference, NAMES.recipient, NAMES.code, NAMES.time].map(find)
  const texts = [find(NAMES.errorCode), find(NAMES.errorDescription)] as const
  const messageId = normalizeReference(textOf(reference?.value))
  const rawStatus = textOf(code?.value)
  if (messageId === undefined) {
    issues.push({ path: join(place, reference?.key ?? 'reference'), message: `expected ${CM_REFERENCE_RULE}` })
  }
  if (rawStatus === '')
    issues.push({ path: join(place, code?.key ?? 'status.code'), message: 'expected a status code' })
  if (messageId === undefined || rawStatus === '') return undefined

  const mapped = readStatus(rawStatus)
  const number = normalizePhoneNumber(textOf(recipient?.value))
  const occurredAt = readTime(textOf(time?.value), receivedAt)
  // On a message that arrived, "Delivered" is not an error: its texts are details.
  const error = isFailure(mapped) ? errorOf(texts) : undefined
  const used = new Set([reference, code, number && recipient, occurredAt && time, ...(error ? texts : [])])
  const rest = fields.filter((field) => !used.has(field) && !isBlank(field.value))
  const details = Object.fromEntries([...Object.entries(envelope), ...rest.map(({ key, value }) => [key, value])])
  return {
    account: account.name,
    messageId,
    ...(number ? { recipient: number } : {}),
    ...mapped,
    occurredAt: occurredAt ?? receivedAt,
    source: 'webhook',
    ...(error ? { error } : {}),
    ...(Object.keys(details).length > 0 ? { details } : {}),
  }
}

function fieldsOf(message: object): Field[] {
  return Object.entries(message).flatMap(([key, value]) => {
    const name = key.toLowerCase()
    if (name !== 'status' || !isObject(value) || '#text' in value) return [{ key, name, value }]
    return Object.entries(value).map(([inner, innerValue]) => {
      const isCode = inner.toLowerCase() === 'code'
      return {
        key: isCode ? join(key, inner) : inner,
        name: isCode ? 'statuscode' : inner.toLowerCase(),
        value: innerValue,
      }
    })
  })
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
 * Local time, or Unix seconds, which `CREATED_S` may hold. In the doubled hour of autumn the later of the two instants
 * is meant unless it lies ahead of the arrival: being nearer to half an hour before the arrival says exactly that.
 */
function readTime(text: string, receivedAt: Date): Date | undefined {
  if (/^\d{10}$/.test(text)) return new Date(Number(text) * 1000)
  return parseLocalTime(text, CM_TIME_ZONE, new Date(receivedAt.getTime() - HALF_AN_HOUR_MS))
}

/** The text of a leaf, without spaces around it; empty for what is none. */
function textOf(value: unknown): string {
  if (typeof value === 'string') return value.trim()
  if (typeof value === 'number' && (Number.isSafeInteger(value) || !Number.isInteger(value))) return String(value)
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

function isDeeperThan(value: unknown, levels: number): boolean {
  if (!isObject(value) && !Array.isArray(value)) return false
  return levels === 0 || Object.values(value).some((inner) => isDeeperThan(inner, levels - 1))
}

function isObject(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
}

function join(place: string, key: string): string {
  return place === '' ? key : `${place}.${key}`
}

/**
 * seven.io's delivery receipts, in each of the forms a subscription can ask for.
 *
 *   JSON       {"data":{"msg_id","status","timestamp","foreign_id"},"webhook_event":"dlr","webhook_timestamp"}
 *   form, GET  the same fields side by side, or those of `data` as data[msg_id], data[status] …
 *   RCS        {"webhook_event":"rcs","data":{"msg_id","status","timestamp","agent_id","sender"}}
 *   older      msg_id, status and timestamp alone, by GET
 *
 * Source: https://docs.seven.io/en/rest-api/webhooks. An object with a message ID is a receipt wherever it stands, one
 * or many a request, unless its event is one of those that are not about the delivery of a message.
 */
import type { Issue } from '../../core/errors.ts'
import type { StatusReport } from '../../core/status.ts'
import type { ReceiptReading } from '../provider.ts'
import { DEEPEST, isObject, levelsWithin, unfold } from '../receipt-content.ts'
import type { SevenAccount } from './account.ts'
import { isMessageId, readForeignId, readStatus, readTime } from './reports.ts'

/** Events of other kinds, which reach the same URL. */
const OTHER_EVENTS: ReadonlySet<string> = new Set(
  'sms_mo tracking voice_call voice_status voice_dtmf wa_mo rcs_mo'.split(' '),
)
/** RCS: the other side is typing. */
const TYPING = 'IS_TYPING'

/** The fields of one object by their names in lower case, without what separates their words. */
type Fields = ReadonlyMap<string, { key: string; value: unknown }>

/** Where an object stands, and what it says, or before it those around it. */
interface Surroundings {
  place: string
  event: string
  announcedAt: string
}

interface Found extends Surroundings {
  fields: Fields
}

const NOTHING_AROUND: Surroundings = { place: '', event: '', announcedAt: '' }

/** Reads the receipts in a request's values. */
export function readSevenReceipts({ name }: SevenAccount, content: unknown, receivedAt: Date): ReceiptReading {
  const reading: ReceiptReading = { reports: [], ignored: [], issues: [] }
  for (const found of findReceipts(content, NOTHING_AROUND, DEEPEST)) readReceipt(name, found, receivedAt, reading)
  if (reading.reports.length + reading.issues.length + reading.ignored.length === 0) {
    reading.ignored.push('the request has no field of a delivery receipt')
  }
  return reading
}

function findReceipts(given: unknown, around: Surroundings, levels: number): Found[] {
  if (levels < 0) return []
  const value = unfold(given)
  const { place } = around
  if (Array.isArray(value)) {
    return value.flatMap((item, index) =>
      findReceipts(item, { ...around, place: `${place}[${index}]` }, levelsWithin(item, levels)),
    )
  }
  if (!isObject(value)) return []
  const fields: Fields = new Map(
    Object.entries(value).map(([key, item]) => [key.toLowerCase().replace(/[_-]/g, ''), { key, value: item }]),
  )
  const said = (name: string) => textOf(fields.get(name)?.value)
  const event = (said('webhookevent') || said('event') || around.event).toLowerCase()
  const here = { place, event, announcedAt: said('webhooktimestamp') || around.announcedAt }
  if (fields.has('msgid')) return [{ ...here, fields }]
  const inner = Object.entries(value).flatMap(([key, item]) =>
    findReceipts(item, { ...here, place: place === '' ? key : `${place}.${key}` }, levelsWithin(item, levels)),
  )
  if (inner.length > 0) return inner
  return event !== around.event || fields.has('status') ? [{ ...here, fields }] : []
}

function readReceipt(
  account: string,
  found: Found,
  receivedAt: Date,
  { reports, ignored, issues }: ReceiptReading,
): void {
  const { fields, event } = found
  const [messageId, status] = [textOf(fields.get('msgid')?.value), textOf(fields.get('status')?.value)]
  if (OTHER_EVENTS.has(event)) return void ignored.push('the event is not about the delivery of a message')
  if (status.toUpperCase() === TYPING) return void ignored.push('the status says that somebody is typing')
  if (isEmpty(fields)) return void ignored.push('the fields of the receipt are empty')
  const problems = problemsOf(found, messageId, status)
  if (event !== '' && event !== 'dlr' && (messageId === '' || status === '')) {
    return void ignored.push('the event is not dlr')
  }
  issues.push(...problems)
  if (problems.length > 0) return
  const announcedAt = readTime(found.announcedAt)
  reports.push({
    account,
    messageId,
    ...readStatus(status),
    occurredAt: readTime(textOf(fields.get('timestamp')?.value), announcedAt) ?? announcedAt ?? receivedAt,
    source: 'webhook',
    ...detailsOf(found),
  })
}

/** A set-up screen tests a URL by the names of the fields without values. */
function isEmpty(fields: Fields): boolean {
  const isBlank = (value: unknown) => (typeof value === 'string' ? value.trim() === '' : (value ?? null) === null)
  return fields.has('msgid') && ['msgid', 'status', 'timestamp'].every((name) => isBlank(fields.get(name)?.value))
}

function problemsOf({ place, fields }: Found, messageId: string, status: string): Issue[] {
  const pathOf = (name: string, usual: string) => `${place === '' ? '' : `${place}.`}${fields.get(name)?.key ?? usual}`
  return [
    ...(isMessageId(messageId) ? [] : [{ path: pathOf('msgid', 'msg_id'), message: 'expected a message ID' }]),
    ...(status === '' ? [{ path: pathOf('status', 'status'), message: 'expected a status, like DELIVERED' }] : []),
  ]
}

/** The sender's own ID, and for RCS the channel and who sent it. */
function detailsOf({ fields, event }: Found): Pick<StatusReport, 'details'> {
  const agent = textOf(fields.get('agentid')?.value)
  const details = {
    ...readForeignId(textOf(fields.get('foreignid')?.value)).details,
    ...(event.startsWith('rcs') ? { channel: 'RCS' } : {}),
    ...(agent ? { agentId: agent } : {}),
  }
  return Object.keys(details).length > 0 ? { details } : {}
}

/** The text of a leaf, without spaces around it; empty for what is none, and for a number that JSON cannot carry exactly. */
function textOf(value: unknown): string {
  if (typeof value === 'string') return value.trim()
  if (typeof value === 'number') return Number.isSafeInteger(value) && value >= 0 ? String(value) : ''
  if (Array.isArray(value)) return new Set(value.map(textOf)).size === 1 ? textOf(value[0]) : ''
  return isObject(value) && '#text' in value ? textOf(value['#text']) : ''
}

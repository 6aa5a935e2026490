/**
 * seven.io's delivery receipts, in each of the forms a subscription can ask for: a JSON body, a form body, or a GET.
 *
 *   JSON       {"data":{"msg_id","status","timestamp","foreign_id"},"webhook_event":"dlr","webhook_timestamp"}
 *   form, GET  the same fields side by side, or those of `data` as data[msg_id], data[status] …
 *
 * Source: https://docs.seven.io/en/rest-api/webhooks. How form fields are nested is unconfirmed, so both are read.
 * Other events reach the same URL and are ignored.
 */
import { parse } from 'node:querystring'
import { z } from 'zod'
import { LastwordError } from '../../core/errors.ts'
import type { StatusReport } from '../../core/status.ts'
import { readJson } from '../json-text.ts'
import type { WebhookReading, WebhookRequest } from '../provider.ts'
import type { SevenAccount } from './account.ts'
import { isObject } from './answers.ts'
import {
  foreignIdSchema,
  idSchema,
  isMessageId,
  optionalTextSchema,
  readForeignId,
  readStatus,
  readTime,
} from './reports.ts'
import { checkSignature } from './signature.ts'

/** A receipt before it is checked, and how the places of its data are named in complaints. */
interface Receipt {
  envelope: unknown
  data: unknown
  placeOf(field: string): string
}

/** Checks the signature where the account has a key, and reads the receipt. */
export function readSevenWebhook(account: SevenAccount, request: WebhookRequest): WebhookReading {
  // Such requests come from the right address, as a test of the URL. No report can follow from one, so on an account
  // with a signing key it needs no signature either, and a 401 might cost the subscription.
  const nothing = saysNothing(request)
  if (nothing) return { reports: [], ignored: nothing }
  const { signingKey, signatureFreshnessMs: freshnessMs } = account
  const signed = signingKey === undefined ? {} : { nonce: checkSignature({ signingKey, freshnessMs }, request) }
  return { ...readReceipt(account.name, receiptOf(request), request.receivedAt), ...signed }
}

const FLAT_FIELDS = ['webhook_event', 'webhook_timestamp', 'msg_id', 'status', 'timestamp', 'foreign_id', 'data']
const NESTED_FIELD = /^data\[(\w+)\]$/

function saysNothing({ method, query, body }: WebhookRequest): string | undefined {
  if (method.toUpperCase() !== 'GET') return body.length === 0 ? 'the body is empty' : undefined
  const hasField = Object.keys(query).some((name) => FLAT_FIELDS.includes(name) || NESTED_FIELD.test(name))
  return hasField ? undefined : 'the query has no field of a delivery receipt'
}

function receiptOf(request: WebhookRequest): Receipt {
  if (request.method.toUpperCase() === 'GET') return receiptOfFields(request.query)
  const text = request.body.toString('utf8')
  // Some senders name their JSON a form.
  if (isForm(request) && !/^\s*[[{]/.test(text)) return receiptOfFields(parse(text))
  const envelope = parseReceiptJson(text)
  const data = isObject(envelope) && 'data' in envelope ? envelope.data : undefined
  return { envelope, data, placeOf: (field) => (field === '' ? 'data' : `data.${field}`) }
}

function isForm({ headers }: WebhookRequest): boolean {
  return /^\s*application\/x-www-form-urlencoded\b/i.test(String(headers['content-type'] ?? ''))
}

function receiptOfFields(fields: Readonly<Record<string, unknown>>): Receipt {
  const envelope = { ...fields }
  if (isObject(fields.data)) return { envelope, data: fields.data, placeOf: (field) => `data[${field}]` }
  const nested = Object.entries(fields).flatMap(([name, value]) => {
    const field = NESTED_FIELD.exec(name)?.[1]
    return field === undefined ? [] : [[field, value] as const]
  })
  if (nested.length === 0) return { envelope, data: envelope, placeOf: (field) => field }
  return { envelope, data: Object.fromEntries(nested), placeOf: (field) => `data[${field}]` }
}

function parseReceiptJson(text: string): unknown {
  const json = readJson(text)
  if (json.ok) return json.value
  const { line, column, expected } = json.mistake
  throw new LastwordError(
    'INPUT_INVALID',
    `Expected a delivery receipt in JSON, found a mistake at line ${line}, column ${column}: ${expected} should stand there.`,
  )
}

const envelopeSchema = z.looseObject({ webhook_event: z.string(), webhook_timestamp: optionalTextSchema })
const dataSchema = z.looseObject({
  msg_id: idSchema.refine(isMessageId, 'expected a message ID'),
  status: z.string().min(1),
  timestamp: optionalTextSchema,
  foreign_id: foreignIdSchema,
})

function readReceipt(account: string, { envelope, data, placeOf }: Receipt, receivedAt: Date): WebhookReading {
  const { webhook_event, webhook_timestamp } = check(envelopeSchema, envelope, (field) => field)
  if (webhook_event !== 'dlr') return { reports: [], ignored: 'the event is not dlr' }
  const { msg_id, status, timestamp, foreign_id } = check(dataSchema, data, placeOf)
  const announcedAt = readTime(webhook_timestamp)
  const report: StatusReport = {
    account,
    messageId: msg_id,
    ...readStatus(status),
    occurredAt: readTime(timestamp, announcedAt) ?? announcedAt ?? receivedAt,
    source: 'webhook',
    ...readForeignId(foreign_id),
  }
  return { reports: [report] }
}

function check<T>(schema: z.ZodType<T>, value: unknown, placeOf: (field: string) => string): T {
  const result = schema.safeParse(value)
  if (result.success) return result.data
  const issues = result.error.issues.map(({ path, message }) => ({ path: placeOf(path.join('.')), message }))
  throw new LastwordError(
    'INPUT_INVALID',
    'Expected a delivery receipt {"webhook_event":"dlr","data":{"msg_id","status","timestamp"}}.',
    { issues },
  )
}

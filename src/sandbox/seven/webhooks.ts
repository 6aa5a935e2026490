/**
 * seven.io's webhooks (https://docs.seven.io/en/rest-api/webhooks): delivery receipts as JSON, GET or form, signed when
 * there is a key.
 *
 * A receipt that the receiver answers with 429, 500, 502, 503 or 504, not in time, or not at all is sent again, up to
 * 14 times over about 3.5 days of the law; any other 4xx loses it for good.
 */
import { formatBerlinTime, formatBerlinTimeWithOffset } from '../berlin-time.ts'
import type { RetryPolicy } from '../delivery.ts'
import { encode } from '../encodings.ts'
import { type Knobs, SEVEN_WEBHOOK_FORMS } from '../knobs.ts'
import type { SevenStatus, Transition } from '../law.ts'
import { get, type OutgoingRequest, post, postForm, postParts, postQuery } from '../outgoing-request.ts'
import { pick, type Random } from '../random.ts'
import type { WebhookFormat, WebhookTarget } from '../webhooks.ts'
import type { Hook } from './hooks.ts'
import type { SevenMessage } from './messages.ts'
import { signRequest } from './signing.ts'

const RETRIED_STATUSES: ReadonlySet<number> = new Set([429, 500, 502, 503, 504])

const policy: RetryPolicy = {
  // The pauses after two hours are ours: known is that 14 attempts take about 3.5 days.
  pausesMin: [0, 1, 5, 30, 60, 120, 240, 360, 480, 600, 720, 720, 840, 840],
  judge: (status) =>
    status === undefined || RETRIED_STATUSES.has(status) ? 'again' : status < 400 ? 'accepted' : 'refused',
}

type WebhookForm = Knobs['webhookForm']
export type SevenTarget = WebhookTarget & { form: WebhookForm }

/** The events as they were recorded: the data of a webhook, and its name. */
interface WebhookEvent {
  event: string
  data: Record<string, string>
}

export function createSevenFormat(
  knobs: () => Knobs,
  hooks: () => readonly Hook[],
): WebhookFormat<SevenStatus, SevenMessage, SevenTarget> {
  const sign = (request: OutgoingRequest) => {
    const { signingKey, signatureUrl } = knobs()
    return signingKey === null ? request : signRequest(request, { key: signingKey, signatureUrl })
  }
  return {
    policy,
    targets() {
      const { webhookUrl, webhookForm } = knobs()
      const formOf = ({ request_method }: Hook): WebhookForm =>
        request_method === 'POST' && webhookForm === 'nested' ? 'nested' : request_method
      const subscribed = hooks().filter(({ event_type, enabled }) => event_type === 'dlr' && enabled)
      return [
        ...(webhookUrl === null ? [] : [{ url: webhookUrl, form: webhookForm }]),
        ...subscribed.map((hook) => ({ url: hook.target_url, form: formOf(hook) })),
      ]
    },
    write: (message, step, target, random) =>
      sign(encode(writeReceipt(message, step, target, random), knobs().webhookEncoding, random)),
    writeNoise: (target, random) => sign(random() < 0.5 ? writeEmpty(target) : writeEvent(otherEvent(random), target)),
    rewrite: (request) => (knobs().signRetriesAnew ? sign(request) : request),
  }
}

function receiptOf({ messageId, foreignId }: SevenMessage, { status, at }: Transition): WebhookEvent {
  const data = { msg_id: messageId, status, timestamp: formatBerlinTime(at, 6) }
  return { event: 'dlr', data: foreignId === null ? data : { ...data, foreign_id: foreignId } }
}

function writeReceipt(
  message: SevenMessage,
  step: Transition,
  { url, form }: SevenTarget,
  random: Random,
): OutgoingRequest {
  const drawn = form === 'mixed' ? pick(SEVEN_WEBHOOK_FORMS, random) : form
  return writeEvent(receiptOf(message, step), { url, form: drawn })
}

/** Events that concern no delivery. */
function otherEvent(random: Random): WebhookEvent {
  const drawn = random()
  if (drawn < 0.5) return inboundSms(random)
  const id = String(Math.floor(random() * 1e7))
  return drawn < 0.75
    ? { event: 'wa_mo', data: { id, from: '447700900999', text: 'Hello' } }
    : { event: 'rcs', data: { msg_id: id, status: 'IS_TYPING' } }
}

function inboundSms(random: Random): WebhookEvent {
  const now = Date.now()
  const id = String(Math.floor(random() * 1e7))
  const data = { id, message_type: 'SMS', sender: '447700900999', system: '447700900000', text: 'Stop' }
  return { event: 'sms_mo', data: { ...data, time: String(Math.floor(now / 1000)) } }
}

function writeEvent({ event, data }: WebhookEvent, { url, form }: SevenTarget): OutgoingRequest {
  const webhook_timestamp = formatBerlinTimeWithOffset(new Date())
  switch (form) {
    case 'JSON':
      return postJson(url, JSON.stringify({ data, webhook_event: event, webhook_timestamp }))
    case 'GET':
      return get(url, { webhook_event: event, ...data })
    case 'POST':
      return postForm(url, { webhook_event: event, ...data })
    case 'flat':
      return postJson(url, JSON.stringify({ webhook_event: event, webhook_timestamp, ...data }))
    case 'list':
      return postJson(url, JSON.stringify([{ data, webhook_event: event, webhook_timestamp }]))
    case 'older':
      return get(url, event === 'dlr' ? data : { webhook_event: event, ...data })
    case 'query':
      return postQuery(url, { webhook_event: event, ...data })
    case 'parts':
      return postParts(url, { webhook_event: event, ...data })
    case 'rcs':
      return postJson(url, JSON.stringify({ data, webhook_event: event === 'dlr' ? 'rcs' : event, webhook_timestamp }))
    case 'nested':
    case 'mixed': {
      const nested = Object.fromEntries(Object.entries(data).map(([name, value]) => [`data[${name}]`, value]))
      return postForm(url, { ...nested, webhook_event: event, webhook_timestamp })
    }
  }
}

function writeEmpty({ url, form }: SevenTarget): OutgoingRequest {
  if (form === 'GET' || form === 'older') return get(url, {})
  return form === 'POST' || form === 'nested' ? postForm(url, {}) : postJson(url, '')
}

function postJson(url: string, body: string): OutgoingRequest {
  return post(url, 'application/json', body)
}

/**
 * CM.com's delivery receipts: JSON, XML, and the two vocabularies of older set-ups, by GET or as a form.
 *
 * They are not signed. A receipt is sent again for any answer that is not a success, for up to 7 days of the law.
 */
import { formatAmsterdamTime } from '../berlin-time.ts'
import type { RetryPolicy } from '../delivery.ts'
import { encode } from '../encodings.ts'
import { CM_WEBHOOK_FORMS, type Knobs } from '../knobs.ts'
import type { Step } from '../messages.ts'
import { get, type OutgoingRequest, post, postForm, postParts, postQuery } from '../outgoing-request.ts'
import { pick, type Random } from '../random.ts'
import type { WebhookFormat, WebhookTarget } from '../webhooks.ts'
import type { CmMessage, CmStatus } from './messages.ts'
import { CM_ERROR_TEXTS } from './transactions.ts'

const policy: RetryPolicy = {
  // The pauses are ours: known is that they end after 7 days.
  pausesMin: [0, 1, 5, 15, 30, 60, 120, 240, 480, 720, 1_440, 1_440, 1_440, 1_440, 1_440, 1_209],
  judge: (status) => (status !== undefined && status >= 200 && status < 300 ? 'accepted' : 'again'),
}

/** The code of each status; null is told by the transactions alone. */
const CODES = {
  Accepted: null,
  Sent: 0,
  Delivered: 2,
  Failed: 3,
  Rejected: 1,
  Undelivered: 3,
} as const satisfies Record<CmStatus, number | null>

/** One delivery receipt, before it is written. */
interface Receipt {
  received: string
  sent: string
  to: string
  reference: string
  code: string
  errorCode: string
  errorDescription: string
}

export function createCmFormat(knobs: () => Knobs): WebhookFormat<CmStatus, CmMessage, WebhookTarget> {
  return {
    policy,
    targets() {
      const { cmWebhookUrl } = knobs()
      return cmWebhookUrl === null ? [] : [{ url: cmWebhookUrl }]
    },
    isTold: ({ status }) => CODES[status] !== null,
    write(message, step, { url }, random) {
      const { cmWebhookForm, webhookEncoding } = knobs()
      return encode(writeReceipt(message, step, url, formOf(cmWebhookForm, random)), webhookEncoding, random)
    },
    writeNoise: ({ url }, random) => writeNoise(url, formOf(knobs().cmWebhookForm, random), random),
  }
}

type Form = (typeof CM_WEBHOOK_FORMS)[number]

function formOf(form: Knobs['cmWebhookForm'], random: Random): Form {
  return form === 'mixed' ? pick(CM_WEBHOOK_FORMS, random) : form
}

function writeReceipt(message: CmMessage, step: Step<CmStatus>, url: string, form: Form): OutgoingRequest {
  const receipt = receiptOf(message, step)
  switch (form) {
    case 'json':
      return post(url, 'application/json', JSON.stringify({ messages: { msg: jsonOf(receipt) } }))
    case 'jsonArray': {
      const msg = receiptsUpTo(message, step).map(jsonOf)
      return post(url, 'application/json', JSON.stringify({ messages: { msg } }))
    }
    case 'xml':
      return post(url, 'application/xml', `<MESSAGES>${xmlOf(receipt)}</MESSAGES>`)
    case 'xmlSeveral': {
      const msgs = receiptsUpTo(message, step).map(xmlOf).join('')
      return post(url, 'application/xml', `<MESSAGES SENT="${formatAmsterdamTime(new Date())}">${msgs}</MESSAGES>`)
    }
    case 'getUpper':
      return get(url, upperCaseFields(receipt))
    case 'getLower':
      return get(url, lowerCaseFields(receipt))
    case 'formUpper':
      return postForm(url, upperCaseFields(receipt))
    case 'formLower':
      return postForm(url, lowerCaseFields(receipt))
    case 'older':
      return get(url, oldestFields(receipt))
    case 'query':
      return postQuery(url, lowerCaseFields(receipt))
    case 'parts':
      return postParts(url, upperCaseFields(receipt))
  }
}

/**
 * Requests that concern no message of the account: nothing, fields that nobody filled in, a message without a
 * reference.
 */
function writeNoise(url: string, form: Form, random: Random): OutgoingRequest {
  const drawn = random()
  if (drawn < 0.5) return writeNothing(url, form)
  if (drawn < 0.75) return get(url, { reference: '[REFERENCE]', statuscode: '[STATUS]', to: '[GSM]' })
  const msg = { received: formatAmsterdamTime(new Date()), to: '0031612345678', reference: '', status: { code: '2' } }
  return post(url, 'application/json', JSON.stringify({ messages: { msg } }))
}

/** The request by which the set-up screen tests a URL: it carries nothing. */
function writeNothing(url: string, form: Form): OutgoingRequest {
  if (form.startsWith('get') || form === 'older') return get(url, {})
  if (form.startsWith('form')) return postForm(url, {})
  return post(url, form.startsWith('xml') ? 'application/xml' : 'application/json', '')
}

function receiptsUpTo(message: CmMessage, step: Step<CmStatus>): Receipt[] {
  const steps = message.history.slice(0, message.history.indexOf(step) + 1)
  return steps.filter(({ status }) => CODES[status] !== null).map((earlier) => receiptOf(message, earlier))
}

function receiptOf({ recipient, reference, sentAt }: CmMessage, { status, at }: Step<CmStatus>): Receipt {
  const failure = CM_ERROR_TEXTS[status]
  return {
    received: formatAmsterdamTime(at),
    sent: formatAmsterdamTime(sentAt),
    to: `00${recipient}`,
    reference,
    code: String(CODES[status]),
    errorCode: failure === undefined ? '' : status,
    errorDescription: failure ?? '',
  }
}

/** The recorded one says `Delivered` here, and the XML one nothing. */
function jsonOf({ received, to, reference, code, errorCode, errorDescription }: Receipt): object {
  const description = code === String(CODES.Delivered) ? 'Delivered' : errorDescription
  return { received, to, reference, status: { code, errorCode, errorDescription: description }, operator: '' }
}

function xmlOf({ received, to, reference, code, errorCode, errorDescription }: Receipt): string {
  const status = xmlElement('CODE', code) + xmlElement('ERRORCODE', errorCode)
  return (
    `<MSG RECEIVED="${received}">${xmlElement('TO', to)}${xmlElement('REFERENCE', reference)}` +
    `<STATUS>${status}${xmlElement('ERRORDESCRIPTION', errorDescription)}</STATUS></MSG>`
  )
}

/** Numbers, letters and our own texts need no escaping. */
function xmlElement(name: string, text: string): string {
  return text === '' ? `<${name}/>` : `<${name}>${text}</${name}>`
}

function upperCaseFields({ received, to, reference, code, errorCode, errorDescription }: Receipt) {
  return {
    REFERENCE: reference,
    STATUS: code,
    GSM: to,
    CREATED_S: received,
    STATUSDESCRIPTION: errorCode,
    STANDARDERRORTEXT: errorDescription,
    OPERATOR: '',
  }
}

/** The oldest words: a success has no code of its own but this one. */
function oldestFields({ received, to, reference, code, errorDescription }: Receipt) {
  return {
    DATETIME_S: received,
    ID: '',
    STATUSISSUCCESS: code === String(CODES.Delivered) ? '1' : '0',
    REFERENCE: reference,
    STATUS: code,
    GSM: to,
    STATUSDESCRIPTION: errorDescription,
  }
}

function lowerCaseFields({ received, sent, to, reference, code, errorCode, errorDescription }: Receipt) {
  return {
    reference,
    statuscode: code,
    to,
    received,
    sent,
    errorcode: errorCode,
    errordescription: errorDescription,
  }
}

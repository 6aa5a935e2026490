/**
 * Sending through CM.com (https://developers.cm.com/messaging/docs/integration), with its answers
 * (https://developers.cm.com/messaging/docs/responses-errors-json). Faults strike questions about statuses only.
 *
 * Its limit: a message without a reference, or with a reference and recipient sent before, is refused here, where CM.com
 * takes it: nobody could tell which one a receipt is about.
 */
import type { FastifyInstance } from 'fastify'
import { z } from 'zod'
import { LastwordError } from '../../core/errors.ts'
import { partsOf } from '../messages.ts'
import type { CmKey, CmSending } from './messages.ts'

export interface CmSmsRoutes {
  productToken: string
  send: (sending: CmSending) => CmKey[]
}

/** The codes of the documents. */
const OK = 0
const WRONG_TOKEN = 101
const NOT_ALL_SENT = 201
const MALFORMED = 202
const NO_SENDER = 301
const NO_RECIPIENT = 302
const BAD_NUMBER = 303
const NO_BODY = 304
const BAD_FIELD = 305

const text = z.string().default('')
const smsSchema = z.object({
  from: text,
  to: z.array(z.object({ number: text })).default([]),
  body: z.object({ content: text }).default({ content: '' }),
  reference: text,
})
type Sms = z.output<typeof smsSchema>
const requestSchema = z.object({
  messages: z.object({
    authentication: z.object({ producttoken: z.string() }).optional(),
    msg: z.array(smsSchema).min(1),
  }),
})

/** One recipient of one message, as it is answered. */
interface SmsAnswer {
  to: string
  status: 'Accepted' | 'Rejected'
  reference: string
  parts: number
  messageDetails: string | null
  messageErrorCode: number
}

export function addCmSmsRoute(app: FastifyInstance, { productToken, send }: CmSmsRoutes): void {
  app.post('/cm/v1.0/message', async (request, reply) => {
    const refuse = (errorCode: number, details: string) => reply.code(400).send({ details, errorCode, messages: [] })
    const asked = requestSchema.safeParse(withLowerCaseNames(request.body))
    const token = request.headers['x-cm-producttoken'] ?? asked.data?.messages.authentication?.producttoken
    if (token !== productToken) return refuse(WRONG_TOKEN, 'No account found for the given authentication')
    if (!asked.success) return refuse(MALFORMED, 'Malformed request')
    const messages = asked.data.messages.msg.flatMap((sms) => sendSms(sms, send))
    const accepted = messages.filter(({ status }) => status === 'Accepted').length
    return reply.code(accepted > 0 ? 200 : 400).send({
      details: `Created ${accepted} message(s)`,
      errorCode: accepted === messages.length ? OK : NOT_ALL_SENT,
      messages,
    })
  })
}

/** Both `msg` and `Msg` are in use. */
function withLowerCaseNames(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(withLowerCaseNames)
  if (typeof value !== 'object' || value === null) return value
  return Object.fromEntries(Object.entries(value).map(([name, part]) => [name.toLowerCase(), withLowerCaseNames(part)]))
}

function sendSms(sms: Sms, send: CmSmsRoutes['send']): SmsAnswer[] {
  const { from, to, body, reference } = sms
  const refuse = (number: string, messageErrorCode: number, messageDetails: string): SmsAnswer => {
    return { to: number, status: 'Rejected', reference, parts: 0, messageDetails, messageErrorCode }
  }
  if (to.length === 0) return [refuse('', NO_RECIPIENT, 'No phone numbers found')]
  return to.map(({ number }) => {
    if (from === '') return refuse(number, NO_SENDER, 'No from field found')
    if (body.content === '') return refuse(number, NO_BODY, 'A body without content was found')
    if (!/^\+?\d{5,20}$/.test(number)) return refuse(number, BAD_NUMBER, `Gsm '${number}' is not a number.`)
    if (reference === '') return refuse(number, BAD_FIELD, 'The sandbox expects a reference, by which it is tracked')
    try {
      send({ reference, recipients: [number] })
    } catch (error) {
      if (!(error instanceof LastwordError)) throw error
      return refuse(number, BAD_FIELD, error.message)
    }
    const parts = partsOf(body.content)
    return { to: number, status: 'Accepted', reference, parts, messageDetails: null, messageErrorCode: OK }
  })
}

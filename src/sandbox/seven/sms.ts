/**
 * Sending through seven.io (https://docs.seven.io/en/rest-api/endpoints/sms). Faults strike questions about statuses only:
 * an app whose sending failed has no message to ask about.
 */
import type { FastifyInstance } from 'fastify'
import { z } from 'zod'
import { partsOf } from '../messages.ts'
import type { SevenMessage, SevenSending } from './messages.ts'

export interface SmsRoutes {
  apiKey: string
  send: (recipients: readonly string[], options: SevenSending) => SevenMessage[]
}

/** Of https://docs.seven.io/en/rest-api/response-codes. */
const WRONG_KEY = 900
const NO_RECIPIENT = 301
const NO_TEXT = 305

export function addSmsRoute(app: FastifyInstance, { apiKey, send }: SmsRoutes): void {
  app.post('/api/sms', async (request, reply) => {
    reply.type('application/json')
    if (request.headers['x-api-key'] !== apiKey) return reply.send(String(WRONG_KEY))
    const sms = smsSchema.safeParse(request.body)
    if (!sms.success) {
      const withoutRecipient = sms.error.issues.some(({ path }) => path[0] !== 'text')
      return reply.send(JSON.stringify(String(withoutRecipient ? NO_RECIPIENT : NO_TEXT)))
    }
    const { to, text, from, foreign_id } = sms.data
    const sent = send(to, { foreignId: foreign_id, sender: from, text })
    return reply.send(JSON.stringify(sendAnswer(sent, text, from)))
  })
}

const smsSchema = z.object({
  to: z
    .union([z.string(), z.array(z.string())])
    .transform((to) =>
      [to]
        .flat()
        .flatMap((list) => list.split(','))
        .map((recipient) => recipient.trim())
        .filter((recipient) => recipient !== ''),
    )
    .pipe(z.array(z.string()).min(1)),
  text: z.string().min(1),
  from: z.string().default('sandbox'),
  foreign_id: z.string().optional(),
})

function sendAnswer(sent: readonly SevenMessage[], text: string, sender: string): Record<string, unknown> {
  return {
    success: '100',
    total_price: 0,
    balance: 1000,
    debug: 'false',
    sms_type: 'direct',
    messages: sent.map(({ messageId, recipient }) => ({
      id: messageId,
      sender,
      recipient,
      text,
      encoding: 'gsm',
      label: null,
      parts: partsOf(text),
      udh: null,
      is_binary: false,
      price: 0,
      success: true,
      error: null,
      error_text: null,
    })),
  }
}

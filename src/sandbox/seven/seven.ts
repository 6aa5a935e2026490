/**
 * seven.io's wire format: the status query and sending.
 *
 * Sources: https://docs.seven.io/en/rest-api/endpoints/status and https://docs.seven.io/en/rest-api/endpoints/sms.
 * Faults strike the status query only: an app whose sending failed has no message to ask about.
 */
import type { FastifyInstance, FastifyRequest } from 'fastify'
import { z } from 'zod'
import { formatBerlinTime } from '../berlin-time.ts'
import { type Answer, type AnswerCounts, createAnswerCounts, errorCodeBody, type Responder } from '../faults.ts'
import type { Knobs } from '../knobs.ts'
import {
  type MessageStore,
  noteIfToldFinal,
  type SandboxMessage,
  type SendOptions,
  transitionAt,
  wordOf,
} from '../messages.ts'

/** Counts of the status queries, those with a wrong API key left out. */
export interface QueryStats extends AnswerCounts {
  wrongKeys: number
  /** Requests answered with 600 for one of the knob's `poisonIds`. */
  poisoned: number
  /** Requests that came when the status query was switched off. */
  gone: number
  /** IDs in all requests, repeats included. */
  idsAsked: number
  unknownIdsAsked: number
  /** How many requests had so many IDs. */
  idsPerRequest: Record<number, number>
}

export function createQueryStats(): QueryStats {
  const counts = { wrongKeys: 0, poisoned: 0, gone: 0, idsAsked: 0, unknownIdsAsked: 0, idsPerRequest: {} }
  return { ...createAnswerCounts(), ...counts }
}

export interface SevenRoutes {
  apiKey: string
  messages: MessageStore
  send: (recipients: readonly string[], options: SendOptions) => SandboxMessage[]
  knobs: () => Knobs
  stats: QueryStats
  respond: Responder
}

/** How the status query may be switched off. The documents name no date and no form, so these are guesses. */
const GONE = {
  gone404: { status: 404, body: '{"error":"Not Found"}' },
  gone410: { status: 410, body: '{"error":"Gone"}' },
  gone200: {
    status: 200,
    body: '{"success":false,"message":"This endpoint is no longer available. Please use /api/journal/outbound instead."}',
  },
} as const

/** Of https://docs.seven.io/en/rest-api/response-codes. */
const WRONG_KEY = 900
const BAD_ID = 600
const NO_RECIPIENT = 301
const NO_TEXT = 305

export function addSevenRoutes(app: FastifyInstance, routes: SevenRoutes): void {
  const { apiKey, messages, send, knobs, stats, respond } = routes
  const hasKey = (request: FastifyRequest) => request.headers['x-api-key'] === apiKey

  app.get('/api/status', async (request, reply) => {
    if (!hasKey(request)) {
      stats.wrongKeys += 1
      return reply.type(answerType(request)).send(String(WRONG_KEY))
    }
    const messageIds = readMessageIds(request.query)
    countQuery(stats, messages, messageIds)
    const { statusQuery, poisonIds, errorCode } = knobs()
    if (statusQuery !== 'on') {
      stats.gone += 1
      return reply.code(GONE[statusQuery].status).type('application/json').send(GONE[statusQuery].body)
    }
    if (messageIds.some((messageId) => poisonIds.includes(messageId))) {
      stats.poisoned += 1
      return reply.type('application/json').send(errorCodeBody(BAD_ID, errorCode.form))
    }
    return respond(reply, stats, (now) => {
      const answer = answerStatusQuery(messages, messageIds, answerType(request), knobs().unknownIds, now)
      const onSent = () => {
        for (const message of messageIds.map(messages.find)) if (message) noteIfToldFinal(message, wordOf, now)
      }
      return { answer, onSent }
    })
  })

  app.post('/api/sms', async (request, reply) => {
    reply.type('application/json')
    if (!hasKey(request)) return reply.send(String(WRONG_KEY))
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

/** JSON only for those who ask for it. */
function answerType(request: FastifyRequest): Answer['type'] {
  return request.headers.accept?.includes('application/json') ? 'application/json' : 'text/plain'
}

function readMessageIds(query: unknown): string[] {
  const parsed = z.object({ msg_id: z.union([z.string(), z.array(z.string())]) }).safeParse(query)
  const text = parsed.success ? [parsed.data.msg_id].flat().join(',') : ''
  return text
    .split(',')
    .map((messageId) => messageId.trim())
    .filter((messageId) => messageId !== '')
}

function countQuery(stats: QueryStats, messages: MessageStore, messageIds: readonly string[]): void {
  const now = Date.now()
  stats.requests += 1
  stats.idsAsked += messageIds.length
  stats.idsPerRequest[messageIds.length] = (stats.idsPerRequest[messageIds.length] ?? 0) + 1
  for (const messageId of messageIds) {
    const message = messages.find(messageId)
    if (message) message.askedAt.push(now)
    else stats.unknownIdsAsked += 1
  }
}

function answerStatusQuery(
  messages: MessageStore,
  messageIds: readonly string[],
  type: Answer['type'],
  unknownIds: Knobs['unknownIds'],
  now: number,
): Answer {
  const isKnown = (messageId: string) => messages.find(messageId) !== undefined
  if (messageIds.length === 0 || (unknownIds === 'error' && !messageIds.every(isKnown))) {
    return { type, body: String(BAD_ID) }
  }
  const asked = unknownIds === 'missing' ? messageIds.filter(isKnown) : messageIds
  const rows = asked.map((id) => {
    const message = messages.find(id)
    const transition = message && transitionAt(message, now)
    const status_time = transition ? formatBerlinTime(transition.at, 3) : null
    return { id, status: transition?.status ?? null, status_time }
  })
  if (type === 'application/json') return { type, body: JSON.stringify(rows) }
  return { type, body: rows.map(({ status, status_time }) => `${status ?? ''}\n${status_time ?? ''}`).join('\n') }
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

const ONE_PART_CHARS = 160
const EACH_PART_CHARS = 153

function sendAnswer(sent: readonly SandboxMessage[], text: string, sender: string): Record<string, unknown> {
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
      parts: text.length <= ONE_PART_CHARS ? 1 : Math.ceil(text.length / EACH_PART_CHARS),
      udh: null,
      is_binary: false,
      price: 0,
      success: true,
      error: null,
      error_text: null,
    })),
  }
}

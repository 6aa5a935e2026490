/**
 * seven.io's wire format: the status query and sending.
 *
 * Sources: https://docs.seven.io/en/rest-api/endpoints/status and https://docs.seven.io/en/rest-api/endpoints/sms.
 * Faults strike the status query only: an app whose sending failed has no message to ask about.
 */
import type { FastifyInstance, FastifyRequest } from 'fastify'
import { z } from 'zod'
import type { Agenda } from './agenda.ts'
import { formatBerlinTime } from './berlin-time.ts'
import { type Answer, drawFault, FAULTS, type Fault, replyWithFault } from './faults.ts'
import type { Knobs } from './knobs.ts'
import {
  isFinalTransition,
  type MessageStore,
  type SandboxMessage,
  type SendOptions,
  transitionAt,
} from './messages.ts'
import type { Random } from './random.ts'

/** Counts of the status queries, those with a wrong API key left out. */
export interface QueryStats {
  requests: number
  /** Requests that got the answer they asked for. */
  answered: number
  faults: Record<Fault, number>
  wrongKeys: number
  /** IDs in all requests, repeats included. */
  idsAsked: number
  unknownIdsAsked: number
  /** How many requests had so many IDs. */
  idsPerRequest: Record<number, number>
}

export function createQueryStats(): QueryStats {
  const faults = Object.fromEntries(FAULTS.map((fault) => [fault, 0])) as Record<Fault, number>
  return { requests: 0, answered: 0, faults, wrongKeys: 0, idsAsked: 0, unknownIdsAsked: 0, idsPerRequest: {} }
}

export interface SevenRoutes {
  apiKey: string
  messages: MessageStore
  send: (recipients: readonly string[], options: SendOptions) => SandboxMessage[]
  knobs: () => Knobs
  stats: QueryStats
  random: Random
  agenda: Agenda
}

/** Of https://docs.seven.io/en/rest-api/response-codes. */
const WRONG_KEY = 900
const BAD_ID = 600
const NO_RECIPIENT = 301
const NO_TEXT = 305

export function addSevenRoutes(app: FastifyInstance, routes: SevenRoutes): void {
  const { apiKey, messages, send, knobs, stats, random, agenda } = routes
  const hasKey = (request: FastifyRequest) => request.headers['x-api-key'] === apiKey

  app.get('/api/status', async (request, reply) => {
    if (!hasKey(request)) {
      stats.wrongKeys += 1
      return reply.type(answerType(request)).send(String(WRONG_KEY))
    }
    const messageIds = readMessageIds(request.query)
    countQuery(stats, messages, messageIds)
    const { latencyMs } = knobs()
    if (latencyMs > 0) await agenda.pause(latencyMs)
    const now = Date.now()
    const answer = answerStatusQuery(messages, messageIds, answerType(request), knobs().unknownIds, now)
    const fault = drawFault(random, knobs())
    if (fault) {
      stats.faults[fault] += 1
      return replyWithFault(reply, { fault, answer, knobs: knobs(), random, agenda })
    }
    stats.answered += 1
    for (const messageId of messageIds) noteIfToldFinal(messages.find(messageId), now)
    return reply.type(answer.type).send(answer.body)
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
    const sent = send(to, { foreignId: foreign_id })
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

function noteIfToldFinal(message: SandboxMessage | undefined, now: number): void {
  if (!message || message.toldFinalAt !== null) return
  const transition = transitionAt(message, now)
  if (transition && isFinalTransition(transition)) message.toldFinalAt = now
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

/** seven.io's status query (https://docs.seven.io/en/rest-api/endpoints/status). */
import type { FastifyInstance, FastifyRequest } from 'fastify'
import { z } from 'zod'
import { formatBerlinTime } from '../berlin-time.ts'
import { type Answer, type AnswerCounts, createAnswerCounts, errorCodeBody, type Responder } from '../faults.ts'
import type { Knobs } from '../knobs.ts'
import { noteIfToldFinal, transitionAt } from '../messages.ts'
import { type SevenMessageStore, sevenWordOf } from './messages.ts'

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

export interface StatusQueryRoutes {
  apiKey: string
  messages: SevenMessageStore
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

export function addStatusQueryRoute(app: FastifyInstance, routes: StatusQueryRoutes): void {
  const { apiKey, messages, knobs, stats, respond } = routes
  app.get('/api/status', async (request, reply) => {
    if (request.headers['x-api-key'] !== apiKey) {
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
        for (const message of messageIds.map(messages.find)) if (message) noteIfToldFinal(message, sevenWordOf, now)
      }
      return { answer, onSent }
    })
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

function countQuery(stats: QueryStats, messages: SevenMessageStore, messageIds: readonly string[]): void {
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
  messages: SevenMessageStore,
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

/**
 * seven.io's logbook of what was sent (https://docs.seven.io/en/rest-api/endpoints/journal): one message by its ID, or
 * the pages of some days, newest first.
 */
import type { FastifyInstance } from 'fastify'
import { z } from 'zod'
import { formatBerlinTime, startOfBerlinDay } from '../berlin-time.ts'
import { type AnswerCounts, createAnswerCounts, type Responder } from '../faults.ts'
import { digitsOf, noteIfToldFinal, transitionAt } from '../messages.ts'
import { type SevenMessage, type SevenMessageStore, sevenWordOf } from './messages.ts'

/** Counts of the requests to the logbook, those with a wrong API key left out. */
export interface LogbookStats extends AnswerCounts {
  wrongKeys: number
  /** Requests that named an ID; the others asked for a page. */
  requestsById: number
  /** Rows in all answers that were sent. */
  rows: number
}

export function createLogbookStats(): LogbookStats {
  return { ...createAnswerCounts(), wrongKeys: 0, requestsById: 0, rows: 0 }
}

export interface LogbookRoutes {
  apiKey: string
  messages: SevenMessageStore
  stats: LogbookStats
  respond: Responder
}

const WRONG_KEY = 900
const MOST_ROWS = 100

const daySchema = z.iso.date().optional().catch(undefined)
const querySchema = z.object({
  id: z.string().optional().catch(undefined),
  date_from: daySchema,
  date_to: daySchema,
  state: z.string().optional().catch(undefined),
  to: z.string().optional().catch(undefined),
  limit: z.coerce.number().int().min(1).max(MOST_ROWS).catch(MOST_ROWS),
  offset: z.coerce.number().int().min(0).catch(0),
})
type LogbookQuery = z.output<typeof querySchema>

export function addLogbookRoute(app: FastifyInstance, { apiKey, messages, stats, respond }: LogbookRoutes): void {
  app.get('/api/journal/outbound', async (request, reply) => {
    if (request.headers['x-api-key'] !== apiKey) {
      stats.wrongKeys += 1
      return reply.type('application/json').send(String(WRONG_KEY))
    }
    const query = querySchema.parse(request.query)
    stats.requests += 1
    if (query.id !== undefined) stats.requestsById += 1
    return respond(reply, stats, (now) => {
      const found = findMessages(messages, query, now)
      for (const { askedAt } of found) askedAt.push(now)
      const body = JSON.stringify(found.map((message) => rowOf(message, now)))
      const onSent = () => {
        stats.rows += found.length
        for (const message of found) noteIfToldFinal(message, sevenWordOf, now)
      }
      return { answer: { type: 'application/json', body }, onSent }
    })
  })
}

function findMessages(messages: SevenMessageStore, query: LogbookQuery, now: number): SevenMessage[] {
  const { id, date_from, date_to, state, to, limit, offset } = query
  const from = date_from === undefined ? Number.NEGATIVE_INFINITY : startOfBerlinDay(date_from)
  const until = date_to === undefined ? Number.POSITIVE_INFINITY : startOfBerlinDay(date_to, 1)
  const matches = (message: SevenMessage) =>
    message.sentAt.getTime() >= from &&
    message.sentAt.getTime() < until &&
    (to === undefined || digitsOf(message.recipient) === digitsOf(to)) &&
    (state === undefined || transitionAt(message, now)?.status === state.toUpperCase())
  const candidates = id === undefined ? messages.list() : [messages.find(id)].filter((message) => message !== undefined)
  return candidates
    .filter(matches)
    .sort(newestFirst)
    .slice(offset, offset + limit)
}

function newestFirst(a: SevenMessage, b: SevenMessage): number {
  return b.sentAt.getTime() - a.sentAt.getTime() || Number(b.messageId) - Number(a.messageId)
}

function rowOf(message: SevenMessage, now: number): Record<string, string | null> {
  const { messageId, recipient, sender, text, sentAt, foreignId } = message
  const transition = transitionAt(message, now)
  return {
    id: messageId,
    to: recipient,
    from: sender,
    text,
    timestamp: formatBerlinTime(sentAt, 3),
    price: '0.075',
    dlr: transition?.status ?? null,
    dlr_timestamp: transition ? formatBerlinTime(transition.at, 3) : null,
    mccmnc: transition ? '23430' : null,
    latency: transition ? ((transition.at.getTime() - sentAt.getTime()) / 1000).toFixed(3) : null,
    type: 'direct',
    channel: 'sms',
    connection: 'http',
    label: null,
    foreign_id: foreignId,
  }
}

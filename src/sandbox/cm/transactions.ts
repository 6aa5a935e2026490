/**
 * CM.com's transactions API, version 1.2: what was sent in a window of time, page by page.
 *
 * Its window, retention and order are not documented; here all of it is kept, and the oldest come first.
 */
import type { FastifyInstance } from 'fastify'
import { z } from 'zod'
import { formatBerlinTimeWithOffset } from '../berlin-time.ts'
import { type AnswerCounts, createAnswerCounts, type Responder } from '../faults.ts'
import type { Knobs } from '../knobs.ts'
import { noteIfToldFinal, transitionAt } from '../messages.ts'
import { type CmMessage, type CmMessageStore, type CmStatus, cmWordOf } from './messages.ts'

/** Counts of the requests, those with a wrong product token left out. */
export interface TransactionStats extends AnswerCounts {
  wrongTokens: number
  /** Answers that held rows. */
  pages: number
  rows: number
}

export function createTransactionStats(): TransactionStats {
  return { ...createAnswerCounts(), wrongTokens: 0, pages: 0, rows: 0 }
}

export interface TransactionRoutes {
  productToken: string
  messages: CmMessageStore
  knobs: () => Knobs
  stats: TransactionStats
  respond: Responder
}

/** Its own scale; which of 19 and 37, and of 22 and 40, is which has not been confirmed. */
const CODES = {
  Accepted: 19,
  Sent: 37,
  Delivered: 20,
  Failed: 21,
  Rejected: 22,
  Undelivered: 40,
} as const satisfies Record<CmStatus, number>

/** Reasons of failures, made up: the sandbox has no handsets. */
export const CM_ERROR_TEXTS: Readonly<Partial<Record<CmStatus, string>>> = {
  Failed: 'Message validity expired',
  Rejected: 'Unknown subscriber',
  Undelivered: 'Absent subscriber',
}

const timeSchema = z.string().regex(/^\d{4}-\d{2}-\d{2}T\d{2}:\d{2}:\d{2}$/, 'expected yyyy-MM-ddTHH:mm:ss')
const querySchema = z.object({
  startdate: timeSchema.optional(),
  enddate: timeSchema.optional(),
  reference: z.string().optional(),
  channel: z.string().default('SMS'),
  direction: z.string().default('out'),
  pagesize: z.coerce.number().int().min(1).max(10_000).default(1_000),
  page: z.coerce.number().int().min(1).default(1),
})
type TransactionQuery = z.output<typeof querySchema>

const NONE = 'There are no transactions available with these parameters'

export function addTransactionRoute(app: FastifyInstance, routes: TransactionRoutes): void {
  const { productToken, messages, knobs, stats, respond } = routes
  app.get('/cm/v1.2/transactions/', async (request, reply) => {
    if (request.headers['x-cm-producttoken'] !== productToken) {
      stats.wrongTokens += 1
      return reply.code(401).send({ status: 0, message: 'Unauthorized' })
    }
    stats.requests += 1
    const parsed = querySchema.safeParse(request.query)
    if (!parsed.success) {
      const message = parsed.error.issues.map(({ path, message }) => `${path.join('.')}: ${message}`).join('; ')
      return reply.code(400).send({ status: 0, message })
    }
    const { page, pagesize } = parsed.data
    return respond(reply, stats, (now) => {
      const all = findMessages(messages, parsed.data, now)
      const found = all.slice((page - 1) * pagesize, page * pagesize)
      for (const { askedAt } of found) askedAt.push(now)
      const said = found.length > 0 ? { status: 1, message: 'Ok' } : { status: knobs().cmEmptyStatus, message: NONE }
      const pagination = { currentPage: page, totalPages: Math.ceil(all.length / pagesize), pageSize: pagesize }
      const summary = { transactions: all.length }
      const result = found.map((message) => rowOf(message, now))
      const onSent = () => {
        stats.rows += found.length
        if (found.length > 0) stats.pages += 1
        for (const message of found) noteIfToldFinal(message, cmWordOf, now)
      }
      const body = JSON.stringify({ ...said, pagination, summary, result })
      return { answer: { type: 'application/json', body }, onSent }
    })
  })
}

/** Local times are compared as they are written, so that the doubled hour of autumn is one to it, as to the asker. */
function findMessages(messages: CmMessageStore, query: TransactionQuery, now: number): CmMessage[] {
  const { startdate = '', enddate = '9', reference, channel, direction } = query
  if (channel.toUpperCase() !== 'SMS' || direction.toLowerCase() !== 'out') return []
  const candidates =
    reference === undefined
      ? messages.findCreated(startdate, enddate)
      : messages.findAll(reference).filter(({ created }) => created >= startdate && created <= enddate)
  return candidates
    .filter((message) => transitionAt(message, now) !== undefined)
    .sort((a, b) => a.sentAt.getTime() - b.sentAt.getTime())
}

function rowOf(message: CmMessage, now: number): Record<string, string | number | null> {
  const status = transitionAt(message, now)?.status ?? 'Accepted'
  return {
    recipient: `00${message.recipient}`,
    reference: message.reference,
    status: CODES[status],
    statusdescription: status,
    standarderror: CM_ERROR_TEXTS[status] === undefined ? null : status,
    errordescription: CM_ERROR_TEXTS[status] ?? '',
    created: formatBerlinTimeWithOffset(message.sentAt),
  }
}

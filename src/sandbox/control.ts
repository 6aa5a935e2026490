/** The sandbox's own routes, for people and other processes: send messages, learn the truth, turn the knobs. */
import type { FastifyInstance } from 'fastify'
import { z } from 'zod'
import { LastwordError } from '../core/errors.ts'
import type { CmSandbox } from './cm/cm.ts'
import type { Knobs } from './knobs.ts'
import type { SevenSandbox } from './seven/seven.ts'

export interface ControlRoutes {
  seven: SevenSandbox
  cm: CmSandbox
  stats: () => object
  knobs: () => Knobs
  set: (patch: unknown) => void
}

const MOST_MESSAGES = 100_000
const sendSchema = z
  .strictObject({
    count: z.int().min(1).max(MOST_MESSAGES).optional(),
    recipients: z.array(z.string().min(1)).min(1).max(MOST_MESSAGES).optional(),
    sentAt: z.coerce.date().optional(),
    foreignId: z.string().min(1).optional(),
  })
  .refine(({ count, recipients }) => (count === undefined) !== (recipients === undefined), 'give count or recipients')

const cmSendingSchema = z.strictObject({
  reference: z.string().optional(),
  recipients: z.array(z.string().min(1)).min(1).max(MOST_MESSAGES),
})
const cmSendSchema = z.union([
  z.strictObject({ count: z.int().min(1).max(MOST_MESSAGES), sentAt: z.coerce.date().optional() }),
  z.strictObject({ messages: z.array(cmSendingSchema).min(1).max(MOST_MESSAGES), sentAt: z.coerce.date().optional() }),
])

const pageSchema = z.object({
  after: z.string().optional(),
  limit: z.coerce.number().int().min(1).max(10_000).default(1_000),
})

/**
 * | route | what it does |
 * | --- | --- |
 * | `POST /sandbox/messages` `{"count":n}` or `{"recipients":[…]}`, `sentAt?`, `foreignId?` | `{"messageIds":[…]}` |
 * | `GET /sandbox/truth?after&limit` | `{"messages":[…],"next":…or null}`, in the order of sending |
 * | `GET /sandbox/truth/{messageId}` | one of them |
 * | `POST /sandbox/cm/messages` `{"count":n}` or `{"messages":[CmSending, …]}`, `sentAt?` | `{"messages":[CmKey, …]}` |
 * | `GET /sandbox/cm/truth?after&limit`, `GET /sandbox/cm/truth/{reference}?recipient` | as above |
 * | `GET /sandbox/stats` | what was asked and what was sent |
 * | `GET /sandbox/knobs`, `PUT /sandbox/knobs` | all knobs; turns those in the body |
 */
export function addControlRoutes(app: FastifyInstance, routes: ControlRoutes): void {
  const { seven, cm, stats, knobs, set } = routes
  app.post('/sandbox/messages', async (request) => {
    const { count, recipients, ...options } = check(sendSchema, request.body)
    return { messageIds: seven.send(recipients ?? count ?? 0, options) }
  })
  app.get('/sandbox/truth', async (request) => {
    const { after, limit } = check(pageSchema, request.query)
    const found = seven.truths(after, limit + 1)
    const messages = found.slice(0, limit)
    const next = found.length > limit ? messages.at(-1)?.messageId : undefined
    return { messages, next: next ?? null }
  })
  app.get<{ Params: { messageId: string } }>('/sandbox/truth/:messageId', async (request) => {
    const truth = seven.truth(request.params.messageId)
    if (!truth) throw new LastwordError('NOT_FOUND', 'The sandbox has sent no message with this ID.')
    return truth
  })
  addCmControlRoutes(app, cm)
  app.get('/sandbox/stats', async () => stats())
  app.get('/sandbox/knobs', async () => knobs())
  app.put('/sandbox/knobs', async (request) => {
    set(request.body)
    return knobs()
  })
}

function addCmControlRoutes(app: FastifyInstance, cm: CmSandbox): void {
  app.post('/sandbox/cm/messages', async (request) => {
    const wanted = check(cmSendSchema, request.body)
    return { messages: cm.send('count' in wanted ? wanted.count : wanted.messages, { sentAt: wanted.sentAt }) }
  })
  app.get('/sandbox/cm/truth', async (request) => {
    const { after, limit } = check(
      pageSchema.extend({ after: z.coerce.number().int().min(0).default(0) }),
      request.query,
    )
    const messages = cm.truths(after, limit)
    const next = after + messages.length
    return { messages, next: next < cm.stats().messages ? String(next) : null }
  })
  app.get<{ Params: { reference: string } }>('/sandbox/cm/truth/:reference', async (request) => {
    const { recipient } = check(z.object({ recipient: z.string().optional() }), request.query)
    const truth = cm.truth(request.params.reference, recipient)
    if (!truth) throw new LastwordError('NOT_FOUND', 'The sandbox has sent no message with this reference.')
    return truth
  })
}

function check<T>(schema: z.ZodType<T>, value: unknown): T {
  const result = schema.safeParse(value)
  if (result.success) return result.data
  const issues = result.error.issues.map(({ path, message }) => ({ path: path.join('.'), message }))
  const said = issues.map(({ path, message }) => (path ? `${path}: ${message}` : message)).join('; ')
  throw new LastwordError('INPUT_INVALID', `${said}.`, { issues })
}

/** The sandbox's own routes, for people and other processes: send messages, learn the truth, turn the knobs. */
import type { FastifyInstance } from 'fastify'
import { z } from 'zod'
import { LastwordError } from '../core/errors.ts'
import type { Knobs } from './knobs.ts'
import { type MessageStore, type SendOptions, truthOf } from './messages.ts'

export interface ControlRoutes {
  messages: MessageStore
  send: (what: number | readonly string[], options: SendOptions) => string[]
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
 * | `GET /sandbox/stats` | what was asked and what was sent |
 * | `GET /sandbox/knobs`, `PUT /sandbox/knobs` | all knobs; turns those in the body |
 */
export function addControlRoutes(app: FastifyInstance, { messages, send, stats, knobs, set }: ControlRoutes): void {
  app.post('/sandbox/messages', async (request) => {
    const { count, recipients, ...options } = check(sendSchema, request.body)
    return { messageIds: send(recipients ?? count ?? 0, options) }
  })
  app.get('/sandbox/truth', async (request) => {
    const { after, limit } = check(pageSchema, request.query)
    const found = messages.list(after, limit + 1)
    const page = found.slice(0, limit)
    const next = found.length > limit ? page.at(-1)?.messageId : undefined
    return { messages: page.map((message) => truthOf(message, Date.now())), next: next ?? null }
  })
  app.get<{ Params: { messageId: string } }>('/sandbox/truth/:messageId', async (request) => {
    const message = messages.find(request.params.messageId)
    if (!message) throw new LastwordError('NOT_FOUND', 'The sandbox has sent no message with this ID.')
    return truthOf(message, Date.now())
  })
  app.get('/sandbox/stats', async () => stats())
  app.get('/sandbox/knobs', async () => knobs())
  app.put('/sandbox/knobs', async (request) => {
    set(request.body)
    return knobs()
  })
}

function check<T>(schema: z.ZodType<T>, value: unknown): T {
  const result = schema.safeParse(value)
  if (result.success) return result.data
  const issues = result.error.issues.map(({ path, message }) => ({ path: path.join('.'), message }))
  const said = issues.map(({ path, message }) => (path ? `${path}: ${message}` : message)).join('; ')
  throw new LastwordError('INPUT_INVALID', `${said}.`, { issues })
}

/**
 * The record of acts: each is a row in the database, written before it is done, and a line in the log when it has ended.
 * Without the row nothing is done: while the database is away, acts are answered 503.
 */
import type { FastifyInstance, FastifyRequest } from 'fastify'
import { z } from 'zod'
import type { Key } from '../config/keys.ts'
import { ACT_KINDS, type Act, type ActKind, type ActOutcome, describeAct } from '../core/act.ts'
import { LastwordError } from '../core/errors.ts'
import { type ActRow, beginAct, endAct, listActs } from '../db/acts.ts'
import type { Db } from '../db/client.ts'
import { parseInput } from '../parse-input.ts'
import { rowCursorSchema, textSchema, timeSchema } from './list-query.ts'
import { actPageSchema } from './openapi/act-answers.ts'
import type { RouteDoc } from './openapi/openapi.ts'

declare module 'fastify' {
  interface FastifyContextConfig {
    /** The act that a request to this route is. */
    act?: ActKind
  }
}

interface BegunAct {
  end(outcome: ActOutcome, count?: number): Promise<void>
}

/** Writes that an act begins; `end` says how it ended. */
export async function begin(db: Db, request: FastifyRequest, given: Omit<Act, 'by'>): Promise<BegunAct> {
  const act = { ...given, by: nameOf(request.key) }
  const id = await beginAct(db, act)
  return {
    async end(outcome, count) {
      request.log.info({ act: id }, describeAct(act, outcome, count))
      await endAct(db, id, { outcome, count }).catch((error: unknown) => {
        // It is done all the same, and stays in the record as begun.
        request.log.warn({ err: error, act: id }, 'how the act ended could not be recorded')
      })
    },
  }
}

/** Does the act of the route and records it; `run` resolves with how many it was about. */
export async function record(
  db: Db,
  request: FastifyRequest,
  given: Omit<Act, 'by' | 'kind'>,
  run: () => Promise<number>,
): Promise<number> {
  const { act: kind } = request.routeOptions.config
  if (!kind) throw new TypeError(`Expected the route ${request.routeOptions.url} to say which act it is.`)
  const act = await begin(db, request, { ...given, kind })
  const count = await run().catch(async (error: unknown) => {
    await act.end(error instanceof LastwordError && error.status < 500 ? 'refused' : 'failed')
    throw error
  })
  await act.end('done', count)
  return count
}

/** No name has a space. */
function nameOf(key: Key | null): string {
  return key ? (key.name ?? 'unnamed key') : 'no key'
}

const actsQuerySchema = z.strictObject({
  by: textSchema.max(40).optional().describe('Only acts of this key: its name, `unnamed key` or `no key`.'),
  kind: z.enum(ACT_KINDS).optional().describe('Only acts of this kind.'),
  after: timeSchema.optional().describe('Only acts later than this.'),
  limit: z.coerce.number().int().min(1).max(1000).default(100).describe('The most acts of an answer.'),
  cursor: rowCursorSchema,
})

const LIST: RouteDoc = {
  operationId: 'listActs',
  tag: 'Operation',
  summary: 'Who did what',
  description:
    'What people and programs had Lastword do beside tracking: asking now, erasing, replaying callbacks, and everything in Bull Board that changes something. Acts are kept for `MESSAGES_RETENTION`; they hold no phone numbers, and no ID of an erased message.',
  querystring: actsQuerySchema,
  response: { 200: actPageSchema.describe('The acts.') },
  problems: ['invalidQuery', 'unavailable'],
}

export function registerActRoutes(server: FastifyInstance, { db }: { db: Db }): void {
  server.get('/v1/acts', { config: { doc: LIST } }, async (request) => {
    const { limit, cursor, after, ...filter } = parseInput(actsQuerySchema, request.query, 'query')
    const found = await listActs(db, { ...filter, after: after ? new Date(after) : undefined, before: cursor, limit })
    const last = found.length === limit ? found.at(-1) : undefined
    return { acts: found.map(toAct), nextCursor: last ? String(last.id) : null }
  })
}

function toAct({ at, by, kind, account, messageId, queue, job, jobs, count, outcome }: ActRow) {
  return { at, by, kind, account, messageId, queue, job, jobs, count, outcome }
}

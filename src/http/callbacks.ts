/** The callbacks that were not taken, and trying them now. */
import type { FastifyInstance } from 'fastify'
import { z } from 'zod'
import { type CallbackRow, listUntaken, replayAllCallbacks, replayCallbacks, stateOf } from '../db/callbacks.ts'
import type { Db } from '../db/client.ts'
import { parseInput } from '../parse-input.ts'
import { record } from './acts.ts'
import { rowCursorSchema } from './list-query.ts'
import { replayedSchema, untakenCallbacksSchema } from './openapi/answers.ts'
import type { RouteDoc } from './openapi/openapi.ts'

const callbacksQuerySchema = z.strictObject({
  limit: z.coerce.number().int().min(1).max(1000).default(100).describe('The most callbacks of an answer.'),
  cursor: rowCursorSchema,
})

const replaySchema = z
  .strictObject({
    changes: z
      .array(z.int().positive())
      .min(1)
      .max(10_000)
      .optional()
      .describe('Which ones, by their `change`; all that were not taken when left out.'),
  })
  .meta({ description: 'Which ones.', examples: [{ changes: [4711] }] })

const LIST: RouteDoc = {
  operationId: 'listFailedCallbacks',
  tag: 'Changes',
  summary: 'Callbacks that were not taken',
  description:
    'A callback that is not taken with a 2xx is tried again with growing pauses for three days, unless the receiver says that it is gone (410), and has then failed for good. Those that wait for another attempt and those that have failed for good are listed here.',
  querystring: callbacksQuerySchema,
  response: { 200: untakenCallbacksSchema.describe('Those that were not taken.') },
  problems: ['invalidQuery'],
}

const REPLAY: RouteDoc = {
  operationId: 'replayCallbacks',
  tag: 'Changes',
  summary: 'Try callbacks again now',
  description:
    'Makes callbacks due now that failed for good or wait for another attempt, for another three days. URLs that were gone (410) and receivers that asked for a pause are called again.',
  body: replaySchema,
  response: { 202: replayedSchema.describe('They are due.') },
  problems: ['invalidBody', 'notJson'],
}

export function registerCallbackRoutes(server: FastifyInstance, { db }: { db: Db }): void {
  server.get('/v1/callbacks', { config: { doc: LIST } }, async (request) => {
    const { limit, cursor } = parseInput(callbacksQuerySchema, request.query, 'query')
    const untaken = await listUntaken(db, { limit, before: cursor })
    const last = untaken.length === limit ? untaken.at(-1) : undefined
    return { callbacks: untaken.map(toUntaken), nextCursor: last ? String(last.change) : null }
  })

  server.post('/v1/callbacks/replay', { config: { doc: REPLAY, act: 'replay' } }, async (request, reply) => {
    const { changes } = parseInput(replaySchema, request.body ?? {}, 'body')
    const replay = () => (changes ? replayCallbacks(db, changes) : replayAllCallbacks(db))
    return reply.code(202).send({ replayed: await record(db, request, {}, replay) })
  })
}

function toUntaken(row: CallbackRow) {
  const { change, account, url, attempts, firstDueAt, lastError, nextAttemptAt } = row
  const state = stateOf(row)
  return {
    change,
    account,
    // The path and query of a callback URL may hold the receiver's own secrets.
    receiver: new URL(url).origin,
    state,
    attempts,
    firstDueAt,
    nextAttemptAt: state === 'waiting' ? nextAttemptAt : null,
    lastError,
  }
}

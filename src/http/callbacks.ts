/** The callbacks that were not taken, and trying them now. */
import type { FastifyInstance } from 'fastify'
import { z } from 'zod'
import type { Status } from '../core/status.ts'
import { type CallbackAttemptRow, findAttempts } from '../db/callback-attempts.ts'
import { type CallbackRow, listUntaken, replayAllCallbacks, replayCallbacks, stateOf } from '../db/callbacks.ts'
import type { describeChange } from '../db/changes.ts'
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
    const attempts = attemptsByChange(
      await findAttempts(
        db,
        untaken.map(({ message }) => message),
      ),
    )
    const described = untaken.map((row) => ({ ...toUntaken(row), ...triedAs(attempts.get(row.change)) }))
    return { callbacks: described, nextCursor: last ? String(last.change) : null }
  })

  server.post('/v1/callbacks/replay', { config: { doc: REPLAY, act: 'replay' } }, async (request, reply) => {
    const { changes } = parseInput(replaySchema, request.body ?? {}, 'body')
    const replay = () => (changes ? replayCallbacks(db, changes) : replayAllCallbacks(db))
    return reply.code(202).send({ replayed: await record(db, request, {}, replay) })
  })
}

function toUntaken(row: CallbackRow) {
  const { change, account, attempts, firstDueAt, lastError, body } = row
  const { messageId, status } = body.data as Pick<ReturnType<typeof describeChange>, 'messageId' | 'status'>
  return { change, account, messageId, status, attempts, firstDueAt, lastError, ...standingOf(row) }
}

function standingOf(row: CallbackRow) {
  const state = stateOf(row)
  // The path and query of a callback URL may hold the receiver's own secrets.
  return { receiver: row.receiver, state, nextAttemptAt: state === 'waiting' ? row.nextAttemptAt : null }
}

/** The callbacks of a message: those that wait or have failed, and those that were tried of late. */
export function describeCallbacks(untaken: readonly CallbackRow[], tried: readonly CallbackAttemptRow[]) {
  const attempts = attemptsByChange(tried)
  const rows = new Map(untaken.map((row) => [row.change, row]))
  const changes = [...new Set([...attempts.keys(), ...rows.keys()])].sort((a, b) => a - b)
  return changes.map((change) => {
    const row = rows.get(change)
    const made = attempts.get(change) ?? []
    const last = made.at(-1)
    const ended = {
      receiver: last?.receiver ?? '',
      state: last?.error === null ? 'taken' : 'failed',
      nextAttemptAt: null,
    }
    const status = row ? (row.body.data as { status: Status }).status : (last?.status ?? null)
    return { change, status, ...(row ? standingOf(row) : ended), ...triedAs(made) }
  })
}

function attemptsByChange(rows: readonly CallbackAttemptRow[]): Map<number, CallbackAttemptRow[]> {
  const changes = new Map<number, CallbackAttemptRow[]>()
  for (const row of rows) changes.set(row.change, [...(changes.get(row.change) ?? []), row])
  return changes
}

function triedAs(rows: readonly CallbackAttemptRow[] = []) {
  const lastAttempts = rows.map(({ at, tookMs, httpStatus, error, answer }) => ({
    at,
    seconds: tookMs / 1000,
    httpStatus,
    error,
    answer,
  }))
  return { lastAttempts }
}

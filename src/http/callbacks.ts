/** The callbacks that failed for good, and trying them again. */
import type { FastifyInstance } from 'fastify'
import { z } from 'zod'
import { type CallbackRow, listFailedCallbacks, replayCallbacks } from '../db/callbacks.ts'
import type { Db } from '../db/client.ts'
import { parseInput } from '../parse-input.ts'

export const callbacksQuerySchema = z.strictObject({ limit: z.coerce.number().int().min(1).max(1000).default(100) })

/** Which callbacks to try again, by their `change`; all that failed for good when left out. */
export const replaySchema = z.strictObject({
  changes: z
    .array(z.int().positive())
    .min(1)
    .max(10_000)
    .optional()
    .describe('Which ones, by their `change`; all that failed for good when left out.'),
})

export function registerCallbackRoutes(server: FastifyInstance, { db }: { db: Db }): void {
  server.get('/v1/callbacks', async (request) => {
    const { limit } = parseInput(callbacksQuerySchema, request.query, 'query')
    const failed = await listFailedCallbacks(db, limit)
    return { callbacks: failed.map(toFailedCallback) }
  })

  server.post('/v1/callbacks/replay', async (request, reply) => {
    const { changes } = parseInput(replaySchema, request.body ?? {}, 'body')
    return reply.code(202).send({ replayed: await replayCallbacks(db, changes) })
  })
}

function toFailedCallback({ change, account, url, attempts, firstDueAt, lastError }: CallbackRow) {
  // The path and query of a callback URL may hold the receiver's own secrets.
  return { change, account, receiver: new URL(url).origin, attempts, firstDueAt, lastError }
}

/** The feed of changes over HTTP, to be pulled with a cursor or waited for. */
import type { FastifyInstance } from 'fastify'
import { z } from 'zod'
import { LastwordError } from '../core/errors.ts'
import { describeChange, findChanges, findDeletedPosition, findLatestPosition } from '../db/changes.ts'
import type { Db } from '../db/client.ts'
import { parseInput } from '../parse-input.ts'

export interface ChangeRoutesOptions {
  db: Db
  /** Resolves with true at the next change, with false after `ms` or when the server closes. */
  nextChange(ms: number): Promise<boolean>
}

const LONGEST_WAIT_S = 60
const CURSOR_RULE = 'expected the "next" of an earlier answer, or "latest"'

export const changesQuerySchema = z.strictObject({
  after: z
    .string(CURSOR_RULE)
    .regex(/^(latest|c[0-9]{1,15})$/, CURSOR_RULE)
    .optional(),
  limit: z.coerce.number().int().min(1).max(1000).default(100),
  wait: z.coerce.number().min(0).max(LONGEST_WAIT_S).default(0),
})

export function registerChangeRoutes(server: FastifyInstance, { db, nextChange }: ChangeRoutesOptions): void {
  server.get('/v1/changes', async (request, reply) => {
    const { after, limit, wait } = parseInput(changesQuerySchema, request.query, 'query')
    const position = await readCursor(db, after)
    const deadline = Date.now() + wait * 1000
    for (let mayWait = wait > 0; ; ) {
      // Listening begins before looking, so that no change falls in between.
      const next = mayWait ? nextChange(deadline - Date.now()) : undefined
      const found = await findChanges(db, position, limit)
      if (found.length > 0 || !next) {
        return { changes: found.map(describeChange), next: toCursor(found.at(-1)?.position ?? position) }
      }
      mayWait = (await next) && !reply.raw.destroyed && Date.now() < deadline
    }
  })
}

/** Without a cursor the feed begins with the oldest change that is kept. */
async function readCursor(db: Db, after: string | undefined): Promise<number> {
  if (after === 'latest') return findLatestPosition(db)
  const deleted = await findDeletedPosition(db)
  if (after === undefined) return deleted
  const position = Number(after.slice(1))
  if (position >= deleted) return position
  throw new LastwordError(
    'GONE',
    'The changes after this cursor have been deleted: it is older than CHANGES_RETENTION. Read the messages once by GET /v1/messages, then go on from after=latest.',
  )
}

function toCursor(position: number): string {
  return `c${position}`
}

/** The feed of changes over HTTP, to be pulled with a cursor or waited for. */
import type { FastifyInstance } from 'fastify'
import { z } from 'zod'
import { LastwordError } from '../core/errors.ts'
import {
  type Change,
  describeChange,
  findChanges,
  findChangeTime,
  findDeletedPosition,
  findLatestPosition,
} from '../db/changes.ts'
import type { Db } from '../db/client.ts'
import { parseInput } from '../parse-input.ts'
import { changePageSchema } from './openapi/answers.ts'
import type { RouteDoc } from './openapi/openapi.ts'

export interface ChangeRoutesOptions {
  db: Db
  /** Resolves with true at the next change, with false after `ms` or when the server closes. */
  nextChange(ms: number): Promise<boolean>
}

const LONGEST_WAIT_S = 60
const CURSOR_RULE = 'expected the "next" of an earlier answer, or "latest"'

const changesQuerySchema = z.strictObject({
  after: z
    .string(CURSOR_RULE)
    .regex(/^(latest|c[0-9]{1,15}(\.[0-9a-z]{1,12})?)$/, CURSOR_RULE)
    .optional()
    .describe('The `next` of an earlier answer, or `latest`.'),
  limit: z.coerce.number().int().min(1).max(1000).default(100).describe('The most changes of an answer.'),
  wait: z.coerce
    .number()
    .min(0)
    .max(LONGEST_WAIT_S)
    .default(0)
    .describe('For how many seconds the answer may be held back while there is no change.'),
})

const FOLLOW: RouteDoc = {
  operationId: 'listChanges',
  tag: 'Changes',
  summary: 'Follow the changes',
  description:
    'Every change of a status in the order of the commits, whoever found it. Begin without `after` for the oldest change that is kept, or with `after=latest` for what comes from now on; then pass `next` of each answer as `after`. With `wait` the answer is held back until there is a change.\n\nStore `next` together with what you did with the changes, and none is missed or done twice.',
  querystring: changesQuerySchema,
  response: { 200: changePageSchema.describe('The next changes.') },
  problems: ['invalidQuery', 'cursorTooOld'],
}

export function registerChangeRoutes(server: FastifyInstance, { db, nextChange }: ChangeRoutesOptions): void {
  server.get('/v1/changes', { config: { doc: FOLLOW } }, async (request, reply) => {
    const { after, limit, wait } = parseInput(changesQuerySchema, request.query, 'query')
    const { position, cursor } = await readCursor(db, after)
    const deadline = Date.now() + wait * 1000
    for (let mayWait = wait > 0; ; ) {
      // Listening begins before looking, so that no change falls in between.
      const next = mayWait ? nextChange(deadline - Date.now()) : undefined
      const found = await findChanges(db, position, limit)
      if (found.length > 0 || !next) {
        const last = found.at(-1)
        return { changes: found.map(describeChange), next: last ? toCursor(last.position, last.changedAt) : cursor }
      }
      mayWait = (await next) && !reply.raw.destroyed && Date.now() < deadline
    }
  })
}

interface Place {
  position: number
  /** As it is told when nothing follows. */
  cursor: string
}

/**
 * Without a cursor the feed begins with the oldest change that is kept. A cursor names the last change that was read by its
 * position and its time: after a backup was restored, another change may come to have that position, or none yet.
 */
async function readCursor(db: Db, after: string | undefined): Promise<Place> {
  const deleted = await findDeletedPosition(db)
  if (after === undefined) return { position: deleted, cursor: toCursor(deleted) }
  const latest = await findLatestPosition(db)
  if (after === 'latest') return { position: latest, cursor: toCursor(latest, await findChangeTime(db, latest)) }
  const [, digits, time] = /^c(\d+)(?:\.(\w+))?$/.exec(after) ?? []
  const position = Number(digits)
  if (position < deleted) {
    throw gone('The changes after this cursor have been deleted: it is older than CHANGES_RETENTION')
  }
  const changedAt = await findChangeTime(db, position)
  const isAnother = changedAt !== undefined && time !== undefined && toCursor(position, changedAt) !== after
  if (position > latest || isAnother) {
    throw gone('The change that this cursor names is not in this database: a backup of an earlier time was restored')
  }
  return { position, cursor: after }
}

function gone(why: string): LastwordError {
  return new LastwordError('GONE', `${why}. Read the messages once by GET /v1/messages, then go on from after=latest.`)
}

function toCursor(position: number, changedAt?: Change['changedAt']): string {
  return changedAt === undefined ? `c${position}` : `c${position}.${changedAt.getTime().toString(36)}`
}

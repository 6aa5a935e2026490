/**
 * The callbacks that are due: a row for each change that a URL has not taken yet. A row leaves when it is taken, or stays
 * without a next attempt when it has failed for good, until it is replayed.
 *
 *   due ── claimCallbacks ── held until next_attempt_at ──┬─ taken ────── deleted
 *    ^                                                    ├─ not taken ── retryCallback ─┐
 *    │                                                    └─ gave up ──── next_attempt_at null ── replayCallbacks ─┐
 *    └──── the lease ran out ─────────────────────────────────────────────────────────────┴────────────────────────┘
 */
import { and, desc, eq, isNull, or, sql } from 'drizzle-orm'
import { type Db, textArray } from './client.ts'
import { type CallbackBody, callbacks } from './schema.ts'

export type CallbackRow = typeof callbacks.$inferSelect

export interface NewCallback {
  change: number
  message: number
  account: string
  url: string
  body: CallbackBody
}

/** Adds callbacks; one that is there already stays as it is. */
export async function addCallbacks(db: Db, added: readonly NewCallback[]): Promise<void> {
  if (added.length > 0)
    await db
      .insert(callbacks)
      .values([...added])
      .onConflictDoNothing()
}

export interface ClaimedCallback {
  change: number
  account: string
}

/** The scheme, host and port of a URL. */
const RECEIVER = sql.raw("substring(url from '^[^/]*//[^/?#]*')")

export interface CallbackLimits {
  /** How many callbacks to one URL are under way at most. */
  perUrl: number
  /** And to one receiver, whatever the path: an app may give each message a URL of its own. */
  perReceiver: number
}

/**
 * Claims due callbacks for `leaseMs`: of each message only the earliest, and of each URL and receiver only so many that
 * the limits hold, so that a slow one holds up nobody but itself.
 */
export async function claimCallbacks(
  db: Db,
  { claim, perUrl, perReceiver, leaseMs }: CallbackLimits & { claim: string; leaseMs: number },
): Promise<ClaimedCallback[]> {
  const rows = await db.execute<{ change: string; account: string }>(sql`
    WITH RECURSIVE urls AS (
      SELECT min(url) AS url FROM ${callbacks} WHERE next_attempt_at IS NOT NULL
      UNION ALL
      SELECT (SELECT min(url) FROM ${callbacks} WHERE next_attempt_at IS NOT NULL AND url > u.url)
      FROM urls u WHERE u.url IS NOT NULL
    ), held AS (
      SELECT ${RECEIVER} AS receiver, count(*) AS held
      FROM ${callbacks} WHERE claim IS NOT NULL AND next_attempt_at > now() GROUP BY 1
    ), ranked AS (
      SELECT d.change, ${RECEIVER} AS receiver,
        row_number() OVER (PARTITION BY ${RECEIVER} ORDER BY d.next_attempt_at, d.change) AS place
      FROM urls u CROSS JOIN LATERAL (
        SELECT change, next_attempt_at FROM ${callbacks} c
        WHERE c.url = u.url AND c.next_attempt_at <= now()
          AND NOT EXISTS (
            SELECT FROM ${callbacks} e
            WHERE e.message = c.message AND e.change < c.change AND e.next_attempt_at IS NOT NULL
          )
        ORDER BY c.next_attempt_at, c.change
        LIMIT greatest(0, ${perUrl} - (
          SELECT count(*) FROM ${callbacks} h WHERE h.url = u.url AND h.claim IS NOT NULL AND h.next_attempt_at > now()
        ))
      ) d
    ), due AS (
      SELECT change FROM ranked LEFT JOIN held USING (receiver) WHERE place <= ${perReceiver} - coalesce(held, 0)
    ), locked AS (
      SELECT change FROM ${callbacks} WHERE change IN (SELECT change FROM due) AND next_attempt_at <= now()
      FOR UPDATE SKIP LOCKED
    )
    UPDATE ${callbacks} SET claim = ${claim}, next_attempt_at = ${fromNow(leaseMs)}
    WHERE change IN (SELECT change FROM locked)
    RETURNING change, account`)
  return rows.map(({ change, account }) => ({ change: Number(change), account })).sort((a, b) => a.change - b.change)
}

/** The callback that a claim holds, or that has failed for good; undefined when it was taken, or claimed anew. */
export async function findCallback(db: Db, change: number, claim: string): Promise<CallbackRow | undefined> {
  const [row] = await db.select().from(callbacks).where(eq(callbacks.change, change))
  return row && (row.claim === claim || row.nextAttemptAt === null) ? row : undefined
}

/** The callback has been taken. */
export async function deleteCallback(db: Db, change: number): Promise<void> {
  await db.delete(callbacks).where(eq(callbacks.change, change))
}

/**
 * The callback was not taken: it is due again after `delayMs`, or never when that is undefined. Who no longer holds it
 * changes nothing.
 */
export async function retryCallback(
  db: Db,
  { change, claim, error, delayMs }: { change: number; claim: string; error: string; delayMs: number | undefined },
): Promise<void> {
  await db
    .update(callbacks)
    .set({
      attempts: sql`${callbacks.attempts} + 1`,
      lastError: error,
      claim: null,
      nextAttemptAt: delayMs === undefined ? null : fromNow(delayMs),
    })
    .where(and(eq(callbacks.change, change), or(eq(callbacks.claim, claim), isNull(callbacks.nextAttemptAt))))
}

/** Callbacks of a claim, one or all, given back unsent: they are due at once. */
export async function releaseCallbacks(db: Db, claim: string, change?: number): Promise<void> {
  await db
    .update(callbacks)
    .set({ claim: null, nextAttemptAt: fromNow(0) })
    .where(and(eq(callbacks.claim, claim), change === undefined ? undefined : eq(callbacks.change, change)))
}

/** Callbacks that failed for good, the latest first. */
export async function listFailedCallbacks(db: Db, limit: number): Promise<CallbackRow[]> {
  return db.select().from(callbacks).where(isNull(callbacks.nextAttemptAt)).orderBy(desc(callbacks.change)).limit(limit)
}

/** Makes callbacks that failed for good due again, those of these changes or all; returns how many. */
export async function replayCallbacks(db: Db, replayed?: readonly number[]): Promise<number> {
  const isMeant = replayed && sql`${callbacks.change} = ANY(${textArray(replayed, 'bigint')})`
  const rows = await db
    .update(callbacks)
    .set({ attempts: 0, firstDueAt: fromNow(0), nextAttemptAt: fromNow(0), claim: null })
    .where(and(isNull(callbacks.nextAttemptAt), isMeant))
    .returning({ change: callbacks.change })
  return rows.length
}

function fromNow(ms: number) {
  return sql<Date>`now() + ${ms} * interval '1 millisecond'`
}

/**
 * The callbacks that are due: a row for each change that a URL has not taken yet. A row leaves when it is taken, or stays
 * without a next attempt when it has failed for good, until it is replayed.
 *
 *   due ── claimCallbacks ── held until next_attempt_at ──┬─ taken ────── deleted
 *    ^                                                    ├─ not taken ── retryCallback ─┐
 *    │                                                    └─ gave up ──── next_attempt_at null ── replayCallbacks ─┐
 *    └──── the lease ran out ─────────────────────────────────────────────────────────────┴────────────────────────┘
 *
 * Of a message only the earliest is sent: a claim that meets a later one puts it back, and whatever ends the earlier one
 * makes it due (callback-claim.ts).
 */
import { and, asc, desc, eq, getTableColumns, isNotNull, isNull, lt, or, type SQL, sql } from 'drizzle-orm'
import { receivers } from './attempt-tables.ts'
import { type CallbackAttempt, recordedAttempt } from './callback-attempts.ts'
import { type Db, fromNow, millisecondsOf, textArray } from './client.ts'
import { accountStates, type CallbackBody, callbacks } from './schema.ts'

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

export interface HeldCallback extends CallbackRow {
  /** The receiver is known as slow (receivers.ts). */
  isSlow: boolean
  /** The URL has answered 410 (receivers.ts). */
  isGone: boolean
}

/** The callback that a claim holds, or that has failed for good; undefined when it was taken, or claimed anew. */
export async function findCallback(db: Db, change: number, claim: string): Promise<HeldCallback | undefined> {
  const isSlow = sql<boolean>`coalesce(${receivers.slowUntil} > now(), false)`
  const isGone = sql<boolean>`${accountStates.goneUrl} IS NOT DISTINCT FROM ${callbacks.url}`
  const [row] = await db
    .select({ ...getTableColumns(callbacks), isSlow, isGone })
    .from(callbacks)
    .leftJoin(receivers, eq(receivers.receiver, callbacks.receiver))
    .leftJoin(accountStates, eq(accountStates.account, callbacks.account))
    .where(eq(callbacks.change, change))
  return row && (row.claim === claim || row.nextAttemptAt === null) ? row : undefined
}

/** The callback has been taken: the next of its message is due. */
export async function deleteCallback(db: Db, change: number, attempt: CallbackAttempt): Promise<void> {
  await db.execute(sql`
    WITH ended AS (
      DELETE FROM ${callbacks} WHERE change = ${change} RETURNING change, message, receiver, body
    ), ${recordedAttempt(sql.raw('ended'), attempt, null)}
    ${makeNextDue}`)
}

interface FailedAttempt {
  change: number
  claim: string
  error: string
  delayMs: number | undefined
  attempt: CallbackAttempt
}

/**
 * The callback was not taken: it is due again after `delayMs`, or never when that is undefined, and then the next of its
 * message is due. A process that no longer holds it changes nothing.
 */
export async function retryCallback(db: Db, { change, claim, error, delayMs, attempt }: FailedAttempt): Promise<void> {
  await db.execute(sql`
    WITH retried AS (
      UPDATE ${callbacks} SET attempts = attempts + 1, last_error = ${error}, claim = NULL,
        next_attempt_at = ${delayMs === undefined ? null : fromNow(delayMs)}
      WHERE change = ${change} AND (claim = ${claim} OR next_attempt_at IS NULL)
      RETURNING change, message, receiver, body, next_attempt_at
    ), ${recordedAttempt(sql.raw('retried'), attempt, error)}, ended AS (SELECT change, message FROM retried WHERE next_attempt_at IS NULL)
    ${makeNextDue}`)
}

/** Makes the callback due that was put back until those of `ended` were (callback-claim.ts). */
const makeNextDue = sql`
  UPDATE ${callbacks} SET next_attempt_at = now()
  WHERE claim IS NULL AND next_attempt_at > now() AND change = ANY(ARRAY(
    SELECT n.change FROM ended CROSS JOIN LATERAL (
      SELECT change FROM ${callbacks} WHERE message = ended.message AND change > ended.change AND next_attempt_at IS NOT NULL
      ORDER BY change LIMIT 1
    ) n
  ))`

/** Gives a callback back unsent, unless another claim holds it by now: it is due at once. */
export async function releaseCallback(db: Db, claim: string, change: number): Promise<void> {
  await release(db, and(eq(callbacks.claim, claim), eq(callbacks.change, change)))
}

/** Gives back every callback that a claim still holds. */
export async function releaseClaim(db: Db, claim: string): Promise<void> {
  await release(db, eq(callbacks.claim, claim))
}

async function release(db: Db, which: SQL | undefined): Promise<void> {
  await db
    .update(callbacks)
    .set({ claim: null, nextAttemptAt: fromNow(0) })
    .where(which)
}

export const CALLBACK_STATES = ['waiting', 'calling', 'failed'] as const
export type CallbackState = (typeof CALLBACK_STATES)[number]

/** `waiting` for another attempt, in one just now, or `failed` for good. */
export function stateOf({ nextAttemptAt, claim }: Pick<CallbackRow, 'nextAttemptAt' | 'claim'>): CallbackState {
  if (nextAttemptAt === null) return 'failed'
  return claim === null ? 'waiting' : 'calling'
}

/** The callbacks of a message that were not taken yet, in their order. */
export function findCallbacks(db: Db, message: number): Promise<CallbackRow[]> {
  return db.select().from(callbacks).where(eq(callbacks.message, message)).orderBy(asc(callbacks.change))
}

export interface CallbackFilter {
  changes?: readonly number[] | undefined
  account?: string | undefined
  /** Any of these receivers. */
  receivers?: readonly string[] | undefined
  /** A part of the last error, in any case. */
  error?: string | undefined
  /** Due first from this time on, and before that one. */
  dueAfter?: Date | undefined
  dueBefore?: Date | undefined
}

function matches({ changes, account, receivers, error, dueAfter, dueBefore }: CallbackFilter): SQL {
  const conditions = [
    changes && sql`change = ANY(${textArray(changes, 'bigint')})`,
    account === undefined ? undefined : sql`account = ${account}`,
    receivers && sql`receiver = ANY(${textArray(receivers)})`,
    error === undefined ? undefined : sql`position(lower(${error}) IN lower(last_error)) > 0`,
    dueAfter && sql`first_due_at >= ${dueAfter.toISOString()}::timestamptz`,
    dueBefore && sql`first_due_at < ${dueBefore.toISOString()}::timestamptz`,
  ]
  return and(...conditions) ?? sql`true`
}

/** Callbacks that were not taken, the latest change first, `before` another one if that is given. */
export async function listUntaken(
  db: Db,
  { limit, before, ...filter }: CallbackFilter & { limit: number; before?: number | undefined },
): Promise<CallbackRow[]> {
  const isBefore = before === undefined ? undefined : lt(callbacks.change, before)
  return db
    .select()
    .from(callbacks)
    .where(and(or(isNull(callbacks.nextAttemptAt), isNotNull(callbacks.lastError)), isBefore, matches(filter)))
    .orderBy(desc(callbacks.change))
    .limit(limit)
}

export interface UntakenGroup {
  receiver: string
  /** Why the last attempts failed. */
  error: string | null
  callbacks: number
  /** How many of them have failed for good. */
  failed: number
  /** When the first of them was due. */
  since: Date
}

/** The receivers that have not taken callbacks, by reason, the most first; of the latest `limit` callbacks. */
export async function groupUntaken(db: Db, limit: number): Promise<UntakenGroup[]> {
  const rows = await db.execute<Record<keyof UntakenGroup, never> & { since: number }>(sql`
    SELECT receiver, last_error AS error, count(*)::int AS callbacks,
      count(*) FILTER (WHERE next_attempt_at IS NULL)::int AS failed, ${millisecondsOf('min(first_due_at)')} AS since
    FROM (
      SELECT receiver, last_error, next_attempt_at, first_due_at FROM ${callbacks}
      WHERE next_attempt_at IS NULL OR last_error IS NOT NULL ORDER BY change DESC LIMIT ${limit}
    ) c GROUP BY receiver, last_error ORDER BY callbacks DESC, receiver, last_error`)
  return rows.map((row) => ({ ...row, since: new Date(row.since) }))
}

const isReplayed = (filter: CallbackFilter) =>
  sql`(next_attempt_at IS NULL OR (last_error IS NOT NULL AND claim IS NULL)) AND ${matches(filter)}`

/** How many callbacks a replay would make due. */
export async function countReplayed(db: Db, filter: CallbackFilter): Promise<number> {
  return db.$count(callbacks, isReplayed(filter))
}

/**
 * Makes callbacks due that failed for good, or wait for another attempt. Their receivers are called again, whatever these
 * asked for. Returns how many there are.
 */
export async function replayCallbacks(db: Db, filter: CallbackFilter = {}): Promise<number> {
  const [row] = await db.execute<{ replayed: number }>(sql`
    WITH replayed AS (
      UPDATE ${callbacks} SET attempts = 0, first_due_at = now(), next_attempt_at = now(), claim = NULL
      WHERE ${isReplayed(filter)}
      RETURNING url, receiver
    ), opened AS (
      UPDATE ${receivers} SET closed_until = NULL
      WHERE closed_until IS NOT NULL AND receiver IN (SELECT receiver FROM replayed)
    ), enabled AS (
      UPDATE ${accountStates} SET gone_url = NULL WHERE gone_url IN (SELECT url FROM replayed)
    )
    SELECT count(*)::int AS replayed FROM replayed`)
  return row?.replayed ?? 0
}

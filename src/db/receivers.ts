/**
 * The receivers of callbacks that are kept back, each the scheme, host and port of its URLs. A receiver that answers in
 * good time has no row here, and costs no write.
 */
import { inArray, isNotNull, sql } from 'drizzle-orm'
import { receivers } from './attempt-tables.ts'
import { type Db, millisecondsOf, textArray } from './client.ts'
import { accountStates, callbacks } from './schema.ts'

/** Longer than any pause between two attempts, so that one that is dead stays known as slow. */
const SLOW_FOR = sql.raw(`interval '1 day'`)

export interface ReceiverNote {
  receiver: string
  /** The last attempt took too long. */
  isSlow: boolean
  /** How long it asks to be sent nothing at all. */
  closedForMs?: number | undefined
}

/** Notes the outcome of an attempt. A receiver that one answer has closed is not opened sooner by another. */
export async function noteReceiver(db: Db, { receiver, isSlow, closedForMs }: ReceiverNote): Promise<void> {
  const slowUntil = isSlow ? sql`now() + ${SLOW_FOR}` : sql`NULL::timestamptz`
  const closedUntil = sql`now() + ${closedForMs ?? null}::float8 * interval '1 millisecond'`
  await db.execute(sql`
    INSERT INTO ${receivers} AS r (receiver, slow_until, closed_until) VALUES (${receiver}, ${slowUntil}, ${closedUntil})
    ON CONFLICT (receiver) DO UPDATE SET
      slow_until = excluded.slow_until, closed_until = greatest(r.closed_until, excluded.closed_until)`)
}

/** Deletes the receivers that nothing keeps back any more. */
export async function deleteFreeReceivers(db: Db): Promise<void> {
  await db.execute(sql`
    DELETE FROM ${receivers} WHERE coalesce(slow_until, now()) <= now() AND coalesce(closed_until, now()) <= now()`)
}

export interface FailingReceiver {
  receiver: string
  /** When the first of the callbacks that wait for another attempt was due. */
  since: Date
  lastError: string
}

/** More are not told apart from each other. */
const MOST_WALKED = sql.raw('1000')

/** Receivers with callbacks that were not taken and wait for another attempt, up to `limit` that do so for longest. */
export async function findFailingReceivers(db: Db, limit: number): Promise<FailingReceiver[]> {
  const failing = sql`SELECT receiver, first_due_at, last_error FROM ${callbacks}
    WHERE last_error IS NOT NULL AND next_attempt_at IS NOT NULL`
  const rows = await db.execute<{ receiver: string; since: number; last_error: string }>(sql`
    WITH RECURSIVE walked AS (
      (${failing} ORDER BY receiver, first_due_at LIMIT 1)
      UNION ALL
      SELECT n.* FROM walked w CROSS JOIN LATERAL (
        ${failing} AND receiver > w.receiver ORDER BY receiver, first_due_at LIMIT 1
      ) n
    )
    SELECT receiver, last_error, ${millisecondsOf('first_due_at')} AS since
    FROM (SELECT * FROM walked LIMIT ${MOST_WALKED}) w ORDER BY first_due_at, receiver LIMIT ${limit}`)
  return rows.map(({ receiver, since, last_error }) => ({ receiver, since: new Date(since), lastError: last_error }))
}

/** The first callback of an account that was given up, and waits to be replayed. */
export interface GivenUp {
  account: string
  receiver: string
  firstDueAt: Date
  lastError: string
}

export async function findGivenUp(db: Db, accounts: readonly string[]): Promise<GivenUp[]> {
  const rows = await db.execute<{ account: string; receiver: string; since: number; last_error: string | null }>(sql`
    SELECT c.account, c.receiver, c.last_error, ${millisecondsOf('c.first_due_at')} AS since
    FROM unnest(${textArray(accounts)}) AS a (account) CROSS JOIN LATERAL (
      SELECT * FROM ${callbacks} c WHERE c.account = a.account AND c.next_attempt_at IS NULL ORDER BY first_due_at LIMIT 1
    ) c`)
  return rows.map(({ account, receiver, since, last_error }) => ({
    account,
    receiver,
    firstDueAt: new Date(since),
    lastError: last_error ?? 'for no known reason',
  }))
}

/** The callback URL of an account has answered 410: nothing is sent to it until callbacks are replayed. */
export async function noteGoneUrl(db: Db, account: string, url: string): Promise<void> {
  await db
    .insert(accountStates)
    .values({ account, goneUrl: url })
    .onConflictDoUpdate({ target: accountStates.account, set: { goneUrl: url } })
}

/** Callbacks may be sent to these URLs again. */
export async function forgetGoneUrls(db: Db, urls: readonly string[]): Promise<void> {
  if (urls.length > 0)
    await db
      .update(accountStates)
      .set({ goneUrl: null })
      .where(inArray(accountStates.goneUrl, [...urls]))
}

/** The callback URLs that have answered 410, by account. */
export async function findGoneUrls(db: Db): Promise<Map<string, string | null>> {
  const { account, goneUrl } = accountStates
  const rows = await db.select({ account, goneUrl }).from(accountStates).where(isNotNull(goneUrl))
  return new Map(rows.map((row) => [row.account, row.goneUrl]))
}

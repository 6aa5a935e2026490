/** Moving outstanding messages within the schedule, where somebody wants them sooner or more is known (schedule.ts). */
import { sql } from 'drizzle-orm'
import { type Db, instantOf, millisecondsOf, retryLostRaces, rowsAs, textArray } from './client.ts'
import { inOrder } from './schedule.ts'
import { due, messages } from './schema.ts'

/** Moves messages that nobody asks about to other times; those that a claim has taken meanwhile are left to it. */
export async function reschedule(
  db: Db,
  account: string,
  moves: readonly { id: number; dueAt: number }[],
): Promise<void> {
  if (moves.length === 0) return
  const rows = rowsAs('n', moves, { id: ['bigint', ({ id }) => id], due_ms: ['float8', ({ dueAt }) => dueAt] })
  const statement = sql`
    WITH moves AS (
      SELECT id, ${instantOf('due_ms')} AS due_at FROM ${rows}
    ), taken AS (
      DELETE FROM ${due} d USING ${messages} m
      WHERE m.id = ANY(ARRAY(SELECT id FROM moves)) AND NOT m.final AND d.account = ${account} AND d.due_at = m.due_at AND d.message = m.id
      RETURNING d.message
    ), moved AS (
      UPDATE ${messages} m SET due_at = n.due_at FROM moves n
      WHERE m.id = n.id AND m.id IN (SELECT message FROM taken) AND NOT m.final
      RETURNING m.account, m.due_at, m.id
    )
    INSERT INTO ${due} (account, due_at, message) SELECT account, due_at, id FROM moved ON CONFLICT DO NOTHING`
  await retryLostRaces(() => db.execute(statement))
}

/** A place in the schedule: just after the message of this row, due at this time in milliseconds since 1970. */
export interface SchedulePlace {
  dueAt: number
  id: number
}

/** A message of the schedule; times in milliseconds since 1970. */
export interface MessageAhead extends SchedulePlace {
  sentAt: number
  windowEndsAt: number
  askedAt: number | undefined
  polls: number
}

/** Messages that are due after now, but for those asked about alone, up to `limit` in the order of their times, from a place on. */
export async function findAhead(
  db: Db,
  { account, after, limit }: { account: string; after: SchedulePlace | undefined; limit: number },
): Promise<MessageAhead[]> {
  const { dueAt, id } = after ?? { dueAt: 0, id: 0 }
  const rows = await inOrder(db, (transaction) =>
    transaction.execute<{
      id: number
      due: number
      sent: number
      ends: number
      asked: number | null
      polls: number
    }>(sql`
      SELECT d.message::float8 AS id, ${millisecondsOf('d.due_at')} AS due, ${millisecondsOf('m.sent_at')} AS sent,
        ${millisecondsOf('m.window_ends_at')} AS ends, ${millisecondsOf('m.asked_at')} AS asked, m.polls
      FROM ${due} d JOIN ${messages} m ON m.id = d.message
      WHERE d.account = ${account} AND m.query_error IS NULL AND d.due_at > now() AND (d.due_at, d.message) > (to_timestamp(${dueAt}::float8 / 1000), ${id})
      ORDER BY d.due_at, d.message
      LIMIT ${limit}`),
  )
  return rows.map(({ id, due, sent, ends, asked, polls }) => ({
    id,
    dueAt: due,
    sentAt: sent,
    windowEndsAt: ends,
    askedAt: asked ?? undefined,
    polls,
  }))
}

/**
 * Makes those of these messages due now that are outstanding, unless a batch holds them already; with `isFirst` before all
 * others of their account. Returns how many are outstanding.
 */
export async function pollNow(db: Db, ids: readonly number[], { isFirst = false } = {}): Promise<number> {
  const first = sql`(
    SELECT least(min(o.due_at), now()) - interval '1 millisecond' FROM ${due} o WHERE o.account = m.account)`
  const isAskable = sql`m.id = ANY(${textArray(ids, 'bigint')}) AND NOT m.final AND m.sent_at <= now() AND m.window_ends_at > now()`
  const rows = await db.execute(sql`
    WITH taken AS (
      DELETE FROM ${due} d USING ${messages} m
      WHERE ${isAskable} AND d.account = m.account AND d.due_at = m.due_at AND d.message = m.id
      RETURNING d.message
    ), moved AS (
      UPDATE ${messages} m SET due_at = ${isFirst ? first : sql`now()`}, wanted_at = now()
      WHERE ${isAskable} AND m.id IN (SELECT message FROM taken)
      RETURNING m.account, m.due_at, m.id
    ), scheduled AS (
      INSERT INTO ${due} (account, due_at, message) SELECT account, due_at, id FROM moved ON CONFLICT DO NOTHING
    )
    SELECT FROM ${messages} m WHERE ${isAskable}`)
  return rows.length
}

/**
 * Deletes the rows that are not kept for ever, in small steps, the oldest first, and no step reads further than the
 * rows it is about, but for a few that have come back to life: messages are walked through by their IDs, which are in the
 * order of their tracking.
 */
import { type SQL, sql } from 'drizzle-orm'
import type { callbackAttempts } from './attempt-tables.ts'
import { type Db, textArray } from './client.ts'
import { unenteredMetadata } from './metadata-entries.ts'
import type { statusQueries } from './query-tables.ts'
import { callbacks, changes, failures, messages, statusReports } from './schema.ts'
import { messageTraces } from './trace-tables.ts'

/** A change is written up to this much later than its message. */
const CHANGE_LAG = sql.raw(`interval '1 minute'`)

export interface RetentionStep {
  olderThan: Date
  limit: number
}

export interface DeletedMessages {
  deleted: number
  /** Where the next step goes on; undefined when nothing that comes is old enough. */
  next: number | undefined
}

/**
 * Looks at the next `limit` messages with IDs above `after`, and deletes those whose status has been final and the same
 * since `olderThan`, with their reports; never one of whose changes the feed still tells, or a callback is still tried.
 */
export async function deleteSettled(
  db: Db,
  { olderThan, limit, after }: RetentionStep & { after: number },
): Promise<DeletedMessages> {
  return db.transaction(async (transaction) => {
    const [row] = await transaction.execute<{ old: string; deleted: number; next: string | null }>(sql`
      WITH page AS MATERIALIZED (
        SELECT id, tracked_at FROM ${messages} WHERE id > ${after} ORDER BY id LIMIT ${limit}
      ), oldest AS (
        SELECT least(${olderThan.toISOString()}::timestamptz, (
          SELECT changed_at - ${CHANGE_LAG} FROM ${changes} ORDER BY position LIMIT 1
        )) AS at
      ), old AS (
        SELECT id FROM ${messages} m
        WHERE m.id = ANY(ARRAY(SELECT id FROM page)) AND m.final AND m.tracked_at IS NOT NULL
          AND coalesce(m.changed_at, greatest(m.tracked_at, m.status_at)) < (SELECT at FROM oldest)
          AND NOT EXISTS (SELECT FROM ${callbacks} c WHERE c.message = m.id AND c.next_attempt_at IS NOT NULL)
        FOR UPDATE OF m SKIP LOCKED
      )
      SELECT ARRAY(SELECT id FROM old)::text AS old, (SELECT count(*)::int FROM old) AS deleted,
        CASE
          WHEN count(*) = ${limit} AND coalesce(min(tracked_at) < ${olderThan.toISOString()}::timestamptz, true) THEN max(id)
        END AS next
      FROM page`)
    const { old = '{}', deleted = 0, next } = row ?? {}
    if (deleted > 0) await deleteLocked(transaction, sql`${old}::bigint[]`)
    return { deleted, next: next ? Number(next) : undefined }
  })
}

/** By a statement of its own: what reports wrote just before their rows were locked is seen by it only. */
async function deleteLocked(db: Db, ids: SQL): Promise<void> {
  await db.execute(sql`
    WITH deleted AS (
      DELETE FROM ${messages} WHERE id = ANY(${ids}) RETURNING id, sent_at, metadata
    ), ${besides(sql.raw('deleted'))}
    SELECT FROM deleted`)
}

/** Deletes what other tables hold of messages that are deleted: rows with `id`, `sent_at` and `metadata`. */
export function besides(deleted: SQL): SQL {
  return sql`
    reports AS (
      DELETE FROM ${statusReports} WHERE message = ANY(ARRAY(SELECT id FROM ${deleted}))
    ), unfailed AS (
      DELETE FROM ${failures} WHERE message = ANY(ARRAY(SELECT id FROM ${deleted}))
    ), untraced AS (
      DELETE FROM ${messageTraces} WHERE message = ANY(ARRAY(SELECT id FROM ${deleted}))
    ), uncalled AS (
      DELETE FROM ${callbacks} WHERE message = ANY(ARRAY(SELECT id FROM ${deleted}))
    )${unenteredMetadata(deleted)}`
}

/** Deletes what reports told of but nobody tracked, with the reports, oldest first; returns how many messages that were. */
export async function deleteUntracked(db: Db, { olderThan, limit }: RetentionStep): Promise<number> {
  return db.transaction(async (transaction) => {
    const rows = await transaction.execute<{ id: string }>(sql`
      SELECT id FROM ${messages} WHERE tracked_at IS NULL AND sent_at < ${olderThan.toISOString()}
      ORDER BY sent_at LIMIT ${limit} FOR UPDATE SKIP LOCKED`)
    const ids = rows.map(({ id }) => id)
    if (ids.length > 0) await deleteLocked(transaction, textArray(ids, 'bigint'))
    return rows.length
  })
}

/** Deletes callbacks that failed for good and were due first before `olderThan`; returns how many. */
export async function deleteFailedCallbacks(db: Db, { olderThan, limit }: RetentionStep): Promise<number> {
  const rows = await db.execute(sql`
    DELETE FROM ${callbacks} WHERE change IN (
      SELECT change FROM ${callbacks} WHERE next_attempt_at IS NULL AND first_due_at < ${olderThan.toISOString()}
      LIMIT ${limit} FOR UPDATE SKIP LOCKED
    ) RETURNING change`)
  return rows.length
}

/** Deletes rows of what was asked and told of late, from before `olderThan`; returns how many. */
export async function deleteDated(
  db: Db,
  table: typeof callbackAttempts | typeof statusQueries,
  { olderThan, limit }: RetentionStep,
): Promise<number> {
  const rows = await db.execute(sql`
    DELETE FROM ${table} WHERE ctid = ANY(ARRAY(
      SELECT ctid FROM ${table} WHERE at < ${olderThan.toISOString()}::timestamptz ORDER BY at LIMIT ${limit}
    )) RETURNING at`)
  return rows.length
}

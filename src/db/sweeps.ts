/** Sweeps: batches that are asked about by the time they were sent in, page after page (see schedule.ts). */
import { randomUUID } from 'node:crypto'
import { sql } from 'drizzle-orm'
import {
  type ClaimedMessage,
  type ClaimedRow,
  claimedColumns,
  extendLease,
  fromNow,
  isUnmet,
  toClaimed,
} from './batches.ts'
import { type Db, textArray } from './client.ts'
import { inOrder } from './schedule.ts'
import { batches, due, messages } from './schema.ts'

export interface ClaimedWindow {
  batch: string
  messages: number
  /** The times of sending of the oldest and the newest of them. */
  from: Date
  to: Date
}

/**
 * Claims due messages of an account for a sweep: the one longest due, and all that were sent within `spanMs` around it.
 * Undefined when nothing is due.
 */
export async function claimWindow(
  db: Db,
  { account, limit, leaseMs, spanMs }: { account: string; limit: number; leaseMs: number; spanMs: number },
): Promise<ClaimedWindow | undefined> {
  const batch = randomUUID()
  const halfSpan = sql`${spanMs / 2} * interval '1 millisecond'`
  const dueMessages = sql`
    ${due} d JOIN ${messages} m ON m.id = d.message
    WHERE d.account = ${account} AND d.due_at <= now() AND m.due_at = d.due_at AND m.window_ends_at > now()`
  const [row] = await inOrder(db, (transaction) =>
    transaction.execute<{ messages: number; from: string; to: string }>(sql`
      WITH longest AS (
        SELECT m.sent_at AS at FROM ${dueMessages} ORDER BY d.due_at, d.message LIMIT 1
      ), taken AS MATERIALIZED (
        SELECT d.ctid AS place, m.id, m.sent_at FROM ${dueMessages}
          AND m.sent_at BETWEEN (SELECT at FROM longest) - ${halfSpan} AND (SELECT at FROM longest) + ${halfSpan}
        ORDER BY d.due_at, d.message
        LIMIT ${limit}
        FOR UPDATE OF d SKIP LOCKED
      ), deleted AS (
        DELETE FROM ${due} WHERE ctid = ANY(ARRAY(SELECT place FROM taken))
      ), claimed AS (
        INSERT INTO ${batches} (id, account, lease_ends_at, messages)
        SELECT ${batch}, ${account}, ${fromNow(leaseMs)}, array_agg(id) FROM taken HAVING count(*) > 0
      )
      SELECT count(*)::int AS messages, min(sent_at) AS "from", max(sent_at) AS "to" FROM taken`),
  )
  if (!row || row.messages === 0) return undefined
  return { batch, messages: row.messages, from: new Date(row.from), to: new Date(row.to) }
}

/**
 * Looks again at a sweep just before its next page: how many messages no page has told of. Its lease is renewed; nothing
 * is left when somebody has given the batch back.
 */
export async function renewSweep(db: Db, { batch, leaseMs }: { batch: string; leaseMs: number }): Promise<number> {
  if (!(await extendLease(db, batch, leaseMs))) return 0
  const [row] = await db.execute<{ left: number }>(sql`
    SELECT count(*)::int AS left
    FROM ${batches} b CROSS JOIN unnest(b.messages) AS u (id) JOIN ${messages} m ON m.id = u.id
    WHERE b.id = ${batch} AND ${isUnmet}`)
  return row?.left ?? 0
}

/** The messages of a batch that no answer has told of since it was claimed: those of these IDs or any, all or `limit`. */
export async function findUnmet(
  db: Db,
  { batch, messageIds, limit }: { batch: string; messageIds?: readonly string[]; limit?: number },
): Promise<ClaimedMessage[]> {
  const isAsked = messageIds ? sql`m.message_id = ANY(${textArray(messageIds)})` : sql`true`
  const rows = await db.execute<ClaimedRow>(sql`
    SELECT ${claimedColumns}
    FROM ${batches} b CROSS JOIN unnest(b.messages) AS u (id) JOIN ${messages} m ON m.id = u.id
    WHERE b.id = ${batch} AND ${isUnmet} AND ${isAsked}
    LIMIT ${limit ?? null}`)
  return rows.map(toClaimed)
}

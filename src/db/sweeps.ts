/** Sweeps: batches that are asked about by the time they were sent in, page after page (see schedule.ts). */
import { randomUUID } from 'node:crypto'
import { type SQL, sql } from 'drizzle-orm'
import { type ClaimedMessage, type ClaimedRow, claimedColumns, extendLease, isOfBatch, toClaimed } from './batches.ts'
import { type Db, fromNow, textArray } from './client.ts'
import { inOrder } from './schedule.ts'
import { batches, due, messages } from './schema.ts'

interface WindowClaim {
  account: string
  /** The window of times of sending. */
  from: Date
  to: Date
  limit: number
  /** How many are taken at most; all of them when left out. */
  most?: number | undefined
  leaseMs: number
  restMs: number
}

export interface ClaimedWindow {
  batch: string
  messages: number
  /** The times of sending of the oldest and the newest of them. */
  from: Date
  to: Date
}

/** How many messages were sent in a window of time; counts no further than `limit`. */
export async function countSent(
  db: Db,
  { account, from, to, limit }: { account: string; from: Date; to: Date; limit: number },
): Promise<number> {
  const [row] = await db.execute<{ sent: number }>(sql`
    SELECT count(*)::int AS sent FROM (
      SELECT FROM ${messages}
      WHERE account = ${account} AND tracked_at IS NOT NULL
        AND sent_at BETWEEN ${from.toISOString()}::timestamptz AND ${to.toISOString()}::timestamptz
      LIMIT ${limit}
    ) counted`)
  return row?.sent ?? 0
}

/**
 * Claims for a sweep, among the \`limit\` messages of an account that are due first, now or later, those that were sent
 * within a window, `most` at most; none that an answer has told of within the last \`restMs\`. Undefined where there are none.
 */
export async function claimWindow(
  db: Db,
  { account, from, to, limit, most, leaseMs, restMs }: WindowClaim,
): Promise<ClaimedWindow | undefined> {
  const batch = randomUUID()
  const [row] = await inOrder(db, (transaction) =>
    transaction.execute<{ messages: number; from: string; to: string }>(sql`
      WITH looked_at AS (
        SELECT d.ctid AS place, d.message, d.due_at, m.id, m.sent_at, m.due_at = d.due_at AND m.window_ends_at > now()
          AND (d.due_at <= now() OR m.asked_at IS NULL OR m.asked_at <= ${fromNow(-restMs)}) AS is_ready
        FROM ${due} d JOIN ${messages} m ON m.id = d.message
        WHERE d.account = ${account}
        ORDER BY d.due_at, d.message
        LIMIT ${limit}
      ), taken AS MATERIALIZED (
        SELECT l.* FROM looked_at l JOIN ${due} d ON d.ctid = l.place AND d.message = l.message
        WHERE l.is_ready AND l.sent_at BETWEEN ${from.toISOString()}::timestamptz AND ${to.toISOString()}::timestamptz
        LIMIT ${most ?? null} FOR UPDATE OF d SKIP LOCKED
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
    FROM ${batches} b JOIN ${messages} m ON ${isOfBatch}
    WHERE b.id = ${batch} AND NOT m.final`)
  return row?.left ?? 0
}

/** The messages of a batch that no answer has told of since it was claimed, or the first `limit` of them. */
export async function findUnmet(
  db: Db,
  { batch, limit }: { batch: string; limit?: number },
): Promise<ClaimedMessage[]> {
  return selectUnmet(db, batch, sql`LIMIT ${limit ?? null}`)
}

/** The unmet messages of a batch that have one of these IDs. */
export async function findUnmetByIds(db: Db, batch: string, messageIds: readonly string[]): Promise<ClaimedMessage[]> {
  return selectUnmet(db, batch, sql`AND m.message_id = ANY(${textArray(messageIds)})`)
}

async function selectUnmet(db: Db, batch: string, which: SQL): Promise<ClaimedMessage[]> {
  const rows = await db.execute<ClaimedRow>(sql`
    SELECT ${claimedColumns}
    FROM ${batches} b JOIN ${messages} m ON ${isOfBatch}
    WHERE b.id = ${batch} AND NOT m.final ${which}`)
  return rows.map(toClaimed)
}

/**
 * The schedule. Every outstanding message stands in one place: in `due`, under the time of its row in `messages`, while
 * nobody asks about it; or in one row of `batches` while somebody does.
 *
 *   due ── claimDue, claimWindow ── batch ── checkBatch, renewSweep ── asked ──┬─ applyReports ── due again, or final
 *    ^                                                                        ├─ extendLease (an attempt failed)
 *    │                                                                        └─ splitBatch ── batches
 *    └── releaseBatch, refuseMessage, giveBackExpired (the lease ran out) ── batch
 *
 * A row of `due` whose time is not that of its message any more is stale: the message was settled, or sent again. It
 * costs less to drop such a row when its time comes than to look for it when the message is settled.
 *
 * No message is ever in two live batches: a claim deletes the row of `due`, and only the transaction that deletes the
 * batch puts it back.
 */
import { randomUUID } from 'node:crypto'
import { sql } from 'drizzle-orm'
import {
  type Batch,
  type ClaimedMessage,
  type ClaimedRow,
  claimedColumns,
  insertBatches,
  toClaimed,
} from './batches.ts'
import { type Db, executePrepared, textArray } from './client.ts'
import type { MessageKey } from './recipients.ts'
import { due, messages } from './schema.ts'

/** Which of these accounts have messages that are due: what every tick asks first, and mostly nothing comes of it. */
export async function findDueAccounts(db: Db, accounts: readonly string[]): Promise<Set<string>> {
  const rows = await executePrepared<{ account: string }>(
    db,
    sql`
    SELECT a.account FROM unnest(${textArray(accounts)}) AS a (account)
    WHERE (SELECT min(due_at) FROM ${due} d WHERE d.account = a.account) <= now()`,
  )
  return new Set(rows.map(({ account }) => account))
}

export interface Claimed {
  batches: Batch[]
  /** More may be due. */
  hasMore: boolean
}

interface TakenRow extends ClaimedRow {
  is_due: boolean | null
}

/**
 * Claims up to `limit` due messages of an account, the longest due first, and cuts them into batches: for `leaseMs` nobody
 * else gets them. Rows that another claim is taking just now are passed over, stale ones are dropped, and messages whose
 * window has closed are left to be closed.
 */
export async function claimDue(
  db: Db,
  { account, limit, leaseMs }: { account: string; limit: number; leaseMs: number },
  cut: (claimed: readonly ClaimedMessage[]) => ClaimedMessage[][],
): Promise<Claimed> {
  return inOrder(db, async (transaction) => {
    const taken = await transaction.execute<TakenRow>(sql`
      WITH taken AS MATERIALIZED (
        SELECT d.ctid AS place, ${claimedColumns}, m.due_at = d.due_at AS is_due
        FROM ${due} d LEFT JOIN ${messages} m ON m.id = d.message
        WHERE d.account = ${account} AND d.due_at <= now() AND (m.due_at = d.due_at AND m.window_ends_at <= now()) IS NOT TRUE
        ORDER BY d.due_at, d.message
        LIMIT ${limit}
        FOR UPDATE OF d SKIP LOCKED
      ), deleted AS (
        DELETE FROM ${due} WHERE ctid = ANY(ARRAY(SELECT place FROM taken))
      )
      SELECT * FROM taken`)
    const claimed = taken.filter((row) => row.is_due).map(toClaimed)
    const cutOff = cut(claimed).map((messages) => ({ id: randomUUID(), messages }))
    await insertBatches(transaction, { account, leaseMs }, cutOff)
    return { batches: cutOff, hasMore: taken.length === limit }
  })
}

/**
 * Runs a claim that must read the due rows in the order of their index, and stop at its limit. Of a table that grows
 * faster than its statistics Postgres would take them for a few, and read and sort all of them for every claim.
 */
export function inOrder<T>(db: Db, claim: (transaction: Db) => Promise<T>): Promise<T> {
  return db.transaction(async (transaction) => {
    await transaction.execute(sql`
      SELECT set_config(name, 'off', true) FROM unnest('{enable_sort,enable_hashjoin,enable_mergejoin}'::text[]) AS s (name)`)
    return claim(transaction)
  })
}

export interface ClosedMessage extends MessageKey {
  windowEndsAt: Date
}

interface ClosedRow extends Record<string, unknown> {
  is_closed: boolean
  account: string
  message_id: string
  recipient_key: string
  window_ends_at: string
}

/**
 * Outstanding messages whose look-up window has closed and that no batch holds, up to `limit`. Stale rows that are met on
 * the way are dropped and counted: where nothing is claimed, nothing else would.
 */
export async function findClosed(db: Db, limit: number): Promise<{ closed: ClosedMessage[]; hasMore: boolean }> {
  const rows = await inOrder(db, (transaction) =>
    transaction.execute<ClosedRow>(sql`
      WITH RECURSIVE accounts AS (
        SELECT min(account) AS account FROM ${due}
        UNION ALL
        SELECT (SELECT min(account) FROM ${due} WHERE account > a.account) FROM accounts a WHERE a.account IS NOT NULL
      ), past AS MATERIALIZED (
        SELECT d.ctid AS place, m.due_at = d.due_at AS is_closed,
          m.account, m.message_id, m.recipient_key, m.window_ends_at
        FROM accounts a
        JOIN ${due} d ON d.account = a.account AND d.due_at <= now()
        LEFT JOIN ${messages} m ON m.id = d.message
        WHERE m.due_at IS DISTINCT FROM d.due_at OR m.window_ends_at <= now()
        LIMIT ${limit}
      ), dropped AS (
        DELETE FROM ${due} WHERE ctid = ANY(ARRAY(SELECT place FROM past WHERE is_closed IS NOT TRUE))
      )
      SELECT * FROM past`),
  )
  const closed = rows
    .filter((row) => row.is_closed)
    .map((row) => ({
      account: row.account,
      messageId: row.message_id,
      recipientKey: row.recipient_key,
      windowEndsAt: new Date(row.window_ends_at),
    }))
  return { closed, hasMore: rows.length === limit }
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
      UPDATE ${messages} m SET due_at = ${isFirst ? first : sql`now()`}
      WHERE ${isAskable} AND m.id IN (SELECT message FROM taken)
      RETURNING m.account, m.due_at, m.id
    ), scheduled AS (
      INSERT INTO ${due} (account, due_at, message) SELECT account, due_at, id FROM moved ON CONFLICT DO NOTHING
    )
    SELECT FROM ${messages} m WHERE ${isAskable}`)
  return rows.length
}

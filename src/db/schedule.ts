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
import { type SQL, sql } from 'drizzle-orm'
import { type Batch, type ClaimedMessage, type ClaimedRow, claimedColumns, toClaimed } from './batches.ts'
import { type Db, executePrepared, fromNow, millisecondsOf, rowsAs, textArray } from './client.ts'
import type { MessageKey } from './recipients.ts'
import { batches, due, messages } from './schema.ts'

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

/** Which of these accounts have messages that have been due for longer than this. */
export async function findOverdueAccounts(db: Db, accounts: readonly string[], ms: number): Promise<string[]> {
  const rows = await db.execute<{ account: string }>(sql`
    SELECT a.account FROM unnest(${textArray(accounts)}) AS a (account)
    WHERE (SELECT min(due_at) FROM ${due} d WHERE d.account = a.account) <= now() - ${ms} * interval '1 millisecond'`)
  return rows.map(({ account }) => account)
}

/** The messages that a claim may take, each kind in the order of their times. */
export interface Offered {
  due: ClaimedMessage[]
  /** Due next, up to the free places of the last request. */
  next: ClaimedMessage[]
  /** By the database's clock, in milliseconds since 1970. */
  now: number
}

export interface Claimed {
  batches: Batch[]
  /** More may be due. */
  hasMore: boolean
}

interface ClaimOptions {
  account: string
  /** The most due messages that are looked at, the longest due first. */
  limit: number
  /** Where there are more, so many of those due last are looked at, too: they may be worth more. */
  newest?: number
  leaseMs: number
  /** How many messages a request has room for: free places are offered to those due next. */
  places?: number
  /** A message that an answer has told of so recently fills no place. */
  restMs?: number
}

/**
 * Claims messages of an account: looks at up to `limit` that are due, the longest due first, and at some that are due
 * next, lets `choose` cut batches of them, and takes those: for `leaseMs` nobody else gets them. Stale rows are dropped,
 * messages whose window has closed are left to be closed, and those that another claim has taken meanwhile are left to it.
 */
export async function claimDue(
  db: Db,
  { account, limit, newest = 0, leaseMs, places = 1, restMs = 0 }: ClaimOptions,
  choose: (offered: Offered) => ClaimedMessage[][],
): Promise<Claimed> {
  const { due: rows, next } = await inOrder(db, async (transaction) => {
    const oldest = await findDue(transaction, { account, limit })
    const latest =
      newest > 0 && oldest.length === limit
        ? await findDue(transaction, { account, limit: newest, order: LATEST_FIRST })
        : []
    const known = new Set(oldest.map(({ place }) => place))
    const due = [...oldest, ...latest.filter(({ place }) => !known.has(place))]
    const isDue = due.filter((row) => row.is_due).length
    const free = isDue === 0 ? 0 : (places - (isDue % places)) % places
    return { due, next: free === 0 ? [] : await findNext(transaction, { account, limit: free, restMs }) }
  })
  const stale = rows.filter((row) => !row.is_due)
  const claimed = rows.filter((row) => row.is_due)
  const chosen = choose({ due: claimed.map(toClaimed), next: next.map(toClaimed), now: rows[0]?.now_ms ?? 0 })
  const cutOff = chosen.map((messages) => ({ id: randomUUID(), messages }))
  const rowOf = new Map([...claimed, ...next].map((row) => [Number(row.id), row]))
  return { batches: await take(db, { account, leaseMs }, cutOff, rowOf, stale), hasMore: rows.length >= limit }
}

interface DueRow extends ClaimedRow {
  place: string
  message: string
  is_due: boolean | null
  now_ms: number
}

const dueColumns = sql`d.ctid::text AS place, d.message, ${claimedColumns}, m.due_at = d.due_at AS is_due,
  ${millisecondsOf('now()')} AS now_ms`

/**
 * The messages of an account that have been due for so long, up to `limit`, the longest due first. Nothing is claimed; stale
 * rows are dropped.
 */
export async function lookAtDue(
  db: Db,
  options: { account: string; limit: number; forMs?: number },
): Promise<Omit<Offered, 'next'>> {
  const rows = await inOrder(db, (transaction) => findDue(transaction, options))
  const stale = rows.filter((row) => !row.is_due)
  await take(db, { ...options, leaseMs: 0 }, [], new Map(), stale)
  return { due: rows.filter((row) => row.is_due).map(toClaimed), now: rows[0]?.now_ms ?? 0 }
}

const LONGEST_DUE_FIRST = sql.raw('d.due_at, d.message')
const LATEST_FIRST = sql.raw('d.due_at DESC, d.message DESC')

function findDue(
  db: Db,
  {
    account,
    limit,
    order = LONGEST_DUE_FIRST,
    forMs = 0,
  }: { account: string; limit: number; order?: SQL; forMs?: number },
): Promise<readonly DueRow[]> {
  return db.execute<DueRow>(sql`
    SELECT ${dueColumns} FROM ${due} d LEFT JOIN ${messages} m ON m.id = d.message
    WHERE d.account = ${account} AND d.due_at <= ${fromNow(-forMs)} AND (m.due_at = d.due_at AND m.window_ends_at <= now()) IS NOT TRUE
    ORDER BY ${order}
    LIMIT ${limit}`)
}

/** How many of the messages due next are looked at for each free place. */
const LOOKED_AT_A_PLACE = 5

function findNext(
  db: Db,
  { account, limit, restMs }: { account: string; limit: number; restMs: number },
): Promise<readonly DueRow[]> {
  return db.execute<DueRow>(sql`
    SELECT * FROM (
      SELECT ${dueColumns}, m.sent_at <= now() AND m.window_ends_at > now()
        AND (m.asked_at IS NULL OR m.asked_at <= ${fromNow(-restMs)}) AS is_ready
      FROM ${due} d JOIN ${messages} m ON m.id = d.message
      WHERE d.account = ${account} AND d.due_at > now()
      ORDER BY d.due_at, d.message
      LIMIT ${limit * LOOKED_AT_A_PLACE}
    ) looked_at
    WHERE is_due AND is_ready AND NOT refused LIMIT ${limit}`)
}

/** Moves the chosen rows of `due` that are still there into batches, and drops the stale ones. */
async function take(
  db: Db,
  { account, leaseMs }: { account: string; leaseMs: number },
  cutOff: readonly Batch[],
  rowOf: ReadonlyMap<number, DueRow>,
  stale: readonly DueRow[],
): Promise<Batch[]> {
  const chosen = cutOff.flatMap(({ id: batch, messages }) =>
    messages.map(({ id }) => ({ place: rowOf.get(id)?.place, id: String(id), batch })),
  )
  const given = [...chosen, ...stale.map(({ place, message }) => ({ place, id: message, batch: undefined }))]
  if (given.length === 0) return []
  const taken = rowsAs('g', given, {
    place: ['tid', ({ place }) => place],
    message: ['bigint', ({ id }) => id],
    batch: ['uuid', ({ batch }) => batch],
  })
  const rows = await db.execute<{ id: string }>(sql`
    WITH given AS (
      SELECT * FROM ${taken}
    ), locked AS MATERIALIZED (
      SELECT ctid AS place, message FROM ${due} WHERE ctid = ANY(ARRAY(SELECT place FROM given))
      FOR UPDATE SKIP LOCKED
    ), ours AS MATERIALIZED (
      SELECT g.* FROM given g JOIN locked l USING (place, message)
    ), deleted AS (
      DELETE FROM ${due} WHERE ctid = ANY(ARRAY(SELECT place FROM ours))
    ), added AS (
      INSERT INTO ${batches} (id, account, lease_ends_at, messages)
      SELECT batch, ${account}, ${fromNow(leaseMs)}, array_agg(message)
      FROM ours WHERE batch IS NOT NULL GROUP BY batch
    )
    SELECT message AS id FROM ours WHERE batch IS NOT NULL`)
  if (rows.length === chosen.length) return [...cutOff]
  const ours = new Set(rows.map(({ id }) => Number(id)))
  return cutOff
    .map(({ id, messages }) => ({ id, messages: messages.filter((message) => ours.has(message.id)) }))
    .filter(({ messages }) => messages.length > 0)
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

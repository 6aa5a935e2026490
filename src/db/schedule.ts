/**
 * The steps of the schedule, one statement a step: claim what is due, look again before asking, give back, close.
 *
 *   due ── claimDue, claimWindow ── claimed until next_poll_at ──┬─ checkClaim, renewClaim ── asked ── applyReports
 *    ^                                                           ├─ extendClaim (an attempt failed)
 *    └── the lease ran out, releaseClaim, refuseMessage ─────────┘
 */
import { sql } from 'drizzle-orm'
import { type Db, executePrepared, textArray } from './client.ts'
import type { MessageKey } from './recipients.ts'
import { messages } from './schema.ts'

/** A message of a claimed batch. */
export interface ClaimedMessage {
  messageId: string
  recipientKey: string
  sentAt: Date
  polls: number
  /** The provider has refused to answer about this one: it must be asked about alone. */
  refused: boolean
}

interface ClaimedRow extends Record<string, unknown> {
  message_id: string
  recipient_key: string
  sent_at: string
  polls: number
  refused: boolean
}

const claimedColumns = sql.raw('message_id, recipient_key, sent_at, polls, query_error IS NOT NULL AS refused')

function toClaimed(row: ClaimedRow): ClaimedMessage {
  const { message_id: messageId, recipient_key: recipientKey, polls, refused } = row
  return { messageId, recipientKey, sentAt: new Date(row.sent_at), polls, refused }
}

/** Which of these accounts have messages that are due: what every tick asks first, and mostly nothing comes of it. */
export async function findDueAccounts(db: Db, accounts: readonly string[]): Promise<Set<string>> {
  const rows = await executePrepared<{ account: string }>(
    db,
    sql`
    SELECT a.account FROM unnest(${textArray(accounts)}) AS a (account)
    WHERE (SELECT min(next_poll_at) FROM ${messages} m WHERE m.account = a.account) <= now()`,
  )
  return new Set(rows.map(({ account }) => account))
}

/**
 * Claims up to `limit` due messages of an account, the longest due first: for `leaseMs` nobody else gets them, then
 * they come due again by themselves. Rows that another claim is taking just now are passed over.
 */
export async function claimDue(
  db: Db,
  { account, claim, limit, leaseMs }: { account: string; claim: string; limit: number; leaseMs: number },
): Promise<ClaimedMessage[]> {
  const statement = sql`
    WITH due AS (
      SELECT id FROM ${messages}
      WHERE account = ${account} AND next_poll_at <= now() AND window_ends_at > now()
      ORDER BY next_poll_at
      LIMIT ${limit}
      FOR UPDATE SKIP LOCKED
    )
    UPDATE ${messages} SET next_poll_at = ${fromNow(leaseMs)}, claim = ${claim}
    WHERE id = ANY(ARRAY(SELECT id FROM due))
    RETURNING ${claimedColumns}`
  const rows = await inOrder(db, (transaction) => transaction.execute<ClaimedRow>(statement))
  return rows.map(toClaimed)
}

export interface ClaimedWindow {
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
  {
    account,
    claim,
    limit,
    leaseMs,
    spanMs,
  }: { account: string; claim: string; limit: number; leaseMs: number; spanMs: number },
): Promise<ClaimedWindow | undefined> {
  const halfSpan = sql`${spanMs / 2} * interval '1 millisecond'`
  const isDue = sql`account = ${account} AND next_poll_at <= now() AND window_ends_at > now()`
  const statement = sql`
    WITH longest AS (
      SELECT sent_at AS at FROM ${messages} WHERE ${isDue} ORDER BY next_poll_at LIMIT 1
    ), due AS (
      SELECT id FROM ${messages}
      WHERE ${isDue}
        AND sent_at BETWEEN (SELECT at FROM longest) - ${halfSpan} AND (SELECT at FROM longest) + ${halfSpan}
      ORDER BY next_poll_at
      LIMIT ${limit}
      FOR UPDATE SKIP LOCKED
    ), claimed AS (
      UPDATE ${messages} SET next_poll_at = ${fromNow(leaseMs)}, claim = ${claim}
      WHERE id = ANY(ARRAY(SELECT id FROM due))
      RETURNING sent_at
    )
    SELECT count(*)::int AS messages, min(sent_at) AS "from", max(sent_at) AS "to" FROM claimed`
  const [row] = await inOrder(db, (transaction) =>
    transaction.execute<{ messages: number; from: string; to: string }>(statement),
  )
  if (!row || row.messages === 0) return undefined
  return { messages: row.messages, from: new Date(row.from), to: new Date(row.to) }
}

/**
 * Looks again at a claimed window just before its next page: how many messages still carry the claim. Their lease is
 * renewed when half of it is over.
 */
export async function renewClaim(db: Db, { claim, leaseMs }: { claim: string; leaseMs: number }): Promise<number> {
  const [row] = await db.execute<{ held: number }>(sql`
    WITH renewed AS (
      UPDATE ${messages} SET next_poll_at = ${fromNow(leaseMs)}
      WHERE claim = ${claim} AND NOT final AND next_poll_at < ${fromNow(leaseMs / 2)}
    )
    SELECT count(*)::int AS held FROM ${messages} WHERE claim = ${claim} AND NOT final`)
  return row?.held ?? 0
}

/** The messages of a claim: those of these IDs, or any, up to `limit`. */
export async function findClaimed(
  db: Db,
  { claim, messageIds, limit }: { claim: string; messageIds?: readonly string[]; limit: number },
): Promise<ClaimedMessage[]> {
  const isAsked = messageIds ? sql`message_id = ANY(${textArray(messageIds)})` : sql`true`
  const rows = await db.execute<ClaimedRow>(sql`
    SELECT ${claimedColumns} FROM ${messages} WHERE claim = ${claim} AND NOT final AND ${isAsked} LIMIT ${limit}`)
  return rows.map(toClaimed)
}

export interface CheckedClaim {
  /** Still outstanding and still ours for at least `marginMs`: the ones to ask about. */
  held: ClaimedMessage[]
  /** Final by now. */
  settled: number
}

interface HeldRow extends ClaimedRow {
  final: boolean
  held: boolean
  safe: boolean
}

/**
 * Looks again at a claimed batch just before its request. Leases with less than `marginMs` left are renewed: as long as
 * the claim stands on a row nobody else has taken it, and after the renewal nobody can.
 */
export async function checkClaim(
  db: Db,
  { marginMs, leaseMs, ...batch }: ClaimedBatch & { messageIds: readonly string[]; marginMs: number; leaseMs: number },
): Promise<CheckedClaim> {
  const rows = await executePrepared<HeldRow>(
    db,
    sql`
    SELECT ${claimedColumns}, final, claim = ${batch.claim} AND NOT final AS held,
      next_poll_at > ${fromNow(marginMs)} AS safe
    FROM ${messages}
    WHERE account = ${batch.account} AND message_id = ANY(${textArray(batch.messageIds)})`,
  )
  const settled = rows.filter((row) => row.final).length
  const held = rows.filter((row) => row.held)
  if (held.every((row) => row.safe)) return { held: held.map(toClaimed), settled }
  const messageIds = held.map((row) => row.message_id)
  return { held: await extendClaim(db, { ...batch, messageIds, leaseMs }), settled }
}

export interface ClaimedBatch {
  account: string
  claim: string
  /** Which of the claimed messages; all of them when left out. */
  messageIds?: readonly string[] | undefined
}

/** Moves the end of a batch's lease to `leaseMs` from now, for the messages it still holds, and returns those. */
export async function extendClaim(db: Db, batch: ClaimedBatch & { leaseMs: number }): Promise<ClaimedMessage[]> {
  const rows = await db.execute<ClaimedRow>(sql`
    UPDATE ${messages} SET next_poll_at = ${fromNow(batch.leaseMs)}
    WHERE ${isHeldBy(batch)}
    RETURNING ${claimedColumns}`)
  return rows.map(toClaimed)
}

/** Gives a batch's messages back: they come due after `delayMs`, or at their window's end if that is sooner. */
export async function releaseClaim(db: Db, batch: ClaimedBatch & { delayMs: number }): Promise<void> {
  await db.execute(sql`
    UPDATE ${messages}
    SET claim = NULL, next_poll_at = least(${fromNow(batch.delayMs)}, greatest(window_ends_at, now()))
    WHERE ${isHeldBy(batch)}`)
}

/** Gives back a message the provider refuses to answer about, with its reason; it comes due again, to be asked alone. */
export async function refuseMessage(
  db: Db,
  { reason, delayMs, ...batch }: ClaimedBatch & { reason: string; delayMs: number },
): Promise<void> {
  await db.execute(sql`
    UPDATE ${messages}
    SET claim = NULL, query_error = ${reason}, polls = polls + 1,
      next_poll_at = least(${fromNow(delayMs)}, greatest(window_ends_at, now()))
    WHERE ${isHeldBy(batch)}`)
}

/** By the key where the messages are named, and never by the claim alone, which up to fifty batches share. */
function isHeldBy({ account, claim, messageIds }: ClaimedBatch) {
  const isOutstanding = sql`account = ${account} AND NOT final`
  if (!messageIds) return sql`${isOutstanding} AND claim = ${claim}`
  return sql`${isOutstanding} AND message_id = ANY(${textArray(messageIds)}) AND (claim = ${claim}) IS TRUE`
}

/**
 * Runs a claim that must read the due rows in the order of their index, and stop at its limit. Of a table that grows
 * faster than its statistics Postgres would take them for a few, and read and sort all of them for every claim.
 */
function inOrder<T>(db: Db, claim: (transaction: Db) => Promise<T>): Promise<T> {
  return db.transaction(async (transaction) => {
    await transaction.execute(sql`SET LOCAL enable_sort = off`)
    return claim(transaction)
  })
}

function fromNow(ms: number) {
  return sql`now() + ${ms} * interval '1 millisecond'`
}

export interface ClosedMessage extends MessageKey {
  windowEndsAt: Date
}

/** Outstanding messages whose look-up window has closed and that no batch holds. */
export async function findClosed(db: Db, limit: number): Promise<ClosedMessage[]> {
  const rows = await db.execute<{
    account: string
    message_id: string
    recipient_key: string
    window_ends_at: string
  }>(sql`
    WITH RECURSIVE accounts AS (
      SELECT min(account) AS account FROM ${messages} WHERE next_poll_at IS NOT NULL
      UNION ALL
      SELECT (SELECT min(account) FROM ${messages} WHERE next_poll_at IS NOT NULL AND account > a.account)
      FROM accounts a WHERE a.account IS NOT NULL
    )
    SELECT m.account, m.message_id, m.recipient_key, m.window_ends_at
    FROM accounts a
    JOIN ${messages} m ON m.account = a.account AND m.next_poll_at <= now()
    WHERE m.window_ends_at <= now()
    LIMIT ${limit}`)
  return rows.map((row) => ({
    account: row.account,
    messageId: row.message_id,
    recipientKey: row.recipient_key,
    windowEndsAt: new Date(row.window_ends_at),
  }))
}

/**
 * Makes an outstanding message due now, unless a batch holds it already; with `isFirst` before all others of its account.
 * Returns false when it is not outstanding.
 */
export async function pollNow(db: Db, id: number, { isFirst = false } = {}): Promise<boolean> {
  const first = sql`(
    SELECT least(min(o.next_poll_at), now()) - interval '1 millisecond'
    FROM ${messages} o WHERE o.account = ${messages}.account)`
  const rows = await db.execute(sql`
    UPDATE ${messages}
    SET next_poll_at = CASE
      WHEN claim IS NOT NULL AND next_poll_at > now() THEN next_poll_at ELSE ${isFirst ? first : sql`now()`} END
    WHERE id = ${id} AND NOT final AND sent_at <= now() AND window_ends_at > now()
    RETURNING id`)
  return rows.length > 0
}

/** The messages: tracking them, finding them, and the steps of the schedule, one statement a step. */
import { and, desc, eq, isNotNull, lt, sql } from 'drizzle-orm'
import type { Status } from '../core/status.ts'
import { arrayColumn, type Db, jsonText, retryLostRaces, textArray } from './client.ts'
import { messages, statusReports } from './schema.ts'

export type MessageRow = typeof messages.$inferSelect
export type ReportRow = typeof statusReports.$inferSelect

/** A message the app hands over, in normal form, with its place in the schedule. */
export interface NewMessage {
  account: string
  messageId: string
  recipientKey: string
  recipient: string | null
  sentAt: Date
  windowEndsAt: Date
  nextPollAt: Date
  metadata: unknown
}

/**
 * Tracks messages, all or none, and returns how many were not tracked before. A message that reports told of already
 * keeps its status; a final one is not scheduled.
 */
export async function trackMessages(db: Db, tracked: readonly NewMessage[]): Promise<number> {
  const column = (type: string, pick: (message: NewMessage) => unknown) => arrayColumn(tracked, type, pick)
  const columns = sql.join(
    [
      column('text', ({ account }) => account),
      column('text', ({ messageId }) => messageId),
      column('text', ({ recipientKey }) => recipientKey),
      column('text', ({ recipient }) => recipient),
      column('timestamptz', ({ sentAt }) => sentAt.toISOString()),
      column('timestamptz', ({ windowEndsAt }) => windowEndsAt.toISOString()),
      column('timestamptz', ({ nextPollAt }) => nextPollAt.toISOString()),
      column('jsonb', ({ metadata }) => jsonText(metadata)),
    ],
    sql`, `,
  )
  // The order of the key keeps two bodies with the same IDs from locking each other out.
  const statement = sql`
    INSERT INTO ${messages} AS m (
      account, message_id, recipient_key, recipient, sent_at, window_ends_at, next_poll_at, metadata, tracked_at
    )
    SELECT n.*, now()
    FROM unnest(${columns}) AS n (
      account, message_id, recipient_key, recipient, sent_at, window_ends_at, next_poll_at, metadata
    )
    ORDER BY account, message_id, recipient_key
    ON CONFLICT (account, message_id, recipient_key) DO UPDATE SET
      recipient = excluded.recipient,
      sent_at = excluded.sent_at,
      window_ends_at = excluded.window_ends_at,
      metadata = excluded.metadata,
      tracked_at = excluded.tracked_at,
      next_poll_at = CASE WHEN m.final THEN NULL ELSE excluded.next_poll_at END
    WHERE m.tracked_at IS NULL
    RETURNING m.id`
  const rows = await retryLostRaces(() => db.execute(statement))
  return rows.length
}

/** A message of a claimed batch. */
export interface ClaimedMessage {
  messageId: string
  recipientKey: string
  sentAt: Date
  polls: number
}

interface ClaimedRow extends Record<string, unknown> {
  message_id: string
  recipient_key: string
  sent_at: string
  polls: number
}

function toClaimed(row: ClaimedRow): ClaimedMessage {
  return { messageId: row.message_id, recipientKey: row.recipient_key, sentAt: new Date(row.sent_at), polls: row.polls }
}

/**
 * Claims up to `limit` due messages of an account, the longest due first: for `leaseMs` nobody else gets them, then
 * they come due again by themselves. Rows that another claim is taking just now are passed over.
 */
export async function claimDue(
  db: Db,
  { account, claim, limit, leaseMs }: { account: string; claim: string; limit: number; leaseMs: number },
): Promise<ClaimedMessage[]> {
  const rows = await db.execute<ClaimedRow>(sql`
    WITH due AS (
      SELECT id FROM ${messages}
      WHERE account = ${account} AND next_poll_at <= now() AND window_ends_at > now()
      ORDER BY next_poll_at
      LIMIT ${limit}
      FOR UPDATE SKIP LOCKED
    )
    UPDATE ${messages} m SET next_poll_at = ${fromNow(leaseMs)}, claim = ${claim}
    FROM due WHERE m.id = due.id
    RETURNING m.message_id, m.recipient_key, m.sent_at, m.polls`)
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
}

/**
 * Looks again at a claimed batch just before its request. A lease with less than `marginMs` left is renewed in the same
 * statement: as long as the claim stands on the row nobody else has taken it, and after the renewal nobody can.
 */
export async function checkClaim(
  db: Db,
  { marginMs, leaseMs, ...batch }: ClaimedBatch & { marginMs: number; leaseMs: number },
): Promise<CheckedClaim> {
  const rows = await db.execute<HeldRow>(sql`
    WITH renewed AS (
      UPDATE ${messages} SET next_poll_at = ${fromNow(leaseMs)}
      WHERE ${isHeldBy(batch)} AND next_poll_at <= ${fromNow(marginMs)}
      RETURNING id
    )
    SELECT message_id, recipient_key, sent_at, polls, final,
      claim = ${batch.claim} AND (next_poll_at > ${fromNow(marginMs)} OR id IN (SELECT id FROM renewed)) AS held
    FROM ${messages}
    WHERE account = ${batch.account} AND message_id = ANY(${textArray(batch.messageIds)})`)
  const held = rows.filter((row) => row.held && !row.final).map(toClaimed)
  return { held, settled: rows.filter((row) => row.final).length }
}

export interface ClaimedBatch {
  account: string
  claim: string
  messageIds: readonly string[]
}

/** Moves the end of a batch's lease to `leaseMs` from now, for the messages it still holds. */
export async function extendClaim(db: Db, batch: ClaimedBatch & { leaseMs: number }): Promise<void> {
  await db.execute(sql`
    UPDATE ${messages} SET next_poll_at = ${fromNow(batch.leaseMs)} WHERE ${isHeldBy(batch)}`)
}

/** Gives a batch's messages back: they come due after `delayMs`, or at their window's end if that is sooner. */
export async function releaseClaim(db: Db, batch: ClaimedBatch & { delayMs: number }): Promise<void> {
  await db.execute(sql`
    UPDATE ${messages}
    SET claim = NULL, next_poll_at = least(${fromNow(batch.delayMs)}, greatest(window_ends_at, now()))
    WHERE ${isHeldBy(batch)}`)
}

function isHeldBy({ account, claim, messageIds }: ClaimedBatch) {
  return sql`account = ${account} AND message_id = ANY(${textArray(messageIds)}) AND claim = ${claim} AND NOT final`
}

function fromNow(ms: number) {
  return sql`now() + ${ms} * interval '1 millisecond'`
}

export interface ClosedMessage {
  account: string
  messageId: string
  recipientKey: string
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

/** Deletes what reports told of but nobody tracked, oldest first; returns how many messages that were. */
export async function deleteUntracked(
  db: Db,
  { olderThan, limit }: { olderThan: Date; limit: number },
): Promise<number> {
  const rows = await db.execute(sql`
    DELETE FROM ${messages} WHERE id IN (
      SELECT id FROM ${messages} WHERE tracked_at IS NULL AND sent_at < ${olderThan.toISOString()}
      ORDER BY sent_at LIMIT ${limit} FOR UPDATE SKIP LOCKED
    ) RETURNING id`)
  return rows.length
}

/** All tracked messages of one ID: one, or one per recipient. */
export async function findMessages(
  db: Db,
  account: string,
  messageId: string,
  recipientKey?: string,
): Promise<MessageRow[]> {
  return db
    .select()
    .from(messages)
    .where(
      and(
        eq(messages.account, account),
        eq(messages.messageId, messageId),
        isNotNull(messages.trackedAt),
        recipientKey === undefined ? undefined : eq(messages.recipientKey, recipientKey),
      ),
    )
    .orderBy(messages.id)
}

/** The reports of a message in the order of their arrival. */
export async function findReports(db: Db, message: number): Promise<ReportRow[]> {
  return db.select().from(statusReports).where(eq(statusReports.message, message)).orderBy(statusReports.id)
}

export interface ListFilter {
  account?: string | undefined
  status?: Status | undefined
  outstanding?: boolean | undefined
  /** Messages older than this one. */
  before?: number | undefined
  limit: number
}

/** Tracked messages, newest first. */
export async function listMessages(db: Db, filter: ListFilter): Promise<MessageRow[]> {
  return db
    .select()
    .from(messages)
    .where(
      and(
        isNotNull(messages.trackedAt),
        filter.account === undefined ? undefined : eq(messages.account, filter.account),
        filter.status === undefined ? undefined : eq(messages.status, filter.status),
        filter.outstanding === undefined ? undefined : eq(messages.final, !filter.outstanding),
        filter.before === undefined ? undefined : lt(messages.id, filter.before),
      ),
    )
    .orderBy(desc(messages.id))
    .limit(filter.limit)
}

/** Makes an outstanding message due now, unless a batch holds it already. Returns false when it is not outstanding. */
export async function pollNow(db: Db, id: number): Promise<boolean> {
  const rows = await db.execute(sql`
    UPDATE ${messages}
    SET next_poll_at = CASE WHEN claim IS NOT NULL AND next_poll_at > now() THEN next_poll_at ELSE now() END
    WHERE id = ${id} AND NOT final AND window_ends_at > now()
    RETURNING id`)
  return rows.length > 0
}

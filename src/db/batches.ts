/**
 * Batches: the messages that somebody is asking about at present. A batch is theirs until its lease ends or, if nobody has
 * given it back then, until somebody does; schedule.ts has the way there and back.
 */
import { randomUUID } from 'node:crypto'
import { type SQL, sql } from 'drizzle-orm'
import { type Db, executePrepared, fromNow, millisecondsOf, retryLostRaces, rowsAs } from './client.ts'
import { batches, due, messages } from './schema.ts'

/** A message of a claimed batch. */
export interface ClaimedMessage {
  /** The message's row. */
  id: number
  messageId: string
  recipientKey: string
  sentAt: Date
  windowEndsAt: Date
  polls: number
  /** When an answer last told of it. */
  askedAt: Date | undefined
  /** Somebody wants it asked about at once, and no answer has told of it since. */
  wanted: boolean
  /** The provider has refused to answer about this one: it must be asked about alone. */
  refused: boolean
}

export interface ClaimedRow extends Record<string, unknown> {
  id: string
  message_id: string
  recipient_key: string
  sent_at: string
  window_ends_at: string
  polls: number
  asked_at: string | null
  wanted: boolean
  refused: boolean
}

export const claimedColumns = sql.raw(`
  m.id, m.message_id, m.recipient_key, m.sent_at, m.window_ends_at, m.polls, m.asked_at, m.query_error IS NOT NULL AS refused,
  m.wanted_at IS NOT NULL AS wanted`)

export function toClaimed(row: ClaimedRow): ClaimedMessage {
  const { id, message_id: messageId, recipient_key: recipientKey, polls, wanted, refused } = row
  const askedAt = row.asked_at === null ? undefined : new Date(row.asked_at)
  const [sentAt, windowEndsAt] = [new Date(row.sent_at), new Date(row.window_ends_at)]
  return { id: Number(id), messageId, recipientKey, sentAt, windowEndsAt, polls, askedAt, wanted, refused }
}

export interface Batch {
  id: string
  messages: ClaimedMessage[]
}

/** Adds batches with a lease of `leaseMs`. */
async function insertBatches(
  db: Db,
  { account, leaseMs }: { account: string; leaseMs: number },
  added: readonly Batch[],
): Promise<void> {
  if (added.length === 0) return
  const rows = rowsAs('b', added, {
    id: ['uuid', ({ id }) => id],
    list: ['text', ({ messages }) => `{${messages.map(({ id }) => id).join()}}`],
  })
  await db.execute(sql`
    INSERT INTO ${batches} (id, account, lease_ends_at, messages)
    SELECT id, ${account}, ${fromNow(leaseMs)}, list::bigint[] FROM ${rows}`)
}

export interface CheckedBatch {
  /** Still outstanding and still ours for at least `marginMs`: the ones to ask about. */
  held: ClaimedMessage[]
  /** Final by now. */
  settled: number
}

interface HeldRow extends ClaimedRow {
  final: boolean
  is_safe: boolean
}

/**
 * Looks again at a claimed batch just before its request. A lease with less than `marginMs` left is renewed: as long as the
 * batch is there nobody else has its messages, and after the renewal nobody can.
 */
export async function checkBatch(
  db: Db,
  { batch, marginMs, leaseMs }: { batch: string; marginMs: number; leaseMs: number },
): Promise<CheckedBatch> {
  const rows = await executePrepared<HeldRow>(
    db,
    sql`
    SELECT ${claimedColumns}, m.final, b.lease_ends_at > ${fromNow(marginMs)} AS is_safe
    FROM ${batches} b JOIN ${messages} m ON ${isOfBatch}
    WHERE b.id = ${batch}`,
  )
  const held = rows.filter((row) => !row.final)
  const settled = rows.length - held.length
  const isOurs = rows.every((row) => row.is_safe) || (await extendLease(db, batch, leaseMs))
  return { held: isOurs ? held.map(toClaimed) : [], settled }
}

/** Moves the end of a batch's lease to `leaseMs` from now; false when somebody has given the batch back. */
export async function extendLease(db: Db, batch: string, leaseMs: number): Promise<boolean> {
  const rows = await db.execute(sql`
    UPDATE ${batches} SET lease_ends_at = ${fromNow(leaseMs)} WHERE id = ${batch} RETURNING id`)
  return rows.length > 0
}

/**
 * Cuts a batch into others, with a lease of `leaseMs` each; messages of it that are in none of them are given up, as those
 * that are final. Returns nothing when somebody has given the batch back.
 */
export async function splitBatch(
  db: Db,
  { batch, account, leaseMs }: { batch: string; account: string; leaseMs: number },
  parts: readonly ClaimedMessage[][],
): Promise<Batch[]> {
  return db.transaction(async (transaction) => {
    const deleted = await transaction.execute(sql`DELETE FROM ${batches} WHERE id = ${batch} RETURNING id`)
    if (deleted.length === 0) return []
    const split = parts.map((messages) => ({ id: randomUUID(), messages }))
    await insertBatches(transaction, { account, leaseMs }, split)
    return split
  })
}

/** Ends a batch of which every message has been answered for. */
export async function endBatch(db: Db, batch: string): Promise<void> {
  await db.execute(sql`DELETE FROM ${batches} WHERE id = ${batch}`)
}

/** Gives a batch's messages back: they come due after `delayMs`, or at their window's end if that is sooner. */
export async function releaseBatch(db: Db, { batch, delayMs }: { batch: string; delayMs: number }): Promise<void> {
  await giveBack(db, sql`id = ${batch}`, delayMs)
}

const MOST_EXPIRED_AT_ONCE = 1_000

/** Gives back the batches whose lease has run out: their jobs are lost, or stuck. Returns how many messages those held. */
export async function giveBackExpired(db: Db): Promise<number> {
  const expired = sql`id IN (
    SELECT id FROM ${batches} WHERE lease_ends_at <= now()
    ORDER BY lease_ends_at LIMIT ${MOST_EXPIRED_AT_ONCE} FOR UPDATE SKIP LOCKED
  )`
  return retryLostRaces(() => giveBack(db, expired, 0))
}

/**
 * The messages that no answer has told of. By the index: over `unnest`, the planner takes each batch for one of average size, and
 * reads through a table that is small.
 */
export const isOfBatch = sql.raw('m.id = ANY(b.messages)')

/** Whether a batch holds the message: the provider is being asked about it, or is about to; and the time, in milliseconds. */
export async function findHolder(db: Db, { account, id }: { account: string; id: number }) {
  const [row] = await db.execute<{ is_held: boolean; now_ms: number }>(sql`
    SELECT ${millisecondsOf('clock_timestamp()')} AS now_ms, EXISTS (
      SELECT FROM ${batches} b JOIN ${messages} m ON m.id = ${id}
      WHERE b.account = ${account} AND b.messages @> ARRAY[${id}]::bigint[] AND NOT m.final) AS is_held`)
  return { isInBatch: row?.is_held ?? false, now: row?.now_ms ?? Date.now() }
}

async function giveBack(db: Db, which: SQL, delayMs: number): Promise<number> {
  const rows = await executePrepared<{ given: number }>(
    db,
    sql`
    WITH b AS (
      DELETE FROM ${batches} WHERE ${which} RETURNING messages
    ), given AS (
      UPDATE ${messages} m SET due_at = least(${fromNow(delayMs)}, greatest(m.window_ends_at, now()))
      FROM b WHERE ${isOfBatch} AND NOT m.final
      RETURNING m.account, m.due_at, m.id
    ), scheduled AS (
      INSERT INTO ${due} (account, due_at, message) SELECT account, due_at, id FROM given ON CONFLICT DO NOTHING
    )
    SELECT count(*)::int AS given FROM given`,
  )
  return rows[0]?.given ?? 0
}

/** Gives back a batch the provider refuses to answer about, with its reason; it comes due again, to be asked about alone. */
export async function refuseMessage(
  db: Db,
  { batch, reason, delayMs }: { batch: string; reason: string; delayMs: number },
): Promise<void> {
  await db.transaction(async (transaction) => {
    await transaction.execute(sql`
      UPDATE ${messages} m SET query_error = ${reason}, polls = polls + 1
      FROM ${batches} b WHERE b.id = ${batch} AND ${isOfBatch} AND NOT m.final`)
    await releaseBatch(transaction, { batch, delayMs })
  })
}

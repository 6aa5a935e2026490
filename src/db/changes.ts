/**
 * The feed of changes: every change of a tracked message's status, in the order of the commits that made them.
 *
 * The statement that makes changes records them (reports.ts), under a lock that is held until the commit, so positions
 * become visible in their order: whoever reads up to a position has missed nothing below it, also when transactions
 * commit in another order than they began. A message that reports told of before it was tracked changes when it is
 * tracked, maybe in a long transaction of the sending app: a trigger records that while the transaction commits
 * (drizzle/0008_move_the_schedule_out_of_the_messages.sql). Changes are told of by NOTIFY on `lastword_changes`.
 */
import { eq, sql } from 'drizzle-orm'
import { isFinal, type Source, type Status } from '../core/status.ts'
import { type Db, textArray } from './client.ts'
import { changes, feedReaders, messages } from './schema.ts'

export const CHANGES_CHANNEL = 'lastword_changes'

/** The advisory lock under which positions are drawn: 'last' in ASCII, and 1 for changes. */
export const CHANGES_LOCK = '1818325876, 1'

export interface Change {
  position: number
  messageRow: number
  account: string
  messageId: string
  recipient: string | null
  status: Status
  previousStatus: Status | null
  source: Source
  occurredAt: Date
  changedAt: Date
  metadata: unknown
  callbackUrl: string | null
}

interface ChangeRow extends Record<string, unknown> {
  position: string
  message: string
  account: string
  message_id: string
  recipient: string | null
  status: Status
  previous_status: Status | null
  source: Source
  occurred_at: string
  changed_at: string
  metadata: unknown
  callback_url: string | null
}

/**
 * The name of a change, which no other one ever has: a backup that is restored gives positions again, but not at the same
 * time, and two installations have IDs of their own.
 */
export function nameOfChange(installation: string, position: number, changedAt: Date): string {
  return `change-${position}-${installation.slice(0, 8)}-${changedAt.getTime().toString(36)}`
}

/** The changes after a position, oldest first. */
export async function findChanges(db: Db, after: number, limit: number): Promise<Change[]> {
  const rows = await db.execute<ChangeRow>(sql`
    SELECT c.position, c.message, m.account, m.message_id, coalesce(m.recipient, nullif(m.recipient_key, '')) AS recipient,
      c.status, c.previous_status, c.source, c.occurred_at, c.changed_at, m.metadata, m.callback_url
    FROM ${changes} c JOIN ${messages} m ON m.id = c.message
    WHERE c.position > ${after}
    ORDER BY c.position
    LIMIT ${limit}`)
  return rows.map((row) => ({
    position: Number(row.position),
    messageRow: Number(row.message),
    account: row.account,
    messageId: row.message_id,
    recipient: row.recipient,
    status: row.status,
    previousStatus: row.previous_status,
    source: row.source,
    occurredAt: new Date(row.occurred_at),
    changedAt: new Date(row.changed_at),
    metadata: row.metadata,
    callbackUrl: row.callback_url,
  }))
}

/** Where the newest change stands among the readers that was deleted with an erased message. */
export const ERASURE = 'erasure'

/** The position of the newest change, deleted or not; 0 when there was none. */
export async function findLatestPosition(db: Db): Promise<number> {
  const [row] = await db.execute<{ position: string }>(sql`
    SELECT greatest(
      coalesce((SELECT max(position) FROM ${changes}), 0), ${readPosition('retention')}, ${readPosition(ERASURE)}
    ) AS position`)
  return Number(row?.position ?? 0)
}

/** When the change at a position was made; undefined where there is none. */
export async function findChangeTime(db: Db, position: number): Promise<Date | undefined> {
  const [row] = await db.select({ changedAt: changes.changedAt }).from(changes).where(eq(changes.position, position))
  return row?.changedAt
}

/** Up to which position changes have been deleted; a reader that has not come so far has missed some. */
export async function findDeletedPosition(db: Db): Promise<number> {
  const [row] = await db.execute<{ position: string }>(sql`SELECT ${readPosition('retention')} AS position`)
  return Number(row?.position ?? 0)
}

function readPosition(reader: string) {
  return sql`coalesce((SELECT position FROM ${feedReaders} WHERE name = ${reader}), 0)`
}

interface OldChanges {
  olderThan: Date
  limit: number
  readers: readonly string[]
  unreadOlderThan?: Date
}

/**
 * Deletes the oldest changes, no more than `limit`, that are older than `olderThan` and that these readers have read, and from
 * `unreadOlderThan` on the ones, too, that wait for a queue of an app. Returns how many that were.
 */
export async function deleteChanges(
  db: Db,
  { olderThan, limit, readers, unreadOlderThan = new Date(0) }: OldChanges,
): Promise<number> {
  const [row] = await db.execute<{ deleted: number }>(sql`
    WITH oldest AS (
      SELECT position, changed_at FROM ${changes} ORDER BY position LIMIT ${limit}
    ), deleted AS (
      DELETE FROM ${changes} WHERE position IN (
        SELECT position FROM oldest WHERE changed_at < ${olderThan.toISOString()} AND NOT EXISTS (
          SELECT FROM ${feedReaders} r WHERE r.name = ANY(${textArray(readers)}) AND r.position < oldest.position
            AND (r.name = 'callbacks' OR changed_at >= ${unreadOlderThan.toISOString()})
        )
      ) RETURNING position
    ), noted AS (
      INSERT INTO ${feedReaders} AS r (name, position)
      SELECT 'retention', max(position) FROM deleted HAVING count(*) > 0
      ON CONFLICT (name) DO UPDATE SET position = greatest(r.position, excluded.position)
    )
    SELECT count(*)::int AS deleted FROM deleted`)
  return row?.deleted ?? 0
}

/**
 * Lets a reader inside the service take the next changes: `read` gets them, and when it resolves the reader's position
 * moves past them, in one transaction. Only one process serves a reader at a time; the others return 0 at once. A reader
 * that is new begins with what comes from now on. Returns how many changes were read.
 */
export async function readChanges(
  db: Db,
  { reader, limit }: { reader: string; limit: number },
  read: (transaction: Db, changes: readonly Change[]) => Promise<void>,
): Promise<number> {
  return db.transaction(async (transaction) => {
    const [row] = await transaction.execute<{ position: string }>(sql`
      SELECT position FROM ${feedReaders} WHERE name = ${reader} FOR UPDATE SKIP LOCKED`)
    if (!row) return 0
    const found = await findChanges(transaction, Number(row.position), limit)
    const last = found.at(-1)
    if (!last) return 0
    await read(transaction, found)
    await transaction.execute(sql`UPDATE ${feedReaders} SET position = ${last.position} WHERE name = ${reader}`)
    return found.length
  })
}

/** Has a reader begin with what comes from now on, unless it has begun before. */
export async function addReader(db: Db, reader: string): Promise<void> {
  const latest = await findLatestPosition(db)
  await db.execute(sql`
    INSERT INTO ${feedReaders} (name, position) VALUES (${reader}, ${latest}) ON CONFLICT (name) DO NOTHING`)
}

/** One change, as the feed, callbacks and job queues tell it. */
export function describeChange(change: Change) {
  return {
    account: change.account,
    messageId: change.messageId,
    recipient: change.recipient,
    status: change.status,
    previousStatus: change.previousStatus,
    final: isFinal(change.status),
    source: change.source,
    occurredAt: change.occurredAt.toISOString(),
    changedAt: change.changedAt.toISOString(),
    metadata: change.metadata ?? null,
  }
}

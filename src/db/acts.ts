/**
 * The record of who did what. An act is written before it is done and ended afterwards, so that none is missing: one whose
 * process died in between stays `begun`.
 */
import { and, desc, eq, gt, lt, sql } from 'drizzle-orm'
import type { Act, ActKind, ActOutcome } from '../core/act.ts'
import { acts } from './act-tables.ts'
import { type Db, rowsAs } from './client.ts'
import type { RetentionStep } from './retention.ts'
import { messages } from './schema.ts'

export type ActRow = typeof acts.$inferSelect

/** Writes that an act begins, and returns its ID. The message of an act is named only while it is there. */
export async function beginAct(db: Db, { messageId, account, ...act }: Act): Promise<number> {
  const named =
    messageId === undefined
      ? null
      : // Locked, so that whoever erases it waits for this row and finds it.
        sql`(SELECT message_id FROM ${messages} WHERE account = ${account} AND message_id = ${messageId} LIMIT 1 FOR KEY SHARE)`
  const [row] = await db
    .insert(acts)
    .values({ ...act, account, messageId: named })
    .returning({ id: acts.id })
  if (!row) throw new TypeError('Expected a row of the act.')
  return row.id
}

export async function endAct(
  db: Db,
  id: number,
  { outcome, count }: { outcome: ActOutcome; count?: number | undefined },
): Promise<void> {
  await db
    .update(acts)
    .set({ outcome, ...(count === undefined ? {} : { count }) })
    .where(eq(acts.id, id))
}

export interface ActFilter {
  by?: string | undefined
  kind?: ActKind | undefined
  /** Later than this. */
  after?: Date | undefined
}

/** The latest acts first, those with lower IDs than `before`. */
export function listActs(
  db: Db,
  { by, kind, after, before, limit }: ActFilter & { before?: number | undefined; limit: number },
): Promise<ActRow[]> {
  const conditions = [
    before === undefined ? undefined : lt(acts.id, before),
    by === undefined ? undefined : eq(acts.by, by),
    kind === undefined ? undefined : eq(acts.kind, kind),
    after === undefined ? undefined : gt(acts.at, after),
  ]
  return db
    .select()
    .from(acts)
    .where(and(...conditions))
    .orderBy(desc(acts.id))
    .limit(limit)
}

/** Takes the IDs of erased messages out of the record. */
export async function forgetInActs(db: Db, erased: readonly { account: string; messageId: string }[]): Promise<void> {
  if (erased.length === 0) return
  await db.execute(sql`
    UPDATE ${acts} a SET message_id = NULL
    FROM ${rowsAs('gone', erased, {
      account: ['text', ({ account }) => account],
      message_id: ['text', ({ messageId }) => messageId],
    })}
    WHERE a.message_id = gone.message_id AND a.account = gone.account`)
}

/** Deletes acts from before `olderThan`, the oldest first; returns how many. */
export async function deleteActs(db: Db, { olderThan, limit }: RetentionStep): Promise<number> {
  const rows = await db.execute(sql`
    DELETE FROM ${acts} WHERE at < ${olderThan.toISOString()}::timestamptz AND id IN (
      SELECT id FROM ${acts} ORDER BY id LIMIT ${limit}
    ) RETURNING id`)
  return rows.length
}

/**
 * The receivers of callbacks that are kept back, each the scheme, host and port of its URLs. A receiver that answers in
 * good time has no row here, and costs no write.
 */
import { sql } from 'drizzle-orm'
import type { Db } from './client.ts'
import { receivers } from './schema.ts'

/** Longer than any pause between two attempts, so that one that is dead stays known as slow. */
const SLOW_FOR = sql.raw(`interval '1 day'`)

export interface ReceiverNote {
  receiver: string
  /** The last attempt took too long. */
  isSlow: boolean
  /** How long it asks to be sent nothing at all. */
  closedForMs?: number | undefined
}

/** Notes the outcome of an attempt. A receiver that one answer has closed is not opened sooner by another. */
export async function noteReceiver(db: Db, { receiver, isSlow, closedForMs }: ReceiverNote): Promise<void> {
  const slowUntil = isSlow ? sql`now() + ${SLOW_FOR}` : sql`NULL::timestamptz`
  const closedUntil = sql`now() + ${closedForMs ?? null}::float8 * interval '1 millisecond'`
  await db.execute(sql`
    INSERT INTO ${receivers} AS r (receiver, slow_until, closed_until) VALUES (${receiver}, ${slowUntil}, ${closedUntil})
    ON CONFLICT (receiver) DO UPDATE SET
      slow_until = excluded.slow_until, closed_until = greatest(r.closed_until, excluded.closed_until)`)
}

/** Deletes the receivers that nothing keeps back any more. */
export async function deleteFreeReceivers(db: Db): Promise<void> {
  await db.execute(sql`
    DELETE FROM ${receivers} WHERE coalesce(slow_until, now()) <= now() AND coalesce(closed_until, now()) <= now()`)
}

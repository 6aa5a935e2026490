/**
 * The attempts of callbacks: when, to whom, with what answer. The statement that ends an attempt writes it down, so it costs
 * no statement of its own; of each callback the latest are kept, for some days, whether it was taken or not.
 */
import { asc, inArray, type SQL, sql } from 'drizzle-orm'
import { callbackAttempts } from './attempt-tables.ts'
import { type Db, storable } from './client.ts'

export type CallbackAttemptRow = typeof callbackAttempts.$inferSelect

/** An attempt, beside whether it was taken. */
export interface CallbackAttempt {
  tookMs: number
  httpStatus?: number | undefined
  /** How the answer began, with phone numbers masked. */
  answer?: string | undefined
}

/** Of each callback. */
const ATTEMPTS_KEPT = 10

/** A step of a statement that writes an attempt down for the row of `ended`, which has the columns of a callback. */
export function recordedAttempt(
  ended: SQL,
  { tookMs, httpStatus, answer }: CallbackAttempt,
  error: string | null,
): SQL {
  const took = sql`${Math.round(tookMs)}::int`
  return sql`attempted AS (
      INSERT INTO ${callbackAttempts} (message, change, status, receiver, at, took_ms, http_status, error, answer)
      SELECT message, change, (body #>> '{data,status}')::lastword.status, receiver,
        now() - ${took} * interval '1 millisecond', ${took}, ${httpStatus ?? null}::int, ${error}::text,
        ${answer ? storable(answer) : null}::text
      FROM ${ended}
    ), outdated AS (
      DELETE FROM ${callbackAttempts} a USING ${ended} e WHERE a.message = e.message AND a.change = e.change AND a.id <= (
        SELECT id FROM ${callbackAttempts} WHERE message = e.message AND change = e.change
        ORDER BY id DESC OFFSET ${ATTEMPTS_KEPT - 1} LIMIT 1
      )
    )`
}

/** The attempts at telling of these messages, in their order. */
export async function findAttempts(db: Db, messages: readonly number[]): Promise<CallbackAttemptRow[]> {
  if (messages.length === 0) return []
  return db
    .select()
    .from(callbackAttempts)
    .where(inArray(callbackAttempts.message, [...messages]))
    .orderBy(asc(callbackAttempts.message), asc(callbackAttempts.id))
}

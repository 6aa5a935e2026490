/**
 * The places of messages in their traces, as `traceparent` headers write them (https://www.w3.org/TR/trace-context/): a
 * message is tracked, asked about and announced by processes that share nothing but these tables. Only messages whose
 * trace is sampled have a row, and it leaves with its message (retention.ts).
 */
import { type SQL, sql } from 'drizzle-orm'
import { type Db, textArray } from './client.ts'
import { batches, messages } from './schema.ts'
import { messageTraces } from './trace-tables.ts'

/** A step of the statement that tracks rows with `id`; none where nothing is to be kept. */
export function keptTrace(rows: SQL, traceparent: string | undefined): SQL {
  if (traceparent === undefined) return sql``
  return sql`, traced AS (
      INSERT INTO ${messageTraces} (message, tracked) SELECT id, ${traceparent}::text FROM ${rows}
    )`
}

/** Up to `limit` spans that tracked messages of a batch, each once, that of the first message first. */
export async function findBatchTraces(db: Db, batch: string, limit: number): Promise<string[]> {
  const rows = await db.execute<{ tracked: string }>(sql`
    SELECT t.tracked
    FROM ${batches} b CROSS JOIN unnest(b.messages) WITH ORDINALITY AS u (id, place)
    JOIN ${messageTraces} t ON t.message = u.id
    WHERE b.id = ${batch}
    GROUP BY t.tracked ORDER BY min(u.place) LIMIT ${limit}`)
  return rows.map(({ tracked }) => tracked)
}

export interface MessageTrace {
  message: number
  tracked: string
}

/** Messages of these IDs that have a trace. */
export async function findTracesByIds(db: Db, account: string, messageIds: readonly string[]): Promise<MessageTrace[]> {
  const rows = await db.execute<{ message: string; tracked: string }>(sql`
    SELECT t.message, t.tracked
    FROM ${messages} m JOIN ${messageTraces} t ON t.message = m.id
    WHERE m.account = ${account} AND m.message_id = ANY(${textArray(messageIds)})
    ORDER BY t.message`)
  return rows.map(({ message, tracked }) => ({ message: Number(message), tracked }))
}

/** The spans that tracked a message, and last found something about it. */
export async function findTrace(
  db: Db,
  message: number,
): Promise<{ tracked: string; found: string | null } | undefined> {
  const [row] = await db.execute<{ tracked: string; found: string | null }>(sql`
    SELECT tracked, found FROM ${messageTraces} WHERE message = ${message}`)
  return row
}

/** Keeps the span that has found something about these messages, where they have a trace. */
export async function keepFinder(db: Db, found: readonly number[], traceparent: string): Promise<void> {
  await db.execute(sql`
    UPDATE ${messageTraces} SET found = ${traceparent} WHERE message = ANY(${textArray(found, 'bigint')})`)
}

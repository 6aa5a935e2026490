/**
 * The figures of all that waits, by account, for people who watch: each is found by an index, however many messages
 * there are.
 */
import { sql } from 'drizzle-orm'
import { type Db, executePrepared, textArray } from './client.ts'
import { callbacks, due } from './schema.ts'

export interface Waiting {
  account: string
  /** For how many seconds the message that has been due longest has waited to be asked about; 0 when none is due. */
  oldestDue: number
  /** Changes that their receiver has not taken, counted up to MOST_COUNTED. */
  callbacks: number
  /** For how many seconds the oldest of them has waited. */
  oldestCallback: number
}

/** Of a receiver that has been down for days more need not be known, and counting all would take longer and longer. */
export const MOST_COUNTED = 10_000

export async function findWaiting(db: Db, accounts: readonly string[]): Promise<readonly Waiting[]> {
  return executePrepared<Waiting>(
    db,
    sql`
    SELECT a.account, ${secondsSince(sql`SELECT min(due_at) FROM ${due} d WHERE d.account = a.account`)} AS "oldestDue",
      (SELECT count(*)::int FROM (SELECT ${isUntaken} LIMIT ${sql.raw(String(MOST_COUNTED))}) c) AS callbacks,
      ${secondsSince(sql`SELECT min(first_due_at) ${isUntaken}`)} AS "oldestCallback"
    FROM unnest(${textArray(accounts)}) AS a (account)`,
  )
}

const isUntaken = sql`FROM ${callbacks} c WHERE c.account = a.account AND next_attempt_at IS NOT NULL`

function secondsSince(time: ReturnType<typeof sql>) {
  return sql`coalesce(greatest(0, extract(epoch FROM now() - (${time}))), 0)::float8`
}

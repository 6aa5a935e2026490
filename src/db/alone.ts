/** Work that one process at a time may do. */
import { sql } from 'drizzle-orm'
import type { Db } from './client.ts'

/** A process that stands still gives way after this long. */
const LONGEST_STANDSTILL_MS = 20_000

/** Runs something unless another process is running it: undefined then. `run` works on connections of its own. */
export async function runAlone<T>(db: Db, name: string, run: () => Promise<T>): Promise<T | undefined> {
  return db.transaction(async (transaction) => {
    const [row] = await transaction.execute<{ is_first: boolean }>(sql`
      SELECT pg_try_advisory_xact_lock(hashtext('lastword'), hashtext(${name})) AS is_first,
        set_config('idle_in_transaction_session_timeout', ${String(LONGEST_STANDSTILL_MS)}, true)`)
    return row?.is_first ? run() : undefined
  })
}

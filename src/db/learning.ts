/** The knowledge about accounts (core/learning.ts): one row each, which every process adds to and reads. */
import { sql } from 'drizzle-orm'
import { z } from 'zod'
import { BUCKETS } from '../core/ages.ts'
import type { Learned } from '../core/learning.ts'
import type { Db } from './client.ts'
import { accountLearning } from './schema.ts'

const count = z.number()
const counts = z.array(count).length(BUCKETS)

const learnedSchema = z.object({
  evidence: z.object({
    at: count,
    seen: count,
    finals: counts,
    entered: counts,
    offsets: counts,
    lags: counts,
    received: count,
    lost: count,
  }),
  route: z.object({
    state: z.enum(['unproved', 'ok', 'silent']),
    since: count,
    lastReceiptAt: count.optional(),
    lost: count,
    returned: count,
    // A row of an earlier version has none.
    early: z.array(count).default([]),
  }),
  passedOver: count.default(0),
}) satisfies z.ZodType<Learned>

/** The knowledge about one account; `damaged` where its row cannot be read. */
export type Found = Learned | 'damaged'

function read(value: unknown): Found {
  const read = learnedSchema.safeParse(value)
  return read.success ? read.data : 'damaged'
}

/** The knowledge, by account. */
export async function findLearned(db: Db): Promise<Map<string, Found>> {
  const rows = await db.select().from(accountLearning)
  return new Map(rows.map(({ account, learned }) => [account, read(learned)]))
}

const nowInMs = sql<number>`(extract(epoch FROM clock_timestamp()) * 1000)::float8`

/** Moves on what was learned about an account, one process after the other; `now` is by the database's clock. */
export async function moveLearned<T extends { learned: Learned }>(
  db: Db,
  account: string,
  move: (found: Found | undefined, now: number) => T,
): Promise<T> {
  return db.transaction(async (transaction) => {
    // The lock also keeps two processes from both beginning.
    await transaction.execute(
      sql`SELECT pg_advisory_xact_lock(hashtext('lastword.account_learning'), hashtext(${account}))`,
    )
    const [row] = await transaction
      .select({ learned: accountLearning.learned })
      .from(accountLearning)
      .where(sql`${accountLearning.account} = ${account}`)
    const [clock] = await transaction.execute<{ now: number }>(sql`SELECT ${nowInMs} AS now`)
    const moved = move(row && read(row.learned), clock?.now ?? Date.now())
    const { learned } = moved
    await transaction
      .insert(accountLearning)
      .values({ account, learned })
      .onConflictDoUpdate({ target: accountLearning.account, set: { learned } })
    return moved
  })
}

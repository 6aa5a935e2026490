/** The one row of an installation: who it is, when a worker was last seen, when receipts last waited, and what time it is. */
import { sql } from 'drizzle-orm'
import type { Db } from './client.ts'
import { installation } from './schema.ts'

export interface Installation {
  id: string
  /** When a worker last said that it runs; null if none ever did. */
  workerSeenAt: Date | null
  /** For how long, in milliseconds; null if none ever did. */
  workerSeenMsAgo: number | null
}

const MS_AGO = sql<number | null>`(extract(epoch FROM clock_timestamp() - worker_seen_at) * 1000)::float8`

/** Finds it, or founds it: the first process that looks gives it its ID. */
export async function findInstallation(db: Db): Promise<Installation> {
  const [known] = await select(db)
  if (known) return known
  await db.insert(installation).values({}).onConflictDoNothing()
  const [founded] = await select(db)
  if (!founded) throw new Error('the table lastword.installation does not keep its row')
  return founded
}

function select(db: Db) {
  return db
    .select({ id: installation.id, workerSeenAt: installation.workerSeenAt, workerSeenMsAgo: MS_AGO })
    .from(installation)
}

/** For how long, in milliseconds, receipts have not waited in numbers; infinite if they never did. */
export async function findReceiptsWaitedMsAgo(db: Db): Promise<number> {
  const msAgo = sql<
    number | null
  >`(extract(epoch FROM clock_timestamp() - ${installation.receiptsWaitedAt}) * 1000)::float8`
  const [row] = await db.select({ msAgo }).from(installation)
  return row?.msAgo ?? Number.POSITIVE_INFINITY
}

/** Notes that receipts wait in numbers. */
export async function noteReceiptsWait(db: Db): Promise<void> {
  await db.update(installation).set({ receiptsWaitedAt: sql`clock_timestamp()` })
}

/** Notes that a worker runs. */
export async function seeWorker(db: Db): Promise<void> {
  await db.update(installation).set({ workerSeenAt: sql`clock_timestamp()` })
}

/** The time of the database, in milliseconds since 1970. */
export async function readClock(db: Db): Promise<number> {
  const [row] = await db.execute<{ now: number }>(
    sql`SELECT (extract(epoch FROM clock_timestamp()) * 1000)::float8 AS now`,
  )
  return row?.now ?? Number.NaN
}

/** Brings the database to the shape this version needs. Safe to run again, and by several processes at once. */
import { fileURLToPath } from 'node:url'
import { sql } from 'drizzle-orm'
import { readMigrationFiles } from 'drizzle-orm/migrator'
import { drizzle } from 'drizzle-orm/postgres-js'
import { migrate } from 'drizzle-orm/postgres-js/migrator'
import postgres from 'postgres'
import type { Db } from './client.ts'

const migrationsFolder = fileURLToPath(new URL('../../drizzle', import.meta.url))

/** "lastword" in ASCII, cut to eight bytes: the advisory lock that lets one process migrate at a time. */
const MIGRATION_LOCK = 0x6c61737477n

/** Applies what is missing, on a connection of its own. */
export async function migrateDatabase(url: string): Promise<void> {
  const client = postgres(url, { max: 1, onnotice: () => {} })
  try {
    await client`SELECT pg_advisory_lock(${MIGRATION_LOCK.toString()})`
    await migrate(drizzle(client), { migrationsFolder, migrationsSchema: 'lastword', migrationsTable: 'migrations' })
  } finally {
    await client.end({ timeout: 5 })
  }
}

/** True when every migration of this version has been applied. */
export async function isMigrated(db: Db): Promise<boolean> {
  const newest = Math.max(...readMigrationFiles({ migrationsFolder }).map(({ folderMillis }) => folderMillis))
  const [found] = await db.execute<{ present: boolean }>(
    sql`SELECT to_regclass('lastword.migrations') IS NOT NULL AS present`,
  )
  if (!found?.present) return false
  const [row] = await db.execute<{ newest: string | null }>(
    sql`SELECT max(created_at) AS newest FROM lastword.migrations`,
  )
  return Number(row?.newest ?? 0) >= newest
}

/**
 * Brings the database to the shape this version needs. Safe to run again, and by several processes at once.
 *
 * Each migration is a transaction of its own, which waits for locks on tables a few seconds at a time: whoever queues
 * behind it waits no longer than that. Where rows must be rewritten, that is done in small steps before the migration
 * that relies on it, while the service goes on.
 */
import { readFileSync } from 'node:fs'
import { setTimeout as delay } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import { sql } from 'drizzle-orm'
import { readMigrationFiles } from 'drizzle-orm/migrator'
import postgres from 'postgres'
import { LastwordError } from '../core/errors.ts'
import type { Db } from './client.ts'
import { preparations } from './preparations.ts'

const migrationsFolder = fileURLToPath(new URL('../../drizzle', import.meta.url))

/** "lastword" in ASCII, cut to eight bytes: the advisory lock that lets one process migrate at a time. */
const MIGRATION_LOCK = '465491424375'
const LOCK_POLL_MS = 200
const LOCK_TIMEOUT = '5s'
const LOCK_NOT_AVAILABLE = '55P03'
const LOCK_ATTEMPTS = 60
const LOCK_PAUSE_MS = 1_000

interface Migration {
  name: string
  statements: string[]
  hash: string
  createdAt: number
}

function readMigrations(): Migration[] {
  const { entries } = JSON.parse(readFileSync(`${migrationsFolder}/meta/_journal.json`, 'utf8'))
  return readMigrationFiles({ migrationsFolder }).map(({ sql: statements, hash, folderMillis: createdAt }) => ({
    name: entries.find(({ when }: { when: number }) => when === createdAt).tag,
    statements,
    hash,
    createdAt,
  }))
}

/**
 * Applies what is missing, on a connection of its own. Throws UNAVAILABLE when a table stays locked by others for minutes.
 */
export async function migrateDatabase(url: string): Promise<void> {
  const client = postgres(url, { max: 1, onnotice: () => {} })
  try {
    if ((await findPending(client)).length === 0) return
    // Not by waiting within a statement: an index that is built meanwhile would wait for that in its turn.
    while (!(await tryLock(client))) await delay(LOCK_POLL_MS)
    for (const migration of await findPending(client)) {
      await preparations[migration.name]?.(client)
      await whenUnlocked(migration.name, () => client.begin((transaction) => apply(transaction, migration)))
    }
  } finally {
    // The lock ends with the connection.
    await client.end({ timeout: 5 })
  }
}

async function tryLock(client: postgres.Sql): Promise<boolean> {
  const [row] = await client`SELECT pg_try_advisory_lock(${MIGRATION_LOCK}) AS locked`
  return row?.locked
}

/** Reads only: nothing is locked where nothing is missing. */
async function findPending(client: postgres.Sql): Promise<Migration[]> {
  const migrations = readMigrations()
  const [found] = await client`SELECT to_regclass('lastword.migrations') IS NOT NULL AS present`
  if (!found?.present) return migrations
  const [row] = await client`SELECT coalesce(max(created_at), 0)::float8 AS newest FROM lastword.migrations`
  return migrations.filter(({ createdAt }) => createdAt > row?.newest)
}

async function apply(transaction: postgres.TransactionSql, { statements, hash, createdAt }: Migration): Promise<void> {
  await transaction.unsafe(`
    CREATE SCHEMA IF NOT EXISTS lastword;
    CREATE TABLE IF NOT EXISTS lastword.migrations (id serial PRIMARY KEY, hash text NOT NULL, created_at bigint);
    SET LOCAL lock_timeout = '${LOCK_TIMEOUT}'`)
  for (const statement of statements) await transaction.unsafe(statement)
  await transaction`INSERT INTO lastword.migrations (hash, created_at) VALUES (${hash}, ${createdAt})`
}

/** Repeats a migration that could not lock a table in time. */
async function whenUnlocked(name: string, migrate: () => Promise<unknown>): Promise<void> {
  for (let attempt = 1; ; attempt++) {
    try {
      await migrate()
      return
    } catch (error) {
      if (!(error instanceof postgres.PostgresError) || error.code !== LOCK_NOT_AVAILABLE) throw error
      if (attempt === LOCK_ATTEMPTS) {
        const remedy = 'end the transactions that hold it (pg_stat_activity shows them) and start again'
        throw new LastwordError('UNAVAILABLE', `The migration "${name}" waits for a lock on a table; ${remedy}.`)
      }
      await delay(LOCK_PAUSE_MS)
    }
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

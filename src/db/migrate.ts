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

const migrationsFolder = fileURLToPath(new URL('../../drizzle', import.meta.url))

/** "lastword" in ASCII, cut to eight bytes: the advisory lock that lets one process migrate at a time. */
const MIGRATION_LOCK = '465491424375'
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

/** What is done in steps before a migration, by its name. */
const PREPARATIONS: Record<string, (client: postgres.Sql) => Promise<void>> = {
  '0008_move_the_schedule_out_of_the_messages': fillSchedule,
}

/**
 * Applies what is missing, on a connection of its own. Throws UNAVAILABLE when a table stays locked by others for minutes.
 */
export async function migrateDatabase(url: string): Promise<void> {
  const client = postgres(url, { max: 1, onnotice: () => {} })
  try {
    for (const migration of await findPending(client)) {
      await PREPARATIONS[migration.name]?.(client)
      await whenUnlocked(migration.name, () => client.begin((transaction) => apply(transaction, migration)))
    }
  } finally {
    await client.end({ timeout: 5 })
  }
}

/** Reads only: nothing is locked where nothing is missing. */
async function findPending(client: postgres.Sql): Promise<Migration[]> {
  const migrations = readMigrations()
  const [found] = await client`SELECT to_regclass('lastword.migrations') IS NOT NULL AS present`
  if (!found?.present) return migrations
  const newest = await findNewest(client)
  return migrations.filter(({ createdAt }) => createdAt > newest)
}

async function findNewest(client: postgres.Sql | postgres.TransactionSql): Promise<number> {
  const [row] = await client`SELECT coalesce(max(created_at), 0)::float8 AS newest FROM lastword.migrations`
  return row?.newest
}

/** Applies one migration, unless another process has done so in the meantime. */
async function apply(transaction: postgres.TransactionSql, { statements, hash, createdAt }: Migration): Promise<void> {
  await transaction`SELECT pg_advisory_xact_lock(${MIGRATION_LOCK})`
  await transaction.unsafe(`
    CREATE SCHEMA IF NOT EXISTS lastword;
    CREATE TABLE IF NOT EXISTS lastword.migrations (id serial PRIMARY KEY, hash text NOT NULL, created_at bigint);
    SET LOCAL lock_timeout = '${LOCK_TIMEOUT}'`)
  if ((await findNewest(transaction)) >= createdAt) return
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

const ROWS_A_STEP = 20_000

/** Enters every outstanding message of 0.1.0 into the schedule; what 0.1.0 moves meanwhile, a trigger enters. */
async function fillSchedule(client: postgres.Sql): Promise<void> {
  const [row] = await client`SELECT min(id)::float8 AS first, max(id)::float8 AS last FROM lastword.messages`
  const { first, last } = { first: Number(row?.first ?? 1), last: Number(row?.last ?? 0) }
  for (let from = first; from <= last; from += ROWS_A_STEP) {
    await client`
      INSERT INTO lastword.due (account, due_at, message)
      SELECT account, next_poll_at, id FROM lastword.messages
      WHERE id >= ${from} AND id < ${from + ROWS_A_STEP} AND next_poll_at IS NOT NULL
      ON CONFLICT DO NOTHING`
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

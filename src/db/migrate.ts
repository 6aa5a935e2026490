/**
 * Brings the database to the shape this version needs. Safe to run again, and by several processes at once.
 *
 * Each migration is a transaction of its own, which waits for locks on tables a few seconds at a time: whoever queues
 * behind it waits no longer than that. Where rows must be rewritten, that is done in small steps before the migration
 * that relies on it, while the service goes on.
 *
 * A program that meets migrations it does not know does not start, unless each of them says that programs of the version
 * before may go on: by a first line `-- side by side`. Such a migration adds tables, and columns that may be left out; what
 * it makes needless goes in the version after the next.
 */
import { readFileSync } from 'node:fs'
import { setTimeout as delay } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import { sql } from 'drizzle-orm'
import { readMigrationFiles } from 'drizzle-orm/migrator'
import postgres from 'postgres'
import { LastwordError } from '../core/errors.ts'
import { readPostgresUrl } from '../urls/postgres.ts'
import { codeOf, type Db, describeDatabaseError } from './client.ts'
import { createClient, findServer, INSUFFICIENT_PRIVILEGE } from './connection.ts'
import { createPool } from './pool.ts'
import { preparations } from './preparations.ts'

const migrationsFolder = fileURLToPath(new URL('../../drizzle', import.meta.url))

/** "lastw", the first five bytes of "lastword" in ASCII: the advisory lock that lets one process migrate at a time. */
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
  /** Programs that do not know it must not run beside those that do. */
  breaks: boolean
}

const SIDE_BY_SIDE = /^-- side by side\b/

function readMigrations(): Migration[] {
  const { entries } = JSON.parse(readFileSync(`${migrationsFolder}/meta/_journal.json`, 'utf8'))
  return readMigrationFiles({ migrationsFolder }).map(({ sql: statements, hash, folderMillis: createdAt }) => ({
    name: entries.find(({ when }: { when: number }) => when === createdAt).tag,
    statements,
    hash,
    createdAt,
    breaks: !SIDE_BY_SIDE.test(statements[0] ?? ''),
  }))
}

/**
 * Applies what is missing, on connections of its own. Throws UNAVAILABLE when a table stays locked by others for minutes,
 * UNUSABLE when the role may not do it or a newer version has been here.
 */
export async function migrateDatabase(url: string, variable = 'DATABASE_URL'): Promise<void> {
  const target = readPostgresUrl(variable, url)
  const { isPooled } = await findServer(target, variable)
  // An index may take longer than a role lets its statements take.
  const settings = { statement_timeout: '0', lock_timeout: '0', idle_in_transaction_session_timeout: '0' }
  const { client } = createPool(() => createClient(target, { max: 2, isPooled, settings }))
  try {
    if ((await findPending(client)).length === 0) return
    await alone(client, async () => {
      for (const migration of await findPending(client)) {
        await preparations[migration.name]?.(client)
        await whenUnlocked(migration.name, () => client.begin((transaction) => apply(transaction, migration)))
      }
    })
  } catch (error) {
    throw codeOf(error) === INSUFFICIENT_PRIVILEGE ? forbidden(variable, error) : error
  } finally {
    await client.end({ timeout: 5 })
  }
}

/**
 * Runs something while no other process does. The lock is one of a transaction, which a pooler cannot leave behind; that
 * transaction holds no snapshot while it waits, so that an index can be built beside it.
 */
async function alone(client: postgres.Sql, run: () => Promise<void>): Promise<void> {
  await client.begin(async (transaction) => {
    await transaction.unsafe('SET LOCAL idle_in_transaction_session_timeout = 0')
    // Not by waiting within a statement: an index that is built meanwhile would wait for that in its turn.
    while (!(await tryLock(transaction))) await delay(LOCK_POLL_MS)
    await run()
  })
}

async function tryLock(transaction: postgres.TransactionSql): Promise<boolean> {
  // A statement with parameters would leave a portal open, and with it a snapshot.
  const [row] = await transaction.unsafe(`SELECT pg_try_advisory_xact_lock(${MIGRATION_LOCK}) AS locked`)
  return row?.locked
}

function forbidden(variable: string, error: unknown): LastwordError {
  const remedy = 'run "lastword migrate" as the owner of the database, then start with this role'
  return new LastwordError(
    'UNUSABLE',
    `${variable}: the role may not migrate (${describeDatabaseError(error)}); ${remedy}.`,
  )
}

/** Reads only: nothing is locked where nothing is missing. */
async function findPending(client: postgres.Sql): Promise<Migration[]> {
  const migrations = readMigrations()
  const [found] = await client`SELECT to_regclass('lastword.migrations') IS NOT NULL AS present`
  if (!found?.present) return migrations
  const known = Math.max(...migrations.map(({ createdAt }) => createdAt))
  // Versions before this one noted nothing but the time of a migration.
  const [row] = await client`
    SELECT coalesce(max(created_at), 0)::float8 AS newest,
      bool_or(created_at > ${known} AND coalesce((to_jsonb(m) ->> 'breaks')::boolean, true)) AS "isBroken"
    FROM lastword.migrations m`
  if (row?.isBroken) {
    const found = 'a newer version of Lastword has migrated this database'
    throw new LastwordError('UNUSABLE', `DATABASE_URL: ${found}; start that version, or restore a backup from before.`)
  }
  return migrations.filter(({ createdAt }) => createdAt > row?.newest)
}

async function apply(transaction: postgres.TransactionSql, migration: Migration): Promise<void> {
  const { statements, hash, createdAt, breaks } = migration
  await transaction.unsafe(`
    CREATE SCHEMA IF NOT EXISTS lastword;
    CREATE TABLE IF NOT EXISTS lastword.migrations (id serial PRIMARY KEY, hash text NOT NULL, created_at bigint);
    SET LOCAL lock_timeout = '${LOCK_TIMEOUT}';
    ALTER TABLE lastword.migrations ADD COLUMN IF NOT EXISTS breaks boolean NOT NULL DEFAULT true;
    SET LOCAL statement_timeout = 0;
    SET LOCAL idle_in_transaction_session_timeout = 0`)
  for (const statement of statements) await transaction.unsafe(statement)
  await transaction`INSERT INTO lastword.migrations (hash, created_at, breaks) VALUES (${hash}, ${createdAt}, ${breaks})`
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

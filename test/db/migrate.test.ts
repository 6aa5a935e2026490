import { readdir, readFile } from 'node:fs/promises'
import { fileURLToPath } from 'node:url'
import { generateDrizzleJson, generateMigration } from 'drizzle-kit/api'
import postgres from 'postgres'
import { afterEach, describe, expect, it } from 'vitest'
import * as actTables from '../../src/db/act-tables.ts'
import * as alertTables from '../../src/db/alert-tables.ts'
import * as attemptTables from '../../src/db/attempt-tables.ts'
import { openDatabase } from '../../src/db/connection.ts'
import * as forgettingTables from '../../src/db/forgetting-tables.ts'
import { isMigrated, migrateDatabase } from '../../src/db/migrate.ts'
import * as queryTables from '../../src/db/query-tables.ts'
import * as tables from '../../src/db/schema.ts'
import * as traceTables from '../../src/db/trace-tables.ts'
import { findMisplaced } from '../support/schedule.ts'
import { createEmptyDatabase } from '../support/services.ts'

const folder = fileURLToPath(new URL('../../drizzle', import.meta.url))

const open: (() => Promise<unknown>)[] = []
afterEach(async () => {
  for (let close = open.pop(); close; close = open.pop()) await close()
})

async function openEmpty() {
  const { url, drop } = await createEmptyDatabase()
  open.push(drop)
  const client = postgres(url, { max: 2, onnotice: () => {} })
  open.push(() => client.end())
  return { url, client }
}

const LAST_OF_0_1_0 = '0003_slim_status_reports'
const usedDatabase = fileURLToPath(new URL('used-0.1.0.sql', import.meta.url))

/** Every row that 0.1.0 had written, table by table. */
async function contentsOf(client: postgres.Sql) {
  const [messages, reports, changes, callbacks, readers, nonces] = await Promise.all([
    client`SELECT * FROM lastword.messages ORDER BY id`,
    client`SELECT * FROM lastword.status_reports ORDER BY id`,
    client`SELECT * FROM lastword.changes ORDER BY position`,
    client`SELECT * FROM lastword.callbacks ORDER BY change`,
    client`SELECT * FROM lastword.feed_readers ORDER BY name`,
    client`SELECT * FROM lastword.webhook_nonces ORDER BY nonce`,
  ])
  return { messages: [...messages], reports, changes, callbacks, readers, nonces }
}

async function journal(): Promise<{ tag: string; when: number }[]> {
  return JSON.parse(await readFile(`${folder}/meta/_journal.json`, 'utf8')).entries
}

/** Applies the migrations up to one of them, as an older version did. */
async function migrateTo(client: postgres.Sql, last: string) {
  const entries = await journal()
  await client.unsafe(`
    CREATE SCHEMA IF NOT EXISTS lastword;
    CREATE TABLE IF NOT EXISTS lastword.migrations (id serial PRIMARY KEY, hash text NOT NULL, created_at bigint)`)
  const applied = await client`SELECT created_at::float8 AS at FROM lastword.migrations`
  for (const { tag, when } of entries) {
    if (applied.some(({ at }) => at === when)) continue
    for (const statement of (await readFile(`${folder}/${tag}.sql`, 'utf8')).split('--> statement-breakpoint')) {
      await client.unsafe(statement.replace('CREATE SCHEMA "lastword"', 'CREATE SCHEMA IF NOT EXISTS "lastword"'))
    }
    await client`INSERT INTO lastword.migrations (hash, created_at) VALUES (${tag}, ${when})`
    if (tag === last) return
  }
}

const migrationFiles = async () => (await readdir(folder)).filter((name) => name.endsWith('.sql'))

describe('migrating', () => {
  it('brings an empty database to the shape of this version, and says so', async () => {
    const { url } = await openEmpty()
    const { db, close } = await openDatabase(url, { maxConnections: 1 })
    open.push(close)
    expect(await isMigrated(db)).toBe(false)
    await migrateDatabase(url)
    expect(await isMigrated(db)).toBe(true)
  })

  it('may run again, and keeps what is there', async () => {
    const { url, client } = await openEmpty()
    await migrateDatabase(url)
    await client`INSERT INTO lastword.messages (account, message_id, sent_at, window_ends_at) VALUES ('a', '1', now(), now())`
    const before = await describeDatabase(client)
    await migrateDatabase(url)
    expect(await describeDatabase(client)).toEqual(before)
    expect(await client`SELECT message_id FROM lastword.messages`).toEqual([{ message_id: '1' }])
  })

  it('may be run by many processes at once: each migration is applied once', async () => {
    const { url, client } = await openEmpty()
    await Promise.all(Array.from({ length: 8 }, () => migrateDatabase(url)))
    const [row] = await client`SELECT count(*)::int AS applied FROM lastword.migrations`
    expect(row).toEqual({ applied: (await migrationFiles()).length })
  })

  it('leaves no lock behind', async () => {
    const { url, client } = await openEmpty()
    await migrateDatabase(url)
    const locks = await client`
      SELECT FROM pg_locks WHERE locktype = 'advisory' AND database = (SELECT oid FROM pg_database WHERE datname = current_database())`
    expect(locks).toHaveLength(0)
  })

  it('notices a migration that is missing', async () => {
    const { url, client } = await openEmpty()
    await migrateDatabase(url)
    const { db, close } = await openDatabase(url, { maxConnections: 1 })
    open.push(close)
    await client`DELETE FROM lastword.migrations WHERE created_at = (SELECT max(created_at) FROM lastword.migrations)`
    expect(await isMigrated(db)).toBe(false)
  })

  it('goes on beside a newer version that has only added, and refuses one that broke something', async () => {
    const { url, client } = await openEmpty()
    await migrateDatabase(url)
    const later = (createdAt: number, breaks: boolean) =>
      client`INSERT INTO lastword.migrations (hash, created_at, breaks) VALUES ('later', ${createdAt}, ${breaks})`
    await later(9_999_999_999_998, false)
    await migrateDatabase(url)
    await later(9_999_999_999_999, true)
    await expect(migrateDatabase(url)).rejects.toMatchObject({
      code: 'UNUSABLE',
      message: expect.stringContaining('a newer version of Lastword has migrated this database; start that version'),
    })
    // Versions that noted no such thing broke what they liked.
    await client`ALTER TABLE lastword.migrations DROP COLUMN breaks`
    await expect(migrateDatabase(url)).rejects.toMatchObject({ code: 'UNUSABLE' })
  })

  it('keeps what 0.1.0 had learned about accounts', async () => {
    const { url, client } = await openEmpty()
    await migrateTo(client, LAST_OF_0_1_0)
    await client`
      INSERT INTO lastword.account_states (account, lookup, trouble, trouble_since, paused_until) VALUES
        ('moved', 'logbook', NULL, NULL, NULL), ('refused', NULL, 'the API key is wrong', now(), now())`
    await migrateDatabase(url)
    // The account that was refused is tried at once.
    expect(await client`SELECT account, health FROM lastword.account_states ORDER BY account`).toEqual([
      { account: 'moved', health: { lookup: 'logbook' } },
      { account: 'refused', health: {} },
    ])
  })

  it('keeps everything of a used database of 0.1.0, in every state', async () => {
    const { url, client } = await openEmpty()
    await migrateTo(client, LAST_OF_0_1_0)
    await client.unsafe(await readFile(usedDatabase, 'utf8'))
    const before = await contentsOf(client)
    expect(before.messages).toHaveLength(18)
    await migrateDatabase(url)

    const { messages, ...others } = await contentsOf(client)
    const callbacks = before.callbacks.map((row) => ({ ...row, receiver: new URL(row.url).origin }))
    expect(others).toEqual({ ...before, callbacks, messages: undefined })
    const expected = before.messages.map(({ next_poll_at: due_at, claim: _claim, ...row }) => ({
      ...row,
      due_at,
      asked_at: null,
      changed_at: null,
      error_code: row.message_id === 'failed' ? '202' : null,
      known_after: null,
      life_since: null,
      number: null,
      wanted_at: null,
    }))
    expect(messages.map((row) => ({ ...row, number: null }))).toEqual(expected)
    const outstanding = messages.filter((row) => row.due_at !== null)
    // A claim of 0.1.0 is a message that is due when its lease ends.
    expect(await client`SELECT account, due_at, message AS id FROM lastword.due ORDER BY message`).toEqual(
      outstanding.map(({ account, due_at, id }) => ({ account, due_at, id })),
    )
    expect(outstanding.map(({ message_id }) => message_id).sort()).toEqual(
      ['claimed-1', 'claimed-2', 'closed', 'due', 'later', 'lease-over', 'polled', 'ref', 'ref-open', 'refused'].sort(),
    )
    expect(await findMisplaced(client)).toEqual([])
    const numbers = messages.flatMap(({ message_id, number }) => (number ? [[message_id, number]] : []))
    expect(numbers.sort()).toEqual([
      ['due', '491701111101'],
      ['ref', '31611111102'],
      ['ref', '31611111103'],
    ])
    const failures = await client`
      SELECT message_id, f.status, code FROM lastword.failures f JOIN lastword.messages m ON m.id = f.message ORDER BY 1`
    expect(failures.map((row) => Object.values(row))).toEqual([
      ['by-poll', 'undelivered', null],
      ['failed', 'failed', '202'],
      ['unknown', 'unknown', null],
    ])
    expect(await client`SELECT FROM lastword.message_metadata`).toHaveLength(1)
    const counts =
      await client`SELECT measure, key, sum(n)::int AS n FROM lastword.hour_counts GROUP BY 1, 2 ORDER BY 1, 2`
    expect(counts.map((row) => Object.values(row))).toEqual([
      ['ended', 'delivered webhook - unasked', 3],
      ['ended', 'failed webhook - unasked', 1],
      ['ended', 'read webhook - unasked', 1],
      ['ended', 'undelivered poll - unasked', 1],
      ['ended', 'unknown window - unasked', 1],
      ['outstanding', '', 10],
      ['reason', '202', 1],
    ])
    // A process that has not been replaced yet is told so.
    await expect(client`UPDATE lastword.messages SET next_poll_at = now()`).rejects.toMatchObject({ code: '42703' })
  })

  it('lets 0.1.0 go on until the schedule is filled', async () => {
    const { url, client } = await openEmpty()
    await migrateTo(client, LAST_OF_0_1_0)
    await client.unsafe(await readFile(usedDatabase, 'utf8'))
    await migrateTo(client, '0007_add_a_schedule_apart_from_the_messages')
    await client`
      INSERT INTO lastword.messages (account, message_id, sent_at, window_ends_at, next_poll_at, tracked_at)
      VALUES ('seven', 'new', now(), now() + interval '30 days', now() + interval '1 minute', now())`
    const claim = () => client`
      UPDATE lastword.messages SET claim = gen_random_uuid(), next_poll_at = now() + random() * interval '1 hour'
      WHERE next_poll_at IS NOT NULL`
    await claim()
    const migrated = migrateDatabase(url)
    // As soon as nobody can, the last one has.
    for (let isOld = true; isOld; )
      isOld = await claim().then(
        () => true,
        () => false,
      )
    await migrated
    expect(await findMisplaced(client)).toEqual([])
    const [{ outstanding } = {}] = await client`
      SELECT count(*)::int AS outstanding FROM lastword.messages WHERE due_at IS NOT NULL`
    expect(outstanding).toBe(11)
  })

  it('waits for a table that others use, and holds nobody up meanwhile', { timeout: 40_000 }, async () => {
    const { url, client } = await openEmpty()
    await migrateTo(client, LAST_OF_0_1_0)
    const reader = await client.reserve()
    await reader`BEGIN`
    await reader`SELECT FROM lastword.messages`
    const began = Date.now()
    let migratedAt = 0
    const migrating = migrateDatabase(url).then(() => {
      migratedAt = Date.now()
    })
    let longest = 0
    while (Date.now() - began < 6_000) {
      const asked = Date.now()
      await client`
        INSERT INTO lastword.messages (account, message_id, sent_at, window_ends_at)
        VALUES ('seven', ${String(asked)}, now(), now()) ON CONFLICT DO NOTHING`
      longest = Math.max(longest, Date.now() - asked)
    }
    expect(migratedAt).toBe(0)
    expect(longest).toBeLessThan(7_000)
    await reader`COMMIT`
    reader.release()
    await migrating
    expect(await findMisplaced(client)).toEqual([])
  })

  it('lives beside what else is in the database', async () => {
    const { url, client } = await openEmpty()
    await client`CREATE TABLE public.messages (mine text)`
    await migrateDatabase(url)
    const tables =
      await client`SELECT table_schema FROM information_schema.tables WHERE table_name = 'messages' ORDER BY 1`
    expect(tables.map((row) => row.table_schema)).toEqual(['lastword', 'public'])
    const ours = await client`
      SELECT DISTINCT table_schema FROM information_schema.tables
      WHERE table_schema NOT IN ('public', 'information_schema', 'pg_catalog')`
    expect(ours).toEqual([{ table_schema: 'lastword' }])
  })
})

const schema = {
  ...tables,
  ...actTables,
  ...alertTables,
  ...attemptTables,
  ...forgettingTables,
  ...queryTables,
  ...traceTables,
}

describe('the schema and the migrations', () => {
  it('take nothing away that programs of the version before use, where they say so', async () => {
    for (const { tag } of await journal()) {
      const text = await readFile(`${folder}/${tag}.sql`, 'utf8')
      if (!text.startsWith('-- side by side')) continue
      expect(text).not.toMatch(
        /\b(DROP (TABLE|COLUMN|TYPE|CONSTRAINT)|RENAME|SET NOT NULL)\b|ADD COLUMN (?!.*DEFAULT)[^;]* NOT NULL/i,
      )
    }
  })

  it('have no change between them that a new migration would have to make', async () => {
    const snapshots = (await readdir(`${folder}/meta`)).filter((name) => name.endsWith('_snapshot.json')).sort()
    const latest = JSON.parse(await readFile(`${folder}/meta/${snapshots.at(-1)}`, 'utf8'))
    expect(snapshots).toHaveLength((await migrationFiles()).length)
    expect(await generateMigration(latest, generateDrizzleJson(schema, latest.id))).toEqual([])
  })

  it('make the same database', async () => {
    const migrated = await openEmpty()
    await migrateDatabase(migrated.url)
    await migrated.client`DROP TABLE lastword.migrations`
    const generated = await openEmpty()
    for (const statement of await generateMigration(generateDrizzleJson({}), generateDrizzleJson(schema))) {
      await generated.client.unsafe(statement)
    }
    const description = await describeDatabase(migrated.client)
    expect(description).toEqual(await describeDatabase(generated.client))
    expect(description.columns).toContainEqual(
      expect.objectContaining({ table_name: 'messages', column_name: 'due_at', datetime_precision: 3 }),
    )
    expect(description.indexes.map(({ indexname }) => indexname)).toContain('due_account_due_at_message_pk')
  })
})

/** Everything in the schema `lastword`, by the catalogue of Postgres. */
async function describeDatabase(client: postgres.Sql) {
  const [columns, indexes, constraints, labels] = await Promise.all([
    client`
      SELECT table_name, column_name, udt_schema, udt_name, is_nullable, column_default, datetime_precision,
        is_identity, identity_generation
      FROM information_schema.columns WHERE table_schema = 'lastword' ORDER BY table_name, column_name`,
    client`SELECT indexname, indexdef FROM pg_indexes WHERE schemaname = 'lastword' ORDER BY indexname`,
    client`
      SELECT conname, pg_get_constraintdef(oid) AS definition FROM pg_constraint
      -- Triggers are no part of a drizzle schema; the feed's tests show that ours is there.
      WHERE connamespace = 'lastword'::regnamespace AND contype <> 't' ORDER BY conname`,
    client`
      SELECT typname, enumlabel FROM pg_enum JOIN pg_type t ON t.oid = enumtypid
      WHERE typnamespace = 'lastword'::regnamespace ORDER BY typname, enumsortorder`,
  ])
  return { columns: [...columns], indexes: [...indexes], constraints: [...constraints], labels: [...labels] }
}

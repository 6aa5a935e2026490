/** The evidence at the end of a run: what the provider, the database, the app and the logs say of each message. */
import { readdir, readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { Redis } from 'ioredis'
import type postgres from 'postgres'
import type { FinalStatus, Status } from '../../src/core/status.ts'
import { isFinal } from '../../src/core/status.ts'
import type { CmTruth } from '../../src/sandbox/cm/messages.ts'
import type { SevenTruth } from '../../src/sandbox/seven/messages.ts'
import { keyOf } from './app.ts'
import { type Entry, type Finding, TELLERS, type Teller, type Told } from './ledger.ts'
import type { Stage } from './stage.ts'

/** Has the database write down for which time each batch held which messages. */
export async function watchBatches(sql: postgres.Sql): Promise<void> {
  await sql.unsafe(`
    CREATE SCHEMA chaos;
    CREATE TABLE chaos.claims (batch uuid PRIMARY KEY, messages bigint[] NOT NULL,
      begun timestamptz NOT NULL DEFAULT clock_timestamp(), ended timestamptz);
    CREATE FUNCTION chaos.watch() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
      IF TG_OP = 'INSERT' THEN INSERT INTO chaos.claims (batch, messages) VALUES (NEW.id, NEW.messages);
      ELSE UPDATE chaos.claims SET ended = clock_timestamp() WHERE batch = OLD.id; END IF;
      RETURN NULL;
    END $$;
    CREATE TRIGGER chaos_watch AFTER INSERT OR DELETE ON lastword.batches FOR EACH ROW EXECUTE FUNCTION chaos.watch()`)
}

const SLICE = 5_000

type Truth = Omit<SevenTruth, 'foreignId'> | CmTruth

/** Every message that was sent and not erased, slice by slice. */
export async function* collect(stage: Stage): AsyncGenerator<Entry[]> {
  const { sandbox, database } = stage
  await database.sql.unsafe(`
    CREATE TABLE chaos.claimed AS SELECT u.message, begun, ended FROM chaos.claims CROSS JOIN unnest(messages) AS u (message);
    CREATE INDEX ON chaos.claimed (message);
    ANALYZE chaos.claimed`)
  for (let after: string | undefined; ; ) {
    const truths = sandbox.truths(after, SLICE)
    if (truths.length > 0) yield await collectSlice(stage, 'seven', truths)
    after = truths.at(-1)?.messageId
    if (truths.length < SLICE) break
  }
  for (let offset = 0; ; offset += SLICE) {
    const truths = sandbox.cm.truths(offset, SLICE)
    if (truths.length > 0) yield await collectSlice(stage, 'cm', truths)
    if (truths.length < SLICE) break
  }
}

interface RowOf {
  id: string
  message_id: string
  status: Status | null
  final: boolean
  changes: { status: Status; previous: Status | null; at: number }[] | null
  reports: Record<string, number> | null
  claims: { from: number; to: number | null }[] | null
}

async function collectSlice(stage: Stage, account: string, all: readonly Truth[]): Promise<Entry[]> {
  const { database, app } = stage
  const truths = all.filter(({ messageId }) => !app.erased.has(keyOf(account, messageId)))
  const ids = truths.map(({ messageId }) => messageId)
  const rows = await database.sql<RowOf[]>`
    WITH m AS MATERIALIZED (
      SELECT id, message_id, status, final FROM lastword.messages
      WHERE account = ${account} AND message_id = ANY(${ids}) AND tracked_at IS NOT NULL
    ), changes AS (
      SELECT message, json_agg(json_build_object('status', status, 'previous', previous_status,
        'at', floor(extract(epoch FROM changed_at) * 1000)) ORDER BY position) AS list
      FROM lastword.changes WHERE message IN (SELECT id FROM m) GROUP BY message
    ), reports AS (
      SELECT message, json_object_agg(raw_status, n) AS list FROM (
        SELECT message, raw_status, count(*) AS n FROM lastword.status_reports
        WHERE source = 'webhook' AND message IN (SELECT id FROM m) GROUP BY message, raw_status
      ) r GROUP BY message
    ), claims AS (
      SELECT message, json_agg(json_build_object('from', extract(epoch FROM begun) * 1000,
        'to', extract(epoch FROM ended) * 1000)) AS list
      FROM chaos.claimed WHERE message IN (SELECT id FROM m) GROUP BY message
    )
    SELECT m.id, m.message_id, m.status, m.final, c.list AS changes, r.list AS reports, k.list AS claims
    FROM m LEFT JOIN changes c ON c.message = m.id LEFT JOIN reports r ON r.message = m.id
      LEFT JOIN claims k ON k.message = m.id`
  const rowOf = new Map(rows.map((row) => [row.message_id, row]))
  return truths.map((truth) => entryOf(stage, account, truth, rowOf.get(truth.messageId)))
}

function entryOf({ app }: Stage, account: string, truth: Truth, row: RowOf | undefined): Entry {
  const { messageId, recipient, sentAt, receipts, askedAt } = truth
  const key = keyOf(account, messageId)
  return {
    account,
    messageId,
    recipient,
    sentAt: sentAt.getTime(),
    finals: finalsOf(account, truth),
    receipts: countBy(receipts as readonly { status: string }[], ({ status }) => rawOf(account, status)),
    // A sweep asks about a time; whoever was sent to in it is told of.
    askedAt: account === 'cm' ? [] : askedAt.map((at) => at.getTime()),
    row: row && { status: row.status, final: row.final },
    changes: (row?.changes ?? []).map(({ status, previous, at }) => ({
      status,
      previousStatus: previous,
      at,
      final: isFinal(status),
    })),
    reports: row?.reports ?? {},
    claims: (row?.claims ?? []).map(({ from, to }) => ({ from, to: to ?? Number.POSITIVE_INFINITY })),
    told: Object.fromEntries(TELLERS.map((teller) => [teller, app.toldOf(teller, key)])) as unknown as Record<
      Teller,
      Told[]
    >,
  }
}

/** Our words for the provider's final ones; CM.com's receipts and its transactions differ in one. */
const FINAL_WORDS: Readonly<Record<string, readonly FinalStatus[]>> = {
  DELIVERED: ['delivered'],
  NOTDELIVERED: ['undelivered'],
  EXPIRED: ['expired'],
  REJECTED: ['rejected'],
  FAILED: ['failed'],
  Delivered: ['delivered'],
  Failed: ['failed'],
  Rejected: ['rejected'],
  Undelivered: ['undelivered', 'failed'],
}

/** CM.com's receipts tell whole seconds. */
const CM_RESOLUTION_MS = 1_000

function finalsOf(account: string, { history, receipts }: Truth): Entry['finals'] {
  const told = new Set<string>(receipts.map(({ status }) => status))
  const resolutionMs = account === 'cm' ? CM_RESOLUTION_MS : 1
  return history.flatMap(({ status, at }) => {
    const statuses = FINAL_WORDS[status]
    const toldAt = Math.floor(at.getTime() / resolutionMs)
    return statuses ? [{ statuses, at: toldAt, acknowledged: told.has(status) }] : []
  })
}

/** CM.com's receipts have codes. */
const CM_CODES: Readonly<Record<string, string>> = {
  Sent: '0',
  Rejected: '1',
  Delivered: '2',
  Failed: '3',
  Undelivered: '3',
}

function rawOf(account: string, status: string): string {
  return account === 'cm' ? (CM_CODES[status] ?? status) : status
}

function countBy<T>(items: readonly T[], keyOf: (item: T) => string): Record<string, number> {
  const counts: Record<string, number> = {}
  for (const item of items) counts[keyOf(item)] = (counts[keyOf(item)] ?? 0) + 1
  return counts
}

/** Every place that still holds something of an erased person: a message ID or the number. */
export async function findLeftovers(stage: Stage): Promise<Finding[]> {
  const { app, database, redis } = stage
  const ids = [...app.erased].map((key) => key.slice(key.indexOf(' ') + 1))
  const needles = [...ids, ...app.erasedNumbers]
  if (needles.length === 0) return []
  const find = createSearch(needles)
  const found: Finding[] = []
  const look = (place: string, text: string): void => {
    const needle = find(text)
    if (needle) found.push({ kind: 'left of an erased person', about: `${place}: ${needle} in ${text.slice(0, 200)}` })
  }
  const tables = await database.sql<{ name: string }[]>`
    SELECT format('%I.%I', schemaname, tablename) AS name FROM pg_tables WHERE schemaname IN ('lastword', 'bullmq')`
  for (const { name } of tables) {
    const rows = database.sql<{ row: string }[]>`SELECT t::text AS row FROM ${database.sql.unsafe(name)} t`
    for await (const slice of rows.cursor(SLICE)) for (const { row } of slice) look(name, row)
  }
  if (redis) for (const [key, text] of await readRedis(redis.place.port)) look(`Redis, ${key}`, text)
  return [...found, ...(await findOrphans(database.sql))]
}

/** Rows of messages that are gone, which hold neither ID nor number. */
async function findOrphans(sql: Stage['database']['sql']): Promise<Finding[]> {
  const found: Finding[] = []
  for (const table of ['status_reports', 'changes', 'failures', 'callbacks', 'callback_attempts']) {
    const [row] = await sql<{ n: number }[]>`
      SELECT count(*)::int AS n FROM ${sql.unsafe(`lastword.${table}`)} t
      WHERE NOT EXISTS (SELECT FROM lastword.messages m WHERE m.id = t.message)`
    if (row && row.n > 0) found.push({ kind: 'left of an erased person', about: `${row.n} rows of ${table}` })
  }
  return found
}

/** Finds the needles where they stand by themselves: an ID of the one provider may end as one of the other. */
export function createSearch(needles: readonly string[]): (text: string) => string | undefined {
  const pattern = new RegExp(`\\b(${needles.join('|')})\\b`)
  // A pattern of hundreds takes half a millisecond for each row; only rows with a needle's longest word are left to it.
  const words = new Set(needles.map((needle) => wordsOf(needle).sort((a, b) => b.length - a.length)[0]))
  return (text) => (wordsOf(text).some((word) => words.has(word)) ? pattern.exec(text)?.[0] : undefined)
}

function wordsOf(text: string): string[] {
  return text.match(/\w+/g) ?? []
}

async function readRedis(port: number): Promise<[key: string, text: string][]> {
  const client = new Redis(port, '127.0.0.1')
  const readers: Record<string, (key: string) => Promise<unknown>> = {
    string: (key) => client.get(key),
    hash: (key) => client.hgetall(key),
    list: (key) => client.lrange(key, 0, -1),
    set: (key) => client.smembers(key),
    zset: (key) => client.zrange(key, '0', '-1'),
    stream: (key) => client.xrange(key, '-', '+'),
  }
  const texts: [string, string][] = []
  for await (const keys of client.scanStream({ count: 1_000 })) {
    for (const key of keys as string[]) {
      // A key that has gone since it was listed is of no type.
      texts.push([key, JSON.stringify((await readers[await client.type(key)]?.(key)) ?? null)])
    }
  }
  client.disconnect()
  return texts
}

/** Logs in which a phone number stands. */
export async function findNumbersInLogs(folder: string): Promise<Finding[]> {
  const files = (await readdir(folder)).filter((name) => name.endsWith('.log'))
  const found = await Promise.all(
    files.map(async (name) => ({ name, match: /4470\d{8}/.exec(await readFile(join(folder, name), 'utf8')) })),
  )
  return found.flatMap(({ name, match }): Finding[] =>
    match ? [{ kind: 'number in a log', about: `${name}: ${match[0].slice(0, 8)}…` }] : [],
  )
}

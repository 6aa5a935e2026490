/**
 * Retention: the slowest hundredth of webhooks while it deletes, against the same without; and the size of the tables over
 * a year at a steady load. The months of that year are lots of messages written by the product's own functions, and their
 * ends are moments of the run, so nothing waits for a clock; VACUUM runs every quarter of a month.
 */
import type { StatusReport } from '../../../src/core/status.ts'
import { deleteChanges } from '../../../src/db/changes.ts'
import { applyReports } from '../../../src/db/reports.ts'
import { deleteSettled } from '../../../src/db/retention.ts'
import { type Bench, cut, type Row } from '../bench.ts'
import { ACCOUNT, accountOf, type Installation, openInstallation, startService, trackDueAt } from '../installation.ts'
import { anHourAgo, openSandbox } from '../sandbox.ts'
import { receiveIn } from './webhooks.ts'

const MONTHS = 12
const WEEKS = 4
const KEPT_MONTHS = 3
const STEP = 1000
const REPORTS_A_STATEMENT = 100

export async function measureRetention(bench: Bench): Promise<Row[]> {
  const without = await p99Beside(bench, 0)
  bench.say('retention: while it deletes')
  const beside = await p99Beside(bench, bench.counts.retained)
  bench.say('retention: a year')
  const months = await sizesOfYear(bench)
  const details = Object.fromEntries(months.map((bytes, index) => [`month ${index + 1}`, Math.round(bytes)]))
  return [
    {
      measure: 'retention: p99 of webhooks against without',
      value: beside / without,
      unit: '×',
      goal: { atMost: 1.3 },
      details: { without, beside },
    },
    {
      measure: 'retention: size after twelve months against six',
      value: (months[11] ?? Number.NaN) / (months[5] ?? Number.NaN),
      unit: '×',
      goal: { atMost: 1.1 },
      details,
    },
  ]
}

/** The slowest hundredth of webhooks, in milliseconds, beside a worker that has so many old messages to delete. */
async function p99Beside(bench: Bench, old: number): Promise<number> {
  const { services, counts } = bench
  const installation = await openInstallation(services)
  const sandbox = await openSandbox()
  try {
    if (old > 0) await fillSettled(installation, old)
    const worker = await startService('worker', { services, installation, sandbox })
    const { p99Ms } = await receiveIn(bench, installation, counts.webhooks).finally(worker.stop)
    if (old > 0) await assertDeleting(installation, old)
    return p99Ms
  } finally {
    await sandbox.close()
    await installation.close()
  }
}

/** Messages that were settled a hundred days ago, with their reports. */
async function fillSettled({ sql }: Installation, count: number): Promise<void> {
  await sql`
    WITH settled AS (
      INSERT INTO lastword.messages (
        account, message_id, sent_at, window_ends_at, tracked_at, status, final, status_at, settled_by, changed_at
      )
      SELECT ${ACCOUNT}, (60000000000 + n)::text, t.at, t.at + interval '30 days', t.at, 'delivered', true, t.at, 'webhook', t.at
      FROM generate_series(1, ${count}::bigint) n, (SELECT now() - interval '100 days' AS at) t
      RETURNING id, status_at
    )
    INSERT INTO lastword.status_reports (message, status, raw_status, source, occurred_at, received_at)
    SELECT id, 'delivered', 'DELIVERED', 'webhook', status_at, status_at FROM settled`
  await sql.unsafe('VACUUM ANALYZE lastword.messages, lastword.status_reports')
}

async function assertDeleting({ sql }: Installation, count: number): Promise<void> {
  const [row] = await sql<{ left: number }[]>`
    SELECT count(*)::int AS left FROM lastword.messages WHERE message_id LIKE '60_________'`
  const left = row?.left ?? Number.NaN
  if (left === count) throw new Error('Retention has deleted nothing while webhooks came.')
}

/** Bytes of all tables at the end of each month. */
async function sizesOfYear({ services, counts }: Bench): Promise<number[]> {
  const installation = await openInstallation(services)
  const ends: Date[] = []
  const sizes: number[] = []
  try {
    for (let month = 0; month < MONTHS; month++) {
      for (let week = 0; week < WEEKS; week++) {
        await liveAWeek(installation, month * WEEKS + week, counts.month / WEEKS)
        await deleteOld(installation, ends[month - KEPT_MONTHS])
        await installation.sql.unsafe('VACUUM')
      }
      ends.push(new Date())
      sizes.push(await sizeOf(installation))
    }
    return sizes
  } finally {
    await installation.close()
  }
}

/** So many messages are tracked, due, and told of by webhooks. */
async function liveAWeek(installation: Installation, week: number, count: number): Promise<void> {
  const ids = Array.from({ length: count }, (_, index) => String(80_000_000_000 + week * count + index))
  const account = accountOf({ url: 'http://127.0.0.1:9/api', apiKey: 'none' })
  const sentAt = anHourAgo()
  await trackDueAt(installation, account, ids, { sentAt, dueAt: new Date() })
  const toReport = (messageId: string): StatusReport => ({
    account: ACCOUNT,
    messageId,
    status: 'delivered',
    rawStatus: 'DELIVERED',
    occurredAt: sentAt,
    source: 'webhook',
  })
  for (const some of cut(ids, REPORTS_A_STATEMENT)) await applyReports(installation.database.db, some.map(toReport))
  await installation.sql`DELETE FROM lastword.due WHERE due_at < now()`
}

/** The changes of the week are read, and what was settled before `olderThan` is deleted. */
async function deleteOld({ database: { db } }: Installation, olderThan: Date | undefined): Promise<void> {
  const changed = { olderThan: new Date(), limit: STEP, readers: [] }
  while ((await deleteChanges(db, changed)) === STEP);
  if (!olderThan) return
  for (let after: number | undefined = 0; after !== undefined; ) {
    after = (await deleteSettled(db, { olderThan, limit: STEP, after })).next
  }
}

async function sizeOf({ sql }: Installation): Promise<number> {
  const [row] = await sql<{ bytes: number }[]>`
    SELECT sum(pg_total_relation_size(c.oid))::float8 AS bytes
    FROM pg_class c WHERE c.relnamespace = 'lastword'::regnamespace AND c.relkind = 'r'`
  return row?.bytes ?? Number.NaN
}

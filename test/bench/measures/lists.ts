/**
 * Lists: how long a page of 100 takes by every documented filter, with many messages of 85 days, most of them delivered.
 * The rows are filled by SQL, with the values that people look for drawn anew for every query.
 */
import type { ListFilter } from '../../../src/db/list.ts'
import { listMessages } from '../../../src/db/list.ts'
import { type Bench, type Row, timed } from '../bench.ts'
import { type Installation, openInstallation } from '../installation.ts'
import { measurePages } from './pages.ts'

const ROWS_A_STATEMENT = 250_000
const PAGE = 100
const DAYS = 85
const DAY_MS = 86_400_000
const CAMPAIGNS = 50

export async function measureLists(bench: Bench): Promise<Row[]> {
  const { counts, say, services } = bench
  const installation = await openInstallation(services)
  try {
    say(`lists: filling ${counts.outstanding}`)
    await fill(installation, counts.outstanding)
    say('lists')
    const slowest = await slowestOf(installation, counts.outstanding, counts.lists)
    const worst = Object.entries(slowest).sort(([, a], [, b]) => b - a)[0]
    return [
      {
        measure: `lists: p99 of the slowest query, by ${worst?.[0]}`,
        value: worst?.[1] ?? Number.NaN,
        unit: 'ms',
        goal: { atMost: 50 },
        details: slowest,
      },
      { measure: 'lists: p99 without a filter', value: slowest.nothing ?? Number.NaN, unit: 'ms' },
      ...(await measurePages(bench, installation, counts.outstanding)),
    ]
  } finally {
    await installation.close()
  }
}

/** Of a hundred, two failed and one is outstanding; one in twenty was settled by a poll; five go to each number. */
async function fill({ sql }: Installation, total: number): Promise<void> {
  for (let done = 0; done < total; done += ROWS_A_STATEMENT) {
    await sql`
      WITH tracked AS (
        INSERT INTO lastword.messages (
          account, message_id, recipient, number, sent_at, window_ends_at, tracked_at, metadata, status, final, settled_by,
          due_at
        )
        SELECT CASE n % 10 WHEN 0 THEN 'other' ELSE 'seven' END, (70000000000 + n)::text, '+49170' || n / 5, '49170' || n / 5,
          now() - (${total} - n) * ${DAYS * 86_400}::float8 / ${total} * interval '1 second', now() + interval '30 days', now(),
          jsonb_build_object('order', n, 'campaign', n % ${CAMPAIGNS}),
          CASE n % 100 WHEN 1 THEN 'failed' WHEN 2 THEN 'undelivered' WHEN 3 THEN NULL ELSE 'delivered' END::lastword.status,
          n % 100 <> 3, CASE n % 20 WHEN 0 THEN 'poll' ELSE 'webhook' END::lastword.source,
          CASE n % 100 WHEN 3 THEN now() + interval '1 day' END
        FROM generate_series(${done + 1}::bigint, ${Math.min(done + ROWS_A_STATEMENT, total)}::bigint) n
        RETURNING *
      ), scheduled AS (
        INSERT INTO lastword.due (account, due_at, message) SELECT account, due_at, id FROM tracked WHERE due_at IS NOT NULL
      ), failed AS (
        INSERT INTO lastword.failures (message, account, status, code, sent_at)
        SELECT id, account, status, (id % 7)::text, sent_at FROM tracked WHERE status IN ('failed', 'undelivered')
      )
      INSERT INTO lastword.message_metadata (entry, sent_at, message)
      SELECT hashtextextended(e.key || E'\n' || e.value, 0), sent_at, id FROM tracked, jsonb_each_text(metadata) e`
  }
  for (const table of ['messages', 'due', 'failures', 'message_metadata'])
    await sql.unsafe(`VACUUM ANALYZE lastword.${table}`)
}

type Query = (n: number, at: Date) => ListFilter

/** By message `n` of those filled, and a time among those of sending. */
const queries: Readonly<Record<string, Query>> = {
  nothing: () => ({}),
  account: () => ({ account: 'other' }),
  messageId: (n) => ({ messageIds: [String(70_000_000_000 + n)] }),
  recipient: (n) => ({ numbers: [`49170${Math.floor(n / 5)}`] }),
  status: () => ({ status: 'failed' }),
  'status of most': () => ({ status: 'delivered' }),
  outstanding: () => ({ outstanding: true }),
  'intermediate status': () => ({ status: 'buffered' }),
  settledBy: () => ({ settledBy: 'poll' }),
  'settledBy window': () => ({ settledBy: 'window' }),
  error: (n) => ({ error: String(n % 7) }),
  'metadata of one': (n) => ({ metadata: { order: String(n) } }),
  'metadata of many': (n) => ({ metadata: { campaign: String(n % CAMPAIGNS) } }),
  'times of sending': (_n, at) => ({ sentAfter: at, sentBefore: new Date(at.getTime() + DAY_MS) }),
  'metadata, status and times': (n, at) => ({
    metadata: { campaign: String(n % CAMPAIGNS) },
    status: 'failed',
    sentAfter: at,
    sentBefore: new Date(at.getTime() + 10 * DAY_MS),
  }),
}

/** The 99th percentile of every query, in milliseconds. */
async function slowestOf({ database }: Installation, total: number, runs: number): Promise<Record<string, number>> {
  const slowest: Record<string, number> = {}
  for (const [name, query] of Object.entries(queries)) {
    const times: number[] = []
    for (let run = 0; run < runs; run++) {
      const n = 1 + Math.floor(Math.random() * total)
      const at = new Date(Date.now() - Math.random() * DAYS * DAY_MS)
      times.push(1000 * (await timed(() => listMessages(database.db, { ...query(n, at), limit: PAGE }))))
    }
    slowest[name] = times.sort((a, b) => a - b)[Math.ceil(runs * 0.99) - 1] ?? Number.NaN
  }
  return slowest
}

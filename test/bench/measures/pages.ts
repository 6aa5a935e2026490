/**
 * Pages: how long each page for people takes, and a scrape of the metrics, over a table that `lists` has filled: asked for
 * by HTTP from a process of the API, one after the other. The traces of the filled messages are filled in: counts by the
 * hour, callbacks that wait, and status queries of the last week.
 */
import type { Bench, Row } from '../bench.ts'
import { type Installation, startService } from '../installation.ts'

const NOWHERE = { url: 'http://127.0.0.1:9/api', apiKey: 'none' }
const OTHER = { name: 'other', provider: 'seven', apiKey: 'none', baseUrl: NOWHERE.url }

/** The 99th percentile of each page; `total` messages are filled. */
export async function measurePages(
  { services, counts, say }: Bench,
  installation: Installation,
  total: number,
): Promise<Row[]> {
  say('pages: filling')
  await fillRest(installation, counts.waitingCallbacks)
  const api = await startService('api', { services, installation, sandbox: NOWHERE, others: [OTHER] })
  try {
    say('pages')
    const slowest: Record<string, number> = {}
    for (const [name, pathOf] of Object.entries(paths)) {
      slowest[name] = await p99(counts.lists, () => api.url + pathOf(1 + Math.floor(Math.random() * total)))
    }
    const { metrics = Number.NaN, ...pages } = slowest
    const [worst = '', ms = Number.NaN] = Object.entries(pages).sort(([, a], [, b]) => b - a)[0] ?? []
    return [
      { measure: `pages: p99 of the slowest, ${worst}`, value: ms, unit: 'ms', goal: { atMost: 100 }, details: pages },
      { measure: 'pages: p99 of a scrape of the metrics', value: metrics, unit: 'ms', goal: { atMost: 100 } },
    ]
  } finally {
    await api.stop()
  }
}

const idOf = (n: number) => String(70_000_000_000 + n)

const paths: Readonly<Record<string, (n: number) => string>> = {
  overview: () => '/',
  messages: () => '/messages',
  'messages by ID': (n) => `/messages?q=${idOf(n)}`,
  'messages by number': (n) => `/messages?q=%2B49170${Math.floor(n / 5)}`,
  'messages by metadata': (n) => `/messages?metadata=order%3D${n}`,
  'messages that failed': () => '/messages?status=failed',
  'messages outstanding': () => '/messages?outstanding=true',
  'a message': (n) => `/messages/${n % 10 === 0 ? 'other' : 'seven'}/${idOf(n)}`,
  'an account': () => '/accounts/seven',
  callbacks: () => '/callbacks',
  alerts: () => '/alerts',
  acts: () => '/acts',
  metrics: () => '/metrics',
}

async function p99(runs: number, urlOf: () => string): Promise<number> {
  const times: number[] = []
  for (let run = 0; run < runs; run++) {
    const url = urlOf()
    const begun = performance.now()
    const response = await fetch(url)
    await response.arrayBuffer()
    times.push(performance.now() - begun)
    if (response.status !== 200) throw new Error(`${url}: ${response.status}`)
  }
  return times.sort((a, b) => a - b)[Math.ceil(runs * 0.99) - 1] ?? Number.NaN
}

async function fillRest({ sql }: Installation, callbacks: number): Promise<void> {
  await sql`DELETE FROM lastword.hour_counts`
  await sql`
    INSERT INTO lastword.hour_counts (account, hour, measure, key, n)
    SELECT account, date_bin('1 hour', sent_at, '2000-01-01Z'), measure, key, count(*) FROM (
      SELECT account, sent_at, 'outstanding' AS measure, '' AS key FROM lastword.messages WHERE NOT final
      UNION ALL
      SELECT account, sent_at, 'ended', lastword.ended_key(status, settled_by, (id % 1000)::int, (id % 2)::int)
      FROM lastword.messages WHERE final
      UNION ALL
      SELECT account, sent_at, 'reason', (id % 40)::text FROM lastword.messages WHERE status IN ('failed', 'undelivered')
    ) counted GROUP BY 1, 2, 3, 4`
  await sql`
    INSERT INTO lastword.callbacks (change, message, account, url, body, attempts, first_due_at, next_attempt_at, last_error)
    SELECT n, m.id, m.account, 'https://app' || n % 20 || '.example.com/hook',
      json_build_object('data', json_build_object('account', m.account, 'messageId', m.message_id, 'status', 'delivered')), n % 9,
      now() - interval '1 hour', CASE WHEN n % 3 > 0 THEN now() + interval '1 hour' END, 'the receiver answered HTTP 500'
    FROM generate_series(1, ${callbacks}::bigint) n JOIN lastword.messages m ON m.id = n`
  await sql`
    INSERT INTO lastword.status_queries (at, account, lookup, batch, ids, messages)
    SELECT now() - n * interval '1 minute', 'seven', 'status', gen_random_uuid(), 100, ARRAY(SELECT generate_series(n, n + 99))
    FROM generate_series(1, 10000) n`
  for (const table of ['hour_counts', 'callbacks', 'status_queries'])
    await sql.unsafe(`VACUUM ANALYZE lastword.${table}`)
}

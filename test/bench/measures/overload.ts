/**
 * More receipts than the database takes: it is slowed, and hundreds of connections send all the while what one of them could.
 * The API's memory must stay bounded, what it cannot take is answered 503 with `Retry-After` and comes again, as providers
 * do it, and in the end every receipt that was acknowledged stands in the reports.
 */
import { setTimeout as delay } from 'node:timers/promises'
import { Pool } from 'undici'
import { type Bench, cut, type Row, runAll, timed } from '../bench.ts'
import { ACCOUNT, type Installation, openInstallation, startService } from '../installation.ts'
import { residentMegabytes } from '../processes.ts'

const NO_PROVIDER = { url: 'http://127.0.0.1:9/api', apiKey: 'none' }
const RECEIPTS_A_REQUEST = 100
const CONNECTIONS = 500
/** For each group of receipts. */
const SLOWED_BY_S = 0.25
/** Of receipts that are written together. */
const MOST_AT_ONCE = 500
/** Less is a service that works for callers who have gone. */
const GOAL = { atLeast: 50 }
const SAMPLE_EVERY_MS = 100
const SOON_MS = 100

interface Sent {
  /** How long each answer took that was 200. */
  tookMs: number[]
  refused: number
  /** Refused without a word on when to come again. */
  blunt: number
}

export async function measureOverload(bench: Bench): Promise<Row[]> {
  const { services, counts } = bench
  const installation = await openInstallation(services)
  const api = await startService('api', { services, installation, sandbox: NO_PROVIDER })
  const pool = new Pool(api.url, { connections: CONNECTIONS })
  try {
    await sendAll(pool, idsFrom(0, RECEIPTS_A_REQUEST * 20))
    const restMb = residentMegabytes(api.pid) ?? Number.NaN
    await slowDown(installation)
    const watch = watchMemory(api.pid)
    const ids = idsFrom(1_000_000, counts.overload)
    const [sent, tookMs] = await take(() => sendAll(pool, ids))
    const mostMb = await watch.stop()
    await installation.sql`DROP TRIGGER slow ON lastword.status_reports`
    const recoveredS = await timed(() => untilSoon(pool))
    const answers = sent.tookMs.length + sent.refused
    const leastMs = (1000 * SLOWED_BY_S * ids.length) / MOST_AT_ONCE
    return [
      {
        measure: "overload: goodput, against the database's best",
        value: (100 * leastMs) / tookMs,
        unit: '%',
        goal: GOAL,
        details: { tookMs, leastMs },
      },
      {
        measure: 'overload: receipts acknowledged and not stored',
        value: await countLost(installation, ids),
        unit: 'rows',
      },
      { measure: 'overload: answered 503 without Retry-After', value: sent.blunt, unit: 'rows' },
      { measure: 'overload: answered 503', value: (100 * sent.refused) / answers, unit: '%' },
      { measure: 'overload: p99 of those taken', value: p99(sent.tookMs), unit: 'ms' },
      {
        measure: "overload: the API's memory, most against before",
        value: mostMb / restMb,
        unit: '×',
        details: { mostMb, restMb },
      },
      { measure: 'overload: until a receipt is taken in 0.1 s again', value: recoveredS, unit: 's' },
    ]
  } finally {
    await pool.close()
    await api.stop()
    await installation.close()
  }
}

function idsFrom(first: number, count: number): string[] {
  return Array.from({ length: count }, (_, index) => String(77_000_000_000 + first + index))
}

async function slowDown({ sql }: Installation): Promise<void> {
  await sql.unsafe(`
    CREATE FUNCTION lastword.slow() RETURNS trigger LANGUAGE plpgsql AS
      $$ BEGIN PERFORM pg_sleep(${SLOWED_BY_S}); RETURN NULL; END $$`)
  await sql`
    CREATE TRIGGER slow AFTER INSERT ON lastword.status_reports FOR EACH STATEMENT EXECUTE FUNCTION lastword.slow()`
}

/** Sends each until it is taken. */
async function sendAll(pool: Pool, ids: readonly string[]): Promise<Sent> {
  const sent: Sent = { tookMs: [], refused: 0, blunt: 0 }
  await runAll(cut(ids, RECEIPTS_A_REQUEST), CONNECTIONS, async (messageIds) => {
    for (;;) {
      const begun = performance.now()
      const { statusCode, headers } = await sendOne(pool, messageIds)
      if (statusCode === 200) return sent.tookMs.push(performance.now() - begun)
      if (statusCode !== 503) throw new Error(`POST /webhooks/${ACCOUNT}: ${statusCode}`)
      const again = Number(headers['retry-after'])
      sent.refused += 1
      if (!(again > 0)) sent.blunt += 1
      await delay((again || 1) * 1000)
    }
  })
  return sent
}

async function sendOne(pool: Pool, messageIds: readonly string[]) {
  const webhook_timestamp = new Date().toISOString()
  const receipts = messageIds.map((msg_id) => ({
    data: { msg_id, status: 'DELIVERED', timestamp: webhook_timestamp },
    webhook_event: 'dlr',
    webhook_timestamp,
  }))
  const answer = await pool.request({
    method: 'POST',
    path: `/webhooks/${ACCOUNT}`,
    headers: { 'content-type': 'application/json' },
    body: JSON.stringify(receipts),
  })
  await answer.body.dump()
  return answer
}

function watchMemory(pid: number) {
  let most = 0
  let stopped = false
  const watching = (async () => {
    while (!stopped) {
      most = Math.max(most, residentMegabytes(pid) ?? Number.NaN)
      await delay(SAMPLE_EVERY_MS)
    }
  })()
  return {
    async stop(): Promise<number> {
      stopped = true
      await watching
      return most
    },
  }
}

async function untilSoon(pool: Pool): Promise<void> {
  for (let id = 2_000_000; ; id += 1) {
    const [{ statusCode }, took] = await take(() => sendOne(pool, idsFrom(id, 1)))
    if (statusCode === 200 && took < SOON_MS) return
  }
}

async function take<T>(run: () => Promise<T>): Promise<[T, number]> {
  const begun = performance.now()
  return [await run(), performance.now() - begun]
}

async function countLost({ sql }: Installation, ids: readonly string[]): Promise<number> {
  const [row] = await sql<{ stored: number }[]>`
    SELECT count(DISTINCT m.message_id)::int AS stored
    FROM lastword.status_reports r JOIN lastword.messages m ON m.id = r.message
    WHERE m.message_id BETWEEN ${ids[0] ?? ''} AND ${ids.at(-1) ?? ''}`
  return ids.length - (row?.stored ?? 0)
}

function p99(values: readonly number[]): number {
  return values.toSorted((one, other) => one - other)[Math.ceil(values.length * 0.99) - 1] ?? Number.NaN
}

/**
 * A steady load for hours: memory, file handles, connections and tables must have stopped growing by the middle of it.
 * Everything is kept for a few minutes only, so that the tables come to rest, too.
 */
import { readdirSync } from 'node:fs'
import { setTimeout as delay } from 'node:timers/promises'
import { request } from 'undici'
import { type Bench, flatnessOf, type Row } from '../bench.ts'
import { ACCOUNT, type Installation, openInstallation, startService } from '../installation.ts'
import { type Process, residentMegabytes } from '../processes.ts'
import { openSandbox, type Sandbox } from '../sandbox.ts'

const MESSAGES_A_SECOND = 50
const SAMPLES = 720
const LEAST_BETWEEN_MS = 250
const GOAL = { atMost: 1.1 }
/** A minute of the provider takes a second; some receipts are lost, and some final statuses never come. */
const LAW = {
  components: [{ share: 0.97, medianMs: 6_000, sigma: 1 }],
  expiredShare: 0.02,
  neverShare: 0.01,
  failureShare: 0.1,
  validityMs: 30 * 60_000,
  timeScale: 60,
}
const POLLING = { firstAfter: '2s', factor: 1.5, maxInterval: '8s', window: '60s' }
const RETENTION = { CHANGES_RETENTION: '3m', MESSAGES_RETENTION: '3m' }

interface Sample {
  apiMb: number
  workerMb: number
  handles: number
  connections: number
  tableMb: number
  redisMb: number
}

const NAMES: Readonly<Record<keyof Sample, string>> = {
  apiMb: "the API's memory",
  workerMb: "the worker's memory",
  handles: 'file handles',
  connections: 'connections to Postgres',
  tableMb: 'tables',
  redisMb: "Redis's memory",
}

export async function measureSteadyLoad(bench: Bench): Promise<Row[]> {
  const { services, counts } = bench
  const installation = await openInstallation(services)
  const sandbox = await openSandbox(LAW)
  const options = { services, installation, sandbox, account: { polling: POLLING }, environment: RETENTION }
  const [api, worker] = await Promise.all([startService('api', options), startService('worker', options)])
  try {
    await sandbox.turn({ webhookUrl: `${api.url}/webhooks/${ACCOUNT}`, webhookLoss: 0.2 })
    const endsAt = Date.now() + counts.steadyS * 1000
    const [sent, samples] = await Promise.all([
      sendUntil(endsAt, sandbox, api.url),
      sampleUntil(endsAt, bench, installation, { api, worker }),
    ])
    const ended = await countEnded(installation)
    const figures = (Object.keys(NAMES) as (keyof Sample)[]).map((name): Row => {
      const values = samples.map((sample) => sample[name])
      const details = { first: values[0] ?? Number.NaN, last: values.at(-1) ?? Number.NaN, most: Math.max(...values) }
      const measure = `steady: ${NAMES[name]}, end against middle`
      return { measure, value: flatnessOf(values), unit: '×', goal: GOAL, details }
    })
    return [
      ...figures,
      { measure: `steady: ended, of those sent in ${counts.steadyS} s`, value: (100 * ended) / sent, unit: '%' },
    ]
  } finally {
    await Promise.all([api.stop(), worker.stop()])
    await sandbox.close()
    await installation.close()
  }
}

/** Sends a lot each second, and hands it over as an app does. Returns how many messages that were. */
async function sendUntil(endsAt: number, sandbox: Sandbox, apiUrl: string): Promise<number> {
  let sent = 0
  for (let next = Date.now(); next < endsAt; next += 1000) {
    await delay(Math.max(0, next - Date.now()))
    const sentAt = new Date()
    const messageIds = await sandbox.send(MESSAGES_A_SECOND, sentAt)
    const order = { account: ACCOUNT, messages: messageIds.map((messageId) => ({ messageId, sentAt })) }
    const headers = { 'content-type': 'application/json' }
    const { statusCode, body } = await request(`${apiUrl}/v1/messages`, {
      method: 'POST',
      headers,
      body: JSON.stringify(order),
    })
    const answer = await body.text()
    if (statusCode !== 202) throw new Error(`POST /v1/messages: ${statusCode} ${answer}`)
    sent += messageIds.length
  }
  return sent
}

async function sampleUntil(
  endsAt: number,
  { services, counts }: Bench,
  { sql }: Installation,
  { api, worker }: { api: Process; worker: Process },
): Promise<Sample[]> {
  const samples: Sample[] = []
  const everyMs = Math.max(LEAST_BETWEEN_MS, (counts.steadyS * 1000) / SAMPLES)
  while (Date.now() < endsAt) {
    await delay(everyMs)
    const [row] = await sql<{ connections: number; bytes: number }[]>`
      SELECT (SELECT count(*)::int FROM pg_stat_activity WHERE datname = current_database()) AS connections,
        (SELECT sum(pg_total_relation_size(c.oid))::float8 FROM pg_class c
          WHERE c.relkind = 'r' AND c.relnamespace = 'lastword'::regnamespace) AS bytes`
    const redisBytes = Number(/^used_memory:(\d+)/m.exec(await services.redis.info('memory'))?.[1])
    samples.push({
      apiMb: residentMegabytes(api.pid) ?? Number.NaN,
      workerMb: residentMegabytes(worker.pid) ?? Number.NaN,
      handles: handlesOf(api.pid) + handlesOf(worker.pid),
      connections: row?.connections ?? Number.NaN,
      tableMb: (row?.bytes ?? Number.NaN) / 1e6,
      redisMb: redisBytes / 1e6,
    })
  }
  return samples
}

/** NaN where there is no /proc. */
function handlesOf(pid: number): number {
  try {
    return readdirSync(`/proc/${pid}/fd`).length
  } catch {
    return Number.NaN
  }
}

async function countEnded({ sql }: Installation): Promise<number> {
  const [row] = await sql<{ ended: number }[]>`
    SELECT coalesce(sum(n), 0)::int AS ended FROM lastword.hour_counts WHERE measure = 'ended'`
  return row?.ended ?? 0
}

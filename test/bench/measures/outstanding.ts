/**
 * The cost of outstanding messages: bytes in Postgres and in Redis, memory of a worker, and CPU time while nothing is
 * due. The rows are filled by SQL; everything else is the product as it runs.
 */
import { setTimeout as delay } from 'node:timers/promises'
import { BACKOFF } from '../alternatives/alternative.ts'
import { naiveBullmq } from '../alternatives/naive-bullmq.ts'
import { type Bench, cut, flatnessOf, median, type Row } from '../bench.ts'
import { fillOutstanding, type Installation, makeDue, makeNothingDue, startService } from '../installation.ts'
import { cpuSeconds, residentMegabytes, treeCpuSeconds } from '../processes.ts'
import { openSandbox } from '../sandbox.ts'

const NO_PROVIDER = { url: 'http://127.0.0.1:9/api', apiKey: 'none' }
const JOBS_ADDED_AT_ONCE = 1_000
const SAMPLE_EVERY_MS = 250

/** Fills to `counts.outstandingIdle` for the idle cost, then to `counts.outstanding` for the rest. */
export async function measureOutstanding(bench: Bench, installation: Installation): Promise<Row[]> {
  const { counts, say } = bench
  const emptyRedis = await restingRedisBytes(bench, installation)
  say(`outstanding: filling ${counts.outstandingIdle}`)
  await fillOutstanding(installation, counts.outstandingIdle)
  const idle = await idleCost(bench, installation)
  say(`outstanding: filling ${counts.outstanding}`)
  await fillOutstanding(installation, counts.outstanding)
  const postgresBytes = await postgresBytesPerMessage(installation)
  const redisBytes = ((await restingRedisBytes(bench, installation)) - emptyRedis) / counts.outstanding
  say('outstanding: naive delayed jobs')
  const naiveBytes = await redisBytesOfJobs(bench)
  say('outstanding: a worker at work')
  const worker = await watchWorker(bench, installation, counts.outstanding)
  const { watchIdleS } = counts
  return [
    { measure: 'outstanding: Postgres', value: postgresBytes, unit: 'B/message', goal: { atMost: 400 } },
    { measure: 'outstanding: Redis', value: redisBytes, unit: 'B/message', goal: { atMost: 2 } },
    { measure: 'outstanding: Redis, naive delayed jobs', value: naiveBytes, unit: 'B/message' },
    { measure: 'outstanding: worker memory, most', value: worker.mostMb, unit: 'MB', goal: { atMost: 180 } },
    {
      measure: 'outstanding: worker memory, end against middle',
      value: worker.flatness,
      unit: '×',
      goal: { atMost: 1.1 },
    },
    { measure: `outstanding: CPU over ${watchIdleS} s idle`, ...idle, unit: '% of a core', goal: { atMost: 1 } },
  ]
}

/** The messages and their places in the schedule, with the indexes, after VACUUM. */
export async function postgresBytesPerMessage({ sql }: Installation): Promise<number> {
  for (const table of ['messages', 'due']) await sql.unsafe(`VACUUM lastword.${table}`)
  const [row] = await sql<{ bytes: number }[]>`
    SELECT (pg_total_relation_size('lastword.messages') + pg_total_relation_size('lastword.due'))::float8
      / greatest(count(*), 1) AS bytes
    FROM lastword.messages`
  return row?.bytes ?? Number.NaN
}

/** The memory Redis uses while a worker runs and nothing is due. */
export async function restingRedisBytes({ services, counts }: Bench, installation: Installation): Promise<number> {
  const worker = await startService('worker', { services, installation, sandbox: NO_PROVIDER })
  await delay(counts.restMs)
  const bytes = await usedRedisBytes(services.redis)
  await worker.stop()
  return bytes
}

/** Ticks come and go; the median does not mind. */
async function usedRedisBytes(redis: Bench['services']['redis']): Promise<number> {
  const samples: number[] = []
  for (let sample = 0; sample < 5; sample += 1) {
    samples.push(Number(/^used_memory:(\d+)/m.exec(await redis.info('memory'))?.[1]))
    await delay(100)
  }
  return median(samples)
}

async function redisBytesOfJobs({ services, counts }: Bench): Promise<number> {
  await services.clearRedis()
  const site = { databaseUrl: '', redisUrl: services.redisUrl, provider: NO_PROVIDER, polling: BACKOFF }
  const scheduler = await naiveBullmq.openScheduler(site)
  const dueAt = new Date(Date.now() + 3_600_000)
  const jobs = Array.from({ length: counts.delayedJobs }, (_, index) => ({ messageId: String(5e10 + index), dueAt }))
  try {
    const before = await usedRedisBytes(services.redis)
    for (const body of cut(jobs, JOBS_ADDED_AT_ONCE)) await scheduler.add(body)
    return ((await usedRedisBytes(services.redis)) - before) / counts.delayedJobs
  } finally {
    await scheduler.close()
    await services.clearRedis()
  }
}

interface Watched {
  mostMb: number
  flatness: number
}

/** Memory of a worker that has work: messages come due all the time, and the provider knows none of them. */
export async function watchWorker(
  { services, counts }: Bench,
  installation: Installation,
  outstanding: number,
): Promise<Watched> {
  const sandbox = await openSandbox()
  const share = Math.min(1, (counts.watchWorkerS * counts.watchedMessagesPerS) / outstanding)
  await makeDue(installation, { share, withinS: counts.watchWorkerS })
  const worker = await startService('worker', { services, installation, sandbox })
  const samples: number[] = []
  try {
    const endsAt = Date.now() + counts.watchWorkerS * 1000
    while (Date.now() < endsAt) {
      await delay(SAMPLE_EVERY_MS)
      samples.push(residentMegabytes(worker.pid) ?? Number.NaN)
    }
    if ((await sandbox.requests()) === 0) throw new Error('The worker that was watched has asked nothing.')
  } finally {
    await worker.stop()
    await sandbox.close()
    await makeNothingDue(installation)
  }
  return { mostMb: Math.max(...samples), flatness: flatnessOf(samples) }
}

/**
 * CPU time that api, worker, Postgres and Redis use while nothing is due, in percent of one core; of the two servers what
 * they use more than when nobody asks them anything.
 */
export async function idleCost(
  { services, counts }: Bench,
  installation: Installation,
): Promise<{ value: number; details: Record<string, number> }> {
  const servers = {
    postgresPercent: () => treeCpuSeconds(services.postgresPid ?? 0),
    redisPercent: () => cpuSeconds(services.redisPid),
  }
  await installation.sql.unsafe('CHECKPOINT')
  await delay(counts.restMs)
  const alone = await watchCpu(servers, counts.watchIdleS)
  const api = await startService('api', { services, installation, sandbox: NO_PROVIDER })
  const worker = await startService('worker', { services, installation, sandbox: NO_PROVIDER })
  try {
    await delay(counts.idleRestMs)
    const ours = { apiPercent: () => cpuSeconds(api.pid), workerPercent: () => cpuSeconds(worker.pid) }
    const used = await watchCpu({ ...ours, ...servers }, counts.watchIdleS)
    const details = Object.fromEntries(
      Object.entries(used).map(([part, percent]) => [part, Math.max(0, percent - (alone[part] ?? 0))]),
    )
    return { value: Object.values(details).reduce((sum, value) => sum + value, 0), details }
  } finally {
    await Promise.all([api.stop(), worker.stop()])
  }
}

/** CPU time of each part over so many seconds, in percent of one core. */
async function watchCpu(
  parts: Record<string, () => number | undefined>,
  seconds: number,
): Promise<Record<string, number>> {
  const read = () => Object.entries(parts).map(([part, use]) => [part, use() ?? Number.NaN] as const)
  const before = new Map(read())
  const begun = performance.now()
  await delay(seconds * 1000)
  const took = (performance.now() - begun) / 1000
  return Object.fromEntries(read().map(([part, use]) => [part, (100 * (use - (before.get(part) ?? 0))) / took]))
}

/**
 * Growth: the measures again and again while the table of outstanding messages fills up, as a table and as a plot. A
 * figure that does not depend on the number of outstanding messages is a level line.
 */
import type { Bench, Row } from './bench.ts'
import { fillOutstanding, type Installation, openInstallation, startService } from './installation.ts'
import { timeOfClaims } from './measures/dispatch.ts'
import { idleCost, postgresBytesPerMessage, restingRedisBytes, watchWorker } from './measures/outstanding.ts'
import { settleIn } from './measures/settle.ts'
import { rateOfHttp, rateOfLibrary } from './measures/track.ts'
import { receiveIn } from './measures/webhooks.ts'
import { drawPanels } from './svg.ts'
import { figure, formatTable } from './table.ts'

export interface Level {
  outstanding: number
  rows: Row[]
}

const NO_PROVIDER = { url: 'http://127.0.0.1:9/api', apiKey: 'none' }
/** A level takes part of what the measure takes on its own, so that all of them end within ten minutes. */
const SHARE_OF_COUNTS = 4

export async function measureGrowth(bench: Bench): Promise<Level[]> {
  const installation = await openInstallation(bench.services)
  try {
    const emptyRedis = await restingRedisBytes(bench, installation)
    const levels: Level[] = []
    for (const outstanding of bench.counts.growth) {
      bench.say(`growth: ${outstanding.toLocaleString('en-US')} outstanding`)
      await fillOutstanding(installation, outstanding)
      levels.push({ outstanding, rows: await measureLevel(bench, installation, outstanding, emptyRedis) })
    }
    return levels
  } finally {
    await installation.close()
  }
}

async function measureLevel(
  bench: Bench,
  installation: Installation,
  outstanding: number,
  emptyRedis: number,
): Promise<Row[]> {
  const part = (count: number) => Math.ceil(count / SHARE_OF_COUNTS)
  const { counts } = bench
  // The level before has left jobs there: they are done, and kept for people who look.
  await bench.services.clearRedis()
  const postgresBytes = await postgresBytesPerMessage(installation)
  const redisBytes = (await restingRedisBytes(bench, installation)) - emptyRedis
  const idle = await idleCost(
    { ...bench, counts: { ...counts, watchIdleS: part(counts.watchIdleS), idleRestMs: part(counts.idleRestMs) } },
    installation,
  )
  const claimMs = await timeOfClaims(installation, outstanding, part(counts.claims))
  const watched = await watchWorker(
    { ...bench, counts: { ...counts, watchWorkerS: part(counts.watchWorkerS / 2) } },
    installation,
    outstanding,
  )
  const library = await rateOfLibrary(installation, part(counts.trackMessages)).finally(() =>
    forgetOthers(installation),
  )
  const api = await startService('api', { services: bench.services, installation, sandbox: NO_PROVIDER })
  const http = await rateOfHttp(api.url, part(counts.trackMessages)).finally(api.stop)
  await forgetOthers(installation)
  const settled = await settleIn(bench, installation, part(counts.settle))
  await forgetOthers(installation)
  const received = await receiveIn(bench, installation, part(counts.webhooks))
  await forgetOthers(installation)
  if (settled.wrong + received.wrong > 0) throw new Error("Some rows disagree with the sandbox's truth.")
  return [
    { measure: 'track, library', value: library, unit: 'messages/s' },
    { measure: 'track, HTTP', value: http, unit: 'messages/s' },
    { measure: 'settle by polling', value: settled.perSecond, unit: 'messages/s' },
    { measure: 'webhooks', value: received.perSecond, unit: 'requests/s' },
    { measure: 'webhooks, p99', value: received.p99Ms, unit: 'ms' },
    { measure: 'claim 100', value: claimMs, unit: 'ms' },
    { measure: 'worker memory', value: watched.mostMb, unit: 'MB' },
    { measure: 'Postgres', value: postgresBytes, unit: 'B/message' },
    { measure: 'Redis', value: redisBytes / 1000, unit: 'kB in all' },
    { measure: 'idle', value: idle.value, unit: '% of a core' },
  ]
}

/** Takes away what a measure has added, so that the next one finds the filled rows alone. */
async function forgetOthers({ sql }: Installation): Promise<void> {
  await sql`DELETE FROM lastword.messages WHERE message_id NOT LIKE '60_________'`
  await sql.unsafe('TRUNCATE lastword.changes, lastword.status_reports')
  await sql.unsafe('VACUUM ANALYZE lastword.messages')
}

export function printGrowth(levels: readonly Level[]): string {
  const head = ['measure', ...levels.map(({ outstanding }) => outstanding.toLocaleString('en-US'))]
  const lines = (levels[0]?.rows ?? []).map(({ measure }, index) => [
    measure,
    ...levels.map(({ rows }) => figure(rows[index]?.value ?? Number.NaN, rows[index]?.unit ?? '')),
  ])
  return formatTable([head, ...lines])
}

export function drawGrowth(levels: readonly Level[], machine: string): string {
  const panels = (levels[0]?.rows ?? []).map(({ measure, unit }, index) => ({
    title: measure,
    unit,
    points: levels.map(({ outstanding, rows }) => ({ x: outstanding, y: rows[index]?.value ?? 0 })),
  }))
  return drawPanels({ title: 'Figures by number of outstanding messages', note: machine, panels })
}

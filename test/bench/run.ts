/**
 * The bench: measures Lastword and what people would otherwise build, one after the other on the same machine in the
 * same run, and prints the ratios.
 *
 *   npm run bench                                  all figures, about sixteen minutes on two cores
 *   npm run bench -- --quick                       everything once with small numbers, for CI
 *   npm run bench -- --only settle,webhooks        some of the measures
 *   npm run bench -- --only steady --minutes 120   whether anything grows under a steady load
 *   npm run bench -- --growth --svg growth.svg     the figures at 10 thousand to 5 million outstanding messages
 *   npm run bench -- --explain                     the plans of the hot statements
 *
 * DATABASE_URL and REDIS_URL name services to use instead of an embedded Postgres and a Redis from the PATH. Ends with 1
 * when a settled row disagrees with the sandbox's truth; missed goals are printed, and fail nothing.
 */
import { writeFile } from 'node:fs/promises'
import { parseArgs } from 'node:util'
import { type Bench, FULL, type Measure, QUICK, type Row } from './bench.ts'
import { explainStatements } from './explain.ts'
import { drawGrowth, measureGrowth, printGrowth } from './growth.ts'
import { openInstallation } from './installation.ts'
import { measureDeciding } from './measures/decide.ts'
import { measureDispatch } from './measures/dispatch.ts'
import { measureLists } from './measures/lists.ts'
import { measureNeighbours } from './measures/neighbours.ts'
import { measureOutstanding } from './measures/outstanding.ts'
import { measureOverload } from './measures/overload.ts'
import { measureRequests } from './measures/requests.ts'
import { measureRetention } from './measures/retention.ts'
import { measureSettling } from './measures/settle.ts'
import { measureSteadyLoad } from './measures/steady.ts'
import { measureTracking } from './measures/track.ts'
import { measureTwoWorkers } from './measures/two-workers.ts'
import { measureWebhooks } from './measures/webhooks.ts'
import { stopAll } from './processes.ts'
import { openServices, type Releasers } from './services.ts'
import { describeMachine, describeVersions, printReport } from './table.ts'

const measures: Readonly<Record<string, Measure>> = {
  track: measureTracking,
  settle: measureSettling,
  webhooks: measureWebhooks,
  requests: measureRequests,
  workers: measureTwoWorkers,
  neighbours: measureNeighbours,
  decide: measureDeciding,
  outstanding: measureManyOutstanding,
  lists: measureLists,
  retention: measureRetention,
  overload: measureOverload,
  steady: measureSteadyLoad,
}

/** It lasts for hours, unless it is quick. */
const ONLY_WHEN_NAMED = ['steady']

const { values: options } = parseArgs({
  options: {
    quick: { type: 'boolean', default: false },
    only: { type: 'string' },
    minutes: { type: 'string' },
    outstanding: { type: 'string' },
    growth: { type: 'boolean', default: false },
    svg: { type: 'string' },
    json: { type: 'string' },
    explain: { type: 'boolean', default: false },
  },
})

const releasers: Releasers = []
const release = async () => {
  await stopAll()
  for (let last = releasers.pop(); last; last = releasers.pop()) await last().catch(() => {})
}
for (const signal of ['SIGINT', 'SIGTERM'] as const) {
  process.once(signal, () => void release().finally(() => process.exit(1)))
}

try {
  const begun = performance.now()
  const services = await openServices(process.env, releasers)
  const bench: Bench = { services, counts: readCounts(), say }
  if (options.explain) console.log(await explainStatements(bench))
  else if (options.growth) await runGrowth(bench)
  else {
    const rows: Row[] = []
    for (const name of options.only?.split(',') ?? usualNames()) {
      say(name)
      const measure = measures[name]
      if (!measure) throw new Error(`--only: found "${name}", expected some of ${Object.keys(measures).join(', ')}.`)
      rows.push(...(await measure(bench)))
    }
    const seconds = (performance.now() - begun) / 1000
    const versions = describeVersions(services)
    const report = { machine: describeMachine(), versions, counts: bench.counts, seconds, rows }
    console.log(printReport(report))
    if (options.json) await writeFile(options.json, `${JSON.stringify(report, null, 2)}\n`)
    if (rows.some(({ unit, value }) => unit === 'rows' && value > 0)) process.exitCode = 1
  }
} finally {
  await release()
}

function usualNames(): string[] {
  return Object.keys(measures).filter((name) => options.quick || !ONLY_WHEN_NAMED.includes(name))
}

function readCounts(): Bench['counts'] {
  const { quick, outstanding, minutes } = options
  return {
    ...(quick ? QUICK : FULL),
    ...(outstanding === undefined ? {} : { outstanding: Number(outstanding) }),
    ...(minutes === undefined ? {} : { steadyS: Number(minutes) * 60 }),
  }
}

function say(text: string): void {
  console.error(`${(performance.now() / 1000).toFixed(1).padStart(6)} s  ${text}`)
}

/** The measures that need a full table share it. */
async function measureManyOutstanding(bench: Bench): Promise<Row[]> {
  const installation = await openInstallation(bench.services)
  try {
    const outstanding = await measureOutstanding(bench, installation)
    say('dispatch')
    return [...(await measureDispatch(bench, installation)), ...outstanding]
  } finally {
    await installation.close()
  }
}

async function runGrowth(bench: Bench): Promise<void> {
  const levels = await measureGrowth(bench)
  const machine = describeMachine()
  console.log(printGrowth(levels))
  if (options.json) {
    const report = { machine, versions: describeVersions(bench.services), counts: bench.counts, levels }
    await writeFile(options.json, `${JSON.stringify(report, null, 2)}\n`)
  }
  if (options.svg) await writeFile(options.svg, drawGrowth(levels, `${machine.processor}, ${machine.cores} cores`))
}

/**
 * The fuzz as a command: an embedded Postgres, the API beside it, and a summary.
 *
 *   npm run fuzz                              200,000 requests from a new seed
 *   npm run fuzz -- --seed 7 --count 5000     the first 5,000 of a seed
 *   npm run fuzz -- --seed 7 --count 500000 --first 500000     the second half of a million
 *   npm run fuzz -- --seed 7 --only 4711      one request, printed whole
 *
 * DATABASE_URL names an empty database to use instead. Ends with 1 when there is a fault.
 */
import { chmod, mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { parseArgs } from 'node:util'
import postgres from 'postgres'
import { openEmbedded } from '../../src/db/embedded.ts'
import { startApiProcess } from './api-process.ts'
import { FUZZ_ACCOUNTS, fuzz } from './fuzz.ts'
import { hasGrown, printFaults, printRequest, printSummary } from './print.ts'

const { values: options } = parseArgs({
  options: {
    seed: { type: 'string', default: String(Math.floor(Math.random() * 1e9)) },
    count: { type: 'string', default: '200000' },
    first: { type: 'string', default: '0' },
    only: { type: 'string' },
  },
})
for (const [name, text] of Object.entries(options)) {
  if (!/^\d{1,9}$/.test(text))
    throw new Error(`--${name}: found "${text}", expected a whole number below 1,000,000,000.`)
}
const seed = Number(options.seed)
const count = options.only === undefined ? Number(options.count) : 1
const first = Number(options.only ?? options.first)

const folder = await mkdtemp(join(tmpdir(), 'lastword-fuzz-'))
await chmod(folder, 0o711)
const releasers: (() => Promise<unknown>)[] = [() => rm(folder, { recursive: true, force: true })]
try {
  console.log(`seed ${seed}, ${count} requests`)
  const databaseUrl = process.env.DATABASE_URL ?? (await openDatabase())
  const sql = postgres(databaseUrl, { max: 1, onnotice: () => {} })
  releasers.push(() => sql.end())
  const api = await startApiProcess(databaseUrl, FUZZ_ACCOUNTS)
  releasers.push(api.close)
  if (options.only !== undefined) console.log(printRequest(seed, first))
  const summary = await fuzz({ api, sql, seed, count, first, say: (text) => console.error(text) })
  console.log(printFaults(summary))
  if (api.errors().length > 0) console.log(`The log's errors:\n${api.errors().join('\n')}`)
  console.log(printSummary(summary))
  if (summary.faults.length > 0 || hasGrown(summary)) process.exitCode = 1
} finally {
  for (let last = releasers.pop(); last; last = releasers.pop()) await last()
}

async function openDatabase(): Promise<string> {
  const { url, close } = await openEmbedded(folder)
  releasers.push(close)
  return url
}

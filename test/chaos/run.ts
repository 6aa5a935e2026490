/**
 * The chaos as a command: faults strike a whole installation while messages are sent, and a ledger compares what became of
 * them with the provider's truth.
 *
 *   npm run chaos                                                 4,000 messages, 40 faults, on each backend: 15 minutes
 *   npm run chaos -- --seed 7 --backend redis                     the plan of a seed again
 *   npm run chaos -- --messages 1000000 --faults 300              the long form: hours
 *   npm run chaos -- --messages 1000000 --faults 300 --rate 155 --callbacks cm --backend redis
 *       in two hours on two cores: changes of one of the two accounts are told by callback
 *   npm run chaos -- --messages 1000000 --faults 300 --rate 130 --callbacks cm --queue cm --backend postgres
 *       where queues are slower: changes of one account go to the app's queue, too
 *   npm run chaos -- --other-cli /path/of/another/dist/cli.js     another version takes part in deploys
 *   npm run chaos -- --faults 0 --from-cli /path/of/an/older/dist/cli.js    an upgrade while messages are sent
 *
 * Ends with 1 when there is a finding; the logs of all processes are kept then. As root, disks are filled, too.
 */
import { execFile } from 'node:child_process'
import { chmod, mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { parseArgs, promisify } from 'node:util'
import { succeeds } from '../support/programs.ts'
import { runChaos } from './conductor.ts'
import { type Backend, kindsFor, makePlan } from './plan.ts'
import { printFindings, printSummary } from './print.ts'
import { findDiskTrouble } from './servers.ts'

const { values: options } = parseArgs({
  options: {
    seed: { type: 'string' },
    messages: { type: 'string', default: '4000' },
    faults: { type: 'string', default: '40' },
    rate: { type: 'string', default: '150' },
    callbacks: { type: 'string', default: 'seven,cm' },
    queue: { type: 'string', default: 'seven,cm' },
    backend: { type: 'string', default: 'both' },
    'other-cli': { type: 'string' },
    'from-cli': { type: 'string' },
  },
})
const seed = read('seed', options.seed ?? String(Math.floor(Math.random() * 2 ** 31)))
const messages = read('messages', options.messages)
const faults = read('faults', options.faults)
/** How many are sent a second, at most; two cores settle so many while they are struck. */
const rate = read('rate', options.rate)
const backends: Backend[] = options.backend === 'both' ? ['redis', 'postgres'] : [readBackend(options.backend)]
/** The accounts whose changes are told in each way; a callback or a job for each change is much of the work. */
const tells = { callback: readAccounts('callbacks', options.callbacks), queue: readAccounts('queue', options.queue) }

/** Each fault has so long, on the whole. */
const FAULT_EVERY_MS = 6_000
/** Longer than faults, and a slow machine, keep a provider from being asked. */
const WINDOW_MS = 300_000
/** A minute of the providers takes a second, and so does the first pause before a receipt that was not taken comes again. */
const TIME_SCALE = 60
const NEVER_SHARE = 0.03
const DISK_BYTES = 2 ** 32
const DISK_BYTES_A_MESSAGE = 8_000

const folder = await mkdtemp(join(tmpdir(), 'lastword-chaos-'))
await chmod(folder, 0o711)
const commit = await promisify(execFile)('git', ['rev-parse', '--short', 'HEAD']).then(
  ({ stdout }) => stdout.trim(),
  () => 'unknown',
)
const diskTrouble = await findDiskTrouble(folder)
const has = { server: true, disk: diskTrouble === undefined, clock: await succeeds('faketime', ['--version']) }
if (diskTrouble) console.log(`no disk is filled: none can be mounted here (${diskTrouble})`)
if (!has.clock) console.log('no clock is turned: faketime is not installed')
console.log(`seed ${seed}, commit ${commit}, ${messages} messages, ${faults} faults; logs in ${folder}`)

let close = async () => {}
for (const signal of ['SIGINT', 'SIGTERM'] as const) {
  process.once(signal, () => void close().finally(() => process.exit(1)))
}
const begun = performance.now()
const say = (text: string) => console.error(`${((performance.now() - begun) / 1000).toFixed(1).padStart(7)} s  ${text}`)
for (const backend of backends) {
  const spanMs = Math.max(faults * FAULT_EVERY_MS, (messages / rate) * 1000)
  const plan = makePlan(seed, { faults, kinds: kindsFor(backend, has), spanMs })
  const summary = await runChaos({
    backend,
    seed,
    folder: join(folder, backend),
    plan,
    messages,
    sendForMs: spanMs,
    windowMs: WINDOW_MS,
    neverShare: NEVER_SHARE,
    timeScale: TIME_SCALE,
    tells,
    diskBytes: has.disk ? DISK_BYTES + messages * DISK_BYTES_A_MESSAGE : undefined,
    otherCli: options['other-cli'],
    firstCli: options['from-cli'],
    say,
    onOpened: (end) => {
      close = end
    },
  })
  console.log(printSummary(summary))
  if (summary.findings.length === 0) continue
  process.exitCode = 1
  console.log(`${printFindings(summary)}\nseed ${seed}, commit ${commit}; the logs are in ${join(folder, backend)}`)
}
if (!process.exitCode) await rm(folder, { recursive: true, force: true })

function read(name: string, text: string): number {
  const number = Number(text)
  if (Number.isSafeInteger(number) && number >= 0) return number
  throw new Error(`--${name}: expected a whole number, found "${text}".`)
}

function readAccounts(name: string, text: string): string[] {
  const accounts = text.split(',').filter((account) => account !== '')
  const unknown = accounts.find((account) => !['seven', 'cm'].includes(account))
  if (unknown === undefined) return accounts
  throw new Error(`--${name}: expected some of seven,cm, found "${unknown}".`)
}

function readBackend(text: string): Backend {
  if (text === 'redis' || text === 'postgres') return text
  throw new Error(`--backend: expected redis, postgres or both, found "${text}".`)
}

#!/usr/bin/env node
/**
 * The command line. Errors for the operator are one sentence; exit codes: 0 done, 1 failed, 2 wrong configuration or
 * usage, 3 no such message or account, 4 outstanding (`status`), 5 due, but nobody is asked (`poll`).
 *
 * A command loads what it runs when it runs: a worker has no use for the server, and who asks for one status none for either.
 */
import { Command, InvalidArgumentError } from 'commander'
import { addClientCommands } from './cli/client-commands.ts'
import { tellFailure } from './cli/failure.ts'
import type { HooksFlags } from './cli/hooks.ts'
import type { SandboxFlags } from './cli/sandbox.ts'
import type { SimulateFlags } from './cli/simulate.ts'
import { readConfig, readHealthUrls } from './config.ts'
import type { Parts, Runtime } from './runtime.ts'
import { readVersion } from './version.ts'

/** A stop that takes longer than this is cut short. */
const STOP_WITHIN_MS = 14_000
/** A start that is stopped leaves what it has begun, for this long at most. */
const LEAVE_WITHIN_MS = 5_000

const program = new Command('lastword')
  .description('Finds the final delivery status of every SMS you send, by webhook and by batched polling.')
  .showHelpAfterError()
  .exitOverride()

program
  .command('start')
  .description('run everything in one process: the API, the webhooks and the worker')
  .action(() => run({ api: true, workers: true }))

program
  .command('api')
  .description('run the API, the webhooks and Bull Board')
  .action(() => run({ api: true, workers: false }))

program
  .command('worker')
  .description('run a worker; run as many as you like')
  .action(() => run({ api: false, workers: true }))

program
  .command('migrate')
  .description('bring the database to the shape this version needs, then exit')
  .action(async () => {
    const config = readConfig()
    const { migrate } = await import('./runtime.ts')
    await migrate(config)
    console.log('The database is up to date.')
  })

program
  .command('health')
  .description('exit with 0 when the process of this configuration is ready, for containers')
  .action(async () => {
    const { checkHealth } = await import('./cli/health.ts')
    if (!(await checkHealth(readHealthUrls(), console.log))) process.exitCode = 1
  })

program
  .command('hooks')
  .description("list, create, check and end an account's webhook subscriptions at its provider")
  .requiredOption('--account <name>', 'which account')
  .option('--create', 'subscribe PUBLIC_URL/webhooks/ACCOUNT to delivery receipts, unless it is already', false)
  .option('--check', 'exit with 1 unless that URL is subscribed and enabled', false)
  .option('--delete', 'end the subscriptions of that URL', false)
  .option('--json', 'print JSON', false)
  .action(async (flags: HooksFlags) => {
    const { runHooks } = await import('./cli/hooks.ts')
    if (!(await runHooks(readConfig(), flags, console.log))) process.exitCode = 1
  })

program
  .command('sandbox')
  .description('run a simulated provider with a seeded truth, for trying things out')
  .option('--port <port>', 'where it listens on 127.0.0.1', portNumber, 3100)
  .option('--seed <number>', 'what histories and faults are drawn from', wholeNumber, 1)
  .option('--time-scale <factor>', 'by how much the delivery-time law is faster than life', positiveNumber, 1)
  .option('--webhook-url <url>', 'where delivery receipts go')
  .option('--knobs <json>', 'further knobs, as PUT /sandbox/knobs takes them', '{}')
  .action(async (flags: SandboxFlags) => {
    const { runSandbox } = await import('./cli/sandbox.ts')
    await runSandbox(flags, stopSignal())
  })

program
  .command('simulate')
  .description('compare ways of asking on a virtual clock: requests a message, and how late statuses are known')
  .option('--svg <file>', 'draw a chart, too')
  .option('--json', 'print JSON', false)
  .option('--scale <factor>', 'simulate so much less time; below 1 the figures say little', positiveNumber, 1)
  .action(async (flags: SimulateFlags) => {
    const { runSimulation } = await import('./cli/simulate.ts')
    if (!(await runSimulation(flags))) process.exitCode = 1
  })

program
  .command('demo')
  .description('send a few hundred messages through the sandbox and watch them settle')
  .option('--stay', 'keep it running afterwards, to look around', false)
  .action(async ({ stay }: { stay: boolean }) => {
    const { runDemo } = await import('./cli/demo.ts')
    if (!(await runDemo({ stay, stopped: stopSignal() }))) process.exitCode = 1
  })

addClientCommands(program, stopSignal)
for (const command of [program, ...program.commands]) command.version(readVersion())

function wholeNumber(text: string): number {
  if (!/^\d+$/.test(text)) throw new InvalidArgumentError('Expected a whole number.')
  return Number(text)
}

function portNumber(text: string): number {
  const port = wholeNumber(text)
  if (port > 65_535) throw new InvalidArgumentError('Expected a port, from 0 to 65535.')
  return port
}

function positiveNumber(text: string): number {
  const number = Number(text)
  if (!(number > 0 && Number.isFinite(number))) throw new InvalidArgumentError('Expected a number above 0.')
  return number
}

/** Resolves with the first signal that asks the process to end. */
function stopSignal(): Promise<string> {
  return new Promise((resolve) => {
    for (const signal of ['SIGTERM', 'SIGINT'] as const) process.once(signal, () => resolve(signal))
  })
}

/** Runs until SIGTERM or SIGINT, then stops in order. */
async function run(parts: Parts): Promise<void> {
  const config = readConfig()
  const stopped = stopSignal()
  const { start } = await import('./runtime.ts')
  const ending = new AbortController()
  void stopped.then((signal) => ending.abort(signal))
  const starting = start(config, parts, ending.signal)
  const started = await Promise.race([starting, stopped])
  if (typeof started === 'string') return stopBeforeReady(starting)
  const { log, url, close } = started
  log.info({ url, ...parts }, url ? `listening on ${url}, Bull Board at ${url}/queues` : 'working')
  log.info(`${await stopped}: stopping`)
  setTimeout(() => {
    log.error('the stop took too long and is cut short')
    process.exit(1)
  }, STOP_WITHIN_MS).unref()
  await close()
  log.info('stopped')
  // A connection to a server that says nothing may live on for a while.
  process.exit()
}

/** Ends a start, with a moment to leave in order all that it has begun. */
async function stopBeforeReady(starting: Promise<Runtime>): Promise<never> {
  const left = starting.then(({ close }) => close()).catch(() => {})
  await Promise.race([left, new Promise((resolve) => setTimeout(resolve, LEAVE_WITHIN_MS))])
  console.error('lastword: stopped before it was ready.')
  process.exit()
}

// A reader of only the first lines (`| head`) has what they want.
process.stdout.on('error', (error: NodeJS.ErrnoException) => {
  if (error.code !== 'EPIPE') throw error
  process.exit()
})

try {
  await program.parseAsync()
} catch (error) {
  process.exitCode = tellFailure(error)
}

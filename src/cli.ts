#!/usr/bin/env node
/** The command line. Errors for the operator are one sentence; exit codes: 0 done, 1 failed, 2 wrong configuration or usage. */
import { Command } from 'commander'
import { readConfig } from './config.ts'
import { LastwordError } from './core/errors.ts'
import { migrate, type Parts, start } from './runtime.ts'

/** A stop that takes longer than this is cut short. */
const STOP_WITHIN_MS = 14_000

const program = new Command('lastword')
  .description('Finds the final delivery status of every SMS you send, by webhook and by batched polling.')
  .showHelpAfterError()

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
    await migrate(readConfig())
    console.log('The database is up to date.')
  })

/** Runs until SIGTERM or SIGINT, then stops in order. */
async function run(parts: Parts): Promise<void> {
  const stopped = new Promise<string>((resolve) => {
    for (const signal of ['SIGTERM', 'SIGINT'] as const) process.once(signal, () => resolve(signal))
  })
  const { log, url, close } = await start(readConfig(), parts)
  log.info({ url, ...parts }, url ? `listening on ${url}, Bull Board at ${url}/queues` : 'working')
  log.info(`${await stopped}: stopping`)
  setTimeout(() => {
    log.error('the stop took too long and is cut short')
    process.exit(1)
  }, STOP_WITHIN_MS).unref()
  await close()
  log.info('stopped')
}

try {
  await program.parseAsync()
} catch (error) {
  if (!(error instanceof LastwordError)) throw error
  console.error(`lastword: ${error.message}`)
  process.exitCode = error.code === 'CONFIG_INVALID' ? 2 : 1
}

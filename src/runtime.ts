/**
 * The composition root: configuration in, started parts out. Parts start in order and stop in reverse; a start that
 * fails half-way stops what it had started.
 */

import { createHash } from 'node:crypto'
import { hostname } from 'node:os'
import type { FastifyInstance } from 'fastify'
import { openClock } from './clock.ts'
import type { Config } from './config.ts'
import { errorCodeOf } from './core/error-code.ts'
import { LastwordError } from './core/errors.ts'
import { recordAccounts } from './db/accounts.ts'
import { openChangeListener } from './db/change-listener.ts'
import { codeOf, isDatabaseUnavailable } from './db/client.ts'
import { findServer, INSUFFICIENT_PRIVILEGE, openDatabase, unavailable } from './db/connection.ts'
import { openEmbedded } from './db/embedded.ts'
import { findInstallation } from './db/installation.ts'
import { migrateDatabase } from './db/migrate.ts'
import { orAborted } from './deadline.ts'
import { openAlertWatch } from './jobs/alerts/watch.ts'
import { openQueueBackend } from './jobs/backend.ts'
import { addReaders } from './jobs/feeder.ts'
import type { QueueBackend } from './jobs/queue-backend.ts'
import { openQueues } from './jobs/queues.ts'
import { watchQueues } from './jobs/watch-queues.ts'
import { countWorkers, openWorkers } from './jobs/workers.ts'
import { openLearner } from './learner.ts'
import { createLog, type Log } from './log.ts'
import { createMetrics } from './metrics.ts'
import type { Account } from './providers/account.ts'
import { secretFieldNames } from './providers/registry.ts'
import { keepTrying } from './starting.ts'
import { NO_TRACING } from './tracing.ts'
import { recordOf } from './tracking.ts'
import { readPostgresUrl } from './urls/postgres.ts'

export interface Parts {
  api: boolean
  workers: boolean
}

export interface Runtime {
  /** Where the API listens; undefined without it. */
  url: string | undefined
  log: Log
  close(): Promise<void>
}

/**
 * Starts the parts asked for, waiting for servers that do not answer yet. Throws CONFIG_INVALID, UNAVAILABLE or UNUSABLE
 * with a sentence for the operator, or the reason of `stopped`.
 */
export async function start(
  config: Config,
  parts: Parts,
  stopped: AbortSignal = new AbortController().signal,
): Promise<Runtime> {
  const log = createLog({ level: config.logLevel, secretFields: secretFieldNames() })
  const opened: Opened = { servers: [], between: [], running: [] }
  const close = () => closeAll(opened)
  try {
    const { id, db, database, learner, clock, accounts, known, queueLocation } = await openStore(
      config,
      parts,
      opened,
      log,
      stopped,
    )
    const workers = parts.workers ? countWorkers(accounts) : 0
    const { url, variable } = queueLocation
    const patience = { withinMs: config.startWithinMs, log, stopped }
    const backend = await keepTrying(
      () => openQueueBackend({ url, variable, log, workers, prefix: config.queuePrefix }),
      noAnswer(variable),
      patience,
    )
    opened.between.push(() => backend.close())
    const mark = () => markQueues(id, backend, config, variable)
    await keepTrying(mark, noAnswer(variable), patience)
    const watch = watchQueues(backend, mark, log)
    opened.between.push(() => watch.close())
    const queues = openQueues(backend, [...accounts.values()], known)
    const names = queues.all.map(({ name }) => name)
    await keepTrying(() => backend.prepare(names), noAnswer(variable), patience)
    const metrics = createMetrics({ ofProcess: parts.api || config.metricsPort !== undefined })
    const listener = await openChangeListener(database)
    opened.between.push(() => listener.close())
    const dataDir = config.databaseUrl === undefined ? config.dataDir : undefined
    if (parts.api || parts.workers) {
      const { alertReceiver: receiver, proxy } = config
      const own = { metrics, queueTrouble: watch.trouble, aheadMs: clock.aheadMs, dataDir, host: hostname() }
      const alerts = openAlertWatch({
        ...own,
        db,
        accounts,
        learner,
        queues,
        backend,
        installation: id,
        receiver,
        proxy,
        log,
      })
      opened.running.push(() => alerts.close())
    }
    const watched = {
      takesWrites: database.takesWrites,
      checkQueues: backend.check,
      aheadMs: clock.aheadMs,
      pools: { database: database.poolUse, queue: backend.poolUse },
      memory: backend.memory,
      dataDir,
    }
    const shared = { db, queues, accounts, learner, log, metrics }

    const tracing = config.tracing ? (await import('./opentelemetry.ts')).createTracing(db, log) : NO_TRACING
    opened.between.push(() => tracing.close())
    if (parts.workers) {
      const workers = await openWorkers({
        ...shared,
        tracing,
        backend,
        installation: id,
        listener,
        leaseMs: config.leaseMs,
        changesForMs: config.changesRetentionMs,
        messagesForMs: config.messagesRetentionMs,
        callbackAllowPrivate: config.callbackAllowPrivate,
        proxy: config.proxy,
      })
      opened.running.push(() => workers.close())
    }
    const { keys, host, port, publicUrl, trustedProxies, metricsPort } = config
    if (!parts.api) {
      if (metricsPort === undefined) return { url: undefined, log, close }
      const { openWatch } = await import('./http/watch.ts')
      const watch = await openWatch({ ...shared, ...watched, keys, host, port: metricsPort }).catch(
        (error: unknown) => {
          throw cannotListen(host, metricsPort, error, 'METRICS_PORT')
        },
      )
      opened.running.push(() => watch.close())
      log.info({ url: watch.url }, `metrics at ${watch.url}/metrics`)
      return { url: undefined, log, close }
    }
    const { createServer } = await import('./http/server.ts')
    const { nextChange } = listener
    const own = { tracing, nextChange, keys, host, publicUrl, trustedProxies }
    const server = await createServer({ ...shared, ...watched, ...own })
    // Readers that wait for changes are answered first.
    opened.running.push(async () => {
      await listener.close()
      await closeServer(server)
    })
    return { url: await listen(server, host, port), log, close }
  } catch (error) {
    await close()
    throw error
  }
}

const DATABASE_ENDS_WITHIN_S = 2

/** How to close what was opened so far. */
interface Opened {
  /** One after the other, the latest first, at the very end. */
  servers: (() => unknown)[]
  /** Together, once nothing runs any more: a server that says nothing holds up each of them for a while. */
  between: (() => unknown)[]
  /** Together and first: while the API answers what it has in hand, the workers must take nothing new. */
  running: (() => unknown)[]
}

async function closeAll({ servers, between, running }: Opened): Promise<void> {
  for (const group of [running, between]) await Promise.all(group.splice(0).map((close) => close()))
  for (let close = servers.pop(); close; close = servers.pop()) await close()
}

/** Opens the database and brings it to the shape that this version needs, and what is read from it. */
async function openStore(config: Config, parts: Parts, opened: Opened, log: Log, stopped: AbortSignal) {
  const { databaseUrl, databaseDirectUrl, queueUrl } = config
  const url = databaseUrl ?? (await openOwnDatabase(config.dataDir, opened))
  const variable = 'DATABASE_URL'
  const direct = databaseDirectUrl ?? url
  const directVariable = databaseDirectUrl === undefined ? variable : 'DATABASE_DIRECT_URL'
  for (const warning of readPostgresUrl(variable, url).warnings) log.warn(warning)
  const patience = { withinMs: config.startWithinMs, log, stopped }
  const tryDatabase = <T>(run: () => Promise<T>) =>
    keepTrying(() => run().catch((error) => Promise.reject(explain(error))), noAnswer(variable), patience)
  const explain = (error: unknown) =>
    isDatabaseUnavailable(error) || codeOf(error) === INSUFFICIENT_PRIVILEGE
      ? unavailable(variable, readPostgresUrl(variable, url), error)
      : error

  const database = await tryDatabase(() => openDatabase(url, { directUrl: databaseDirectUrl }))
  opened.servers.push(() => database.close(DATABASE_ENDS_WITHIN_S))
  const { db } = database
  if (!database.listens)
    log.info(
      'DATABASE_URL leads to a pooler: changes are looked for every second; DATABASE_DIRECT_URL past it would have them told at once',
    )
  await tryDatabase(() => findServer(readPostgresUrl(directVariable, direct), directVariable))
  // A migration may take long, and is ended by a stop only.
  const migrating = migrateDatabase(direct, directVariable).catch((error) => Promise.reject(explain(error)))
  await orAborted(migrating, stopped)
  const accounts = new Map<string, Account>(config.accounts.map((account) => [account.name, account]))
  const { id } = await tryDatabase(() => findInstallation(db))
  const clock = await tryDatabase(() => openClock({ db, log, isWorker: parts.workers }))
  opened.between.push(() => clock.close())
  const learner = await tryDatabase(() => openLearner({ db, accounts, log, now: clock.now }))
  opened.between.push(() => learner.close())
  const records = config.accounts.map((account) => ({ ...recordOf(account, learner), credentials: digestOf(account) }))
  const known = await tryDatabase(() => recordAccounts(db, records))
  await tryDatabase(() => addReaders(db, accounts))
  const queueLocation =
    queueUrl === undefined ? { url: direct, variable: directVariable } : { url: queueUrl, variable: 'QUEUE_URL' }
  return { id, db, database, learner, clock, accounts, known, queueLocation }
}

function noAnswer(variable: string): LastwordError {
  return new LastwordError('UNAVAILABLE', `${variable}: there is no answer; start the server, or correct ${variable}.`)
}

/** Says whose the queues are. Throws CONFIG_INVALID when they are another installation's. */
async function markQueues(
  id: string,
  backend: QueueBackend,
  { queueUrl, queuePrefix }: Config,
  variable: string,
): Promise<void> {
  // Queues in the database of the installation are its own.
  if (queueUrl === undefined) return
  const owner = await backend.meet(id)
  if (owner === id) return
  const found = `the queues ${queueUrl.startsWith('redis') ? `with the prefix ${queuePrefix} ` : ''}belong to another installation (${owner}), with another database`
  const remedy = queueUrl.startsWith('redis')
    ? `set QUEUE_PREFIX to another one, like {lastword-b}; or, if that installation is no more, delete the key ${queuePrefix}:installation`
    : 'use a database of its own; or, if that installation is no more, delete from bullmq.lastword_installation'
  throw new LastwordError('CONFIG_INVALID', `${variable}: ${found}; ${remedy}.`)
}

async function listen(server: FastifyInstance, host: string, port: number): Promise<string> {
  return server.listen({ host, port }).catch((error: unknown) => {
    throw cannotListen(host, port, error)
  })
}

/** Says whether an account is asked with the credentials and at the address of before, without telling them. */
function digestOf(account: Account): string {
  const { polling, callback, changesQueue, webhookToken, signingKey, messageIds, ...asked } = account
  return createHash('sha256').update(JSON.stringify(asked)).digest('hex').slice(0, 32)
}

/** Longer than a webhook waits for its commit, and well within the time of a stop. */
const REQUESTS_END_WITHIN_MS = 5_000
const IDLE_CHECK_MS = 50

/** Closes the server when the requests in hand are answered: their clients would keep the connections for further ones. */
async function closeServer(server: FastifyInstance): Promise<void> {
  const idle = setInterval(() => server.server.closeIdleConnections(), IDLE_CHECK_MS)
  const tooLate = setTimeout(() => server.server.closeAllConnections(), REQUESTS_END_WITHIN_MS)
  try {
    await server.close()
  } finally {
    clearInterval(idle)
    clearTimeout(tooLate)
  }
}

/** UNAVAILABLE for an address that is taken, forbidden or not of this machine; any other error as it is. */
export function cannotListen(host: string, port: number, error: unknown, variable = 'PORT'): unknown {
  const code = errorCodeOf(error)
  if (code === 'EADDRINUSE') {
    return new LastwordError(
      'UNAVAILABLE',
      `${variable}: ${host}:${port} is taken by another process; set another ${variable}.`,
    )
  }
  if (code === 'EACCES' || code === 'EADDRNOTAVAIL' || code === 'ENOTFOUND') {
    return new LastwordError(
      'UNAVAILABLE',
      `HOST, ${variable}: cannot listen at ${host}:${port} (${code}); set others.`,
    )
  }
  return error
}

async function openOwnDatabase(dataDir: string, { servers }: Opened): Promise<string> {
  const embedded = await openEmbedded(dataDir)
  servers.push(() => embedded.close())
  return embedded.url
}

/** Applies the migrations of the database and of the queues, where these live in Postgres. */
export async function migrate(config: Config): Promise<void> {
  const runtime = await start({ ...config, logLevel: 'warn' }, { api: false, workers: false })
  await runtime.close()
}

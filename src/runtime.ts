/**
 * The composition root: configuration in, started parts out. Parts start in order and stop in reverse; a start that
 * fails half-way stops what it had started.
 */
import { createHash } from 'node:crypto'
import type { FastifyInstance } from 'fastify'
import type { Config } from './config.ts'
import { LastwordError } from './core/errors.ts'
import { recordAccounts } from './db/accounts.ts'
import { openChangeListener } from './db/change-listener.ts'
import { openDatabase } from './db/client.ts'
import { openEmbedded } from './db/embedded.ts'
import { migrateDatabase } from './db/migrate.ts'
import { openQueueBackend } from './jobs/backend.ts'
import { addReaders } from './jobs/feeder.ts'
import { openQueues } from './jobs/queues.ts'
import { countWorkers, openWorkers } from './jobs/workers.ts'
import { openLearner } from './learner.ts'
import { createLog, type Log } from './log.ts'
import { createMetrics } from './metrics.ts'
import type { Account } from './providers/provider.ts'
import { recordOf } from './tracking.ts'

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

/** Starts the parts asked for. Throws CONFIG_INVALID or UNAVAILABLE with a sentence for the operator. */
export async function start(config: Config, parts: Parts): Promise<Runtime> {
  const log = createLog(config.logLevel)
  const releasers: (() => Promise<unknown>)[] = []
  const close = async () => {
    for (let release = releasers.pop(); release; release = releasers.pop()) await release()
  }
  try {
    const databaseUrl = config.databaseUrl ?? (await openOwnDatabase(config.dataDir, releasers))
    const database = await openDatabase(databaseUrl)
    releasers.push(() => database.close())
    await migrateDatabase(databaseUrl)
    const accounts = new Map<string, Account>(config.accounts.map((account) => [account.name, account]))
    const learner = await openLearner({ db: database.db, accounts, log })
    releasers.push(() => learner.close())
    const records = config.accounts.map((account) => ({
      ...recordOf(account, learner),
      credentials: digestOf(account),
    }))
    await recordAccounts(database.db, records)
    await addReaders(database.db, accounts)
    const workers = parts.workers ? countWorkers(accounts) : 0
    const backend = await openQueueBackend({ url: config.queueUrl ?? databaseUrl, log, workers })
    releasers.push(() => backend.close())
    const queues = openQueues(backend, accounts.values())
    const metrics = createMetrics({ ofProcess: parts.api })
    const listener = await openChangeListener(database)
    releasers.push(() => listener.close())
    const shared = { db: database.db, queues, accounts, learner, log, metrics }

    // Closed together: while the API answers what it has in hand, the workers must take nothing new.
    const running: (() => Promise<void>)[] = []
    releasers.push(() => Promise.all(running.map((stop) => stop())))
    if (parts.workers) {
      const workers = await openWorkers({
        ...shared,
        backend,
        listener,
        leaseMs: config.leaseMs,
        changesForMs: config.changesRetentionMs,
        messagesForMs: config.messagesRetentionMs,
        callbackAllowPrivate: config.callbackAllowPrivate,
        proxy: config.proxy,
      })
      running.push(() => workers.close())
    }
    if (!parts.api) return { url: undefined, log, close }
    const { createServer } = await import('./http/server.ts')
    const { apiKeys, host, port, publicUrl } = config
    const { nextChange } = listener
    const server = await createServer({
      ...shared,
      pingQueues: () => backend.ping(),
      nextChange,
      apiKeys,
      host,
      publicUrl,
    })
    // Those who wait for changes are answered first.
    running.push(async () => {
      await listener.close()
      await closeServer(server)
    })
    const url = await server.listen({ host, port }).catch((error: unknown) => {
      throw cannotListen(host, port, error)
    })
    return { url, log, close }
  } catch (error) {
    await close()
    throw error
  }
}

/** Says whether an account is asked with the credentials and at the address of before, without telling them. */
function digestOf(account: Account): string {
  const { polling, callback, changesQueue, webhookToken, signingKey, ...asked } = account
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
export function cannotListen(host: string, port: number, error: unknown): unknown {
  const code = error instanceof Error && 'code' in error ? error.code : undefined
  if (code === 'EADDRINUSE') {
    return new LastwordError('UNAVAILABLE', `PORT: ${host}:${port} is taken by another process; set another PORT.`)
  }
  if (code === 'EACCES' || code === 'EADDRNOTAVAIL' || code === 'ENOTFOUND') {
    return new LastwordError('UNAVAILABLE', `HOST, PORT: cannot listen at ${host}:${port} (${code}); set others.`)
  }
  return error
}

async function openOwnDatabase(dataDir: string, releasers: (() => Promise<unknown>)[]): Promise<string> {
  const embedded = await openEmbedded(dataDir)
  releasers.push(() => embedded.close())
  return embedded.url
}

/** Applies the migrations of the database and of the queues, where these live in Postgres. */
export async function migrate(config: Config): Promise<void> {
  const runtime = await start({ ...config, logLevel: 'warn' }, { api: false, workers: false })
  await runtime.close()
}

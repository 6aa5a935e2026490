/**
 * Where the queues live: Redis (redis://, rediss://) by ioredis, or Postgres by BullMQ's own backend. The URL alone
 * decides; everything above this file is the same for both.
 */
import {
  createPostgresBackend,
  type Processor,
  Queue,
  type QueueOptions,
  runMigrations,
  Worker,
  type WorkerOptions,
} from 'bullmq'
import { Redis } from 'ioredis'
import pg from 'pg'
import { LastwordError } from '../core/errors.ts'
import { createComplaint, type Log } from '../log.ts'

/** The braces keep all keys of a queue in one slot of a Redis Cluster. */
const PREFIX = '{lastword}'

export interface QueueBackend {
  openQueue(name: string): Queue
  openWorker(name: string, process: Processor, options?: Partial<WorkerOptions>): Worker
  /** Rejects when the queues cannot be reached. */
  ping(): Promise<void>
  /** Closes every queue opened here, then the connections. Workers are closed by whoever opened them. */
  close(): Promise<void>
}

export interface QueueBackendOptions {
  url: string
  log: Log
  /** How many workers this process will open: each holds a connection of its own. */
  workers: number
  prefix?: string
}

/** Connects. Throws UNAVAILABLE, naming QUEUE_URL, when the server does not answer. */
export function openQueueBackend(options: QueueBackendOptions): Promise<QueueBackend> {
  return options.url.startsWith('redis') ? openRedis(options) : openPostgres(options)
}

async function openRedis({ url, log, prefix = PREFIX }: QueueBackendOptions): Promise<QueueBackend> {
  const complain = createComplaint(log, 'queue')
  // Whoever adds a job wants to know at once that it cannot be added; workers wait for the server to come back.
  const forQueues = new Redis(url, { lazyConnect: true, maxRetriesPerRequest: 1, enableOfflineQueue: false })
  const forWorkers = new Redis(url, { lazyConnect: true, maxRetriesPerRequest: null })
  // A failed start is told once, by the error it throws.
  let started = false
  for (const client of [forQueues, forWorkers]) client.on('error', (error) => started && complain(error))
  try {
    await forQueues.connect()
    await forQueues.ping()
  } catch (error) {
    forQueues.disconnect()
    throw unreachable(url, error)
  }
  started = true
  const queues: Queue[] = []
  return {
    openQueue: (name) => keep(queues, new Queue(name, { connection: forQueues, prefix }), complain),
    openWorker: (name, process, options) =>
      new Worker(name, process, { ...options, connection: forWorkers, prefix }).on('error', complain),
    ping: async () => void (await forQueues.ping()),
    async close() {
      await Promise.all(queues.map((queue) => queue.close()))
      forQueues.disconnect()
      forWorkers.disconnect()
    },
  }
}

/** Connections beyond one for each worker: what queues and workers share for their short queries. */
const SHARED_CONNECTIONS = 8

async function openPostgres({ url, log, workers }: QueueBackendOptions): Promise<QueueBackend> {
  const complain = createComplaint(log, 'queue')
  const pool = new pg.Pool({
    connectionString: url,
    max: workers + SHARED_CONNECTIONS,
    connectionTimeoutMillis: 5_000,
    keepAlive: true,
    options: '-c search_path=bullmq,public -c application_name=lastword-queue',
  })
  // Every queue and worker listens to the shared pool; Node takes more than ten listeners for a leak.
  pool.setMaxListeners(0).on('error', complain)
  try {
    await migrate(pool)
  } catch (error) {
    await pool.end()
    throw unreachable(url, error)
  }
  const queues: Queue[] = []
  const options = { connection: pool } as unknown as QueueOptions
  return {
    openQueue(name) {
      const queue = new Queue(name, options as never, createPostgresBackend)
      return keep(queues, queue as unknown as Queue, complain)
    },
    openWorker(name, process, workerOptions) {
      const worker = new Worker(name, process, { ...workerOptions, ...options } as never, createPostgresBackend)
      return (worker as unknown as Worker).on('error', complain)
    },
    ping: async () => void (await pool.query('SELECT 1')),
    async close() {
      await Promise.all(queues.map((queue) => queue.close()))
      await pool.end()
    },
  }
}

/** Creates or upgrades BullMQ's own tables; safe for several processes at once. */
async function migrate(pool: pg.Pool): Promise<void> {
  const client = await pool.connect()
  try {
    await runMigrations(client)
  } finally {
    client.release()
  }
}

function keep(queues: Queue[], queue: Queue, complain: (error: Error) => void): Queue {
  queues.push(queue)
  return queue.on('error', complain)
}

function unreachable(url: string, error: unknown): LastwordError {
  const { hostname, port, protocol } = new URL(url)
  const why = error instanceof Error ? error.message || error.name : String(error)
  const where = `${protocol}//${hostname}${port && `:${port}`}`
  return new LastwordError(
    'UNAVAILABLE',
    `QUEUE_URL: ${where} does not answer (${why}); start it there, or correct QUEUE_URL, or unset it to keep the queues in the database.`,
  )
}

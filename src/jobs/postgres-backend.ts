/** Queues in Postgres, by BullMQ's own backend and the client `pg`. */
import {
  assertSchemaCompatibility,
  createPostgresBackend,
  DEFAULT_SCHEMA,
  LATEST_SCHEMA_VERSION,
  PostgresQueueBackend,
  Queue,
  type QueueOptions,
  runMigrations,
  SchemaMigrationRequiredError,
  Worker,
} from 'bullmq'
import pg from 'pg'
import { LastwordError } from '../core/errors.ts'
import { codeOf } from '../db/client.ts'
import { DIRECT_SESSION, INSUFFICIENT_PRIVILEGE, passOver, readOnly, SESSION, unavailable } from '../db/connection.ts'
import { READ_ONLY } from '../db/pool.ts'
import { createComplaint } from '../log.ts'
import { type PostgresHost, type PostgresTarget, readPostgresUrl } from '../urls/postgres.ts'
import { createKeeper } from './postgres-keeping.ts'
import { createFreer } from './postgres-times.ts'
import { JOBS_A_PAGE, type QueueBackend, type QueueBackendOptions } from './queue-backend.ts'

/** Connections beyond one for each worker: what queues and workers share for their short queries. */
const SHARED_CONNECTIONS = 8
const CONNECT_WITHIN_MS = 5_000
const UNDEFINED_SCHEMA = '3F000'

export async function openPostgres(options: QueueBackendOptions): Promise<QueueBackend> {
  const { url, variable = 'QUEUE_URL', log, workers } = options
  const target = readPostgresUrl(variable, url)
  const complain = createComplaint(log, 'queue')
  const pool = createPool(target, workers + SHARED_CONNECTIONS)
  // Every queue and worker listens to the shared pool; Node takes more than ten listeners for a leak.
  pool.setMaxListeners(0).on('error', complain)
  const explain = (error: unknown) => unavailable(variable, target, error)
  const check = async () => {
    const client = await pool.connect()
    let isReadOnly = true
    try {
      const { rows } = await client.query("SELECT current_setting('transaction_read_only') = 'on' AS is_read_only")
      isReadOnly = rows[0]?.is_read_only
    } finally {
      // One that takes no writes is of no use to anybody.
      client.release(isReadOnly)
    }
    if (!isReadOnly) return
    passOver(target)
    throw readOnly(variable, target)
  }
  try {
    await connectToAny(target, check)
    await migrate(pool)
  } catch (error) {
    await pool.end()
    throw explain(error)
  }
  const queues: Queue[] = []
  const keeper = createKeeper(pool)
  const free = createFreer(pool)
  const connection = { connection: pool } as unknown as QueueOptions
  return {
    openQueue(name) {
      const queue = new Queue(name, connection as never, createBackend) as unknown as Queue
      queues.push(queue)
      return queue.on('error', complain)
    },
    openWorker(name, process, workerOptions) {
      const worker = new Worker(name, process, { ...workerOptions, ...connection } as never, createBackend)
      return (worker as unknown as Worker).on('error', complain)
    },
    findJobIds: (queue, holds) => findJobIds(pool, queue.name, holds),
    prepare: (names) => prepare(pool, variable, names).catch((error) => Promise.reject(explain(error))),
    check: () => check().catch((error) => Promise.reject(explain(error))),
    poolUse: () => ({
      used: pool.totalCount - pool.idleCount,
      most: pool.options.max,
      waiting: pool.waitingCount,
    }),
    memory: async () => undefined,
    keep: keeper.keep,
    tidy: async () => void (await Promise.all([free(), keeper.trim()])),
    meet: (installation) => meet(pool, installation).catch((error) => Promise.reject(explain(error))),
    async close() {
      await Promise.all(queues.map((queue) => queue.close()))
      await pool.end()
    },
  }
}

/**
 * BullMQ looks at its tables before a queue's first query, and keeps a failure of that look for good: the queue never works
 * then, and a worker asks again and again without a pause that would let anything else of the process run. Here the tables
 * have been looked at already.
 */
const createBackend: typeof createPostgresBackend = (...args) => {
  const backend = createPostgresBackend(...args)
  if (backend instanceof PostgresQueueBackend) backend.connection.waitUntilReady = async () => {}
  return backend
}

type Done = (error?: Error | null) => void

/** The same reading of the URL as for the other client; pg itself knows one host, and no TLS that is only preferred. */
export function createPool(target: PostgresTarget, max: number): pg.Pool {
  const { parameters, applicationName = 'lastword-queue', options = '' } = target
  const settings = { ...parameters, ...SESSION, ...DIRECT_SESSION, search_path: 'bullmq,public' }
  const written = Object.entries(settings).map(([name, value]) => `-c ${name}=${value.replace(/[\\ ]/g, '\\$&')}`)
  class Client extends pg.Client {
    readonly at: PostgresHost

    constructor(config: pg.ClientConfig) {
      const [at] = target.hosts
      // The pool hides the password from copies.
      super({ ...config, password: target.password, ...at, ssl: target.tls === 'off' ? false : target.tlsOptions })
      this.at = at
      // The pool listens to those that nobody has; one that is lost while somebody has it, between two queries of a
      // transaction, would end the process. The next query says what happened.
      this.on('error', () => {})
      // As the pool calls it. After a failure the next connection goes to the next host.
      const connect = this.connect.bind(this) as (done: Done) => void
      const connectOrPassOver = (done: Done) =>
        connect((error) => {
          if (error) passOver(target, at)
          done(error)
        })
      Object.assign(this, { connect: connectOrPassOver })
    }
  }
  const pool = new pg.Pool({
    Client,
    user: target.user,
    password: target.password,
    database: target.database,
    application_name: applicationName,
    sslnegotiation: target.tlsDirect ? 'direct' : 'postgres',
    max,
    connectionTimeoutMillis: target.connectTimeoutS === undefined ? CONNECT_WITHIN_MS : target.connectTimeoutS * 1000,
    keepAlive: true,
    options: `${options} ${written.join(' ')}`.trim(),
  } as unknown as pg.PoolConfig)
  return pool.on('release', (error: unknown, client: unknown) => {
    if (codeOf(error) === READ_ONLY && client instanceof Client) passOver(target, client.at)
  })
}

/**
 * Marks the queues as those of an installation, in a table beside them: whose they are. It is made by whoever may, which
 * is whoever makes BullMQ's own tables.
 */
async function meet(pool: pg.Pool, installation: string): Promise<string> {
  const { rows } = await pool.query("SELECT to_regclass('bullmq.lastword_installation') IS NOT NULL AS present")
  if (!rows[0]?.present) {
    await pool.query(`
      CREATE TABLE IF NOT EXISTS bullmq.lastword_installation (one boolean PRIMARY KEY DEFAULT true CHECK (one), id uuid NOT NULL)`)
  }
  await pool.query('INSERT INTO bullmq.lastword_installation (id) VALUES ($1) ON CONFLICT DO NOTHING', [installation])
  const found = await pool.query('SELECT id FROM bullmq.lastword_installation')
  return found.rows[0].id
}

/** BullMQ's own reading of many jobs is a query for each. */
async function findJobIds(pool: pg.Pool, queue: string, holds: (data: unknown) => boolean): Promise<string[]> {
  const found: string[] = []
  for (let after = '', read = JOBS_A_PAGE; read === JOBS_A_PAGE; ) {
    const { rows } = await pool.query<{ id: string; data: unknown }>(
      'SELECT id, data FROM bullmq.job WHERE queue = $1 AND id > $2 ORDER BY id LIMIT $3',
      [queue, after, JOBS_A_PAGE],
    )
    found.push(...rows.filter(({ data }) => holds(data)).map(({ id }) => id))
    after = rows.at(-1)?.id ?? after
    read = rows.length
  }
  return found
}

/** Tries host after host until one takes writes; further connections go to that one. */
async function connectToAny(target: PostgresTarget, check: () => Promise<void>): Promise<void> {
  for (let left = target.hosts.length; ; ) {
    const [tried] = target.hosts
    try {
      return await check()
    } catch (error) {
      if (target.tls === 'preferred' && error instanceof Error && /does not support SSL/.test(error.message)) {
        target.tls = 'off'
        continue
      }
      left -= 1
      if (left === 0) throw error
      passOver(target, tried)
    }
  }
}

/** BullMQ makes a sequence for each queue, which is for whoever owns the tables to do. */
async function prepare(pool: pg.Pool, variable: string, names: readonly string[]): Promise<void> {
  try {
    await pool.query(
      'SELECT next_job_id(name) FROM unnest($1::text[]) AS name WHERE to_regclass(job_id_seq_name(name)) IS NULL',
      [names],
    )
  } catch (error) {
    if (codeOf(error) !== INSUFFICIENT_PRIVILEGE) throw error
    const remedy =
      'run "lastword migrate" with these accounts as the owner of the database, and let the role use its sequences'
    throw new LastwordError('UNUSABLE', `${variable}: the role may not make the sequences of the queues; ${remedy}.`)
  }
}

/** Creates or upgrades BullMQ's own tables, where they are not what this version needs; safe for several processes at once. */
async function migrate(pool: pg.Pool): Promise<void> {
  const client = await pool.connect()
  try {
    const version = await assertSchemaCompatibility(client, DEFAULT_SCHEMA).catch((error: unknown) => {
      const isMissing = error instanceof SchemaMigrationRequiredError
      if (isMissing || (error instanceof pg.DatabaseError && error.code === UNDEFINED_SCHEMA)) return 0
      throw error
    })
    // Asking for the schema that is there already takes a right that a role for daily work lacks.
    if (version < LATEST_SCHEMA_VERSION) await runMigrations(client)
  } finally {
    client.release()
  }
}

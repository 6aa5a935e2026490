/**
 * Liveness, readiness and metrics. An API is ready while its database is: receipts, tracking and the feed go on without the
 * queue, and the answer says `degraded`. A worker does nothing without the queue, and is not ready then.
 */
import type { FastifyInstance } from 'fastify'
import { Gauge } from 'prom-client'
import { z } from 'zod'
import { LastwordError } from '../core/errors.ts'
import { codeOf, type Db, isDatabaseUnavailable } from '../db/client.ts'
import { findInstallation } from '../db/installation.ts'
import { isMigrated } from '../db/migrate.ts'
import type { Metrics } from '../metrics.ts'
import { named } from '../schema-names.ts'
import type { RouteDoc } from './openapi/openapi.ts'

export interface HealthOptions {
  db: Db
  takesWrites(): Promise<boolean>
  /** Rejects when the queues take no writes. */
  checkQueues(): Promise<void>
  hasApi: boolean
}

const CHECK_WITHIN_MS = 3_000
/** A worker says every five seconds that it runs. */
const WORKER_SEEN_WITHIN_MS = 30_000

const livenessSchema = named('Liveness', z.object({ status: z.literal('ok').describe('The process answers.') }))

const checkSchema = z.string().meta({ examples: ['ok'], description: '`ok`, or what is wrong.' })
const readinessSchema = named(
  'Readiness',
  z.object({
    status: z
      .enum(['ok', 'degraded', 'unavailable'])
      .describe('`degraded`: receipts and tracking go on, and nothing else; `unavailable`: nothing does.'),
    database: checkSchema,
    migrations: checkSchema,
    queue: checkSchema,
    worker: checkSchema.describe('`ok` while a worker runs, or since when none has.'),
    detail: z.string().optional().describe('With `degraded`: what goes on, and what does not.'),
  }),
)

const LIVENESS: RouteDoc = {
  operationId: 'getLiveness',
  tag: 'Operation',
  summary: 'Liveness',
  isPublic: true,
  response: { 200: livenessSchema.describe('The process answers.') },
}

const READINESS: RouteDoc = {
  operationId: 'getReadiness',
  tag: 'Operation',
  summary: 'Readiness',
  description:
    'Whether the database takes writes and the migrations are applied. Without the queue or without a worker the API is `degraded` and goes on.',
  isPublic: true,
  response: {
    200: readinessSchema.describe('Ready, or degraded.'),
    503: readinessSchema.meta({
      description: 'Something is away.',
      examples: [
        { status: 'unavailable', database: 'takes no writes', migrations: 'ok', queue: 'ok', worker: 'unknown' },
      ],
    }),
  },
}

export function registerHealthRoutes(server: FastifyInstance, options: HealthOptions): void {
  const { db, takesWrites, checkQueues, hasApi } = options

  server.get('/health/live', { config: { doc: LIVENESS } }, () => ({ status: 'ok' }))

  server.get('/health/ready', { config: { doc: READINESS } }, async (_request, reply) => {
    const [database, migrations, queue] = await Promise.all([
      check(async () => {
        if (!(await takesWrites())) throw new Error('takes no writes')
      }),
      check(async () => {
        if (!(await isMigrated(db))) throw new Error('missing: run lastword migrate')
      }),
      check(checkQueues),
    ])
    const worker = database === 'ok' && migrations === 'ok' ? await check(() => findLackOfWorkers(db)) : 'unknown'
    const ready = database === 'ok' && migrations === 'ok' && (hasApi || queue === 'ok')
    const details = { database, migrations, queue, worker }
    if (!ready) return reply.code(503).send({ status: 'unavailable', ...details })
    if (queue === 'ok' && worker === 'ok') return reply.send({ status: 'ok', ...details })
    const detail = `Receipts and tracking go on; nothing is asked and nobody is called until ${queue === 'ok' ? 'a worker runs' : 'the queue takes writes'} again.`
    return reply.send({ status: 'degraded', ...details, detail })
  })
}

/** Since when no worker has run, as a text; undefined while one runs. */
export async function findNoWorkerSince(db: Db): Promise<string | undefined> {
  const { workerSeenAt, workerSeenMsAgo } = await findInstallation(db)
  if (workerSeenAt === null || workerSeenMsAgo === null) return 'no worker has run yet'
  return workerSeenMsAgo > WORKER_SEEN_WITHIN_MS ? `no worker since ${workerSeenAt.toISOString()}` : undefined
}

async function findLackOfWorkers(db: Db): Promise<void> {
  const found = await findNoWorkerSince(db)
  if (found !== undefined) throw new Error(found)
}

export interface WatchedOptions {
  db: Db
  metrics: Metrics
  checkQueues(): Promise<void>
  /** By how many milliseconds this process's clock is ahead of the database's. */
  aheadMs(): number
}

/** Gauges of what a process stands on. */
export function registerHealthGauges({ db, metrics, checkQueues, aheadMs }: WatchedOptions): void {
  const registers = [metrics.registry]
  new Gauge({
    name: 'lastword_queue_writable',
    help: '1 while the queue takes writes, else 0',
    registers,
    async collect() {
      this.set((await check(checkQueues)) === 'ok' ? 1 : 0)
    },
  })
  new Gauge({
    name: 'lastword_clock_ahead_seconds',
    help: "By how much this process's clock is ahead of the database's",
    registers,
    collect() {
      this.set(aheadMs() / 1000)
    },
  })
  new Gauge({
    name: 'lastword_worker_seen_seconds',
    help: 'How long ago a worker last said that it runs; absent if none ever did',
    registers,
    async collect() {
      this.reset()
      try {
        const { workerSeenMsAgo } = await findInstallation(db)
        if (workerSeenMsAgo !== null) this.set(workerSeenMsAgo / 1000)
      } catch (error) {
        // Without the database nobody knows, and the other metrics are wanted all the more.
        if (!isDatabaseUnavailable(error)) throw error
      }
    },
  })
}

/** 'ok', or what is wrong in a few words: everybody may read them, so no address is among them. */
async function check(probe: () => Promise<unknown>): Promise<string> {
  let timer: NodeJS.Timeout | undefined
  const tooLate = new Promise<string>((resolve) => {
    timer = setTimeout(resolve, CHECK_WITHIN_MS, `no answer within ${CHECK_WITHIN_MS} ms`)
  })
  try {
    return await Promise.race([probe().then(() => 'ok', summaryOf), tooLate])
  } finally {
    clearTimeout(timer)
  }
}

function summaryOf(error: unknown): string {
  if (error instanceof LastwordError) return String(error.extra?.summary ?? error.title)
  const code = codeOf(error)
  if (code !== undefined) return `does not answer (${code})`
  return error instanceof Error ? error.message : 'does not answer'
}

/**
 * Liveness, readiness and metrics. An API is ready while its database is: receipts, tracking and the feed go on without the
 * queue, and the answer says `degraded`. A worker does nothing without the queue, and is not ready then.
 */
import type { FastifyInstance } from 'fastify'
import { z } from 'zod'
import { WORKER_SEEN_WITHIN_MS } from '../core/blocks.ts'
import { LastwordError } from '../core/errors.ts'
import { codeOf, type Db } from '../db/client.ts'
import { findInstallation } from '../db/installation.ts'
import { isMigrated } from '../db/migrate.ts'
import { isTimeout, orAborted, withDeadline } from '../deadline.ts'
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

/** 'ok', or what is wrong in a few words: everybody may read them, so no address is among them. */
async function check(probe: () => Promise<unknown>): Promise<string> {
  return inTime(probe).then(() => 'ok', summaryOf)
}

/** Rejects when there is no answer in the time that those who look at a process have. */
export function inTime<T>(probe: () => Promise<T>): Promise<T> {
  return withDeadline(CHECK_WITHIN_MS, undefined, (signal) => orAborted(probe(), signal))
}

/** The trouble in a few words, without an address. */
export function summaryOf(error: unknown): string {
  if (error instanceof LastwordError) return String(error.extra?.summary ?? error.title)
  if (isTimeout(error)) return `no answer within ${CHECK_WITHIN_MS} ms`
  const code = codeOf(error)
  if (code !== undefined) return `does not answer (${code})`
  return error instanceof Error ? error.message : 'does not answer'
}

/**
 * Acts in Bull Board: which each of its routes is, and the record of them. The board answers by handlers of its own, so they
 * are recorded around these: before the handler runs, and when its answer is there.
 */
import type { JobType } from 'bullmq'
import type { FastifyInstance, FastifyRequest } from 'fastify'
import type { Act, ActKind, ActOutcome } from '../core/act.ts'
import { isInternal } from '../core/queue-table.ts'
import type { Db } from '../db/client.ts'
import type { Queues } from '../jobs/queues.ts'
import { begin } from './acts.ts'
import { READING } from './auth.ts'
import { sendError } from './errors.ts'

declare module 'fastify' {
  interface FastifyRequest {
    boardAct: { end(outcome: ActOutcome): Promise<void> } | null
  }
}

interface BoardActsOptions {
  db: Db
  queues: Queues
}

/** Below `/api/queues`. */
const KINDS: Readonly<Record<string, ActKind>> = {
  'PUT /pause': 'pause',
  'PUT /resume': 'resume',
  'POST /:queueName/add': 'add',
  'PUT /:queueName/pause': 'pause',
  'PUT /:queueName/resume': 'resume',
  'PUT /:queueName/retry/:queueStatus': 'retry',
  'PUT /:queueName/promote': 'promote',
  'PUT /:queueName/clean/:queueStatus': 'clean',
  'PUT /:queueName/empty': 'empty',
  'PUT /:queueName/obliterate': 'obliterate',
  'PUT /:queueName/concurrency': 'limit',
  'PUT /:queueName/rate-limit': 'limit',
  'PUT /:queueName/rate-limit/release': 'limit',
  'PUT /:queueName/job-schedulers/:schedulerId/remove': 'schedule',
  'PUT /:queueName/job-schedulers/:schedulerId/run': 'schedule',
  'PATCH /:queueName/job-schedulers/:schedulerId': 'schedule',
  'PUT /:queueName/:jobId/retry': 'retry',
  'PUT /:queueName/:jobId/promote': 'promote',
  'PUT /:queueName/:jobId/clean': 'remove',
  'PUT /:queueName/:jobId/remove-unprocessed-children': 'remove',
  'PATCH /:queueName/:jobId/update-data': 'edit',
  'PATCH /:queueName/:jobId/delay': 'edit',
  'PATCH /:queueName/:jobId/priority': 'edit',
}

/** The states of the jobs that an act on a whole queue is about, by the last part of its route or by the state named there. */
const STATES: Readonly<Record<string, readonly JobType[]>> = {
  completed: ['completed'],
  failed: ['failed'],
  delayed: ['delayed'],
  active: ['active'],
  wait: ['waiting'],
  promote: ['delayed'],
  empty: ['waiting', 'prioritized'],
}

/** Records every act in a scope of Bull Board, whose routes begin with `base`. Throws for one that is not known here. */
export function recordBoardActs(board: FastifyInstance, base: string, { db, queues }: BoardActsOptions): void {
  const kindOf = (method: string, url = '') => KINDS[`${method} ${url.slice(`${base}/api/queues`.length)}`]
  board.decorateRequest('boardAct', null)
  board.addHook('onRoute', ({ method, url }) => {
    for (const one of [method].flat()) {
      if (READING.has(one) || kindOf(one, url)) continue
      throw new TypeError(`Expected to know each act of Bull Board, found ${one} ${url}.`)
    }
  })
  board.addHook('preHandler', async (request, reply) => {
    const kind = kindOf(request.method, request.routeOptions.url)
    if (!kind) return
    try {
      const { count, ...target } = await findTarget(request, queues)
      const { end } = await begin(db, request, { kind, ...target })
      request.boardAct = { end: (outcome) => end(outcome, count) }
    } catch (error) {
      return sendError(error, request, reply)
    }
  })
  board.addHook('onSend', async ({ boardAct }, { statusCode }, payload) => {
    await boardAct?.end(statusCode < 400 ? 'done' : statusCode < 500 ? 'refused' : 'failed')
    return payload
  })
}

interface Target extends Pick<Act, 'queue' | 'job' | 'jobs'> {
  /** How many jobs there are that it is about. */
  count?: number
}

/** The target of an act, by the parameters of its route. Names that are not ours are left out: they may hold anything. */
async function findTarget({ params, routeOptions }: FastifyRequest, { all }: Queues): Promise<Target> {
  const { queueName, jobId, schedulerId, queueStatus } = params as Record<string, string | undefined>
  if (queueName === undefined) return { count: all.length }
  const queue = all.find(({ name }) => name === queueName)
  if (!queue) return {}
  const { name } = queue
  // Jobs of other queues have IDs that the app has chosen.
  if (jobId !== undefined)
    return { queue: name, count: 1, ...(isInternal(name) && name !== 'track' ? { job: jobId } : {}) }
  if (schedulerId !== undefined) return { queue: name }
  const state = queueStatus ?? routeOptions.url?.split('/').at(-1) ?? ''
  const states = STATES[state]
  return states
    ? { queue: name, jobs: states[0] ?? state, count: await queue.getJobCountByTypes(...states) }
    : { queue: name }
}

/**
 * Every worker of a process: opened together, closed together. Closing takes no new jobs, lets running ones finish, and
 * after a grace period gives their messages back.
 */
import { setMaxListeners } from 'node:events'
import { setTimeout as delay } from 'node:timers/promises'
import type { Processor, Queue, Worker, WorkerOptions } from 'bullmq'
import { DrizzleQueryError } from 'drizzle-orm'
import { retryDelay } from '../core/provider-failure.ts'
import {
  ACCOUNT_QUEUES,
  type AccountQueue,
  accountQueueName,
  SINGLE_QUEUES,
  type SingleQueue,
} from '../core/queue-table.ts'
import type { ChangeListener } from '../db/change-listener.ts'
import { type Db, describeDatabaseError } from '../db/client.ts'
import type { Learner } from '../learner.ts'
import { createComplaint, type Log } from '../log.ts'
import type { Metrics } from '../metrics.ts'
import type { Account } from '../providers/account.ts'
import { createProviderHttp, type ProviderHttp } from '../providers/http.ts'
import { providerOf } from '../providers/registry.ts'
import type { ProxySettings } from '../proxy.ts'
import type { Tracing } from '../tracing.ts'
import type { Accounts } from '../tracking.ts'
import { createCallbackSender } from './callback-sender.ts'
import { createCallbackCaller } from './callbacks.ts'
import { concurrencyOf, createDispatcher } from './dispatch.ts'
import { createExpirer } from './expire.ts'
import { MOST_CALLBACKS_AT_ONCE, openFeeder, readersOf } from './feeder.ts'
import { createStatusQuerier } from './query-statuses.ts'
import type { Kept, QueueBackend } from './queue-backend.ts'
import { KEPT, type Queues } from './queues.ts'
import { createTracker } from './track.ts'

export interface WorkersOptions {
  db: Db
  backend: QueueBackend
  queues: Queues
  accounts: Accounts
  learner: Learner
  /** The ID of this installation. */
  installation: string
  leaseMs: number
  changesForMs: number
  messagesForMs: number
  callbackAllowPrivate: boolean
  proxy: ProxySettings
  listener: ChangeListener
  log: Log
  metrics: Metrics
  tracing: Tracing
}

export interface Workers {
  close(): Promise<void>
}

const DISPATCH_EVERY_MS = 1_000
const EXPIRE_EVERY_MS = 5_000
/** A flushed Redis forgets the schedulers, a killed worker may lose a tick; how long either goes unnoticed at most. */
const SCHEDULERS_EVERY_MS = 5_000
/** The rest of the 15 seconds a stop may take is for giving back and for closing the connections. */
const GRACE_MS = 8_000
const GIVEN_BACK_WITHIN_MS = 1_500
const NOTED_WITHIN_MS = 1_500
const LONGEST_WINDOW_MS = 30 * 86_400_000

/** How many workers one process opens; accounts that are not polled have none of their own. */
export function countWorkers(accounts: Accounts): number {
  const polled = [...accounts.values()].filter((account) => providerOf(account).lookups(account).length > 0)
  return SINGLE_QUEUES.length + ACCOUNT_QUEUES.length * polled.length
}

export async function openWorkers(options: WorkersOptions): Promise<Workers> {
  const { db, backend, queues, accounts, learner, leaseMs } = options
  const shutdown = new AbortController()
  // Every request under way listens to it; Node takes more than ten listeners for a leak.
  setMaxListeners(0, shutdown.signal)
  const https: ProviderHttp[] = []
  const untrackedForMs = Math.max(LONGEST_WINDOW_MS, ...[...accounts.values()].map(({ polling }) => polling.windowMs))
  const complain = createComplaint(options.log, 'schedulers')
  const keepGoing = () => Promise.all([addSchedulers(queues), backend.tidy()]).catch(complain)
  await keepGoing()
  const feeder = openFeeder(options)

  const workers: Worker[] = []
  const underWay = countUnderWay()
  const open = (name: string, kept: Kept, process: Processor, workerOptions?: Partial<WorkerOptions>) => {
    const complain = createComplaint(options.log, `a job of ${name} failed`)
    const counted = underWay.count(withoutQueries(process))
    const all = { ...workerOptions, ...backend.keep(name, kept) }
    workers.push(backend.openWorker(name, counted, all).on('failed', (_job, error) => complain(error)))
  }

  const sender = createCallbackSender({ allowPrivate: options.callbackAllowPrivate, proxy: options.proxy })
  const caller = createCallbackCaller({ ...options, sender, shutdown: shutdown.signal, onLeft: feeder.wake })
  const jobs: Record<SingleQueue, [Processor, Partial<WorkerOptions>?]> = {
    dispatch: [createDispatcher({ db, queues, accounts, learner, leaseMs })],
    expire: [
      createExpirer({
        ...options,
        untrackedForMs,
        queues: [...queues.all, ...queues.former],
        forget: queues.forget,
        readers: readersOf(accounts),
      }),
    ],
    track: [createTracker(options), options.tracing.trackWorker],
    callbacks: [caller, { concurrency: MOST_CALLBACKS_AT_ONCE }],
  }
  for (const name of SINGLE_QUEUES) open(name, KEPT[name], ...jobs[name])
  for (const account of accounts.values()) {
    const lookups = providerOf(account).lookups(account)
    if (lookups.length === 0) continue
    const { baseUrl, timeoutMs } = account
    const concurrency = concurrencyOf(account)
    const http = createProviderHttp({ baseUrl, timeoutMs, connections: concurrency, proxy: options.proxy })
    https.push(http)
    const queue = queues.statusQuery(account.name)
    const querier = createStatusQuerier({ ...options, account, lookups, http, queue, shutdown: shutdown.signal })
    const settings = { backoffStrategy: (attempt: number) => retryDelay(attempt, Math.random()) }
    const workerOptions = { concurrency, limiter: limiterOf(account), settings }
    const own: Record<AccountQueue, [Processor, Partial<WorkerOptions>]> = { 'status-query': [querier, workerOptions] }
    for (const name of ACCOUNT_QUEUES) open(accountQueueName(name, account.name), KEPT[name], ...own[name])
  }
  const schedulers = setInterval(keepGoing, SCHEDULERS_EVERY_MS)

  return {
    async close() {
      clearInterval(schedulers)
      const finished = Promise.all([feeder.close(), ...workers.map((worker) => worker.close())]).catch(() => {})
      await Promise.race([finished, underWay.ended(), delay(GRACE_MS, undefined, { ref: false })])
      if (underWay.has()) {
        options.log.warn('requests are still under way; their messages are given back')
        shutdown.abort()
        await Promise.race([underWay.ended(), delay(GIVEN_BACK_WITHIN_MS, undefined, { ref: false })])
      }
      // All that is done stands in Postgres, so a queue that says nothing is not waited for.
      if (!underWay.has()) await Promise.race([finished, delay(NOTED_WITHIN_MS, undefined, { ref: false })])
      await Promise.all([...https, sender].map((client) => client.close()))
    },
  }
}

/** Knows which jobs run, whatever becomes of what the queue is told of them. */
function countUnderWay() {
  let count = 0
  let onEnded = () => {}
  return {
    has: () => count > 0,
    /** Resolves when none runs any more; a job that was taken just now may still begin. */
    ended: () =>
      new Promise<void>((resolve) => {
        if (count === 0) resolve()
        onEnded = resolve
      }),
    count:
      (process: Processor): Processor =>
      async (job, token) => {
        count += 1
        try {
          return await process(job, token)
        } finally {
          count -= 1
          if (count === 0) onEnded()
        }
      },
  }
}

/** A failed query's message holds message IDs and phone numbers; Bull Board shows its cause instead. */
function withoutQueries(process: Processor): Processor {
  return async (job, token) => {
    try {
      return await process(job, token)
    } catch (error) {
      if (error instanceof DrizzleQueryError) throw new Error(`The database failed: ${describeDatabaseError(error)}`)
      throw error
    }
  }
}

/** The account's budget of requests, kept by the queue for all workers together. */
function limiterOf({ requestsPerSecond }: Account): { max: number; duration: number } {
  return Number.isInteger(requestsPerSecond)
    ? { max: requestsPerSecond, duration: 1000 }
    : { max: 1, duration: Math.ceil(1000 / requestsPerSecond) }
}

async function addSchedulers(queues: Queues): Promise<void> {
  await Promise.all([
    keepScheduler(queues.dispatch, 'dispatch', DISPATCH_EVERY_MS),
    keepScheduler(queues.expire, 'expire', EXPIRE_EVERY_MS),
  ])
}

/**
 * Adds a scheduler that is missing, and revives one whose tick is overdue or too far ahead. The next tick is added by the
 * worker that takes the last one: a worker killed in between takes the chain with it, and one whose clock is ahead puts it
 * where the others wait for it.
 */
async function keepScheduler(queue: Queue, id: string, every: number): Promise<void> {
  const scheduler = await queue.getJobScheduler(id)
  const inMs = (scheduler?.next ?? Number.NEGATIVE_INFINITY) - Date.now()
  if (inMs > -SCHEDULERS_EVERY_MS && inMs < every + SCHEDULERS_EVERY_MS) return
  // Added again, it would keep the time of its next tick.
  if (inMs > 0) await queue.removeJobScheduler(id)
  await queue.upsertJobScheduler(id, { every }, { name: 'tick' })
}

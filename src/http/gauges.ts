/**
 * The gauges, read when a process is scraped. Their figures of accounts and queues are the same in every process, so
 * one aggregates over processes by max().
 *
 * A gauge that cannot be read in time is left out of the scrape, and the log says why: the others are wanted all the more.
 */
import { Gauge } from 'prom-client'
import { learnedLoss } from '../core/evidence.ts'
import { findHealths } from '../db/accounts.ts'
import { findAlerts } from '../db/alerts.ts'
import { type Db, describeDatabaseError } from '../db/client.ts'
import { findOutstanding } from '../db/counts.ts'
import { freeDiskBytes } from '../db/embedded.ts'
import { findInstallation } from '../db/installation.ts'
import type { PoolUse } from '../db/pool.ts'
import { findWaiting, MOST_COUNTED } from '../db/waiting.ts'
import type { Queues } from '../jobs/queues.ts'
import type { Learner } from '../learner.ts'
import { createComplaint, type Log } from '../log.ts'
import type { Metrics } from '../metrics.ts'
import type { Accounts } from '../tracking.ts'
import { inTime } from './health.ts'

export interface GaugesOptions {
  db: Db
  queues: Queues
  accounts: Accounts
  learner: Learner
  takesWrites(): Promise<boolean>
  /** Rejects when the queues take no writes. */
  checkQueues(): Promise<void>
  /** By how many milliseconds this process's clock is ahead of the database's. */
  aheadMs(): number
  /** The pools of connections of this process, by name. */
  pools: Readonly<Record<string, (() => PoolUse) | undefined>>
  /** Bytes of the queues in Redis; undefined when it has no limit, or the queues are in Postgres. */
  memory(): Promise<{ used: number; most: number } | undefined>
  /** Where an embedded database is; undefined without one. */
  dataDir: string | undefined
  log: Log
  metrics: Metrics
}

type Sample = readonly [labels: Readonly<Record<string, string>>, value: number]
/** Registers a gauge `lastword_…` that is read in the time a scrape has. */
type Register = (name: string, help: string, labelNames: string[], read: () => Sample[] | Promise<Sample[]>) => void

export function registerGauges(options: GaugesOptions): void {
  const { metrics, log } = options
  const register: Register = (name, help, labelNames, read) => {
    const complain = createComplaint(log, `the metric lastword_${name} is left out`)
    new Gauge({
      name: `lastword_${name}`,
      help,
      labelNames,
      registers: [metrics.registry],
      async collect() {
        const samples = await inTime(async () => read()).catch((error: unknown) => {
          complain(new Error(describeDatabaseError(error)))
          return []
        })
        this.reset()
        // A gauge without labels is there, as 0, unless it is taken away.
        if (samples.length === 0 && labelNames.length === 0) this.remove()
        for (const [labels, value] of samples) this.set(labels, value)
      },
    })
  }
  // First, because reading the others takes connections, too.
  registerPools(register, options)
  registerProcess(register, options)
  registerRoom(register, options)
  registerWaiting(register, options)
  registerAccounts(register, options)
  registerQueues(register, options)
  registerAlerts(register, options)
}

function registerPools(register: Register, { pools }: GaugesOptions): void {
  const read = (pick: (use: PoolUse) => number) => () =>
    Object.entries(pools).flatMap(([pool, use]): Sample[] => (use ? [[{ pool }, pick(use())]] : []))
  register(
    'pool_connections',
    'Connections to Postgres at work',
    ['pool'],
    read(({ used }) => used),
  )
  register(
    'pool_connections_max',
    'Connections to Postgres at most',
    ['pool'],
    read(({ most }) => most),
  )
  register(
    'pool_waiting',
    'Statements that wait for a connection',
    ['pool'],
    read(({ waiting }) => waiting),
  )
}

function registerProcess(register: Register, { db, takesWrites, checkQueues, aheadMs }: GaugesOptions): void {
  register('database_writable', '1 while the database takes writes, else 0', [], async () => {
    const isWritable = await inTime(takesWrites).catch(() => false)
    return [[{}, isWritable ? 1 : 0]]
  })
  register('queue_writable', '1 while the queue takes writes, else 0', [], async () => {
    const isWritable = await inTime(checkQueues).then(
      () => true,
      () => false,
    )
    return [[{}, isWritable ? 1 : 0]]
  })
  register('clock_ahead_seconds', "By how much this process's clock is ahead of the database's", [], () => [
    [{}, aheadMs() / 1000],
  ])
  register(
    'worker_seen_seconds',
    'How long ago a worker last said that it runs; absent if none ever did',
    [],
    async () => {
      const { workerSeenMsAgo } = await findInstallation(db)
      return workerSeenMsAgo === null ? [] : [[{}, workerSeenMsAgo / 1000]]
    },
  )
}

/** Where it cannot be seen, the gauge is absent. */
function registerRoom(register: Register, { memory, dataDir }: GaugesOptions): void {
  const find = shared(memory)
  const read = (pick: 'used' | 'most') => async (): Promise<Sample[]> => {
    const found = await find()
    return found ? [[{}, found[pick]]] : []
  }
  register('redis_memory_bytes', 'Memory that Redis uses; absent where it has no maxmemory', [], read('used'))
  register('redis_memory_max_bytes', 'maxmemory of Redis; absent where it has none', [], read('most'))
  register(
    'database_disk_free_bytes',
    'Room on the disk of the embedded Postgres; absent with another',
    [],
    async () => (dataDir === undefined ? [] : [[{}, await freeDiskBytes(dataDir)]]),
  )
}

function registerWaiting(register: Register, { db, accounts }: GaugesOptions): void {
  const find = shared(() => findWaiting(db, [...accounts.keys()]))
  const read = (pick: 'oldestDue' | 'callbacks' | 'oldestCallback') => async () =>
    (await find()).map((waiting): Sample => [{ account: waiting.account }, waiting[pick]])
  register('messages_outstanding', 'Messages without a final status', ['account'], async () => {
    const outstanding = await findOutstanding(db)
    return [...accounts.keys()].map((account) => {
      const hours = outstanding.get(account) ?? []
      return [{ account }, hours.reduce((sum, { messages }) => sum + messages, 0)]
    })
  })
  register(
    'oldest_due_seconds',
    'For how long the message that is due longest has waited to be asked about; 0 when none is due',
    ['account'],
    read('oldestDue'),
  )
  register(
    'callbacks_waiting',
    `Callbacks that their receiver has not taken yet, counted up to ${MOST_COUNTED}`,
    ['account'],
    read('callbacks'),
  )
  register(
    'oldest_callback_seconds',
    'For how long the oldest callback has waited to be taken; 0 when none waits',
    ['account'],
    read('oldestCallback'),
  )
}

function registerAccounts(register: Register, { db, accounts, learner }: GaugesOptions): void {
  const find = shared(() => findHealths(db))
  const names = [...accounts.keys()]
  const labels = ['account']
  register(
    'account_without_good_answer_seconds',
    'For how long the provider has given an account no good answer; 0 while it does',
    labels,
    async () => {
      const { healths, now } = await find()
      return names.map((account) => {
        const since = healths.get(account)?.bad?.since
        return [{ account }, since === undefined ? 0 : Math.max(0, (now - since) / 1000)]
      })
    },
  )
  register(
    'account_trouble',
    '1 for the trouble that an account is in, or for ok',
    ['account', 'trouble'],
    async () => {
      const { healths } = await find()
      return names.map((account) => [{ account, trouble: healths.get(account)?.trouble ?? 'ok' }, 1])
    },
  )
  register('webhook_route_silent', '1 while receipts that should come stay away, else 0', labels, () =>
    names.map((account) => [{ account }, learner.learnedOf(account).route.state === 'silent' ? 1 : 0]),
  )
  register(
    'webhook_loss_ratio',
    'The share of final statuses whose receipt never comes, as learned; 1 as long as none has come',
    labels,
    () => names.map((account) => [{ account }, learnedLoss(learner.learnedOf(account).evidence)]),
  )
}

function registerQueues(register: Register, { queues }: GaugesOptions): void {
  register('queue_jobs', 'Jobs in a queue, by their state', ['queue', 'state'], async () => {
    const counted = await Promise.all(
      queues.all.map(async (queue): Promise<Sample[]> => {
        const {
          waiting = 0,
          prioritized = 0,
          ...others
        } = await queue.getJobCounts('waiting', 'prioritized', 'active', 'delayed', 'failed')
        const states = { waiting: waiting + prioritized, ...others }
        return Object.entries(states).map(([state, count]) => [{ queue: queue.name, state }, count])
      }),
    )
    return counted.flat()
  })
  register('queue_paused', '1 while a queue is paused, else 0', ['queue'], () =>
    Promise.all(
      queues.all.map(async (queue): Promise<Sample> => [{ queue: queue.name }, (await queue.isPaused()) ? 1 : 0]),
    ),
  )
}

function registerAlerts(register: Register, { db }: GaugesOptions): void {
  register('alerts', '1 while an alert lasts', ['kind', 'subject'], async () => {
    const alerts = await findAlerts(db)
    return alerts.filter(({ until }) => until === null).map(({ kind, subject }): Sample => [{ kind, subject }, 1])
  })
}

/** One reading for all the gauges of a scrape that need it. */
function shared<T>(read: () => Promise<T>): () => Promise<T> {
  let reading: Promise<T> | undefined
  return () => {
    reading ??= read().finally(() => {
      reading = undefined
    })
    return reading
  }
}

/**
 * The dispatcher: claims what is due in Postgres, cuts it into batches and adds one job a batch to the account's queue;
 * where the provider is asked by time window instead, it adds the first page of one sweep.
 *
 * Backpressure: an account's queue never holds more batches than its workers can run within half a lease, so that a
 * batch is still held when its turn comes. If the queue loses its jobs (a flushed Redis, a killed worker) the leases run
 * out and the dispatcher gives the messages back; nothing else is needed for recovery.
 */
import type { Job, JobType, Queue } from 'bullmq'
import { type AccountHealth, isPaused, isTrialDue, needsProbe } from '../core/account-health.ts'
import type { BatchLimits } from '../core/batching.ts'
import { findHealths, moveHealth } from '../db/accounts.ts'
import { giveBackExpired, releaseBatch } from '../db/batches.ts'
import type { Db } from '../db/client.ts'
import { claimDue, findDueAccounts } from '../db/schedule.ts'
import { claimWindow } from '../db/sweeps.ts'
import type { Account, LookupByIds, LookupByWindow, StatusLookup } from '../providers/provider.ts'
import { lookupInUse, providerOf } from '../providers/registry.ts'
import type { Accounts } from '../tracking.ts'
import { cutClaimed } from './cut.ts'
import { batchJobs, type Query, type Queues, sweepJob } from './queues.ts'

export interface DispatchOptions {
  db: Db
  queues: Queues
  accounts: Accounts
  leaseMs: number
}

/** Jobs added and messages claimed, by account. */
export type DispatchResult = Record<string, { jobs: number; messages: number }>

const MOST_REQUESTS_AT_ONCE = 100
const MOST_BATCHES_A_CLAIM = 50
const MOST_MESSAGES_A_SWEEP = 50_000

/** How many requests of an account one worker runs at once: enough to use its whole rate if every answer takes the time-out. */
export function concurrencyOf({ requestsPerSecond, timeoutMs }: Account): number {
  return Math.min(Math.ceil((requestsPerSecond * timeoutMs) / 1000), MOST_REQUESTS_AT_ONCE)
}

/** How many batches one worker can run within half a lease, at the account's rate and at the slowest answers. */
export function capacityOf(account: Account, leaseMs: number): number {
  const perSecond = Math.min(account.requestsPerSecond, (concurrencyOf(account) * 1000) / account.timeoutMs)
  return Math.max(1, Math.floor((perSecond * leaseMs) / 2000))
}

/** Serves one tick: every account that is polled and has something due, one after the other. */
export function createDispatcher({ db, queues, accounts, leaseMs }: DispatchOptions) {
  return async function dispatch(_job: Job): Promise<DispatchResult> {
    const result: DispatchResult = {}
    await giveBackExpired(db)
    const due = await findDueAccounts(db, [...accounts.keys()])
    if (due.size === 0) return result
    const { healths, now } = await findHealths(db)
    for (const account of accounts.values()) {
      const health = healths.get(account.name) ?? {}
      if (!due.has(account.name) || isPaused(health, now)) continue
      const added = { jobs: 0, messages: 0 }
      for (const claiming of await claimingsOf({ db, queues, leaseMs, account, health, now })) {
        const { jobs, messages } = await addJobs(claiming)
        added.jobs += jobs
        added.messages += messages
      }
      if (added.jobs > 0) result[account.name] = added
    }
    return result
  }
}

interface Dispatched {
  db: Db
  queues: Queues
  leaseMs: number
  account: Account
  health: AccountHealth
  now: number
}

/**
 * What to claim for an account now: as much as its workers can run; one message while only a probe may ask; and one
 * more, once a day, for a first look-up that has been given up.
 */
async function claimingsOf({ db, queues, leaseMs, account, health, now }: Dispatched): Promise<Claiming[]> {
  const [first] = providerOf(account).lookups(account)
  const lookup = lookupInUse(account, health.lookup)
  if (!lookup || !first) return []
  const queue = queues.statusQuery(account.name)
  if (await queue.isPaused()) return []
  const probe = needsProbe(health)
  // A job that waits for its next attempt is no probe: it is given back when it runs.
  const types: JobType[] = probe
    ? ['waiting', 'active', 'prioritized']
    : ['waiting', 'active', 'prioritized', 'delayed']
  const capacity = probe ? 1 : capacityOf(account, leaseMs)
  const room = Math.max(0, capacity - (await queue.getJobCountByTypes(...types)))
  if (room === 0) return []
  const query = { account: account.name, lookup: lookup.name }
  const claiming: Claiming = { db, queue, leaseMs, lookup, query, room, isFull: room < capacity }
  if (probe) return [{ ...claiming, query: { ...query, probe }, isSingle: true }]
  if (!isTrialDue(health, first.name, now)) return [claiming]
  await moveHealth(db, account.name, (latest) => ({ health: { ...latest, firstTriedAt: now }, events: [] }))
  const trial: Claiming = {
    ...claiming,
    lookup: first,
    query: { ...query, lookup: first.name, trial: true },
    isSingle: true,
  }
  return [trial, claiming]
}

interface Claiming {
  db: Db
  queue: Queue
  query: Query
  lookup: StatusLookup
  leaseMs: number
  room: number
  /** True when jobs of the account are under way. */
  isFull: boolean
  /** One message only: an answer to it says how things are. */
  isSingle?: true
}

type Added = DispatchResult[string]

async function addJobs(claiming: Claiming): Promise<Added> {
  const { byIds, byWindow, paidByRecord } = claiming.lookup
  if (byIds && paidByRecord) return addBatches(claiming, byIds)
  // One sweep at a time: what comes due meanwhile shares the next one.
  if (byWindow) return claiming.isFull ? { jobs: 0, messages: 0 } : addSweep(claiming, byWindow)
  return byIds ? addBatches(claiming, byIds) : { jobs: 0, messages: 0 }
}

/** Claims lot after lot, so that the first batches are under way while the others are claimed. */
async function addBatches(claiming: Claiming, byIds: LookupByIds): Promise<Added> {
  const added = { jobs: 0, messages: 0 }
  for (let hasMore = true; hasMore && added.jobs < claiming.room; ) {
    const batches = Math.min(claiming.room - added.jobs, MOST_BATCHES_A_CLAIM)
    const limit = claiming.isSingle ? 1 : batches * byIds.limits.maxIds
    const lot = await addLot(claiming, byIds.limits, limit)
    added.jobs += lot.jobs
    added.messages += lot.messages
    hasMore = lot.hasMore && !(claiming.isSingle && added.jobs > 0)
  }
  return added
}

async function addLot({ db, queue, leaseMs, query }: Claiming, limits: BatchLimits, limit: number) {
  const { batches, hasMore } = await claimDue(db, { ...query, limit, leaseMs }, (claimed) =>
    cutClaimed(claimed, limits),
  )
  const ids = batches.map(({ id }) => id)
  await orRelease(db, ids, async () => {
    if (batches.length > 0) await queue.addBulk(batchJobs(query, batches))
  })
  const messages = batches.reduce((sum, batch) => sum + batch.messages.length, 0)
  return { jobs: batches.length, messages, hasMore }
}

async function addSweep({ db, queue, leaseMs, query, isSingle }: Claiming, byWindow: LookupByWindow): Promise<Added> {
  const { maxSpanMs, slackMs } = byWindow
  const limit = isSingle ? 1 : MOST_MESSAGES_A_SWEEP
  const window = await claimWindow(db, { ...query, limit, leaseMs, spanMs: maxSpanMs })
  if (!window) return { jobs: 0, messages: 0 }
  const from = new Date(window.from.getTime() - slackMs).toISOString()
  const to = new Date(window.to.getTime() + slackMs).toISOString()
  await orRelease(db, [window.batch], async () => {
    const { name, data, opts } = sweepJob(query, window.batch, { from, to, page: 0 })
    await queue.add(name, data, opts)
  })
  return { jobs: 1, messages: window.messages }
}

/** Adds jobs for claimed batches; when they cannot be added, their messages are due again at once. */
async function orRelease(db: Db, batches: readonly string[], add: () => Promise<void>): Promise<void> {
  try {
    await add()
  } catch (error) {
    for (const batch of batches) await releaseBatch(db, { batch, delayMs: 0 })
    throw error
  }
}

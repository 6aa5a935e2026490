/**
 * The dispatcher: claims what is due in Postgres, cuts it into batches and adds one job a batch to the account's queue.
 *
 * Backpressure: an account's queue never holds more batches than its workers can run within half a lease, so that a
 * claim is still good when its turn comes. If the queue loses its jobs (a flushed Redis, a killed worker) the leases run
 * out and the messages come due again; nothing else is needed for recovery.
 */
import { randomUUID } from 'node:crypto'
import type { Job, Queue } from 'bullmq'
import { cutBatches } from '../core/batching.ts'
import type { Db } from '../db/client.ts'
import { claimDue, releaseClaim } from '../db/messages.ts'
import type { Account, LookupByIds } from '../providers/provider.ts'
import { providerOf } from '../providers/registry.ts'
import type { Accounts } from '../tracking.ts'
import { JOB_VERSION, type Queues, type StatusQueryJob, statusQueryJobOptions } from './queues.ts'

export interface DispatchOptions {
  db: Db
  queues: Queues
  accounts: Accounts
  leaseMs: number
}

/** Batches added, by account. */
export type DispatchResult = Record<string, { batches: number; messages: number }>

const MOST_REQUESTS_AT_ONCE = 100

/** How many requests of an account one worker runs at once: enough to use its whole rate if every answer takes the time-out. */
export function concurrencyOf({ requestsPerSecond, timeoutMs }: Account): number {
  return Math.min(Math.ceil((requestsPerSecond * timeoutMs) / 1000), MOST_REQUESTS_AT_ONCE)
}

/** How many batches one worker can run within half a lease, at the account's rate and at the slowest answers. */
export function capacityOf(account: Account, leaseMs: number): number {
  const perSecond = Math.min(account.requestsPerSecond, (concurrencyOf(account) * 1000) / account.timeoutMs)
  return Math.max(1, Math.floor((perSecond * leaseMs) / 2000))
}

/** Serves one tick: every account that is polled, one after the other. */
export function createDispatcher({ db, queues, accounts, leaseMs }: DispatchOptions) {
  return async function dispatch(_job: Job): Promise<DispatchResult> {
    const result: DispatchResult = {}
    for (const account of accounts.values()) {
      const lookup = providerOf(account).lookup(account)
      if (!lookup) continue
      const queue = queues.statusQuery(account.name)
      const room = await roomIn(queue, capacityOf(account, leaseMs))
      if (room === 0) continue
      const added = await addBatches({ db, queue, account, lookup, leaseMs, room })
      if (added.batches > 0) result[account.name] = added
    }
    return result
  }
}

/** How many more batches a queue may hold: none while it is paused. */
async function roomIn(queue: Queue, capacity: number): Promise<number> {
  if (await queue.isPaused()) return 0
  const held = await queue.getJobCountByTypes('waiting', 'active', 'delayed', 'prioritized')
  return Math.max(0, capacity - held)
}

interface Claiming {
  db: Db
  queue: Queue
  account: Account
  lookup: LookupByIds
  leaseMs: number
  room: number
}

async function addBatches({ db, queue, account, lookup, leaseMs, room }: Claiming) {
  const claim = randomUUID()
  const limit = room * lookup.limits.maxIds
  const claimed = await claimDue(db, { account: account.name, claim, limit, leaseMs })
  const messageIds = [...new Set(claimed.map(({ messageId }) => messageId))]
  const batches = cutBatches(messageIds, (messageId) => messageId, lookup.limits)
  const jobs = batches.map((batch) => {
    const data: StatusQueryJob = { v: JOB_VERSION, account: account.name, claim, messageIds: batch }
    return { name: `${batch.length} messages`, data, opts: statusQueryJobOptions }
  })
  try {
    if (jobs.length > 0) await queue.addBulk(jobs)
  } catch (error) {
    await releaseClaim(db, { account: account.name, claim, messageIds, delayMs: 0 })
    throw error
  }
  return { batches: batches.length, messages: claimed.length }
}

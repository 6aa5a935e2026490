/**
 * The dispatcher: claims what is to be asked about now in Postgres and adds the jobs to the account's queue (claim.ts).
 *
 * Backpressure: an account's queue never holds more batches than its workers can run within half a lease, so that a
 * batch is still held when its turn comes. If the queue loses its jobs (a flushed Redis, a killed worker) the leases run
 * out and the dispatcher gives the messages back; nothing else is needed for recovery.
 */
import type { Job, JobType } from 'bullmq'
import { type AccountHealth, isPaused, isTrialDue, needsProbe } from '../core/account-health.ts'
import { findHealths, moveHealth } from '../db/accounts.ts'
import { runAlone } from '../db/alone.ts'
import { giveBackExpired } from '../db/batches.ts'
import type { Db } from '../db/client.ts'
import { findReceiptsWaitedMsAgo } from '../db/installation.ts'
import { findDueAccounts } from '../db/schedule.ts'
import type { Learner } from '../learner.ts'
import type { Account } from '../providers/account.ts'
import { lookupInUse, providerOf } from '../providers/registry.ts'
import type { Accounts } from '../tracking.ts'
import { type Added, addJobs, type Claiming, NOTHING } from './claim.ts'
import type { Queues } from './queues.ts'
import { createReplanner } from './replan.ts'

export interface DispatchOptions {
  db: Db
  queues: Queues
  accounts: Accounts
  learner: Learner
  leaseMs: number
}

/** Jobs added and messages claimed, by account. */
export type DispatchResult = Record<string, Added>

const MOST_REQUESTS_AT_ONCE = 100
/**
 * Receipts say what asking would find out, so asking leaves the database to them while they wait for it in numbers: it takes
 * one tick in so many, which keeps the messages moving whose window is about to close.
 */
const TICKS_WHILE_RECEIPTS_WAIT = 10
/** Said every second while it is so. */
const RECEIPTS_WAIT_FOR_MS = 3_000

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
export function createDispatcher({ db, queues, accounts, learner, leaseMs }: DispatchOptions) {
  const replan = createReplanner({ db, accounts, learner })
  let ticks = 0

  async function tick(): Promise<DispatchResult> {
    const result: DispatchResult = {}
    ticks += 1
    const isCrowded = (await findReceiptsWaitedMsAgo(db)) < RECEIPTS_WAIT_FOR_MS
    if (isCrowded && ticks % TICKS_WHILE_RECEIPTS_WAIT !== 0) return result
    await giveBackExpired(db)
    await replan()
    const due = await findDueAccounts(db, [...accounts.keys()])
    if (due.size === 0) return result
    const { healths, now } = await findHealths(db)
    for (const account of accounts.values()) {
      const health = healths.get(account.name) ?? {}
      if (!due.has(account.name) || isPaused(health, now)) continue
      const claiming = await claimingOf({ db, queues, learner, leaseMs, account, health, now })
      const added = claiming ? await addJobs(claiming) : NOTHING
      if (added.jobs > 0) result[account.name] = added
    }
    return result
  }

  // Two at once would both see the room that only one may fill.
  return async (_job: Job): Promise<DispatchResult> => (await runAlone(db, 'dispatch', tick)) ?? {}
}

interface Dispatched {
  db: Db
  queues: Queues
  learner: Learner
  leaseMs: number
  account: Account
  health: AccountHealth
  now: number
}

/**
 * The claim for an account now: as much as its workers can run; one message while only a probe may ask, or, once a day,
 * for a first look-up that has been given up.
 */
async function claimingOf(dispatched: Dispatched): Promise<Claiming | undefined> {
  const { db, queues, learner, leaseMs, account, health, now } = dispatched
  const [first] = providerOf(account).lookups(account)
  const lookup = lookupInUse(account, health.lookup)
  if (!lookup || !first) return undefined
  const queue = queues.statusQuery(account.name)
  if (await queue.isPaused()) return undefined
  const probe = needsProbe(health)
  // A job that waits for its next attempt is no probe: it is given back when it runs.
  const types: JobType[] = probe
    ? ['waiting', 'active', 'prioritized']
    : ['waiting', 'active', 'prioritized', 'delayed']
  const capacity = probe ? 1 : capacityOf(account, leaseMs)
  const room = Math.max(0, capacity - (await queue.getJobCountByTypes(...types)))
  if (room === 0) return undefined
  const query = { account: account.name, lookup: lookup.name }
  const plan = learner.planOf(account, lookup)
  const claiming: Claiming = { db, queue, leaseMs, lookup, plan, query, room, isBusy: room < capacity }
  if (probe) return { ...claiming, query: { ...query, probe }, isSingle: true }
  if (!isTrialDue(health, first.name, now)) return claiming
  await moveHealth(db, account.name, (latest) => ({ health: { ...latest, firstTriedAt: now }, events: [] }))
  // The others come in the next tick: a sweep for all of them might answer before the one that is tried.
  return {
    ...claiming,
    lookup: first,
    query: { ...query, lookup: first.name, trial: true },
    isSingle: true,
  }
}

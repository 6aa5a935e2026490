/**
 * The dispatcher: claims what is due in Postgres, cuts it into batches and adds one job a batch to the account's queue;
 * where the provider is asked by time window instead, it adds the first page of one sweep.
 *
 * Backpressure: an account's queue never holds more batches than its workers can run within half a lease, so that a
 * claim is still good when its turn comes. If the queue loses its jobs (a flushed Redis, a killed worker) the leases run
 * out and the messages come due again; nothing else is needed for recovery.
 */
import { randomUUID } from 'node:crypto'
import type { Job, Queue } from 'bullmq'
import { type BatchLimits, cutBatches } from '../core/batching.ts'
import { type AccountState, findAccountStates } from '../db/accounts.ts'
import type { Db } from '../db/client.ts'
import { type ClaimedMessage, claimDue, claimWindow, findDueAccounts, releaseClaim } from '../db/schedule.ts'
import type { Account, LookupByIds, LookupByWindow, StatusLookup } from '../providers/provider.ts'
import { lookupInUse } from '../providers/registry.ts'
import type { Accounts } from '../tracking.ts'
import { type BatchJob, batchJobs, type Queues, sweepJob } from './queues.ts'

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
    const due = await findDueAccounts(db, [...accounts.keys()])
    if (due.size === 0) return result
    const states = await findAccountStates(db)
    for (const account of accounts.values()) {
      if (!due.has(account.name)) continue
      const state = states.get(account.name)
      const lookup = lookupInUse(account, state?.lookup)
      if (!lookup || isPaused(state)) continue
      const queue = queues.statusQuery(account.name)
      // While the provider refuses the account, one job is enough to learn whether it still does.
      const capacity = state?.trouble ? 1 : capacityOf(account, leaseMs)
      const room = await roomIn(queue, capacity)
      if (room === 0) continue
      const added = await addJobs({
        db,
        queue,
        lookup,
        leaseMs,
        room,
        isFull: room < capacity,
        newClaim: () => newClaim(account, lookup, state),
      })
      if (added.jobs > 0) result[account.name] = added
    }
    return result
  }
}

function isPaused(state: AccountState | undefined): boolean {
  return state?.pausedUntil != null && state.pausedUntil.getTime() > Date.now()
}

/** How many more jobs a queue may hold: none while it is paused. */
async function roomIn(queue: Queue, capacity: number): Promise<number> {
  if (await queue.isPaused()) return 0
  const held = await queue.getJobCountByTypes('waiting', 'active', 'delayed', 'prioritized')
  return Math.max(0, capacity - held)
}

/** What every job of one claim carries. */
type Claim = Pick<BatchJob, 'account' | 'lookup' | 'claim' | 'probe'>

function newClaim({ name: account }: Account, { name: lookup }: StatusLookup, state: AccountState | undefined): Claim {
  return { account, lookup, claim: randomUUID(), ...(state?.trouble ? { probe: true } : {}) }
}

interface Claiming {
  db: Db
  queue: Queue
  newClaim(): Claim
  lookup: StatusLookup
  leaseMs: number
  room: number
  /** True when jobs of the account are under way. */
  isFull: boolean
}

type Added = DispatchResult[string]

async function addJobs(claiming: Claiming): Promise<Added> {
  const { byIds, byWindow } = claiming.lookup
  // One sweep at a time: what comes due meanwhile shares the next one.
  if (byWindow) return claiming.isFull ? { jobs: 0, messages: 0 } : addSweep(claiming, byWindow)
  return byIds ? addBatches(claiming, byIds) : { jobs: 0, messages: 0 }
}

/** Claims lot after lot, so that the first batches are under way while the others are claimed. */
async function addBatches(claiming: Claiming, byIds: LookupByIds): Promise<Added> {
  const added = { jobs: 0, messages: 0 }
  for (let hasMore = true; hasMore && added.jobs < claiming.room; ) {
    const limit = Math.min(claiming.room - added.jobs, MOST_BATCHES_A_CLAIM) * byIds.limits.maxIds
    const { jobs, messages } = await addLot(claiming, byIds.limits, limit)
    added.jobs += jobs
    added.messages += messages
    hasMore = messages === limit
  }
  return added
}

async function addLot({ db, queue, newClaim, leaseMs }: Claiming, limits: BatchLimits, limit: number): Promise<Added> {
  const claim = newClaim()
  const claimed = await claimDue(db, { ...claim, limit, leaseMs })
  const batches = batchesOf(claimed, limits)
  await orRelease(db, claim, async () => {
    if (batches.length > 0) await queue.addBulk(batchJobs(claim, batches))
  })
  return { jobs: batches.length, messages: claimed.length }
}

/** Batches of message IDs, each ID once; those the provider has refused to answer about stand alone. */
function batchesOf(claimed: readonly ClaimedMessage[], limits: BatchLimits): string[][] {
  const idsOf = (messages: readonly ClaimedMessage[]) => [...new Set(messages.map(({ messageId }) => messageId))]
  const refused = idsOf(claimed.filter((message) => message.refused))
  const others = idsOf(claimed.filter((message) => !message.refused))
  return [...cutBatches(others, (messageId) => messageId, limits), ...refused.map((messageId) => [messageId])]
}

async function addSweep({ db, queue, newClaim, leaseMs }: Claiming, byWindow: LookupByWindow): Promise<Added> {
  const claim = newClaim()
  const { maxSpanMs, slackMs } = byWindow
  const window = await claimWindow(db, { ...claim, limit: MOST_MESSAGES_A_SWEEP, leaseMs, spanMs: maxSpanMs })
  if (!window) return { jobs: 0, messages: 0 }
  const from = new Date(window.from.getTime() - slackMs).toISOString()
  const to = new Date(window.to.getTime() + slackMs).toISOString()
  await orRelease(db, claim, async () => {
    const { name, data, opts } = sweepJob(claim, { from, to, page: 0 })
    await queue.add(name, data, opts)
  })
  return { jobs: 1, messages: window.messages }
}

/** Adds jobs for a claim; when they cannot be added, its messages are due again at once. */
async function orRelease(db: Db, claim: { account: string; claim: string }, add: () => Promise<void>): Promise<void> {
  try {
    await add()
  } catch (error) {
    await releaseClaim(db, { ...claim, delayMs: 0 })
    throw error
  }
}

/**
 * Turns what is due into jobs: asks the account's plan (core/plan.ts) what is asked about now, claims it, and adds one job
 * for each request, or the first page of one sweep where the provider is asked by time window.
 */
import type { Queue } from 'bullmq'
import { decide, decideSweep, type Plan, type Scheduled, type Sweep } from '../core/plan.ts'
import { minimumInterval } from '../core/polling.ts'
import { type ClaimedMessage, releaseBatch } from '../db/batches.ts'
import type { Db } from '../db/client.ts'
import { reschedule } from '../db/moves.ts'
import { claimDue, lookAtDue } from '../db/schedule.ts'
import { claimWindow, countSent } from '../db/sweeps.ts'
import type { LookupByIds, LookupByWindow, StatusLookup } from '../providers/provider.ts'
import { cutClaimed } from './cut.ts'
import { batchJobs, type Query, sweepJob } from './status-query-jobs.ts'

export interface Claiming {
  db: Db
  queue: Queue
  query: Query
  lookup: StatusLookup
  plan: Plan
  leaseMs: number
  /** How many jobs may be added. */
  room: number
  /** Jobs of the account wait or are under way. */
  isBusy: boolean
  /** One message only, whatever it is worth: an answer to it says how things are. */
  isSingle?: true
}

export interface Added {
  jobs: number
  messages: number
}

export const NOTHING: Added = { jobs: 0, messages: 0 }
const MOST_BATCHES_A_CLAIM = 50
/** Among so many due messages at least those worth most are found, and for a probe one that is not settled yet. */
const FEWEST_LOOKED_AT = 1_000
const MOST_MESSAGES_A_SWEEP = 50_000
/** Pages are counted up to here; more cost no more attention. */
const MOST_PAGES_COUNTED = 50

export async function addJobs(claiming: Claiming): Promise<Added> {
  const { byIds, byWindow, paidByRecord } = claiming.lookup
  if (byIds && paidByRecord) return addBatches(claiming, byIds)
  // One sweep at a time: what comes due meanwhile shares the next one.
  if (byWindow) return claiming.isBusy ? NOTHING : addSweep(claiming, byWindow)
  return byIds ? addBatches(claiming, byIds) : NOTHING
}

/** Claims lot after lot, so that the first batches are under way while the others are claimed. */
async function addBatches(claiming: Claiming, byIds: LookupByIds): Promise<Added> {
  const added = { jobs: 0, messages: 0 }
  for (let goesOn = true; goesOn && added.jobs < claiming.room; ) {
    const lot = await addLot(claiming, byIds, Math.min(claiming.room - added.jobs, MOST_BATCHES_A_CLAIM))
    added.jobs += lot.jobs
    added.messages += lot.messages
    goesOn = lot.hasMore && (lot.jobs > 0 || lot.moved > 0) && !(claiming.isSingle && added.jobs > 0)
  }
  return added
}

async function addLot({ db, queue, leaseMs, query, plan, isSingle }: Claiming, byIds: LookupByIds, requests: number) {
  const { limits } = byIds
  const { account } = query
  const restMs = minimumInterval(plan.policy)
  const most = requests * limits.maxIds
  const isByWorth = plan.policy.policy === 'learned' && !isSingle
  const limit = isSingle || isByWorth ? Math.max(most, FEWEST_LOOKED_AT) : most
  let moves: { id: number; dueAt: number }[] = []
  // Where the budget is short, the most worth goes first, wherever it stands.
  const newest = isByWorth && limit > most ? FEWEST_LOOKED_AT : 0
  const options = { account, limit, newest, leaseMs, places: isSingle ? 1 : limits.maxIds, restMs }
  const { batches, hasMore } = await claimDue(db, options, ({ due, next, now }) => {
    if (isSingle) return cutClaimed(due.slice(0, 1), limits)
    const apart = setApart(due, requests)
    const offered = { due: toOffer(due), next: toOffer(next) }
    const left = requests - apart.length
    const { ask, later } = left > 0 ? decide(plan, offered, now, left) : { ask: [], later: [] }
    moves = later.map(({ message, dueAt }) => ({ id: message.claimed.id, dueAt }))
    return cutClaimed([...apart, ...ask.map(({ claimed }) => claimed)], limits).slice(0, requests)
  })
  const ids = batches.map(({ id }) => id)
  await orRelease(db, ids, async () => {
    if (batches.length > 0) await queue.addBulk(batchJobs(query, batches))
  })
  await reschedule(db, account, moves)
  const messages = batches.reduce((sum, batch) => sum + batch.messages.length, 0)
  return { jobs: batches.length, messages, moved: moves.length, hasMore }
}

/** Messages that are asked about alone, each for a request: a tenth of the requests, or one request where it is next. */
function setApart(due: readonly ClaimedMessage[], requests: number): ClaimedMessage[] {
  if (requests === 1) return due.slice(0, 1).filter(({ refused }) => refused)
  return due.filter(({ refused }) => refused).slice(0, Math.ceil(requests / 10))
}

/** A sweep costs its pages: as many as the messages that were sent in its window take. */
async function addSweep(claiming: Claiming, byWindow: LookupByWindow): Promise<Added> {
  const { db, queue, leaseMs, query, plan, isSingle } = claiming
  const { maxSpanMs, slackMs, pageSize } = byWindow
  const { account } = query
  const { due, now } = await lookAtDue(db, { account, limit: FEWEST_LOOKED_AT })
  const offered = (isSingle ? due.slice(0, 1) : due).map(toScheduled)
  const sweep = decideSweep(plan, offered, now, isSingle ? 0 : maxSpanMs)
  if (!sweep) return NOTHING
  await reschedule(
    db,
    account,
    sweep.later.map(({ message, dueAt }) => ({ id: message.claimed.id, dueAt })),
  )
  const span = { account, from: new Date(sweep.from), to: new Date(sweep.to) }
  if (!isSingle && !(await pays(db, account, plan, sweep, pageSize))) return NOTHING
  const limits = { limit: MOST_MESSAGES_A_SWEEP, most: isSingle ? 1 : undefined }
  const window = await claimWindow(db, { ...span, ...limits, leaseMs, restMs: minimumInterval(plan.policy) })
  if (!window) return NOTHING
  const from = new Date(window.from.getTime() - slackMs).toISOString()
  const to = new Date(window.to.getTime() + slackMs).toISOString()
  await orRelease(db, [window.batch], async () => {
    const { name, data, opts } = sweepJob(query, window.batch, { from, to, page: 0 })
    await queue.add(name, data, opts)
  })
  return { jobs: 1, messages: window.messages }
}

async function pays(
  db: Db,
  account: string,
  plan: Plan,
  { from, to, worth, urgent }: Sweep<unknown>,
  pageSize: number,
) {
  if (urgent) return true
  const span = { account, from: new Date(from), to: new Date(to) }
  const sent = await countSent(db, { ...span, limit: MOST_PAGES_COUNTED * pageSize })
  return sent > 0 && worth >= plan.economy.priceMs * Math.ceil(sent / pageSize)
}

/**
 * Whether messages that the plan would have asked about so long ago are still due. By the learned policy others are due for
 * hours, until a request pays.
 */
export async function isOverdue(
  db: Db,
  { account, lookup, plan, forMs }: { account: string; lookup: StatusLookup; plan: Plan; forMs: number },
): Promise<boolean> {
  const { due, now } = await lookAtDue(db, { account, limit: FEWEST_LOOKED_AT, forMs })
  const scheduled = due.map(toScheduled)
  const { byIds, byWindow, paidByRecord } = lookup
  if (!byWindow || (byIds && paidByRecord)) {
    return decide(plan, { due: scheduled, next: [] }, now - forMs, 1).ask.length > 0
  }
  const sweep = decideSweep(plan, scheduled, now - forMs, byWindow.maxSpanMs)
  return sweep !== undefined && pays(db, account, plan, sweep, byWindow.pageSize)
}

/** The messages that may be asked about together. */
function toOffer(messages: readonly ClaimedMessage[]) {
  return messages.filter(({ refused }) => !refused).map(toScheduled)
}

/** A claimed message as the plan sees it. */
function toScheduled(claimed: ClaimedMessage): Scheduled & { claimed: ClaimedMessage } {
  const { sentAt, windowEndsAt, askedAt, polls, wanted } = claimed
  const window = { sentAt: sentAt.getTime(), windowEndsAt: windowEndsAt.getTime() }
  return { ...window, askedAt: askedAt?.getTime(), polls, wanted, claimed }
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

/**
 * Runs one job of a status query: looks again which of its messages are still to be asked about, asks the provider,
 * applies the answer, tells the account's health (core/account-health.ts) what became of the request, and decides what
 * a failed one means for its messages.
 *
 *   claimed ──┬─ the account waits ── given back until it goes on ────────── completed
 *             └─ check ──┬─ nothing left ─────────────────────────────────── completed
 *                        └─ ask ──┬─ answer ── apply ──────────────────────── completed
 *                                 ├─ throttled ── given back until then ───── completed
 *                                 ├─ in trouble by now ── given back ──────── failed
 *                                 ├─ look-up gone ── given back ───────────── completed
 *                                 ├─ blames the request ── halves ─────────── completed, two jobs more
 *                                 │                     └─ one ID left ──┬─ others were answered: marked ── failed
 *                                 │                                      └─ none was ── as transient
 *                                 ├─ transient ── lease extended ──────────── delayed, next attempt
 *                                 ├─ attempts used up ── given back for later, failed
 *                                 ├─ shutdown ── given back at once ───────── completed
 *                                 └─ database away ────────────────────────── delayed, no attempt used
 */
import { type Job, UnrecoverableError } from 'bullmq'
import {
  type AccountHealth,
  type HealthEvent,
  isPaused,
  mayBlame,
  needsProbe,
  nextHealth,
  type Outcome,
} from '../core/account-health.ts'
import { ProviderError } from '../core/errors.ts'
import { pauseAfterFailure } from '../core/polling.ts'
import { findHealth, moveHealth } from '../db/accounts.ts'
import { extendLease, refuseMessage, releaseBatch, splitBatch } from '../db/batches.ts'
import { isDatabaseUnavailable } from '../db/client.ts'
import { findUnmet } from '../db/sweeps.ts'
import type { StatusLookup } from '../providers/provider.ts'
import { askBatch, type StatusQuerierOptions } from './ask-batch.ts'
import { askSweepPage } from './ask-sweep.ts'
import { groupById } from './cut.ts'
import {
  type BatchJob,
  batchJobs,
  NOTHING_FOUND,
  readStatusQuery,
  STATUS_QUERY_ATTEMPTS,
  type StatusQueryResult,
  type SweepJob,
  waitForDatabase,
} from './queues.ts'

const FIRST_RETRY_MS = 1_000
const LONGEST_RETRY_MS = 30_000
/** How often an ID that the provider refuses is asked about again, alone. */
const REFUSED_PAUSE_MS = 24 * 3_600_000
/** How often good answers are noted, where nothing waits for one. */
const GOOD_NOTED_EVERY_MS = 1_000

/** The pause before the attempt after `attempt`, in whole milliseconds: doubling, with jitter over its upper half. */
export function retryDelay(attempt: number, random = Math.random()): number {
  const longest = Math.min(FIRST_RETRY_MS * 2 ** attempt, LONGEST_RETRY_MS)
  return Math.round(longest / 2 + (random * longest) / 2)
}

type Claimed = BatchJob | SweepJob

export function createStatusQuerier(options: StatusQuerierOptions) {
  const { db, account, lookups, metrics, shutdown } = options
  let goodNotedAt = 0

  /** Notes a good answer at once where somebody waits for one, else now and then. */
  async function noteGood(claimed: Claimed, { bad }: AccountHealth): Promise<void> {
    const isAwaited = bad !== undefined || claimed.probe || claimed.trial || claimed.refusedAt !== undefined
    if (!isAwaited && Date.now() - goodNotedAt < GOOD_NOTED_EVERY_MS) return
    goodNotedAt = Date.now()
    await noteOutcome(options, claimed, { result: 'answered', reason: '' })
  }

  async function run(job: Job, claimed: Claimed): Promise<StatusQueryResult> {
    const { health, now } = await findHealth(db, account.name)
    // An answer that is in hand already is applied.
    if (!job.data.answer && mustWait(health, claimed, now)) {
      return giveBack(options, claimed, health, now, 'the account waits')
    }
    const lookup = lookups.find(({ name }) => name === claimed.lookup)
    if (!lookup) return giveBack(options, claimed, {}, now, `no look-up "${claimed.lookup}" any more`)
    try {
      const result = await ask(options, lookup, job, claimed)
      if (result.asked === 0) return result
      metrics.statusQueries.inc({ account: account.name, result: 'answered' })
      await noteGood(claimed, health)
      return result
    } catch (error) {
      if (!(error instanceof ProviderError)) throw error
      metrics.statusQueries.inc({ account: account.name, result: error.kind })
      return await recover(options, job, claimed, error)
    }
  }

  return async function queryStatuses(job: Job, token?: string): Promise<StatusQueryResult> {
    const claimed = readStatusQuery(job)
    if (!claimed) return { ...NOTHING_FOUND, next: 'claimed by 0.1.0; its messages come due again when the lease ends' }
    try {
      return await run(job, claimed)
    } catch (error) {
      if (error instanceof ProviderError || error instanceof UnrecoverableError) throw error
      if (shutdown.aborted) {
        await releaseBatch(db, { ...claimed, delayMs: 0 })
        return { ...NOTHING_FOUND, next: 'given back at shutdown' }
      }
      if (isDatabaseUnavailable(error)) return waitForDatabase(job, token)
      throw error
    }
  }
}

function ask(options: StatusQuerierOptions, lookup: StatusLookup, job: Job, claimed: Claimed) {
  return 'sweep' in claimed ? askSweepPage(options, lookup, job, claimed) : askBatch(options, lookup, job, claimed)
}

/** True while nobody may ask, or only the one who tries whether things are better. */
function mustWait(health: AccountHealth, { probe, trial }: Claimed, now: number): boolean {
  return isPaused(health, now) || (needsProbe(health) && !probe && !trial)
}

/** Tells the account's health, and the log if somebody should know. */
async function noteOutcome(
  { db, account, lookups, log }: StatusQuerierOptions,
  claimed: Claimed,
  found: Pick<Outcome, 'result' | 'reason' | 'retryAfterMs'>,
) {
  const { lookup, probe, trial: isTrial, refusedAt } = claimed
  const messageId = 'messageIds' in claimed && claimed.messageIds.length === 1 ? claimed.messageIds[0] : undefined
  const outcome: Outcome = {
    ...found,
    messageId,
    lookup,
    isTrial,
    isWhole: !probe && !isTrial && refusedAt === undefined,
  }
  const names = lookups.map(({ name }) => name)
  const step = await moveHealth(db, account.name, (health, now) => nextHealth(health, outcome, now, names))
  for (const event of step.events) logEvent(log, account.name, event)
  return step
}

function logEvent(log: StatusQuerierOptions['log'], account: string, happened: HealthEvent): void {
  const { event, ...details } = happened
  if (event === 'trouble') log.error({ account, ...details }, 'the account gets no good answer; asking is paused')
  else if (event === 'recovered') log.info({ account }, 'the provider answers again')
  else log.warn({ account, ...details }, 'look-up changed')
}

/**
 * Gives the messages back. They are due at once, behind all that were due before: the dispatcher claims nothing while
 * the account waits, and whatever ends the wait ends it for all of them.
 */
async function giveBack(
  { db }: StatusQuerierOptions,
  claimed: Claimed,
  { pausedUntil = 0 }: AccountHealth,
  now: number,
  why: string,
): Promise<StatusQueryResult> {
  await releaseBatch(db, { ...claimed, delayMs: 0 })
  const until = pausedUntil > now ? ` until ${new Date(pausedUntil).toISOString()}` : ''
  return { ...NOTHING_FOUND, next: `given back${until}: ${why}` }
}

/** Decides what a failed request means for its messages; throws what makes BullMQ do it. */
async function recover(
  options: StatusQuerierOptions,
  job: Job,
  claimed: Claimed,
  error: ProviderError,
): Promise<StatusQueryResult> {
  const { kind, message: reason, retryAfterMs } = error
  if (kind === 'request' && (await isMarked(options, claimed))) return mark(options, claimed, error)
  const { health, now } = await noteOutcome(options, claimed, { result: kind, reason, retryAfterMs })
  if (claimed.trial || kind === 'throttled' || kind === 'gone' || mustWait(health, claimed, now)) {
    const given = await giveBack(options, claimed, health, now, reason)
    if (claimed.trial || !health.trouble) return given
    throw new UnrecoverableError(reason)
  }
  if (kind === 'request') {
    if (!('messageIds' in claimed)) return giveUp(options, claimed, error)
    const { messageIds, refusedAt = now } = claimed
    const [messageId = '', ...others] = messageIds
    if (others.length > 0) return cutInHalves(options, { ...claimed, refusedAt }, error)
    if (mayBlame(health, messageId, claimed.refusedAt)) return mark(options, claimed, error)
  }
  if (job.attemptsMade + 1 >= STATUS_QUERY_ATTEMPTS) return giveUp(options, claimed, error)
  await extendLease(options.db, claimed.batch, LONGEST_RETRY_MS + options.leaseMs)
  throw error
}

/** True for a message alone that the provider has refused to answer about before. */
async function isMarked({ db }: StatusQuerierOptions, claimed: Claimed): Promise<boolean> {
  if (!('messageIds' in claimed) || claimed.messageIds.length > 1) return false
  const messages = await findUnmet(db, { batch: claimed.batch, limit: 1 })
  return messages.some(({ refused }) => refused)
}

/** One message is at fault itself: it is asked about alone from then on, once a day. */
async function mark(
  { db, log, account }: StatusQuerierOptions,
  claimed: Claimed,
  { message: reason }: ProviderError,
): Promise<never> {
  await refuseMessage(db, { ...claimed, reason, delayMs: REFUSED_PAUSE_MS })
  const messageIds = 'messageIds' in claimed ? claimed.messageIds : []
  log.warn({ account: account.name, messageIds, reason }, 'the provider refuses to answer about a message')
  throw new UnrecoverableError(reason)
}

/** Halving finds the ID at fault in a number of requests that grows with the logarithm of the batch. */
async function cutInHalves(
  { db, queue, leaseMs }: StatusQuerierOptions,
  { v: _version, messageIds, batch, ...query }: BatchJob,
  error: ProviderError,
): Promise<StatusQueryResult> {
  const groups = groupById(await findUnmet(db, { batch }))
  const middle = Math.ceil(groups.length / 2)
  const parts = [groups.slice(0, middle).flat(), groups.slice(middle).flat()].filter((part) => part.length > 0)
  const halves = await splitBatch(db, { ...query, batch, leaseMs }, parts)
  await queue.addBulk(batchJobs(query, halves))
  return { ...NOTHING_FOUND, asked: messageIds.length, next: `asked again in halves: ${error.message}` }
}

async function giveUp(
  { db, account, log }: StatusQuerierOptions,
  claimed: Claimed,
  error: ProviderError,
): Promise<never> {
  const pause = pauseAfterFailure(account.polling, Math.random())
  await releaseBatch(db, { ...claimed, delayMs: pause })
  log.warn({ account: account.name, reason: error.message }, 'a status query failed')
  throw new UnrecoverableError(error.message)
}

/**
 * Runs one job of a status query: looks again which of its messages are still to be asked about, asks the provider,
 * applies the answer, and decides what a failed request means.
 *
 *   claimed ── check ──┬─ nothing left ─────────────────────────────────── completed
 *                      └─ ask ──┬─ answer ── apply ──────────────────────── completed
 *                               ├─ throttled ── queue waits ─────────────── waiting again, no attempt used
 *                               ├─ transient ── lease extended ──────────── delayed, next attempt
 *                               ├─ blames the request ── halves ─────────── completed, two jobs more
 *                               │                     └─ one ID left ────── failed, ID marked, asked alone from then on
 *                               ├─ look-up gone ── account moves on ─────── completed, given back at once
 *                               ├─ account refused ── account pauses ────── failed, given back for later
 *                               ├─ attempts used up ── given back for later, failed
 *                               ├─ shutdown ── given back at once ───────── completed
 *                               └─ database away ────────────────────────── delayed, no attempt used
 */
import { type Job, RateLimitError, UnrecoverableError } from 'bullmq'
import { ProviderError } from '../core/errors.ts'
import { intervalAfter } from '../core/polling.ts'
import { clearTrouble, recordLookup, recordTrouble } from '../db/accounts.ts'
import { isDatabaseUnavailable } from '../db/client.ts'
import { extendClaim, refuseMessage, releaseClaim } from '../db/schedule.ts'
import { askBatch, type StatusQuerierOptions } from './ask-batch.ts'
import { askSweepPage } from './ask-sweep.ts'
import {
  type BatchJob,
  batchJobs,
  NOTHING_FOUND,
  readJob,
  STATUS_QUERY_ATTEMPTS,
  type StatusQueryResult,
  type SweepJob,
  statusQueryJobSchema,
  waitForDatabase,
} from './queues.ts'

const FIRST_RETRY_MS = 1_000
const LONGEST_RETRY_MS = 30_000
const PATIENCE_WITHOUT_RETRY_AFTER_MS = 10_000
const LONGEST_PATIENCE_MS = 3_600_000
const LONGEST_PAUSE_AFTER_FAILURE_MS = 5 * 60_000
/** How often an account that the provider refuses is tried again. */
const ACCOUNT_PAUSE_MS = 10 * 60_000
/** How often an ID that the provider refuses is asked about again, alone. */
const REFUSED_PAUSE_MS = 24 * 3_600_000

/** The pause before the attempt after `attempt`, in whole milliseconds: doubling, with jitter over its upper half. */
export function retryDelay(attempt: number, random = Math.random()): number {
  const longest = Math.min(FIRST_RETRY_MS * 2 ** attempt, LONGEST_RETRY_MS)
  return Math.round(longest / 2 + (random * longest) / 2)
}

export function createStatusQuerier(options: StatusQuerierOptions) {
  const { db, account, lookups, metrics, shutdown } = options
  return async function queryStatuses(job: Job, token?: string): Promise<StatusQueryResult> {
    const claimed = readJob(job, statusQueryJobSchema)
    try {
      const lookup = lookups.find(({ name }) => name === claimed.lookup)
      if (!lookup) throw new ProviderError('gone', `the look-up "${claimed.lookup}" is not configured any more`)
      const result =
        'sweep' in claimed
          ? await askSweepPage(options, lookup, job, claimed)
          : await askBatch(options, lookup, job, claimed)
      if (result.asked > 0) metrics.statusQueries.inc({ account: account.name, result: 'answered' })
      if (claimed.probe && result.asked > 0 && (await clearTrouble(db, account.name))) {
        options.log.info({ account: account.name }, 'the provider answers again')
      }
      return result
    } catch (error) {
      if (shutdown.aborted && !(error instanceof ProviderError)) {
        await releaseClaim(db, { ...claimed, delayMs: 0 })
        return { ...NOTHING_FOUND, next: 'given back at shutdown' }
      }
      if (isDatabaseUnavailable(error)) return waitForDatabase(job, token)
      if (!(error instanceof ProviderError)) throw error
      metrics.statusQueries.inc({ account: account.name, result: error.kind })
      return recover(options, job, claimed, error)
    }
  }
}

/** Decides what a failed request means for its messages; throws what makes BullMQ do it. */
async function recover(
  options: StatusQuerierOptions,
  job: Job,
  claimed: BatchJob | SweepJob,
  error: ProviderError,
): Promise<StatusQueryResult> {
  switch (error.kind) {
    case 'throttled':
      return waitForProvider(options, claimed, error.retryAfterMs ?? PATIENCE_WITHOUT_RETRY_AFTER_MS)
    case 'request':
      return 'messageIds' in claimed ? cutInHalves(options, job, claimed, error) : giveUp(options, claimed, error)
    case 'gone':
      return moveToNextLookup(options, claimed, error)
    case 'account':
      return pauseAccount(options, claimed, error)
    case 'transient':
      if (job.attemptsMade + 1 >= STATUS_QUERY_ATTEMPTS) return giveUp(options, claimed, error)
      await extendClaim(options.db, { ...claimed, leaseMs: LONGEST_RETRY_MS + options.leaseMs })
      throw error
  }
}

async function waitForProvider(
  { db, queue, leaseMs }: StatusQuerierOptions,
  claimed: BatchJob | SweepJob,
  askedForMs: number,
): Promise<never> {
  const waitMs = Math.max(1, Math.ceil(Math.min(askedForMs, LONGEST_PATIENCE_MS)))
  await extendClaim(db, { ...claimed, leaseMs: waitMs + leaseMs })
  await queue.rateLimit(waitMs)
  throw new RateLimitError()
}

/** Halving finds the ID at fault in a number of requests that grows with the logarithm of the batch. */
async function cutInHalves(
  options: StatusQuerierOptions,
  job: Job,
  { v: _version, messageIds, ...claim }: BatchJob,
  error: ProviderError,
): Promise<StatusQueryResult> {
  const { db, queue, leaseMs, log, account } = options
  if (messageIds.length === 1) {
    const reason = error.message
    await refuseMessage(db, { ...claim, messageIds, reason, delayMs: REFUSED_PAUSE_MS })
    log.warn({ account: account.name, messageIds, reason }, 'the provider refuses to answer about a message')
    throw new UnrecoverableError(reason)
  }
  const middle = Math.ceil(messageIds.length / 2)
  const halves = [messageIds.slice(0, middle), messageIds.slice(middle)]
  await extendClaim(db, { ...claim, messageIds, leaseMs })
  await queue.addBulk(batchJobs(claim, halves, `${job.id}-half`))
  return { ...NOTHING_FOUND, asked: messageIds.length, next: `asked again in halves: ${error.message}` }
}

async function moveToNextLookup(
  options: StatusQuerierOptions,
  claimed: BatchJob | SweepJob,
  error: ProviderError,
): Promise<StatusQueryResult> {
  const { db, account, lookups, log } = options
  const index = lookups.findIndex(({ name }) => name === claimed.lookup)
  const next = lookups[index + 1]
  if (!next && index >= 0) {
    // Back to the first, for when this was a wrong base URL rather than the end of every interface.
    await recordLookup(db, account.name, lookups[0]?.name ?? '')
    return pauseAccount(options, claimed, error)
  }
  if (next && (await recordLookup(db, account.name, next.name))) {
    log.warn({ account: account.name, from: claimed.lookup, to: next.name, reason: error.message }, 'look-up changed')
  }
  await releaseClaim(db, { ...claimed, delayMs: 0 })
  return { ...NOTHING_FOUND, next: next ? `given back, to be asked by ${next.name}` : `given back: ${error.message}` }
}

/** The provider refuses the account: nobody asks for a while, then one job tries whether that is still so. */
async function pauseAccount(
  { db, queue, account, log }: StatusQuerierOptions,
  claimed: BatchJob | SweepJob,
  error: ProviderError,
): Promise<never> {
  const trouble = error.message
  const isNew = await recordTrouble(db, { account: account.name, trouble, pauseMs: ACCOUNT_PAUSE_MS })
  await releaseClaim(db, { ...claimed, delayMs: ACCOUNT_PAUSE_MS })
  await queue.rateLimit(ACCOUNT_PAUSE_MS)
  if (isNew) log.error({ account: account.name, reason: trouble }, 'the provider refuses the account; asking is paused')
  throw new UnrecoverableError(trouble)
}

async function giveUp(
  { db, account, log }: StatusQuerierOptions,
  claimed: BatchJob | SweepJob,
  error: ProviderError,
): Promise<never> {
  const pause = Math.min(intervalAfter(account.polling, 0, Math.random()), LONGEST_PAUSE_AFTER_FAILURE_MS)
  await releaseClaim(db, { ...claimed, delayMs: pause })
  log.warn({ account: account.name, reason: error.message }, 'a status query failed')
  throw new UnrecoverableError(error.message)
}

/**
 * Runs one job of a status query: looks again which of its messages are still to be asked about, asks the provider,
 * applies the answer, tells the account's health (core/account-health.ts) what became of the request, and does with the
 * messages of a failed one what core/provider-failure.ts says.
 *
 *   claimed ──┬─ the account waits ── given back until it goes on ── completed
 *             └─ check ──┬─ nothing left ─────────────────────────── completed
 *                        └─ ask ──┬─ answer ── apply ─────────────── completed
 *                                 ├─ failed ──┬─ given back ──────── completed, or failed where the account is in trouble
 *                                 │           ├─ cut in halves ───── completed, two jobs more
 *                                 │           ├─ set apart ───────── failed
 *                                 │           ├─ retried ─────────── delayed, next attempt
 *                                 │           └─ given up ────────── failed
 *                                 ├─ shutdown ── given back at once  completed
 *                                 └─ database away ───────────────── waiting, no attempt used
 */
import { type Job, UnrecoverableError } from 'bullmq'
import {
  type AccountHealth,
  type HealthEvent,
  mayBlame,
  mustWait,
  nextHealth,
  type Outcome,
} from '../core/account-health.ts'
import { ProviderError } from '../core/errors.ts'
import { LONGEST_RETRY_MS, SET_APART, stepAfter } from '../core/provider-failure.ts'
import { findHealth, moveHealth } from '../db/accounts.ts'
import { extendLease, refuseMessage, releaseBatch, splitBatch } from '../db/batches.ts'
import { isDatabaseUnavailable } from '../db/client.ts'
import { noteFailedQuery } from '../db/status-queries.ts'
import { findUnmet } from '../db/sweeps.ts'
import type { StatusLookup } from '../providers/provider.ts'
import { askBatch, type StatusQuerierOptions } from './ask-batch.ts'
import { askSweepPage } from './ask-sweep.ts'
import { groupById } from './cut.ts'
import { waitForDatabase } from './queues.ts'
import {
  type BatchJob,
  batchJobs,
  NOTHING_FOUND,
  readStatusQuery,
  type StatusQueryResult,
  type SweepJob,
} from './status-query-jobs.ts'

/** How often good answers are noted, where nothing waits for one. */
const GOOD_NOTED_EVERY_MS = 1_000

type Claimed = BatchJob | SweepJob

export function createStatusQuerier(options: StatusQuerierOptions) {
  const { db, account, lookups, metrics, tracing, shutdown } = options
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
    if (!claimed.answer && mustWait(health, triesOf(claimed), now)) {
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
      return await tracing.batch(claimed, () => run(job, claimed))
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

/** A probe and a trial ask for all others whether things are better. */
function triesOf({ probe, trial }: Claimed): { tries: boolean } {
  return { tries: probe === true || trial === true }
}

/** Tells the account's health, and the log if somebody should know. */
async function noteOutcome(
  { db, account, lookups, log }: StatusQuerierOptions,
  claimed: Claimed,
  found: Pick<Outcome, 'result' | 'reason' | 'retryAfterMs'>,
) {
  const { lookup, probe, trial: isTrial, refusedAt } = claimed
  const outcome: Outcome = {
    ...found,
    messageId: aloneIn(claimed),
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

/** The message that is asked about alone, if one is. */
function aloneIn(claimed: Claimed): string | undefined {
  return 'messageIds' in claimed && claimed.messageIds.length === 1 ? claimed.messageIds[0] : undefined
}

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

/** Does with the messages of a failed request what is to be done; throws what makes BullMQ do its part. */
async function recover(
  options: StatusQuerierOptions,
  job: Job,
  claimed: Claimed,
  error: ProviderError,
): Promise<StatusQueryResult> {
  const { db, account, log } = options
  const { kind, message: reason, retryAfterMs } = error
  const alone = aloneIn(claimed)
  await noteFailedQuery(db, { ...claimed, job: job.id }, reason)
  if (kind === 'request' && alone !== undefined && (await isSetApart(db, claimed)))
    return setApart(options, claimed, reason)
  const { health, now } = await noteOutcome(options, claimed, { result: kind, reason, retryAfterMs })
  const failed = {
    kind,
    attempt: job.attemptsMade + 1,
    ids: 'messageIds' in claimed ? claimed.messageIds.length : undefined,
    isTrial: claimed.trial === true,
    mustWait: mustWait(health, triesOf(claimed), now),
    inTrouble: health.trouble !== undefined,
    isToBlame: alone !== undefined && mayBlame(health, alone, claimed.refusedAt),
  }
  const next = stepAfter(failed, account.polling, Math.random())
  switch (next.step) {
    case 'give back': {
      const given = await giveBack(options, claimed, health, now, reason)
      if (next.isFailed) throw new UnrecoverableError(reason)
      return given
    }
    case 'cut in halves':
      return cutInHalves(options, claimed, claimed.refusedAt ?? now, reason)
    case 'set apart':
      return setApart(options, claimed, reason)
    case 'retry':
      await extendLease(db, claimed.batch, LONGEST_RETRY_MS + options.leaseMs)
      throw error
    case 'give up':
      await releaseBatch(db, { ...claimed, delayMs: next.delayMs })
      log.warn({ account: account.name, reason }, 'a status query failed')
      throw new UnrecoverableError(reason)
  }
}

async function isSetApart(db: StatusQuerierOptions['db'], { batch }: Claimed): Promise<boolean> {
  const messages = await findUnmet(db, { batch, limit: 1 })
  return messages.some(({ refused }) => refused)
}

async function setApart({ db, log, account }: StatusQuerierOptions, claimed: Claimed, reason: string): Promise<never> {
  await refuseMessage(db, { ...claimed, reason, delayMs: SET_APART.delayMs })
  log.warn(
    { account: account.name, messageId: aloneIn(claimed), reason },
    'the provider refuses to answer about a message',
  )
  throw new UnrecoverableError(reason)
}

/** Halving finds the ID at fault in a number of requests that grows with the logarithm of the batch. */
async function cutInHalves(
  { db, queue, leaseMs }: StatusQuerierOptions,
  { account, lookup, batch, probe }: Claimed,
  refusedAt: number,
  reason: string,
): Promise<StatusQueryResult> {
  const groups = groupById(await findUnmet(db, { batch }))
  const middle = Math.ceil(groups.length / 2)
  const parts = [groups.slice(0, middle).flat(), groups.slice(middle).flat()].filter((part) => part.length > 0)
  const halves = await splitBatch(db, { batch, account, leaseMs }, parts)
  await queue.addBulk(batchJobs({ account, lookup, probe, refusedAt }, halves))
  return { ...NOTHING_FOUND, asked: groups.length, next: `asked again in halves: ${reason}` }
}

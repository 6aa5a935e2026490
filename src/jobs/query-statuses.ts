/**
 * Runs one batch: looks again which of its messages are still to be asked about, asks the provider, applies the answer.
 *
 *   claimed ── check ──┬─ nothing left ─────────────────────────────── completed
 *                      └─ ask ──┬─ answer ── apply ──────────────────── completed
 *                               ├─ throttled ── queue waits ─────────── waiting again, no attempt used
 *                               ├─ transient ── lease extended ──────── delayed, next attempt
 *                               ├─ account refused, attempts used up ── given back for later, failed
 *                               └─ shutdown ── given back at once ───── completed
 */
import { type Job, type Queue, RateLimitError, UnrecoverableError } from 'bullmq'
import { ProviderError } from '../core/errors.ts'
import { intervalAfter, nextPollAt } from '../core/polling.ts'
import { isFinal } from '../core/status.ts'
import type { Db } from '../db/client.ts'
import { type ClaimedMessage, checkClaim, extendClaim, releaseClaim } from '../db/messages.ts'
import { applyReports, type PolledMessage } from '../db/reports.ts'
import type { Log } from '../log.ts'
import type { Metrics } from '../metrics.ts'
import type { ProviderHttp } from '../providers/http.ts'
import type { Account, LookupByIds, StatusAnswer } from '../providers/provider.ts'
import {
  readJob,
  STATUS_QUERY_ATTEMPTS,
  type StatusQueryJob,
  type StatusQueryResult,
  statusQueryJobSchema,
} from './queues.ts'

export interface StatusQuerierOptions {
  db: Db
  account: Account
  lookup: LookupByIds
  http: ProviderHttp
  queue: Queue
  leaseMs: number
  log: Log
  metrics: Metrics
  /** Aborted when the process must end: requests under way are given up, their messages given back. */
  shutdown: AbortSignal
}

const FIRST_RETRY_MS = 1_000
const LONGEST_RETRY_MS = 30_000
const PATIENCE_WITHOUT_RETRY_AFTER_MS = 10_000
const LONGEST_PATIENCE_MS = 3_600_000
const LONGEST_PAUSE_AFTER_FAILURE_MS = 5 * 60_000

/** The pause before the attempt after `attempt`, in whole milliseconds: doubling, with jitter over its upper half. */
export function retryDelay(attempt: number, random = Math.random()): number {
  const longest = Math.min(FIRST_RETRY_MS * 2 ** attempt, LONGEST_RETRY_MS)
  return Math.round(longest / 2 + (random * longest) / 2)
}

export function createStatusQuerier(options: StatusQuerierOptions) {
  const { db, account, lookup, http, leaseMs, metrics, shutdown } = options
  return async function queryStatuses(job: Job): Promise<StatusQueryResult> {
    const batch = readJob(job, statusQueryJobSchema)
    const { held, settled } = await checkClaim(db, { ...batch, marginMs: account.timeoutMs, leaseMs })
    const messageIds = [...new Set(held.map(({ messageId }) => messageId))]
    const givenBack = Math.max(0, batch.messageIds.length - settled - held.length)
    const result = { asked: messageIds.length, alreadySettled: settled, givenBack, ...NOTHING_FOUND }
    if (messageIds.length === 0) return result
    try {
      const answer = await lookup.ask(http, messageIds, shutdown)
      metrics.statusQueries.inc({ account: account.name, result: 'answered' })
      return { ...result, ...(await applyAnswer(options, batch, held, answer)) }
    } catch (error) {
      if (shutdown.aborted && !(error instanceof ProviderError)) {
        await releaseClaim(db, { ...batch, delayMs: 0 })
        return { ...result, asked: 0, givenBack: batch.messageIds.length - settled }
      }
      if (!(error instanceof ProviderError)) throw error
      metrics.statusQueries.inc({ account: account.name, result: error.kind })
      throw await recover(options, job, batch, error)
    }
  }
}

const NOTHING_FOUND = { final: 0, intermediate: 0, noStatusYet: 0, missing: 0 }

async function applyAnswer(
  { db, account, log, metrics }: StatusQuerierOptions,
  batch: StatusQueryJob,
  held: readonly ClaimedMessage[],
  { reports, missing }: StatusAnswer,
) {
  const now = Date.now()
  const polled = held.map((message): PolledMessage => {
    const { messageId, recipientKey, sentAt, polls } = message
    const moment = { sentAt: sentAt.getTime(), now, polls: polls + 1, random: Math.random() }
    const due = new Date(nextPollAt(account.polling, moment))
    return { account: account.name, messageId, recipientKey, claim: batch.claim, nextPollAt: due }
  })
  const applied = await applyReports(db, reports, polled)
  metrics.observeReports(applied, log)
  const final = reports.filter(({ status }) => isFinal(status)).length
  const noStatusYet = Math.max(0, held.length - reports.length - missing.length)
  return { final, intermediate: reports.length - final, noStatusYet, missing: missing.length }
}

/** Decides what a failed request means for its batch, and returns the error that makes BullMQ do it. */
async function recover(
  { db, account, queue, leaseMs, log }: StatusQuerierOptions,
  job: Job,
  batch: StatusQueryJob,
  error: ProviderError,
): Promise<Error> {
  if (error.kind === 'throttled') {
    const waitMs = Math.min(error.retryAfterMs ?? PATIENCE_WITHOUT_RETRY_AFTER_MS, LONGEST_PATIENCE_MS)
    await extendClaim(db, { ...batch, leaseMs: waitMs + leaseMs })
    await queue.rateLimit(Math.max(1, Math.ceil(waitMs)))
    return new RateLimitError()
  }
  if (error.kind === 'transient' && job.attemptsMade + 1 < STATUS_QUERY_ATTEMPTS) {
    await extendClaim(db, { ...batch, leaseMs: LONGEST_RETRY_MS + leaseMs })
    return error
  }
  const pause = Math.min(intervalAfter(account.polling, 0, Math.random()), LONGEST_PAUSE_AFTER_FAILURE_MS)
  await releaseClaim(db, { ...batch, delayMs: pause })
  log.warn({ account: account.name, messages: batch.messageIds.length, reason: error.message }, 'a status query failed')
  return new UnrecoverableError(error.message)
}

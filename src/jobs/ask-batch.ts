/** Asks about a batch of message IDs: those that still carry its claim, and no others. */
import type { Job, Queue } from 'bullmq'
import { nextPollAt } from '../core/polling.ts'
import { isFinal, type StatusReport } from '../core/status.ts'
import type { Db } from '../db/client.ts'
import { applyReports, type PolledMessage } from '../db/reports.ts'
import { type ClaimedMessage, checkClaim } from '../db/schedule.ts'
import type { Log } from '../log.ts'
import type { Metrics } from '../metrics.ts'
import type { ProviderHttp } from '../providers/http.ts'
import type { Account, StatusLookup } from '../providers/provider.ts'
import { type BatchJob, NOTHING_FOUND, type StatusQueryResult } from './queues.ts'

/** What the jobs of one account's queue work with. */
export interface StatusQuerierOptions {
  db: Db
  account: Account
  lookups: readonly StatusLookup[]
  http: ProviderHttp
  queue: Queue
  leaseMs: number
  log: Log
  metrics: Metrics
  /** Aborted when the process must end: requests under way are given up, their messages given back. */
  shutdown: AbortSignal
}

export async function askBatch(
  options: StatusQuerierOptions,
  lookup: StatusLookup,
  job: Job,
  batch: BatchJob,
): Promise<StatusQueryResult> {
  const { db, account, http, leaseMs, shutdown } = options
  const { byIds } = lookup
  const { held, settled } = await checkClaim(db, { ...batch, marginMs: account.timeoutMs, leaseMs })
  const asked = [...new Map(held.map(({ messageId, sentAt }) => [messageId, { messageId, sentAt }])).values()]
  const givenBack = Math.max(0, batch.messageIds.length - settled - held.length)
  const checked = { ...NOTHING_FOUND, asked: asked.length, alreadySettled: settled, givenBack }
  if (!byIds || (asked.length === 0 && !job.data.answer)) return checked
  const { reports, missing } = await askKeeping(job, lookup, () => byIds.ask(http, asked, shutdown))
  await applyAnswer(options, batch.claim, held, reports)
  const final = reports.filter(({ status }) => isFinal(status)).length
  const noStatusYet = Math.max(0, held.length - reports.length - missing.length)
  return { ...checked, final, intermediate: reports.length - final, noStatusYet, missing: missing.length }
}

/**
 * Asks, and where the provider hands each report out once, keeps the answer with the job before anything is done with
 * it, so that a later attempt of the job finds it there.
 */
export async function askKeeping<A extends { reports: StatusReport[] }>(
  job: Job,
  { readsOnce }: StatusLookup,
  ask: () => Promise<A>,
): Promise<A> {
  const kept: A | undefined = job.data.answer
  if (kept) {
    // Times are text in a job's data.
    return { ...kept, reports: kept.reports.map((report) => ({ ...report, occurredAt: new Date(report.occurredAt) })) }
  }
  const answer = await ask()
  if (readsOnce) await job.updateData({ ...job.data, answer })
  return answer
}

/** Writes what an answer said, and when the messages it answers for are due next. */
export async function applyAnswer(
  { db, account, log, metrics }: StatusQuerierOptions,
  claim: string,
  answered: readonly ClaimedMessage[],
  reports: readonly StatusReport[],
  keepUntracked = true,
): Promise<void> {
  const now = Date.now()
  const polled = answered.map(({ messageId, recipientKey, sentAt, polls }): PolledMessage => {
    const moment = { sentAt: sentAt.getTime(), now, polls: polls + 1, random: Math.random() }
    const due = new Date(nextPollAt(account.polling, moment))
    return { account: account.name, messageId, recipientKey, claim, nextPollAt: due }
  })
  metrics.observeReports(await applyReports(db, reports, polled, { keepUntracked }), log)
}

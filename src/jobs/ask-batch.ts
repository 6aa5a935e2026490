/** Asks about a batch: the messages that it still holds, and no others. */
import type { Job, Queue } from 'bullmq'
import { ProviderError } from '../core/errors.ts'
import { nextDueAt } from '../core/plan.ts'
import type { ProviderErrorKind } from '../core/provider-failure.ts'
import { isFinal, type StatusReport } from '../core/status.ts'
import { type ClaimedMessage, checkBatch, endBatch } from '../db/batches.ts'
import type { Db } from '../db/client.ts'
import { applyReports } from '../db/reports.ts'
import type { AnsweredQuery } from '../db/status-queries.ts'
import type { Learner } from '../learner.ts'
import type { Log } from '../log.ts'
import type { Metrics } from '../metrics.ts'
import type { Account } from '../providers/account.ts'
import type { ProviderHttp } from '../providers/http.ts'
import type { StatusLookup } from '../providers/provider.ts'
import type { Tracing } from '../tracing.ts'
import { type BatchJob, NOTHING_FOUND, type StatusQueryResult, type SweepJob } from './status-query-jobs.ts'

/** The account, its look-ups and the services that the jobs of its queue work with. */
export interface StatusQuerierOptions {
  db: Db
  account: Account
  lookups: readonly StatusLookup[]
  http: ProviderHttp
  queue: Queue
  leaseMs: number
  learner: Learner
  log: Log
  metrics: Metrics
  tracing: Tracing
  /** Aborted when the process must end: requests under way are given up, their messages given back. */
  shutdown: AbortSignal
}

export async function askBatch(
  options: StatusQuerierOptions,
  lookup: StatusLookup,
  job: Job,
  { batch, messageIds, answer }: BatchJob,
): Promise<StatusQueryResult> {
  const { db, account, http, leaseMs, shutdown } = options
  const { byIds } = lookup
  const { held, settled } = await checkBatch(db, { batch, marginMs: account.timeoutMs, leaseMs })
  const asked = [...new Map(held.map(({ messageId, sentAt }) => [messageId, { messageId, sentAt }])).values()]
  const givenBack = Math.max(0, messageIds.length - settled - held.length)
  const checked = { ...NOTHING_FOUND, asked: asked.length, alreadySettled: settled, givenBack }
  if (asked.length === 0 && !answer) {
    await endBatch(db, batch)
    return checked
  }
  if (!byIds) throw new TypeError(`The look-up "${lookup.name}" asks by no IDs.`)
  const { reports, missing } = await askKeeping(options, job, answer, lookup, () => byIds.ask(http, asked, shutdown))
  await applyAnswer(options, lookup, { batch, job: job.id, answered: held, missing }, reports, { asked: asked.length })
  const final = reports.filter(({ status }) => isFinal(status)).length
  const noStatusYet = Math.max(0, held.length - reports.length - missing.length)
  return { ...checked, final, intermediate: reports.length - final, noStatusYet, missing: missing.length }
}

/**
 * Asks, and where the provider hands each report out once, keeps the answer with the job before anything is done with
 * it, so that a later attempt of the job finds it there.
 */
export async function askKeeping<A extends NonNullable<(BatchJob | SweepJob)['answer']>>(
  options: StatusQuerierOptions,
  job: Job,
  kept: A | undefined,
  { readsOnce }: StatusLookup,
  ask: () => Promise<A>,
): Promise<A> {
  if (kept) return kept
  const answer = await measured(options, ask)
  if (readsOnce) await job.updateData({ ...job.data, answer })
  return answer
}

/** Asks, and measures how long that took and by what result. */
async function measured<A>({ account, metrics, tracing }: StatusQuerierOptions, ask: () => Promise<A>): Promise<A> {
  const began = performance.now()
  const observe = (result: 'answered' | ProviderErrorKind) =>
    metrics.statusQueryDuration.observe({ account: account.name, result }, (performance.now() - began) / 1000)
  try {
    const answer = await tracing.request(account.name, ask)
    observe('answered')
    return answer
  } catch (error) {
    if (error instanceof ProviderError) observe(error.kind)
    throw error
  }
}

/** The messages that an answer is about. */
export interface AnsweredBatch {
  batch: string
  /** The job that asked. */
  job: string | undefined
  answered: readonly ClaimedMessage[]
  /** The message IDs that the answer does not mention. */
  missing: readonly string[]
}

interface AnswerOptions {
  /** How many messages a request has asked about, or was told of; undefined where none was made. */
  asked?: number
  goesOn?: boolean
  keepUntracked?: boolean
}

/** Writes what an answer said, and when the messages it answers for are due next. */
export async function applyAnswer(
  { db, account, learner, log, metrics, tracing }: StatusQuerierOptions,
  lookup: StatusLookup,
  { batch, job, answered, missing }: AnsweredBatch,
  reports: readonly StatusReport[],
  { asked, goesOn = false, keepUntracked = true }: AnswerOptions = {},
): Promise<void> {
  const now = learner.now()
  const plan = learner.planOf(account, lookup)
  const messages = answered.map(({ id, sentAt, windowEndsAt, polls }) => {
    const window = { sentAt: sentAt.getTime(), windowEndsAt: windowEndsAt.getTime() }
    const asked = { ...window, askedAt: now, polls: polls + 1 }
    return { id, dueAt: new Date(nextDueAt(plan, asked, now, Math.random())) }
  })
  const request = asked === undefined ? undefined : { account: account.name, ids: asked }
  const query = {
    account: account.name,
    lookup: lookup.name,
    batch,
    job,
    ids: asked,
    messages: wordsFor(answered, reports, missing),
  }
  const options = { answered: { batch, messages, request, query, goesOn }, keepUntracked, now }
  await tracing.found(messages.map(({ id }) => id))
  const applied = await applyReports(db, reports, options)
  metrics.observeReports(applied, learner.now(), log)
  learner.observeReports(applied)
  const told = new Set(reports.map(({ messageId }) => messageId))
  learner.observeOpen(
    account.name,
    answered.filter(({ messageId }) => !told.has(messageId)),
  )
}

/** The provider's latest word for each message, as far as its answer has one. */
function wordsFor(
  answered: readonly ClaimedMessage[],
  reports: readonly StatusReport[],
  missing: readonly string[],
): AnsweredQuery['messages'] {
  const latest = new Map<string, StatusReport>()
  for (const report of reports) {
    // A message that was tracked without a recipient takes the first one's.
    for (const key of [keyOf(report.messageId, report.recipient), keyOf(report.messageId)]) {
      const known = latest.get(key)
      if (!known || (known.recipient === report.recipient && known.occurredAt <= report.occurredAt))
        latest.set(key, report)
    }
  }
  const unmentioned = new Set(missing)
  return answered.map(({ id, messageId, recipientKey, askedAt }) => ({
    id,
    askedAt,
    word: latest.get(keyOf(messageId, recipientKey))?.rawStatus,
    isMissing: unmentioned.has(messageId),
  }))
}

const keyOf = (messageId: string, recipient = '') => `${messageId} ${recipient}`

/**
 * Ends what can't be found out any more: a message whose look-up window has closed becomes `unknown`, by the same write
 * path as every other status, so that a late webhook still corrects it.
 *
 * Deletes what is not kept for ever: reports that nobody tracked within the longest look-up window; changes; nonces that
 * are no longer fresh; what was noted of receivers; attempts of callbacks, and status queries, after a week; and settled messages, callbacks that failed for good, acts and
 * finished jobs after MESSAGES_RETENTION.
 *
 * Adds up what was counted since the last time (db/counts.ts), and has queues forget erased messages that they may still name.
 */
import type { Job, Queue } from 'bullmq'
import type { StatusReport } from '../core/status.ts'
import { deleteActs } from '../db/acts.ts'
import { callbackAttempts } from '../db/attempt-tables.ts'
import { deleteChanges } from '../db/changes.ts'
import type { Db } from '../db/client.ts'
import { deleteOldCounts, foldCounts } from '../db/counts.ts'
import { findUnforgotten, forgetErased, noteForgotten } from '../db/erasure.ts'
import { deleteExpiredNonces } from '../db/nonces.ts'
import { statusQueries } from '../db/query-tables.ts'
import { deleteFreeReceivers } from '../db/receivers.ts'
import { applyReports } from '../db/reports.ts'
import { deleteDated, deleteFailedCallbacks, deleteSettled, deleteUntracked } from '../db/retention.ts'
import { type ClosedMessage, findClosed } from '../db/schedule.ts'
import type { Learner } from '../learner.ts'
import type { Log } from '../log.ts'
import type { Metrics } from '../metrics.ts'
import type { Queues } from './queues.ts'

export interface ExpirerOptions {
  db: Db
  learner: Learner
  log: Log
  metrics: Metrics
  /** How long untracked reports are kept. */
  untrackedForMs: number
  /** How long changes are kept, longer if one of `readers` has not read them yet. */
  changesForMs: number
  readers: readonly string[]
  /** How long settled messages are kept, failed callbacks, and finished jobs. */
  messagesForMs: number
  /** The queues whose finished jobs go. */
  queues: readonly Queue[]
  /** Removes erased messages from every job. */
  forget: Queues['forget']
}

const MOST_AT_ONCE = 1000
/** Longer than a callback is tried, and than jobs are kept that have failed. */
const LATELY_MS = 7 * 86_400_000
/** Closing takes a twentieth of the time at most. */
const CLOSING_SHARE = 20
/** A walk through the settled messages stops here for now, so that windows are closed in time. */
const MOST_STEPS = 20
const LONGEST_BETWEEN_WALKS_MS = 3_600_000

export interface ExpireResult {
  expired: number
  untrackedDeleted: number
  changesDeleted: number
  settledDeleted: number
}

const agoBy = (now: () => number) => (ms: number) => ({ olderThan: new Date(now() - ms), limit: MOST_AT_ONCE })

export function createExpirer(options: ExpirerOptions) {
  const { db, learner, log, metrics, untrackedForMs, changesForMs, messagesForMs, readers } = options
  const deleteOld = createDeleter(options)
  const ago = agoBy(learner.now)
  let closeAgainAt = 0

  /** Reads whatever is past due, so the longer that takes, the rarer it is done. */
  async function closeWindows(): Promise<number> {
    const began = performance.now()
    if (began < closeAgainAt) return 0
    let expired = 0
    for (let hasMore = true; hasMore; ) {
      const found = await findClosed(db, MOST_AT_ONCE)
      if (found.closed.length > 0) {
        // A recipient that has been bound meanwhile makes it another message's key: the next look finds it under that.
        const options = { keepUntracked: false, now: learner.now() }
        const applied = await applyReports(db, found.closed.map(toUnknown), options)
        metrics.observeReports(applied, learner.now(), log)
        learner.observeReports(applied)
      }
      expired += found.closed.length
      hasMore = found.hasMore
    }
    closeAgainAt = began + (performance.now() - began) * CLOSING_SHARE
    return expired
  }

  return async function expire(_job: Job): Promise<ExpireResult> {
    await foldCounts(db)
    const expired = await closeWindows()
    const untrackedDeleted = await untilDone(() => deleteUntracked(db, ago(untrackedForMs)))
    const unreadOlderThan = ago(messagesForMs).olderThan
    const changesDeleted = await untilDone(() => deleteChanges(db, { ...ago(changesForMs), readers, unreadOlderThan }))
    await deleteExpiredNonces(db)
    await forgetErased(db)
    const settledDeleted = await deleteOld()
    // A queue that is away fails this, so it comes last.
    await forgetInQueues(options)
    return { expired, untrackedDeleted, changesDeleted, settledDeleted }
  }
}

/** Walks through the settled messages from the oldest on, and begins again some time after it has come to the end. */
function createDeleter({ db, learner, messagesForMs, queues }: ExpirerOptions) {
  const ago = agoBy(learner.now)
  const pauseMs = Math.min(messagesForMs / 100, LONGEST_BETWEEN_WALKS_MS)
  let beginAt = 0
  let after = 0

  return async function deleteOld(): Promise<number> {
    if (performance.now() < beginAt) return 0
    let settled = 0
    for (let step = 0; step < MOST_STEPS; step++) {
      const { deleted, next } = await deleteSettled(db, { ...ago(messagesForMs), after })
      settled += deleted
      after = next ?? 0
      if (next !== undefined) continue
      await untilDone(() => deleteFailedCallbacks(db, ago(messagesForMs)))
      await untilDone(() => deleteDated(db, callbackAttempts, ago(Math.min(messagesForMs, LATELY_MS))))
      await untilDone(() => deleteDated(db, statusQueries, ago(Math.min(messagesForMs, LATELY_MS))))
      await untilDone(() => deleteActs(db, ago(messagesForMs)))
      await deleteFreeReceivers(db)
      await deleteOldCounts(db)
      for (const queue of queues) await cleanQueue(queue, messagesForMs)
      beginAt = performance.now() + pauseMs
      break
    }
    return settled
  }
}

/** Ends what an erasure has begun: its process died, or the queue was away. */
async function forgetInQueues({ db, forget }: ExpirerOptions): Promise<void> {
  const messages = await findUnforgotten(db, MOST_AT_ONCE)
  if (messages.length === 0) return
  await forget({ messages, isErasedNumber: () => false })
  await noteForgotten(db, messages)
}

async function cleanQueue(queue: Queue, olderThanMs: number): Promise<void> {
  for (const state of ['completed', 'failed'] as const) {
    await untilDone(async () => (await queue.clean(olderThanMs, MOST_AT_ONCE, state)).length)
  }
}

/** Repeats a step that handles MOST_AT_ONCE at a time; returns how many it handled. */
async function untilDone(step: () => Promise<number>): Promise<number> {
  let done = 0
  for (let last = MOST_AT_ONCE; last === MOST_AT_ONCE; done += last) last = await step()
  return done
}

function toUnknown({ account, messageId, recipientKey, windowEndsAt }: ClosedMessage) {
  const report: StatusReport = {
    account,
    messageId,
    status: 'unknown',
    rawStatus: 'window closed',
    occurredAt: windowEndsAt,
    source: 'window',
  }
  return recipientKey === '' ? report : { ...report, recipient: recipientKey }
}

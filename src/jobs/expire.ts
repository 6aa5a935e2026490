/**
 * Ends what can't be found out any more: a message whose look-up window has closed becomes `unknown`, by the same write
 * path as every other status, so that a late webhook still corrects it. Reports that nobody tracked within the longest
 * look-up window, changes older than their retention, and nonces that are no longer fresh, are deleted here too.
 */
import type { Job } from 'bullmq'
import type { StatusReport } from '../core/status.ts'
import { deleteExpiredNonces } from '../db/accounts.ts'
import { deleteChanges } from '../db/changes.ts'
import type { Db } from '../db/client.ts'
import { deleteUntracked } from '../db/messages.ts'
import { applyReports } from '../db/reports.ts'
import { type ClosedMessage, findClosed } from '../db/schedule.ts'
import type { Log } from '../log.ts'
import type { Metrics } from '../metrics.ts'

export interface ExpirerOptions {
  db: Db
  log: Log
  metrics: Metrics
  /** How long untracked reports are kept. */
  untrackedForMs: number
  /** How long changes are kept, longer if one of `readers` has not read them yet. */
  changesForMs: number
  readers: readonly string[]
}

const MOST_AT_ONCE = 1000
/** Closing takes a twentieth of the time at most. */
const CLOSING_SHARE = 20

export interface ExpireResult {
  expired: number
  untrackedDeleted: number
  changesDeleted: number
}

export function createExpirer({ db, log, metrics, untrackedForMs, changesForMs, readers }: ExpirerOptions) {
  let closeAgainAt = 0

  /** Reads whatever is past due, so the longer that takes, the rarer it is done. */
  async function closeWindows(): Promise<number> {
    const began = performance.now()
    if (began < closeAgainAt) return 0
    let expired = 0
    for (let hasMore = true; hasMore; ) {
      const found = await findClosed(db, MOST_AT_ONCE)
      if (found.closed.length > 0) metrics.observeReports(await applyReports(db, found.closed.map(toUnknown)), log)
      expired += found.closed.length
      hasMore = found.hasMore
    }
    closeAgainAt = began + (performance.now() - began) * CLOSING_SHARE
    return expired
  }

  return async function expire(_job: Job): Promise<ExpireResult> {
    const expired = await closeWindows()
    const ago = (ms: number) => ({ olderThan: new Date(Date.now() - ms), limit: MOST_AT_ONCE })
    const untrackedDeleted = await untilDone(() => deleteUntracked(db, ago(untrackedForMs)))
    const changesDeleted = await untilDone(() => deleteChanges(db, { ...ago(changesForMs), readers }))
    await deleteExpiredNonces(db)
    return { expired, untrackedDeleted, changesDeleted }
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

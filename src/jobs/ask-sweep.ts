/**
 * Asks for one page of a sweep: everything that was sent in a window, tracked here or not. Each page is a job of its own,
 * and each answered message leaves the claim at once, so a sweep that is interrupted goes on with the page it was at; if
 * its jobs are lost altogether, what is left of the claim comes due again.
 *
 * Where the provider can be asked by ID as well, a sweep whose next page would cost as much as asking for the rest
 * one by one is ended, and they are: never more than twice the requests of the better way, known only afterwards.
 */
import type { Job } from 'bullmq'
import { isFinal, type Status, type StatusReport } from '../core/status.ts'
import { findClaimed, renewClaim } from '../db/schedule.ts'
import type { LookupByWindow, StatusLookup } from '../providers/provider.ts'
import { applyAnswer, askKeeping, type StatusQuerierOptions } from './ask-batch.ts'
import { batchJobs, NOTHING_FOUND, type StatusQueryResult, type SweepJob, sweepJob } from './queues.ts'

/** How many messages are written at once when a sweep ends without having met them. */
const CHUNK = 1_000

export async function askSweepPage(
  options: StatusQuerierOptions,
  lookup: StatusLookup,
  job: Job,
  { v: _version, sweep, ...claim }: SweepJob,
): Promise<StatusQueryResult> {
  const { db, queue, leaseMs } = options
  const left = await renewClaim(db, { ...claim, leaseMs })
  if (!lookup.byWindow || (left === 0 && !job.data.answer))
    return { ...NOTHING_FOUND, next: 'nothing is left to be found' }
  if (lookup.byIds && left <= sweep.page + 1) {
    const messages = await findClaimed(db, { ...claim, limit: left })
    await queue.addBulk(
      batchJobs(
        claim,
        messages.map(({ messageId }) => [messageId]),
        `${claim.claim}-single`,
      ),
    )
    return { ...NOTHING_FOUND, next: `${left} left, asked one by one` }
  }
  const { hasMore, cursor, ...found } = await askPage(options, lookup, lookup.byWindow, job, claim.claim, sweep)
  const result = { ...NOTHING_FOUND, asked: left, ...found }
  const answered = found.final + found.intermediate + found.noStatusYet
  if (hasMore && answered < left) {
    const next = sweepJob(claim, { ...sweep, page: sweep.page + 1, cursor })
    await queue.add(next.name, next.data, next.opts)
    return { ...result, next: next.name }
  }
  return { ...result, missing: await finishSweep(options, claim.claim) }
}

async function askPage(
  options: StatusQuerierOptions,
  lookup: StatusLookup,
  byWindow: LookupByWindow,
  job: Job,
  claim: string,
  { from, to, page, cursor }: SweepJob['sweep'],
) {
  const window = { from: new Date(from), to: new Date(to), page, cursor }
  const {
    reports,
    noStatusYet,
    hasMore,
    cursor: next,
  } = await askKeeping(job, lookup, () => byWindow.ask(options.http, window, options.shutdown))
  const rows = rowsOf(reports, noStatusYet)
  const messageIds = [...new Set([...reports.map(({ messageId }) => messageId), ...noStatusYet])]
  const claimed = await findClaimed(options.db, { claim, messageIds, limit: MOST_MESSAGES_A_PAGE })
  const met = claimed.flatMap((message) => {
    const row = rows.get(rowKey(message.messageId, message.recipientKey))
    return row ? [{ ...message, ...row }] : []
  })
  // A page tells of everything that was sent, most of which may not be tracked here; what is handed out once is kept.
  await applyAnswer(options, claim, met, reports, lookup.readsOnce ?? false)
  const final = met.filter(({ status }) => isFinal(status)).length
  const intermediate = met.filter(({ status }) => status !== null).length - final
  return { final, intermediate, noStatusYet: met.length - final - intermediate, hasMore, cursor: next }
}

/** Far more than any provider's page has rows. */
const MOST_MESSAGES_A_PAGE = 100_000

interface Row {
  status: Status | null
  recipientKey: string
}

const rowKey = (messageId: string, recipientKey: string) => `${messageId} ${recipientKey}`

/** The rows of a page by message and recipient, and by message alone for those tracked without a recipient. */
function rowsOf(reports: readonly StatusReport[], noStatusYet: readonly string[]): Map<string, Row> {
  const rows = new Map<string, Row>()
  for (const messageId of noStatusYet) rows.set(rowKey(messageId, ''), { status: null, recipientKey: '' })
  for (const { messageId, recipient: recipientKey = '', status } of reports) {
    rows.set(rowKey(messageId, recipientKey), { status, recipientKey })
    // Writing the report binds its recipient to the message, the first one where there are several.
    if (!rows.has(rowKey(messageId, ''))) rows.set(rowKey(messageId, ''), { status, recipientKey })
  }
  return rows
}

/** The last page is over: what still carries the claim is not known to the provider (yet), and takes its next turn. */
async function finishSweep(options: StatusQuerierOptions, claim: string): Promise<number> {
  let missing = 0
  for (;;) {
    const left = await findClaimed(options.db, { claim, limit: CHUNK })
    if (left.length === 0) return missing
    await applyAnswer(options, claim, left, [])
    missing += left.length
  }
}

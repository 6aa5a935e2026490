/**
 * Asks for one page of a sweep: everything that was sent in a window, tracked here or not. Each page is a job of its own,
 * and each message that a page tells of is scheduled at once, so a sweep that is interrupted goes on with the page it was
 * at; if its jobs are lost altogether, the messages that no page told of come due again.
 *
 * Where the provider can be asked by ID as well, a sweep whose next page would cost as much as asking for the rest
 * one by one is ended, and they are: never more than twice the requests of the better way, known only afterwards.
 */
import type { Job } from 'bullmq'
import { isFinal, type Status, type StatusReport } from '../core/status.ts'
import { endBatch, splitBatch } from '../db/batches.ts'
import { findUnmet, findUnmetByIds, renewSweep } from '../db/sweeps.ts'
import type { LookupByWindow, StatusLookup } from '../providers/provider.ts'
import { applyAnswer, askKeeping, type StatusQuerierOptions } from './ask-batch.ts'
import { groupById } from './cut.ts'
import {
  batchJobs,
  NOTHING_FOUND,
  type Query,
  type StatusQueryResult,
  type SweepJob,
  sweepJob,
} from './status-query-jobs.ts'

/** How many messages are written at once when a sweep ends without having met them. */
const CHUNK = 1_000

export async function askSweepPage(
  options: StatusQuerierOptions,
  lookup: StatusLookup,
  job: Job,
  { v: _version, batch, sweep, answer, ...query }: SweepJob,
): Promise<StatusQueryResult> {
  const { queue, leaseMs } = options
  const left = await renewSweep(options.db, { batch, leaseMs })
  if (!lookup.byWindow) throw new TypeError(`The look-up "${lookup.name}" asks by no window.`)
  if (left === 0 && !answer) {
    await endBatch(options.db, batch)
    return { ...NOTHING_FOUND, next: 'nothing is left to be found' }
  }
  if (lookup.byIds && left <= sweep.page + 1) return askOneByOne(options, batch, query, left)
  const { hasMore, cursor, ...found } = await askPage(options, lookup, lookup.byWindow, job, { batch, sweep, answer })
  const result = { ...NOTHING_FOUND, asked: left, ...found }
  const answered = found.final + found.intermediate + found.noStatusYet
  if (hasMore && answered < left) {
    const next = sweepJob(query, batch, { ...sweep, page: sweep.page + 1, cursor })
    await queue.add(next.name, next.data, next.opts)
    return { ...result, next: next.name }
  }
  return { ...result, missing: await finishSweep(options, lookup, batch, job.id) }
}

async function askOneByOne(
  { db, queue, leaseMs }: StatusQuerierOptions,
  batch: string,
  query: Query,
  left: number,
): Promise<StatusQueryResult> {
  const messages = await findUnmet(db, { batch })
  const single = await splitBatch(db, { ...query, batch, leaseMs }, groupById(messages))
  await queue.addBulk(batchJobs(query, single))
  return { ...NOTHING_FOUND, next: `${left} left, asked one by one` }
}

async function askPage(
  options: StatusQuerierOptions,
  lookup: StatusLookup,
  byWindow: LookupByWindow,
  job: Job,
  { batch, sweep: { from, to, page, cursor }, answer }: Pick<SweepJob, 'batch' | 'sweep' | 'answer'>,
) {
  const window = { from: new Date(from), to: new Date(to), page, cursor }
  const {
    reports,
    noStatusYet,
    hasMore,
    cursor: next,
  } = await askKeeping(options, job, answer, lookup, () => byWindow.ask(options.http, window, options.shutdown))
  const rows = rowsOf(reports, noStatusYet)
  const messageIds = [...new Set([...reports.map(({ messageId }) => messageId), ...noStatusYet])]
  const unmet = await findUnmetByIds(options.db, batch, messageIds)
  const met = unmet.flatMap((message) => {
    const row = rows.get(rowKey(message.messageId, message.recipientKey))
    return row ? [{ ...message, ...row }] : []
  })
  // A page tells of everything that was sent, most of which may not be tracked here; what is handed out once is kept.
  const keepUntracked = lookup.readsOnce ?? false
  const answered = { batch, job: job.id, answered: met, missing: [] }
  await applyAnswer(options, lookup, answered, reports, { asked: met.length, goesOn: true, keepUntracked })
  const final = met.filter(({ status }) => isFinal(status)).length
  const intermediate = met.filter(({ status }) => status !== null).length - final
  return { final, intermediate, noStatusYet: met.length - final - intermediate, hasMore, cursor: next }
}

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

/** The last page is over: the messages that none told of are not known to the provider (yet), and take their next turn. */
async function finishSweep(
  options: StatusQuerierOptions,
  lookup: StatusLookup,
  batch: string,
  job: string | undefined,
): Promise<number> {
  let missing = 0
  for (;;) {
    const left = await findUnmet(options.db, { batch, limit: CHUNK })
    const answered = { batch, job, answered: left, missing: left.map(({ messageId }) => messageId) }
    if (left.length > 0) await applyAnswer(options, lookup, answered, [], { goesOn: true })
    missing += left.length
    if (left.length < CHUNK) break
  }
  await endBatch(options.db, batch)
  return missing
}

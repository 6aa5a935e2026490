/**
 * The one write path: whoever found a status, webhook, poll or closing window, it is written here and nowhere else.
 *
 * One statement (report-statement.ts) does it all: status, reports, changes, and, for an answered batch, the schedule. A
 * report whose message is not tracked yet creates the message's row, untracked; the unique key makes that safe against the
 * app tracking it at the same moment. A report of a message that was erased is dropped.
 */
import type { Source, Status, StatusReport } from '../core/status.ts'
import { dateByArrival } from './arrival.ts'
import { type Db, executePrepared, retryLostRaces } from './client.ts'
import { findOnlyRecipients, type MessageKey, withBoundRecipients } from './recipients.ts'
import { type Answered, type Incoming, type ResultRow, statementFor } from './report-statement.ts'

/** The effect of one report on its message. */
export interface AppliedReport {
  report: StatusReport
  /** The report as it was handed over: another object where it was dated ahead of its arrival. */
  given: StatusReport
  previousStatus: Status | null
  status: Status
  changed: boolean
  /** The message is not tracked (yet): the report is kept, and counts once it is. */
  unmatched: boolean
  /** The message before; times in milliseconds since 1970. */
  before: {
    sentAt: number
    askedAt: number | undefined
    trackedAt: number | undefined
    /** The source of the final status it had, and its time. */
    known: { settledBy: Source; changedAt: number } | undefined
  }
}

interface ApplyOptions {
  answered?: Answered | undefined
  /** False: reports of messages nobody knows are passed over. */
  keepUntracked?: boolean
  /**
   * The reports stand in the table already and are only applied; within a transaction of the app, so the changes are
   * recorded at its commit.
   */
  areRecorded?: boolean
  /** When they arrived, in milliseconds since 1970. */
  now?: number
}

/**
 * Writes reports, and what an answer says of the schedule, and returns what each report did, in their order. When it
 * resolves, everything is committed (or part of the caller's transaction). When it rejects, nothing is, save where several
 * reports are of one message: each is written by a statement of its own, and some may be.
 */
export async function applyReports(
  db: Db,
  given: readonly StatusReport[],
  { answered, keepUntracked = true, areRecorded = false, now = Date.now() }: ApplyOptions = {},
): Promise<AppliedReport[]> {
  const reports = areRecorded ? given : await dateByArrival(db, given, new Date(now))
  const options = { answered, keepUntracked, areRecorded }
  const applied = new Map<StatusReport, Applied>()
  let rounds = cutRounds(reports.map(toIncoming))
  while (rounds.length > 0) {
    const [round = [], ...after] = rounds
    const { results, left } = await writeRound(db, round, after.length === 0, options)
    for (const result of results) applied.set(result.report, result)
    rounds = [...left, ...after]
  }
  return reports.flatMap((report, index) => {
    const result = applied.get(report)
    return result ? [{ ...result, given: given[index] ?? report }] : []
  })
}

type Applied = Omit<AppliedReport, 'given'>

type RoundOptions = Pick<ApplyOptions, 'answered' | 'keepUntracked' | 'areRecorded'>

/**
 * Writes a round, by one statement a transaction: its last lock, that of the changes, is held while no row is waited for.
 * Where reports without a recipient turn out to be of one message with others, `left` are those that remain.
 */
async function writeRound(db: Db, round: readonly Incoming[], isLast: boolean, { answered, ...rest }: RoundOptions) {
  const write = async (on: Db, incoming: readonly Incoming[], left: Incoming[][]) => ({
    results: await applyRound(on, incoming, { ...rest, answered: isLast && left.length === 0 ? answered : undefined }),
    left,
  })
  const isKeyed = round.some(({ report }) => report.recipient !== undefined)
  if (!isKeyed) return retryLostRaces(() => write(db, round, []))
  return withBoundRecipients(db, round, async (on) => {
    const [first = [], ...left] = cutRounds(await withRecipients(on, round))
    return write(on, first, left)
  })
}

/** Reports that name no recipient, with that of the only message they can mean. */
async function withRecipients(db: Db, round: readonly Incoming[]): Promise<readonly Incoming[]> {
  const isOpen = ({ recipientKey, report }: Incoming) => recipientKey === '' && report.recipient !== undefined
  const open = round.filter(isOpen)
  if (open.length === 0) return round
  const known = await findOnlyRecipients(db, open)
  const named = new Map<string, string[]>()
  for (const one of round) {
    if (one.recipientKey !== '') named.set(referenceOf(one), [...(named.get(referenceOf(one)) ?? []), one.recipientKey])
  }
  return round.map((one) => {
    if (!isOpen(one)) return one
    const [only = '', ...others] = named.get(referenceOf(one)) ?? []
    const recipientKey = known.get(referenceOf(one)) ?? (others.length === 0 ? only : '')
    return { ...one, recipientKey }
  })
}

const referenceOf = ({ account, messageId }: MessageKey) => `${account} ${messageId}`

async function applyRound(db: Db, round: readonly Incoming[], options: RoundOptions): Promise<Applied[]> {
  const applied: Applied[] = []
  let left = round
  let { answered } = options
  // A row that another transaction created in the meantime is seen by the next attempt.
  while (left.length > 0 || answered) {
    const rows = await executePrepared<ResultRow>(db, statementFor(left, { ...options, answered }))
    const seen = new Set<number>()
    for (const row of rows) {
      seen.add(row.ordinal)
      const report = left[row.ordinal]?.report
      if (report) applied.push(toApplied(report, row))
    }
    left = options.keepUntracked ? left.filter((_, ordinal) => !seen.has(ordinal)) : []
    answered = undefined
  }
  return applied
}

function toApplied(report: StatusReport, row: ResultRow): Applied {
  const { old_status: previousStatus, new_status: status, unmatched, known_by: settledBy } = row
  const known = settledBy ? { settledBy, changedAt: row.known_ms ?? 0 } : undefined
  const [askedAt, trackedAt] = [row.asked_ms ?? undefined, row.tracked_ms ?? undefined]
  const before = { sentAt: row.sent_ms, askedAt, trackedAt, known }
  return { report, previousStatus, status, changed: status !== previousStatus, unmatched, before }
}

function toIncoming(report: StatusReport): Incoming {
  const { account, messageId, recipient: recipientKey = '' } = report
  return { account, messageId, recipientKey, report }
}

const keyOf = (row: MessageKey) => JSON.stringify([row.account, row.messageId, row.recipientKey])

/** Rounds in which no message stands twice, because one statement can update a row only once; at least one round. */
function cutRounds(incoming: readonly Incoming[]): Incoming[][] {
  const rounds: Map<string, Incoming>[] = [new Map()]
  for (const one of incoming) {
    const key = keyOf(one)
    const free = rounds.find((round) => !round.has(key))
    if (free) free.set(key, one)
    else rounds.push(new Map([[key, one]]))
  }
  return rounds.map((round) => [...round.values()])
}

/**
 * The law of order: the status of a message is a function of the set of its reports.
 *
 * Every report has a rank, one number that no two different (status, time) pairs share:
 *
 *   class · 2^50  +  occurredAt in ms · 2^4  +  weight of the status
 *
 * with the classes intermediate (0) < unknown (1) < final (2). The report with the highest rank is the latest news.
 * One fact does not fit a ranking of single reports: `read` implies delivered, so `delivered` after `read` changes
 * nothing, while `failed` after either does. Comparing pairs would form a cycle (read@1 > delivered@2 > failed@1.5 >
 * read@1), so the set keeps two maxima, the latest news and the latest `read`:
 *
 *   status = read     if the latest news says delivered or read, and any report says read
 *          = the status of the latest news otherwise
 *
 * Maxima are commutative, associative and idempotent: arrival order and repeats cannot matter. `db/reports.ts` keeps the
 * same two maxima per row, so one report can be merged without reading the others.
 */
import { INTERMEDIATE_STATUSES, isFinal, type Status } from './status.ts'

/** The parts of a report that the law needs. */
export interface Report {
  status: Status
  occurredAt: Date
}

/** The two maxima, and what follows from them. */
export interface Settlement<R extends Report = Report> {
  status: Status
  final: boolean
  /** The report that decided `status`. */
  decidedBy: R
  latest: R
  read: R | undefined
}

export type Outcome = 'applied' | 'stale' | 'duplicate' | 'contradicting'

const CLASS_STEP = 2 ** 50
const LATEST_MS = 2 ** 46 - 1

/** Breaks ties within one millisecond: proof of delivery beats a failure reported for the same instant. */
const WEIGHTS = {
  accepted: 1,
  transmitted: 2,
  buffered: 3,
  unknown: 1,
  rejected: 2,
  failed: 3,
  undelivered: 4,
  expired: 5,
  delivered: 6,
  read: 7,
} as const satisfies Record<Status, number>

const intermediates: ReadonlySet<Status> = new Set<Status>(INTERMEDIATE_STATUSES)

/** True for the two statuses that say the message reached the handset. */
function isReached(status: Status): boolean {
  return status === 'delivered' || status === 'read'
}

/** The rank of a report: a safe integer, higher is later news. Equal ranks mean equal status and time. */
export function rankOf({ status, occurredAt }: Report): number {
  const rankClass = intermediates.has(status) ? 0 : status === 'unknown' ? 1 : 2
  const ms = Math.min(Math.max(occurredAt.getTime(), 0), LATEST_MS)
  return rankClass * CLASS_STEP + ms * 16 + WEIGHTS[status]
}

/** Merges one more report into a settlement. */
export function merge<R extends Report>(settlement: Settlement<R> | undefined, report: R): Settlement<R> {
  const latest = settlement && rankOf(settlement.latest) >= rankOf(report) ? settlement.latest : report
  const earlierRead = settlement?.read
  const isLaterRead = report.status === 'read' && (!earlierRead || rankOf(report) > rankOf(earlierRead))
  const read = isLaterRead ? report : earlierRead
  const decidedBy = read && isReached(latest.status) ? read : latest
  return { status: decidedBy.status, final: isFinal(decidedBy.status), decidedBy, latest, read }
}

/** The settlement of a set of reports, or undefined when there is none. */
export function settle<R extends Report>(reports: Iterable<R>): Settlement<R> | undefined {
  let settlement: Settlement<R> | undefined
  for (const report of reports) settlement = merge(settlement, report)
  return settlement
}

/** The effect of each report on its message, given the reports in the order in which they arrived. */
export function outcomesOf<R extends Report>(arrived: readonly R[]): Outcome[] {
  let settlement: Settlement<R> | undefined
  const seen = new Set<number>()
  return arrived.map((report) => {
    const before = settlement
    settlement = merge(before, report)
    const repeated = seen.has(rankOf(report))
    seen.add(rankOf(report))
    if (!before || before.status !== settlement.status) return 'applied'
    if (repeated || report.status === before.status) return 'duplicate'
    return isFinal(report.status) && !(isReached(report.status) && isReached(before.status)) ? 'contradicting' : 'stale'
  })
}

/**
 * The lives of a message ID. At a provider where the ID is the sender's own reference, a message that has its final
 * status may be sent again under the same one. A second life begins with it: only reports from then on count for it.
 */
import { type Outcome, outcomesOf, type Report, settle } from './settle.ts'
import { isFinal } from './status.ts'

/** How far the provider's clock may be behind the sender's. */
const CLOCK_SLACK_MS = 5 * 60_000
/** How far a time of sending may be off that is the time of tracking. */
const TRACKING_SLACK_MS = 24 * 3_600_000

/** The known facts of a message that is tracked once more. */
export interface EarlierLife<R extends Report = Report> {
  /** When it was sent, as it was tracked before; undefined where it was not. */
  sentAt: Date | undefined
  /** Since when reports count for the life that it is in; all of them do in the first. */
  lifeSince: Date | undefined
  reports: readonly R[]
}

export interface NextLife<R extends Report = Report> {
  /** Since when reports count. */
  since: Date
  /** The reports that count already: they came before the message was tracked again. */
  reports: R[]
}

/**
 * The life that begins when a message is sent again at `sentAt`; undefined where it is the same sending once more, or
 * where the life before had not come to its end by then. A life that was never tracked is known by its receipts alone.
 */
export function nextLife<R extends Report>(
  { sentAt: before, lifeSince, reports }: EarlierLife<R>,
  sentAt: Date,
): NextLife<R> | undefined {
  if (before && sentAt <= before) return undefined
  const ofThisLife = reports.filter((report) => belongs(report, lifeSince))
  const slack = before ? CLOCK_SLACK_MS : TRACKING_SLACK_MS
  for (const end of [new Date(sentAt.getTime() - slack), ...(before ? [sentAt] : [])]) {
    const ended = settle(ofThisLife.filter(({ occurredAt }) => occurredAt < end))
    if (!ended?.final) continue
    const since = end < sentAt ? end : new Date(latestFinal(ofThisLife, end) + 1)
    return { since, reports: ofThisLife.filter((report) => belongs(report, since)) }
  }
  return undefined
}

function belongs({ occurredAt }: Report, since: Date | undefined): boolean {
  return since === undefined || occurredAt >= since
}

function latestFinal(reports: readonly Report[], end: Date): number {
  const times = reports.filter(({ status, occurredAt }) => isFinal(status) && occurredAt < end)
  return Math.max(...times.map(({ occurredAt }) => occurredAt.getTime()))
}

/** The effect of each report, in the order of arrival, and whether it belongs to a life that is over. */
export function outcomesOfLives(
  reports: readonly Report[],
  lifeSince: Date | null,
): { outcome: Outcome | undefined; isEarlier: boolean }[] {
  const isEarlier = (report: Report) => !belongs(report, lifeSince ?? undefined)
  const earlier = outcomesOf(reports.filter(isEarlier))
  const present = outcomesOf(reports.filter((report) => !isEarlier(report)))
  return reports.map((report) =>
    isEarlier(report) ? { outcome: earlier.shift(), isEarlier: true } : { outcome: present.shift(), isEarlier: false },
  )
}

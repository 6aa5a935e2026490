/**
 * The one write path: whoever found a status, webhook, poll or closing window, it is written here and nowhere else.
 *
 * One statement locks the rows concerned, merges each report by the two maxima of the law of order (core/settle.ts),
 * records the reports, and, for polls, moves the schedule on. A report whose message is not tracked yet creates the
 * message's row, untracked; the unique key makes that safe against the app tracking it at the same moment.
 */
import { type SQL, sql } from 'drizzle-orm'
import { rankOf } from '../core/settle.ts'
import { isFinal, type Status, type StatusReport } from '../core/status.ts'
import { dateByArrival } from './arrival.ts'
import { arrayColumn, type Db, executePrepared, instantOf, jsonText, retryLostRaces } from './client.ts'
import { type MessageKey, withBoundRecipients } from './recipients.ts'
import { messages, statusReports } from './schema.ts'

/** One message of an answered batch: its claim ends, and unless it is final it comes due again at `nextPollAt`. */
export interface PolledMessage extends MessageKey {
  claim: string
  nextPollAt: Date
}

/** What one report did to its message. */
export interface AppliedReport {
  report: StatusReport
  previousStatus: Status | null
  status: Status
  changed: boolean
  /** The message is not tracked (yet): the report is kept, and counts once it is. */
  unmatched: boolean
}

interface Incoming extends MessageKey {
  report?: StatusReport
  polled?: PolledMessage
}

interface ResultRow {
  ordinal: number
  old_status: Status | null
  new_status: Status
  unmatched: boolean
}

/**
 * Writes reports, and what a poll learned about the schedule, and returns what each report did, in their order. With
 * `keepUntracked: false` reports of messages nobody knows are passed over, with `areRecorded` they are only applied: they
 * stand in the table already. When it resolves, everything is committed (or
 * part of the caller's transaction); when it rejects, nothing is.
 */
export async function applyReports(
  db: Db,
  given: readonly StatusReport[],
  polled: readonly PolledMessage[] = [],
  { keepUntracked = true, areRecorded = false } = {},
): Promise<AppliedReport[]> {
  const reports = areRecorded ? given : await dateByArrival(db, given, new Date())
  const rounds = cutRounds(reports, polled)
  const incoming = rounds.flat()
  const write = async (on: Db) => {
    const applied = new Map<StatusReport, AppliedReport>()
    for (const round of rounds) await applyRound(on, round, applied, { keepUntracked, areRecorded })
    return reports.flatMap((report) => applied.get(report) ?? [])
  }
  if (incoming.some(({ recipientKey }) => recipientKey !== '')) return withBoundRecipients(db, incoming, write)
  return retryLostRaces(() => (rounds.length > 1 ? db.transaction(write) : write(db)))
}

interface Kept {
  keepUntracked: boolean
  areRecorded: boolean
}

async function applyRound(
  db: Db,
  round: readonly Incoming[],
  applied: Map<StatusReport, AppliedReport>,
  kept: Kept,
): Promise<void> {
  let left = round
  // A row that another transaction created in the meantime is seen by the next attempt.
  while (left.length > 0) {
    const rows = await executePrepared<ResultRow>(db, statementFor(left, kept))
    const seen = new Set<number>()
    for (const row of rows) {
      seen.add(row.ordinal)
      const report = left[row.ordinal]?.report
      if (report) applied.set(report, toApplied(report, row))
    }
    left = kept.keepUntracked ? left.filter(({ report }, ordinal) => report && !seen.has(ordinal)) : []
  }
}

function toApplied(report: StatusReport, row: ResultRow): AppliedReport {
  const { old_status: previousStatus, new_status: status, unmatched } = row
  return { report, previousStatus, status, changed: status !== previousStatus, unmatched }
}

const keyOf = (row: MessageKey) => JSON.stringify([row.account, row.messageId, row.recipientKey])

const LATEST_RANKED_MS = 2 ** 46 - 1

/** The time as the rank knows it: beyond 1970 to 4199 equal ranks would mean different times, and Postgres refuses some. */
function rankedTime({ occurredAt }: StatusReport): number {
  return Math.min(Math.max(occurredAt.getTime(), 0), LATEST_RANKED_MS)
}

/** Rounds in which no message stands twice, because one statement can update a row only once. */
function cutRounds(reports: readonly StatusReport[], polled: readonly PolledMessage[]): Incoming[][] {
  const rounds: Map<string, Incoming>[] = []
  const place = (key: string): Map<string, Incoming> => {
    const free = rounds.find((round) => !round.has(key)) ?? new Map<string, Incoming>()
    if (free.size === 0) rounds.push(free)
    return free
  }
  for (const report of reports) {
    const incoming = {
      account: report.account,
      messageId: report.messageId,
      recipientKey: report.recipient ?? '',
      report,
    }
    const key = keyOf(incoming)
    place(key).set(key, incoming)
  }
  for (const message of polled) {
    const key = keyOf(message)
    const { account, messageId, recipientKey } = message
    const withReport = rounds[0]?.get(key)
    if (withReport) withReport.polled = message
    else place(key).set(key, { account, messageId, recipientKey, polled: message })
  }
  return rounds.map((round) => [...round.values()])
}

function statementFor(incoming: readonly Incoming[], { keepUntracked, areRecorded }: Kept): SQL {
  const column = (type: string, pick: (row: Incoming, ordinal: number) => unknown) => arrayColumn(incoming, type, pick)
  const columns = sql.join(
    [
      column('int', (_row, ordinal) => ordinal),
      column('text', ({ account }) => account),
      column('text', ({ messageId }) => messageId),
      column('text', ({ recipientKey }) => recipientKey),
      column('lastword.status', ({ report }) => report?.status ?? null),
      column('boolean', ({ report }) => (report ? isFinal(report.status) : null)),
      column('bigint', ({ report }) => (report ? rankOf(report) : null)),
      column('text', ({ report }) => report?.rawStatus ?? null),
      column('lastword.source', ({ report }) => report?.source ?? null),
      column('float8', ({ report }) => (report ? rankedTime(report) : null)),
      column('jsonb', ({ report }) => jsonText(report?.error)),
      column('jsonb', ({ report }) => jsonText(report?.details)),
      column('uuid', ({ polled }) => polled?.claim ?? null),
      column('float8', ({ polled }) => polled?.nextPollAt.getTime()),
    ],
    sql`, `,
  )
  return sql`
    WITH incoming AS (
      SELECT i.*, ${instantOf('occurred_ms')} AS occurred_at, ${instantOf('next_poll_ms')} AS next_poll_at
      FROM unnest(${columns}) AS i (
        ordinal, account, message_id, recipient_key, status, final, rank, raw_status, source, occurred_ms, error,
        details, claim, next_poll_ms
      )
    ), matched AS (
      SELECT i.*, m.id, m.tracked_at, m.claim = i.claim AS held,
        m.life_since IS NULL OR i.occurred_at >= m.life_since AS counts,
        m.status AS old_status, m.status_at AS old_status_at, m.final AS old_final, m.status_rank AS old_rank,
        m.read_at AS old_read_at, m.settled_by AS old_settled_by
      FROM incoming i
      JOIN ${messages} m USING (account, message_id, recipient_key)
      ORDER BY m.id
      FOR UPDATE OF m
    ), merged AS (
      SELECT *, (counts AND rank > old_rank) IS TRUE AS newer,
        greatest(old_read_at, CASE WHEN counts AND status = 'read' THEN occurred_at END) AS new_read_at
      FROM matched
    ), named AS (
      SELECT *,
        CASE
          WHEN new_read_at IS NOT NULL AND (CASE WHEN newer THEN status ELSE old_status END) IN ('delivered', 'read')
          THEN 'read'
          WHEN newer THEN status
          ELSE old_status
        END AS new_status
      FROM merged
    ), settled AS (
      SELECT *,
        (counts AND final) IS TRUE OR old_final AS new_final,
        new_status IS DISTINCT FROM old_status AS changed
      FROM named
    ), updated AS (
      UPDATE ${messages} m SET
        status = s.new_status,
        final = s.new_final,
        status_at = CASE WHEN s.new_status = 'read' THEN s.new_read_at WHEN s.newer THEN s.occurred_at ELSE m.status_at END,
        status_rank = greatest(m.status_rank, s.rank),
        read_at = s.new_read_at,
        settled_by = CASE WHEN s.changed THEN s.source ELSE m.settled_by END,
        polls = m.polls + (s.claim IS NOT NULL)::int,
        next_poll_at = CASE WHEN s.new_final THEN NULL WHEN s.held THEN s.next_poll_at ELSE m.next_poll_at END,
        claim = CASE WHEN s.new_final OR s.held THEN NULL ELSE m.claim END,
        query_error = CASE WHEN s.held THEN NULL ELSE m.query_error END
      FROM settled s
      WHERE m.id = s.id AND (s.newer OR s.claim IS NOT NULL OR s.new_read_at IS DISTINCT FROM s.old_read_at)
    ), created AS (
      INSERT INTO ${messages} AS m (
        account, message_id, recipient_key, sent_at, window_ends_at,
        status, final, status_at, status_rank, read_at, settled_by
      )
      SELECT account, message_id, recipient_key, now(), now(), status, final, occurred_at, rank,
        CASE WHEN status = 'read' THEN occurred_at END, source
      FROM incoming
      WHERE status IS NOT NULL AND ${keepUntracked} AND ordinal NOT IN (SELECT ordinal FROM matched)
      ORDER BY account, message_id, recipient_key
      ON CONFLICT DO NOTHING
      RETURNING m.id, m.account, m.message_id, m.recipient_key
    ), written AS (
      SELECT ordinal, id, status, raw_status, source, occurred_at, error, details, old_status, new_status,
        tracked_at IS NULL AS unmatched
      FROM settled
      UNION ALL
      SELECT i.ordinal, c.id, i.status, i.raw_status, i.source, i.occurred_at, i.error, i.details, NULL, i.status, true
      FROM created c JOIN incoming i USING (account, message_id, recipient_key)
    ), recorded AS (
      INSERT INTO ${statusReports} (message, status, raw_status, source, occurred_at, error, details)
      SELECT w.id, w.status, w.raw_status, w.source, w.occurred_at, w.error, w.details
      FROM written w
      WHERE w.status IS NOT NULL AND NOT ${areRecorded}
        -- A poll that repeats what a poll has said is no news, and most polls do. The limit makes Postgres look by the
        -- index, whatever it takes the size of the table for.
        AND (w.source <> 'poll' OR (
          SELECT 1 FROM ${statusReports} r
          WHERE r.message = w.id AND r.source = 'poll' AND r.status = w.status AND r.occurred_at = w.occurred_at
          LIMIT 1
        ) IS NULL)
    )
    SELECT ordinal, old_status, new_status, unmatched FROM written`
}

/**
 * The statement of the one write path. It locks the rows concerned, merges each report by the two maxima of the law of
 * order (core/settle.ts), records the reports and the changes they made, and, for an answered batch, moves the schedule on
 * (schedule.ts).
 *
 *   incoming ── matched, locked ── merged ── settled ──┬─ updated, scheduled, failed, corrected
 *      └──────── erased: dropped; unknown: created ────┴─ recorded ── the lock of the changes ── changed, told
 *
 * The changes come last, when no row is waited for any more: their lock (changes.ts) is held until the commit.
 */
import { type SQL, sql } from 'drizzle-orm'
import { rankOf } from '../core/settle.ts'
import { FAILURE_STATUSES, isFinal, type Source, type Status, type StatusReport } from '../core/status.ts'
import { CHANGES_CHANNEL, CHANGES_LOCK } from './changes.ts'
import { instantOf, jsonText, millisecondsOf, rowsAs, textArray } from './client.ts'
import { type AnsweredRequest, countedReports } from './counts.ts'
import { erasedKey } from './erasure.ts'
import type { MessageKey } from './recipients.ts'
import { batches, changes, due, erased, failures, messages, statusReports } from './schema.ts'
import { type AnsweredQuery, recordedQuery } from './status-queries.ts'

/** The rest of an answer about a batch, beside the reports. */
export interface Answered {
  batch: string
  /** The messages it answers for: unless a report makes them final, they come due again then. */
  messages: readonly { id: number; dueAt: Date }[]
  /** The request that was answered, to be counted. */
  request?: AnsweredRequest | undefined
  /** The query that was answered, to be kept. */
  query?: AnsweredQuery | undefined
  /** Further answers about the batch will come: it keeps the messages that this one does not answer for. */
  goesOn?: boolean | undefined
}

export interface Incoming extends MessageKey {
  report: StatusReport
}

/** The outcome of the report at a place of `incoming`. */
export interface ResultRow {
  ordinal: number
  old_status: Status | null
  new_status: Status
  unmatched: boolean
  /** Of a tracked message, before this: times in milliseconds since 1970. */
  sent_ms: number
  asked_ms: number | null
  tracked_ms: number | null
  /** The source of its final status, and its time; null where it had none. */
  known_by: Source | null
  known_ms: number | null
}

interface StatementOptions {
  answered?: Answered | undefined
  keepUntracked?: boolean | undefined
  areRecorded?: boolean | undefined
}

const LATEST_RANKED_MS = 2 ** 46 - 1

/** The time as the rank knows it: beyond 1970 to 4199 equal ranks would mean different times, and Postgres refuses some. */
function rankedTime({ occurredAt }: StatusReport): number {
  return Math.min(Math.max(occurredAt.getTime(), 0), LATEST_RANKED_MS)
}

export function statementFor(
  incoming: readonly Incoming[],
  { answered, keepUntracked = true, areRecorded = false }: StatementOptions,
): SQL {
  const query = answered?.query
  const rows = rowsAs('i', incoming, {
    ordinal: ['int', (_row, ordinal) => ordinal],
    account: ['text', ({ account }) => account],
    message_id: ['text', ({ messageId }) => messageId],
    recipient_key: ['text', ({ recipientKey }) => recipientKey],
    status: ['lastword.status', ({ report }) => report.status],
    final: ['boolean', ({ report }) => isFinal(report.status)],
    rank: ['bigint', ({ report }) => rankOf(report)],
    raw_status: ['text', ({ report }) => report.rawStatus],
    source: ['lastword.source', ({ report }) => report.source],
    occurred_ms: ['float8', ({ report }) => rankedTime(report)],
    error: ['jsonb', ({ report }) => jsonText(report.error)],
    details: ['jsonb', ({ report }) => jsonText(report.details)],
  })
  return sql`
    WITH incoming AS (
      SELECT i.*, ${instantOf('occurred_ms')} AS occurred_at, NULL::timestamptz AS due_at
      FROM ${rows}
    ), ${targetsOf(answered)}, matched AS (
      SELECT m.id, i.ordinal, i.status, i.final, i.rank, i.raw_status, i.source, i.occurred_at, i.error, i.details,
        m.account, m.sent_at, m.tracked_at, i.due_at IS NOT NULL AS answered, i.due_at,
        m.life_since IS NULL OR i.occurred_at >= m.life_since AS counts,
        m.status AS old_status, m.status_at AS old_status_at, m.final AS old_final, m.status_rank AS old_rank,
        m.read_at AS old_read_at, m.asked_at AS old_asked_at, m.polls AS old_polls, m.known_after AS old_known_after,
        m.error_code AS old_error_code, CASE WHEN m.final THEN m.settled_by END AS known_by,
        CASE WHEN m.final THEN coalesce(m.changed_at, greatest(m.tracked_at, m.status_at)) END AS known_at
      FROM ${answered ? sql`targets i JOIN ${messages} m USING (id)` : sql`incoming i JOIN ${messages} m USING (${KEY})`}
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
    ), dated AS (
      SELECT *,
        new_status IS DISTINCT FROM old_status AS changed,
        CASE WHEN new_status = 'read' THEN new_read_at WHEN newer THEN occurred_at ELSE old_status_at END AS new_status_at
      FROM named
    ), settled AS (
      SELECT *,
        (counts AND final) IS TRUE OR old_final AS new_final,
        answered AND EXISTS (SELECT FROM held) AS held,
        CASE WHEN changed THEN source ELSE known_by END AS new_known_by,
        CASE WHEN changed THEN now() ELSE known_at END AS new_known_at,
        CASE WHEN changed THEN ${secondsSince('new_status_at')} ELSE old_known_after END AS new_known_after,
        CASE WHEN newer THEN ${errorCode} ELSE old_error_code END AS new_error_code,
        old_polls + answered::int AS new_polls
      FROM dated
    ), updated AS (
      UPDATE ${messages} m SET
        status = s.new_status,
        final = s.new_final,
        status_at = s.new_status_at,
        status_rank = CASE WHEN s.counts THEN greatest(m.status_rank, s.rank) ELSE m.status_rank END,
        read_at = s.new_read_at,
        settled_by = CASE WHEN s.changed THEN s.source ELSE m.settled_by END,
        changed_at = coalesce(s.new_known_at, m.changed_at),
        known_after = s.new_known_after,
        error_code = s.new_error_code,
        polls = s.new_polls,
        asked_at = CASE WHEN s.answered THEN now() ELSE m.asked_at END,
        wanted_at = CASE WHEN s.answered THEN NULL ELSE m.wanted_at END,
        due_at = CASE WHEN s.new_final THEN NULL WHEN s.held THEN s.due_at ELSE m.due_at END,
        query_error = CASE WHEN s.held THEN NULL ELSE m.query_error END
        ${areRecorded ? sql`, tracked_at = m.tracked_at` : sql``}
      FROM settled s
      WHERE m.id = s.id AND (s.newer OR s.answered OR s.new_read_at IS DISTINCT FROM s.old_read_at)
      RETURNING m.id
    ), scheduled AS (
      INSERT INTO ${due} (account, due_at, message)
      SELECT account, due_at, id FROM settled WHERE held AND NOT new_final
      ON CONFLICT DO NOTHING
      RETURNING message
    ), failed AS (
      INSERT INTO ${failures} (message, account, status, code, sent_at)
      SELECT id, account, new_status, new_error_code, sent_at
      FROM settled WHERE newer AND tracked_at IS NOT NULL AND new_status = ANY(${FAILED})
      ON CONFLICT (message) DO UPDATE SET status = excluded.status, code = excluded.code
    ), corrected AS (
      DELETE FROM ${failures} WHERE message IN (
        SELECT id FROM settled WHERE changed AND old_status = ANY(${FAILED}) AND new_status <> ALL(${FAILED})
      )
    ), dropped AS (
      SELECT ordinal, status FROM incoming i
      WHERE ordinal NOT IN (SELECT ordinal FROM matched WHERE ordinal IS NOT NULL) AND EXISTS (
        SELECT FROM ${erased} WHERE key IN (
          ${erasedKey(sql.raw('i.account'), sql.raw('i.message_id'), sql.raw('i.recipient_key'))},
          ${erasedKey(sql.raw('i.account'), sql.raw('i.message_id'), sql.raw("''"))}
        )
      )
    ), created AS (
      INSERT INTO ${messages} AS m (
        account, message_id, recipient_key, number, sent_at, window_ends_at,
        status, final, status_at, status_rank, read_at, settled_by, changed_at, known_after, error_code
      )
      SELECT account, message_id, recipient_key, nullif(recipient_key, ''), now(), now(), status, final, occurred_at, rank,
        CASE WHEN status = 'read' THEN occurred_at END, source, now(), ${secondsSince('occurred_at')},
        ${errorCode}
      FROM incoming i
      WHERE ${keepUntracked} AND ordinal NOT IN (SELECT ordinal FROM matched WHERE ordinal IS NOT NULL)
        AND ordinal NOT IN (SELECT ordinal FROM dropped)
        -- A row that was there, and was gone when its lock was had, has been erased: this statement does not see that yet.
        AND NOT EXISTS (SELECT FROM ${messages} m WHERE (${qualifiedKey('m')}) = (${qualifiedKey('i')}))
      ORDER BY account, message_id, recipient_key
      ON CONFLICT DO NOTHING
      RETURNING m.id, m.account, m.message_id, m.recipient_key
    ), written AS (
      SELECT ordinal, id, status, raw_status, source, occurred_at, error, details, old_status, new_status,
        tracked_at IS NULL AS unmatched, sent_at, old_asked_at, tracked_at, known_by, known_at
      FROM settled WHERE ordinal IS NOT NULL
      UNION ALL
      SELECT i.ordinal, c.id, i.status, i.raw_status, i.source, i.occurred_at, i.error, i.details, NULL, i.status, true,
        now(), NULL, NULL, NULL, NULL
      FROM created c JOIN incoming i USING (account, message_id, recipient_key)
    ), recorded AS (
      INSERT INTO ${statusReports} (message, status, raw_status, source, occurred_at, error, details)
      SELECT w.id, w.status, w.raw_status, w.source, w.occurred_at, w.error, w.details
      FROM written w
      WHERE NOT ${areRecorded}
        -- A poll that repeats what a poll has said is no news, and most polls do. The limit makes Postgres look by the
        -- index, whatever it takes the size of the table for.
        AND (w.source <> 'poll' OR (
          SELECT 1 FROM ${statusReports} r
          WHERE r.message = w.id AND r.source = 'poll' AND r.status = w.status AND r.occurred_at = w.occurred_at
          LIMIT 1
        ) IS NULL)
      RETURNING id
    ), ${countedReports(answered?.request, areRecorded)}${query ? sql`, ${recordedQuery(query)}` : sql``}${
      areRecorded ? sql`` : recordedChanges(query !== undefined)
    }
    SELECT ordinal, old_status, new_status, unmatched, ${millisecondsOf('sent_at')} AS sent_ms,
      ${millisecondsOf('old_asked_at')} AS asked_ms, ${millisecondsOf('tracked_at')} AS tracked_ms, known_by, ${millisecondsOf('known_at')} AS known_ms
      ${areRecorded ? sql`` : sql`, (SELECT count(*) FROM told)`}
    FROM written
    UNION ALL SELECT ordinal, NULL, status, true, NULL, NULL, NULL, NULL, NULL ${areRecorded ? sql`` : sql`, 0`} FROM dropped`
}

/** How long after something it is known now, in whole seconds. A report may be dated in 1970. */
const secondsSince = (time: string) =>
  sql.raw(`least(greatest(ceil(extract(epoch FROM now() - ${time})), 0), 2000000000)::int`)

const KEY = sql.raw('account, message_id, recipient_key')
const qualifiedKey = (alias: string) => sql.raw(`${alias}.account, ${alias}.message_id, ${alias}.recipient_key`)
const FAILED = sql.raw(`'{${FAILURE_STATUSES.join()}}'::lastword.status[]`)
const errorCode = sql`CASE WHEN status = ANY(${FAILED}) THEN error ->> 'code' END`

/**
 * The batch that is answered, if it is still there, and the rows to be locked: those of the reports, by their keys, and
 * those answered for, by their own IDs, because a report may just have changed the key of one.
 */
function targetsOf(answered: Answered | undefined): SQL {
  if (!answered) return sql`held AS (SELECT WHERE false)`
  const { batch, goesOn } = answered
  const told = textArray(
    answered.messages.map(({ id }) => id),
    'bigint',
  )
  const held = goesOn
    ? sql`UPDATE ${batches} SET messages = ARRAY(SELECT unnest(messages) EXCEPT SELECT unnest(${told}))`
    : sql`DELETE FROM ${batches}`
  const rows = rowsAs('a', answered.messages, {
    id: ['bigint', ({ id }) => id],
    due_ms: ['float8', ({ dueAt }) => dueAt.getTime()],
  })
  return sql`
    held AS (${held} WHERE id = ${batch} RETURNING id), targets AS (
      SELECT id, r.ordinal, r.status, r.final, r.rank, r.raw_status, r.source, r.occurred_at, r.error, r.details,
        ${instantOf('a.due_ms')} AS due_at
      FROM (SELECT m.id, i.* FROM incoming i JOIN ${messages} m USING (${KEY})) r
      FULL JOIN ${rows} USING (id)
    )`
}

/** The changes of tracked messages, after everything else, and a word to those who listen for them. */
const recordedChanges = (isQueried: boolean) => sql`, locked AS MATERIALIZED (
      SELECT pg_advisory_xact_lock(${sql.raw(CHANGES_LOCK)})
      FROM (SELECT count(*) FROM updated) u, (SELECT count(*) FROM created) c,
        (SELECT count(*) FROM recorded) r, (SELECT count(*) FROM scheduled) d, (SELECT count(*) FROM counted) n${isQueried ? sql`, (SELECT count(*) FROM queried) q` : sql``}
      WHERE EXISTS (SELECT FROM settled WHERE changed AND tracked_at IS NOT NULL)
    ), changed AS (
      INSERT INTO ${changes} (position, message, status, previous_status, source, occurred_at, changed_at)
      SELECT nextval('lastword.change_positions'), id, new_status, old_status, source, new_status_at, clock_timestamp()
      FROM (
        SELECT s.* FROM settled s CROSS JOIN locked WHERE s.changed AND s.tracked_at IS NOT NULL ORDER BY s.ordinal
      ) s
      RETURNING position
    ), told AS MATERIALIZED (
      SELECT pg_notify(${sql.raw(`'${CHANGES_CHANNEL}'`)}, '') FROM (SELECT count(*) AS n FROM changed) c WHERE n > 0
    )`

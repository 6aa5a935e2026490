/**
 * Counts by the hour and the account, kept by the statements that change what they count, so that nobody has to look
 * through the messages. A count is a sum of whole numbers under `measure` and `key`:
 *
 *   outstanding  messages without a final status, by the hour in which they were sent.
 *   ended        messages with a final status, by the hour in which the status that stands was written. The key says the
 *                status, who brought it, how long after it happened it was known, and whether the message was ever asked
 *                about before (the function `ended_key` of the database).
 *   reason       those of them that failed with an error code, by the code.
 *   requests     requests to the provider's status API that it answered, by the hour; ids: the messages they told of.
 *
 * The first three follow from the row of a message alone. A statement that changes such a row takes back what the row
 * stood for and adds what it stands for now: a correction leaves the hour it was in. History stays: a message that is
 * deleted, or sent again under its ID, leaves `ended` as it is, and only what is outstanding goes with it.
 *
 * Statements add their few rows to `counts_pending`, which nobody waits for; a job folds them into `hour_counts` now and
 * then. A reader adds both, so the counts are exact at every moment.
 */
import { type SQL, sql } from 'drizzle-orm'
import { type Count, type SentHour, type Statistics, statisticsOf } from '../core/statistics.ts'
import { type Db, executePrepared, millisecondsOf, retryLostRaces, textArray } from './client.ts'
import { countsPending, hourCounts } from './schema.ts'

/** Longer codes are cut, so that no provider can write much into a key. */
const LONGEST_CODE = sql.raw('40')

/** The hour of a time, whatever the time zone of the session. */
function hourOf(time: string): SQL {
  return sql.raw(`date_bin('1 hour', ${time}, '2000-01-01Z'::timestamptz)`)
}

const insertPending = sql`INSERT INTO ${countsPending} (account, hour, measure, key, n)`

/** A step of a statement that counts the outstanding among rows with `account`, `sent_at` and `final`: 1 adds, -1 takes away. */
export function countedOutstanding(rows: SQL, n: 1 | -1): SQL {
  return sql`counted AS (
      ${insertPending}
      SELECT account, ${hourOf('sent_at')}, 'outstanding', '', ${sql.raw(String(n))} * count(*)
      FROM ${rows} r WHERE NOT final GROUP BY 1, 2
    )`
}

const settled = sql`
      SELECT account, ${hourOf('sent_at')}, 'outstanding', '', -count(*)
      FROM settled WHERE tracked_at IS NOT NULL AND new_final AND NOT old_final GROUP BY 1, 2`

/** A message is counted anew when its status changes, and when an ended one is asked about for the first time. */
const endedAnew = sql.raw('tracked_at IS NOT NULL AND (changed OR old_final AND answered AND old_polls = 0)')
const hasOtherReason = sql.raw('tracked_at IS NOT NULL AND (changed OR new_error_code IS DISTINCT FROM old_error_code)')

const ended = sql`
      SELECT account, ${hourOf('new_known_at')}, 'ended',
        lastword.ended_key(new_status, new_known_by, new_known_after, new_polls), count(*)
      FROM settled WHERE ${endedAnew} AND new_final GROUP BY 1, 2, 4
      UNION ALL
      SELECT account, ${hourOf('known_at')}, 'ended',
        lastword.ended_key(old_status, known_by, old_known_after, old_polls), -count(*)
      FROM settled WHERE ${endedAnew} AND old_final GROUP BY 1, 2, 4
      UNION ALL
      SELECT account, ${hourOf('new_known_at')}, 'reason', left(new_error_code, ${LONGEST_CODE}), count(*)
      FROM settled WHERE ${hasOtherReason} AND new_final AND new_error_code IS NOT NULL GROUP BY 1, 2, 4
      UNION ALL
      SELECT account, ${hourOf('known_at')}, 'reason', left(old_error_code, ${LONGEST_CODE}), -count(*)
      FROM settled WHERE ${hasOtherReason} AND old_final AND old_error_code IS NOT NULL GROUP BY 1, 2, 4`

/** A request that the provider answered. */
export interface AnsweredRequest {
  account: string
  /** How many messages it asked about, or told of. */
  ids: number
}

/**
 * The step that counts in the statement of the one write path, from its rows `settled`, with the request that was
 * answered, if one was. Where reports were recorded before (`areRecorded`), the trigger that records their changes at the
 * commit counts what has ended.
 */
export function countedReports(request: AnsweredRequest | undefined, areRecorded: boolean): SQL {
  const parts = [settled]
  if (!areRecorded) parts.push(ended)
  if (request) {
    const { account, ids } = request
    parts.push(sql`
      SELECT ${account}::text, ${hourOf('now()')}, r.* FROM (VALUES ('requests', '', 1), ('ids', '', ${ids}::int)) r`)
  }
  return sql`counted AS (
      ${insertPending}${sql.join(
        parts,
        sql`
      UNION ALL`,
      )}
      RETURNING n
    )`
}

const MOST_FOLDED_AT_ONCE = 50_000

/** Adds to `hour_counts` what statements have left in `counts_pending`. Several processes may do so at once. */
export async function foldCounts(db: Db): Promise<void> {
  await retryLostRaces(() =>
    db.execute(sql`
    WITH taken AS (
      DELETE FROM ${countsPending} WHERE ctid = ANY(ARRAY(
        SELECT ctid FROM ${countsPending} LIMIT ${MOST_FOLDED_AT_ONCE} FOR UPDATE SKIP LOCKED
      )) RETURNING *
    )
    INSERT INTO ${hourCounts} AS h (account, hour, measure, key, n)
    SELECT account, hour, measure, key, sum(n) FROM taken
    GROUP BY account, hour, measure, key HAVING sum(n) <> 0
    ORDER BY measure, hour, account, key
    ON CONFLICT (measure, hour, account, key) DO UPDATE SET n = h.n + excluded.n`),
  )
}

/** So long the counts of an hour are kept. */
const KEPT_FOR = sql.raw("interval '400 days'")

/** Deletes what was counted long ago, and the hours of which nothing is outstanding any more. */
export async function deleteOldCounts(db: Db): Promise<void> {
  await db.execute(sql`DELETE FROM ${hourCounts} WHERE hour < now() - ${KEPT_FOR} AND measure <> 'outstanding'`)
  await db.execute(sql`DELETE FROM ${hourCounts} WHERE measure = 'outstanding' AND n = 0`)
}

interface CountRow extends Record<string, unknown>, Count {
  account: string
  hour: number
}

/** An account, or all; hours from `from` until before `to`. */
export interface CountedRange {
  account?: string | undefined
  from: Date
  to: Date
}

/** The sums of these measures, by `by` and the key. The hour is in milliseconds since 1970. */
async function sumCounts(
  db: Db,
  measures: readonly string[],
  by: readonly ('account' | 'hour')[],
  { account, from, to }: Partial<CountedRange>,
): Promise<readonly CountRow[]> {
  const isMeant = sql.join(
    [
      sql`measure = ANY(${textArray(measures)})`,
      ...(account === undefined ? [] : [sql`account = ${account}`]),
      ...(from ? [sql`hour >= ${from.toISOString()}::timestamptz`] : []),
      ...(to ? [sql`hour < ${to.toISOString()}::timestamptz`] : []),
    ],
    sql` AND `,
  )
  const columns = sql.raw([...by, 'measure', 'key'].join(', '))
  return executePrepared<CountRow>(
    db,
    sql`
    SELECT ${by.includes('account') ? sql`account` : sql`''`} AS account,
      ${by.includes('hour') ? millisecondsOf('hour') : sql`0`} AS hour, measure, key, sum(n)::float8 AS n
    FROM (
      SELECT account, hour, measure, key, n FROM ${hourCounts} WHERE ${isMeant}
      UNION ALL
      SELECT account, hour, measure, key, n FROM ${countsPending} WHERE ${isMeant}
    ) c
    GROUP BY ${columns} HAVING sum(n) <> 0
    ORDER BY ${columns}`,
  )
}

/** Messages that are outstanding, by account and by the hour in which they were sent, the longest ago first. */
export async function findOutstanding(db: Db, account?: string): Promise<Map<string, SentHour[]>> {
  const rows = await sumCounts(db, ['outstanding'], ['account', 'hour'], { account })
  const accounts = groupBy(rows, (row) => row.account)
  return new Map([...accounts].map(([name, hours]) => [name, hours.map(({ hour, n }) => ({ hour, messages: n }))]))
}

const STATISTICS = ['ended', 'requests', 'ids']

/** The statistics of each hour in which something happened, the earliest first; hours are milliseconds since 1970. */
export async function findHours(db: Db, range: CountedRange): Promise<({ hour: number } & Statistics)[]> {
  const rows = await sumCounts(db, STATISTICS, ['hour'], range)
  const hours = groupBy(rows, ({ hour }) => hour)
  return [...hours].map(([hour, counts]) => ({ hour, ...statisticsOf(counts) }))
}

/** The statistics of a range of hours, by account. */
export async function findTotals(db: Db, range: CountedRange): Promise<Map<string, Statistics>> {
  const rows = await sumCounts(db, STATISTICS, ['account'], range)
  return new Map(
    [...groupBy(rows, ({ account }) => account)].map(([account, counts]) => [account, statisticsOf(counts)]),
  )
}

/** The error codes of the messages that failed within a range of hours, the most frequent first. */
export async function findReasons(db: Db, range: CountedRange): Promise<{ code: string; messages: number }[]> {
  const rows = await sumCounts(db, ['reason'], [], range)
  return rows.map(({ key, n }) => ({ code: key, messages: n })).sort((a, b) => b.messages - a.messages)
}

function groupBy<Row, Key>(rows: readonly Row[], keyOf: (row: Row) => Key): Map<Key, Row[]> {
  const groups = new Map<Key, Row[]>()
  for (const row of rows) {
    const group = groups.get(keyOf(row))
    if (group) group.push(row)
    else groups.set(keyOf(row), [row])
  }
  return groups
}

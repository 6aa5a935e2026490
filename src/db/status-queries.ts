/**
 * The status queries of the last days: a row for each request, never one for each message. The statement that writes an
 * answer writes its row, too.
 *
 * The messages of a row stand in an array, which no index reads. The way from a message to its questions goes from the
 * latest to the first: the message knows when it was last asked about, which is the time of that row, and each row knows of
 * each of its messages when that was asked about before. Requests that failed are no links of this chain; they are few,
 * and the latest of the account are looked through.
 */
import { type SQL, sql } from 'drizzle-orm'
import { isOfBatch } from './batches.ts'
import { type Db, textArray } from './client.ts'
import { statusQueries } from './query-tables.ts'
import { batches, messages } from './schema.ts'

/** A request, or the end of a sweep, as its job knows it. */
export interface StatusQuery {
  account: string
  lookup: string
  batch: string
  job: string | undefined
}

export interface AnsweredQuery extends StatusQuery {
  /** How many messages it asked about, or was told of; undefined where no request was made. */
  ids: number | undefined
  messages: readonly AnsweredMessage[]
}

interface AnsweredMessage {
  id: number
  /** When it was asked about before. */
  askedAt: Date | undefined
  /** The provider's word for it. */
  word: string | undefined
  /** The answer does not mention it. */
  isMissing: boolean
}

/** A step of a statement that writes an answered query down. */
export function recordedQuery({ account, lookup, batch, job, ids, messages: asked }: AnsweredQuery): SQL {
  const missing = asked.flatMap(({ id, isMissing }) => (isMissing ? [id] : []))
  const words = asked.map(({ word }) => word)
  const before = asked.map(({ askedAt }) => askedAt?.toISOString())
  return sql`queried AS (
      INSERT INTO ${statusQueries} (account, lookup, batch, job, ids, messages, words, asked_before, missing)
      VALUES (${account}, ${lookup}, ${batch}, ${job ?? null}, ${ids ?? null}::int,
        ${textArray(
          asked.map(({ id }) => id),
          'bigint',
        )}, ${textArray(words)}, ${textArray(before, 'timestamptz')}, nullif(${textArray(missing, 'bigint')}, '{}'))
      RETURNING at
    )`
}

/** Writes down that a query was not answered, while its batch is still there. */
export async function noteFailedQuery(
  db: Db,
  { account, lookup, batch, job }: StatusQuery,
  error: string,
): Promise<void> {
  await db.execute(sql`
    INSERT INTO ${statusQueries} (account, lookup, batch, job, ids, error, messages)
    SELECT ${account}::text, ${lookup}::text, ${batch}::uuid, ${job ?? null}::text, count(*), ${error}::text, array_agg(m.id)
    FROM ${batches} b JOIN ${messages} m ON ${isOfBatch}
    WHERE b.id = ${batch} AND NOT m.final HAVING count(*) > 0`)
}

/** A question about one message. */
export interface AskedQuestion {
  at: Date
  lookup: string
  batch: string
  job: string | null
  /** How many messages the request asked about; null where a sweep ended without another request. */
  ids: number | null
  outcome: 'answered' | 'noStatusYet' | 'missing' | 'failed'
  rawStatus: string | null
  error: string | null
}

interface QuestionRow extends Record<string, unknown>, Omit<AskedQuestion, 'at' | 'outcome' | 'rawStatus'> {
  at: string
  word: string | null
  is_missing: boolean
}

const MOST_QUESTIONS = sql.raw('200')
const MOST_FAILED = sql.raw('100')

/** The questions about a message, as far back as they are kept, in their order. */
export async function findQuestions(
  db: Db,
  { id, account, askedAt, trackedAt, changedAt, final }: typeof messages.$inferSelect,
): Promise<AskedQuestion[]> {
  const place = sql`array_position(q.messages, ${id}::bigint)`
  const shown = sql`q.at, q.lookup, q.batch, q.job, q.ids, q.error, q.words[${place}] AS word,
    ${id}::bigint = ANY(q.missing) IS TRUE AS is_missing, q.asked_before[${place}] AS before`
  const isAbout = sql`q.error IS NULL AND ${id}::bigint = ANY(q.messages)`
  const until = final && changedAt ? changedAt : null
  const rows = await db.execute<QuestionRow>(sql`
    WITH RECURSIVE answered AS (
      SELECT ${shown}, 1 AS n FROM ${statusQueries} q WHERE q.at = ${askedAt?.toISOString() ?? null}::timestamptz AND ${isAbout}
      UNION ALL
      SELECT ${shown}, a.n + 1 FROM answered a JOIN ${statusQueries} q ON q.at = a.before
      WHERE ${isAbout} AND a.n < ${MOST_QUESTIONS}
    ), failed AS (
      SELECT ${shown}, 0 FROM (
        SELECT * FROM ${statusQueries} WHERE account = ${account} AND error IS NOT NULL
          AND at >= ${trackedAt?.toISOString() ?? null}::timestamptz
          AND at <= coalesce(${until?.toISOString() ?? null}::timestamptz, now())
        ORDER BY at DESC LIMIT ${MOST_FAILED}
      ) q WHERE ${id}::bigint = ANY(q.messages)
    )
    SELECT * FROM answered UNION ALL SELECT * FROM failed ORDER BY at`)
  return rows.map(({ at, lookup, batch, job, ids, error, word, is_missing: isMissing }) => ({
    at: new Date(at),
    lookup,
    batch,
    job,
    ids,
    outcome: error !== null ? 'failed' : word !== null ? 'answered' : isMissing ? 'missing' : 'noStatusYet',
    rawStatus: word,
    error,
  }))
}

/** How many requests were made for each account within the last minute, answered or not. */
export async function countLatest(db: Db): Promise<Map<string, number>> {
  const rows = await db.execute<{ account: string; requests: number }>(sql`
    SELECT account, count(*)::int AS requests FROM ${statusQueries}
    WHERE at > now() - interval '1 minute' AND ids IS NOT NULL GROUP BY account`)
  return new Map(rows.map(({ account, requests }) => [account, requests]))
}

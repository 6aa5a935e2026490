/**
 * Finding messages, the latest sent first, by anything people ask for. Most filters lead to their messages by an index in
 * the order of sending; of several, the one that leads to the fewest is followed, and the others are looked at on the way.
 * One request looks for so long and no longer: it may then find fewer messages than were asked for, or none, and its end is
 * where the next one goes on.
 */
import { inArray, type SQL, sql } from 'drizzle-orm'
import { FAILURE_STATUSES, INTERMEDIATE_STATUSES, type Source, type Status } from '../core/status.ts'
import { type Db, textArray } from './client.ts'
import type { MessageRow } from './messages.ts'
import { metadataEntry } from './metadata-entries.ts'
import { statusQueries } from './query-tables.ts'
import { inOrder } from './schedule.ts'
import { batches, due, failures, messageMetadata, messages } from './schema.ts'

/** A place in the list: just after the message of this row, sent at this time. */
export interface ListPlace {
  sentAt: Date
  id: number
}

export interface ListFilter {
  account?: string | undefined
  /** Any of these forms of an ID. */
  messageIds?: readonly string[] | undefined
  /** Any of these numbers, in normal form. */
  numbers?: readonly string[] | undefined
  metadata?: Readonly<Record<string, string>> | undefined
  /** The batch in which they were asked about. */
  batch?: string | undefined
  status?: Status | undefined
  outstanding?: boolean | undefined
  /** The source of the final status. */
  settledBy?: Source | undefined
  /** The code of the error that a failure came with. */
  error?: string | undefined
  /** From this time on. */
  sentAfter?: Date | undefined
  /** Up to this time, exclusive. */
  sentBefore?: Date | undefined
}

export interface ListPage {
  messages: MessageRow[]
  /** Where the next page begins; undefined on the last one. */
  next: ListPlace | undefined
}

const BUDGET = 500
const PATIENCE_MS = 25
/** Up to so many outstanding messages are sorted; where there are more, the latest messages hold enough of them. */
const SORTED = 2_000

interface ListOptions extends ListFilter {
  after?: ListPlace | undefined
  limit: number
}

/** One page of tracked messages; where few match it goes on looking for so many milliseconds. */
export async function listMessages(
  db: Db,
  { patienceMs = PATIENCE_MS, ...options }: ListOptions & { patienceMs?: number },
): Promise<ListPage> {
  const begun = performance.now()
  const found: MessageRow[] = []
  for (let after = options.after; ; ) {
    const { messages, next } = await listStep(db, { ...options, after, limit: options.limit - found.length })
    found.push(...messages)
    const isEnough = found.length >= options.limit || performance.now() - begun >= patienceMs
    if (!next || isEnough) return { messages: found, next }
    after = next
  }
}

/** One page, looking at BUDGET messages of each account at most, or a page of them. */
async function listStep(db: Db, { after, limit, ...filter }: ListOptions): Promise<ListPage> {
  return inOrder(db, async (transaction) => {
    const range = rangeOf(filter, after)
    const way = await findShortest(transaction, waysOf(filter, await isSortable(transaction, filter)), range)
    const isExact = restOf(filter, way).length === 0
    const budget = Math.max(BUDGET, limit + 1)
    const found = await findAlong(transaction, way, { range, filter, budget, limit: limit + 1 })
    // Of a page that is full, only a branch that was left before its last message may lack any.
    const last = found.length > limit ? found.at(-1) : undefined
    const end = isExact
      ? undefined
      : await findEnd(transaction, way, budget, last ? allOf([range, isUpTo(last)]) : range)
    const seen = end ? found.filter((place) => !isAfter(place, end)) : found
    const page = seen.slice(0, limit)
    return { messages: await findRows(transaction, page), next: seen.length > limit ? page.at(-1) : end }
  })
}

/** Rows `s` with `sent_at` and `id` for each of the branches `b`, by an index in their order within a branch. */
interface Way {
  /** The criteria that all its messages meet. */
  meets: string[]
  branches: SQL
  rows: SQL
}

/** Every way that leads to all messages of a filter. */
function waysOf(filter: ListFilter, canSortOutstanding: boolean): Way[] {
  const { account, messageIds, numbers, metadata = {}, batch, status, settledBy, error } = filter
  const branches = account === undefined ? ALL_ACCOUNTS : sql`(SELECT ${account}::text) AS b (account)`
  const failing = FAILURE_STATUSES.find((one) => one === status)
  const ways: Way[] = []
  const add = (criterion: string, rows: SQL) => ways.push({ meets: ['account', criterion], branches, rows })
  if (messageIds) add('messageIds', named(messageIds))
  if (numbers) {
    ways.push({ meets: ['numbers'], branches: sql`unnest(${textArray(numbers)}) AS b (number)`, rows: numbered })
  }
  const one = sql`(SELECT 1) AS b (one)`
  if (batch !== undefined) ways.push({ meets: ['batch'], branches: one, rows: batched(batch) })
  const pairs = Object.entries(metadata)
  for (const [key, value] of pairs) {
    const meets = pairs.length === 1 ? ['metadata'] : []
    ways.push({ meets, branches: one, rows: entered(key, value) })
  }
  if (error !== undefined) add('error', failed(sql`f.code = ${error}`))
  if (failing) add('status', failed(sql`f.status = ${failing}`))
  if (settledBy === 'window') add('', failed(sql`f.status = 'unknown'`))
  if (canSortOutstanding) add('outstanding', outstanding)
  return ways.length > 0 ? ways : [{ meets: ['account'], branches, rows: all }]
}

const ALL_ACCOUNTS = sql`(
  WITH RECURSIVE accounts AS (
    SELECT min(account) AS account FROM ${messages} WHERE tracked_at IS NOT NULL
    UNION ALL
    SELECT (SELECT min(account) FROM ${messages} WHERE tracked_at IS NOT NULL AND account > a.account)
    FROM accounts a WHERE a.account IS NOT NULL
  )
  SELECT account FROM accounts WHERE account IS NOT NULL
) AS b (account)`

const isOfBranch = sql.raw('m.account = b.account AND m.tracked_at IS NOT NULL')
const all = sql`SELECT m.sent_at, m.id FROM ${messages} m WHERE ${isOfBranch}`
// Fenced, because they are sorted afterwards, and to that Postgres would prefer a walk through all messages.
const named = (ids: readonly string[]) => sql`${all} AND m.message_id = ANY(${textArray(ids)}) OFFSET 0`
const numbered = sql`SELECT m.sent_at, m.id FROM ${messages} m WHERE m.number = b.number`
const inBatch = (batch: string) => sql`
  SELECT unnest(messages) AS id FROM ${batches} WHERE id = ${batch}
  UNION SELECT unnest(messages) FROM ${statusQueries} WHERE batch = ${batch}`
const batched = (batch: string) => sql`
  SELECT m.sent_at, m.id FROM (${inBatch(batch)}) o JOIN ${messages} m USING (id) OFFSET 0`
const failed = (condition: SQL) => sql`
  SELECT f.sent_at, f.message AS id FROM ${failures} f WHERE f.account = b.account AND ${condition}`
const entered = (key: string, value: string) => sql`
  SELECT e.sent_at, e.message AS id FROM ${messageMetadata} e
  WHERE e.entry = ${metadataEntry(sql`${key}::text`, sql`${value}::text`)}`
const outstanding = sql`
  SELECT m.sent_at, m.id FROM (
    SELECT d.message AS id FROM ${due} d WHERE d.account = b.account
    UNION SELECT unnest(c.messages) FROM ${batches} c WHERE c.account = b.account
  ) o JOIN ${messages} m USING (id) WHERE NOT m.final`

/** Whether the messages asked for are outstanding, and few enough to be sorted. */
async function isSortable(db: Db, { account, status, outstanding: isOutstanding }: ListFilter): Promise<boolean> {
  const isIntermediate = INTERMEDIATE_STATUSES.some((one) => one === status)
  if (isOutstanding !== true && !isIntermediate) return false
  const ofAccount = account === undefined ? sql`true` : sql`account = ${account}`
  const [row] = await db.execute<{ few: boolean }>(sql`
    SELECT (SELECT count(*) FROM (SELECT FROM ${due} WHERE ${ofAccount} LIMIT ${SORTED}) d)
      + (SELECT coalesce(sum(cardinality(messages)), 0) FROM ${batches} WHERE ${ofAccount}) < ${SORTED} AS few`)
  return row?.few ?? false
}

/** The way with the fewest messages, as far as they are counted. */
async function findShortest(db: Db, ways: readonly Way[], range: SQL): Promise<Way> {
  const [first, ...others] = ways
  if (!first) throw new TypeError('Expected at least one way.')
  if (others.length === 0) return first
  const counts = ways.map(
    ({ branches, rows }) => sql`(
      SELECT count(*)::int FROM (
        SELECT FROM ${branches} CROSS JOIN LATERAL (${rows}) s WHERE ${range} LIMIT ${BUDGET}
      ) counted
    )`,
  )
  // Arrays would come as text.
  const [row] = await db.execute<{ counts: number[] }>(
    sql`SELECT json_build_array(${sql.join(counts, sql`, `)}) AS counts`,
  )
  const lengths = row?.counts ?? []
  return ways[lengths.indexOf(Math.min(...lengths))] ?? first
}

/** The places of the first messages along a way that meet the whole filter; each is looked up by its key, none is scanned. */
async function findAlong(
  db: Db,
  { branches, rows }: Way,
  { range, filter, budget, limit }: { range: SQL; filter: ListFilter; budget: number; limit: number },
): Promise<ListPlace[]> {
  const places = await db.execute<PlaceRow>(sql`
    SELECT f.sent_at, f.id FROM ${branches} CROSS JOIN LATERAL (
      SELECT s.sent_at, s.id FROM (
        SELECT s.* FROM (${rows}) s WHERE ${range} ORDER BY s.sent_at DESC, s.id DESC LIMIT ${budget}
      ) s CROSS JOIN LATERAL (
        SELECT FROM ${messages} m WHERE m.id = s.id AND ${mayMeet(filter)} AND ${meets(filter)} LIMIT 1
      ) met
      ORDER BY s.sent_at DESC, s.id DESC LIMIT ${limit}
    ) f
    ORDER BY f.sent_at DESC, f.id DESC LIMIT ${limit}`)
  return places.map(toPlace)
}

/** Where the first of the branches that are longer than the budget ends; undefined where all have been looked through. */
async function findEnd(db: Db, { branches, rows }: Way, budget: number, range: SQL): Promise<ListPlace | undefined> {
  const [row] = await db.execute<PlaceRow>(sql`
    SELECT e.sent_at, e.id FROM ${branches} CROSS JOIN LATERAL (
      SELECT s.* FROM (${rows}) s WHERE ${range}
      ORDER BY s.sent_at DESC, s.id DESC OFFSET ${budget - 1} LIMIT 1
    ) e
    ORDER BY e.sent_at DESC, e.id DESC LIMIT 1`)
  return row && toPlace(row)
}

async function findRows(db: Db, places: readonly ListPlace[]): Promise<MessageRow[]> {
  if (places.length === 0) return []
  const ids = places.map(({ id }) => id)
  const rows = new Map((await db.select().from(messages).where(inArray(messages.id, ids))).map((row) => [row.id, row]))
  return ids.flatMap((id) => rows.get(id) ?? [])
}

interface PlaceRow extends Record<string, unknown> {
  sent_at: string
  id: string
}

const toPlace = ({ sent_at, id }: PlaceRow): ListPlace => ({ sentAt: new Date(sent_at), id: Number(id) })
const isAfter = (place: ListPlace, other: ListPlace) =>
  place.sentAt < other.sentAt || (+place.sentAt === +other.sentAt && place.id < other.id)

function isUpTo({ sentAt, id }: ListPlace): SQL {
  return sql`(s.sent_at, s.id) >= (${sentAt.toISOString()}::timestamptz, ${id}::bigint)`
}

/** The part of the list that is asked for, as a condition on `s`. */
function rangeOf({ sentAfter, sentBefore }: ListFilter, after: ListPlace | undefined): SQL {
  const conditions = [
    after && sql`(s.sent_at, s.id) < (${after.sentAt.toISOString()}::timestamptz, ${after.id}::bigint)`,
    sentAfter && sql`s.sent_at >= ${sentAfter.toISOString()}::timestamptz`,
    sentBefore && sql`s.sent_at < ${sentBefore.toISOString()}::timestamptz`,
  ]
  return allOf(conditions)
}

/** Each criterion as a condition on a row `m`. */
function conditionsOf(filter: ListFilter): Partial<Record<keyof ListFilter, SQL>> {
  const { account, messageIds, numbers, metadata, batch, status, outstanding: isOutstanding, settledBy, error } = filter
  return {
    ...(batch === undefined ? {} : { batch: sql`m.id IN (${inBatch(batch)})` }),
    ...(account === undefined ? {} : { account: sql`m.account = ${account}` }),
    ...(messageIds ? { messageIds: sql`m.message_id = ANY(${textArray(messageIds)})` } : {}),
    ...(numbers ? { numbers: sql`m.number = ANY(${textArray(numbers)})` } : {}),
    ...(metadata
      ? { metadata: allOf(Object.entries(metadata).map(([key, value]) => sql`m.metadata ->> ${key} = ${value}`)) }
      : {}),
    ...(status === undefined ? {} : { status: sql`m.status = ${status}` }),
    ...(isOutstanding === undefined ? {} : { outstanding: isOutstanding ? sql`NOT m.final` : sql`m.final` }),
    ...(settledBy === undefined ? {} : { settledBy: sql`m.final AND m.settled_by = ${settledBy}` }),
    ...(error === undefined
      ? {}
      : { error: sql`EXISTS (SELECT FROM ${failures} f WHERE f.message = m.id AND f.code = ${error})` }),
  }
}

function meets(filter: ListFilter): SQL {
  return allOf([sql`m.tracked_at IS NOT NULL`, ...Object.values(conditionsOf(filter))])
}

/** Whether the message of a row `s` may meet the filter, as far as a small table tells before its row is looked up. */
function mayMeet({ status, error }: ListFilter): SQL {
  const isFailing = FAILURE_STATUSES.some((one) => one === status)
  return isFailing || error !== undefined ? sql`EXISTS (SELECT FROM ${failures} f WHERE f.message = s.id)` : sql`true`
}

/** The criteria that a way does not meet by itself. */
function restOf(filter: ListFilter, way: Way): string[] {
  return Object.keys(conditionsOf(filter)).filter((criterion) => !way.meets.includes(criterion))
}

function allOf(conditions: readonly (SQL | undefined)[]): SQL {
  const given = conditions.filter((condition) => condition !== undefined)
  return given.length > 0 ? sql.join(given, sql` AND `) : sql`true`
}

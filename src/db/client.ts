/**
 * The common ground of query functions: `db: Db`, which each takes first and which is the database or a transaction, so
 * that it joins whatever the caller has begun; how values are written; and what errors say. connection.ts opens a
 * database.
 */

import { DrizzleQueryError, type SQL, sql } from 'drizzle-orm'
import { type PgDatabase, PgDialect } from 'drizzle-orm/pg-core'
import type { PostgresJsQueryResultHKT } from 'drizzle-orm/postgres-js'
import { errorCodeOf } from '../core/error-code.ts'
import type * as schema from './schema.ts'

export type Db = PgDatabase<PostgresJsQueryResultHKT, typeof schema>

const dialect = new PgDialect()

/**
 * Runs a statement that Postgres parses and plans once a connection instead of every time: for those that are run often
 * and whose text is always the same. `prepare=false` in the database's URL turns that off, for a pooler that cannot do it.
 */
export async function executePrepared<Row extends object>(db: Db, statement: SQL): Promise<readonly Row[]> {
  const query = db._.session.prepareQuery(dialect.sqlToQuery(statement), undefined, 'prepared', false)
  return (await query.execute()) as Row[]
}

/** A column of parameters: its type in Postgres, and the value of a row. */
export type ParameterColumn<Row> = readonly [type: string, pick: (row: Row, index: number) => unknown]

/**
 * Rows of parameters as a table named `alias` with these columns, each an array parameter: a statement for any number of
 * rows, prepared once. The sub-selects hide from the planner how many they are, so that one plan by the indexes serves
 * every number.
 */
export function rowsAs<Row>(
  alias: string,
  rows: readonly Row[],
  columns: Readonly<Record<string, ParameterColumn<Row>>>,
): SQL {
  const arrays = Object.values(columns).map(([type, pick]) => sql`(SELECT ${textArray(rows.map(pick), type)})`)
  return sql`unnest(${sql.join(arrays, sql`, `)}) AS ${sql.raw(`${alias} (${Object.keys(columns).join(', ')})`)}`
}

/** An array parameter, written as Postgres reads it: postgres.js does not know the element types of our enums. */
export function textArray(values: readonly unknown[], type = 'text'): SQL {
  let last: unknown
  let written = elementOf(last)
  const elements = values.map((value) => {
    // Most columns of a statement hold one value, or few in a row.
    if (value !== last) written = elementOf(value)
    last = value
    return written
  })
  return sql`${`{${elements.join()}}`}::${sql.raw(type)}[]`
}

function elementOf(value: unknown): string {
  if (value === null || value === undefined) return 'NULL'
  if (typeof value === 'number') return String(value)
  return `"${storable(String(value)).replace(/["\\]/g, '\\$&')}"`
}

/** A time that comes as milliseconds since 1970 (float8): half of the time to write and read one as text. */
export function instantOf(column: string): SQL {
  return sql.raw(`to_timestamp(${column} / 1000)`)
}

/** A time as milliseconds since 1970, a float8. */
export function millisecondsOf(column: string): SQL {
  return sql.raw(`(extract(epoch FROM ${column}) * 1000)::float8`)
}

/** The database's time in `ms` milliseconds, or that long ago. */
export function fromNow(ms: number): SQL<Date> {
  return sql<Date>`now() + ${ms} * interval '1 millisecond'`
}

/** Postgres stores neither NUL nor half a surrogate pair, and what others send must not fail for ever because of one. */
export function storable(text: string): string {
  return text.replace(/\0|\p{Surrogate}/gu, '\ufffd')
}

/** JSON text for a jsonb column, null for nothing; what Postgres cannot store stands in it as an escape. */
export function jsonText(value: unknown): string | null {
  if (value === undefined || value === null) return null
  return JSON.stringify(value).replace(/\\\\|\\u(?:0000|d[89a-f][0-9a-f]{2})/g, (found) =>
    found === '\\\\' ? found : '\\ufffd',
  )
}

/** SQLSTATE classes and codes that say "not now": connection trouble, shutdown, no room, time limits, and lost races. */
const TRANSIENT_STATES = /^(08|53|57P0|57014|55P03|40001|40P01|25006)/
const CONNECTION_CODES =
  /^(ECONN|EPIPE|ETIMEDOUT|EHOSTUNREACH|ENETUNREACH|ENOTFOUND|EAI_AGAIN|CONNECTION_|CONNECT_TIMEOUT)/

/** True when the same statement may succeed a little later. */
export function isDatabaseUnavailable(error: unknown): boolean {
  const code = codeOf(error)
  return code !== undefined && (TRANSIENT_STATES.test(code) || CONNECTION_CODES.test(code))
}

const LOST_RACE = /^(40001|40P01)$/
const ATTEMPTS = 5

/** Runs a statement again when Postgres chose it as the victim of a deadlock. Not for use inside a transaction. */
export async function retryLostRaces<T>(run: () => Promise<T>): Promise<T> {
  for (let attempt = 1; ; attempt++) {
    try {
      return await run()
    } catch (error) {
      if (attempt === ATTEMPTS || !LOST_RACE.test(codeOf(error) ?? '')) throw error
    }
  }
}

/** The database's own words, without the query and its parameters, which hold message IDs and phone numbers. */
export function describeDatabaseError(error: unknown): string {
  const cause = error instanceof DrizzleQueryError ? error.cause : error
  const code = codeOf(cause)
  if (cause instanceof AggregateError) return code ?? cause.errors.map(describeDatabaseError).join(', ')
  if (!(cause instanceof Error)) return code ?? 'unknown reason'
  return code && !cause.message.includes(code) ? `${code}: ${cause.message}` : cause.message
}

/** The SQLSTATE of an error of the database, or the code of an error of its connection. */
export function codeOf(error: unknown): string | undefined {
  if (error instanceof DrizzleQueryError) return codeOf(error.cause)
  return errorCodeOf(error)
}

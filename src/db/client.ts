/**
 * The connection to Postgres: postgres.js with drizzle on top. Every query function takes `db: Db` first, which is the
 * database or a transaction, so that it joins whatever the caller has begun.
 */
import { DrizzleQueryError, type SQL, sql } from 'drizzle-orm'
import { type PgDatabase, PgDialect } from 'drizzle-orm/pg-core'
import { drizzle, type PostgresJsDatabase, type PostgresJsQueryResultHKT } from 'drizzle-orm/postgres-js'
import postgres from 'postgres'
import { LastwordError } from '../core/errors.ts'
import * as schema from './schema.ts'

export type Db = PgDatabase<PostgresJsQueryResultHKT, typeof schema>

export interface Database {
  db: Db
  /** Listens to a channel of NOTIFY on a connection of its own, also after that was lost. Returns how to stop. */
  listen(channel: string, onNotify: () => void): Promise<() => Promise<void>>
  /** Ends all connections; queries under way get `seconds` to finish. */
  close(seconds?: number): Promise<void>
}

const CONNECT_TIMEOUT_S = 5
/** Reconnecting stays quick, so that a webhook learns within its sender's patience whether it can be stored. */
const RECONNECT_AFTER_S = 0.5

/** Opens a pool. Throws UNAVAILABLE when the database does not answer. */
export async function openDatabase(url: string, maxConnections = 10): Promise<Database> {
  const client = postgres(url, {
    max: maxConnections,
    connect_timeout: CONNECT_TIMEOUT_S,
    backoff: () => RECONNECT_AFTER_S,
    connection: { application_name: 'lastword' },
    onnotice: () => {},
  })
  const db: PostgresJsDatabase<typeof schema> = drizzle(client, { schema })
  const close = (seconds = 5) => client.end({ timeout: seconds })
  try {
    await client`SELECT 1`
  } catch (error) {
    await close(0)
    const { hostname, port } = new URL(url)
    const found = describeDatabaseError(error)
    const remedy = 'start Postgres there, or correct DATABASE_URL, or unset it to use the embedded database'
    throw new LastwordError(
      'UNAVAILABLE',
      `DATABASE_URL: ${hostname}:${port || 5432} does not answer (${found}); ${remedy}.`,
    )
  }
  const listen: Database['listen'] = async (channel, onNotify) => {
    const { unlisten } = await client.listen(channel, onNotify, onNotify)
    return unlisten
  }
  return { db, listen, close }
}

const dialect = new PgDialect()

/**
 * Runs a statement that Postgres parses and plans once a connection instead of every time: for those that are run often
 * and whose text is always the same. `prepare=false` in the database's URL turns that off, for a pooler that cannot do it.
 */
export async function executePrepared<Row extends object>(db: Db, statement: SQL): Promise<readonly Row[]> {
  const query = db._.session.prepareQuery(dialect.sqlToQuery(statement), undefined, 'prepared', false)
  return (await query.execute()) as Row[]
}

/**
 * One column of many rows as an array parameter, for `unnest`: a statement for any number of rows, prepared once. The
 * sub-select hides from the planner how many they are, so that one plan by the indexes serves every number.
 */
export function arrayColumn<T>(rows: readonly T[], type: string, pick: (row: T, index: number) => unknown): SQL {
  return sql`(SELECT ${textArray(rows.map(pick), type)})`
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

/** Postgres stores neither NUL nor half a surrogate pair, and what others send must not fail for ever because of one. */
function storable(text: string): string {
  return text.replace(/\0|\p{Surrogate}/gu, '\ufffd')
}

/** JSON text for a jsonb column, null for nothing; what Postgres cannot store stands in it as an escape. */
export function jsonText(value: unknown): string | null {
  if (value === undefined || value === null) return null
  return JSON.stringify(value).replace(/\\\\|\\u(?:0000|d[89a-f][0-9a-f]{2})/g, (found) =>
    found === '\\\\' ? found : '\\ufffd',
  )
}

/** SQLSTATE classes and codes that say "not now": connection trouble, shutdown, no room, and lost races. */
const TRANSIENT_STATES = /^(08|53|57P0|40001|40P01|25006)/
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

/** What went wrong, without the query and its parameters, which hold message IDs and phone numbers. */
export function describeDatabaseError(error: unknown): string {
  const cause = error instanceof DrizzleQueryError ? error.cause : error
  const code = codeOf(cause)
  if (cause instanceof AggregateError) return code ?? cause.errors.map(describeDatabaseError).join(', ')
  if (!(cause instanceof Error)) return code ?? 'unknown reason'
  return code && !cause.message.includes(code) ? `${code}: ${cause.message}` : cause.message
}

function codeOf(error: unknown): string | undefined {
  if (error instanceof DrizzleQueryError) return codeOf(error.cause)
  return error instanceof Error && 'code' in error && typeof error.code === 'string' ? error.code : undefined
}

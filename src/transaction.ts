/**
 * Tracking inside a transaction of the sending app, so that "sent" and "tracked" commit together.
 *
 * The app's database must be the one Lastword works in. Which accounts there are, the service has written down there when
 * it started. Statements run in a savepoint: whatever goes wrong here, the app's transaction can go on.
 */

import { DrizzleQueryError, sql } from 'drizzle-orm'
import { drizzle } from 'drizzle-orm/postgres-js'
import type { Sql } from 'postgres'
import type { Tracked } from './client/answers.ts'
import type { Order } from './client/order.ts'
import { errorCodeOf } from './core/error-code.ts'
import { LastwordError } from './core/errors.ts'
import { type Db, describeDatabaseError, isDatabaseUnavailable } from './db/client.ts'
import { trackMessagesWithin } from './db/messages.ts'
import * as schema from './db/schema.ts'
import { findProvider, providerNames } from './providers/registry.ts'
import { type AccountRecord, resultOf, scheduleOrder } from './tracking.ts'
import { type ReadOrder, readOrder } from './tracking-order.ts'

/** The argument of postgres.js's `sql.begin`; a `sql` without a transaction gets one of its own. */
export interface PostgresTransaction {
  unsafe(query: string): unknown
  savepoint?: unknown
  begin?: unknown
}

/** A database or a transaction of drizzle-orm/postgres-js. */
export interface DrizzleTransaction {
  execute(query: never): unknown
  transaction(run: never): unknown
}

export type Transaction = PostgresTransaction | DrizzleTransaction

/**
 * Tracks messages inside a transaction: all or none, and only if it commits. Tracking one twice is harmless.
 *
 *   await sql.begin(async (tx) => {
 *     await tx`INSERT INTO texts (message_id) VALUES (${messageId})`
 *     await track(tx, { account: 'seven', messages: [{ messageId }] })
 *   })
 *
 * Throws a LastwordError: INPUT_INVALID with `issues`, NOT_FOUND for an account the service has never been started with,
 * CONFIG_INVALID for a database that Lastword's tables are not in, UNAVAILABLE when the database is away. Other errors of
 * the database are those of postgres.js.
 */
export async function track(tx: Transaction, given: Order): Promise<Tracked> {
  const order = parseOrder(given)
  const { account } = order
  const db = toDb(tx)
  try {
    return await db.transaction(async (savepoint) => {
      const record = await findAccount(savepoint, account)
      const provider = findProvider(record.provider)
      if (!provider) throw unknownProvider(record)
      const moment = { now: record.now, random: Math.random }
      const scheduled = scheduleOrder(provider, record, order, moment)
      const tracked = await trackMessagesWithin(savepoint, scheduled.messages, provider.keyedByRecipient)
      return resultOf(order, scheduled, tracked)
    })
  } catch (error) {
    throw explain(error)
  }
}

function parseOrder(order: Order): ReadOrder {
  const messages = order.messages.map((message) =>
    message?.sentAt instanceof Date ? { ...message, sentAt: message.sentAt.toJSON() } : message,
  )
  return readOrder({ ...order, messages }, 'order')
}

function toDb(tx: Transaction): Db {
  if (typeof tx === 'function' && 'unsafe' in tx) return overPostgres(tx)
  if (typeof tx === 'object' && tx !== null && 'execute' in tx && 'transaction' in tx) return tx as unknown as Db
  throw notATransaction()
}

/**
 * drizzle on the app's own transaction. The options are a stand-in: drizzle replaces the parsers of the client it is given,
 * and the app's must stay as they are.
 */
function overPostgres({ unsafe, savepoint, begin }: PostgresTransaction): Db {
  const client = { unsafe, savepoint, begin: savepoint ?? begin, options: { parsers: {}, serializers: {} } }
  if (typeof client.begin !== 'function') throw notATransaction()
  return drizzle({ client: client as unknown as Sql, schema })
}

function notATransaction(): TypeError {
  return new TypeError('Expected a transaction of postgres.js or of drizzle-orm/postgres-js as first argument.')
}

/** The record of an account, and the time of the database. */
async function findAccount(db: Db, account: string): Promise<AccountRecord & { now: number }> {
  // One text, because the app's client may rename columns and transform values.
  const rows: unknown = await db.execute(sql`
    SELECT json_build_object('account', account, 'provider', provider, 'polling', polling, 'firstAge', coalesce(first_age, 0), 'isPolled', is_polled,
      'defaultCountry', default_country, 'takesAnyId', takes_any_id, 'hasCallbacks', has_callbacks, 'now', (extract(epoch FROM clock_timestamp()) * 1000)::float8)::text
    FROM ${schema.accountStates} WHERE account = ${account} AND provider IS NOT NULL`)
  if (!Array.isArray(rows)) throw notATransaction()
  const [row] = rows
  if (!row) {
    throw new LastwordError(
      'NOT_FOUND',
      `The account ${JSON.stringify(account.slice(0, 50))} is not known in this database: start the service (or run "lastword migrate") with it in ACCOUNTS once.`,
    )
  }
  const [text] = Object.values(row)
  return JSON.parse(String(text))
}

function unknownProvider({ account, provider }: AccountRecord): LastwordError {
  const known = providerNames().join(', ')
  return new LastwordError(
    'CONFIG_INVALID',
    `The account "${account}" is of provider "${provider}", which this version does not know (${known}); use the version of the service.`,
  )
}

const UNDEFINED_TABLE = '42P01'
const UNDEFINED_COLUMN = '42703'
const UNDEFINED_SCHEMA = '3F000'
const LOST_RACE = /^40/

/** A failed query's own message holds its parameters, which are message IDs and phone numbers. */
function explain(error: unknown): unknown {
  const cause = error instanceof DrizzleQueryError ? error.cause : error
  const code = errorCodeOf(cause) ?? ''
  // The app repeats its whole transaction after a lost race, and knows that by Postgres's own code.
  if (isDatabaseUnavailable(error) && !LOST_RACE.test(code)) {
    const found = describeDatabaseError(error)
    return new LastwordError('UNAVAILABLE', `Nothing was tracked: the database does not answer (${found}).`)
  }
  if (code === UNDEFINED_TABLE || code === UNDEFINED_COLUMN || code === UNDEFINED_SCHEMA) {
    const message = `This database does not have Lastword's tables as this version needs them; run "lastword migrate" on it.`
    return new LastwordError('CONFIG_INVALID', message, { cause })
  }
  return cause
}

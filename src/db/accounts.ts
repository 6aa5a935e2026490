/**
 * The accounts in the database, so that every process knows them and a restart forgets nothing: their health, and the
 * settings that sending apps need to track in their own transactions.
 */
import { sql } from 'drizzle-orm'
import type { AccountHealth, Step } from '../core/account-health.ts'
import type { PollingPolicy } from '../core/polling.ts'
import { type Db, executePrepared, rowsAs } from './client.ts'
import { accountStates } from './schema.ts'

const nowInMs = sql<number>`(extract(epoch FROM clock_timestamp()) * 1000)::float8`

/** The health of every account, at `now` by the database's clock, in milliseconds since 1970. */
export async function findHealths(db: Db): Promise<{ healths: Map<string, AccountHealth>; now: number }> {
  const { account, health } = accountStates
  const rows = await db.select({ account, health, now: nowInMs }).from(accountStates)
  return { healths: new Map(rows.map((row) => [row.account, row.health])), now: rows[0]?.now ?? Date.now() }
}

/** The health of one account, for a job that is about to ask. */
export async function findHealth(db: Db, account: string): Promise<{ health: AccountHealth; now: number }> {
  const [row] = await executePrepared<{ health: AccountHealth | null; now: number }>(
    db,
    sql`SELECT (SELECT health FROM ${accountStates} WHERE account = ${account}) AS health, ${nowInMs} AS now`,
  )
  return { health: row?.health ?? {}, now: row?.now ?? Date.now() }
}

/**
 * Moves an account's health on, one process after the other: a step counts if the health it came from still stands, and
 * is taken again from the new one if not. No lock is held while the database answers.
 */
export async function moveHealth(
  db: Db,
  account: string,
  move: (health: AccountHealth, now: number) => Step,
): Promise<Step & { now: number }> {
  for (;;) {
    const { health, now } = await findHealth(db, account)
    const step = move(health, now)
    if (step.health === health || (await replaceHealth(db, account, health, step.health))) return { ...step, now }
  }
}

/** Whether the health was still the old one, and is the new one now. */
async function replaceHealth(db: Db, account: string, old: AccountHealth, health: AccountHealth): Promise<boolean> {
  const rows = await executePrepared(
    db,
    sql`INSERT INTO ${accountStates} AS s (account, health) VALUES (${account}, ${JSON.stringify(health)}::jsonb)
      ON CONFLICT (account) DO UPDATE SET health = excluded.health WHERE s.health = ${JSON.stringify(old)}::jsonb
      RETURNING s.account`,
  )
  return rows.length === 1
}

/** Takes erased messages out of those that accounts suspect. */
export async function forgetSuspects(db: Db, erased: readonly { account: string; messageId: string }[]): Promise<void> {
  if (erased.length === 0) return
  const gone = rowsAs('gone', erased, {
    account: ['text', ({ account }) => account],
    message_id: ['text', ({ messageId }) => messageId],
  })
  const suspects = sql`jsonb_array_elements(s.health -> 'suspects') AS suspect`
  const isGone = sql`(s.account, suspect ->> 'messageId') IN (SELECT account, message_id FROM ${gone})`
  await db.execute(sql`
    UPDATE ${accountStates} s
    SET health = jsonb_set(health, '{suspects}', (
      SELECT coalesce(jsonb_agg(suspect), '[]') FROM ${suspects} WHERE NOT ${isGone}
    ))
    WHERE jsonb_array_length(health -> 'suspects') > 0 AND EXISTS (SELECT FROM ${suspects} WHERE ${isGone})`)
}

interface AccountRecord {
  account: string
  provider: string
  polling: PollingPolicy
  firstAge: number
  isPolled: boolean
  defaultCountry?: string | undefined
  takesAnyId?: boolean | undefined
  hasCallbacks: boolean
  changesQueue?: string | undefined
  /** A digest of the credentials and of where they are used. */
  credentials: string
}

/**
 * Records what tracking must know of accounts, for sending apps that track in their own transactions. Other credentials
 * than before are tried at once, with nothing of the old ones' troubles. Returns all that are known by now.
 */
export async function recordAccounts(db: Db, accounts: readonly AccountRecord[]): Promise<KnownAccount[]> {
  const rows = rowsAs('n', accounts, {
    account: ['text', ({ account }) => account],
    provider: ['text', ({ provider }) => provider],
    polling: ['jsonb', ({ polling }) => JSON.stringify(polling)],
    first_age: ['float8', ({ firstAge }) => firstAge],
    is_polled: ['boolean', ({ isPolled }) => isPolled],
    default_country: ['text', ({ defaultCountry }) => defaultCountry],
    takes_any_id: ['boolean', ({ takesAnyId }) => takesAnyId ?? false],
    has_callbacks: ['boolean', ({ hasCallbacks }) => hasCallbacks],
    changes_queue: ['text', ({ changesQueue }) => changesQueue],
    credentials: ['text', ({ credentials }) => credentials],
  })
  await db.execute(sql`
    INSERT INTO ${accountStates} AS s (account, provider, polling, first_age, is_polled, default_country, takes_any_id, has_callbacks, credentials, changes_queues)
    SELECT account, provider, polling, first_age, is_polled, default_country, takes_any_id, has_callbacks, credentials, array_remove(ARRAY[changes_queue], NULL)
    FROM ${rows}
    ORDER BY account
    ON CONFLICT (account) DO UPDATE SET
      provider = excluded.provider, polling = excluded.polling, first_age = excluded.first_age, is_polled = excluded.is_polled,
      default_country = excluded.default_country, takes_any_id = excluded.takes_any_id,
      has_callbacks = excluded.has_callbacks, credentials = excluded.credentials,
      health = CASE WHEN s.credentials <> excluded.credentials THEN '{}' ELSE s.health END,
      changes_queues = ARRAY(SELECT DISTINCT unnest(s.changes_queues || excluded.changes_queues))
    WHERE NOT s.changes_queues @> excluded.changes_queues OR (s.provider, s.polling, s.first_age, s.is_polled, s.default_country, s.takes_any_id, s.has_callbacks, s.credentials) IS DISTINCT FROM (
      excluded.provider, excluded.polling, excluded.first_age, excluded.is_polled, excluded.default_country, excluded.takes_any_id, excluded.has_callbacks, excluded.credentials)`)
  const { account, changesQueues } = accountStates
  return db.select({ account, changesQueues }).from(accountStates)
}

/** An account that was ever configured, with the queues that were told of its changes. */
export interface KnownAccount {
  account: string
  changesQueues: string[]
}

/** Records at which age messages are first asked about by what has been learned, where that is another by now. */
export async function recordFirstAges(db: Db, ages: readonly { account: string; firstAge: number }[]): Promise<void> {
  if (ages.length === 0) return
  const rows = rowsAs('n', ages, {
    account: ['text', ({ account }) => account],
    first_age: ['float8', ({ firstAge }) => firstAge],
  })
  await db.execute(sql`
    UPDATE ${accountStates} s SET first_age = n.first_age
    FROM ${rows}
    WHERE s.account = n.account AND abs(s.first_age - n.first_age) > 0.05 * n.first_age`)
}

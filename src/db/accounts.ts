/**
 * What the service has learned about its accounts: which look-up is in use, and whether the provider refuses the
 * account. Kept in the database, so that every process knows and a restart forgets nothing. Nonces of signed webhooks
 * are kept here too, for as long as their signatures are fresh.
 */
import { sql } from 'drizzle-orm'
import type { PollingPolicy } from '../core/polling.ts'
import { arrayColumn, type Db } from './client.ts'
import { accountStates, webhookNonces } from './schema.ts'

export type AccountState = typeof accountStates.$inferSelect

export async function findAccountStates(db: Db): Promise<Map<string, AccountState>> {
  const rows = await db.select().from(accountStates)
  return new Map(rows.map((row) => [row.account, row]))
}

interface AccountRecord {
  account: string
  provider: string
  polling: PollingPolicy
  isPolled: boolean
}

/** Records what tracking must know of accounts, for sending apps that track in their own transactions. */
export async function recordAccounts(db: Db, accounts: readonly AccountRecord[]): Promise<void> {
  const column = (type: string, pick: (record: AccountRecord) => unknown) => arrayColumn(accounts, type, pick)
  await db.execute(sql`
    INSERT INTO ${accountStates} AS s (account, provider, polling, is_polled)
    SELECT * FROM unnest(
      ${column('text', ({ account }) => account)},
      ${column('text', ({ provider }) => provider)},
      ${column('jsonb', ({ polling }) => JSON.stringify(polling))},
      ${column('boolean', ({ isPolled }) => isPolled)}
    ) AS n (account, provider, polling, is_polled)
    ORDER BY account
    ON CONFLICT (account) DO UPDATE SET
      provider = excluded.provider, polling = excluded.polling, is_polled = excluded.is_polled
    WHERE (s.provider, s.polling, s.is_polled)
      IS DISTINCT FROM (excluded.provider, excluded.polling, excluded.is_polled)`)
}

/** Stops asking for an account until `pauseMs` from now. Returns false when the same trouble was known already. */
export async function recordTrouble(
  db: Db,
  { account, trouble, pauseMs }: { account: string; trouble: string; pauseMs: number },
): Promise<boolean> {
  const rows = await db.execute<{ is_new: boolean }>(sql`
    WITH before AS (SELECT trouble FROM ${accountStates} WHERE account = ${account})
    INSERT INTO ${accountStates} AS s (account, trouble, trouble_since, paused_until)
    VALUES (${account}, ${trouble}, now(), now() + ${pauseMs} * interval '1 millisecond')
    ON CONFLICT (account) DO UPDATE SET
      trouble = excluded.trouble,
      trouble_since = coalesce(s.trouble_since, excluded.trouble_since),
      paused_until = excluded.paused_until
    RETURNING (SELECT trouble FROM before) IS DISTINCT FROM trouble AS is_new`)
  return rows[0]?.is_new ?? false
}

/** Returns true when there was trouble, and now there is none. */
export async function clearTrouble(db: Db, account: string): Promise<boolean> {
  const rows = await db
    .update(accountStates)
    .set({ trouble: null, troubleSince: null, pausedUntil: null })
    .where(sql`${accountStates.account} = ${account} AND ${accountStates.trouble} IS NOT NULL`)
    .returning({ account: accountStates.account })
  return rows.length > 0
}

/** Records which look-up is in use from now on. Returns false when it was so already. */
export async function recordLookup(db: Db, account: string, lookup: string): Promise<boolean> {
  const rows = await db
    .insert(accountStates)
    .values({ account, lookup })
    .onConflictDoUpdate({
      target: accountStates.account,
      set: { lookup },
      setWhere: sql`${accountStates.lookup} IS DISTINCT FROM ${lookup}`,
    })
    .returning({ account: accountStates.account })
  return rows.length > 0
}

export interface Nonce {
  account: string
  value: string
  bodyDigest: string
  validForMs: number
}

/** Remembers a nonce. Returns false when it is known with another body: a replay. A retry repeats nonce and body. */
export async function rememberNonce(db: Db, { account, value, bodyDigest, validForMs }: Nonce): Promise<boolean> {
  const rows = await db.execute<{ body_digest: string }>(sql`
    INSERT INTO ${webhookNonces} AS n (account, nonce, body_digest, expires_at)
    VALUES (${account}, ${value}, ${bodyDigest}, now() + ${validForMs} * interval '1 millisecond')
    ON CONFLICT (account, nonce) DO UPDATE SET
      body_digest = CASE WHEN n.expires_at < now() THEN excluded.body_digest ELSE n.body_digest END,
      expires_at = CASE WHEN n.expires_at < now() THEN excluded.expires_at ELSE n.expires_at END
    RETURNING body_digest`)
  return rows[0]?.body_digest === bodyDigest
}

export async function deleteExpiredNonces(db: Db): Promise<void> {
  await db.delete(webhookNonces).where(sql`${webhookNonces.expiresAt} < now()`)
}

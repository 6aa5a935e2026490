/** The nonces of signed webhooks, kept as long as a repeat of the request could pass for a new one. */
import { sql } from 'drizzle-orm'
import type { Db } from './client.ts'
import { webhookNonces } from './schema.ts'

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

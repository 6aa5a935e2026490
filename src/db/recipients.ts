/**
 * Messages whose key includes the recipient (CM.com), where one side may not know it: the app tracks a reference without
 * a recipient, the provider reports one with it. The first recipient heard of is then bound to the message.
 *
 * Rows of one reference can stand under different keys, which a unique index cannot order, so whoever tracks or reports
 * such a message holds an advisory lock on the bucket of its reference, and reads after the other has committed.
 */
import { sql } from 'drizzle-orm'
import { type Db, retryLostRaces, rowsAs } from './client.ts'
import { messages } from './schema.ts'

export interface MessageKey {
  account: string
  messageId: string
  /** The normal form of the recipient, or empty where it is not known. */
  recipientKey: string
}

/** Few enough locks for any server, many enough that writers seldom meet. */
const BUCKETS = 256

/** Runs `write` in a transaction in which no other writer touches these references, with known recipients bound. */
export function withBoundRecipients<T>(db: Db, keys: readonly MessageKey[], write: (db: Db) => Promise<T>): Promise<T> {
  return retryLostRaces(() =>
    db.transaction(async (transaction) => {
      const rows = rowsAs('k', keys, {
        account: ['text', ({ account }) => account],
        message_id: ['text', ({ messageId }) => messageId],
        recipient_key: ['text', ({ recipientKey }) => recipientKey],
        ordinal: ['int', (_key, ordinal) => ordinal],
      })
      await transaction.execute(sql`
        SELECT pg_advisory_xact_lock(${BUCKETS}, bucket) FROM (
          SELECT DISTINCT abs(hashtext(account || ' ' || message_id)) % ${BUCKETS} AS bucket
          FROM ${rows}
          ORDER BY bucket
        ) buckets`)
      await transaction.execute(sql`
        UPDATE ${messages} m SET recipient_key = k.recipient_key, number = coalesce(m.number, k.recipient_key)
        FROM (
          SELECT DISTINCT ON (account, message_id) account, message_id, recipient_key
          FROM ${rows}
          WHERE recipient_key <> ''
          ORDER BY account, message_id, ordinal
        ) k
        WHERE m.account = k.account AND m.message_id = k.message_id AND m.recipient_key = ''
          AND NOT EXISTS (
            SELECT FROM ${messages} o
            WHERE o.account = k.account AND o.message_id = k.message_id AND o.recipient_key = k.recipient_key
          )`)
      return write(transaction)
    }),
  )
}

/**
 * For keys without a recipient, returns that of the only message which they can mean: the only tracked one of the
 * reference, or, where none is tracked, the only row.
 */
export async function findOnlyRecipients(db: Db, keys: readonly MessageKey[]): Promise<Map<string, string>> {
  const rows = await db.execute(sql`
    SELECT * FROM (
      SELECT account, message_id, CASE
        WHEN count(tracked_at) = 1 THEN min(recipient_key) FILTER (WHERE tracked_at IS NOT NULL)
        WHEN count(tracked_at) = 0 AND count(*) = 1 THEN min(recipient_key)
      END AS recipient_key
      FROM ${messages}
      JOIN (
        SELECT DISTINCT * FROM ${rowsAs('k', keys, {
          account: ['text', ({ account }) => account],
          message_id: ['text', ({ messageId }) => messageId],
        })}
      ) k USING (account, message_id)
      GROUP BY account, message_id
    ) only_one
    WHERE recipient_key IS NOT NULL`)
  return byReference(rows)
}

/** For keys without a recipient, returns the recipient of an existing row, preferring untracked rows. */
export async function findRecipients(db: Db, keys: readonly MessageKey[]): Promise<Map<string, string>> {
  const open = keys.filter(({ recipientKey }) => recipientKey === '')
  const rows = await db.execute(sql`
    SELECT DISTINCT ON (account, message_id) account, message_id, recipient_key
    FROM ${messages}
    JOIN (
      SELECT * FROM ${rowsAs('k', open, {
        account: ['text', ({ account }) => account],
        message_id: ['text', ({ messageId }) => messageId],
      })}
    ) k USING (account, message_id)
    ORDER BY account, message_id, tracked_at NULLS FIRST, id`)
  return byReference(rows)
}

/** By position, because the client of a sending app may rename columns. */
function byReference(rows: readonly Record<string, unknown>[]): Map<string, string> {
  return new Map(
    rows.map((row) => {
      const [account, messageId, recipientKey] = Object.values(row)
      return [`${account} ${messageId}`, String(recipientKey)]
    }),
  )
}

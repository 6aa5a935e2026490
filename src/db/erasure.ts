/**
 * Erasure: messages leave with everything that any table holds of them. Reports of them that come later are dropped: for
 * as long as the provider may send some, a hash of the message's key remains.
 */
import { type SQL, sql } from 'drizzle-orm'
import { forgetSuspects } from './accounts.ts'
import { forgetInActs } from './acts.ts'
import { callbackAttempts } from './attempt-tables.ts'
import { ERASURE } from './changes.ts'
import { type Db, retryLostRaces, rowsAs, textArray } from './client.ts'
import { countedOutstanding } from './counts.ts'
import { forgetting } from './forgetting-tables.ts'
import { besides } from './retention.ts'
import { batches, changes, due, erased, feedReaders, messages } from './schema.ts'

/** The traces of an erased message that queues may hold. */
export interface ErasedMessage {
  account: string
  messageId: string
  /** The normal form of its number, where one ID may have several; else empty. */
  recipientKey: string
}

/** The hash under which a message is remembered; without a recipient it stands for all of one ID. */
export function erasedKey(account: SQL, messageId: SQL, recipientKey: SQL): SQL {
  return sql`hashtextextended(${account} || E'\\n' || ${messageId} || E'\\n' || ${recipientKey}, 0)`
}

const REMEMBERED = sql.raw(`interval '30 days'`)

/**
 * Erases these messages and returns them. Waits until no reader of the changes has one of them in hand. They stay noted for
 * whoever has the queues forget them, so that a queue that is away, or a process that dies, puts that off and no more.
 */
export async function eraseMessages(db: Db, ids: readonly number[]): Promise<ErasedMessage[]> {
  return retryLostRaces(() =>
    db.transaction(async (transaction) => {
      await transaction.execute(sql`SELECT FROM ${feedReaders} ORDER BY name FOR UPDATE`)
      // By a statement of its own: what a report writes that holds a row until now is seen by the next one only.
      await transaction.execute(sql`
        SELECT FROM ${messages} WHERE id = ANY(${textArray(ids, 'bigint')}) ORDER BY id FOR UPDATE`)
      const rows = await transaction.execute<{ account: string; message_id: string; recipient_key: string }>(sql`
      WITH gone AS (
        DELETE FROM ${messages} WHERE id = ANY(${textArray(ids, 'bigint')})
        RETURNING id, account, message_id, recipient_key, sent_at, window_ends_at, due_at, metadata, tracked_at, final
      ), ${countedOutstanding(sql.raw('(SELECT * FROM gone WHERE tracked_at IS NOT NULL)'), -1)}, ${besides(sql.raw('gone'))}, undue AS (
        DELETE FROM ${due} d USING gone WHERE d.account = gone.account AND d.due_at = gone.due_at AND d.message = gone.id
      ), unbatched AS (
        UPDATE ${batches} SET messages = ARRAY(SELECT unnest(messages) EXCEPT SELECT id FROM gone)
        WHERE messages && ARRAY(SELECT id FROM gone)
      ), untold AS (
        DELETE FROM ${changes} WHERE message IN (SELECT id FROM gone) RETURNING position
      ), noted AS (
        INSERT INTO ${feedReaders} AS r (name, position) SELECT ${ERASURE}, max(position) FROM untold HAVING count(*) > 0
        ON CONFLICT (name) DO UPDATE SET position = greatest(r.position, excluded.position)
      ), unforgotten AS (
        INSERT INTO ${forgetting} (account, message_id, recipient_key)
        SELECT account, message_id, recipient_key FROM gone
        ON CONFLICT DO NOTHING
      ), remembered AS (
        INSERT INTO ${erased} AS e (key, until)
        SELECT ${erasedKey(sql.raw('account'), sql.raw('message_id'), sql.raw('recipient_key'))},
          max(greatest(window_ends_at, now()) + ${REMEMBERED})
        FROM gone GROUP BY 1
        ON CONFLICT (key) DO UPDATE SET until = greatest(e.until, excluded.until)
      )
      SELECT account, message_id, recipient_key FROM gone`)
      // By a statement of its own: attempts that ended while this one waited for their callbacks are seen only now.
      await transaction.execute(sql`
        DELETE FROM ${callbackAttempts} WHERE message = ANY(${textArray(ids, 'bigint')})`)
      const gone = rows.map((row) => {
        return { account: row.account, messageId: row.message_id, recipientKey: row.recipient_key }
      })
      await forgetInActs(transaction, gone)
      await forgetSuspects(transaction, gone)
      return gone
    }),
  )
}

/** Up to `limit` messages with one of these numbers, tracked or not. */
export async function findByNumber(db: Db, numbers: readonly string[], limit: number): Promise<number[]> {
  const rows = await db.execute<{ id: string }>(sql`
    SELECT id FROM ${messages} WHERE number = ANY(${textArray(numbers)}) LIMIT ${limit}`)
  return rows.map(({ id }) => Number(id))
}

export async function forgetErased(db: Db): Promise<void> {
  await db.execute(sql`DELETE FROM ${erased} WHERE until < now()`)
}

/** Erased messages, up to `limit`, that jobs may still name. */
export async function findUnforgotten(db: Db, limit: number): Promise<ErasedMessage[]> {
  return db.select().from(forgetting).limit(limit)
}

/** Notes that no job names these messages any more. */
export async function noteForgotten(db: Db, gone: readonly ErasedMessage[]): Promise<void> {
  const rows = rowsAs('g', gone, {
    account: ['text', ({ account }) => account],
    message_id: ['text', ({ messageId }) => messageId],
    recipient_key: ['text', ({ recipientKey }) => recipientKey],
  })
  await db.execute(sql`
    DELETE FROM ${forgetting} f USING ${rows}
    WHERE f.account = g.account AND f.message_id = g.message_id AND f.recipient_key = g.recipient_key`)
}

/** The messages: tracking them and finding them. schedule.ts has the steps of polling. */
import { and, eq, isNotNull, sql } from 'drizzle-orm'
import { FAILURE_STATUSES } from '../core/status.ts'
import { type Db, instantOf, retryLostRaces, rowsAs, textArray } from './client.ts'
import { countedOutstanding } from './counts.ts'
import { beginLives } from './lives.ts'
import { keptTrace } from './message-traces.ts'
import { enteredMetadata } from './metadata-entries.ts'
import { givenColumns, givenFrom, givenNames, type NewMessage } from './new-message.ts'
import { findRecipients, withBoundRecipients } from './recipients.ts'
import { due, failures, messages, statusReports } from './schema.ts'

export type MessageRow = typeof messages.$inferSelect
export type ReportRow = typeof statusReports.$inferSelect

/**
 * Tracks messages, all or none, and returns how many were not tracked before, or are sent again. A message that reports
 * told of already keeps its status; a final one is not scheduled. `traceparent` is kept with those that are new.
 */
export async function trackMessages(
  db: Db,
  tracked: readonly NewMessage[],
  keyedByRecipient = false,
  traceparent?: string,
): Promise<number> {
  if (!keyedByRecipient) return retryLostRaces(async () => (await insertMessages(db, tracked, traceparent)).inserted)
  return insertWithRecipients(db, tracked, traceparent)
}

/** As `trackMessages`, within a transaction of the caller, which is left as it was when this rejects. */
export async function trackMessagesWithin(
  transaction: Db,
  tracked: readonly NewMessage[],
  keyedByRecipient: boolean,
): Promise<number> {
  if (keyedByRecipient) return insertWithRecipients(transaction, tracked)
  return transaction.transaction(async (savepoint) => (await insertMessages(savepoint, tracked)).inserted)
}

function insertWithRecipients(db: Db, tracked: readonly NewMessage[], traceparent?: string): Promise<number> {
  return withBoundRecipients(db, tracked, async (transaction) => {
    const recipients = await findRecipients(transaction, tracked)
    const named = new Map(tracked.filter(hasRecipient).map((message) => [referenceOf(message), message]))
    const resolved = onePerKey(
      [...tracked.filter(hasRecipient), ...tracked.filter((message) => !hasRecipient(message))].map((message) => {
        if (hasRecipient(message)) return message
        const known = recipients.get(referenceOf(message))
        if (known !== undefined) return { ...message, recipientKey: known }
        const { recipientKey, recipient, number } = named.get(referenceOf(message)) ?? message
        return { ...message, recipientKey, recipient, number }
      }),
    )
    const { inserted, hasEnded } = await insertMessages(transaction, resolved, traceparent)
    const mayBegin = inserted < resolved.length || hasEnded
    return mayBegin ? inserted + (await beginLives(transaction, resolved)) : inserted
  })
}

const hasRecipient = ({ recipientKey }: NewMessage) => recipientKey !== ''
const referenceOf = ({ account, messageId }: NewMessage) => `${account} ${messageId}`

/** An order may name a message with its recipient and without, which only it or the receipts before it tell to be one. */
function onePerKey(tracked: readonly NewMessage[]): NewMessage[] {
  const byKey = new Map<string, NewMessage>()
  for (const message of tracked) {
    const key = `${message.account} ${message.recipientKey} ${message.messageId}`
    if (!byKey.has(key)) byKey.set(key, message)
  }
  return [...byKey.values()]
}

interface Inserted {
  inserted: number
  /** A receipt that came before has told the final status of some. */
  hasEnded: boolean
}

async function insertMessages(db: Db, tracked: readonly NewMessage[], traceparent?: string): Promise<Inserted> {
  const rows = rowsAs('n', tracked, {
    account: ['text', ({ account }) => account],
    message_id: ['text', ({ messageId }) => messageId],
    recipient_key: ['text', ({ recipientKey }) => recipientKey],
    number: ['text', ({ number }) => number],
    sent_at: ['float8', ({ sentAt }) => sentAt.getTime()],
    window_ends_at: ['float8', ({ windowEndsAt }) => windowEndsAt.getTime()],
    due_at: ['float8', ({ dueAt }) => dueAt.getTime()],
    ...givenColumns,
  })
  // The order of the key keeps two bodies with the same IDs from locking each other out.
  const [row] = await db.execute(sql`
    WITH tracked AS (
      INSERT INTO ${messages} AS m (
        account, message_id, recipient_key, number, sent_at, window_ends_at, due_at, ${givenNames}, tracked_at
      )
      SELECT account, message_id, recipient_key, number, ${instantOf('sent_at')}, ${instantOf('window_ends_at')},
        ${instantOf('due_at')}, ${givenNames}, now()
      FROM ${rows}
      ORDER BY account, message_id, recipient_key
      ON CONFLICT (account, message_id, recipient_key) DO UPDATE SET
        ${givenFrom('excluded')},
        number = coalesce(excluded.number, m.number),
        sent_at = excluded.sent_at,
        window_ends_at = excluded.window_ends_at,
        tracked_at = excluded.tracked_at,
        due_at = CASE WHEN m.final THEN NULL ELSE excluded.due_at END
      WHERE m.tracked_at IS NULL
      RETURNING m.id, m.account, m.due_at, m.sent_at, m.status, m.final, m.error_code, m.metadata
    ), ${countedOutstanding(sql.raw('tracked'), 1)}, scheduled AS (
      INSERT INTO ${due} (account, due_at, message)
      SELECT account, due_at, id FROM tracked WHERE due_at IS NOT NULL
      ON CONFLICT DO NOTHING
    ), failed AS (
      -- Reports have told of these before they were tracked.
      INSERT INTO ${failures} (message, account, status, code, sent_at)
      SELECT id, account, status, error_code, sent_at
      FROM tracked WHERE status = ANY(${textArray(FAILURE_STATUSES, 'lastword.status')})
      ON CONFLICT DO NOTHING
    )${tracked.some(({ metadata }) => metadata) ? enteredMetadata(sql.raw('tracked')) : sql``}${keptTrace(sql.raw('tracked'), traceparent)}
    SELECT count(*) AS inserted, count(*) FILTER (WHERE final) AS ended FROM tracked`)
  // By position, because the client of a sending app may rename columns.
  const [inserted, ended] = Object.values(row ?? {}).map(Number)
  return { inserted: inserted ?? 0, hasEnded: (ended ?? 0) > 0 }
}

/** All tracked messages of one ID: one, or one per recipient. */
export async function findMessages(
  db: Db,
  account: string,
  messageId: string,
  recipientKey?: string,
): Promise<MessageRow[]> {
  return db
    .select()
    .from(messages)
    .where(
      and(
        eq(messages.account, account),
        eq(messages.messageId, messageId),
        isNotNull(messages.trackedAt),
        recipientKey === undefined ? undefined : eq(messages.recipientKey, recipientKey),
      ),
    )
    .orderBy(messages.id)
}

/** The reports of a message in the order of their arrival. */
export async function findReports(db: Db, message: number): Promise<ReportRow[]> {
  return db.select().from(statusReports).where(eq(statusReports.message, message)).orderBy(statusReports.id)
}

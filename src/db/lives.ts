/** Messages that are sent again under the same ID: a second life begins when they are tracked again (core/lives.ts). */
import { sql } from 'drizzle-orm'
import { nextLife } from '../core/lives.ts'
import type { Source, Status, StatusReport } from '../core/status.ts'
import { type Db, instantOf, rowsAs } from './client.ts'
import { countedOutstanding } from './counts.ts'
import { enteredMetadata, unenteredMetadata } from './metadata-entries.ts'
import { givenColumns, givenFrom, type NewMessage } from './new-message.ts'
import { applyReports } from './reports.ts'
import { batches, due, failures, messages, statusReports } from './schema.ts'

/**
 * A message that had its final status before it was tracked again, or for the first time just now. Times are milliseconds
 * since 1970.
 */
interface Ended {
  ordinal: number
  id: number
  /** Null where it was not tracked before. */
  sentAt: number | null
  lifeSince: number | null
  reports: { status: Status; source: Source; occurredAt: number }[] | null
}

/**
 * Begins another life for each of these messages that has ended and is sent again, whether the life before was tracked or
 * not; returns how many that were of those tracked before. Reports that came before the app tracked the message again count
 * at once. Within a transaction.
 */
export async function beginLives(db: Db, tracked: readonly NewMessage[]): Promise<number> {
  const mayBegin = tracked.filter(({ mayBeginAnew }) => mayBeginAnew)
  if (mayBegin.length === 0) return 0
  const ended = await findEnded(db, mayBegin)
  const begun = ended.flatMap((row) => {
    const message = mayBegin[row.ordinal]
    const reports = (row.reports ?? []).map((report) => ({ ...report, occurredAt: new Date(report.occurredAt) }))
    const lifeSince = row.lifeSince === null ? undefined : new Date(row.lifeSince)
    const sentAt = row.sentAt === null ? undefined : new Date(row.sentAt)
    const life = message && nextLife({ sentAt, lifeSince, reports }, sentAt ? message.sentAt : notAhead(message.sentAt))
    return message && life ? [{ id: row.id, message, life, isNew: sentAt === undefined }] : []
  })
  if (begun.length === 0) return 0
  await reset(db, begun)
  const known = begun.flatMap(({ message, life }) =>
    life.reports.map(
      ({ status, source, occurredAt }): StatusReport => ({
        account: message.account,
        messageId: message.messageId,
        ...(message.recipientKey === '' ? {} : { recipient: message.recipientKey }),
        status,
        rawStatus: status,
        source,
        occurredAt,
      }),
    ),
  )
  await applyReports(db, known, { keepUntracked: false, areRecorded: true })
  return begun.filter(({ isNew }) => !isNew).length
}

/** A message that is to be sent later may be refused at once. */
const notAhead = (sentAt: Date) => new Date(Math.min(sentAt.getTime(), Date.now()))

/** Tracked by this transaction. */
const isNew = sql.raw('m.tracked_at = now()::timestamptz(3)')

async function findEnded(db: Db, tracked: readonly NewMessage[]): Promise<Ended[]> {
  const given = rowsAs('n', tracked, {
    ordinal: ['int', (_message, ordinal) => ordinal],
    account: ['text', ({ account }) => account],
    message_id: ['text', ({ messageId }) => messageId],
    recipient_key: ['text', ({ recipientKey }) => recipientKey],
    sent_ms: ['float8', ({ sentAt }) => sentAt.getTime()],
  })
  // One text, because the client of a sending app may rename columns and transform values.
  const rows = await db.execute(sql`
    WITH ended AS (
      SELECT n.ordinal, m.id, CASE WHEN NOT (${isNew}) THEN m.sent_at END AS sent_at, m.life_since
      FROM ${given}
      JOIN ${messages} m USING (account, message_id, recipient_key)
      WHERE m.final AND m.tracked_at IS NOT NULL AND (${isNew} OR m.sent_at < ${instantOf('n.sent_ms')})
      ORDER BY m.id
      FOR UPDATE OF m
    )
    SELECT coalesce(json_agg(json_build_object(
      'ordinal', ordinal, 'id', id, 'sentAt', ${msOf('sent_at')}, 'lifeSince', ${msOf('life_since')},
      'reports', (
        SELECT json_agg(json_build_object('status', status, 'source', source, 'occurredAt', ${msOf('occurred_at')}))
        FROM ${statusReports} r WHERE r.message = ended.id
      )
    )), '[]')::text FROM ended`)
  return JSON.parse(String(Object.values(rows[0] ?? {})[0]))
}

function msOf(column: string) {
  return sql.raw(`extract(epoch FROM ${column}) * 1000`)
}

/** Back to the beginning, without a status: the reports that count are applied afterwards. No batch asks any more. */
async function reset(db: Db, begun: readonly { id: number; message: NewMessage; life: { since: Date } }[]) {
  const given = begun.map(({ id, message, life: { since } }) => ({ ...message, id, since }))
  const rows = rowsAs('n', given, {
    id: ['bigint', ({ id }) => id],
    since_ms: ['float8', ({ since }) => since.getTime()],
    sent_ms: ['float8', ({ sentAt }) => sentAt.getTime()],
    window_ms: ['float8', ({ windowEndsAt }) => windowEndsAt.getTime()],
    due_ms: ['float8', ({ dueAt }) => dueAt.getTime()],
    number: ['text', ({ number }) => number],
    ...givenColumns,
  })
  await db.execute(sql`
    WITH n AS (
      SELECT * FROM ${rows}
    ), ended AS (
      SELECT m.id, m.sent_at, m.metadata FROM ${messages} m JOIN n USING (id) WHERE m.sent_at <> ${instantOf('n.sent_ms')}
    )${unenteredMetadata(sql.raw('ended'))}, begun AS (
      UPDATE ${messages} m SET
        status = NULL, final = false, status_at = NULL, status_rank = -1, read_at = NULL, settled_by = NULL,
        polls = 0, asked_at = NULL, wanted_at = NULL, query_error = NULL, changed_at = now(),
        known_after = NULL, error_code = NULL,
        life_since = ${instantOf('n.since_ms')}, sent_at = ${instantOf('n.sent_ms')},
        window_ends_at = ${instantOf('n.window_ms')}, due_at = ${instantOf('n.due_ms')},
        number = coalesce(n.number, m.number), ${givenFrom('n')}
      FROM n WHERE m.id = n.id
      RETURNING m.id, m.account, m.due_at, m.sent_at, m.final, m.metadata
    ), ${countedOutstanding(sql.raw('begun'), 1)}, unfailed AS (
      DELETE FROM ${failures} WHERE message IN (SELECT id FROM n)
    ), left_out AS (
      UPDATE ${batches} b SET messages = ARRAY(SELECT unnest(b.messages) EXCEPT SELECT id FROM n)
      WHERE b.messages && ARRAY(SELECT id FROM n)
    )${enteredMetadata(sql.raw('begun'))}
    INSERT INTO ${due} (account, due_at, message) SELECT account, due_at, id FROM begun ON CONFLICT DO NOTHING`)
}

/** Looks into the schedule, and moves it, as time would. */
import type postgres from 'postgres'

/** Has outstanding messages come due now, all or those of these IDs. */
export async function makeDue(sql: postgres.Sql, messageIds?: readonly string[]): Promise<void> {
  await sql`
    WITH moved AS (
      UPDATE lastword.messages SET due_at = now()
      WHERE NOT final AND (${messageIds === undefined} OR message_id = ANY(${messageIds ?? []}))
      RETURNING account, due_at, id
    )
    INSERT INTO lastword.due (account, due_at, message) SELECT account, due_at, id FROM moved ON CONFLICT DO NOTHING`
}

/** The outstanding messages that do not stand in exactly one place, in the schedule or in a batch. */
export async function findMisplaced(sql: postgres.Sql): Promise<{ messageId: string; due: number; batches: number }[]> {
  return sql`
    SELECT message_id AS "messageId", due, batches FROM (
      SELECT m.message_id,
        (SELECT count(*)::int FROM lastword.due d WHERE d.message = m.id AND d.due_at = m.due_at AND d.account = m.account) AS due,
        (SELECT count(*)::int FROM lastword.batches b WHERE m.id = ANY(b.messages)) AS batches
      FROM lastword.messages m WHERE m.tracked_at IS NOT NULL AND NOT m.final
    ) places WHERE due + batches <> 1`
}

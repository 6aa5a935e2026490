/**
 * Preparations for migrations that rely on them, made while the service goes on: rows are filled in a few thousand at a
 * time, indexes are built without locking their table. Each may be interrupted, and run again.
 */
import type postgres from 'postgres'

/** By the name of the migration. */
export const preparations: Readonly<Record<string, (client: postgres.Sql) => Promise<void>>> = {
  '0008_move_the_schedule_out_of_the_messages': fillSchedule,
  '0011_index_messages_by_time_and_number': async (client) => {
    await fillSearch(client)
    await buildIndex(client, 'messages_sent', 'messages (account, sent_at, id) WHERE tracked_at IS NOT NULL')
    await buildIndex(client, 'messages_number', 'messages (number, sent_at, id) WHERE number IS NOT NULL')
  },
  '0029_find_changes_by_message': (client) => buildIndex(client, 'changes_message', 'changes (message)'),
  '0032_find_callbacks_given_up': (client) =>
    buildIndex(client, 'callbacks_given_up', 'callbacks (account, first_due_at) WHERE next_attempt_at IS NULL'),
}

const ROWS_A_STEP = 20_000

/** Runs a step for every so many messages, in the order of their IDs. */
async function inSteps(client: postgres.Sql, step: (from: number, to: number) => Promise<unknown>): Promise<void> {
  const [row] = await client`SELECT min(id)::float8 AS first, max(id)::float8 AS last FROM lastword.messages`
  const { first, last } = { first: Number(row?.first ?? 1), last: Number(row?.last ?? 0) }
  for (let from = first; from <= last; from += ROWS_A_STEP) await step(from, from + ROWS_A_STEP)
}

/** Enters every outstanding message of 0.1.0 into the schedule; what 0.1.0 moves meanwhile, a trigger enters. */
async function fillSchedule(client: postgres.Sql): Promise<void> {
  await inSteps(
    client,
    (from, to) => client`
      INSERT INTO lastword.due (account, due_at, message)
      SELECT account, next_poll_at, id FROM lastword.messages
      WHERE id >= ${from} AND id < ${to} AND next_poll_at IS NOT NULL
      ON CONFLICT DO NOTHING`,
  )
}

/** Enters the messages of 0.1.0 into what they are found by. */
async function fillSearch(client: postgres.Sql): Promise<void> {
  await inSteps(
    client,
    (from, to) => client`
      WITH page AS MATERIALIZED (
        SELECT * FROM lastword.messages WHERE id >= ${from} AND id < ${to}
      ), numbered AS (
        UPDATE lastword.messages m SET number = n.number
        FROM (
          SELECT id, coalesce(
            nullif(recipient_key, ''),
            -- One that leaves its country open keeps its zero.
            CASE WHEN recipient ~ '^[^0-9+]*0(?![^0-9+]*0)' THEN '0' ELSE '' END
              || ltrim(regexp_replace(replace(recipient, '(0)', ''), '[^0-9]', '', 'g'), '0')
          ) AS number
          FROM page
        ) n
        WHERE m.id = n.id AND n.number NOT IN ('', '0')
      ), failed AS (
        INSERT INTO lastword.failures (message, account, status, code, sent_at)
        SELECT id, account, status, (
          SELECT r.error ->> 'code' FROM lastword.status_reports r
          WHERE r.message = page.id AND r.status = page.status ORDER BY r.id DESC LIMIT 1
        ), sent_at
        FROM page
        WHERE tracked_at IS NOT NULL AND status IN ('unknown', 'rejected', 'failed', 'undelivered', 'expired')
        ON CONFLICT DO NOTHING
      )
      INSERT INTO lastword.message_metadata (entry, sent_at, message)
      SELECT hashtextextended(e.key || E'\\n' || (e.value #>> '{}'), 0), sent_at, id
      FROM page CROSS JOIN LATERAL jsonb_each(metadata) e
      WHERE jsonb_typeof(metadata) = 'object' AND jsonb_typeof(e.value) IN ('string', 'number', 'boolean')
      ON CONFLICT DO NOTHING`,
  )
}

/** Builds an index of the migration ahead of it; an interrupted attempt has left one that is of no use. */
async function buildIndex(client: postgres.Sql, name: string, definition: string): Promise<void> {
  const [left] = await client`
    SELECT FROM pg_index WHERE indexrelid = to_regclass(${`lastword.${name}`}) AND NOT indisvalid`
  if (left) await client.unsafe(`DROP INDEX CONCURRENTLY lastword.${name}`)
  await client.unsafe(`CREATE INDEX CONCURRENTLY IF NOT EXISTS ${name} ON lastword.${definition}`)
}

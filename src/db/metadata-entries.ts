/**
 * The entries by which messages are found in their metadata: eight bytes for each key that holds a text, a number or a
 * boolean, so that the index stays small whatever apps write. Two values may have the same hash, so a search looks at
 * the value, too.
 */
import { type SQL, sql } from 'drizzle-orm'
import { messageMetadata } from './schema.ts'

/** The entry of a key and a value, given as SQL texts. */
export function metadataEntry(key: SQL, value: SQL): SQL {
  return sql`hashtextextended(${key} || E'\\n' || ${value}, 0)`
}

/** A step of a statement that enters the metadata of rows with `id`, `sent_at` and `metadata`. */
export function enteredMetadata(rows: SQL): SQL {
  return sql`, entered AS (
      INSERT INTO ${messageMetadata} (entry, sent_at, message)
      SELECT ${metadataEntry(sql.raw('e.key'), sql.raw("(e.value #>> '{}')"))}, r.sent_at, r.id
      FROM ${rows} r CROSS JOIN LATERAL jsonb_each(r.metadata) e
      WHERE jsonb_typeof(e.value) IN ('string', 'number', 'boolean')
      ON CONFLICT DO NOTHING
    )`
}

/** A step of a statement that deletes the entries of rows with `id`, `sent_at` and `metadata`, as those were. */
export function unenteredMetadata(rows: SQL): SQL {
  return sql`, unentered AS (
      DELETE FROM ${messageMetadata} e USING (
        SELECT ${metadataEntry(sql.raw('e.key'), sql.raw("(e.value #>> '{}')"))} AS entry, r.sent_at, r.id
        FROM ${rows} r CROSS JOIN LATERAL jsonb_each(r.metadata) e
      ) d
      WHERE e.entry = d.entry AND e.sent_at = d.sent_at AND e.message = d.id
    )`
}

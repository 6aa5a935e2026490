/** The status queries of the last days (status-queries.ts). */
import { sql } from 'drizzle-orm'
import { bigint, index, integer, text, uuid } from 'drizzle-orm/pg-core'
import { instant, lastword } from './schema.ts'

export const statusQueries = lastword.table(
  'status_queries',
  {
    /** When its answer was written: the same as `asked_at` of each of its messages then. */
    at: instant('at').notNull().default(sql`now()`),
    account: text('account').notNull(),
    lookup: text('lookup').notNull(),
    batch: uuid('batch').notNull(),
    /** The job in Bull Board. */
    job: text('job'),
    /** How many messages were asked about, or told of; null where a sweep ended without another request. */
    ids: integer('ids'),
    /** Why it was not answered. */
    error: text('error'),
    messages: bigint('messages', { mode: 'number' }).array().notNull(),
    /** The provider's word for each of them, null where there was none. */
    words: text('words').array(),
    /** When each of them was asked about before. */
    askedBefore: instant('asked_before').array(),
    /** The ones that the answer does not mention. */
    missing: bigint('missing', { mode: 'number' }).array(),
  },
  (table) => [
    index('status_queries_at').on(table.at),
    index('status_queries_batch').on(table.batch),
    index('status_queries_failed').on(table.account, table.at).where(sql`${table.error} IS NOT NULL`),
  ],
)

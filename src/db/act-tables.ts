/** The record of acts (acts.ts). It holds no phone number, and of an erased message no ID. */
import { sql } from 'drizzle-orm'
import { bigint, index, integer, text } from 'drizzle-orm/pg-core'
import type { ActKind, ActOutcome } from '../core/act.ts'
import { instant, lastword } from './schema.ts'

export const acts = lastword.table(
  'acts',
  {
    id: bigint('id', { mode: 'number' }).primaryKey().generatedAlwaysAsIdentity(),
    at: instant('at').notNull().default(sql`clock_timestamp()`),
    by: text('by').notNull(),
    kind: text('kind').$type<ActKind>().notNull(),
    account: text('account'),
    messageId: text('message_id'),
    queue: text('queue'),
    job: text('job'),
    jobs: text('jobs'),
    count: integer('count'),
    outcome: text('outcome').$type<ActOutcome>().notNull().default('begun'),
  },
  (table) => [index('acts_message').on(table.messageId, table.account).where(sql`${table.messageId} IS NOT NULL`)],
)

/**
 * The tables of alerts (core/alerts.ts), beside the other tables (schema.ts).
 *
 * alerts          what the operator was told of, or will be, and how far telling has come (see alerts.ts).
 * alert_reports   the conditions that only one process sees, for as long as it reports them.
 */
import { sql } from 'drizzle-orm'
import { bigint, index, integer, primaryKey, text, uniqueIndex } from 'drizzle-orm/pg-core'
import type { AlertKind } from '../core/alerts.ts'
import { instant, lastword } from './schema.ts'

export const alerts = lastword.table(
  'alerts',
  {
    id: bigint('id', { mode: 'number' }).primaryKey().generatedAlwaysAsIdentity(),
    kind: text('kind').$type<AlertKind>().notNull(),
    subject: text('subject').notNull(),
    message: text('message').notNull(),
    since: instant('since').notNull(),
    /** When it began for the operator; null until it has held for long enough. */
    begunAt: instant('begun_at'),
    /** Since when the condition is gone. */
    goneSince: instant('gone_since'),
    endedAt: instant('ended_at'),
    /** How many tellings ALERT_URL has taken: that it began is the first, that it ended the second. */
    told: integer('told').notNull().default(0),
    /** Of the telling that is next. */
    attempts: integer('attempts').notNull().default(0),
    /** When that is due, or until when a process holds it; null when there is none. */
    nextAttemptAt: instant('next_attempt_at'),
  },
  (table) => [
    uniqueIndex('alerts_open').on(table.kind, table.subject).where(sql`${table.endedAt} IS NULL`),
    index('alerts_untold').on(table.nextAttemptAt).where(sql`${table.nextAttemptAt} IS NOT NULL`),
  ],
)

export const alertReports = lastword.table(
  'alert_reports',
  {
    reporter: text('reporter').notNull(),
    kind: text('kind').$type<AlertKind>().notNull(),
    subject: text('subject').notNull(),
    message: text('message').notNull(),
    since: instant('since').notNull(),
    /** Until when it counts; the process that is the reporter reports it again before. */
    until: instant('until').notNull(),
  },
  (table) => [primaryKey({ columns: [table.reporter, table.kind, table.subject] })],
)

/**
 * The attempts of callbacks (callback-attempts.ts), and those who receive callbacks, while something keeps them back
 * (receivers.ts).
 */
import { bigint, index, integer, primaryKey, text } from 'drizzle-orm/pg-core'
import { instant, lastword, statusEnum } from './schema.ts'

export const callbackAttempts = lastword.table(
  'callback_attempts',
  {
    id: bigint('id', { mode: 'number' }).notNull().generatedAlwaysAsIdentity(),
    message: bigint('message', { mode: 'number' }).notNull(),
    /** The position of the change that it told of, and the status that it told. */
    change: bigint('change', { mode: 'number' }).notNull(),
    status: statusEnum('status'),
    receiver: text('receiver').notNull(),
    /** When it began. */
    at: instant('at').notNull(),
    tookMs: integer('took_ms').notNull(),
    httpStatus: integer('http_status'),
    /** Why the receiver has not taken it; null when it has. */
    error: text('error'),
    /** How the answer began, with phone numbers masked. */
    answer: text('answer'),
  },
  (table) => [primaryKey({ columns: [table.message, table.id] }), index('callback_attempts_at').on(table.at)],
)

export const receivers = lastword.table('receivers', {
  receiver: text('receiver').primaryKey(),
  /** Until when it counts as slow; null once an attempt ended in good time. */
  slowUntil: instant('slow_until'),
  /** Until when it asked to be sent nothing. */
  closedUntil: instant('closed_until'),
})

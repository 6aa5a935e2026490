/** Erased messages that jobs may still name, until the queues have been gone through (erasure.ts). */
import { primaryKey, text } from 'drizzle-orm/pg-core'
import { lastword } from './schema.ts'

export const forgetting = lastword.table(
  'forgetting',
  {
    account: text('account').notNull(),
    messageId: text('message_id').notNull(),
    /** Empty where the ID alone names the message. */
    recipientKey: text('recipient_key').notNull().default(''),
  },
  (table) => [primaryKey({ columns: [table.account, table.messageId, table.recipientKey] })],
)

/** The places of sampled messages in their traces (message-traces.ts); empty without OpenTelemetry. */
import { bigint, text } from 'drizzle-orm/pg-core'
import { lastword } from './schema.ts'

export const messageTraces = lastword.table('message_traces', {
  message: bigint('message', { mode: 'number' }).primaryKey(),
  /** The span that tracked it. */
  tracked: text('tracked').notNull(),
  /** The span that last found something about it. */
  found: text('found'),
})

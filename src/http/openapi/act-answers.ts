/** The answers on acts, as schemas with examples. */
import { z } from 'zod'
import { ACT_KINDS, ACT_OUTCOMES } from '../../core/act.ts'
import { countSchema, field, namedObject, noTextSchema, textSchema, timeSchema } from './answers.ts'

export const actPageSchema = namedObject('ActPage', {
  acts: z
    .array(
      z.object({
        at: timeSchema.describe('When it began.'),
        by: field(textSchema, 'ops', 'The name of the key; `unnamed key`, or `no key` where none is configured.'),
        kind: field(z.enum(ACT_KINDS), 'pause', 'The act.'),
        account: noTextSchema.describe('The account of the message, or of all that were asked about.'),
        messageId: noTextSchema.describe('The message, unless it was erased.'),
        queue: field(textSchema.nullable(), 'status-query.seven', 'The queue in Bull Board.'),
        job: noTextSchema.describe('The job in Bull Board.'),
        jobs: noTextSchema.describe('The state of the jobs that it was about, like `failed`.'),
        count: field(countSchema.nullable(), null, 'How many messages, callbacks or jobs it was about.'),
        outcome: field(z.enum(ACT_OUTCOMES), 'done', '`begun` where the process died before it had ended.'),
      }),
    )
    .describe('The latest first.'),
  nextCursor: noTextSchema.describe('For the next page; `null` on the last.'),
})

/** The answers about callbacks, as schemas with examples (answers.ts). */
import { z } from 'zod'
import { CALLBACK_STATES } from '../../db/callbacks.ts'
import {
  accountSchema,
  attemptsSchema,
  countSchema,
  field,
  messageIdSchema,
  noTextSchema,
  noTimeSchema,
  statusSchema,
  textSchema,
  timeSchema,
} from './answers.ts'

export const untakenCallbacksSchema = z.object({
  callbacks: z
    .array(
      z.object({
        change: field(z.int(), 4711, 'The change it tells of; name it to try again.'),
        account: accountSchema,
        messageId: messageIdSchema,
        status: field(statusSchema, 'delivered', 'The status it tells.'),
        receiver: field(textSchema, 'https://example.com', 'Whom it is for: the origin of the URL.'),
        state: z.enum(CALLBACK_STATES).describe('Waits for another attempt, is called, or has failed for good.'),
        attempts: countSchema.describe('How often it was tried.'),
        firstDueAt: timeSchema.describe('When it was due first.'),
        nextAttemptAt: noTimeSchema.describe('When it is tried again, while it waits for that.'),
        lastError: field(textSchema.nullable(), 'the receiver answered HTTP 500', 'Why the last attempt failed.'),
        lastAttempts: attemptsSchema,
      }),
    )
    .describe('The latest change first.'),
  nextCursor: noTextSchema.describe('For the next page; `null` on the last.'),
})

export const callbackSummarySchema = z.object({
  reasons: z
    .array(
      z.object({
        receiver: field(textSchema, 'https://example.com', 'The origin of the URLs.'),
        error: field(textSchema.nullable(), 'the receiver answered HTTP 500', 'Why the last attempts failed.'),
        callbacks: countSchema.describe('How many callbacks were not taken for this reason.'),
        failed: field(countSchema, 0, 'How many of them have failed for good.'),
        since: timeSchema.describe('When the first of them was due.'),
      }),
    )
    .describe('The reason with the most callbacks first, up to 100.'),
})

export const callbackCountSchema = z.object({ callbacks: countSchema.describe('How many would be due again.') })

export const replayedSchema = z.object({ replayed: countSchema.describe('How many are due again.') })

/** The answers about accounts, as schemas with examples (answers.ts). */
import { z } from 'zod'
import { AT, countSchema, field, namedObject, noTextSchema, noTimeSchema, textSchema, timeSchema } from './answers.ts'

const scheduleFields = {
  policy: z.enum(['learned', 'exponential']).describe('How it is decided when to ask.'),
  price: field(z.number().nullable(), 300, 'The seconds of waiting that a request must be worth; `null` by backoff.'),
  webhookLoss: field(
    z.number(),
    0.03,
    'The share of final statuses whose receipt never comes; 1 as long as none has come.',
  ),
  finalsSeen: field(countSchema, 48213, 'How many final statuses this was learned from.'),
}

const accountHealthSchema = namedObject('AccountHealth', {
  account: field(textSchema, 'seven', 'The name of the account.'),
  provider: field(textSchema, 'seven', 'The provider, like `seven` or `cm`.'),
  query: field(textSchema, 'auto', 'How it is configured to ask; `off` means never.'),
  lookup: field(textSchema.nullable(), 'status', 'The look-up in use; `null` when nothing is asked.'),
  status: z
    .enum(['ok', 'refused', 'unreachable', 'failing'])
    .describe(
      '`refused`: the provider refuses the credentials; `unreachable`: no connection; `failing`: no good answer.',
    ),
  trouble: noTextSchema.describe('Why, as the last answer has it.'),
  troubleSince: noTimeSchema.describe('Since when.'),
  pausedUntil: noTimeSchema.describe('Until when nothing is asked; a poll by hand ends it.'),
  lastGoodAnswer: field(
    timeSchema.nullable(),
    AT,
    'When the provider last answered as it should, to the second or so.',
  ),
  pausedQueues: field(
    z.array(textSchema).nullable(),
    [],
    'The paused queues that its messages wait for; `null` where the queues do not answer.',
  ),
  requestsPerSecond: field(z.number(), 5, 'The budget of requests to the status API, all workers together.'),
  requestsLastMinute: field(countSchema, 12, 'How many requests were made within the last minute, answered or not.'),
  noGoodAnswerSince: noTimeSchema.describe('When the first answer after that came which was not good.'),
  lastError: noTextSchema.describe('Why the latest of these was not.'),
  webhookRoute: z
    .object({
      state: z
        .enum(['ok', 'silent', 'unproved'])
        .describe('`silent`: receipts that should come stay away; `unproved`: none has come yet.'),
      since: timeSchema.describe('Since when; `silent` since the last receipt.'),
      lost: field(
        countSchema,
        0,
        'How many final statuses were found by polling since then whose receipts did not come.',
      ),
      lagP95: field(z.number().nullable(), 3.4, 'The seconds that 95 % of the receipts that come do not exceed.'),
    })
    .describe('The way its receipts take.'),
  schedule: z.object(scheduleFields).describe('When its messages are asked about, in short.'),
})

export const scheduleSchema = namedObject('Schedule', {
  account: field(textSchema, 'seven', 'The name of the account.'),
  ...scheduleFields,
  webhookLagP95: field(
    z.number(),
    3.4,
    'The seconds that 95 % of the receipts that come do not exceed, or are taken to.',
  ),
  alone: field(
    z.array(z.number()),
    [3600, 7200, 14400],
    'The ages in seconds at which a message without a receipt is asked about where it is alone.',
  ),
  shared: field(z.array(z.number()), [35.2, 141, 520], 'The same where requests are full.'),
  curve: field(
    z.array(z.array(z.number()).length(2)),
    [
      [5, 0.37],
      [60, 0.87],
    ],
    'Ages in seconds, each with the share of messages that are final by then.',
  ),
})

export const accountListSchema = namedObject('AccountList', {
  worker: textSchema.optional().describe('While no worker runs: since when.'),
  accounts: z.array(accountHealthSchema).describe('Every configured account.'),
})

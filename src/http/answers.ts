/**
 * What the routes answer, as schemas: the OpenAPI document is generated from them, and a test holds them against real
 * answers. Times are those of the JSON, not `Date`s.
 */
import { z } from 'zod'
import type { ErrorCode } from '../core/errors.ts'
import type { Outcome } from '../core/settle.ts'
import { SOURCES, STATUSES } from '../core/status.ts'

const OUTCOMES = ['applied', 'stale', 'duplicate', 'contradicting'] as const satisfies readonly Outcome[]
const CODES = [
  'INPUT_INVALID',
  'UNAUTHORIZED',
  'FORBIDDEN',
  'NOT_FOUND',
  'AMBIGUOUS',
  'CONFLICT',
  'GONE',
  'UNAVAILABLE',
  'INTERNAL',
] as const satisfies readonly (ErrorCode | 'INTERNAL')[]

const timeSchema = z.iso.datetime()
const countSchema = z.int().nonnegative()

export const statusSchema = z
  .enum(STATUSES)
  .describe(
    '`accepted`, `transmitted` and `buffered` are intermediate: more may come. All others are final. `unknown` is Lastword’s own word for a look-up window that closed without an answer.',
  )
const sourceSchema = z.enum(SOURCES)

export const trackedSchema = z.object({
  tracked: countSchema.describe('How many messages are tracked from now on.'),
  alreadyTracked: countSchema.describe('How many were tracked before, or stand in the order twice.'),
  refused: z
    .array(
      z.object({
        index: countSchema.describe('The place of the message in the order.'),
        messageId: z.string().nullable(),
        reason: z.string().describe('Where it is wrong, and what was expected.'),
      }),
    )
    .optional()
    .describe('With `partial`: the messages that were not tracked.'),
})

export const messageSchema = z.object({
  account: z.string().describe('The account the message was sent with.'),
  messageId: z.string().describe('The provider’s ID of the message in its normal form; at CM.com, your `reference`.'),
  recipient: z.string().nullable().describe('The phone number as your app gave it, else as the provider named it.'),
  status: statusSchema.nullable().describe('The status that stands; `null` before the first report.'),
  final: z.boolean().describe('Whether `status` is final: nothing is asked any more.'),
  statusAt: timeSchema.nullable().describe('When the status happened at the provider.'),
  settledBy: sourceSchema
    .nullable()
    .describe('Who brought the final status: a webhook, a poll, or the closing look-up window.'),
  sentAt: timeSchema.describe('When the message was sent, as your app said, else when it was tracked.'),
  polls: countSchema.describe('How many times the provider was asked about the message.'),
  nextPollAt: timeSchema.nullable().describe('When it is next due; `null` when nothing is to be asked any more.'),
  windowEndsAt: timeSchema.describe('When the provider’s look-up window closes.'),
  metadata: z
    .record(z.string(), z.json())
    .nullable()
    .describe('What your app attached to the message when tracking it.'),
  queryError: z
    .string()
    .optional()
    .describe('Why the provider refused to answer about this message. It is then asked about alone, once a day.'),
})

export const polledMessageSchema = messageSchema.extend({
  paused: z
    .object({
      since: timeSchema.nullable().describe('Since when the account has got no good answer.'),
      until: timeSchema.nullable().describe('Until when nobody would have asked; `null` when a probe was due.'),
      trouble: z.string().nullable().describe('Why, as the last answer has it.'),
    })
    .optional()
    .describe('Only where the account was paused: this request has ended that, and the message is asked about first.'),
})

export const erasedSchema = z.object({ erased: countSchema.describe('How many messages that were.') })

export const polledSchema = z.object({
  polled: countSchema.describe('How many messages are due now, or are being asked about already.'),
  nextCursor: z
    .string()
    .nullable()
    .describe('The `cursor` of the request that goes on; `null` when all that match are due.'),
})

export const reportSchema = z.object({
  status: statusSchema,
  rawStatus: z.string().describe('The provider’s own code or word, as it came.'),
  source: sourceSchema.describe('Whether the provider told it, was asked, or the look-up window closed.'),
  occurredAt: timeSchema.describe('When it happened at the provider.'),
  receivedAt: timeSchema.describe('When Lastword stored it.'),
  outcome: z
    .enum(OUTCOMES)
    .describe('What the report did: set the status, came too late, said it again, or denied a final status.'),
  earlierLife: z
    .literal(true)
    .optional()
    .describe('The message was sent again since, under the same ID: the report counts no more.'),
  error: z
    .object({
      code: z.string().optional().describe('The provider’s code of the error.'),
      description: z.string().optional().describe('The provider’s words for it.'),
    })
    .nullable()
    .describe('Why the message was not delivered, in the provider’s own words.'),
  details: z
    .record(z.string(), z.unknown())
    .optional()
    .describe(
      'What else the report said: the channel, the operator, the sender’s own ID; as `datedAt`, a time that lies after the arrival and counts as the arrival.',
    ),
})

export const messageDetailsSchema = messageSchema.extend({
  reports: z.array(reportSchema).describe('Every report about the message, in the order of arrival.'),
})

export const messagePageSchema = z.object({
  messages: z.array(messageSchema).describe('The messages, the latest sent first.'),
  nextCursor: z.string().nullable().describe('The `cursor` of the next page; `null` on the last one.'),
})

export const changeSchema = z.object({
  account: z.string().describe('The account the message was sent with.'),
  messageId: z.string().describe('The message ID.'),
  recipient: z.string().nullable().describe('The phone number, where it is known.'),
  status: statusSchema,
  previousStatus: statusSchema.nullable().describe('The status before; `null` if this is the first one.'),
  final: z.boolean().describe('Whether `status` is final.'),
  source: sourceSchema.describe('Who found the status.'),
  occurredAt: timeSchema.describe('When the status happened at the provider.'),
  changedAt: timeSchema.describe('When the change was stored.'),
  metadata: z
    .record(z.string(), z.json())
    .nullable()
    .describe('What your app attached to the message when tracking it.'),
})

export const changePageSchema = z.object({
  changes: z.array(changeSchema).describe('The changes in the order of their commits, oldest first.'),
  next: z.string().describe('Pass it as `after` to go on from here. It is told even when there are no changes.'),
})

const failedCallbackSchema = z.object({
  change: z.int().describe('The change it tells of; name it to try again.'),
  account: z.string().describe('The name of the account.'),
  receiver: z.string().describe('Whom it is for: the origin of the URL.'),
  attempts: countSchema.describe('How often it was tried.'),
  firstDueAt: timeSchema.describe('When it was due first.'),
  lastError: z.string().nullable().describe('Why the last attempt failed.'),
})

export const failedCallbacksSchema = z.object({
  callbacks: z.array(failedCallbackSchema).describe('The latest change first.'),
  nextCursor: z.string().nullable().describe('For the next page; `null` on the last.'),
})

export const replayedSchema = z.object({ replayed: countSchema.describe('How many are due again.') })

const agesSchema = z.array(z.number())
const scheduleFields = {
  policy: z.enum(['learned', 'exponential']).describe('How it is decided when to ask.'),
  price: z.number().nullable().describe('The seconds of waiting that a request must be worth; `null` by backoff.'),
  webhookLoss: z
    .number()
    .describe('The share of final statuses whose receipt never comes; 1 as long as none has come.'),
  finalsSeen: countSchema.describe('How many final statuses this was learned from.'),
}

export const accountSchema = z.object({
  account: z.string().describe('The name of the account.'),
  provider: z.string().describe('The provider, like `seven` or `cm`.'),
  query: z.string().describe('How it is configured to ask; `off` means never.'),
  lookup: z.string().nullable().describe('The look-up in use; `null` when nothing is asked.'),
  status: z
    .enum(['ok', 'refused', 'unreachable', 'failing'])
    .describe(
      '`refused`: the provider refuses the credentials; `unreachable`: no connection; `failing`: no good answer.',
    ),
  trouble: z.string().nullable().describe('Why, as the last answer has it.'),
  troubleSince: timeSchema.nullable().describe('Since when.'),
  pausedUntil: timeSchema.nullable().describe('Until when nothing is asked; a poll by hand ends it.'),
  lastGoodAnswer: timeSchema.nullable().describe('When the provider last answered as it should, to the second or so.'),
  noGoodAnswerSince: timeSchema.nullable().describe('When the first answer after that came which was not good.'),
  lastError: z.string().nullable().describe('Why the latest of these was not.'),
  webhookRoute: z
    .object({
      state: z
        .enum(['ok', 'silent', 'unproved'])
        .describe('`silent`: receipts that should come stay away; `unproved`: none has come yet.'),
      since: timeSchema.describe('Since when; `silent` since the last receipt.'),
      lost: countSchema.describe(
        'How many final statuses were found by polling since then whose receipts did not come.',
      ),
      lagP95: z.number().nullable().describe('The seconds that 95 % of the receipts that come do not exceed.'),
    })
    .describe('The way its receipts take.'),
  schedule: z.object(scheduleFields).describe('When its messages are asked about, in short.'),
})

export const scheduleSchema = z.object({
  account: z.string().describe('The name of the account.'),
  ...scheduleFields,
  webhookLagP95: z.number().describe('The seconds that 95 % of the receipts that come do not exceed, or are taken to.'),
  alone: agesSchema.describe(
    'The ages in seconds at which a message without a receipt is asked about where it is alone.',
  ),
  shared: agesSchema.describe('The same where requests are full.'),
  curve: z
    .array(z.array(z.number()).length(2))
    .describe('Ages in seconds, each with the share of messages that are final by then.'),
})

export const accountListSchema = z.object({
  worker: z.string().optional().describe('While no worker runs: since when.'),
  accounts: z.array(accountSchema).describe('Every configured account.'),
})

export const webhookAnswerSchema = z.object({
  reports: countSchema.describe('How many reports were stored.'),
  ignored: z.string().optional().describe('Why a request without reports was accepted all the same.'),
})

export const livenessSchema = z.object({ status: z.literal('ok').describe('The process answers.') })

const checkSchema = z.string().describe('`ok`, or what is wrong.')
export const readinessSchema = z.object({
  status: z
    .enum(['ok', 'degraded', 'unavailable'])
    .describe('`degraded`: receipts and tracking go on, and nothing else; `unavailable`: nothing does.'),
  database: checkSchema,
  migrations: checkSchema,
  queue: checkSchema,
  worker: z.string().describe('`ok` while a worker runs, or since when none has.'),
  detail: z.string().optional().describe('With `degraded`: what goes on, and what does not.'),
})

export const problemSchema = z.object({
  type: z.string().describe('Always `about:blank`: `code` tells the problems apart.'),
  title: z.string().describe('The kind of problem, in words.'),
  status: z.int().min(400).max(599).describe('The HTTP status.'),
  detail: z.string().describe('What was expected, what was found, and what to do.'),
  code: z.enum(CODES).describe('The kind of problem, for programs.'),
  errors: z
    .array(
      z.object({
        path: z.string().describe('Where, as in `messages[2].sentAt`.'),
        message: z.string().describe('What was expected there.'),
      }),
    )
    .optional()
    .describe('Each wrong place of an input; the first 20.'),
  recipients: z
    .array(z.string().nullable())
    .optional()
    .describe('With `AMBIGUOUS`: the recipients that the message ID covers.'),
})

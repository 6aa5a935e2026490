/**
 * The answers of the routes, as schemas with examples: they only describe, and a test holds them against real answers.
 * Times are those of the JSON, not `Date`s. A named one has that name in the OpenAPI document.
 */
import { z } from 'zod'
import { ASKING_STATES, BLOCK_CAUSES } from '../../core/blocks.ts'
import type { Outcome } from '../../core/settle.ts'
import { SOURCES, STATUSES } from '../../core/status.ts'
import { CALLBACK_STATES } from '../../db/callbacks.ts'
import { named } from '../../schema-names.ts'

const OUTCOMES = ['applied', 'stale', 'duplicate', 'contradicting'] as const satisfies readonly Outcome[]

/** A part of an answer, with an example and its meaning. */
export function field<S extends z.ZodType>(schema: S, example: unknown, description: string): S {
  return schema.meta({ examples: [example], description })
}

export function namedObject<S extends z.ZodRawShape>(name: string, shape: S): z.ZodObject<S> {
  return named(name, z.object(shape))
}

export const textSchema = z.string()
export const accountSchema = field(textSchema, 'seven', 'The account the message was sent with.')
export const messageIdSchema = field(
  textSchema,
  '77232007287',
  'The provider’s ID of the message in its normal form; at CM.com, your `reference`.',
)
const recipientSchema = textSchema.nullable().meta({ examples: ['+491700000000'] })
export const AT = '2026-01-31T10:00:05.000Z'
export const timeSchema = z.iso.datetime().meta({ examples: [AT] })
export const noTimeSchema = timeSchema.nullable().meta({ examples: [null] })
export const noTextSchema = textSchema.nullable().meta({ examples: [null] })
export const countSchema = z
  .int()
  .nonnegative()
  .meta({ examples: [1] })
const metadataSchema = field(
  z.record(z.string(), z.unknown()).nullable(),
  { order: 4711 },
  'What your app attached to the message when tracking it.',
)

export const statusSchema = named(
  'Status',
  z.enum(STATUSES).meta({
    examples: ['transmitted'],
    description:
      '`accepted`, `transmitted` and `buffered` are intermediate: more may come. All others are final. `unknown` is Lastword’s own word for a look-up window that closed without an answer.',
  }),
)
const sourceSchema = z.enum(SOURCES).meta({ examples: ['poll'] })

export const trackedSchema = namedObject('Tracked', {
  tracked: field(countSchema, 2, 'How many messages are tracked from now on.'),
  alreadyTracked: field(countSchema, 0, 'How many were tracked before, or stand in the order twice.'),
  refused: z
    .array(
      z.object({
        index: countSchema.describe('The place of the message in the order.'),
        messageId: textSchema.nullable(),
        reason: textSchema.describe('Where it is wrong, and what was expected.'),
      }),
    )
    .optional()
    .describe('With `partial`: the messages that were not tracked.'),
})

const messageSchema = namedObject('Message', {
  account: accountSchema,
  messageId: messageIdSchema,
  recipient: recipientSchema.describe('The phone number as your app gave it, else as the provider named it.'),
  status: field(statusSchema.nullable(), 'transmitted', 'The status that stands; `null` before the first report.'),
  final: field(z.boolean(), false, 'Whether `status` is final: nothing is asked any more.'),
  statusAt: field(timeSchema.nullable(), AT, 'When the status happened at the provider.'),
  settledBy: field(
    sourceSchema.nullable(),
    null,
    'Who brought the final status: a webhook, a poll, or the closing look-up window.',
  ),
  sentAt: timeSchema.describe('When the message was sent, as your app said, else when it was tracked.'),
  polls: countSchema.describe('How many times the provider was asked about the message.'),
  nextPollAt: field(
    timeSchema.nullable(),
    '2026-01-31T10:01:30.000Z',
    'When it is next due; `null` when nothing is to be asked any more. A time that has passed means now.',
  ),
  windowEndsAt: field(timeSchema, '2026-03-02T10:00:00.000Z', 'When the provider’s look-up window closes.'),
  metadata: metadataSchema,
  queryError: textSchema
    .optional()
    .describe('Why the provider refused to answer about this message. It is then asked about alone, once a day.'),
})

const blockedBySchema = z.array(
  namedObject('Block', {
    cause: z.enum(BLOCK_CAUSES).meta({ examples: ['queue-paused'], description: 'The kind of cause.' }),
    account: noTextSchema.describe('The account that is kept back; `null` where nobody is asked.'),
    since: noTimeSchema.describe('Since when, where that is known.'),
    until: noTimeSchema.describe('Until when, where it ends by itself.'),
    message: field(textSchema, 'queue "dispatch" is paused', 'For people, to follow a “but”.'),
  }),
)

const QUESTION_OUTCOMES = ['answered', 'noStatusYet', 'missing', 'failed'] as const

const askingShape = {
  asking: field(
    z.enum(ASKING_STATES),
    'later',
    'Whether it is asked about at `nextPollAt`, is due now, is being asked about, or never is again. One that is due waits only for causes in `blockedBy`.',
  ),
  failedPolls: field(countSchema, 0, 'How many requests about it brought no good answer within the last seven days.'),
  lastAttempt: field(
    z
      .object({
        at: timeSchema.describe('When it ended.'),
        outcome: z.enum(QUESTION_OUTCOMES).describe('As in `queries`.'),
        error: noTextSchema.describe('Why it failed.'),
      })
      .nullable(),
    null,
    'The last request about it; `null` before the first.',
  ),
}

export const polledMessageSchema = namedObject('PolledMessage', {
  ...messageSchema.shape,
  ...askingShape,
  paused: z
    .object({
      since: noTimeSchema.describe('Since when the account has got no good answer.'),
      until: noTimeSchema.describe('Until when nobody would have asked; `null` when a probe was due.'),
      trouble: noTextSchema.describe('Why, as the last answer has it.'),
    })
    .optional()
    .describe('Only where the account was paused: this request has ended that, and the message is asked about first.'),
  blockedBy: blockedBySchema.describe('What keeps the provider from being asked now; empty when it is.'),
})

export const erasedSchema = z.object({ erased: countSchema.describe('How many messages that were.') })

export const messageCountSchema = z.object({
  messages: countSchema.describe('How many match, as far as they were counted.'),
  isWhole: field(z.boolean(), true, '`false` where there may be more: 10,000 were counted, or two seconds were over.'),
})

export const polledSchema = z.object({
  polled: countSchema.describe('How many messages are due now, or are being asked about already.'),
  nextCursor: noTextSchema.describe('The `cursor` of the request that goes on; `null` when all that match are due.'),
  blockedBy: blockedBySchema.describe('What keeps their providers from being asked now.'),
})

const reportSchema = namedObject('MessageReport', {
  status: statusSchema,
  rawStatus: field(textSchema, 'TRANSMITTED', 'The provider’s own code or word, as it came.'),
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
  error: field(
    z
      .object({
        code: textSchema.optional().describe('The provider’s code of the error.'),
        description: textSchema.optional().describe('The provider’s words for it.'),
      })
      .nullable(),
    null,
    'Why the message was not delivered, in the provider’s own words.',
  ),
  details: z
    .record(z.string(), z.unknown())
    .optional()
    .describe(
      'What else the report said: the channel, the operator, the sender’s own ID; as `datedAt`, a time that lies after the arrival and counts as the arrival.',
    ),
})

export const attemptsSchema = z
  .array(
    namedObject('CallbackAttempt', {
      at: timeSchema.describe('When it began.'),
      seconds: field(z.number().nonnegative(), 0.042, 'How long it took.'),
      httpStatus: field(z.int().nullable(), 500, 'The status of the answer; `null` where none came.'),
      error: field(textSchema.nullable(), 'the receiver answered HTTP 500', '`null` where it was taken, else why not.'),
      answer: field(
        textSchema.nullable(),
        'no such order',
        'How the answer began; phone numbers, and whatever may be one, are cut to their last two digits.',
      ),
    }),
  )
  .describe('The latest attempts of the last seven days, the earliest first.')

const messageCallbackSchema = namedObject('MessageCallback', {
  change: field(z.int(), 4711, 'The change it tells of.'),
  status: field(statusSchema.nullable(), 'delivered', 'The status it tells.'),
  receiver: field(textSchema, 'https://example.com', 'Whom it is for: the origin of the URL.'),
  state: z.enum([...CALLBACK_STATES, 'taken']).describe('Waits, is called, has failed for good, or was taken.'),
  nextAttemptAt: noTimeSchema.describe('When it is tried again, while it waits for that.'),
  lastAttempts: attemptsSchema,
})

const questionSchema = namedObject('MessageQuery', {
  at: timeSchema.describe('When the answer was there.'),
  lookup: field(textSchema, 'status', 'The look-up that was asked.'),
  outcome: z
    .enum(QUESTION_OUTCOMES)
    .describe(
      '`answered` with a status; `noStatusYet`: the provider knows the message and has none; `missing`: the answer does not mention it; `failed`: there was no good answer.',
    ),
  rawStatus: field(textSchema.nullable(), 'TRANSMITTED', 'The provider’s own code or word; `null` where it had none.'),
  error: noTextSchema.describe('Why it failed.'),
  ids: field(countSchema.nullable(), 100, 'How many messages the request asked about; `null` at the end of a sweep.'),
  batch: field(textSchema, '0192a6c2-7f5e-4c1d-9d53-3f8a1c5b7e10', 'The batch that was asked about.'),
  job: field(textSchema.nullable(), '4711', 'The job in Bull Board, as long as it is kept.'),
})

export const messageDetailsSchema = namedObject('MessageWithReports', {
  ...messageSchema.shape,
  trackedAt: timeSchema.describe('When it was tracked.'),
  ...askingShape,
  blockedBy: field(blockedBySchema, [], 'What keeps the provider from being asked now; empty for a final message.'),
  reports: z.array(reportSchema).describe('Every report about the message, in the order of arrival.'),
  queries: z
    .array(questionSchema)
    .describe('Each time the provider was asked about it within the last seven days, in order.'),
  callbacks: z
    .array(messageCallbackSchema)
    .describe('Its callbacks that were not taken yet, and those of the last seven days that were, in order.'),
})

export const messagePageSchema = namedObject('MessagePage', {
  messages: z.array(messageSchema).describe('The messages, the latest sent first.'),
  nextCursor: noTextSchema.describe('The `cursor` of the next page; `null` on the last one.'),
})

export const changeSchema = namedObject('Change', {
  account: accountSchema,
  messageId: messageIdSchema,
  recipient: recipientSchema.describe('The phone number, where it is known.'),
  status: field(statusSchema, 'delivered', 'The status now.'),
  previousStatus: field(statusSchema.nullable(), 'transmitted', 'The status before; `null` if this is the first one.'),
  final: z.boolean().describe('Whether `status` is final.'),
  source: sourceSchema.describe('Who found the status.'),
  occurredAt: timeSchema.describe('When the status happened at the provider.'),
  changedAt: timeSchema.describe('When the change was stored.'),
  metadata: metadataSchema,
})

export const changePageSchema = namedObject('ChangePage', {
  changes: z.array(changeSchema).describe('The changes in the order of their commits, oldest first.'),
  next: field(
    textSchema,
    'c1.mjd6yv4w',
    'Pass it as `after` to go on from here. It is told even when there are no changes.',
  ),
})

export const webhookAnswerSchema = namedObject('WebhookAnswer', {
  reports: countSchema.describe('How many reports were stored.'),
  ignored: textSchema.optional().describe('Why a request without reports was accepted all the same.'),
})

/** The messages: tracking, listing, and looking at one. */
import type { FastifyInstance } from 'fastify'
import { z } from 'zod'
import { LastwordError } from '../core/errors.ts'
import { outcomesOfLives } from '../core/lives.ts'
import { findAttempts } from '../db/callback-attempts.ts'
import { findCallbacks } from '../db/callbacks.ts'
import type { Db } from '../db/client.ts'
import { listMessages } from '../db/list.ts'
import { findMessages, findReports, type MessageRow, type ReportRow } from '../db/messages.ts'
import { findQuestions } from '../db/status-queries.ts'
import type { Learner } from '../learner.ts'
import type { Metrics } from '../metrics.ts'
import { parseInput } from '../parse-input.ts'
import { normalizePhoneNumber } from '../providers/phone-number.ts'
import { providerOf } from '../providers/registry.ts'
import type { Tracing } from '../tracing.ts'
import { type Accounts, track } from '../tracking.ts'
import { readOrder, trackingOrderSchema } from '../tracking-order.ts'
import { describeAsking, type FindBlocks, nextPollOf, toBlock } from './blocks.ts'
import { describeCallbacks } from './callbacks.ts'
import { listQuerySchema, readListQuery, textSchema } from './list-query.ts'
import { messageDetailsSchema, messagePageSchema, trackedSchema } from './openapi/answers.ts'
import type { RouteDoc } from './openapi/openapi.ts'

export interface MessageRoutesOptions {
  db: Db
  accounts: Accounts
  learner: Learner
  metrics: Metrics
  tracing: Tracing
  findBlocks: FindBlocks
}

/** 10,000 messages with some metadata each. */
const TRACKING_BODY_BYTES = 16 * 1024 * 1024

export const messagePathSchema = z.object({
  account: textSchema.describe('The name of the account.'),
  messageId: textSchema.describe('The message ID, in any form the provider knows. No NUL characters.'),
})
export const recipientQuerySchema = z.object({
  recipient: z
    .string()
    .optional()
    .describe(
      'One of the recipients, where one reference has several. In any form: `0031…`, `+31…` and `31…` are the same.',
    ),
})
const trackQuerySchema = z.strictObject({
  partial: z
    .enum(['true', 'false'])
    .optional()
    .describe('As in the body: tracks the messages that can be tracked, and answers with the others as `refused`.'),
})

const TRACK: RouteDoc = {
  operationId: 'trackMessages',
  tag: 'Messages',
  summary: 'Track messages',
  description:
    'Tracks 1 to 10,000 messages, all or none unless `partial`; 202 means that the database has them. Tracking a message twice is harmless, so after a time-out send the same body again. The body may have 16 MiB.',
  querystring: trackQuerySchema,
  body: trackingOrderSchema,
  response: { 202: trackedSchema.describe('All are tracked, or with `partial` all but those in `refused`.') },
  problems: ['invalidBody', 'unknownAccount', 'tooLarge', 'notJson'],
}

const LIST: RouteDoc = {
  operationId: 'listMessages',
  tag: 'Messages',
  summary: 'List messages',
  description:
    'Tracked messages, the latest sent first, without their reports. Filters may be combined. A page may hold fewer messages than `limit`, or none, where few match among many: go on while there is a `nextCursor`.',
  querystring: listQuerySchema.extend({
    'metadata.KEY': z
      .string()
      .optional()
      .describe(
        'Only messages whose metadata has this value under KEY, as in `metadata.order=4711`: a text, a number or a boolean. Up to five keys.',
      ),
  }),
  response: { 200: messagePageSchema.describe('A page of messages.') },
  problems: ['invalidQuery'],
}

const LOOK: RouteDoc = {
  operationId: 'getMessage',
  tag: 'Messages',
  summary: 'Look at one message',
  description:
    'One message with every report about it, what each of them did, each question to the provider, and what became of its callbacks; and what keeps the provider from being asked now.',
  params: messagePathSchema,
  querystring: recipientQuerySchema,
  response: { 200: messageDetailsSchema.describe('The message.') },
  problems: ['invalidQuery', 'unknownMessage', 'severalRecipients'],
}

export function registerMessageRoutes(
  server: FastifyInstance,
  { db, accounts, learner, metrics, tracing, findBlocks }: MessageRoutesOptions,
): void {
  server.post('/v1/messages', { bodyLimit: TRACKING_BODY_BYTES, config: { doc: TRACK } }, async (request, reply) => {
    const { partial } = parseInput(trackQuerySchema, request.query, 'query')
    if (request.body === undefined) {
      throw new LastwordError('INPUT_INVALID', 'Expected a JSON body, found an empty one.')
    }
    const order = readOrder(request.body, 'body', partial === 'true')
    const { account, messages } = order
    const caller = request.headers.traceparent
    const tracked = await tracing.track({ account, messages: messages.length, caller }, (traceparent) =>
      track(db, accounts, order, learner, traceparent),
    )
    metrics.messagesTracked.inc({ account: order.account }, tracked.tracked)
    return reply.code(202).send(tracked)
  })

  server.get('/v1/messages', { config: { doc: LIST } }, async (request) => {
    const { filter, limit, after, cursorOf } = readListQuery(accounts, request.query)
    const { messages, next } = await listMessages(db, { ...filter, limit, after })
    return { messages: messages.map(toMessage), nextCursor: next ? cursorOf(next) : null }
  })

  server.get('/v1/messages/:account/:messageId', { config: { doc: LOOK } }, async (request) => {
    const row = await findOne(db, accounts, request)
    const reports = toReports(await findReports(db, row.id), row.lifeSince)
    const callbacks = describeCallbacks(await findCallbacks(db, row.id), await findAttempts(db, [row.id]))
    const queries = await findQuestions(db, row)
    const asking = await describeAsking(db, row, queries)
    const blockedBy = row.final ? [] : (await findBlocks(row.account)).map(toBlock)
    return { ...toMessage(row), trackedAt: row.trackedAt, ...asking, blockedBy, reports, queries, callbacks }
  })
}

/** The message that a request names. Throws NOT_FOUND, or AMBIGUOUS where it must name the recipient too. */
export async function findOne(
  db: Db,
  accounts: Accounts,
  { params, query }: { params: unknown; query: unknown },
): Promise<MessageRow> {
  const { account, messageId } = parseInput(messagePathSchema, params, 'path')
  const { recipient } = parseInput(recipientQuerySchema, query, 'query')
  const configured = accounts.get(account)
  const provider = configured && providerOf(configured)
  const id = provider?.normalizeMessageId(messageId) ?? messageId
  const key =
    recipient === undefined || !provider?.keyedByRecipient
      ? undefined
      : provider.normalizeRecipient(recipient, configured?.defaultCountry)
  const found = await findMessages(db, account, id, key)
  // Of an account that is configured no more it is not known whether recipients tell its messages apart.
  const isOne = ({ recipientKey }: MessageRow) => recipientKey === normalizePhoneNumber(recipient ?? '')
  const asksForOne = !provider && recipient !== undefined && found.length > 1
  const [row, ...others] = asksForOne ? found.filter(isOne) : found
  if (!row) throw new LastwordError('NOT_FOUND', 'No such message is tracked; check the account and the message ID.')
  if (others.length === 0) return row
  const recipients = [row, ...others].map(recipientOf)
  const remedy = 'add ?recipient= with one of them'
  throw new LastwordError('AMBIGUOUS', `The message ID covers ${recipients.length} recipients; ${remedy}.`, {
    extra: { recipients },
  })
}

/** As the app gave it, else as the provider named it. */
function recipientOf({ recipient, recipientKey }: MessageRow): string | null {
  return recipient ?? (recipientKey || null)
}

export function toMessage(row: MessageRow) {
  return {
    account: row.account,
    messageId: row.messageId,
    recipient: recipientOf(row),
    status: row.status,
    final: row.final,
    statusAt: row.statusAt,
    settledBy: row.final ? row.settledBy : null,
    sentAt: row.sentAt,
    polls: row.polls,
    nextPollAt: nextPollOf(row),
    windowEndsAt: row.windowEndsAt,
    metadata: row.metadata ?? null,
    ...(row.queryError === null ? {} : { queryError: row.queryError }),
  }
}

function toReports(rows: readonly ReportRow[], lifeSince: Date | null) {
  const outcomes = outcomesOfLives(rows, lifeSince)
  return rows.map((row, index) => ({
    status: row.status,
    rawStatus: row.rawStatus,
    source: row.source,
    occurredAt: row.occurredAt,
    receivedAt: row.receivedAt,
    outcome: outcomes[index]?.outcome,
    ...(outcomes[index]?.isEarlier ? { earlierLife: true } : {}),
    error: row.error,
    ...(row.details ? { details: row.details } : {}),
  }))
}

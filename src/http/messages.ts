/** The messages: tracking, looking at one, listing, and asking now. */
import type { FastifyInstance } from 'fastify'
import { z } from 'zod'
import { endPause } from '../core/account-health.ts'
import { LastwordError } from '../core/errors.ts'
import { outcomesOfLives } from '../core/lives.ts'
import { STATUSES } from '../core/status.ts'
import { findHealth, moveHealth } from '../db/accounts.ts'
import type { Db } from '../db/client.ts'
import { findMessages, findReports, listMessages, type MessageRow, type ReportRow } from '../db/messages.ts'
import { pollNow } from '../db/schedule.ts'
import type { Queues } from '../jobs/queues.ts'
import type { Metrics } from '../metrics.ts'
import { parseInput } from '../parse-input.ts'
import { providerOf } from '../providers/registry.ts'
import { type Accounts, track } from '../tracking.ts'
import { readOrder } from '../tracking-order.ts'
import { describePause } from './accounts.ts'

export interface MessageRoutesOptions {
  db: Db
  accounts: Accounts
  queues: Queues
  metrics: Metrics
}

/** 10,000 messages with some metadata each. */
const TRACKING_BODY_BYTES = 16 * 1024 * 1024

/** Postgres cannot even compare a text with NUL in it. */
const textSchema = z.string().refine((text) => !text.includes('\0'), 'expected no NUL characters')
export const messagePathSchema = z.object({ account: textSchema, messageId: textSchema })
export const trackQuerySchema = z.strictObject({ partial: z.enum(['true', 'false']).optional() })
export const recipientQuerySchema = z.object({ recipient: z.string().optional() })
export const listQuerySchema = z.strictObject({
  account: textSchema.optional(),
  status: z.enum(STATUSES).optional(),
  outstanding: z.enum(['true', 'false']).optional(),
  limit: z.coerce.number().int().min(1).max(1000).default(100),
  cursor: z
    .string()
    .regex(/^m[0-9]{1,15}$/, 'expected the nextCursor of an earlier answer')
    .optional(),
})

export function registerMessageRoutes(
  server: FastifyInstance,
  { db, accounts, queues, metrics }: MessageRoutesOptions,
): void {
  server.post('/v1/messages', { bodyLimit: TRACKING_BODY_BYTES }, async (request, reply) => {
    const { partial } = parseInput(trackQuerySchema, request.query, 'query')
    const order = readOrder(request.body, 'body', partial === 'true')
    const tracked = await track(db, accounts, order)
    metrics.messagesTracked.inc({ account: order.account }, tracked.tracked)
    return reply.code(202).send(tracked)
  })

  server.get('/v1/messages', async (request) => {
    const { cursor, outstanding, limit, ...filter } = parseInput(listQuerySchema, request.query, 'query')
    const rows = await listMessages(db, {
      ...filter,
      outstanding: outstanding === undefined ? undefined : outstanding === 'true',
      before: cursor === undefined ? undefined : Number(cursor.slice(1)),
      limit: limit + 1,
    })
    const page = rows.slice(0, limit)
    return { messages: page.map(toMessage), nextCursor: rows.length > limit ? `m${page.at(-1)?.id}` : null }
  })

  server.get('/v1/messages/:account/:messageId', async (request) => {
    const row = await findOne(request)
    return { ...toMessage(row), reports: toReports(await findReports(db, row.id), row.lifeSince) }
  })

  server.post('/v1/messages/:account/:messageId/poll', async (request, reply) => {
    const row = await findOne(request)
    if (!row.final) requirePolling(accounts, row.account)
    const paused = await pauseOf(row.account)
    if (!(await pollNow(db, row.id, { isFirst: paused !== undefined }))) {
      if (row.sentAt > new Date()) {
        throw new LastwordError(
          'CONFLICT',
          `The message is not asked about yet: it is sent at ${row.sentAt.toISOString()}.`,
        )
      }
      const why = row.final ? `it is ${row.status}` : 'its look-up window has closed'
      throw new LastwordError('CONFLICT', `The message is not asked about any more: ${why}.`)
    }
    // Whatever the account waits for, a person who asks ends it: the message is the first to be asked about.
    if (paused) await moveHealth(db, row.account, (health) => ({ health: endPause(health), events: [] }))
    await queues.dispatch
      .add('poll now', {}, { removeOnComplete: true, removeOnFail: true })
      .catch((error: unknown) => {
        // The message is due in the database, so the next tick finds it without this job.
        request.log.warn({ err: error }, 'the dispatcher could not be woken')
      })
    return reply.code(202).send({ ...toMessage(await findOne(request)), ...(paused ? { paused } : {}) })
  })

  async function pauseOf(account: string) {
    const { health, now } = await findHealth(db, account)
    return describePause(health, now)
  }

  async function findOne({ params, query }: { params: unknown; query: unknown }): Promise<MessageRow> {
    const { account, messageId } = parseInput(messagePathSchema, params, 'path')
    const { recipient } = parseInput(recipientQuerySchema, query, 'query')
    const configured = accounts.get(account)
    const provider = configured && providerOf(configured)
    const id = provider?.normalizeMessageId(messageId) ?? messageId
    const key =
      recipient === undefined || !provider?.keyedByRecipient
        ? undefined
        : provider.normalizeRecipient(recipient, configured?.defaultCountry)
    const [row, ...others] = await findMessages(db, account, id, key)
    if (!row) throw new LastwordError('NOT_FOUND', 'No such message is tracked; check the account and the message ID.')
    if (others.length === 0) return row
    const recipients = [row, ...others].map(recipientOf)
    const remedy = 'add ?recipient= with one of them'
    throw new LastwordError('AMBIGUOUS', `The message ID covers ${recipients.length} recipients; ${remedy}.`, {
      extra: { recipients },
    })
  }
}

function requirePolling(accounts: Accounts, name: string): void {
  const account = accounts.get(name)
  if (account && providerOf(account).lookups(account).length > 0) return
  const why = account ? 'is set to query "off"' : 'is not configured any more'
  throw new LastwordError('CONFLICT', `The message cannot be asked about: its account "${name}" ${why}.`)
}

/** As the app gave it, else as the provider named it. */
function recipientOf({ recipient, recipientKey }: MessageRow): string | null {
  return recipient ?? (recipientKey || null)
}

function toMessage(row: MessageRow) {
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
    nextPollAt: row.dueAt,
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

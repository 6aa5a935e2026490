/** The messages: tracking, looking at one, listing, and asking now. */
import type { FastifyBaseLogger, FastifyInstance } from 'fastify'
import { z } from 'zod'
import { endPause } from '../core/account-health.ts'
import { LastwordError } from '../core/errors.ts'
import { outcomesOfLives } from '../core/lives.ts'
import { findHealth, moveHealth } from '../db/accounts.ts'
import type { Db } from '../db/client.ts'
import { eraseMessages, findByNumber } from '../db/erasure.ts'
import { listMessages } from '../db/list.ts'
import { findMessages, findReports, type MessageRow, type ReportRow } from '../db/messages.ts'
import { pollNow } from '../db/moves.ts'
import type { Queues } from '../jobs/queues.ts'
import type { Learner } from '../learner.ts'
import type { Metrics } from '../metrics.ts'
import { parseInput } from '../parse-input.ts'
import { providerOf } from '../providers/registry.ts'
import { type Accounts, track } from '../tracking.ts'
import { readOrder } from '../tracking-order.ts'
import { describePause } from './accounts.ts'
import { numbersOf, readFilter, readListQuery, recipientSchema, textSchema } from './list-query.ts'

export interface MessageRoutesOptions {
  db: Db
  accounts: Accounts
  learner: Learner
  queues: Queues
  metrics: Metrics
}

/** 10,000 messages with some metadata each. */
const TRACKING_BODY_BYTES = 16 * 1024 * 1024

/** One request makes about so many messages due; the next goes on where it ended. */
const MOST_POLLED = 100_000
const MESSAGES_A_STEP = 1_000

export const messagePathSchema = z.object({ account: textSchema, messageId: textSchema })
export const numberPathSchema = z.object({ number: recipientSchema })
export const trackQuerySchema = z.strictObject({ partial: z.enum(['true', 'false']).optional() })
export const recipientQuerySchema = z.object({ recipient: z.string().optional() })
export function registerMessageRoutes(
  server: FastifyInstance,
  { db, accounts, learner, queues, metrics }: MessageRoutesOptions,
): void {
  server.post('/v1/messages', { bodyLimit: TRACKING_BODY_BYTES }, async (request, reply) => {
    const { partial } = parseInput(trackQuerySchema, request.query, 'query')
    const order = readOrder(request.body, 'body', partial === 'true')
    const tracked = await track(db, accounts, order, learner)
    metrics.messagesTracked.inc({ account: order.account }, tracked.tracked)
    return reply.code(202).send(tracked)
  })

  server.get('/v1/messages', async (request) => {
    const { filter, limit, after, cursorOf } = readListQuery(accounts, request.query)
    const { messages, next } = await listMessages(db, { ...filter, limit, after })
    return { messages: messages.map(toMessage), nextCursor: next ? cursorOf(next) : null }
  })

  server.post('/v1/messages/poll', async (request, reply) => {
    const { filter, after: begin, cursorOf } = readFilter(accounts, request.body)
    const asked = new Set<string>()
    let polled = 0
    let after = begin
    do {
      const page = await listMessages(db, { ...filter, outstanding: true, limit: MESSAGES_A_STEP, after })
      const askable = page.messages.filter(({ account }) => whyNotPolled(accounts, account) === undefined)
      for (const { account } of askable) asked.add(account)
      polled += await pollNow(
        db,
        askable.map(({ id }) => id),
      )
      after = page.next
    } while (after && polled < MOST_POLLED)
    for (const account of asked) await endPauseOf(account)
    if (polled > 0) await wakeDispatcher(request.log)
    return reply.code(202).send({ polled, nextCursor: after ? cursorOf(after) : null })
  })

  server.get('/v1/messages/:account/:messageId', async (request) => {
    const row = await findOne(request)
    return { ...toMessage(row), reports: toReports(await findReports(db, row.id), row.lifeSince) }
  })

  server.delete('/v1/messages/:account/:messageId', async (request, reply) => {
    const row = await findOne(request)
    await erase([row.id])
    return reply.code(204).send()
  })

  server.delete('/v1/recipients/:number', async (request) => {
    const { number } = parseInput(numberPathSchema, request.params, 'path')
    const numbers = numbersOf(accounts, number)
    let erased = 0
    for (let last = MESSAGES_A_STEP; last === MESSAGES_A_STEP; erased += last) {
      last = await erase(await findByNumber(db, numbers, MESSAGES_A_STEP), numbers)
    }
    if (erased > 0) return { erased }
    throw new LastwordError('NOT_FOUND', 'No message to this number is known; check that it has its country code.')
  })

  async function erase(ids: readonly number[], numbers: readonly string[] = []): Promise<number> {
    if (ids.length === 0) return 0
    const messages = await eraseMessages(db, ids)
    const isErasedNumber = (recipient: string) => numbersOf(accounts, recipient).some((form) => numbers.includes(form))
    await queues.forget({ messages, isErasedNumber: numbers.length > 0 ? isErasedNumber : () => false })
    return messages.length
  }

  server.post('/v1/messages/:account/:messageId/poll', async (request, reply) => {
    const row = await findOne(request)
    const whyNot = row.final ? undefined : whyNotPolled(accounts, row.account)
    if (whyNot) throw new LastwordError('CONFLICT', `The message cannot be asked about: its account ${whyNot}.`)
    const paused = await pauseOf(row.account)
    if ((await pollNow(db, [row.id], { isFirst: paused !== undefined })) === 0) {
      if (row.sentAt.getTime() > learner.now()) {
        throw new LastwordError(
          'CONFLICT',
          `The message is not asked about yet: it is sent at ${row.sentAt.toISOString()}.`,
        )
      }
      const why = row.final ? `it is ${row.status}` : 'its look-up window has closed'
      throw new LastwordError('CONFLICT', `The message is not asked about any more: ${why}.`)
    }
    if (paused) await endPauseOf(row.account)
    await wakeDispatcher(request.log)
    return reply.code(202).send({ ...toMessage(await findOne(request)), ...(paused ? { paused } : {}) })
  })

  /** Whatever an account waits for, a person who asks ends it. */
  async function endPauseOf(account: string): Promise<void> {
    await moveHealth(db, account, (health) => ({ health: endPause(health), events: [] }))
  }

  async function wakeDispatcher(log: FastifyBaseLogger): Promise<void> {
    await queues.dispatch
      .add('poll now', {}, { removeOnComplete: true, removeOnFail: true })
      .catch((error: unknown) => {
        // What is due stands in the database, so the next tick finds it without this job.
        log.warn({ err: error }, 'the dispatcher could not be woken')
      })
  }

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

/** Why nobody asks about an account's messages; undefined where somebody does. */
function whyNotPolled(accounts: Accounts, name: string): string | undefined {
  const account = accounts.get(name)
  if (account && providerOf(account).lookups(account).length > 0) return undefined
  return account ? `"${name}" is set to query "off"` : `"${name}" is not configured any more`
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

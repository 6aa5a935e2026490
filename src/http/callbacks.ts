/** The callbacks that were not taken, and trying them now. */
import type { FastifyInstance } from 'fastify'
import { z } from 'zod'
import type { Status } from '../core/status.ts'
import { type CallbackAttemptRow, findAttempts } from '../db/callback-attempts.ts'
import {
  type CallbackFilter,
  type CallbackRow,
  countReplayed,
  groupUntaken,
  listUntaken,
  replayCallbacks,
  stateOf,
} from '../db/callbacks.ts'
import type { describeChange } from '../db/changes.ts'
import type { Db } from '../db/client.ts'
import { parseInput } from '../parse-input.ts'
import { record } from './acts.ts'
import { rowCursorSchema, textSchema, timeSchema } from './list-query.ts'
import {
  callbackCountSchema,
  callbackSummarySchema,
  replayedSchema,
  untakenCallbacksSchema,
} from './openapi/callback-answers.ts'
import type { RouteDoc } from './openapi/openapi.ts'

const wordSchema = textSchema.min(1).max(1_000)

const criteria = {
  account: wordSchema.optional().describe('Only those of this account.'),
  receiver: wordSchema
    .optional()
    .describe('Only those for this receiver: the origin of its URLs, or a URL of it, or its host.'),
  error: wordSchema.optional().describe('Only those whose `lastError` has this in it.'),
  dueAfter: timeSchema.optional().describe('Only those that were due first at this time or later.'),
  dueBefore: timeSchema.optional().describe('Only those that were due first before this time.'),
}
const countQuerySchema = z.strictObject(criteria)
const listQuerySchema = z.strictObject({
  ...criteria,
  limit: z.coerce.number().int().min(1).max(1000).default(100).describe('The most callbacks of an answer.'),
  cursor: rowCursorSchema,
})

const replaySchema = z
  .strictObject({
    changes: z
      .array(z.int().positive())
      .min(1)
      .max(10_000)
      .optional()
      .describe('Which ones, by their `change`; all that were not taken when left out.'),
    ...criteria,
  })
  .meta({
    description: 'Which ones: those that meet all of it, and without any all that were not taken.',
    examples: [{ receiver: 'https://example.com', dueAfter: '2026-01-31T10:00:00Z' }],
  })

const LIST: RouteDoc = {
  operationId: 'listFailedCallbacks',
  tag: 'Changes',
  summary: 'Callbacks that were not taken',
  description:
    'A callback that is not taken with a 2xx is tried again with growing pauses for three days, unless the receiver says that it is gone (410), and has then failed for good. Those that wait for another attempt and those that have failed for good are listed here.',
  querystring: listQuerySchema,
  response: { 200: untakenCallbacksSchema.describe('Those that were not taken.') },
  problems: ['invalidQuery'],
}

/** The most callbacks that a summary looks through, and the most rows that it has. */
const MOST_SUMMED = 10_000
const MOST_REASONS = 100

const SUMMARY: RouteDoc = {
  operationId: 'summarizeCallbacks',
  tag: 'Changes',
  summary: 'Who does not take callbacks, and why',
  description:
    'The receivers that have not taken callbacks, with the reasons of the last attempts and how many callbacks each has kept back; of the latest 10,000 callbacks that were not taken.',
  response: { 200: callbackSummarySchema.describe('Receivers and reasons.') },
}

const COUNT: RouteDoc = {
  operationId: 'countCallbacks',
  tag: 'Changes',
  summary: 'How many callbacks a replay would send',
  description: 'How many callbacks a replay with the same filters would make due just now.',
  querystring: countQuerySchema,
  response: { 200: callbackCountSchema.describe('The number.') },
  problems: ['invalidQuery'],
}

const REPLAY: RouteDoc = {
  operationId: 'replayCallbacks',
  tag: 'Changes',
  summary: 'Try callbacks again now',
  description:
    'Makes callbacks due now that failed for good or wait for another attempt, for another three days. URLs that were gone (410) and receivers that asked for a pause are called again.',
  body: replaySchema,
  response: { 202: replayedSchema.describe('They are due.') },
  problems: ['invalidBody', 'notJson'],
}

export function registerCallbackRoutes(server: FastifyInstance, { db }: { db: Db }): void {
  server.get('/v1/callbacks', { config: { doc: LIST } }, async (request) => {
    const { limit, cursor, ...given } = parseInput(listQuerySchema, request.query, 'query')
    const untaken = await listUntaken(db, { ...toFilter(given), limit, before: cursor })
    const last = untaken.length === limit ? untaken.at(-1) : undefined
    const attempts = attemptsByChange(
      await findAttempts(
        db,
        untaken.map(({ message }) => message),
      ),
    )
    const described = untaken.map((row) => ({ ...toUntaken(row), ...triedAs(attempts.get(row.change)) }))
    return { callbacks: described, nextCursor: last ? String(last.change) : null }
  })

  server.get('/v1/callbacks/summary', { config: { doc: SUMMARY } }, async () => {
    const groups = await groupUntaken(db, MOST_SUMMED)
    return { reasons: groups.slice(0, MOST_REASONS) }
  })

  server.get('/v1/callbacks/count', { config: { doc: COUNT } }, async (request) => ({
    callbacks: await countReplayed(db, toFilter(parseInput(countQuerySchema, request.query, 'query'))),
  }))

  server.post('/v1/callbacks/replay', { config: { doc: REPLAY, act: 'replay' } }, async (request, reply) => {
    const filter = toFilter(parseInput(replaySchema, request.body ?? {}, 'body'))
    const { account } = filter
    return reply.code(202).send({ replayed: await record(db, request, { account }, () => replayCallbacks(db, filter)) })
  })
}

function toFilter({ receiver, dueAfter, dueBefore, ...rest }: z.output<typeof replaySchema>): CallbackFilter {
  return {
    ...rest,
    receivers: receiver === undefined ? undefined : receiversOf(receiver.trim()),
    dueAfter: dueAfter === undefined ? undefined : new Date(dueAfter),
    dueBefore: dueBefore === undefined ? undefined : new Date(dueBefore),
  }
}

/** The receivers that a URL, its origin or a host may mean. */
function receiversOf(text: string): string[] {
  const [origin = text] = /^[^/]*\/\/[^/?#]*/.exec(text) ?? []
  return text.includes('//')
    ? [origin.toLowerCase()]
    : ['https', 'http'].map((scheme) => `${scheme}://${text.toLowerCase()}`)
}

function toUntaken(row: CallbackRow) {
  const { change, account, attempts, firstDueAt, lastError, body } = row
  const { messageId, status } = body.data as Pick<ReturnType<typeof describeChange>, 'messageId' | 'status'>
  return { change, account, messageId, status, attempts, firstDueAt, lastError, ...standingOf(row) }
}

function standingOf(row: CallbackRow) {
  const state = stateOf(row)
  // The path and query of a callback URL may hold the receiver's own secrets.
  return { receiver: row.receiver, state, nextAttemptAt: state === 'waiting' ? row.nextAttemptAt : null }
}

/** The callbacks of a message: those that wait or have failed, and those that were tried of late. */
export function describeCallbacks(untaken: readonly CallbackRow[], tried: readonly CallbackAttemptRow[]) {
  const attempts = attemptsByChange(tried)
  const rows = new Map(untaken.map((row) => [row.change, row]))
  const changes = [...new Set([...attempts.keys(), ...rows.keys()])].sort((a, b) => a - b)
  return changes.map((change) => {
    const row = rows.get(change)
    const made = attempts.get(change) ?? []
    const last = made.at(-1)
    const ended = {
      receiver: last?.receiver ?? '',
      state: last?.error === null ? 'taken' : 'failed',
      nextAttemptAt: null,
    }
    const status = row ? (row.body.data as { status: Status }).status : (last?.status ?? null)
    return { change, status, ...(row ? standingOf(row) : ended), ...triedAs(made) }
  })
}

function attemptsByChange(rows: readonly CallbackAttemptRow[]): Map<number, CallbackAttemptRow[]> {
  const changes = new Map<number, CallbackAttemptRow[]>()
  for (const row of rows) changes.set(row.change, [...(changes.get(row.change) ?? []), row])
  return changes
}

function triedAs(rows: readonly CallbackAttemptRow[] = []) {
  const lastAttempts = rows.map(({ at, tookMs, httpStatus, error, answer }) => ({
    at,
    seconds: tookMs / 1000,
    httpStatus,
    error,
    answer,
  }))
  return { lastAttempts }
}

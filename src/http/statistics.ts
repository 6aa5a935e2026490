/** The figures of each hour: how messages ended, who found it and how late, why they failed, and what asking cost. */
import type { FastifyInstance } from 'fastify'
import { z } from 'zod'
import { countByAge, type SentHour, statisticsOf } from '../core/statistics.ts'
import type { Db } from '../db/client.ts'
import { findHours, findOutstanding, findReasons, findTotals } from '../db/counts.ts'
import { findWaiting } from '../db/waiting.ts'
import { parseInput } from '../parse-input.ts'
import type { Accounts } from '../tracking.ts'
import { textSchema, timeSchema } from './list-query.ts'
import type { RouteDoc } from './openapi/openapi.ts'
import { statisticsSchema } from './openapi/statistics.ts'

const DAY_MS = 86_400_000
const LONGEST_DAYS = 31

const querySchema = z.strictObject({
  account: textSchema.optional().describe('Only this account.'),
  from: timeSchema.optional().describe('Hours that begin at this time or later; a day before `to` when left out.'),
  to: timeSchema.optional().describe('Hours that begin before this time; now when left out.'),
})

const statisticsQuerySchema = querySchema
  .transform(({ account, from, to }) => {
    const end = to === undefined ? new Date() : new Date(to)
    return { account, from: from === undefined ? new Date(end.getTime() - DAY_MS) : new Date(from), to: end }
  })
  .refine(({ from, to }) => from < to && to.getTime() - from.getTime() <= LONGEST_DAYS * DAY_MS, {
    error: `expected a time before "to", by ${LONGEST_DAYS} days at most`,
    path: ['from'],
  })

const STATISTICS: RouteDoc = {
  operationId: 'getStatistics',
  tag: 'Accounts',
  summary: 'What happened hour by hour',
  description:
    'How messages ended, by the hour and by account, why they failed, and how old the messages are that are outstanding now. An ended message counts in the hour in which the final status that stands was stored; a correction leaves the hour it was in. Hours in which nothing happened are left out. The counts are kept with every change, so this costs the same however many messages there are.',
  querystring: querySchema,
  response: { 200: statisticsSchema.describe('The hours, the earliest first.') },
  problems: ['invalidQuery'],
}

export interface StatisticsRoutesOptions {
  db: Db
  accounts: Accounts
  /** By the clock that all processes agree on, in milliseconds since 1970. */
  now(): number
}

export function registerStatisticsRoutes(server: FastifyInstance, options: StatisticsRoutesOptions): void {
  const { db } = options
  server.get('/v1/statistics', { config: { doc: STATISTICS } }, async (request) => {
    const range = parseInput(statisticsQuerySchema, request.query, 'query')
    const [hours, reasons, outstanding] = await Promise.all([
      findHours(db, range),
      findReasons(db, range),
      findOutstanding(db, range.account),
    ])
    return {
      hours: hours.map(({ hour, ...statistics }) => ({ hour: new Date(hour), ...statistics })),
      reasons,
      accounts: await describeAccounts(options, range, outstanding),
      outstanding: describeAges(options, outstanding),
    }
  })
}

/** The sums of the range by account, with what is open at present. */
async function describeAccounts(
  { db, accounts }: StatisticsRoutesOptions,
  range: { account?: string | undefined; from: Date; to: Date },
  outstanding: ReadonlyMap<string, readonly SentHour[]>,
) {
  const names = [...accounts.keys()].filter((name) => range.account === undefined || name === range.account)
  const [totals, waiting] = await Promise.all([findTotals(db, range), findWaiting(db, names)])
  return waiting.map(({ account, oldestDue }) => ({
    account,
    outstanding: sumOf(outstanding.get(account) ?? []),
    oldestDue: Math.round(oldestDue * 1000) / 1000,
    ...(totals.get(account) ?? statisticsOf([])),
  }))
}

const HOUR_MS = 3_600_000
const AGES = [HOUR_MS, 6 * HOUR_MS, DAY_MS, 3 * DAY_MS, 7 * DAY_MS]

function describeAges(
  { accounts, now }: StatisticsRoutesOptions,
  outstanding: ReadonlyMap<string, readonly SentHour[]>,
) {
  const hours = [...outstanding.values()].flat()
  const soon = [...outstanding].map(([name, sent]) => {
    const windowMs = accounts.get(name)?.polling.windowMs ?? Number.POSITIVE_INFINITY
    return countByAge(sent, now(), [windowMs - DAY_MS])[1] ?? 0
  })
  return {
    ages: countByAge(hours, now(), AGES).map((messages, index) => ({ upTo: secondsOf(AGES[index]), messages })),
    windowEndsWithinADay: soon.reduce((sum, messages) => sum + messages, 0),
  }
}

const secondsOf = (ms: number | undefined) => (ms === undefined ? null : ms / 1000)

function sumOf(hours: readonly SentHour[]): number {
  return hours.reduce((sum, { messages }) => sum + messages, 0)
}

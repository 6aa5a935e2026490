/** `lastword statistics`: what happened hour by hour and by account, and how old the outstanding messages are. */
import type { Statistics, StatisticsFilter } from '../client/answers.ts'
import { createClient } from '../client/client.ts'
import { readServiceLocation } from '../config.ts'
import { LastwordError } from '../core/errors.ts'
import { endingsOf, type Statistics as Figures, sharesKnownWithin } from '../core/statistics.ts'
import { formatTable } from './table.ts'
import { duration, percent } from './words.ts'

export interface StatisticsFlags extends StatisticsFilter {
  json: boolean
  url?: string
  apiKey?: string
}

export async function runStatistics({ json, url, apiKey, ...filter }: StatisticsFlags): Promise<void> {
  const statistics = await createClient(readServiceLocation({ url, apiKey })).statistics(filter)
  if (filter.account !== undefined && knowsNothing(statistics)) {
    const found = `No account named "${filter.account}" is configured, and nothing is counted under that name`
    throw new LastwordError('NOT_FOUND', `${found}; see the names by: lastword accounts.`)
  }
  console.log(json ? JSON.stringify(statistics) : describe(statistics))
}

function knowsNothing({ accounts, hours, outstanding }: Statistics): boolean {
  return accounts.length === 0 && hours.length === 0 && outstanding.ages.every(({ messages }) => messages === 0)
}

function describe(statistics: Statistics): string {
  return [
    describeAccounts(statistics),
    describeHours(statistics),
    describeReasons(statistics),
    describeOutstanding(statistics),
  ].join('\n\n')
}

const FIGURES = [
  'DELIVERED',
  'FAILED',
  'UNKNOWN',
  'BY WEBHOOK',
  'BY POLL',
  'IN 10 S',
  'IN 1 MIN',
  'IN 10 MIN',
  'REQUESTS',
  'IDS',
  'POLLS SAVED',
]

function figuresOf(figures: Figures): string[] {
  const { delivered, failed, unknown } = endingsOf(figures)
  const { foundBy, requests, ids, pollsSaved } = figures
  const within = sharesKnownWithin(figures)
  const shares = within ? [within['10s'], within['1m'], within['10m']].map(percent) : ['', '', '']
  const ended = [delivered, failed, unknown, foundBy.webhook, foundBy.poll].map(String)
  return [...ended, ...shares, ...[requests, ids, pollsSaved].map(String)]
}

function describeAccounts({ accounts }: Statistics): string {
  if (accounts.length === 0) return 'No configured account matches.'
  const rows = accounts.map(({ account, outstanding, oldestDue, ...figures }) => [
    account,
    String(outstanding),
    duration(oldestDue),
    ...figuresOf(figures),
  ])
  return formatTable([['ACCOUNT', 'OUTSTANDING', 'OLDEST DUE', ...FIGURES], ...rows])
}

function describeHours({ hours }: Statistics): string {
  if (hours.length === 0) return 'Nothing happened in these hours.'
  return formatTable([['HOUR', ...FIGURES], ...hours.map(({ hour, ...figures }) => [hour, ...figuresOf(figures)])])
}

function describeReasons({ reasons }: Statistics): string {
  if (reasons.length === 0) return 'No message failed with a reason in these hours.'
  return formatTable([['REASON', 'MESSAGES'], ...reasons.map(({ code, messages }) => [code, String(messages)])])
}

function describeOutstanding({ outstanding: { ages, windowEndsWithinADay } }: Statistics): string {
  const rows = ages.map(({ upTo, messages }, index) => {
    const from = duration(ages[index - 1]?.upTo ?? 0)
    return [upTo === null ? `more than ${from}` : `up to ${duration(upTo)}`, String(messages)]
  })
  const ending = `Messages that become unknown within a day, when their look-up window ends: ${windowEndsWithinADay}`
  return `${formatTable([['OUTSTANDING FOR', 'MESSAGES'], ...rows])}\n${ending}`
}

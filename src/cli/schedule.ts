/** `lastword schedule`: when messages of an account are asked about, and why. */
import type { Schedule } from '../client/answers.ts'
import { createClient } from '../client/client.ts'
import { readServiceLocation } from '../config.ts'
import { formatTable } from './table.ts'
import { duration, percent } from './words.ts'

const BAR_WIDTH = 40
/** The ages at which the curve is drawn, in seconds. */
const DRAWN_AGES = [1, 5, 10, 30, 60, 300, 1800, 3600, 6 * 3600, 86_400, 2 * 86_400, 3 * 86_400, 7 * 86_400]
const MOST_AGES = 12

export async function runSchedule(flags: {
  account: string
  json: boolean
  url?: string
  apiKey?: string
}): Promise<void> {
  const schedule = await createClient(readServiceLocation(flags)).schedule(flags.account)
  console.log(flags.json ? JSON.stringify(schedule) : describeSchedule(schedule))
}

function describeSchedule(schedule: Schedule): string {
  const { account, policy, price, webhookLoss, webhookLagP95, finalsSeen, alone, shared, curve } = schedule
  const head: string[][] = [['Account', account]]
  if (policy === 'exponential') head.push(['Policy', 'exponential: growing intervals, whatever has been learned'])
  else {
    head.push(
      ['Policy', `learned, from ${finalsSeen} final statuses`],
      ['Price', `${duration(price ?? 0)}: a request is sent when its messages have together waited that long for news`],
      [
        'Receipts',
        webhookLoss >= 1
          ? 'none come'
          : `${percent(webhookLoss)} are lost, the others come within ${duration(webhookLagP95)}`,
      ],
    )
  }
  head.push(['Asked alone at', agesInShort(alone)], ['In full requests', agesInShort(shared)])
  const bars = DRAWN_AGES.map((age) => {
    const share = shareAt(curve, age)
    return [duration(age).padStart(8), '#'.repeat(Math.round(share * BAR_WIDTH)).padEnd(BAR_WIDTH), percent(share)]
  })
  return `${formatTable(head)}\n\nFinal by an age of\n${formatTable(bars)}`
}

function agesInShort(ages: readonly number[]): string {
  if (ages.length === 0) return 'never'
  const shown = ages.slice(0, MOST_AGES).map(duration).join(', ')
  const [last] = ages.slice(-1)
  return ages.length > MOST_AGES && last !== undefined ? `${shown}, … ${duration(last)} (${ages.length} times)` : shown
}

/** The share that is final by an age: between two ages of the curve on a straight line. */
function shareAt(curve: readonly [number, number][], age: number): number {
  const after = curve.findIndex(([at]) => at >= age)
  const [at = age, share = 0] = curve[after] ?? curve.at(-1) ?? []
  const [from = 0, before = 0] = curve[after - 1] ?? []
  return at > from ? before + ((share - before) * (age - from)) / (at - from) : share
}

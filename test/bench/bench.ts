/**
 * The words of the bench.
 *
 * measure   a function that runs something, alone on the machine, and returns rows
 * row       one figure: a ratio with its goal, or a plain figure that explains a ratio
 * counts    how many messages each measure works with
 */
import type { Services } from './services.ts'

export interface Bench {
  services: Services
  counts: Counts
  /** Tells people what is going on. */
  say(text: string): void
}

export type Measure = (bench: Bench) => Promise<Row[]>

export interface Row {
  measure: string
  value: number
  unit: string
  /** A figure without a goal explains another one. */
  goal?: Goal
  /** The figures it is made of, for JSON. */
  details?: Record<string, number>
}

/** Bounds, in the unit of the figure. */
interface Goal {
  atLeast?: number
  atMost?: number
}

export function isMet({ value, goal = {} }: Row): boolean {
  return value >= (goal.atLeast ?? Number.NEGATIVE_INFINITY) && value <= (goal.atMost ?? Number.POSITIVE_INFINITY)
}

export interface Counts {
  /** Rounds of tracking, each variant in turn, and messages in each; delayed jobs take longer, so they are fewer. */
  trackRounds: number
  trackMessages: number
  trackJobs: number
  /** Messages that come due at once; the others get what they settle in about the same time. */
  settle: number
  settleByOthers: number
  settleByCron: number
  /** The share of those that each variant settles beforehand, to get warm. */
  settleWarmUp: number
  /** Webhook requests. */
  webhooks: number
  webhooksOneStatement: number
  /** Messages sent over so many seconds, by a law and a schedule slower than life by `requestsScale` times. */
  requests: number
  requestsOverS: number
  requestsScale: number
  /** Delayed jobs whose memory is measured. */
  delayedJobs: number
  /** Outstanding messages: the most, the fewest a claim is compared with, and those of the idle measure. */
  outstanding: number
  outstandingSmall: number
  outstandingIdle: number
  claims: number
  /** Settled messages that are deleted while webhooks come, and those of a month in a year. */
  retained: number
  month: number
  /** How often each list and each page is asked for, and how many callbacks wait meanwhile. */
  lists: number
  waitingCallbacks: number
  /** How long a worker is watched at work, and how many messages come due in a second meanwhile. */
  watchWorkerS: number
  watchedMessagesPerS: number
  watchIdleS: number
  /** Receipts that come while the database is slow. */
  overload: number
  /** How long a steady load lasts. */
  steadyS: number
  /** The time for processes to come to rest after their start; before they are watched idle, to get compiled, too. */
  restMs: number
  idleRestMs: number
  twoWorkers: number
  slowAnswerMs: number
  /** Due messages of one account, and those of its neighbour; how long its provider is down, and watched afterwards. */
  crowd: number
  neighbours: number
  downMs: number
  afterwardsS: number
  /** Sizes of the tables in the growth run. */
  growth: number[]
}

/** For docs/numbers.md: about fifteen minutes on two cores, and ten more for the growth. */
export const FULL: Counts = {
  trackRounds: 3,
  trackMessages: 150_000,
  trackJobs: 50_000,
  settle: 100_000,
  settleByOthers: 12_000,
  settleByCron: 5_000,
  settleWarmUp: 0.1,
  webhooks: 60_000,
  webhooksOneStatement: 25_000,
  requests: 12_000,
  requestsOverS: 30,
  requestsScale: 5,
  delayedJobs: 100_000,
  outstanding: 5_000_000,
  outstandingSmall: 50_000,
  outstandingIdle: 1_000_000,
  claims: 50,
  retained: 400_000,
  month: 20_000,
  lists: 200,
  waitingCallbacks: 100_000,
  watchWorkerS: 120,
  watchedMessagesPerS: 1_000,
  watchIdleS: 30,
  overload: 60_000,
  steadyS: 7_200,
  restMs: 20_000,
  idleRestMs: 180_000,
  twoWorkers: 24_000,
  slowAnswerMs: 2_500,
  crowd: 1_000_000,
  neighbours: 20_000,
  downMs: 60_000,
  afterwardsS: 30,
  growth: [10_000, 100_000, 1_000_000, 5_000_000],
}

/** For CI: everything once, in less than a minute. The figures say nothing about the product. */
export const QUICK: Counts = {
  trackRounds: 1,
  trackMessages: 4_000,
  trackJobs: 2_000,
  settle: 2_000,
  settleByOthers: 500,
  settleByCron: 1_000,
  settleWarmUp: 0,
  webhooks: 1_500,
  webhooksOneStatement: 1_000,
  requests: 400,
  requestsOverS: 1,
  requestsScale: 0.5,
  delayedJobs: 2_000,
  outstanding: 10_000,
  outstandingSmall: 4_000,
  outstandingIdle: 10_000,
  claims: 5,
  retained: 4_000,
  month: 200,
  lists: 5,
  waitingCallbacks: 100,
  watchWorkerS: 2,
  watchedMessagesPerS: 200,
  watchIdleS: 1,
  overload: 4_000,
  steadyS: 4,
  restMs: 500,
  idleRestMs: 500,
  twoWorkers: 1_500,
  slowAnswerMs: 500,
  crowd: 10_000,
  neighbours: 500,
  downMs: 2_000,
  afterwardsS: 2,
  growth: [1_000, 5_000],
}

export async function timed(run: () => Promise<unknown>): Promise<number> {
  const begun = performance.now()
  await run()
  return (performance.now() - begun) / 1000
}

/** Runs every task, so many at a time. */
export async function runAll<T>(
  items: readonly T[],
  atOnce: number,
  run: (item: T) => Promise<unknown>,
): Promise<void> {
  const left = items.values()
  const lane = async () => {
    for (const item of left) await run(item)
  }
  await Promise.all(Array.from({ length: atOnce }, lane))
}

export function cut<T>(items: readonly T[], size: number): T[][] {
  return Array.from({ length: Math.ceil(items.length / size) }, (_, index) =>
    items.slice(index * size, (index + 1) * size),
  )
}

export function median(values: readonly number[]): number {
  const sorted = [...values].sort((one, other) => one - other)
  const middle = (sorted.length - 1) / 2
  return ((sorted[Math.floor(middle)] ?? Number.NaN) + (sorted[Math.ceil(middle)] ?? Number.NaN)) / 2
}

export function mean(values: readonly number[]): number {
  return values.reduce((sum, value) => sum + value, 0) / values.length
}

/** The first part of a measure is left out: modules are loaded, and the heap finds its size. */
const WARM_UP_SHARE = 0.25

/** The median of the last third against that of the middle one. */
export function flatnessOf(samples: readonly number[]): number {
  const warm = samples.slice(Math.floor(samples.length * WARM_UP_SHARE))
  const third = Math.floor(warm.length / 3)
  return median(warm.slice(-third)) / median(warm.slice(third, 2 * third))
}

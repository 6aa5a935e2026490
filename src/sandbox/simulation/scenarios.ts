/**
 * The scenarios of `lastword simulate`: laws of delivery times, traffic, webhooks that come, do not come or die, and
 * the ways of asking that are compared.
 */
import { type Curve, curveOfLaw, type LawPart, PRIOR_LAW } from '../../core/curve.ts'
import { createRandom, drawLognormal, type Random } from '../random.ts'
import { type Outcome, type Planner, simulate, steadyTraffic, type Traffic, type Webhooks } from './simulation.ts'

const SECOND = 1_000
export const HOUR = 3_600_000
export const DAY = 86_400_000
const WINDOW_MS = 30 * DAY
const PLACES = 100
const SEED = 7

interface TestLaw {
  parts: readonly LawPart[]
  /** A message that takes longer ends then. */
  endMs?: number
}

/** The law of the prior, and laws that it does not know. */
export const LAWS: Readonly<Record<string, TestLaw>> = {
  'the prior': { parts: PRIOR_LAW },
  'all fast': { parts: [{ share: 1, medianMs: 4 * SECOND, sigma: 0.6 }] },
  'all slow': { parts: [{ share: 0.98, medianMs: 3 * HOUR, sigma: 1 }] },
  'ends after 24 h': {
    parts: [
      { share: 0.85, medianMs: 6 * SECOND, sigma: 1 },
      { share: 0.14, medianMs: 40 * HOUR, sigma: 1 },
    ],
    endMs: DAY,
  },
}

export const NONE: Webhooks = () => 0

const exponential = {
  policy: 'exponential',
  firstAfterMs: 60 * SECOND,
  factor: 2,
  maxIntervalMs: 6 * HOUR,
  windowMs: WINDOW_MS,
} as const
const FIXED_MS = 10 * 60 * SECOND
const fixed = { ...exponential, firstAfterMs: FIXED_MS, factor: 1, maxIntervalMs: FIXED_MS }

export const BACKOFF: Planner = { policy: exponential, unfilled: true }
export const FILLED: Planner = { policy: exponential }
export const FIXED: Planner = { policy: fixed }

export function learned(priceS: number): Planner {
  return { policy: { policy: 'learned', priceMs: priceS * SECOND, windowMs: WINDOW_MS } }
}

/** The same decisions by someone who knows the law and the share of receipts that come. */
export function knowing(law: TestLaw, priceS: number, webhooks: Webhooks): Planner {
  return { ...learned(priceS), known: { curve: curveOf(law), loss: webhooks } }
}

function curveOf({ parts, endMs }: TestLaw): Curve {
  return curveOfLaw(parts, endMs)
}

function drawEnd(random: Random, { parts, endMs = Number.POSITIVE_INFINITY }: TestLaw): number {
  let left = random()
  for (const { share, medianMs, sigma } of parts) {
    left -= share
    if (left < 0) return Math.min(drawLognormal(random, medianMs, sigma), endMs)
  }
  return Number.POSITIVE_INFINITY
}

export interface Scenario {
  law: TestLaw
  perSecond: number
  forMs: number
  /** Which messages count, by when they are sent. */
  countFromMs: number
  countToMs?: number
  webhooks?: Webhooks
  /** From then on nothing is sent any more. */
  sendUntilMs?: number
}

export function run(scenario: Scenario, planner: Planner): Outcome {
  const { law, perSecond, forMs, countFromMs, countToMs = forMs, webhooks = NONE, sendUntilMs = forMs } = scenario
  const random = createRandom(SEED)
  const traffic: Traffic = steadyTraffic(random, perSecond, sendUntilMs, () => drawEnd(random, law))
  return simulate({ traffic, webhooks, planner, places: PLACES, untilMs: forMs, countFromMs, countToMs, seed: SEED })
}

/** The cost of one way of asking. Delays in seconds; the cost is the sum of requests and waiting, a message. */
export interface Figures {
  requests: number
  polls: number
  mean: number
  p50: number
  p95: number
  p99: number
}

export function figuresOf({ messages, requests, polls, delays }: Outcome): Figures {
  const quantile = (share: number) => (delays[Math.floor(delays.length * share)] ?? Number.NaN) / SECOND
  const mean = delays.reduce((sum, delay) => sum + delay, 0) / delays.length / SECOND
  return {
    requests: requests / messages,
    polls: polls / messages,
    mean,
    p50: quantile(0.5),
    p95: quantile(0.95),
    p99: quantile(0.99),
  }
}

/** The cost of a run: its requests at their price, and all waiting, in seconds a message. */
export function costOf({ messages, requests, waitedMs }: Outcome, priceS: number): number {
  return (requests * priceS + waitedMs / SECOND) / messages
}

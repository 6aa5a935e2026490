/**
 * The curve of finals: the share of messages whose final status is there by an age, F, and the integral of it, which is
 * how long, per message, final statuses have been there by then. Both stand at the edges of ages.ts; between two edges F
 * is a straight line.
 */
import { BUCKETS, bucketOf, EDGES, LAST_EDGE_MS } from './ages.ts'

export interface Curve {
  /** F at each edge: from 0 on, never falling, never above 1. */
  shares: readonly number[]
  /** The integral of F from 0 to each edge, in milliseconds. */
  waits: readonly number[]
}

/** The curve through these shares at the edges. */
export function curveOf(shares: readonly number[]): Curve {
  const waits = [0]
  for (let edge = 1; edge <= BUCKETS; edge++) {
    const width = at(EDGES, edge) - at(EDGES, edge - 1)
    waits.push(at(waits, edge - 1) + ((at(shares, edge) + at(shares, edge - 1)) / 2) * width)
  }
  return { shares, waits }
}

/** The values of a curve at an age. */
export interface AtAge {
  /** F. */
  share: number
  /** The integral of F from 0 on, in milliseconds. */
  wait: number
}

export function atAge({ shares, waits }: Curve, age: number): AtAge {
  if (age <= 0) return { share: 0, wait: 0 }
  if (age >= LAST_EDGE_MS) {
    const share = at(shares, BUCKETS)
    return { share, wait: at(waits, BUCKETS) + (age - LAST_EDGE_MS) * share }
  }
  const bucket = bucketOf(age)
  const [from, before] = [at(EDGES, bucket), at(shares, bucket)]
  const slope = (at(shares, bucket + 1) - before) / (at(EDGES, bucket + 1) - from)
  const share = before + slope * (age - from)
  return { share, wait: at(waits, bucket) + ((before + share) / 2) * (age - from) }
}

/** F at an age. */
export function shareBy(curve: Curve, age: number): number {
  return atAge(curve, age).share
}

/** A kind of message: its share of all, and the lognormal distribution of how long it takes. */
export interface LawPart {
  share: number
  medianMs: number
  sigma: number
}

/** The curve of a mixture; the rest of its shares never report. With `endMs` whatever takes longer ends then. */
export function curveOfLaw(parts: readonly LawPart[], endMs = Number.POSITIVE_INFINITY): Curve {
  const total = parts.reduce((sum, { share }) => sum + share, 0)
  const shareOf = (age: number) =>
    parts.reduce((sum, { share, medianMs, sigma }) => sum + share * normal(Math.log(age / medianMs) / sigma), 0)
  return curveOf(EDGES.map((age) => (age === 0 ? 0 : age >= endMs ? total : shareOf(age))))
}

const SECOND = 1_000
const HOUR = 3_600_000

/** The law that a new account starts from; 1.5 % never report. */
export const PRIOR_LAW: readonly LawPart[] = [
  { share: 0.86, medianMs: 6 * SECOND, sigma: 1 },
  { share: 0.07, medianMs: 600 * SECOND, sigma: 1.2 },
  { share: 0.035, medianMs: 6 * HOUR, sigma: 1 },
  // The messages that expire at the end of their validity.
  { share: 0.02, medianMs: 48 * HOUR, sigma: 0.02 },
]

export const PRIOR_CURVE: Curve = curveOfLaw(PRIOR_LAW)

/** The distribution function of the normal distribution (Abramowitz and Stegun, 7.1.26: good to 1.5e-7). */
function normal(x: number): number {
  const z = Math.abs(x) / Math.SQRT2
  const t = 1 / (1 + 0.3275911 * z)
  const series = ((((1.061405429 * t - 1.453152027) * t + 1.421413741) * t - 0.284496736) * t + 0.254829592) * t
  const half = (series * Math.exp(-z * z)) / 2
  return x >= 0 ? 1 - half : half
}

function at(numbers: readonly number[], index: number): number {
  return numbers[index] ?? 0
}

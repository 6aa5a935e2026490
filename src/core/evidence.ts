/**
 * Learning when messages become final, and how receipts come: counts for one account, which fade, and the economy that
 * follows from them.
 *
 * A message tells something each time more is known of it: it had no final status yet from the age it was known at before
 * to the age it is known at now; and, if it is final, when it became so, by the provider's own time. So messages that are
 * still outstanding, and those that never end, count as they should. The counts stand by the buckets of ages.ts:
 *
 *   hazard of a bucket = (finals + prior finals) / (time at risk + prior time at risk)
 *
 * Time at risk is kept as what enters and leaves: each stretch adds one where it begins and takes one away where it ends,
 * and its offset within the bucket.
 */
import { BUCKETS, bucketOf, EDGES, positionOf } from './ages.ts'
import { type Curve, curveOf, PRIOR_CURVE } from './curve.ts'

export interface Evidence {
  /** When the counts were last faded, in milliseconds since 1970. */
  at: number
  /** How many final statuses have been counted in all, unfaded. */
  seen: number
  /** Final statuses by the bucket of their age. */
  finals: number[]
  /** Stretches without a final status: those that begin in a bucket less those that end there. */
  entered: number[]
  /** The sum of the offsets at which they begin within a bucket, less those at which they end. */
  offsets: number[]
  /** Receipts of final statuses by the bucket of their lag. */
  lags: number[]
  /** Final statuses whose receipts came, and those whose receipts did not. */
  received: number
  lost: number
}

/** One message, as it has been seen so far. */
export interface Sighting {
  /** The ages, in milliseconds, at which the message was known to have no final status before, and up to now. */
  fromAge: number
  toAge: number
  /** The message has become final, at `toAge`. */
  isFinal: boolean
}

const zeros = () => new Array<number>(BUCKETS).fill(0)

export function noEvidence(at: number): Evidence {
  return {
    at,
    seen: 0,
    finals: zeros(),
    entered: zeros(),
    offsets: zeros(),
    lags: zeros(),
    received: 0,
    lost: 0,
  }
}

/** Counts a sighting, in place. */
export function countSighting(evidence: Evidence, { fromAge, toAge, isFinal }: Sighting): void {
  const from = Math.min(positionOf(fromAge), positionOf(toAge))
  move(evidence, from, 1)
  move(evidence, positionOf(toAge), -1)
  if (!isFinal) return
  add(evidence.finals, bucketOf(toAge), 1)
  evidence.seen += 1
}

/** Counts the receipt of a final status, in place. */
export function countReceipt(evidence: Evidence, lagMs: number): void {
  add(evidence.lags, bucketOf(lagMs), 1)
  evidence.received += 1
}

function move({ entered, offsets }: Evidence, position: number, by: 1 | -1): void {
  const bucket = Math.min(Math.floor(position), BUCKETS - 1)
  add(entered, bucket, by)
  add(offsets, bucket, by * (position - bucket))
}

function add(counts: number[], bucket: number, by: number): void {
  counts[bucket] = (counts[bucket] ?? 0) + by
}

const HALF_LIFE_MS = 7 * 86_400_000

/** The counts of both, each as faded as it is at `at`. */
export function mergeEvidence(one: Evidence, other: Evidence, at: number): Evidence {
  const fading = (evidence: Evidence) => 0.5 ** (Math.max(0, at - evidence.at) / HALF_LIFE_MS)
  const [a, b] = [fading(one), fading(other)]
  const sum = (x: number, y: number) => x * a + y * b
  const sums = (xs: readonly number[], ys: readonly number[]) => xs.map((x, bucket) => sum(x, ys[bucket] ?? 0))
  return {
    at,
    seen: one.seen + other.seen,
    finals: sums(one.finals, other.finals),
    entered: sums(one.entered, other.entered),
    offsets: sums(one.offsets, other.offsets),
    lags: sums(one.lags, other.lags),
    received: sum(one.received, other.received),
    lost: Math.max(0, sum(one.lost, other.lost)),
  }
}

/** How many messages the prior counts for. */
const PRIOR_WEIGHT = 30
const PRIOR_HAZARDS = priorHazards()

/** The finals and the time at risk, in buckets, that a message under the prior brings to each bucket. */
function priorHazards(): { finals: number; atRisk: number }[] {
  const { shares } = PRIOR_CURVE
  return zeros().map((_, bucket) => {
    const [before, after] = [1 - (shares[bucket] ?? 0), 1 - (shares[bucket + 1] ?? 0)]
    // Within a bucket the hazard is constant on the scale of positions.
    return { finals: before - after, atRisk: before === after ? before : (before - after) / Math.log(before / after) }
  })
}

/** The curve of finals that the prior and the evidence make together. */
export function learnedCurve({ finals, entered, offsets }: Evidence): Curve {
  const shares = [0]
  let survivors = 1
  let atRiskBefore = 0
  for (let bucket = 0; bucket < BUCKETS; bucket++) {
    atRiskBefore += entered[bucket] ?? 0
    const atRisk = Math.max(0, atRiskBefore - (offsets[bucket] ?? 0))
    const prior = PRIOR_HAZARDS[bucket] ?? { finals: 0, atRisk: 0 }
    const events = Math.max(0, finals[bucket] ?? 0) + PRIOR_WEIGHT * prior.finals
    survivors *= Math.exp(-events / Math.max(atRisk + PRIOR_WEIGHT * prior.atRisk, Number.EPSILON))
    shares.push(1 - survivors)
  }
  return curveOf(shares)
}

const LEAST_LOSS = 0.005
/** With fewer receipts than this, their lag is taken to be `PRIOR_LAG_MS`. */
const FEWEST_LAGS = 20
const PRIOR_LAG_MS = 10_000
const LAG_SHARE = 0.95

/** The share of finals whose receipts never come, from 0.5 % to 1; 1 as long as none has come. */
export function learnedLoss({ received, lost }: Evidence): number {
  return received === 0 ? 1 : Math.min(1, Math.max(LEAST_LOSS, (lost + 1) / (received + lost + 2)))
}

/** The lag, in milliseconds, that 95 % of the receipts that come do not exceed. */
export function learnedLag({ lags }: Evidence): number {
  const total = lags.reduce((sum, count) => sum + count, 0)
  if (total < FEWEST_LAGS) return PRIOR_LAG_MS
  let sum = 0
  const bucket = lags.findIndex((count) => {
    sum += count
    return sum >= LAG_SHARE * total
  })
  return EDGES[bucket + 1] ?? PRIOR_LAG_MS
}

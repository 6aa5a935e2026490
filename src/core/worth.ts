/**
 * When asking pays. The worth of asking about a message now is the expected time for which its final status has been there
 * unseen, given when it was last asked about:
 *
 *   worth = loss × ∫ (F(s) - F(asked)) ds / P(still outstanding)       s from the last question to now
 *
 * `loss` is the share of finals whose receipt never comes: where receipts come, silence means that there is no final
 * status yet. A message that is still outstanding at `age` has no final status, or one whose receipt was lost, or one
 * whose receipt is on its way. The worth only grows with the time since the last question.
 *
 * A request is sent when the worth of the messages in it reaches its price. A message is due when its worth reaches its
 * part of the price of a full request; so a request's worth of due messages always pays, and fewer wait for each other.
 */
import { BUCKETS, bucketOf, EDGES } from './ages.ts'
import { atAge, type Curve, shareBy } from './curve.ts'

export interface Economy {
  curve: Curve
  /** The share of finals whose receipt never comes; 1 where no receipts come. */
  loss: number
  /** How long receipts that come usually take. */
  lagMs: number
  /** The waiting, summed over its messages, that a request must be worth. */
  priceMs: number
  /** The waiting that each message in a request must be worth by itself, where each record of an answer is paid for. */
  recordPriceMs: number
  /** How many messages a request has room for. */
  places: number
}

/** The costs of asking. */
export type Costs = Pick<Economy, 'priceMs' | 'recordPriceMs' | 'places'>

const LEAST = 1e-9

/** The worth, in milliseconds, of asking about a message at an age, when it was last asked about at another. */
export function worthOf({ curve, loss, lagMs }: Economy, age: number, askedAge: number): number {
  if (age <= askedAge) return 0
  const before = atAge(curve, askedAge)
  const now = atAge(curve, age)
  const unseen = now.wait - before.wait - before.share * (age - askedAge)
  const onItsWay = loss < 1 ? now.share - shareBy(curve, Math.max(askedAge, age - lagMs)) : 0
  const outstanding = 1 - now.share + loss * (now.share - before.share) + (1 - loss) * onItsWay
  return Math.max(0, (loss * unseen) / Math.max(outstanding, LEAST))
}

/** The worth at which a message is due. */
export function thresholdOf({ priceMs, recordPriceMs, places }: Costs): number {
  return priceMs / places + recordPriceMs
}

/** The age at which a message that was last asked about at `askedAge` is due; infinite where it never is. */
export function dueAge(economy: Economy, askedAge: number): number {
  const threshold = thresholdOf(economy)
  let low = bucketOf(askedAge)
  let high = BUCKETS
  if (worthOf(economy, EDGES[high] ?? 0, askedAge) < threshold) return Number.POSITIVE_INFINITY
  while (high - low > 1) {
    const middle = (low + high) >> 1
    if (worthOf(economy, EDGES[middle] ?? 0, askedAge) < threshold) low = middle
    else high = middle
  }
  let from = Math.max(EDGES[low] ?? 0, askedAge)
  let to = EDGES[high] ?? 0
  while (to - from > PRECISION_MS && to - from > from * PRECISION) {
    const middle = (from + to) / 2
    if (worthOf(economy, middle, askedAge) < threshold) from = middle
    else to = middle
  }
  return to
}

const PRECISION_MS = 10
const PRECISION = 0.002

/** A message that may be asked about. */
export interface Candidate {
  worth: number
  /** Somebody wants it now, or it is the last time, or it has waited for long: it is asked about whatever it is worth. */
  urgent: boolean
}

/**
 * Which of the messages are asked about now, the most urgent and most worth first: full requests as long as they pay, and
 * a last one, filled with messages that are due next, if it pays or if one of its messages is urgent.
 */
export function chooseToAsk<T extends Candidate>(
  due: readonly T[],
  next: readonly T[],
  { priceMs, recordPriceMs, places }: Costs,
  requests: number,
): T[] {
  const order = [...due].sort((a, b) => Number(b.urgent) - Number(a.urgent) || b.worth - a.worth)
  const chosen: T[] = []
  for (let request = 0; request < requests && chosen.length < order.length; request++) {
    const own = order.slice(chosen.length, chosen.length + places)
    const free = next.slice(0, places - own.length).filter(({ worth }) => worth >= recordPriceMs)
    const lot = [...own, ...free]
    const worth = lot.reduce((sum, message) => sum + message.worth - recordPriceMs, 0)
    if (worth < priceMs && !own.some(({ urgent }) => urgent)) break
    chosen.push(...lot)
  }
  return chosen
}

/**
 * The policies by which an account's messages are asked about, and what holds for all of them: the look-up window, and the
 * last question just before it closes. The learned policy is in plan.ts; this is the exponential one.
 *
 * The interval grows exponentially from `firstAfter` by `factor` up to `maxInterval`, with jitter so that messages sent
 * together do not come due together for ever. At every interval, a message is asked once more just before its look-up
 * window closes; after that nothing is asked, and the message is due only to be closed as `unknown`.
 *
 *   sentAt ── firstAfter ── ×factor ── ×factor … maxInterval … ── last poll ── margin ── window end
 *
 * Times are epoch milliseconds. Randomness comes in as a number in [0, 1).
 */

export interface ExponentialPolicy {
  policy: 'exponential'
  firstAfterMs: number
  factor: number
  maxIntervalMs: number
  windowMs: number
}

/** The learned policy asks when it pays (worth.ts): `priceMs` is the waiting that a request must be worth. */
export type PollingPolicy = { policy: 'learned'; priceMs: number; windowMs: number } | ExponentialPolicy

/** The look-up window of a message, as it was tracked: other settings since then do not move it. */
export interface MessageWindow {
  sentAt: number
  /** When the provider stops answering about it. */
  windowEndsAt: number
}

export interface PollingMoment extends MessageWindow {
  now: number
  /** Polls already answered. */
  polls: number
  /** A number in [0, 1). */
  random: number
}

/** Half the width of the jitter, as a share of the interval. */
const JITTER = 0.1
const LONGEST_LAST_MARGIN_MS = 5 * 60_000

/** The look-up window of a message that is tracked now. */
export function windowOf({ windowMs }: Pick<PollingPolicy, 'windowMs'>, sentAt: number): MessageWindow {
  return { sentAt, windowEndsAt: sentAt + windowMs }
}

/** When the last question is asked: five minutes before the window closes, earlier than that for short windows. */
export function lastPollAt({ sentAt, windowEndsAt }: MessageWindow): number {
  return windowEndsAt - Math.min(LONGEST_LAST_MARGIN_MS, (windowEndsAt - sentAt) / 20)
}

const LONGEST_MINIMUM_MS = 10_000
const PRICE_A_MINIMUM = 30

/** The least time between two polls of one message: the jittered first interval, or by the price ten seconds at most. */
export function minimumInterval(policy: PollingPolicy): number {
  if (policy.policy === 'learned') return Math.min(LONGEST_MINIMUM_MS, policy.priceMs / PRICE_A_MINIMUM)
  return Math.min(policy.firstAfterMs, policy.maxIntervalMs) * (1 - JITTER)
}

/** The interval after `polls` answered polls, jittered by at most a tenth either way. */
export function intervalAfter(policy: ExponentialPolicy, polls: number, random: number): number {
  const interval = Math.min(policy.firstAfterMs * policy.factor ** polls, policy.maxIntervalMs)
  return interval * (1 - JITTER + 2 * JITTER * random)
}

/**
 * When a message is next due, in epoch milliseconds: for a poll while it is before the window's end, to be closed as
 * `unknown` when it is the window's end. Never less than the minimum interval after `now`, except for the first poll of
 * a message that was sent long ago and for the window's end itself.
 */
export function nextPollAt(policy: ExponentialPolicy, moment: PollingMoment): number {
  const { sentAt, windowEndsAt: end, now, polls, random } = moment
  const last = lastPollAt(moment)
  const earliest = polls === 0 ? now : now + minimumInterval(policy)
  if (polls > 0 && now >= last) return end
  const regular = (polls === 0 ? sentAt : now) + intervalAfter(policy, polls, random)
  const noRoomBeforeLast = regular > last - minimumInterval(policy)
  const next = Math.max(noRoomBeforeLast ? last : regular, earliest)
  return Math.min(next, end)
}

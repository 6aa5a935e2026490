/**
 * When to ask a provider again about one message.
 *
 * The interval grows exponentially from `firstAfter` by `factor` up to `maxInterval`, with jitter so that messages sent
 * together do not come due together for ever. Whatever the interval, a message is asked once more just before its look-up
 * window closes; after that nothing is asked, and the message is due only to be closed as `unknown`.
 *
 *   sentAt ── firstAfter ── ×factor ── ×factor … maxInterval … ── last poll ── margin ── window end
 *
 * Times are epoch milliseconds. Randomness comes in as a number in [0, 1).
 */

export interface PollingPolicy {
  firstAfterMs: number
  factor: number
  maxIntervalMs: number
  windowMs: number
}

export interface PollingMoment {
  sentAt: number
  now: number
  /** Polls already answered. */
  polls: number
  /** A number in [0, 1). */
  random: number
}

/** Half the width of the jitter, as a share of the interval. */
const JITTER = 0.1
const LONGEST_LAST_MARGIN_MS = 5 * 60_000

/** When the provider stops answering about a message. */
export function windowEnd(policy: PollingPolicy, sentAt: number): number {
  return sentAt + policy.windowMs
}

/** When the last question is asked: five minutes before the window closes, earlier than that for short windows. */
export function lastPollAt(policy: PollingPolicy, sentAt: number): number {
  return windowEnd(policy, sentAt) - Math.min(LONGEST_LAST_MARGIN_MS, policy.windowMs / 20)
}

/** The least time between two polls of one message: the jittered first interval. */
export function minimumInterval(policy: PollingPolicy): number {
  return Math.min(policy.firstAfterMs, policy.maxIntervalMs) * (1 - JITTER)
}

/** The interval after `polls` answered polls, jittered by at most a tenth either way. */
export function intervalAfter(policy: PollingPolicy, polls: number, random: number): number {
  const interval = Math.min(policy.firstAfterMs * policy.factor ** polls, policy.maxIntervalMs)
  return interval * (1 - JITTER + 2 * JITTER * random)
}

/**
 * When a message is next due, in epoch milliseconds: for a poll while it is before the window's end, to be closed as
 * `unknown` when it is the window's end. Never less than the minimum interval after `now`, except for the first poll of
 * a message that was sent long ago and for the window's end itself.
 */
export function nextPollAt(policy: PollingPolicy, { sentAt, now, polls, random }: PollingMoment): number {
  const end = windowEnd(policy, sentAt)
  const last = lastPollAt(policy, sentAt)
  const earliest = polls === 0 ? now : now + minimumInterval(policy)
  if (polls > 0 && now >= last) return end
  const regular = (polls === 0 ? sentAt : now) + intervalAfter(policy, polls, random)
  const noRoomBeforeLast = regular > last - minimumInterval(policy)
  const next = Math.max(noRoomBeforeLast ? last : regular, earliest)
  return Math.min(next, end)
}

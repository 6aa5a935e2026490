import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import {
  type ExponentialPolicy,
  intervalAfter,
  lastPollAt,
  minimumInterval,
  nextPollAt,
  windowOf,
} from '../../src/core/polling.ts'

const SECOND = 1000
const MINUTE = 60 * SECOND
const HOUR = 60 * MINUTE
const DAY = 24 * HOUR

const byDefault: ExponentialPolicy = {
  policy: 'exponential',
  firstAfterMs: MINUTE,
  factor: 2,
  maxIntervalMs: 6 * HOUR,
  windowMs: 30 * DAY,
}

/** How long a poll may take from the moment it is due until it is answered. */
const LEASE_MS = MINUTE
const SENT_AT = Date.UTC(2026, 0, 31, 10)
/** Epoch milliseconds with fractions are exact to about 0.0002 ms. */
const ROUNDING_MS = 0.01

interface Poll {
  due: number
  asked: number
  answered: number
}

interface Life {
  polls: Poll[]
  /** When the message came due to be closed, or was found too late to be asked. */
  closedAt: number
}

/** A repeatable stream of numbers in [0, 1): mulberry32. */
function numbersFrom(seed: number): () => number {
  let state = seed
  return () => {
    state = (state + 0x6d2b79f5) | 0
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state)
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32
  }
}

/** The longest delay of a poll that leaves room for the last question, even when two polls in a row are that late. */
function longestDelay(policy: ExponentialPolicy): number {
  return Math.min(LEASE_MS, (policy.windowMs - lastPollAt(windowOf(policy, 0))) / 2)
}

/** The whole life of a message that never becomes final, on a virtual clock. */
function live(
  policy: ExponentialPolicy,
  trackedAt: number,
  random: () => number,
  delayMs = longestDelay(policy),
): Life {
  const polls: Poll[] = []
  const end = windowOf(policy, SENT_AT).windowEndsAt
  let due = nextPollAt(policy, { ...windowOf(policy, SENT_AT), now: trackedAt, polls: 0, random: random() })
  while (due < end) {
    const asked = due + (random() * delayMs) / 2
    const answered = asked + (random() * delayMs) / 2
    polls.push({ due, asked, answered })
    if (polls.length > 10_000) throw new Error(`Asking goes on for ever: ${JSON.stringify(policy)}`)
    due = nextPollAt(policy, { ...windowOf(policy, SENT_AT), now: answered, polls: polls.length, random: random() })
  }
  return { polls, closedAt: due }
}

const anyPolicy: fc.Arbitrary<ExponentialPolicy> = fc.integer({ min: MINUTE, max: 60 * DAY }).chain((windowMs) =>
  fc.record({
    policy: fc.constant('exponential' as const),
    firstAfterMs: fc.integer({ min: Math.ceil(windowMs / 2000), max: windowMs - 1 }),
    factor: fc.oneof(fc.constant(1), fc.double({ min: 1, max: 10, noNaN: true })),
    maxIntervalMs: fc.integer({ min: Math.ceil(windowMs / 2000), max: windowMs * 2 }),
    windowMs: fc.constant(windowMs),
  }),
)
const anySeed = fc.integer()
const anyRandom = fc.double({ min: 0, max: 1, maxExcluded: true, noNaN: true })

describe('the life of a message that never becomes final', () => {
  it('is asked at growing intervals, once more before the window closes, and then closed (table)', () => {
    const { polls, closedAt } = live(byDefault, SENT_AT, () => 0.5, 0)
    const ages = polls.map(({ asked }) => Math.round((asked - SENT_AT) / SECOND))
    expect(ages.slice(0, 11)).toEqual([60, 180, 420, 900, 1860, 3780, 7620, 15_300, 30_660, 52_260, 73_860])
    expect(ages.at(-1)).toBe((30 * DAY - 5 * MINUTE) / SECOND)
    expect(ages).toHaveLength(128)
    expect(closedAt).toBe(SENT_AT + 30 * DAY)
  })

  it.each<[string, Partial<ExponentialPolicy>, number[]]>([
    ['a fixed interval', { factor: 1, firstAfterMs: 10 * MINUTE, windowMs: HOUR }, [10, 20, 30, 40, 57]],
    [
      'a first interval above the longest',
      { policy: 'exponential', firstAfterMs: 5 * HOUR, maxIntervalMs: HOUR, windowMs: 4 * HOUR },
      [60, 120, 180, 235],
    ],
    ['a first interval as long as the window', { policy: 'exponential', firstAfterMs: HOUR - 1, windowMs: HOUR }, [57]],
    [
      'a window too short for a second interval',
      { policy: 'exponential', firstAfterMs: 8 * MINUTE, windowMs: 20 * MINUTE },
      [8, 19],
    ],
  ])('%s', (_, change, minutes) => {
    const { polls } = live({ ...byDefault, ...change }, SENT_AT, () => 0.5, 0)
    expect(polls.map(({ asked }) => Math.round((asked - SENT_AT) / MINUTE))).toEqual(minutes)
  })

  it('is never asked at or after the end of the window, and is closed exactly then', () => {
    fc.assert(
      fc.property(anyPolicy, anySeed, (policy, seed) => {
        const { polls, closedAt } = live(policy, SENT_AT, numbersFrom(seed))
        const end = windowOf(policy, SENT_AT).windowEndsAt
        for (const { asked, answered } of polls) expect(Math.max(asked, answered)).toBeLessThan(end)
        expect(closedAt).toBe(end)
      }),
    )
  })

  it('is asked exactly once near the end of the window', () => {
    fc.assert(
      fc.property(anyPolicy, anySeed, (policy, seed) => {
        const { polls } = live(policy, SENT_AT, numbersFrom(seed))
        const last = lastPollAt(windowOf(policy, SENT_AT))
        expect(polls.filter(({ answered }) => answered >= last)).toHaveLength(1)
        // Asked no earlier than the last poll is due, unless the poll before it was answered that late.
        expect(polls.at(-1)?.asked).toBeGreaterThanOrEqual(last - LEASE_MS)
      }),
    )
  })

  it('is never asked twice within the minimum interval', () => {
    fc.assert(
      fc.property(anyPolicy, anySeed, fc.double({ min: 0, max: 1.2, noNaN: true }), (policy, seed, age) => {
        const { polls } = live(policy, SENT_AT + age * policy.windowMs, numbersFrom(seed))
        for (const [index, { answered }] of polls.entries()) {
          const next = polls[index + 1]
          if (next) expect(next.due - answered).toBeGreaterThanOrEqual(minimumInterval(policy) - ROUNDING_MS)
        }
      }),
    )
  })

  it('ends after no more polls than fit into the window', () => {
    fc.assert(
      fc.property(anyPolicy, anySeed, (policy, seed) => {
        const { polls } = live(policy, SENT_AT, numbersFrom(seed))
        expect(polls.length).toBeGreaterThanOrEqual(1)
        expect(polls.length).toBeLessThanOrEqual(policy.windowMs / minimumInterval(policy) + 2)
      }),
    )
  })

  it('ends at the window for a message that was tracked late, too', () => {
    fc.assert(
      fc.property(anyPolicy, anySeed, fc.double({ min: 0, max: 0.999, noNaN: true }), (policy, seed, age) => {
        const trackedAt = SENT_AT + age * policy.windowMs
        const { polls, closedAt } = live(policy, trackedAt, numbersFrom(seed), 0)
        expect(closedAt).toBe(windowOf(policy, SENT_AT).windowEndsAt)
        expect(polls.length).toBeGreaterThanOrEqual(1)
        const lastAsked = polls.at(-1)?.asked ?? 0
        const nearEnd = lastPollAt(windowOf(policy, SENT_AT)) - minimumInterval(policy)
        expect(lastAsked).toBeGreaterThanOrEqual(nearEnd - ROUNDING_MS)
      }),
    )
  })
})

describe('nextPollAt', () => {
  it('asks at once about a message that was sent long ago', () => {
    fc.assert(
      fc.property(anyPolicy, anyRandom, fc.double({ min: 0, max: 1, noNaN: true }), (policy, random, share) => {
        const longAgo = Math.min(policy.firstAfterMs, policy.maxIntervalMs) * 1.1
        const last = lastPollAt(windowOf(policy, SENT_AT))
        fc.pre(SENT_AT + longAgo < last - minimumInterval(policy))
        const now = Math.ceil(
          SENT_AT + longAgo + share * (windowOf(policy, SENT_AT).windowEndsAt - 1 - SENT_AT - longAgo),
        )
        expect(nextPollAt(policy, { ...windowOf(policy, SENT_AT), now, polls: 0, random })).toBe(now)
      }),
    )
  })

  it.each<[string, { now: number; polls: number }, number]>([
    ['sent a moment ago', { now: 0, polls: 0 }, MINUTE],
    ['sent in the future, clocks differ', { now: -5 * MINUTE, polls: 0 }, MINUTE],
    ['sent an hour ago', { now: HOUR, polls: 0 }, HOUR],
    ['first polled after the last poll was due', { now: 30 * DAY - MINUTE, polls: 0 }, 30 * DAY - MINUTE],
    ['tracked when the window had closed', { now: 31 * DAY, polls: 0 }, 30 * DAY],
    ['the second interval', { now: HOUR, polls: 1 }, HOUR + 2 * MINUTE],
    ['no room for another before the last', { now: 30 * DAY - HOUR, polls: 100 }, 30 * DAY - 5 * MINUTE],
    ['the last poll was answered', { now: 30 * DAY - 5 * MINUTE, polls: 100 }, 30 * DAY],
    ['polled too shortly before the last', { now: 30 * DAY - 330 * SECOND, polls: 9 }, 30 * DAY - 276 * SECOND],
    ['a poll answered after the window', { now: 31 * DAY, polls: 3 }, 30 * DAY],
  ])('%s', (_, { now, polls }, expected) => {
    const next = nextPollAt(byDefault, { ...windowOf(byDefault, SENT_AT), now: SENT_AT + now, polls, random: 0.5 })
    expect(next - SENT_AT).toBeCloseTo(expected, 1)
  })

  it('is never after the end of the window, whatever it is given', () => {
    fc.assert(
      fc.property(anyPolicy, anyRandom, fc.nat(200), fc.double({ min: -1, max: 3, noNaN: true }), (...given) => {
        const [policy, random, polls, age] = given
        const now = SENT_AT + age * policy.windowMs
        const next = nextPollAt(policy, { ...windowOf(policy, SENT_AT), now, polls, random })
        expect(next).toBeLessThanOrEqual(windowOf(policy, SENT_AT).windowEndsAt)
        expect(next).toBeGreaterThanOrEqual(Math.min(now, windowOf(policy, SENT_AT).windowEndsAt))
      }),
    )
  })
})

describe('intervalAfter', () => {
  it('grows up to the longest interval and stays there', () => {
    fc.assert(
      fc.property(anyPolicy, (policy) => {
        const intervals = Array.from({ length: 60 }, (_, polls) => intervalAfter(policy, polls, 0.5))
        const steps = intervals.slice(1).map((interval, index) => interval - (intervals[index] ?? 0))
        expect(Math.min(...steps)).toBeGreaterThanOrEqual(0)
        expect(Math.max(...intervals)).toBeLessThanOrEqual(policy.maxIntervalMs)
        if (policy.factor > 1.2) expect(intervals.at(-1)).toBe(policy.maxIntervalMs)
      }),
    )
  })

  it('is jittered by a tenth either way, and never below the minimum', () => {
    fc.assert(
      fc.property(anyPolicy, fc.nat(2000), anyRandom, (policy, polls, random) => {
        const interval = intervalAfter(policy, polls, random)
        const middle = intervalAfter(policy, polls, 0.5)
        expect(interval / middle).toBeGreaterThanOrEqual(0.9 - 1e-9)
        expect(interval / middle).toBeLessThan(1.1 + 1e-9)
        expect(interval).toBeGreaterThanOrEqual(minimumInterval(policy))
      }),
    )
    expect(intervalAfter(byDefault, 0, 0)).toBeCloseTo(54 * SECOND)
    expect(intervalAfter(byDefault, 0, 0.999_999)).toBeCloseTo(66 * SECOND, 0)
  })
})

describe('lastPollAt', () => {
  it.each([
    [30 * DAY, 5 * MINUTE],
    [100 * MINUTE, 5 * MINUTE],
    [20 * MINUTE, MINUTE],
  ])('leaves, of a window of %d ms, a margin of %d ms', (windowMs, margin) => {
    const policy = { ...byDefault, windowMs }
    expect(windowOf(policy, SENT_AT).windowEndsAt - lastPollAt(windowOf(policy, SENT_AT))).toBe(margin)
  })
})

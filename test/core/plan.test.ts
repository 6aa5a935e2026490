import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { PRIOR_CURVE } from '../../src/core/curve.ts'
import { decide, decideSweep, firstDueAt, nextDueAt, type Plan, planOf, type Scheduled } from '../../src/core/plan.ts'
import { lastPollAt, type MessageWindow, minimumInterval, windowOf } from '../../src/core/polling.ts'
import { type Economy, thresholdOf, worthOf } from '../../src/core/worth.ts'

const SECOND = 1_000
const MINUTE = 60 * SECOND
const HOUR = 60 * MINUTE
const DAY = 24 * HOUR
const SENT_AT = Date.UTC(2026, 0, 31, 10)
const LEASE_MS = MINUTE

const byPrior: Economy = {
  curve: PRIOR_CURVE,
  loss: 1,
  lagMs: 10 * SECOND,
  priceMs: 5 * MINUTE,
  recordPriceMs: 0,
  places: 100,
}
const learned = (economy: Partial<Economy> = {}, windowMs = 30 * DAY): Plan => {
  const whole = { ...byPrior, ...economy }
  return planOf({ policy: 'learned', priceMs: whole.priceMs, windowMs }, whole)
}

const anyPlan: fc.Arbitrary<Plan> = fc
  .record({
    loss: fc.double({ min: 0.005, max: 1, noNaN: true }),
    lagMs: fc.integer({ min: 1, max: 10 * MINUTE }),
    priceMs: fc.integer({ min: SECOND, max: DAY }),
    places: fc.constantFrom(1, 10, 100, 1000),
    windowMs: fc.integer({ min: 10 * MINUTE, max: 60 * DAY }),
  })
  .map(({ windowMs, ...economy }) => learned(economy, windowMs))

interface Life {
  plan: Plan
  trackedAt: number
  delays: () => number
  /** As it was tracked; that of the plan unless the settings have changed since. */
  window?: MessageWindow
}

/** When a message that never becomes final is asked about, and answered, where each request goes out when it is due. */
function live({ plan, trackedAt, delays, window = windowOf(plan.policy, SENT_AT) }: Life) {
  const polls: { due: number; asked: number }[] = []
  let due = firstDueAt(plan, window, trackedAt, 0.5)
  while (due < window.windowEndsAt) {
    const asked = due + delays()
    polls.push({ due, asked })
    if (polls.length > 100_000) throw new Error('Asking goes on for ever.')
    due = nextDueAt(plan, { ...window, askedAt: asked, polls: polls.length }, asked, 0.5)
  }
  return { polls, closedAt: due }
}

describe('the life of a message by the learned policy', () => {
  const anyLife = fc.record({
    plan: anyPlan,
    window: fc.integer({ min: 10 * MINUTE, max: 60 * DAY }).map((windowMs) => windowOf({ windowMs }, SENT_AT)),
    late: fc.oneof(fc.constant(0), fc.integer({ min: 0, max: 9 * MINUTE })),
    delayShare: fc.double({ min: 0, max: 1, noNaN: true }),
  })
  const livesOf = ({ plan, window, late, delayShare }: typeof anyLife extends fc.Arbitrary<infer T> ? T : never) => {
    const margin = window.windowEndsAt - lastPollAt(window)
    return live({ plan, window, trackedAt: SENT_AT + late, delays: () => delayShare * Math.min(LEASE_MS, margin / 2) })
  }

  it('ends: nothing is asked after the window, and it is closed at its end', () => {
    fc.assert(
      fc.property(anyLife, (one) => {
        const { polls, closedAt } = livesOf(one)
        const end = one.window.windowEndsAt
        for (const { asked } of polls) expect(asked).toBeLessThan(end)
        expect(closedAt).toBe(end)
      }),
    )
  })

  it('has its last question just before the window ends, once', () => {
    fc.assert(
      fc.property(anyLife, (one) => {
        const { polls } = livesOf(one)
        const last = lastPollAt(one.window)
        expect(polls.filter(({ asked }) => asked >= last)).toHaveLength(1)
      }),
    )
  })

  it('is never asked about twice within the minimum interval', () => {
    fc.assert(
      fc.property(anyLife, (one) => {
        const { polls } = livesOf(one)
        const least = minimumInterval(one.plan.policy)
        for (const [index, { due }] of polls.entries()) {
          const before = polls[index - 1]
          if (before) expect(due - before.asked).toBeGreaterThanOrEqual(Math.min(least, 10 * SECOND) - 0.01)
        }
      }),
    )
  })

  it('is never left alone for longer than it is old, and an hour', () => {
    fc.assert(
      fc.property(anyLife, (one) => {
        const { polls } = livesOf(one)
        for (const [index, { due }] of polls.entries()) {
          const asked = polls[index - 1]?.asked ?? SENT_AT
          expect(due - asked).toBeLessThanOrEqual(
            Math.max(asked - SENT_AT, HOUR) + one.late + minimumInterval(one.plan.policy),
          )
        }
      }),
    )
  })

  it('costs a message that never reports some fifteen questions by default, where it is alone', () => {
    const { polls } = live({ plan: learned({ places: 1 }), trackedAt: SENT_AT, delays: () => 0 })
    expect(polls.length).toBeLessThan(40)
    expect(polls.length).toBeGreaterThan(9)
  })
})

const NOW = SENT_AT + 10 * DAY

function message(ageMs: number, more: Partial<Scheduled> = {}): Scheduled {
  return { ...windowOf({ windowMs: 30 * DAY }, NOW - ageMs), askedAt: undefined, polls: 0, wanted: false, ...more }
}

describe('decide', () => {
  const plan = learned()

  it('waits until the due messages are worth a request, and then fills it', () => {
    const few = [message(12 * SECOND), message(12 * SECOND)]
    expect(decide(plan, { due: few, next: [] }, NOW, 5)).toEqual({ ask: [], later: [] })
    const many = Array.from({ length: 60 }, () => message(15 * SECOND))
    const next = Array.from({ length: 40 }, () => message(4 * SECOND))
    expect(decide(plan, { due: many, next }, NOW, 5).ask).toHaveLength(100)
  })

  it.each([
    ['somebody wants to know of now', { ...message(12 * SECOND), wanted: true }],
    ['is asked about for the last time', message(30 * DAY - MINUTE, { askedAt: NOW - 2 * HOUR })],
    ['has not been asked about for as long as it is old', message(9 * HOUR, { askedAt: NOW - 4.5 * HOUR - 1 })],
    ['was never asked about for an hour', message(HOUR)],
  ])('asks at any price about a message that %s', (_name, urgent) => {
    const dear = learned({ priceMs: 29 * DAY })
    expect(decide(dear, { due: [urgent], next: [] }, NOW, 1).ask).toEqual([urgent])
    expect(decide(dear, { due: [message(50 * MINUTE)], next: [] }, NOW, 1).ask).toEqual([])
  })

  it('puts off what has become due too early by what is known now', () => {
    const well = learned({ loss: 0.005 })
    const early = message(20 * SECOND)
    const { ask, later } = decide(well, { due: [early], next: [] }, NOW, 1)
    expect(ask).toEqual([])
    expect(later).toEqual([{ message: early, dueAt: nextDueAt(well, early, NOW, 0) }])
    expect(later[0]?.dueAt).toBeGreaterThan(NOW)
  })

  it('asks by the exponential policy about whatever is due, and fills the last request', () => {
    const policy = {
      policy: 'exponential',
      firstAfterMs: MINUTE,
      factor: 2,
      maxIntervalMs: HOUR,
      windowMs: DAY,
    } as const
    const exponential = planOf(policy, { ...byPrior, priceMs: 0, places: 2 })
    const [a, b, c, d, e] = [1, 2, 3, 4, 5].map((minutes) => message(minutes * MINUTE))
    const [due, next] = [[a, b, c].filter((one) => one !== undefined), [d, e].filter((one) => one !== undefined)]
    expect(decide(exponential, { due, next }, NOW, 9)).toEqual({ ask: [a, b, c, d], later: [] })
    expect(decide(exponential, { due, next }, NOW, 1)).toEqual({ ask: [a, b], later: [] })
  })

  it('asks about each at most once, in requests that are no larger and no more than allowed', () => {
    const anyMessage = fc
      .record({ age: fc.integer({ min: 1, max: 29 * DAY }), asked: fc.double({ min: 0, max: 1, noNaN: true }) })
      .map(({ age, asked }) => message(age, asked < 0.3 ? {} : { askedAt: NOW - age * (1 - asked), polls: 1 }))
    const messages = fc.array(anyMessage, { maxLength: 50 })
    fc.assert(
      fc.property(anyPlan, messages, messages, fc.integer({ min: 1, max: 5 }), (plan, due, next, requests) => {
        const { ask, later } = decide(plan, { due, next }, NOW, requests)
        expect(new Set(ask).size).toBe(ask.length)
        expect(ask.length).toBeLessThanOrEqual(requests * plan.economy.places)
        for (const one of ask) expect([...due, ...next]).toContain(one)
        for (const { message: one, dueAt } of later) {
          expect(ask).not.toContain(one)
          expect(dueAt).toBeGreaterThan(NOW)
        }
        if (!ask.some((one) => due.includes(one))) expect(ask).toEqual([])
      }),
    )
  })
})

describe('decideSweep', () => {
  const plan = learned({ places: 1000 })
  const sumOf = (all: Scheduled[]) => all.reduce((sum, one) => sum + worthOf(plan.economy, NOW - one.sentAt, 0), 0)

  it('finds the window that is worth most', () => {
    const old = [40, 41, 42].map((minutes) => message(minutes * MINUTE))
    const fresh = Array.from({ length: 50 }, (_, index) => message((10 + index) * SECOND))
    expect(decideSweep(plan, [...old, ...fresh], NOW, 10 * MINUTE)).toMatchObject({
      from: NOW - 42 * MINUTE,
      to: NOW - 40 * MINUTE,
      worth: expect.closeTo(sumOf(old)),
      urgent: false,
    })
    expect(decideSweep(plan, [...old, ...fresh], NOW, HOUR)).toMatchObject({
      worth: expect.closeTo(sumOf([...fresh, ...old])),
    })
    expect(decideSweep(plan, [], NOW, HOUR)).toBeUndefined()
  })

  it('is around the first that is urgent', () => {
    const wanted = { ...message(DAY), wanted: true }
    const sweep = decideSweep(plan, [message(10 * MINUTE), wanted], NOW, HOUR)
    expect(sweep).toMatchObject({ from: NOW - DAY - HOUR / 2, to: NOW - DAY + HOUR / 2, urgent: true })
  })

  it('is no longer than a window may be, and worth as much as any of its messages', () => {
    const ages = fc.array(fc.integer({ min: MINUTE, max: 59 * MINUTE }), { minLength: 1, maxLength: 40 })
    fc.assert(
      fc.property(ages, fc.integer({ min: SECOND, max: HOUR }), (all, spanMs) => {
        const due = all.map((age) => message(age))
        const sweep = decideSweep(plan, due, NOW, spanMs)
        expect((sweep?.to ?? 0) - (sweep?.from ?? 0)).toBeLessThanOrEqual(spanMs)
        for (const one of due) expect(sweep?.worth).toBeGreaterThanOrEqual(sumOf([one]) * (1 - 1e-9))
      }),
    )
  })
})

it('has a full request of due messages always worth its price', () => {
  const { economy } = learned()
  expect(thresholdOf(economy) * economy.places).toBeCloseTo(economy.priceMs)
})

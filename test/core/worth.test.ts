import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { BUCKETS, EDGES, LAST_EDGE_MS } from '../../src/core/ages.ts'
import { atAge, type Curve, curveOf, PRIOR_CURVE, shareBy } from '../../src/core/curve.ts'
import { chooseToAsk, dueAge, type Economy, thresholdOf, worthOf } from '../../src/core/worth.ts'

const SECOND = 1_000
const MINUTE = 60 * SECOND
const HOUR = 60 * MINUTE
const DAY = 24 * HOUR

/** Any curve that may be learned: it never falls, and never reaches more than 1. */
const anyCurve: fc.Arbitrary<Curve> = fc
  .array(fc.double({ min: 0, max: 3, noNaN: true }), { minLength: BUCKETS, maxLength: BUCKETS })
  .map((hazards) => {
    const shares = [0]
    let survivors = 1
    for (const hazard of hazards) {
      survivors *= Math.exp(-hazard / 20)
      shares.push(1 - survivors)
    }
    return curveOf(shares)
  })

const anyEconomy: fc.Arbitrary<Economy> = fc.record({
  curve: fc.oneof(anyCurve, fc.constant(PRIOR_CURVE)),
  loss: fc.double({ min: 0.005, max: 1, noNaN: true }),
  lagMs: fc.integer({ min: 1, max: 10 * MINUTE }),
  priceMs: fc.integer({ min: SECOND, max: DAY }),
  recordPriceMs: fc.constantFrom(0, 0, 10 * SECOND),
  places: fc.constantFrom(1, 10, 100, 1000),
})
const anyAge = fc.oneof(fc.integer({ min: 0, max: 5 * MINUTE }), fc.integer({ min: 0, max: 30 * DAY }))

const byPrior: Economy = {
  curve: PRIOR_CURVE,
  loss: 1,
  lagMs: 10 * SECOND,
  priceMs: 5 * MINUTE,
  recordPriceMs: 0,
  places: 100,
}

describe('the curve of finals', () => {
  it.each([
    [5 * SECOND, 0.37],
    [10 * SECOND, 0.6],
    [MINUTE, 0.87],
    [5 * MINUTE, 0.88],
    [HOUR, 0.93],
    [72 * HOUR, 0.984],
  ])('begins with the law of POLLING: by %d ms a share of %d', (age, share) => {
    expect(shareBy(PRIOR_CURVE, age)).toBeCloseTo(share, 1)
  })

  it('is integrated exactly, between its edges and beyond the last', () => {
    fc.assert(
      fc.property(anyCurve, anyAge, (curve, age) => {
        const steps = 200
        const from = Math.max(0, age - MINUTE)
        let sum = 0
        for (let step = 0; step < steps; step++) sum += shareBy(curve, from + ((step + 0.5) * (age - from)) / steps)
        const integral = atAge(curve, age).wait - atAge(curve, from).wait
        expect(integral).toBeCloseTo((sum * (age - from)) / steps, -2)
      }),
    )
    expect(atAge(PRIOR_CURVE, LAST_EDGE_MS + HOUR).wait - atAge(PRIOR_CURVE, LAST_EDGE_MS).wait).toBeCloseTo(
      HOUR * shareBy(PRIOR_CURVE, DAY * 100),
    )
  })
})

describe('the worth of asking', () => {
  it('is the expected time for which the final status has been there unseen', () => {
    // Half of all messages are final within the first half second, the others never.
    const curve = curveOf(EDGES.map((age) => (age === 0 ? 0 : 0.5)))
    const economy = { ...byPrior, curve }
    expect(worthOf(economy, 10 * SECOND, 0)).toBeCloseTo(0.5 * 9.75 * SECOND, 0)
    expect(worthOf(economy, HOUR, 10 * SECOND)).toBe(0)
    // Where all receipts but a tenth come, a message without one has its final status with this probability.
    const chance = (0.5 * 0.1) / (0.5 * 0.1 + 0.5)
    expect(worthOf({ ...economy, loss: 0.1, lagMs: SECOND }, 10 * SECOND, 0)).toBeCloseTo(chance * 9.75 * SECOND, 0)
  })

  it('never decreases with the time since the last question', () => {
    fc.assert(
      fc.property(anyEconomy, anyAge, anyAge, anyAge, (economy, ...ages) => {
        const [asked = 0, earlier = 0, later = 0] = ages.sort((a, b) => a - b)
        const most = worthOf(economy, later, asked)
        expect(worthOf(economy, earlier, asked)).toBeLessThanOrEqual(most * (1 + 1e-6) + 0.1)
        expect(worthOf(economy, later, earlier)).toBeLessThanOrEqual(most * (1 + 1e-6) + 0.1)
        expect(most).toBeGreaterThanOrEqual(0)
        expect(most).toBeLessThanOrEqual(later - asked + 0.1)
      }),
    )
  })

  it('is less where more receipts come', () => {
    for (const age of [30 * SECOND, MINUTE, HOUR, DAY]) {
      const worth = [1, 0.3, 0.03, 0.005].map((loss) => worthOf({ ...byPrior, loss }, age, 0))
      expect(worth).toEqual(worth.toSorted((a, b) => b - a))
    }
  })
})

describe('when a message is due', () => {
  it('is when its worth reaches its part of the price, and not before', () => {
    fc.assert(
      fc.property(anyEconomy, anyAge, (economy, asked) => {
        const age = dueAge(economy, asked)
        const threshold = thresholdOf(economy)
        if (age === Number.POSITIVE_INFINITY) {
          expect(worthOf(economy, EDGES[BUCKETS] ?? 0, asked)).toBeLessThan(threshold)
          return
        }
        expect(age).toBeGreaterThan(asked)
        expect(worthOf(economy, age, asked)).toBeGreaterThanOrEqual(threshold * (1 - 1e-6))
        const before = age - Math.max(20, age * 0.004)
        if (before > asked) expect(worthOf(economy, before, asked)).toBeLessThan(threshold * (1 + 1e-6))
      }),
    )
  })

  it('is rarer the older the message, and just after the end of the validity', () => {
    const ages: number[] = []
    for (let age = dueAge(byPrior, 0); age < 30 * DAY; age = dueAge(byPrior, age)) ages.push(age)
    const intervals = ages.slice(1).map((age, index) => age - (ages[index] ?? 0))
    const within = (from: number, to: number) =>
      intervals.filter((_, index) => (ages[index] ?? 0) >= from && (ages[index] ?? 0) < to)
    const meanOf = (values: number[]) => values.reduce((sum, value) => sum + value, 0) / values.length
    expect(meanOf(within(MINUTE, HOUR))).toBeGreaterThan(meanOf(within(0, MINUTE)))
    expect(meanOf(within(24 * HOUR, 44 * HOUR))).toBeGreaterThan(meanOf(within(MINUTE, HOUR)))
    expect(meanOf(within(47 * HOUR, 50 * HOUR))).toBeLessThan(meanOf(within(24 * HOUR, 44 * HOUR)))
    expect(meanOf(within(60 * HOUR, 30 * DAY))).toBeGreaterThan(10 * meanOf(within(47 * HOUR, 50 * HOUR)))
  })
})

describe('what a request is made of', () => {
  const message = (worth: number, urgent = false) => ({ worth, urgent })
  const costs = { priceMs: 100, recordPriceMs: 0, places: 3 }

  it.each([
    ['waits for more', [message(40), message(50)], [], []],
    ['pays together', [message(40), message(60)], [], [60, 40]],
    ['pays with what is due next', [message(40), message(50)], [message(20)], [50, 40, 20]],
    ['has no more than its places', [message(90), message(50), message(20), message(10)], [], [90, 50, 20]],
    ['takes the most worth first', [message(10), message(20), message(70), message(80)], [], [80, 70, 20]],
    ['is sent for an urgent one, filled', [message(1, true), message(2)], [message(3)], [1, 2, 3]],
    ['does not begin with those due next', [], [message(300)], []],
  ])('%s', (_name, due, next, worths) => {
    expect(chooseToAsk(due, next, costs, 5).map(({ worth }) => worth)).toEqual(worths)
  })

  it('is sent as often as may be, the most worth first', () => {
    const due = [10, 99, 60, 50, 80, 70, 90].map((worth) => message(worth))
    expect(chooseToAsk(due, [], costs, 1).map(({ worth }) => worth)).toEqual([99, 90, 80])
    expect(chooseToAsk(due, [], costs, 9)).toHaveLength(6)
  })

  it('where each record is paid for, has only messages that are worth their own price', () => {
    const paid = { priceMs: 0, recordPriceMs: 50, places: 3 }
    expect(chooseToAsk([message(60)], [message(40), message(55)], paid, 5).map(({ worth }) => worth)).toEqual([60, 55])
  })
})

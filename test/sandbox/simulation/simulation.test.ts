import { describe, expect, it } from 'vitest'
import { drawChart } from '../../../src/sandbox/simulation/chart.ts'
import { compare } from '../../../src/sandbox/simulation/comparison.ts'
import {
  BACKOFF,
  DAY,
  FILLED,
  figuresOf,
  HOUR,
  LAWS,
  learned,
  NONE,
  run,
} from '../../../src/sandbox/simulation/scenarios.ts'
import { simulate } from '../../../src/sandbox/simulation/simulation.ts'

const law = LAWS['the prior'] ?? { parts: [] }
const steady = { law, perSecond: 0.05, forMs: DAY, countFromMs: 6 * HOUR }

describe('a simulation', () => {
  it('asks about each message until it knows, and no longer', () => {
    const traffic = { sentAt: [0, 1_000, 2_000], takes: [5_000, 90_000, Number.POSITIVE_INFINITY] }
    const options = { traffic, webhooks: NONE, places: 100, untilMs: 35 * DAY, countFromMs: 0, countToMs: DAY, seed: 1 }
    for (const planner of [BACKOFF, FILLED, learned(300)]) {
      const outcome = simulate({ ...options, planner, untilMs: DAY })
      expect(outcome).toMatchObject({ messages: 3, routeEvents: [] })
      expect(outcome.delays).toHaveLength(2)
      for (const delay of outcome.delays) expect(delay).toBeGreaterThanOrEqual(0)
    }
    // By exponential backoff with a cap of six hours, one that never reports takes this many in thirty days.
    const { polls, requests } = simulate({ ...options, planner: BACKOFF })
    expect(polls).toBeGreaterThan(115)
    expect(requests).toBeGreaterThan(115)
    expect(simulate({ ...options, planner: learned(300), untilMs: 4 * DAY }).polls).toBeLessThan(30)
  })

  it('is the same every time', () => {
    const once = () => figuresOf(run({ ...steady, forMs: DAY / 4, countFromMs: 0 }, learned(300)))
    expect(once()).toEqual(once())
  })

  it('shows that filled requests cost less than a half, and that the price is obeyed', () => {
    const requests = [BACKOFF, FILLED, learned(300), learned(3000)].map((planner) => figuresOf(run(steady, planner)))
    const [backoff, filled, cheap, dear] = requests
    if (!backoff || !filled || !cheap || !dear) throw new Error('expected four')
    expect(filled.requests).toBeLessThan(backoff.requests / 2)
    expect(cheap.requests).toBeLessThan(backoff.requests / 5)
    expect(dear.requests).toBeLessThan(cheap.requests / 2)
    expect(dear.mean).toBeGreaterThan(cheap.mean)
    expect(dear.mean).toBeLessThan(backoff.mean)
  })

  it('hardly asks where receipts come, and takes over where they stop', () => {
    const short = { ...steady, forMs: DAY / 2 }
    const healthy = figuresOf(run({ ...short, webhooks: () => 0.97 }, learned(300)))
    expect(healthy.requests).toBeLessThan(figuresOf(run(short, learned(300))).requests / 3)
    const dies = run({ ...short, perSecond: 0.2, webhooks: (at) => (at < DAY / 4 ? 0.97 : 0) }, learned(300))
    expect(dies.routeEvents.map(({ event }) => event)).toEqual(['silent'])
    expect(dies.routeEvents[0]?.at).toBeLessThan(DAY / 4 + 20 * 60_000)
  })
})

it('compares every way of asking, and draws it', { timeout: 60_000 }, () => {
  const { points, findings } = compare(() => {}, 0.004)
  expect(new Set(points.map(({ law }) => law)).size).toBe(6)
  expect(findings.length).toBeGreaterThan(15)
  const svg = drawChart(points, 'A title')
  expect(svg.match(/<g /g)?.length).toBeGreaterThan(2)
  expect(svg).not.toContain('NaN')
})

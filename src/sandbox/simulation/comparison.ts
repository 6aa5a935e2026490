/** The comparison that `lastword simulate` prints: each figure beside its goal, and the points of its chart. */
import {
  BACKOFF,
  costOf,
  DAY,
  FILLED,
  FIXED,
  type Figures,
  figuresOf,
  HOUR,
  knowing,
  LAWS,
  learned,
  NONE,
  run,
  type Scenario,
} from './scenarios.ts'
import type { Planner, Webhooks } from './simulation.ts'

const PRICE_S = 300
const PRICES_S = [300, 1000, 3000]

export interface Point {
  law: string
  perSecond: number
  planner: string
  figures: Figures
}

interface Finding {
  what: string
  value: number
  /** The most it may be. */
  goal: number
}

export interface Comparison {
  points: Point[]
  findings: Finding[]
}

/** For each traffic how long is simulated; the second half counts. */
const TRAFFIC: readonly { perSecond: number; days: number; leastShare: number }[] = [
  { perSecond: 0.005, days: 20, leastShare: 12 },
  { perSecond: 0.05, days: 6, leastShare: 25 },
  { perSecond: 1, days: 0.6, leastShare: 8 },
  { perSecond: 100, days: 0.04, leastShare: 1 },
]

/** Infinite where no price suits. */
const ratio = (ours = Number.POSITIVE_INFINITY, theirs: number) => ours / theirs

type Say = (text: string) => void

/** With `scale` below 1 everything is that much shorter, for tests: the figures then say little. */
export function compare(say: Say, scale = 1): Comparison {
  const points: Point[] = []
  const findings: Finding[] = []
  const finding = (what: string, value: number, goal: number) => findings.push({ what, value, goal })

  for (const { perSecond, days, leastShare } of TRAFFIC) {
    say(`${perSecond} messages/s`)
    const steady = (law: keyof typeof LAWS): Scenario => ({
      law: LAWS[law] ?? { parts: [] },
      perSecond,
      forMs: days * DAY * scale,
      countFromMs: (days * DAY * scale) / 2,
    })
    const add = (law: string, planner: string, by: Planner) => {
      const figures = figuresOf(run(steady(law), by))
      points.push({ law, perSecond, planner, figures })
      return figures
    }
    const backoff = add('the prior', 'exponential', BACKOFF)
    add('the prior', 'exponential, filled', FILLED)
    add('the prior', 'fixed, every 10 min', FIXED)
    const byPrice = PRICES_S.map((price) => add('the prior', `learned, ${price} s`, learned(price)))
    add('the prior', `full knowledge, ${PRICE_S} s`, knowing(LAWS['the prior'] ?? { parts: [] }, PRICE_S, NONE))
    const at = `${perSecond}/s, at the price that suits`
    if (perSecond < 100) {
      const patient = byPrice.filter(({ mean }) => mean <= backoff.mean).sort((a, b) => a.requests - b.requests)[0]
      finding(
        `requests with no greater delay than exponential, ${at}`,
        ratio(patient?.requests, backoff.requests),
        1 / leastShare,
      )
    } else {
      const sparing = byPrice.filter(({ requests }) => requests <= backoff.requests).sort((a, b) => a.mean - b.mean)[0]
      finding(`delay with no more requests than exponential, ${at}`, ratio(sparing?.mean, backoff.mean), 0.5)
    }
    if (perSecond < 0.05 || perSecond > 1) continue
    for (const law of Object.keys(LAWS).filter((name) => name !== 'the prior')) {
      add(law, 'exponential', BACKOFF)
      add(law, `learned, ${PRICE_S} s`, learned(PRICE_S))
      add(law, `full knowledge, ${PRICE_S} s`, knowing(LAWS[law] ?? { parts: [] }, PRICE_S, NONE))
    }
  }
  say('learning')
  for (const [name, law] of Object.entries(LAWS)) {
    const costRatio = (scenario: Omit<Scenario, 'law' | 'perSecond'>) => {
      const both = [learned(PRICE_S), knowing(law, PRICE_S, NONE)]
      const [ours = 0, best = 1] = both.map((planner) =>
        costOf(run({ law, perSecond: 0.05, ...scenario }, planner), PRICE_S),
      )
      return ours / best
    }
    const after = 5_000 / 0.05
    const spans = { forMs: (after * 1000 + 3 * DAY) * scale, countFromMs: after * 1000 * scale }
    finding(`cost against full knowledge, after 5,000 finals, ${name}`, costRatio(spans), 1.15)
    const firstMs = (1_000 / 0.05) * 1000
    const first = { forMs: (firstMs + 3 * DAY) * scale, countFromMs: 0, countToMs: firstMs * scale }
    finding(
      `cost against full knowledge, first 1,000 finals, ${name}`,
      costRatio(first),
      name === 'the prior' ? 1.5 : 2.5,
    )
  }
  say('a bulk campaign')
  const bulk = { law: LAWS['the prior'] ?? { parts: [] }, perSecond: 10, countFromMs: 0 }
  const campaign = { ...bulk, sendUntilMs: 10_000_000 * scale, forMs: 4 * DAY * scale, countToMs: 10_000_000 * scale }
  for (const [planner, by] of [
    ['exponential', BACKOFF],
    [`learned, ${PRICE_S} s`, learned(PRICE_S)],
    [`full knowledge, ${PRICE_S} s`, knowing(bulk.law, PRICE_S, NONE)],
  ] as const) {
    points.push({ law: 'a campaign of 100,000', perSecond: 10, planner, figures: figuresOf(run(campaign, by)) })
  }
  say('webhooks')
  compareWebhooks(points, finding, scale)
  return { points, findings }
}

/** Of a hundred receipts, three are lost. */
const HEALTHY: Webhooks = () => 0.97

function compareWebhooks(
  points: Point[],
  finding: (what: string, value: number, goal: number) => void,
  scale: number,
): void {
  const law = LAWS['the prior'] ?? { parts: [] }
  for (const [perSecond, days] of [
    [0.05, 6],
    [1, 0.6],
  ] as const) {
    const scenario = { law, perSecond, forMs: days * DAY * scale, countFromMs: (days * DAY * scale) / 2 }
    const without = figuresOf(run(scenario, learned(PRICE_S)))
    const healthy = figuresOf(run({ ...scenario, webhooks: HEALTHY }, learned(PRICE_S)))
    points.push({ law: 'the prior, 97 % of webhooks', perSecond, planner: `learned, ${PRICE_S} s`, figures: healthy })
    finding(`requests with a healthy route against none, ${perSecond}/s`, healthy.requests / without.requests, 1 / 5)
  }

  const diesAt = DAY * scale
  const webhooks: Webhooks = (at) => (at >= diesAt && at < 2 * diesAt ? 0 : 0.97)
  const death = { law, perSecond: 1, forMs: 2.5 * DAY * scale, webhooks, countFromMs: 0 }
  const told = run(death, learned(PRICE_S)).routeEvents.find(({ event }) => event === 'silent')
  finding('minutes until a dead route is told, 1/s', ((told?.at ?? Number.POSITIVE_INFINITY) - diesAt) / 60_000, 5)
  const since = { countFromMs: told?.at ?? diesAt, countToMs: 2 * diesAt - 6 * HOUR * scale }
  const dead = figuresOf(run({ ...death, ...since }, learned(PRICE_S)))
  const never = figuresOf(run({ ...death, ...since, webhooks: NONE }, learned(PRICE_S)))
  finding('mean delay from then on against a route that never was', dead.mean / never.mean, 1.3)
  const month = run(
    { law, perSecond: 0.05, forMs: 30 * DAY * scale, countFromMs: 0, webhooks: HEALTHY },
    learned(PRICE_S),
  )
  finding('false alarms in a month at 0.05/s, 3 % lost', month.routeEvents.length, 0)
}

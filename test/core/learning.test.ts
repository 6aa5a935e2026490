import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { curveOfLaw, PRIOR_CURVE, PRIOR_LAW, shareBy } from '../../src/core/curve.ts'
import {
  countReceipt,
  countSighting,
  learnedCurve,
  learnedLag,
  learnedLoss,
  mergeEvidence,
  noEvidence,
} from '../../src/core/evidence.ts'
import {
  economyOf,
  graceOf,
  type Learned,
  learn,
  noNews,
  nothingLearned,
  type Observation,
  observe,
  observeUnmatched,
} from '../../src/core/learning.ts'
import { createRandom, drawLognormal } from '../../src/sandbox/random.ts'

const SECOND = 1_000
const MINUTE = 60 * SECOND
const HOUR = 60 * MINUTE
const DAY = 24 * HOUR
const NOW = Date.UTC(2026, 0, 31, 10)
const AGES = [2 * SECOND, 10 * SECOND, MINUTE, 10 * MINUTE, HOUR, 6 * HOUR, DAY, 50 * HOUR]

describe('the learned curve', () => {
  it('is the prior as long as nothing is known', () => {
    const curve = learnedCurve(noEvidence(NOW))
    for (const age of AGES) expect(shareBy(curve, age)).toBeCloseTo(shareBy(PRIOR_CURVE, age), 6)
  })

  it('comes near the truth, whatever it is, and however the messages are looked at', () => {
    const random = createRandom(1)
    const law = [
      { share: 0.5, medianMs: 2 * MINUTE, sigma: 0.7 },
      { share: 0.3, medianMs: 5 * HOUR, sigma: 0.5 },
    ]
    const truth = curveOfLaw(law)
    const evidence = noEvidence(NOW)
    for (let message = 0; message < 5_000; message++) {
      const draw = random()
      const end =
        draw < 0.5
          ? drawLognormal(random, 2 * MINUTE, 0.7)
          : draw < 0.8
            ? drawLognormal(random, 5 * HOUR, 0.5)
            : Infinity
      // Some are looked at once, some often; some are given up after a day.
      let asked = 0
      for (let age = MINUTE * (1 + random()); asked < DAY; age *= 1.3 + 3 * random()) {
        const isFinal = end <= age
        countSighting(evidence, { fromAge: asked, toAge: isFinal ? end : age, isFinal })
        asked = age
        if (isFinal) break
      }
    }
    const curve = learnedCurve(evidence)
    for (const age of AGES.filter((one) => one <= DAY)) {
      expect(Math.abs(shareBy(curve, age) - shareBy(truth, age))).toBeLessThan(0.04)
    }
  })

  it('is a curve, whatever has been counted', () => {
    const anySighting = fc.record({
      fromAge: fc.integer({ min: -DAY, max: 40 * DAY }),
      toAge: fc.integer({ min: -DAY, max: 40 * DAY }),
      isFinal: fc.boolean(),
    })
    fc.assert(
      fc.property(fc.array(anySighting, { maxLength: 200 }), (sightings) => {
        const evidence = noEvidence(NOW)
        for (const sighting of sightings) countSighting(evidence, sighting)
        const { shares } = learnedCurve(evidence)
        for (const [index, share] of shares.entries()) {
          expect(share).toBeGreaterThanOrEqual(shares[index - 1] ?? 0)
          expect(share).toBeLessThanOrEqual(1)
        }
      }),
    )
  })
})

describe('evidence', () => {
  it('fades by half in a week', () => {
    const evidence = noEvidence(NOW)
    for (let n = 0; n < 8; n++) countSighting(evidence, { fromAge: 0, toAge: MINUTE, isFinal: true })
    evidence.received = 4
    const later = mergeEvidence(evidence, noEvidence(NOW + 7 * DAY), NOW + 7 * DAY)
    expect(later.finals.reduce((sum, count) => sum + count, 0)).toBeCloseTo(4)
    expect(later.received).toBeCloseTo(2)
    expect(later.seen).toBe(8)
    // Fewer counts of the same kind are nearer to the prior.
    const distance = (curve: ReturnType<typeof learnedCurve>) =>
      shareBy(PRIOR_CURVE, MINUTE) - shareBy(curve, 30 * SECOND)
    expect(distance(learnedCurve(later))).toBeLessThan(distance(learnedCurve(evidence)))
  })

  it('is the same merged in any order', () => {
    const make = (age: number) => {
      const evidence = noEvidence(NOW)
      countSighting(evidence, { fromAge: 0, toAge: age, isFinal: true })
      countReceipt(evidence, age)
      return evidence
    }
    const parts = [SECOND, MINUTE, HOUR].map(make)
    const sum = (order: typeof parts) => order.reduce((all, one) => mergeEvidence(all, one, NOW), noEvidence(NOW))
    expect(sum(parts)).toEqual(sum(parts.toReversed()))
  })

  it('tells the lag of receipts once there are some', () => {
    const evidence = noEvidence(NOW)
    expect(learnedLag(evidence)).toBe(10 * SECOND)
    for (let n = 0; n < 95; n++) countReceipt(evidence, 2 * SECOND)
    for (let n = 0; n < 5; n++) countReceipt(evidence, HOUR)
    expect(learnedLag(evidence)).toBeGreaterThanOrEqual(2 * SECOND)
    expect(learnedLag(evidence)).toBeLessThan(3 * SECOND)
  })

  it('takes all receipts for lost until one comes, and never none', () => {
    expect(learnedLoss(noEvidence(NOW))).toBe(1)
    expect(learnedLoss({ ...noEvidence(NOW), received: 97, lost: 3 })).toBeCloseTo(0.04, 2)
    expect(learnedLoss({ ...noEvidence(NOW), received: 100_000 })).toBe(0.005)
  })
})

describe('what an observation tells', () => {
  const sentAt = NOW - HOUR
  const seen: Observation = { now: NOW, sentAt, askedAt: undefined, source: 'poll', finalAt: undefined }
  const finalAt = NOW - 10 * MINUTE
  const GRACE = 15 * SECOND

  function newsOf(...observations: Partial<Observation>[]) {
    const news = noNews(NOW)
    for (const one of observations) observe(news, { ...seen, ...one }, GRACE)
    const { evidence, route } = news
    const finals = evidence.finals.reduce((sum, count) => sum + count, 0)
    return { finals, received: evidence.received, lost: evidence.lost, ...route }
  }
  const nothing = { finals: 0, received: 0, lost: 0, receipts: 0, lastReceiptAt: 0, losses: [], early: [] }
  const receipt = { receipts: 1, lastReceiptAt: NOW }

  it.each<[string, Partial<Observation>, object]>([
    ['a poll finds no final status', {}, nothing],
    ['a poll finds one whose receipt is missing', { finalAt }, { ...nothing, finals: 1, lost: 1, losses: [finalAt] }],
    [
      'a poll finds one whose receipt may still come',
      { finalAt: NOW - SECOND },
      { ...nothing, finals: 1, early: [NOW - SECOND] },
    ],
    [
      'a poll finds one that had ended for long when it was tracked',
      { finalAt, sentAt: finalAt - MINUTE, trackedAt: finalAt + 2 * HOUR, now: finalAt + 3 * HOUR },
      { ...nothing, finals: 1 },
    ],
    [
      'a poll finds one that had just ended when it was tracked',
      { finalAt, trackedAt: finalAt + MINUTE },
      { ...nothing, finals: 1, lost: 1, losses: [finalAt] },
    ],
    ['a receipt tells of one', { source: 'webhook', finalAt }, { ...nothing, ...receipt, finals: 1, received: 1 }],
    ['a receipt tells of none', { source: 'webhook' }, { ...nothing, ...receipt }],
    ['the window closes', { source: 'window', finalAt: NOW }, nothing],
    [
      'a receipt comes after a poll that had missed it',
      { source: 'webhook', finalAt, known: { settledBy: 'poll', changedAt: NOW - MINUTE } },
      { ...nothing, ...receipt, received: 1, lost: -1 },
    ],
    [
      'a receipt comes after a poll that was quicker',
      { source: 'webhook', finalAt, known: { settledBy: 'poll', changedAt: finalAt + SECOND } },
      { ...nothing, ...receipt, received: 1 },
    ],
    [
      'a receipt comes twice',
      { source: 'webhook', finalAt, known: { settledBy: 'webhook', changedAt: NOW - MINUTE } },
      { ...nothing, ...receipt },
    ],
    ['a poll finds what is known', { finalAt, known: { settledBy: 'webhook', changedAt: finalAt } }, nothing],
  ])('%s', (_name, observation, told) => {
    expect(newsOf(observation)).toEqual(told)
  })

  it('of a message that is not tracked, that receipts come', () => {
    const news = noNews(NOW)
    observeUnmatched(news, NOW, true)
    observeUnmatched(news, NOW - SECOND, false)
    expect(news).toMatchObject({ evidence: { received: 1, seen: 0 }, route: { receipts: 2, lastReceiptAt: NOW } })
  })
})

const sharesUpTo = (part: number) => PRIOR_LAW.slice(0, part + 1).reduce((sum, { share }) => sum + share, 0)

describe('learning', () => {
  const policy = { policy: 'learned', priceMs: 5 * MINUTE, windowMs: 30 * DAY } as const
  const costs = { priceMs: 5 * MINUTE, recordPriceMs: 0, places: 100 }
  const seen: Observation = {
    now: NOW,
    sentAt: NOW - MINUTE,
    askedAt: undefined,
    source: 'webhook',
    finalAt: NOW - 2000,
  }

  function told(learned: Learned, observations: readonly Partial<Observation>[], now = NOW) {
    const news = noNews(now)
    for (const one of observations) observe(news, { ...seen, ...one }, graceOf(learned, policy))
    return learn(learned, news, { graceMs: graceOf(learned, policy), now })
  }

  it('asks as if no receipts came until one does, and less and less as they come', () => {
    const begun = nothingLearned(NOW)
    expect(economyOf(begun, costs)).toMatchObject({ ...costs, loss: 1 })
    const one = told(begun, [{}]).learned
    const many = told(one, Array(200).fill({})).learned
    expect(economyOf(one, costs).loss).toBeLessThan(0.5)
    expect(economyOf(many, costs).loss).toBeLessThan(0.01)
    expect(many.route.state).toBe('ok')
  })

  it('takes a route for silent that brings nothing any more, at once and without forgetting how it was', () => {
    const well = told(nothingLearned(NOW), Array(200).fill({})).learned
    const later = NOW + HOUR
    const missed = { source: 'poll' as const, now: later, sentAt: later - 10 * MINUTE, finalAt: later - 9 * MINUTE }
    const dead = told(well, Array(20).fill(missed), later)
    expect(dead.event).toBe('silent')
    expect(dead.learned.route).toMatchObject({ state: 'silent', since: NOW, lost: 20 })
    expect(economyOf(dead.learned, costs).loss).toBe(1)
    const back = told(dead.learned, Array(5).fill({ now: later + HOUR }), later + HOUR)
    expect(back.event).toBe('returned')
    expect(economyOf(back.learned, costs).loss).toBeLessThan(0.02)
  })

  it('knows the loss as before when the receipts of an outage come after it', () => {
    const usual = [...Array(180).fill({}), ...Array(20).fill({ source: 'poll' as const, finalAt: NOW - 30_000 })]
    const before = told(nothingLearned(NOW), usual).learned
    const later = NOW + HOUR
    const ended = { sentAt: later - 10 * MINUTE, finalAt: later - 9 * MINUTE }
    const out = told(before, Array(500).fill({ ...ended, source: 'poll', now: later }), later).learned
    expect(out.route.state).toBe('silent')
    const known = { settledBy: 'poll' as const, changedAt: later }
    const back = told(out, Array(500).fill({ ...ended, known, now: later + HOUR }), later + HOUR).learned
    expect(back).toMatchObject({ route: { state: 'ok' }, passedOver: 0 })
    expect(back.evidence.lost).toBeCloseTo(before.evidence.lost, 0)
  })

  it('knows the law of POLLING after five thousand messages as well as before', () => {
    const random = createRandom(3)
    const news = noNews(NOW)
    for (let message = 0; message < 5_000; message++) {
      const draw = random()
      const part = PRIOR_LAW.find((_, index) => draw < sharesUpTo(index))
      const takes = part ? drawLognormal(random, part.medianMs, part.sigma) : Infinity
      const finalAt = takes < 3 * DAY ? NOW + takes : undefined
      observe(news, { ...seen, sentAt: NOW, now: NOW + 3 * DAY, source: 'poll', finalAt }, MINUTE)
    }
    const { curve } = economyOf(learn(nothingLearned(NOW), news, { graceMs: MINUTE, now: NOW }).learned, costs)
    for (const age of AGES) expect(Math.abs(shareBy(curve, age) - shareBy(PRIOR_CURVE, age))).toBeLessThan(0.02)
  })
})

import { describe, expect, it } from 'vitest'
import { DEFAULT_LAW, drawHistory, type Law, type Transition } from '../../src/sandbox/law.ts'
import { createRandom } from '../../src/sandbox/random.ts'

const SENT_AT = new Date('2026-01-31T10:00:00Z')
const SECOND = 1_000
const MINUTE = 60_000
const HOUR = 3_600_000

const FINALS = new Set(['DELIVERED', 'NOTDELIVERED', 'EXPIRED', 'REJECTED', 'FAILED'])

function draw(count: number, law: Partial<Law> = {}, seed = 1): Transition[][] {
  const random = createRandom(seed)
  return Array.from({ length: count }, () => drawHistory(random, SENT_AT, { ...DEFAULT_LAW, ...law }))
}

function finalOf(history: Transition[]): Transition | undefined {
  const last = history.at(-1)
  return last && FINALS.has(last.status) ? last : undefined
}

function ageOf({ at }: Transition): number {
  return at.getTime() - SENT_AT.getTime()
}

const histories = draw(100_000)
const finals = histories.flatMap((history) => finalOf(history) ?? [])

function shareOf(count: number): number {
  return count / histories.length
}

describe('the delivery-time law', () => {
  it.each([
    [5 * SECOND, 0.37],
    [10 * SECOND, 0.6],
    [MINUTE, 0.85],
    [5 * MINUTE, 0.88],
    [HOUR, 0.93],
    [72 * HOUR, 0.985],
  ])('is final within %i ms for a share of %f', (age, share) => {
    expect(shareOf(finals.filter((final) => ageOf(final) <= age).length)).toBeCloseTo(share, 2)
  })

  it.each([
    ['expired', finals.filter(({ status }) => status === 'EXPIRED').length, 0.0205],
    ['never final', histories.length - finals.length, 0.015],
    ['never reported', histories.filter((history) => history.length === 0).length, 0.0075],
    ['failed', finals.filter(({ status }) => /NOT|FAILED|REJECTED/.test(status)).length, 0.04 * 0.9645],
  ])('has the right share of messages that are %s', (_kind, count, share) => {
    expect(Math.abs(shareOf(count) - share)).toBeLessThan(0.002)
  })

  it.each(DEFAULT_LAW.components)('has the median and spread of the component %o', ({ medianMs, sigma }) => {
    const component = { share: 1, medianMs, sigma }
    const ages = draw(20_000, { components: [component], expiredShare: 0, neverShare: 0, validityMs: 1e12 })
      .flatMap((history) => finalOf(history) ?? [])
      .map(ageOf)
      .sort((a, b) => a - b)
    expect((ages[10_000] ?? 0) / medianMs).toBeCloseTo(1, 1)
    expect(Math.log((ages[16_827] ?? 0) / medianMs)).toBeCloseTo(sigma, 1)
  })

  it('keeps every history in order: accepted at once, final last, nothing after the validity period', () => {
    const isInOrder = (history: Transition[]) => {
      const ages = history.map(ageOf)
      const [first, second, ...others] = history.map(({ status }) => status)
      return (
        first === 'ACCEPTED' &&
        second === 'TRANSMITTED' &&
        ages[0] === 0 &&
        ages.every((age, index) => age >= (ages[index - 1] ?? 0) && age <= DEFAULT_LAW.validityMs) &&
        others.slice(0, -1).every((status) => !FINALS.has(status))
      )
    }
    expect(histories.filter((history) => history.length > 0 && !isInOrder(history))).toEqual([])
  })

  it('expires exactly at the validity period', () => {
    const ages = new Set(finals.filter(({ status }) => status === 'EXPIRED').map(ageOf))
    expect([...ages]).toEqual([DEFAULT_LAW.validityMs])
  })

  it('buffers slow messages only', () => {
    const buffered = histories.filter((history) => history.some(({ status }) => status === 'BUFFERED'))
    const endAges = buffered.flatMap((history) => finalOf(history) ?? []).map(ageOf)
    expect(shareOf(buffered.length)).toBeGreaterThan(0.05)
    expect(endAges.filter((age) => age <= 2 * MINUTE)).toEqual([])
  })

  it('gives the same histories for the same seed, and others for another', () => {
    expect(draw(50, {}, 7)).toEqual(draw(50, {}, 7))
    expect(draw(50, {}, 8)).not.toEqual(draw(50, {}, 7))
  })

  it('divides all times by the time scale', () => {
    const scaled = draw(200, { timeScale: 60 }).flat()
    const real = draw(200).flat()
    expect(scaled.map(({ status }) => status)).toEqual(real.map(({ status }) => status))
    expect(scaled.map(ageOf)).toEqual(real.map((transition) => expect.closeTo(ageOf(transition) / 60, -0.5)))
  })

  it('never fails when told so', () => {
    const statuses = new Set(draw(2_000, { failureShare: 0 }).flatMap((history) => finalOf(history)?.status ?? []))
    expect(statuses).toEqual(new Set(['DELIVERED', 'EXPIRED']))
  })
})

describe('seeded randomness', () => {
  it('is even, and independent between streams', () => {
    const numbers = Array.from({ length: 10_000 }, createRandom(1, 1))
    const others = Array.from({ length: 10_000 }, createRandom(1, 2))
    const mean = (values: number[]) => values.reduce((sum, value) => sum + value, 0) / values.length
    expect(mean(numbers)).toBeCloseTo(0.5, 1)
    expect(mean(numbers.map((value, index) => (value - 0.5) * ((others[index] ?? 0) - 0.5)))).toBeCloseTo(0, 2)
    const firsts = Array.from({ length: 10_000 }, (_, stream) => createRandom(1, stream)())
    expect(mean(firsts)).toBeCloseTo(0.5, 1)
    expect(mean(firsts.map((value, index) => (value - 0.5) * ((firsts[index + 1] ?? 0.5) - 0.5)))).toBeCloseTo(0, 2)
    expect(Math.min(...numbers)).toBeGreaterThanOrEqual(0)
    expect(Math.max(...numbers)).toBeLessThan(1)
  })
})

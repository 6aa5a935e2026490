import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { doubled, jittered } from '../../src/core/backoff.ts'
import type { PollingPolicy } from '../../src/core/polling.ts'
import {
  type FailedRequest,
  type FailureStep,
  kindOfStatus,
  MEANINGS,
  MOST_ATTEMPTS,
  PROVIDER_ERROR_KINDS,
  retryDelay,
  stepAfter,
} from '../../src/core/provider-failure.ts'

const MINUTE = 60_000
const DAY = 24 * 60 * MINUTE
const LEARNED: PollingPolicy = { policy: 'learned', priceMs: 5 * MINUTE, windowMs: 30 * DAY }
const SECONDS: PollingPolicy = {
  policy: 'exponential',
  firstAfterMs: 2_000,
  factor: 2,
  maxIntervalMs: MINUTE,
  windowMs: DAY,
}
const WELL = { attempt: 1, ids: 10, isTrial: false, mustWait: false, inTrouble: false, isToBlame: false }
const GIVEN_BACK: FailureStep = { step: 'give back', delayMs: 0, isFailed: false }
const RETRY: FailureStep = { step: 'retry' }
const HALVES: FailureStep = { step: 'cut in halves' }
const APART: FailureStep = { step: 'set apart', delayMs: DAY }
const GIVEN_UP: FailureStep = { step: 'give up', delayMs: MINUTE }

describe('the kind of a failure', () => {
  it.each([
    [301, undefined, 'transient'],
    [400, undefined, 'request'],
    [400, 1_000, 'request'],
    [401, undefined, 'account'],
    [401, 1_000, 'account'],
    [403, undefined, 'throttled'],
    [404, undefined, 'gone'],
    [408, undefined, 'transient'],
    [410, 1_000, 'gone'],
    [429, undefined, 'throttled'],
    [429, 0, 'throttled'],
    [500, 1_000, 'transient'],
    [503, undefined, 'transient'],
    [503, 0, 'throttled'],
  ] as const)('of HTTP %d, asked to wait %s ms, is %s', (status, retryAfterMs, kind) => {
    expect(kindOfStatus(status, retryAfterMs)).toBe(kind)
  })
})

describe('the next step', () => {
  it.each<[string, Partial<FailedRequest> & Pick<FailedRequest, 'kind'>, FailureStep]>([
    ['throttled', { kind: 'throttled' }, GIVEN_BACK],
    ['throttled, at the last attempt', { kind: 'throttled', attempt: 5 }, GIVEN_BACK],
    ['credentials refused', { kind: 'account', mustWait: true, inTrouble: true }, { ...GIVEN_BACK, isFailed: true }],
    ['credentials refused, of a look-up given up meanwhile', { kind: 'account' }, GIVEN_BACK],
    ['gone', { kind: 'gone', mustWait: true }, GIVEN_BACK],
    ['gone, the next look-up being in use', { kind: 'gone' }, GIVEN_BACK],
    ['transient', { kind: 'transient' }, RETRY],
    ['transient, at the attempt before the last', { kind: 'transient', attempt: 4 }, RETRY],
    ['transient, at the last attempt', { kind: 'transient', attempt: 5 }, GIVEN_UP],
    [
      'transient, in trouble',
      { kind: 'transient', mustWait: true, inTrouble: true },
      { ...GIVEN_BACK, isFailed: true },
    ],
    ['unreachable', { kind: 'unreachable' }, RETRY],
    ['a batch refused', { kind: 'request' }, HALVES],
    ['a batch refused, at the last attempt', { kind: 'request', attempt: 5 }, HALVES],
    [
      'a batch refused, in trouble',
      { kind: 'request', mustWait: true, inTrouble: true },
      { ...GIVEN_BACK, isFailed: true },
    ],
    ['one message refused, nobody being answered', { kind: 'request', ids: 1 }, RETRY],
    ['one message refused, at the last attempt', { kind: 'request', ids: 1, attempt: 5 }, GIVEN_UP],
    ['one message refused, others being answered', { kind: 'request', ids: 1, isToBlame: true }, APART],
    ['a page of a sweep refused', { kind: 'request', ids: undefined }, GIVEN_UP],
    ['a page of a sweep unanswered', { kind: 'transient', ids: undefined }, RETRY],
    ['a trial', { kind: 'transient', isTrial: true, inTrouble: true }, GIVEN_BACK],
  ])('%s', (_name, failed, step) => {
    expect(stepAfter({ ...WELL, ...failed }, LEARNED, 0.5)).toEqual(step)
  })

  it('waits when it gives up as long as between two polls, and five minutes at most', () => {
    const delay = (policy: PollingPolicy, random: number) =>
      stepAfter({ ...WELL, kind: 'transient', attempt: MOST_ATTEMPTS }, policy, random)
    expect(delay(SECONDS, 0)).toEqual({ step: 'give up', delayMs: 1_800 })
    expect(delay(SECONDS, 1)).toEqual({ step: 'give up', delayMs: 2_200 })
    expect(delay({ ...SECONDS, firstAfterMs: DAY, maxIntervalMs: DAY }, 0)).toMatchObject({ delayMs: 5 * MINUTE })
  })
})

const failedRequest: fc.Arbitrary<FailedRequest> = fc.record({
  kind: fc.constantFrom(...PROVIDER_ERROR_KINDS),
  attempt: fc.integer({ min: 1, max: 10 }),
  ids: fc.option(fc.integer({ min: 1, max: 1_000 }), { nil: undefined }),
  isTrial: fc.boolean(),
  mustWait: fc.boolean(),
  inTrouble: fc.boolean(),
  isToBlame: fc.boolean(),
})

it('holds after every failure: the job ends within its attempts, and messages are asked about again within a day', () => {
  fc.assert(
    fc.property(
      failedRequest,
      fc.constantFrom(LEARNED, SECONDS),
      fc.double({ min: 0, max: 1 }),
      (failed, policy, random) => {
        const next = stepAfter(failed, policy, random)
        if (next.step === 'retry') expect(failed.attempt).toBeLessThan(MOST_ATTEMPTS)
        if ('delayMs' in next) expect(next.delayMs).toBeLessThanOrEqual(DAY)
        // Only what the provider blames is cut or set apart, and only while the account may be asked.
        if (next.step === 'cut in halves') expect(failed).toMatchObject({ kind: 'request', mustWait: false })
        if (next.step === 'set apart')
          expect(failed).toMatchObject({ kind: 'request', mustWait: false, isToBlame: true })
        if (next.step === 'cut in halves') expect(failed.ids).toBeGreaterThan(1)
        if (failed.mustWait || failed.isTrial) expect(next.step).toBe('give back')
      },
    ),
  )
})

describe('a pause', () => {
  it('doubles up to the longest, with jitter over its upper half', () => {
    const pauses = { firstMs: 2, longestMs: 20 }
    expect([1, 2, 3, 4, 5, 10_000].map((count) => doubled(pauses, count))).toEqual([2, 4, 8, 16, 20, 20])
    expect([0, 0.5, 1].map((random) => jittered(pauses, 4, random))).toEqual([8, 12, 16])
  })

  it('before the next attempt is two seconds at first, and never more than thirty', () => {
    expect([1, 2, 3, 4, 5].map((attempt) => retryDelay(attempt, 1) / 1_000)).toEqual([2, 4, 8, 16, 30])
  })

  it('between probes is the longer the less likely trouble passes by itself', () => {
    const [passing, lasting] = [MEANINGS.transient.probes, MEANINGS.account.probes]
    expect(doubled(passing, 20)).toBeLessThan(doubled(lasting, 1))
    expect(doubled(MEANINGS.request.probes, 1)).toBeLessThan(doubled(passing, 1))
  })
})

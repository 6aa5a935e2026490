import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import {
  type AccountHealth,
  endPause,
  type HealthEvent,
  isPaused,
  isTrialDue,
  mayBlame,
  needsProbe,
  nextHealth,
  type Outcome,
} from '../../src/core/account-health.ts'
import { PROVIDER_ERROR_KINDS } from '../../src/core/provider-failure.ts'

const LOOKUPS = ['status', 'logbook']
const SECOND = 1_000
const MINUTE = 60 * SECOND
const DAY = 24 * 60 * MINUTE

type Told = Partial<Outcome> & { at: number }

/** The health after outcomes at these times, and all that was told on the way. */
function healthAfter(...outcomes: Told[]): { health: AccountHealth; events: HealthEvent[] } {
  let health: AccountHealth = {}
  const events: HealthEvent[] = []
  for (const { at, ...outcome } of outcomes) {
    const whole = { lookup: 'status', result: 'answered', reason: 'because', ...outcome } as const
    const step = nextHealth(health, whole, at, LOOKUPS)
    health = step.health
    events.push(...step.events)
  }
  return { health, events }
}

const refused = (at: number): Told => ({ at, result: 'account' })
const bad = (at: number, result: Outcome['result'] = 'transient'): Told => ({ at, result })

describe('trouble', () => {
  it('begins at once when the credentials are refused, with pauses from ten minutes to an hour', () => {
    const pauses: number[] = []
    const outcomes: Told[] = []
    for (let probe = 0, at = 0; probe < 5; probe++) {
      outcomes.push(refused(at))
      const { pausedUntil = 0 } = healthAfter(...outcomes).health
      pauses.push((pausedUntil - at) / MINUTE)
      at = pausedUntil
    }
    expect(pauses).toEqual([10, 20, 40, 60, 60])
    const { health, events } = healthAfter(...outcomes)
    expect(health).toMatchObject({ trouble: 'refused', bad: { since: 0, count: 5, reason: 'because' } })
    expect(events).toEqual([{ event: 'trouble', trouble: 'refused', reason: 'because' }])
  })

  it.each<[string, Told[], string | undefined]>([
    ['two bad answers, however long', [bad(0), bad(DAY)], undefined],
    ['many within a minute', [0, 9, 19, 29, 39, 49, 59].map((at) => bad(at * SECOND)), undefined],
    ['three over a minute', [bad(0), bad(SECOND), bad(MINUTE)], 'failing'],
    ['three without a connection', [bad(0), bad(SECOND), bad(MINUTE, 'unreachable')], 'unreachable'],
    ['a good one in between', [bad(0), bad(SECOND), { at: 2 * SECOND }, bad(MINUTE)], undefined],
    ['five refusals in a row', [0, 1, 2, 3, 4].map((at) => bad(at, 'request')), 'failing'],
    ['four refusals in a row', [0, 1, 2, 3].map((at) => bad(at, 'request')), undefined],
    ['patience asked for, and for more', [0, 20, 40].map((at) => bad(at * SECOND, 'throttled')), undefined],
    ['patience asked for over a minute', [0, 30, 61].map((at) => bad(at * SECOND, 'throttled')), 'failing'],
    [
      'another look-up than the one in use',
      [0, 30, 61].map((at) => ({ ...bad(at * SECOND), lookup: 'logbook' })),
      undefined,
    ],
  ])('is decided by all answers since the last good one: %s', (_name, outcomes, trouble) => {
    expect(healthAfter(...outcomes).health.trouble).toBe(trouble)
  })

  it('pauses for seconds at first and never for more than a minute, where it may pass by itself', () => {
    const outcomes = [bad(0), bad(SECOND), bad(MINUTE)]
    const pauses: number[] = []
    for (let probe = 0; probe < 5; probe++) {
      const { at = 0 } = outcomes.at(-1) ?? {}
      const { pausedUntil = 0 } = healthAfter(...outcomes).health
      pauses.push((pausedUntil - at) / SECOND)
      outcomes.push(bad(pausedUntil))
    }
    expect(pauses).toEqual([10, 20, 40, 60, 60])
  })

  it('is not made worse by those that were under way when it began', () => {
    const one = healthAfter(refused(0))
    const many = healthAfter(...Array.from({ length: 50 }, () => ({ ...refused(SECOND), at: SECOND / 2 })))
    expect(many.health.pausedUntil).toBe(SECOND / 2 + 10 * MINUTE)
    expect(one.health.probes).toBe(many.health.probes)
  })

  it('ends with the first good answer, and its pause with it', () => {
    const { health, events } = healthAfter(refused(0), { at: 11 * MINUTE })
    expect(health).toEqual({ lastGoodAt: 11 * MINUTE })
    expect(events.at(-1)).toEqual({ event: 'recovered' })
    expect(needsProbe(health)).toBe(false)
  })

  it('lets a person ask at any time, and begins with a short pause again', () => {
    const { health } = healthAfter(refused(0), refused(10 * MINUTE), refused(30 * MINUTE))
    const asked = endPause(health)
    expect([isPaused(health, 31 * MINUTE), isPaused(asked, 31 * MINUTE), needsProbe(asked)]).toEqual([
      true,
      false,
      true,
    ])
    const outcome = { lookup: 'status', result: 'account', reason: 'still' } as const
    expect(nextHealth(asked, outcome, 31 * MINUTE, LOOKUPS).health.pausedUntil).toBe(41 * MINUTE)
  })
})

describe('patience', () => {
  it.each([
    ['for as long as the provider asks', 3_600 * SECOND, 3_600 * SECOND],
    ['for ten seconds where it does not say', undefined, 10 * SECOND],
    ['for a second where it says nought, or a time that is over', 0, SECOND],
  ])('is kept %s', (_name, retryAfterMs, pausedUntil) => {
    expect(healthAfter({ at: 0, result: 'throttled', retryAfterMs }).health.pausedUntil).toBe(pausedUntil)
  })

  it('grows where the provider goes on to say nought', () => {
    const pauses = [1, 2, 3, 4, 5, 6].map((count) => {
      const outcomes = Array.from({ length: count }, () => ({ at: 0, result: 'throttled', retryAfterMs: 0 }) as const)
      return (healthAfter(...outcomes).health.pausedUntil ?? 0) / SECOND
    })
    expect(pauses).toEqual([1, 2, 4, 8, 10, 10])
  })

  it('outlasts a good answer that was under way', () => {
    const { health } = healthAfter({ at: 0, result: 'throttled', retryAfterMs: MINUTE }, { at: 1 })
    expect(health).toEqual({ lastGoodAt: 1, pausedUntil: MINUTE })
  })
})

describe('blame', () => {
  const alone = (at: number, messageId = 'bad'): Told => ({ ...bad(at, 'request'), messageId })

  it('falls on a message only when others were answered since its batch was first refused', () => {
    expect(mayBlame(healthAfter(bad(5, 'request')).health, 'bad', 5)).toBe(false)
    expect(mayBlame(healthAfter({ at: 4 }, bad(5, 'request')).health, 'bad', 5)).toBe(false)
    expect(mayBlame(healthAfter(bad(5, 'request'), { at: 6 }).health, 'bad', 5)).toBe(true)
  })

  it('falls on a message that was refused alone when others were answered since, however long that takes', () => {
    expect(mayBlame(healthAfter({ at: 4 }, alone(5), alone(6)).health, 'bad')).toBe(false)
    const later = healthAfter(alone(5), alone(6), { at: DAY }, alone(DAY + 1)).health
    expect(mayBlame(later, 'bad')).toBe(true)
    expect(mayBlame(later, 'other')).toBe(false)
  })

  it('does not fall on a message that was answered since', () => {
    const { health } = healthAfter(alone(5), { at: 6, messageId: 'bad' }, { at: 7 })
    expect(mayBlame(health, 'bad')).toBe(false)
  })

  it('forgets all suspects but the latest fifty', () => {
    const { health } = healthAfter(...Array.from({ length: 60 }, (_, index) => alone(index, `m-${index}`)))
    expect(health.suspects).toHaveLength(50)
    expect(health.suspects?.at(-1)).toEqual({ messageId: 'm-59', since: 59 })
  })

  it('is searched for longer after a probe has shown that the account is well, and until whole batches are answered', () => {
    const refusals = (from: number, count: number) =>
      Array.from({ length: count }, (_, index) => bad(from + index, 'request'))
    const shown = [...refusals(0, 5), { at: MINUTE }]
    expect(healthAfter(...shown, ...refusals(2 * MINUTE, 19)).health.trouble).toBeUndefined()
    expect(healthAfter(...shown, ...refusals(2 * MINUTE, 20)).health.trouble).toBe('failing')
    const whole = { at: 2 * MINUTE, isWhole: true }
    expect(healthAfter(...shown, whole, ...refusals(3 * MINUTE, 5)).health.trouble).toBe('failing')
  })
})

describe('a look-up that has ended', () => {
  const gone = (at: number, lookup = 'status'): Told => ({ at, result: 'gone', lookup })

  it('gets a second look after a pause, and goes on when it answers', () => {
    const { health } = healthAfter(gone(0))
    expect(health).toMatchObject({ pausedUntil: 10 * SECOND })
    expect([health.lookup, needsProbe(health)]).toEqual([undefined, true])
    expect(healthAfter(gone(0), gone(1), { at: 11 * SECOND }).health).toEqual({ lastGoodAt: 11 * SECOND })
  })

  it('is given up when it says so again, and tried again every day', () => {
    const { health, events } = healthAfter(gone(0), gone(10 * SECOND))
    expect(health).toMatchObject({ lookup: 'logbook', firstTriedAt: 10 * SECOND })
    expect([isPaused(health, 10 * SECOND), needsProbe(health)]).toEqual([false, false])
    expect(events).toEqual([{ event: 'look-up changed', from: 'status', to: 'logbook', reason: 'because' }])
    expect(isTrialDue(health, 'status', DAY)).toBe(false)
    expect(isTrialDue(health, 'status', DAY + 10 * SECOND)).toBe(true)
    expect(isTrialDue({}, 'status', DAY)).toBe(false)
    const trial = { at: 2 * DAY, isTrial: true }
    const still = healthAfter(gone(0), gone(10 * SECOND), { ...trial, result: 'gone' })
    expect(still.health).toMatchObject({ lookup: 'logbook', firstTriedAt: 2 * DAY })
    const back = healthAfter(gone(0), gone(10 * SECOND), trial, trial)
    expect(back.health).toEqual({ lastGoodAt: 2 * DAY })
    expect(back.events).toHaveLength(2)
  })

  it('is the account’s trouble when it is the last one, and the first is tried from then on', () => {
    const steps = [gone(0), gone(10 * SECOND), gone(20 * SECOND, 'logbook'), gone(30 * SECOND, 'logbook')]
    const { health } = healthAfter(...steps)
    expect(health).toMatchObject({ trouble: 'failing', pausedUntil: 30 * SECOND + 10 * MINUTE })
    expect(health.lookup).toBeUndefined()
  })
})

const outcomes = fc.array(
  fc.record({
    in: fc.integer({ min: 0, max: 20 * MINUTE }),
    lookup: fc.constantFrom(...LOOKUPS),
    result: fc.constantFrom('answered' as const, ...PROVIDER_ERROR_KINDS),
    retryAfterMs: fc.option(fc.integer({ min: 0, max: DAY }), { nil: undefined }),
    isTrial: fc.boolean(),
    isWhole: fc.boolean(),
  }),
  { maxLength: 60 },
)

it('holds in every history: a pause ends within a day, trouble says why, and one good answer ends it', () => {
  fc.assert(
    fc.property(outcomes, (history) => {
      let health: AccountHealth = {}
      let now = 0
      let told = false
      for (const { in: later, ...outcome } of history) {
        now += later
        const step = nextHealth(health, { ...outcome, reason: outcome.result }, now, LOOKUPS)
        health = step.health
        for (const { event } of step.events) {
          if (event === 'trouble') told = true
          if (event === 'recovered') told = false
        }
        expect((health.pausedUntil ?? now) - now).toBeLessThanOrEqual(DAY)
        expect(health.trouble !== undefined).toBe(told)
        if (health.trouble) expect(health.bad?.reason).toBeTypeOf('string')
      }
      const lookup = health.lookup ?? 'status'
      const end = nextHealth(health, { lookup, result: 'answered', reason: '' }, now, LOOKUPS).health
      expect([end.trouble, end.bad, end.goneAt, needsProbe(end)]).toEqual([undefined, undefined, undefined, false])
    }),
  )
})

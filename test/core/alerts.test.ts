import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { ALERT_KINDS, ALERT_RULES, type AlertRule, type AlertState, nextAlert } from '../../src/core/alerts.ts'

const RULE: AlertRule = { beginAfterMs: 30, endAfterMs: 20 }

/** A look: when, and whether the condition holds, and since when if that is known. */
interface Look {
  at: number
  holds: boolean
  since?: number | undefined
}

interface Telling {
  at: number
  tell: 'begun' | 'ended'
}

function play(looks: readonly Look[], rule = RULE): { tellings: Telling[]; state: AlertState | undefined } {
  const tellings: Telling[] = []
  let state: AlertState | undefined
  for (const { at, holds, since } of looks) {
    const step = nextAlert(state, holds ? { since } : undefined, at, rule)
    state = step.state
    if (step.tell) tellings.push({ at, tell: step.tell })
  }
  return { tellings, state }
}

const held = (at: number, since?: number): Look => ({ at, holds: true, since })
const gone = (at: number): Look => ({ at, holds: false })
const begun = (at: number): Telling => ({ at, tell: 'begun' })
const ended = (at: number): Telling => ({ at, tell: 'ended' })

describe('an alert', () => {
  it.each<[string, Look[], Telling[]]>([
    ['is not told of what never was', [gone(0), gone(100)], []],
    ['is not told before its time', [held(0), held(29)], []],
    ['is told once', [held(0), held(30), held(40), held(500)], [begun(30)]],
    ['is told at once where the condition is older than the first look', [held(100, 60)], [begun(100)]],
    ['takes no time ahead of now for the beginning', [held(100, 150), held(129, 150), held(130, 150)], [begun(130)]],
    ['begins anew after a gap', [held(0), gone(20), held(25), held(40), held(55)], [begun(55)]],
    [
      'is over once, some time after',
      [held(0), held(30), gone(40), gone(59), gone(60), gone(90)],
      [begun(30), ended(60)],
    ],
    [
      'is not over by a gap',
      [held(0), held(30), gone(40), held(59), gone(60), gone(79), gone(80)],
      [begun(30), ended(80)],
    ],
    ['comes again', [held(0), held(30), gone(40), gone(60), held(70), held(100)], [begun(30), ended(60), begun(100)]],
  ])('%s', (_, looks, tellings) => {
    expect(play(looks).tellings).toEqual(tellings)
  })

  it('knows since when', () => {
    expect(play([held(50), held(80, 10), held(90)]).state).toEqual({ since: 10, begunAt: 80 })
    expect(play([held(0), held(30), gone(40), gone(45)]).state).toEqual({ since: 0, begunAt: 30, goneSince: 40 })
    expect(play([held(0), gone(10)]).state).toBeUndefined()
  })

  it.each(ALERT_KINDS)('of the kind %s has a rule', (kind) => {
    const { beginAfterMs, endAfterMs } = ALERT_RULES[kind]
    expect(beginAfterMs).toBeGreaterThanOrEqual(0)
    expect(endAfterMs).toBeGreaterThanOrEqual(0)
  })
})

describe('over any history', () => {
  const rules = fc.record({ beginAfterMs: fc.nat(50), endAfterMs: fc.nat(50) })
  const histories = fc
    .array(fc.record({ pause: fc.integer({ min: 1, max: 30 }), holds: fc.boolean(), ago: fc.option(fc.nat(100)) }), {
      maxLength: 60,
    })
    .map((steps) => {
      let at = 1000
      return steps.map(({ pause, holds, ago }): Look => {
        at += pause
        return { at, holds, since: ago === null ? undefined : at - ago }
      })
    })

  it('an alert begins and ends in turn', () => {
    fc.assert(
      fc.property(histories, rules, (looks, rule) => {
        const { tellings, state } = play(looks, rule)
        expect(tellings.map(({ tell }) => tell)).toEqual(tellings.map((_, index) => (index % 2 ? 'ended' : 'begun')))
        expect(state?.begunAt !== undefined).toBe(tellings.length % 2 === 1)
      }),
    )
  })

  it('neither is told twice within the time of flapping', () => {
    fc.assert(
      fc.property(histories, rules, (looks, rule) => {
        const { tellings } = play(looks, rule)
        for (const [index, { at }] of tellings.entries()) {
          const former = tellings[index - 2]
          if (former) expect(at - former.at).toBeGreaterThanOrEqual(rule.endAfterMs)
        }
      }),
    )
  })

  it('what holds for long enough is told, and what is gone for long enough is over', () => {
    fc.assert(
      fc.property(histories, rules, fc.boolean(), (looks, rule, holds) => {
        const start = (looks.at(-1)?.at ?? 1000) + 1
        const longest = Math.max(rule.beginAfterMs, rule.endAfterMs)
        const { state } = play([...looks, { at: start, holds }, { at: start + longest, holds }], rule)
        expect(state?.begunAt !== undefined).toBe(holds)
      }),
    )
  })

  it('a look that is made twice tells nothing more', () => {
    fc.assert(
      fc.property(histories, rules, (looks, rule) => {
        const twice = looks.flatMap((look) => [look, look])
        // Without any patience, once is all that is needed.
        const patient = { beginAfterMs: rule.beginAfterMs + 1, endAfterMs: rule.endAfterMs + 1 }
        expect(play(twice, patient).tellings).toEqual(play(looks, patient).tellings)
      }),
    )
  })
})

import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { nextLife, outcomesOfLives } from '../../src/core/lives.ts'
import { settle } from '../../src/core/settle.ts'
import { STATUSES, type Status } from '../../src/core/status.ts'

const SATURDAY = Date.parse('2026-11-21T10:00:00Z')
const MONDAY = Date.parse('2026-11-23T10:00:00Z')
const SECOND = 1000
const at = (status: Status, ms: number) => ({ status, occurredAt: new Date(ms) })
const delivered = at('delivered', SATURDAY + 5 * SECOND)

const lifeAt = (sentAt: number, reports: ReturnType<typeof at>[], { sent = SATURDAY, since = 0 } = {}) =>
  nextLife({ sentAt: new Date(sent), lifeSince: since ? new Date(since) : undefined, reports }, new Date(sentAt))

describe('another life', () => {
  it('begins five minutes before the new sending, because clocks differ', () => {
    expect(lifeAt(MONDAY, [delivered])).toEqual({ since: new Date(MONDAY - 300 * SECOND), reports: [] })
  })

  it('has what was reported of it before it was tracked', () => {
    const early = at('accepted', MONDAY - 2 * SECOND)
    const later = at('delivered', MONDAY + 3 * SECOND)
    expect(lifeAt(MONDAY, [later, delivered, early])?.reports).toEqual([later, early])
  })

  it('begins right after the final status where that is but minutes ago', () => {
    const failed = at('failed', MONDAY - 60 * SECOND)
    expect(lifeAt(MONDAY, [failed])).toEqual({ since: new Date(MONDAY - 60 * SECOND + 1), reports: [] })
  })

  it.each<[string, number, ReturnType<typeof at>[], { sent?: number; since?: number }]>([
    ['for the same sending once more', SATURDAY, [delivered], {}],
    ['for an earlier sending', SATURDAY - SECOND, [delivered], {}],
    ['before the final status', SATURDAY + SECOND, [delivered], {}],
    ['while no status is final', MONDAY, [at('transmitted', SATURDAY)], {}],
    ['without any report', MONDAY, [], {}],
    ['for the second sending once more', MONDAY, [delivered], { sent: MONDAY, since: MONDAY - SECOND }],
    ['while only an earlier life has ended', MONDAY + SECOND, [delivered], { sent: MONDAY, since: MONDAY - SECOND }],
  ])('does not begin %s', (_name, sentAt, reports, before) => {
    expect(lifeAt(sentAt, reports, before)).toBeUndefined()
  })

  it('begins for a message that ended as unknown', () => {
    expect(lifeAt(MONDAY, [at('unknown', SATURDAY)])).toBeDefined()
  })
})

const reports = fc.array(
  fc.record({ status: fc.constantFrom(...STATUSES), occurredAt: fc.date({ min: new Date(0), max: new Date(MONDAY) }) }),
)

it('never loses a report: each is of one life, and the new one holds nothing that its message had ended with', () => {
  fc.assert(
    fc.property(reports, fc.integer({ min: 1, max: MONDAY * 2 }), (given, sentAt) => {
      const life = nextLife({ sentAt: new Date(0), lifeSince: undefined, reports: given }, new Date(sentAt))
      if (!life) return
      expect(given.filter(({ occurredAt }) => occurredAt >= life.since)).toEqual(life.reports)
      const ended = settle(given.filter(({ occurredAt }) => occurredAt < life.since))
      expect(ended?.final).toBe(true)
      // The same order once more begins nothing.
      const again = { sentAt: new Date(sentAt), lifeSince: life.since, reports: given }
      expect(nextLife(again, new Date(sentAt))).toBeUndefined()
    }),
  )
})

it('tells what each report did in its own life, in any order of arrival', () => {
  const since = new Date(MONDAY)
  const late = at('failed', SATURDAY + SECOND)
  const again = at('delivered', MONDAY + SECOND)
  expect(outcomesOfLives([delivered, again, late, again], since)).toEqual([
    { outcome: 'applied', isEarlier: true },
    { outcome: 'applied', isEarlier: false },
    { outcome: 'contradicting', isEarlier: true },
    { outcome: 'duplicate', isEarlier: false },
  ])
  expect(outcomesOfLives([delivered], null)).toEqual([{ outcome: 'applied', isEarlier: false }])
})

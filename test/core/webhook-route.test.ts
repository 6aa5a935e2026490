import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { hasRipened, lossesOfSilence, nextRoute, type RouteNews, unprovedRoute } from '../../src/core/webhook-route.ts'

const NOW = 1_000_000
const nothing: RouteNews = { receipts: 0, lastReceiptAt: 0, losses: [], early: [] }
const receipts = (count: number, at: number): RouteNews => ({ ...nothing, receipts: count, lastReceiptAt: at })
const losses = (...at: number[]): RouteNews => ({ ...nothing, losses: at })
const LOSS = 0.03
const GRACE = 10
const at = (now: number, loss = LOSS) => ({ loss, graceMs: GRACE, now })

const proved = nextRoute(unprovedRoute(NOW), receipts(1, NOW), at(NOW)).route

describe('the webhook route', () => {
  it('is unproved until a receipt comes, whatever is lost', () => {
    const { route, event } = nextRoute(unprovedRoute(NOW), losses(...Array(100).fill(NOW + 1)), at(NOW + 2, 1))
    expect(route).toMatchObject({ state: 'unproved', lost: 100 })
    expect(event).toBeUndefined()
    expect(nextRoute(route, receipts(1, NOW + 3), at(NOW + 3)).route).toMatchObject({ state: 'ok', since: NOW + 3 })
  })

  it('is silent after so many losses in a row as ordinary loss never makes', () => {
    expect([0.001, 0.03, 0.5, 1].map(lossesOfSilence)).toEqual([5, 6, 30, 50])
    const five = nextRoute(proved, losses(...Array(5).fill(NOW + 1)), at(NOW + 9))
    expect(five.route).toMatchObject({ state: 'ok', lost: 5 })
    const six = nextRoute(five.route, losses(NOW + 2), at(NOW + 10))
    expect(six).toEqual({
      route: { state: 'silent', since: NOW, lastReceiptAt: NOW, lost: 6, returned: 0, early: [] },
      event: 'silent',
    })
  })

  it('is not silent while receipts come, nor for what was lost before the last one', () => {
    expect(nextRoute(proved, losses(...Array(50).fill(NOW - 1)), at(NOW + 9)).route).toMatchObject({
      state: 'ok',
      lost: 0,
    })
    const busy = { receipts: 1, lastReceiptAt: NOW + 5, losses: Array(50).fill(NOW + 4), early: [] }
    expect(nextRoute(proved, busy, at(NOW + 9)).route).toMatchObject({ state: 'ok', lost: 0 })
  })

  it('is silent too when polling found each final status before its receipt had to be there', () => {
    const early: RouteNews = { ...nothing, early: [NOW + 6, ...Array(5).fill(NOW + 1)] }
    const waiting = nextRoute(proved, early, at(NOW + 7)).route
    expect(waiting).toMatchObject({ state: 'ok', lost: 0 })
    expect([NOW + 11, NOW + 12].map((now) => hasRipened(waiting, GRACE, now))).toEqual([false, true])
    const five = nextRoute(waiting, nothing, at(NOW + 12)).route
    expect(five).toMatchObject({ state: 'ok', lost: 5, early: [NOW + 6] })
    expect(nextRoute(five, nothing, at(NOW + 17))).toMatchObject({
      route: { state: 'silent', lost: 6 },
      event: 'silent',
    })
    // Any receipt shows that receipts come.
    expect(nextRoute(waiting, receipts(1, NOW + 8), at(NOW + 17)).route).toMatchObject({
      state: 'ok',
      lost: 0,
      early: [],
    })
  })

  it('keeps few of those that polling found early, however many there are', () => {
    const many: RouteNews = { ...nothing, early: Array.from({ length: 10_000 }, (_, index) => NOW + 10_000 - index) }
    const { route } = nextRoute(proved, many, at(NOW + 1))
    expect(route.early).toEqual(Array.from({ length: 50 }, (_, index) => NOW + 1 + index))
  })

  it('is ok again after receipts in a row, and tells so', () => {
    const silent = nextRoute(proved, losses(...Array(9).fill(NOW + 1)), at(NOW + 9)).route
    const two = nextRoute(silent, receipts(2, NOW + 20), at(NOW + 20))
    expect(two.route).toMatchObject({ state: 'silent', lost: 9, returned: 2 })
    expect(two.event).toBeUndefined()
    const lostAgain = nextRoute(two.route, losses(NOW + 30), at(NOW + 40)).route
    expect(lostAgain).toMatchObject({ state: 'silent', lost: 10, returned: 0 })
    expect(nextRoute(two.route, receipts(1, NOW + 30), at(NOW + 40))).toEqual({
      route: { state: 'ok', since: NOW + 40, lastReceiptAt: NOW + 30, lost: 0, returned: 0, early: [] },
      event: 'returned',
    })
  })

  it('tells of each silence and of each return once, in turn', () => {
    const anyNews = fc.oneof(
      fc.record({ receipts: fc.integer({ min: 0, max: 5 }), lost: fc.integer({ min: 0, max: 20 }), early: fc.nat(20) }),
      fc.constant({ receipts: 0, lost: 0, early: 0 }),
    )
    fc.assert(
      fc.property(fc.array(anyNews, { maxLength: 60 }), (steps) => {
        let route = unprovedRoute(0)
        const events: string[] = []
        for (const [index, step] of steps.entries()) {
          const now = (index + 1) * 1000
          const news = {
            receipts: step.receipts,
            lastReceiptAt: now,
            losses: Array(step.lost).fill(now + 1),
            early: Array(step.early).fill(now + 1),
          }
          const moved = nextRoute(route, news, at(now))
          if (moved.event) events.push(moved.event)
          expect(moved.route.state === 'silent').toBe(events.at(-1) === 'silent')
          route = moved.route
        }
        for (const [index, event] of events.entries()) expect(event).toBe(index % 2 === 0 ? 'silent' : 'returned')
      }),
    )
  })
})

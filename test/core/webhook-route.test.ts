import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { lossesOfSilence, nextRoute, type RouteNews, unprovedRoute } from '../../src/core/webhook-route.ts'

const NOW = 1_000_000
const nothing: RouteNews = { receipts: 0, lastReceiptAt: 0, losses: [] }
const receipts = (count: number, at: number): RouteNews => ({ receipts: count, lastReceiptAt: at, losses: [] })
const losses = (...at: number[]): RouteNews => ({ ...nothing, losses: at })
const LOSS = 0.03

const proved = nextRoute(unprovedRoute(NOW), receipts(1, NOW), LOSS, NOW).route

describe('the webhook route', () => {
  it('is unproved until a receipt comes, whatever is lost', () => {
    const { route, event } = nextRoute(unprovedRoute(NOW), losses(...Array(100).fill(NOW + 1)), 1, NOW + 2)
    expect(route).toMatchObject({ state: 'unproved', lost: 100 })
    expect(event).toBeUndefined()
    expect(nextRoute(route, receipts(1, NOW + 3), LOSS, NOW + 3).route).toMatchObject({ state: 'ok', since: NOW + 3 })
  })

  it('is silent after so many losses in a row as ordinary loss never makes', () => {
    expect([0.001, 0.03, 0.5, 1].map(lossesOfSilence)).toEqual([5, 6, 30, 50])
    const five = nextRoute(proved, losses(...Array(5).fill(NOW + 1)), LOSS, NOW + 9)
    expect(five.route).toMatchObject({ state: 'ok', lost: 5 })
    const six = nextRoute(five.route, losses(NOW + 2), LOSS, NOW + 10)
    expect(six).toEqual({
      route: { state: 'silent', since: NOW, lastReceiptAt: NOW, lost: 6, returned: 0 },
      event: 'silent',
    })
  })

  it('is not silent while receipts come, nor for what was lost before the last one', () => {
    expect(nextRoute(proved, losses(...Array(50).fill(NOW - 1)), LOSS, NOW + 9).route).toMatchObject({
      state: 'ok',
      lost: 0,
    })
    const busy = { receipts: 1, lastReceiptAt: NOW + 5, losses: Array(50).fill(NOW + 4) }
    expect(nextRoute(proved, busy, LOSS, NOW + 9).route).toMatchObject({ state: 'ok', lost: 0 })
  })

  it('is ok again after receipts in a row, and tells so', () => {
    const silent = nextRoute(proved, losses(...Array(9).fill(NOW + 1)), LOSS, NOW + 9).route
    const two = nextRoute(silent, receipts(2, NOW + 20), LOSS, NOW + 20)
    expect(two.route).toMatchObject({ state: 'silent', lost: 9, returned: 2 })
    expect(two.event).toBeUndefined()
    const lostAgain = nextRoute(two.route, losses(NOW + 30), LOSS, NOW + 40).route
    expect(lostAgain).toMatchObject({ state: 'silent', lost: 10, returned: 0 })
    expect(nextRoute(two.route, receipts(1, NOW + 30), LOSS, NOW + 40)).toEqual({
      route: { state: 'ok', since: NOW + 40, lastReceiptAt: NOW + 30, lost: 0, returned: 0 },
      event: 'returned',
    })
  })

  it('tells of each silence and of each return once, in turn', () => {
    const anyNews = fc.oneof(
      fc.record({ receipts: fc.integer({ min: 0, max: 5 }), lost: fc.integer({ min: 0, max: 20 }) }),
      fc.constant({ receipts: 0, lost: 0 }),
    )
    fc.assert(
      fc.property(fc.array(anyNews, { maxLength: 60 }), (steps) => {
        let route = unprovedRoute(0)
        const events: string[] = []
        for (const [index, step] of steps.entries()) {
          const now = (index + 1) * 1000
          const news = { receipts: step.receipts, lastReceiptAt: now, losses: Array(step.lost).fill(now + 1) }
          const moved = nextRoute(route, news, LOSS, now)
          if (moved.event) events.push(moved.event)
          expect(moved.route.state === 'silent').toBe(events.at(-1) === 'silent')
          route = moved.route
        }
        for (const [index, event] of events.entries()) expect(event).toBe(index % 2 === 0 ? 'silent' : 'returned')
      }),
    )
  })
})

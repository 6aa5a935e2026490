import { describe, expect, it } from 'vitest'
import { countByAge, sharesKnownWithin, statisticsOf } from '../../src/core/statistics.ts'

const ended = (key: string, n: number) => ({ measure: 'ended', key, n })

describe('statistics', () => {
  it('add up what was counted, by status, source, delay, and whether anybody had asked', () => {
    const counts = [
      ended('delivered webhook 10s unasked', 5),
      ended('delivered webhook 1m asked', 2),
      ended('read poll later asked', 1),
      ended('unknown window - asked', 4),
      ended('failed webhook - unasked', 3),
      ended('failed webhook 10m unasked', -1),
      { measure: 'requests', key: '', n: 2 },
      { measure: 'requests', key: '', n: 1 },
      { measure: 'ids', key: '', n: 130 },
      // Of another version.
      ended('vanished pigeon - asked', 9),
      { measure: 'weather', key: '', n: 9 },
    ]
    expect(statisticsOf(counts)).toEqual({
      ended: { unknown: 4, rejected: 0, failed: 2, undelivered: 0, expired: 0, delivered: 7, read: 1 },
      foundBy: { webhook: 9, poll: 1, window: 4 },
      known: { '10s': 5, '1m': 2, '10m': -1, later: 1 },
      pollsSaved: 7,
      requests: 3,
      ids: 130,
    })
  })

  it('tell shares of those whose delay was noted, and none where there are none', () => {
    const found = statisticsOf([
      ended('delivered webhook 10s unasked', 5),
      ended('delivered webhook 1m unasked', 2),
      ended('delivered poll 10m asked', 2),
      ended('delivered poll later asked', 1),
      ended('unknown window - asked', 90),
    ])
    expect(sharesKnownWithin(found)).toEqual({ '10s': 0.5, '1m': 0.7, '10m': 0.9 })
    expect(sharesKnownWithin(statisticsOf([ended('unknown window - asked', 90)]))).toBeUndefined()
  })
})

const HOUR = 3_600_000
const NOW = Date.parse('2026-03-01T12:30:00Z')

it.each<[string, [hoursAgo: number, messages: number][], number[]]>([
  ['nothing', [], [0, 0, 0]],
  [
    'this hour, and what is dated ahead',
    [
      [0, 7],
      [-1, 1],
    ],
    [8, 0, 0],
  ],
  [
    'at the edges',
    [
      [1, 1],
      [2, 2],
      [24, 4],
      [25, 8],
    ],
    [1, 6, 8],
  ],
])('counts by age: %s', (_, hours, expected) => {
  const sent = hours.map(([ago, messages]) => ({ hour: Date.parse('2026-03-01T12:00:00Z') - ago * HOUR, messages }))
  expect(countByAge(sent, NOW, [HOUR, 24 * HOUR])).toEqual(expected)
})

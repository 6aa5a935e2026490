import { expect, it } from 'vitest'
import {
  formatAmsterdamTime,
  formatBerlinTime,
  formatBerlinTimeWithOffset,
  startOfBerlinDay,
} from '../../src/sandbox/berlin-time.ts'

it.each([
  ['2024-02-16T14:43:16.905Z', '2024-02-16 15:43:16.905', '2024-02-16T15:43:16+01:00'],
  ['2021-08-24T06:08:00.000Z', '2021-08-24 08:08:00.000', '2021-08-24T08:08:00+02:00'],
  ['2025-12-31T23:59:59.999Z', '2026-01-01 00:59:59.999', '2026-01-01T00:59:59+01:00'],
  ['2026-03-29T00:59:59.000Z', '2026-03-29 01:59:59.000', '2026-03-29T01:59:59+01:00'],
  ['2026-03-29T01:00:00.000Z', '2026-03-29 03:00:00.000', '2026-03-29T03:00:00+02:00'],
  ['2026-10-25T00:30:00.000Z', '2026-10-25 02:30:00.000', '2026-10-25T02:30:00+02:00'],
  ['2026-10-25T01:30:00.000Z', '2026-10-25 02:30:00.000', '2026-10-25T02:30:00+01:00'],
])('writes %s in Berlin time', (instant, local, withOffset) => {
  expect(formatBerlinTime(new Date(instant), 3)).toBe(local)
  expect(formatBerlinTime(new Date(instant), 6)).toBe(`${local}000`)
  expect(formatBerlinTimeWithOffset(new Date(instant))).toBe(withOffset)
  expect(formatAmsterdamTime(new Date(instant))).toBe(withOffset.slice(0, 19))
})

it.each([
  ['2024-02-16', 0, '2024-02-15T23:00:00.000Z'],
  ['2026-03-29', 0, '2026-03-28T23:00:00.000Z'],
  ['2026-03-29', 1, '2026-03-29T22:00:00.000Z'],
  ['2026-10-25', 0, '2026-10-24T22:00:00.000Z'],
  ['2026-10-25', 1, '2026-10-25T23:00:00.000Z'],
])('knows when the day %s begins, %i days later', (day, daysAfter, instant) => {
  expect(new Date(startOfBerlinDay(day, daysAfter)).toISOString()).toBe(instant)
})

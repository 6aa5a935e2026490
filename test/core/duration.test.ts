import { describe, expect, it } from 'vitest'
import { parseDuration } from '../../src/core/duration.ts'

describe('parseDuration', () => {
  it.each([
    ['500ms', 500],
    ['30s', 30_000],
    ['5m', 300_000],
    ['6h', 21_600_000],
    ['30d', 2_592_000_000],
    ['1.5h', 5_400_000],
    ['1.001s', 1001],
    ['0.4ms', 0],
    ['0s', 0],
    [' 5m ', 300_000],
    ['36500d', 3_153_600_000_000],
  ])('reads %j as %d whole milliseconds', (text, ms) => {
    expect(parseDuration(text)).toBe(ms)
  })

  it.each([
    '',
    '5',
    'm',
    '-5m',
    '+5m',
    '5 m',
    '5M',
    '5min',
    '5w',
    '.5h',
    '5.h',
    '1e3s',
    '1h30m',
    '5m\n6h',
    'Infinityms',
    '36501d',
    '999999999999d',
  ])('does not take %j for a duration', (text) => {
    expect(parseDuration(text)).toBeUndefined()
  })
})

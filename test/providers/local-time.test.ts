import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { parseLocalTime, parseUnixTime } from '../../src/providers/local-time.ts'

const BERLIN = 'Europe/Berlin'

const parsed = (text: string, near?: string) =>
  parseLocalTime(text, BERLIN, near === undefined ? undefined : new Date(near))?.toISOString()

it.each([
  ['1708094596', '2024-02-16T14:43:16.000Z'],
  ['1708094596905', '2024-02-16T14:43:16.905Z'],
  ['170809459', undefined],
  ['17080945969051', undefined],
  ['1708094596.9', undefined],
])('parseUnixTime reads %s as %s', (text, expected) => {
  expect(parseUnixTime(text)?.toISOString()).toBe(expected)
})

describe('parseLocalTime', () => {
  it.each([
    ['winter', '2024-02-16 15:43:16.905', '2024-02-16T14:43:16.905Z'],
    ['summer', '2021-08-24 08:08:00', '2021-08-24T06:08:00.000Z'],
    ['three decimals', '2024-02-16 15:43:16.007', '2024-02-16T14:43:16.007Z'],
    ['six decimals, cut to milliseconds', '2021-08-24 08:08:00.123999', '2021-08-24T06:08:00.123Z'],
    ['six decimals, all zero', '2021-08-24 08:08:00.000000', '2021-08-24T06:08:00.000Z'],
    ['one decimal', '2021-08-24 08:08:00.5', '2021-08-24T06:08:00.500Z'],
    ['a decimal comma', '2021-08-24 08:08:00,5', '2021-08-24T06:08:00.500Z'],
    ['no seconds', '2021-08-24 08:08', '2021-08-24T06:08:00.000Z'],
    ['a T in the middle', '2021-08-24T08:08:00', '2021-08-24T06:08:00.000Z'],
    ['spaces around', ' 2021-08-24 08:08:00\n', '2021-08-24T06:08:00.000Z'],
    ['63 seconds run over', '2024-02-13 05:50:63.102', '2024-02-13T04:51:03.102Z'],
    ['63 seconds run over into the next year', '2023-12-31 23:59:63', '2023-12-31T23:00:03.000Z'],
    ['a leap day', '2024-02-29 00:00:00', '2024-02-28T23:00:00.000Z'],
    ['an offset', '2021-08-24T08:08:00+02:00', '2021-08-24T06:08:00.000Z'],
    ['an offset that is not the zone’s', '2021-08-24T08:08:00-05:30', '2021-08-24T13:38:00.000Z'],
    ['an offset without a colon', '2021-08-24T08:08:00+0530', '2021-08-24T02:38:00.000Z'],
    ['an offset of hours', '2021-08-24T08:08:00+02', '2021-08-24T06:08:00.000Z'],
    ['UTC', '2021-08-24T08:08:00Z', '2021-08-24T08:08:00.000Z'],
    ['UTC in a small letter', '2021-08-24t08:08:00z', '2021-08-24T08:08:00.000Z'],
    ['UTC by its name', '2021-08-24 08:08:00 UTC', '2021-08-24T08:08:00.000Z'],
    ['a date of e-mail', 'Tue, 24 Aug 2021 08:08:00 +0200', '2021-08-24T06:08:00.000Z'],
    ['a date of HTTP', 'Tue, 24 Aug 2021 06:08:00 GMT', '2021-08-24T06:08:00.000Z'],
    ['a space in place of the plus', '2021-08-24T08:08:00 02:00', '2021-08-24T06:08:00.000Z'],
    ['a space before the offset', '2021-08-24 08:08:00 +02:00', '2021-08-24T06:08:00.000Z'],
  ])('reads %s: %s', (_, text, expected) => {
    expect(parsed(text)).toBe(expected)
  })

  it.each([
    '',
    'now',
    'null',
    '2024-02-16',
    '15:43:16',
    '2024-13-01 00:00:00',
    '2024-00-01 00:00:00',
    '2023-02-29 00:00:00',
    '2024-02-16 24:00:00',
    '2024-02-16 23:60:00',
    '0000-00-00 00:00:00',
    '0001-01-01T00:00:00',
    '1708094596',
    '16.02.2024 15:43:16',
    '2024-02-16 15:43:16 CET',
    'Tue, 24 Aug 2021 08:08:00',
    'Tue, 99 Aug 2021 08:08:00 GMT',
    '2024-02-16 15:43:16.905 or so',
    '24-02-16 15:43:16',
  ])('takes %j for no time at all', (text) => {
    expect(parsed(text)).toBeUndefined()
  })

  it.each([
    ['before', '2026-10-25 01:59:59', undefined, '2026-10-24T23:59:59.000Z'],
    ['the first time without a hint', '2026-10-25 02:30:00', undefined, '2026-10-25T00:30:00.000Z'],
    ['near the first', '2026-10-25 02:30:00', '2026-10-25T00:30:05Z', '2026-10-25T00:30:00.000Z'],
    ['near the second', '2026-10-25 02:30:00', '2026-10-25T01:30:05Z', '2026-10-25T01:30:00.000Z'],
    ['near something long before', '2026-10-25 02:30:00', '2026-10-20T00:00:00Z', '2026-10-25T00:30:00.000Z'],
    ['near something long after', '2026-10-25 02:30:00', '2026-10-30T00:00:00Z', '2026-10-25T01:30:00.000Z'],
    ['as near to both', '2026-10-25 02:30:00', '2026-10-25T01:00:00Z', '2026-10-25T00:30:00.000Z'],
    ['an offset settles it', '2026-10-25 02:30:00+01:00', '2026-10-25T00:30:00Z', '2026-10-25T01:30:00.000Z'],
    ['after', '2026-10-25 03:00:00', undefined, '2026-10-25T02:00:00.000Z'],
  ])('knows the doubled hour of autumn: %s', (_, text, near, expected) => {
    expect(parsed(text, near)).toBe(expected)
  })

  it.each([
    ['before', '2026-03-29 01:59:59', undefined, '2026-03-29T00:59:59.000Z'],
    ['in it', '2026-03-29 02:30:00', undefined, '2026-03-29T01:30:00.000Z'],
    ['in it, with a hint', '2026-03-29 02:30:00', '2026-03-29T00:30:00Z', '2026-03-29T01:30:00.000Z'],
    ['run over into it', '2026-03-29 01:59:63', undefined, '2026-03-29T01:00:03.000Z'],
    ['after', '2026-03-29 03:00:00', undefined, '2026-03-29T01:00:00.000Z'],
  ])('knows the missing hour of spring: %s', (_, text, near, expected) => {
    expect(parsed(text, near)).toBe(expected)
  })

  it('ignores the hint when the time is not ambiguous', () => {
    expect(parsed('2024-02-16 15:43:16', '2024-02-16T15:43:16Z')).toBe('2024-02-16T14:43:16.000Z')
  })

  it('reads back every instant that it is given near itself', () => {
    const instant = fc.date({ min: new Date('1990-01-01'), max: new Date('2099-12-31'), noInvalidDate: true })
    const berlin = new Intl.DateTimeFormat('sv-SE', {
      timeZone: BERLIN,
      dateStyle: 'short',
      timeStyle: 'medium',
      hourCycle: 'h23',
    })
    fc.assert(
      fc.property(instant, (date) => {
        const text = `${berlin.format(date)}.${String(date.getUTCMilliseconds()).padStart(3, '0')}000`
        expect(parseLocalTime(text, BERLIN, date)?.getTime()).toBe(date.getTime())
      }),
    )
  })

  it('answers a valid date or undefined for any text', () => {
    const digits = fc.stringMatching(/^\d{4}-\d{2}-\d{2}[T ]\d{2}:\d{2}(:\d{2}(\.\d{1,9})?)?(Z|[+-]\d{2}:\d{2})?$/)
    fc.assert(
      fc.property(fc.oneof(fc.string(), digits), (text) => {
        expect(parseLocalTime(text, BERLIN)?.getTime()).not.toBeNaN()
      }),
    )
  })
})

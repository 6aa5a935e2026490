import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import {
  cleanPhoneNumber,
  isNationalNumber,
  isNumberOf,
  normalizePhoneNumber,
} from '../../src/providers/phone-number.ts'

describe('a phone number', () => {
  it.each([
    '+31612345678',
    '0031612345678',
    '31612345678',
    '+31 (0)6 12345678',
    '0031 (0) 6 1234 5678',
    '+310612345678',
    'tel:+31-6-12345678',
    'tel:+31612345678;ext=1',
    '\u202A+31 6 12345678\u202C',
    '\t+31 6 12345678\u00a0',
    '+31\u20136\u201312345678',
    '+31/6/123.456.78',
    '\uff0b\uff13\uff11\uff16\uff11\uff12\uff13\uff14\uff15\uff16\uff17\uff18',
    '+31\u200b612345678',
    '(+31) 6 12345678',
    '+31\u22126\u221212345678',
    '+31\u00b76\u00b712345678',
    'tel://+31612345678',
    "'+31612345678",
    '"+31612345678"',
    '<+31612345678>',
    '[+31] 6 12345678',
    '+31612345678,',
    'whatsapp:+31612345678',
    'smsto:+31612345678',
    'Tel.: +31 6 12345678',
    'mobile: +31612345678',
    '\u00b4+31612345678`',
    '+31_6_12345678',
    '++31612345678',
    'tel:%2B31612345678',
    '31612345678.0',
    '31612345678,00',
    '+\u0663\u0661\u0666\u0661\u0662\u0663\u0664\u0665\u0666\u0667\u0668',
  ])('written %j is the same one', (number) => {
    expect(normalizePhoneNumber(number)).toBe('31612345678')
    expect(isNationalNumber(number)).toBe(false)
  })

  it.each(['0612345678', '(06) 12345678', ' 0 6 12345678', '\u202A0612345678'])(
    'written %j leaves its country open',
    (number) => {
      expect(isNationalNumber(number)).toBe(true)
    },
  )

  it.each(['0612345678', '612345678', '06 12 34 56 78', '+31612345678', '0031612345678', '31612345678'])(
    'written %j is one of the Netherlands',
    (number) => {
      expect(normalizePhoneNumber(number, 'NL')).toBe('31612345678')
      expect(isNumberOf('NL', number)).toBe(true)
    },
  )

  it.each([
    ['+49 170 1234567', 'NL', '491701234567'],
    ['(202) 555-0123', 'US', '12025550123'],
    ['2025550123', 'US', '12025550123'],
    ['06 698 12345', 'IT', '390669812345'],
    ['328 123 4567', 'IT', '393281234567'],
    ['393281234567', 'IT', '393281234567'],
    ['+32 81 23 45 67', 'IT', '3281234567'],
    ['361 555 0123', 'US', '13615550123'],
    ['621 123 456', 'LU', '352621123456'],
    ['4915112345678', 'DE', '4915112345678'],
    ['015112345678', 'DE', '4915112345678'],
    ['4366412345678', 'AT', '4366412345678'],
    ['07700 900123', 'GB', '447700900123'],
    ['+44 (0)7700 900123', 'GB', '447700900123'],
    ['0044 7700 900123', 'GB', '447700900123'],
  ] as const)('written %j in an account of %s is %s', (number, country, normal) => {
    expect(normalizePhoneNumber(number, country)).toBe(normal)
  })

  it('without a country code that no number of the country has is none of it', () => {
    expect([isNumberOf('NL', '0123'), isNumberOf('NL', '')]).toEqual([false, false])
    expect(normalizePhoneNumber('0123', 'NL')).toBe('123')
  })

  it('of a range that the library does not know keeps its digits', () => {
    expect(normalizePhoneNumber('+1 (555) 0100')).toBe('15550100')
    expect(normalizePhoneNumber('+39 06 698')).toBe('3906698')
    expect(normalizePhoneNumber('nobody')).toBe('')
  })

  it('has one normal form and one clean form', () => {
    const text = fc.oneof(fc.string({ unit: 'binary' }), fc.stringMatching(/^[+0-9 ()./-]{3,30}$/))
    fc.assert(
      fc.property(text, (number) => {
        const normal = normalizePhoneNumber(number)
        expect(normal).toMatch(/^\d*$/)
        expect(normalizePhoneNumber(normal)).toBe(normal)
        expect(normalizePhoneNumber(cleanPhoneNumber(number))).toBe(normal)
        const dutch = normalizePhoneNumber(number, 'NL')
        expect(normalizePhoneNumber(dutch, 'NL')).toBe(dutch)
      }),
      { numRuns: 500 },
    )
  })
})

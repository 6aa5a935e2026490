import fc from 'fast-check'
import { expect, it } from 'vitest'
import { maskedStart } from '../../src/core/masked-text.ts'

it.each([
  ['to +49 170 123 45 67', 'to …67'],
  ['to 0049-170-1234567, at once', 'to …67, at once'],
  ['{"to":"491701234567","code":"404"}', '{"to":"…67","code":"404"}'],
  ['%2B491701234567', '%2B…67'],
  ['(0170) 123/45.67', '(…67'],
  ['٠١٧٠١٢٣٤٥٦٧', '…٦٧'],
  ['order 4711 of 12, HTTP 500', 'order 4711 of 12, HTTP 500'],
  ['  two\nlines \0 ', 'two\nlines \ufffd'],
])('%j is kept as %j', (text, kept) => {
  expect(maskedStart(text, 100)).toBe(kept)
})

it('is cut between characters, and says so', () => {
  expect(maskedStart('😀'.repeat(4), 4)).toBe('😀'.repeat(4))
  expect(maskedStart('😀'.repeat(5), 4)).toBe(`${'😀'.repeat(4)}…`)
  expect(maskedStart('called +49 17', 100, true)).toBe('called…')
})

it('shows no more than two digits of a number, wherever it is cut', () => {
  const number = '+49 170 1234567'
  fc.assert(
    fc.property(fc.string(), fc.nat(20), fc.boolean(), (before, length, isCut) => {
      const text = `${before.replace(/\d/g, '')} ${number.slice(0, isCut ? length : undefined)}`
      expect(maskedStart(text, 1_000, isCut).replace(/\D/g, '').length).toBeLessThanOrEqual(2)
    }),
  )
})

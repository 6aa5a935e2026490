/**
 * Phone numbers as people and address books write them. Which digits make a number, and which a country code, is known
 * to a library.
 */
import {
  type CountryCode,
  getCountryCallingCode,
  isSupportedCountry,
  parsePhoneNumberFromString,
} from 'libphonenumber-js/min'

/** Two letters of ISO 3166, as in NL. */
export type Country = CountryCode

export function isCountry(text: string): text is Country {
  return isSupportedCountry(text)
}

/** More is no number, and would take long to read. */
const LONGEST = 500

/**
 * A number without what only surrounds it: invisible characters, `tel:`, quotation marks, parameters after a semicolon.
 * Full-width and Arabic digits become the usual ones, every dash and minus sign the plain one, and every space and dot in the
 * middle of a line a space.
 */
export function cleanPhoneNumber(number: string): string {
  return (
    number
      .slice(0, LONGEST)
      .normalize('NFKC')
      .replace(/[\p{Cf}\p{Cc}\p{M}[\]]/gu, '')
      .replace(/[\u0660-\u0669\u06f0-\u06f9]/g, (digit) => String(digit.charCodeAt(0) & 0xf))
      .replace(/[\p{Pd}\u2212]/gu, '-')
      .replace(/[\p{Zs}_\u00b7\u2022\u2219\u22c5]+/gu, ' ')
      .trim()
      .replace(SURROUNDINGS, '')
      .replace(/^(?:tel|sms|smsto|callto|whatsapp|mobile?|phone)\.?:(?:\/\/)?\s*/i, '')
      .replace(/;.*$/, '')
      .replace(/^%2B/i, '+')
      .replace(/^\++/, '+')
      // A spreadsheet took it for a number, and wrote that with a fraction.
      .replace(/^(\+?\d{7,})[.,]0+$/, '$1')
      .replace(SURROUNDINGS, '')
      .trim()
  )
}

const SURROUNDINGS = /^[\s"'’‘“”´`<=]+|[\s"'’‘“”´`>,.]+$/g

/** True for a number that leaves its country open: it begins with a single zero. */
export function isNationalNumber(number: string): boolean {
  return /^[^\d+]*0(?![^\d+]*0)/.test(cleanPhoneNumber(number))
}

/**
 * The digits of an international number, without the `+` or `00` before the country code, and without the zero that some
 * write between the two: `+31 (0)6 12345678`, `0031612345678` and `31612345678` are the same; with the country NL so are
 * `0612345678` and `612345678`. Without `+` or `00` a number is one of the country, if it can be. A number that leaves its
 * country open keeps its zero, so that it is none of another country.
 */
export function normalizePhoneNumber(number: string, country?: Country): string {
  const clean = cleanPhoneNumber(number)
  const digits = clean.replace(/\D/g, '').replace(/^0+/, '')
  const hasCode = /^[^\d+]*(?:\+|0\D*0)/.test(clean)
  // The digits alone, too, so that what comes of a number comes of it again.
  const ofCountry = country && !hasCode ? numberOf(country, clean, digits) : undefined
  const isNational = isNationalNumber(number)
  const known = ofCountry ?? (isNational ? undefined : validNumber(`+${digits}`))
  // Numbers that are not given out, as those for examples, are written in the same ways.
  const possible = country && isNational ? possibleNumber(clean, country) : undefined
  return (
    known ??
    possible ??
    clean
      .replace(/^(\D*\d[^(]*)\(0\)/, '$1')
      .replace(/\D/g, '')
      .replace(/^0+/, isNational && !country ? '0' : '')
  )
}

/** True for digits that are a number of some country, without a `+`, a zero or anything else that says so. */
export function isInternational(number: string): boolean {
  const clean = cleanPhoneNumber(number)
  return /^[^\d+]*[1-9]/.test(clean) && validNumber(`+${clean.replace(/\D/g, '')}`) !== undefined
}

/** True for a number of this country, with its country code or without. */
export function isNumberOf(country: Country, number: string): boolean {
  return possibleNumber(cleanPhoneNumber(number), country) !== undefined
}

/** A number without `+` or `00` as one of a country: with its country code where it is one so. */
function numberOf(country: Country, clean: string, digits: string): string | undefined {
  const isWhole = clean.startsWith(getCountryCallingCode(country))
  return (
    (isWhole ? validNumber(`+${digits}`) : undefined) ?? validNumber(clean, country) ?? validNumber(digits, country)
  )
}

/** The digits of a number that has as many as one of the country. */
function possibleNumber(number: string, country: Country): string | undefined {
  const known = parsePhoneNumberFromString(number, country)
  return known?.isPossible() ? known.number.slice(1) : undefined
}

/** The digits of a number that the library knows. */
function validNumber(number: string, country?: Country): string | undefined {
  const known = parsePhoneNumberFromString(number, country)
  return known?.isValid() ? known.number.slice(1) : undefined
}

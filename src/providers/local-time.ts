/**
 * Times without an offset, as providers write them, in the provider's own time zone.
 *
 * Tolerant by purpose: a report is never dropped for its time. Seconds of 60 and more (the vendor's own example has 63)
 * run over into the next minute. The plus of an offset may have become a space, as it does in a query. In the doubled hour of
 * autumn the earlier instant is taken, unless `near`, an instant known exactly, is closer to the later one; the missing hour
 * of spring is read as if the clock had not been put forward.
 */
import { Temporal } from 'temporal-polyfill'

const PATTERN =
  /^(\d{4})-(\d{2})-(\d{2})[T ](\d{2}):(\d{2})(?::(\d{2})(?:[.,](\d{1,9}))?)?(?:\s*(Z|UTC|GMT|[+-]\d{2}(?::?\d{2})?)|\s(\d{2}:?\d{2}))?$/i
/** Earlier times stand for none, as in `0001-01-01T00:00:00`. */
const FIRST_YEAR = 1971
/** As in e-mail and HTTP, always with an offset. */
const DATED = /^(?:[A-Z][a-z]{2}, )?\d{1,2} [A-Z][a-z]{2} \d{4} \d{2}:\d{2}(?::\d{2})? (?:GMT|UTC|[+-]\d{4})$/

/** The instant of Unix seconds or milliseconds. */
export function parseUnixTime(text: string): Date | undefined {
  if (!/^\d{10}(?:\d{3})?$/.test(text)) return undefined
  return new Date(Number(text) * (text.length === 10 ? 1000 : 1))
}

/**
 * The instant of `2024-02-16 15:43:16.905` in `timeZone`; with an offset (`2021-08-24T08:08:00+02:00`) the zone is not
 * needed. Undefined when the text is no time at all.
 */
export function parseLocalTime(text: string, timeZone: string, near?: Date): Date | undefined {
  const match = PATTERN.exec(text.trim())
  if (!match) {
    const ms = DATED.test(text.trim()) ? Date.parse(text) : Number.NaN
    return Number.isNaN(ms) ? undefined : new Date(ms)
  }
  const [, year, month, day, hour, minute, second = '0', fraction = '', signed, unsigned] = match
  if (Number(year) < FIRST_YEAR) return undefined
  const offset = signed ?? (unsigned && `+${unsigned}`)
  const minuteMs = utcOf([year, month, day, hour, minute].map(Number))
  if (minuteMs === undefined) return undefined
  const local = minuteMs + Number(second) * 1000 + Math.trunc(Number(`0.${fraction || '0'}`) * 1000)
  if (offset) return new Date(local - offsetMs(offset))
  const { earlier, later } = offsetsOf(local, timeZone)
  const candidate = new Date(local - earlier)
  if (!near || earlier === later) return candidate
  const other = new Date(local - later)
  return Math.abs(other.getTime() - near.getTime()) < Math.abs(candidate.getTime() - near.getTime()) ? other : candidate
}

/** The fields as if they were UTC, in epoch milliseconds; undefined when there is no such date or time of day. */
function utcOf([year = 0, month = 0, day = 0, hour = 0, minute = 0]: number[]): number | undefined {
  const date = new Date(0)
  date.setUTCFullYear(year, month - 1, day)
  const isDate = date.getUTCMonth() === month - 1 && date.getUTCDate() === day
  return isDate && hour < 24 && minute < 60 ? date.setUTCHours(hour, minute) : undefined
}

interface Offsets {
  earlier: number
  later: number
}

const HOUR_MS = 3_600_000
const MOST_HOURS = 10_000
/** Offsets change at full hours only where our providers are, so one look into the time zone serves a whole hour. */
const offsets = new Map<string, Offsets>()

/** How far local time is ahead of UTC, in milliseconds: twice, because in the doubled hour there are two answers. */
function offsetsOf(local: number, timeZone: string): Offsets {
  const hourMs = Math.floor(local / HOUR_MS) * HOUR_MS
  const key = `${hourMs} ${timeZone}`
  const known = offsets.get(key)
  if (known) return known
  const hour = Temporal.Instant.fromEpochMilliseconds(hourMs).toZonedDateTimeISO('UTC').toPlainDateTime()
  const offset = (disambiguation: 'compatible' | 'later') =>
    hourMs - hour.toZonedDateTime(timeZone, { disambiguation }).epochMilliseconds
  const found = { earlier: offset('compatible'), later: offset('later') }
  if (offsets.size === MOST_HOURS) offsets.clear()
  offsets.set(key, found)
  return found
}

function offsetMs(offset: string): number {
  if (/^[a-z]/i.test(offset)) return 0
  const sign = offset.startsWith('-') ? -1 : 1
  return sign * (Number(offset.slice(1, 3)) * 60 + Number(offset.slice(3).replace(':', '') || '0')) * 60_000
}

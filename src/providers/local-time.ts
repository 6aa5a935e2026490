/**
 * Times without an offset, as providers write them, in the provider's own time zone.
 *
 * Tolerant by purpose: a report is never dropped for its time. Seconds of 60 and more (the vendor's own example has 63)
 * run over into the next minute. In the doubled hour of autumn the earlier instant is taken, unless `near`, an instant
 * known exactly, is closer to the later one; the missing hour of spring is read as if the clock had not been put forward.
 */
import { Temporal } from 'temporal-polyfill'

const PATTERN =
  /^(\d{4})-(\d{2})-(\d{2})[T ](\d{2}):(\d{2})(?::(\d{2})(?:[.,](\d{1,9}))?)?\s*(Z|[+-]\d{2}(?::?\d{2})?)?$/

/**
 * The instant of `2024-02-16 15:43:16.905` in `timeZone`; with an offset (`2021-08-24T08:08:00+02:00`) the zone is not
 * needed. Undefined when the text is no time at all.
 */
export function parseLocalTime(text: string, timeZone: string, near?: Date): Date | undefined {
  const match = PATTERN.exec(text.trim())
  if (!match) return undefined
  const [, year, month, day, hour, minute, second = '0', fraction = '', offset] = match
  const local = plainDateTime([year, month, day, hour, minute].map(Number))
  if (!local) return undefined
  const milliseconds = Math.trunc(Number(`0.${fraction || '0'}`) * 1000)
  const exact = local.add({ seconds: Number(second), milliseconds })
  if (offset) return new Date(exact.toZonedDateTime('UTC').epochMilliseconds - offsetMs(offset))
  const candidate = (disambiguation: 'compatible' | 'later') =>
    new Date(exact.toZonedDateTime(timeZone, { disambiguation }).epochMilliseconds)
  const earlier = candidate('compatible')
  if (!near) return earlier
  const later = candidate('later')
  return Math.abs(later.getTime() - near.getTime()) < Math.abs(earlier.getTime() - near.getTime()) ? later : earlier
}

function plainDateTime([year, month, day, hour, minute]: (number | undefined)[]): Temporal.PlainDateTime | undefined {
  try {
    return Temporal.PlainDateTime.from(
      { year: year ?? 0, month: month ?? 0, day: day ?? 0, hour: hour ?? 0, minute: minute ?? 0 },
      { overflow: 'reject' },
    )
  } catch {
    return undefined
  }
}

function offsetMs(offset: string): number {
  if (offset === 'Z') return 0
  const sign = offset.startsWith('-') ? -1 : 1
  return sign * (Number(offset.slice(1, 3)) * 60 + Number(offset.slice(3).replace(':', '') || '0')) * 60_000
}

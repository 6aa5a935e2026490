/** Times as seven.io writes them: Europe/Berlin local time, without an offset in most places. */

const HOUR_MS = 3_600_000
const zone = new Intl.DateTimeFormat('en-US', { timeZone: 'Europe/Berlin', timeZoneName: 'longOffset' })

/** The offset changes at full hours only, so one look-up serves all times of an hour. */
let known = { hour: Number.NaN, offset: '' }

/** `2024-02-16 15:43:16.905`, with 3 or 6 decimals. */
export function formatBerlinTime(at: Date, decimals: 3 | 6): string {
  return localText(at).replace('T', ' ') + (decimals === 6 ? '000' : '')
}

/** `2021-08-24T08:08:00+02:00`. */
export function formatBerlinTimeWithOffset(at: Date): string {
  return localText(at).slice(0, 'yyyy-mm-ddThh:mm:ss'.length) + offsetAt(at)
}

/**
 * `2023-09-15T13:24:03`, as CM.com writes its local times: Amsterdam has kept Berlin's time for longer than there are
 * text messages.
 */
export function formatAmsterdamTime(at: Date): string {
  return localText(at).slice(0, 'yyyy-mm-ddThh:mm:ss'.length)
}

/** When the day of Berlin (`2024-02-16`) begins that is so many days after `day`, in epoch milliseconds. */
export function startOfBerlinDay(day: string, daysAfter = 0): number {
  const midnight = Date.parse(`${day}T00:00:00Z`) + daysAfter * 24 * HOUR_MS
  // The clocks change at one o'clock UTC, so the offset of two hours before UTC's midnight holds at Berlin's.
  return midnight - offsetMinutesAt(new Date(midnight - 2 * HOUR_MS)) * 60_000
}

function localText(at: Date): string {
  return new Date(at.getTime() + offsetMinutesAt(at) * 60_000).toISOString().slice(0, -1)
}

function offsetMinutesAt(at: Date): number {
  const offset = offsetAt(at)
  const minutes = Number(offset.slice(1, 3)) * 60 + Number(offset.slice(4))
  return offset.startsWith('-') ? -minutes : minutes
}

function offsetAt(at: Date): string {
  const hour = Math.floor(at.getTime() / HOUR_MS)
  if (hour !== known.hour) {
    const name = zone.formatToParts(at).find(({ type }) => type === 'timeZoneName')?.value ?? ''
    known = { hour, offset: name.replace('GMT', '') || '+00:00' }
  }
  return known.offset
}

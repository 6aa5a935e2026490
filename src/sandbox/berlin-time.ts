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

function localText(at: Date): string {
  const offset = offsetAt(at)
  const minutes = Number(offset.slice(1, 3)) * 60 + Number(offset.slice(4))
  const local = at.getTime() + (offset.startsWith('-') ? -minutes : minutes) * 60_000
  return new Date(local).toISOString().slice(0, -1)
}

function offsetAt(at: Date): string {
  const hour = Math.floor(at.getTime() / HOUR_MS)
  if (hour !== known.hour) {
    const name = zone.formatToParts(at).find(({ type }) => type === 'timeZoneName')?.value ?? ''
    known = { hour, offset: name.replace('GMT', '') || '+00:00' }
  }
  return known.offset
}

/** Durations as people write them in the configuration: `500ms`, `30s`, `5m`, `6h`, `30d`. */

const UNITS_MS = { ms: 1, s: 1000, m: 60_000, h: 3_600_000, d: 86_400_000 } as const

/** A hundred years: times further away cannot be written everywhere. */
const LONGEST_MS = 36_500 * UNITS_MS.d

/** Whole milliseconds of a duration, or undefined when it is not one: timers take no fractions. */
export function parseDuration(text: string): number | undefined {
  const ms = readMs(text)
  return ms !== undefined && ms <= LONGEST_MS ? ms : undefined
}

/** The form that a text should have which is no duration. */
export function durationRule(text: string): string {
  const isTooLong = (readMs(text) ?? 0) > LONGEST_MS
  return isTooLong ? 'a duration of at most 36500d' : 'a duration like 500ms, 30s, 5m, 6h or 30d'
}

function readMs(text: string): number | undefined {
  const match = /^(\d+(?:\.\d+)?)(ms|s|m|h|d)$/.exec(text.trim())
  if (!match) return undefined
  return Math.round(Number(match[1]) * UNITS_MS[match[2] as keyof typeof UNITS_MS])
}

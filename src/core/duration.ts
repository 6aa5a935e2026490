/** Durations as people write them in the configuration: `500ms`, `30s`, `5m`, `6h`, `30d`. */

const UNITS_MS = { ms: 1, s: 1000, m: 60_000, h: 3_600_000, d: 86_400_000 } as const

/** Whole milliseconds of a duration, or undefined when it is not one: timers take no fractions. */
export function parseDuration(text: string): number | undefined {
  const match = /^(\d+(?:\.\d+)?)(ms|s|m|h|d)$/.exec(text.trim())
  if (!match) return undefined
  const ms = Math.round(Number(match[1]) * UNITS_MS[match[2] as keyof typeof UNITS_MS])
  return Number.isSafeInteger(ms) ? ms : undefined
}

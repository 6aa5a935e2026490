/** Pauses that double from the first to the longest. */

export interface Pauses {
  firstMs: number
  longestMs: number
}

/** The `count`-th pause, counted from 1. */
export function doubled({ firstMs, longestMs }: Pauses, count: number): number {
  return Math.min(firstMs * 2 ** (count - 1), longestMs)
}

/** The same in whole milliseconds, with jitter over its upper half. `random` is a number in [0, 1). */
export function jittered(pauses: Pauses, count: number, random: number): number {
  return Math.round(doubled(pauses, count) * (0.5 + random / 2))
}

/** Durations and shares, as people say them. */

const UNITS: readonly [number, string][] = [
  [86_400, 'd'],
  [3600, 'h'],
  [60, 'min'],
  [1, 's'],
]

/** Like `35 s`, `4.5 min`, `12 h`. */
export function duration(seconds: number): string {
  const [size, unit] = UNITS.find(([least]) => seconds >= least) ?? [1, 's']
  return `${Number((seconds / size).toPrecision(2))} ${unit}`
}

/** A share from 0 to 1, like `98.5 %`. */
export function percent(share: number): string {
  return `${Number((share * 100).toPrecision(3))} %`
}

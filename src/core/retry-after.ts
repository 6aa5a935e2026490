/** How long a server asks to be left alone, by the headers in which servers say so. */

/** In order: the standard's own, then those of the rate limits. */
const HEADERS = ['retry-after', 'ratelimit-reset', 'x-ratelimit-reset', 'x-rate-limit-reset'] as const
/** More than a day is taken for a mistake of the sender. */
const LONGEST_MS = 86_400_000
/** Larger numbers are no seconds from now, but a time since 1970, in seconds or in milliseconds. */
const LEAST_EPOCH_S = 1_000_000_000
const LEAST_EPOCH_MS = 1_000_000_000_000

type Headers = Readonly<Record<string, string | string[] | undefined>>

/**
 * Milliseconds to wait from `now`, at most a day; undefined when no header says it. A time is counted from the answer's own
 * Date, where it has one: the server's clock need not agree with ours.
 */
export function readRetryAfter(headers: Headers, now: number): number | undefined {
  const answeredAt = dateOf(textOf(headers, 'date')) ?? now
  for (const name of HEADERS) {
    const ms = waitOf(textOf(headers, name), answeredAt)
    if (ms !== undefined) return Math.min(Math.max(ms, 0), LONGEST_MS)
  }
  return undefined
}

function textOf(headers: Headers, name: string): string {
  return [headers[name] ?? []].flat()[0]?.trim() ?? ''
}

function waitOf(value: string, now: number): number | undefined {
  if (/^\d+(\.\d+)?$/.test(value)) {
    const number = Number(value)
    if (number >= LEAST_EPOCH_MS) return number - now
    return number >= LEAST_EPOCH_S ? number * 1000 - now : number * 1000
  }
  const at = dateOf(value)
  return at === undefined ? undefined : at - now
}

/** A date as HTTP or JSON write it; the oldest form of HTTP names no zone, and means the same one as the others. */
function dateOf(value: string): number | undefined {
  if (!/^[a-z]{3,9},? |^\d{4}-\d\d-\d\d[T ]/i.test(value)) return undefined
  const ms = Date.parse(/^[a-z]{3} [a-z]{3} +\d{1,2} [\d:]{8} \d{4}$/i.test(value) ? `${value} GMT` : value)
  return Number.isNaN(ms) ? undefined : ms
}

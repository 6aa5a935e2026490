import { describe, expect, it } from 'vitest'
import { readRetryAfter } from '../../src/core/retry-after.ts'

describe('how long a server asks to be left alone', () => {
  const now = Date.UTC(2026, 0, 31, 10)
  const DAY = 86_400_000

  it.each<[Record<string, string | string[]>, number | undefined]>([
    [{ 'retry-after': '0' }, 0],
    [{ 'retry-after': '120' }, 120_000],
    [{ 'retry-after': ' 5 ' }, 5000],
    [{ 'retry-after': '1.5' }, 1500],
    [{ 'retry-after': ['3', '9'] }, 3000],
    [{ 'retry-after': 'Sat, 31 Jan 2026 10:00:30 GMT' }, 30_000],
    [{ 'retry-after': 'Sat, 31 Jan 2026 09:00:00 GMT' }, 0],
    [{ 'retry-after': '99999999' }, DAY],
    [{ 'retry-after': 'Sat, 31 Jan 2099 10:00:00 GMT' }, DAY],
    [{ 'ratelimit-reset': '7' }, 7000],
    [{ 'x-ratelimit-reset': String(now / 1000 + 60) }, 60_000],
    [{ 'x-rate-limit-reset': String(now + 2500) }, 2500],
    [{ 'retry-after': 'soon', 'x-ratelimit-reset': '9' }, 9000],
    [{ 'retry-after': '3', 'x-ratelimit-reset': '9' }, 3000],
    [{ 'retry-after': 'Sat Jan 31 10:00:30 2026' }, 30_000],
    [{ 'retry-after': 'Saturday, 31-Jan-26 10:00:30 GMT' }, 30_000],
    [{ 'x-ratelimit-reset': '2026-01-31T10:00:30Z' }, 30_000],
    [{ 'retry-after': 'Sat, 31 Jan 2026 11:00:30 +0100' }, 30_000],
    [{ 'retry-after': 'Sat, 31 Jan 2026 05:00:30 -0500' }, 30_000],
    [{ 'x-ratelimit-reset': '2026-01-31T11:00:30+0100' }, 30_000],
    [{ 'x-ratelimit-reset': '2026-01-31 10:00:30Z' }, 30_000],
    // The server's clock is two minutes behind ours, and then ahead.
    [{ 'retry-after': 'Sat, 31 Jan 2026 09:59:00 GMT', date: 'Sat, 31 Jan 2026 09:58:00 GMT' }, 60_000],
    [{ 'retry-after': 'Sat, 31 Jan 2026 10:03:00 GMT', date: 'Sat, 31 Jan 2026 10:02:00 GMT' }, 60_000],
    [{ 'x-ratelimit-reset': String(now / 1000 + 180), date: 'Sat, 31 Jan 2026 10:02:00 GMT' }, 60_000],
    [{ 'retry-after': '60', date: 'Sat, 31 Jan 2026 10:02:00 GMT' }, 60_000],
    [{ 'retry-after': '+60', 'x-ratelimit-reset': '9' }, 9000],
    [{ 'retry-after': '"60"' }, undefined],
    [{ 'retry-after': 'soon' }, undefined],
    [{ 'retry-after': '' }, undefined],
    [{ 'retry-after': [] }, undefined],
    [{}, undefined],
  ])('is read from %j as %j ms', (headers, ms) => {
    expect(readRetryAfter(headers, now)).toBe(ms)
  })
})

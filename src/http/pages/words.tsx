/** Times, durations, counts and statuses, as people read them. */
import type { JSX } from 'preact'
import { maskedStart } from '../../core/masked-text.ts'

const UNITS: readonly [unit: string, seconds: number][] = [
  ['d', 86_400],
  ['h', 3_600],
  ['min', 60],
  ['s', 1],
]

/** A duration by its two largest units, like `3 h 20 min`; below a minute by one, below ten seconds with a digit more. */
export function durationOf(seconds: number): string {
  if (seconds < 10) return `${Number(seconds.toFixed(1))} s`
  const whole = Math.round(seconds)
  const first = UNITS.findIndex(([, length]) => whole >= length)
  const [unit, length] = UNITS[first] ?? ['s', 1]
  const [next, nextLength] = UNITS[first + 1] ?? ['', Number.POSITIVE_INFINITY]
  const rest = Math.floor((whole % length) / nextLength)
  return `${Math.floor(whole / length)} ${unit}${rest > 0 ? ` ${rest} ${next}` : ''}`
}

/** A time as its distance from now, with the time itself in UTC to be read by pointing at it. */
export function Time({ at, now }: { at: string | null | undefined; now: number }): JSX.Element {
  if (!at) return <span class="none">–</span>
  const seconds = (now - Date.parse(at)) / 1000
  const words =
    Math.abs(seconds) < 1 ? 'now' : seconds > 0 ? `${durationOf(seconds)} ago` : `in ${durationOf(-seconds)}`
  return (
    <time datetime={at} title={moment(at)}>
      {words}
    </time>
  )
}

/** A time to the second, in UTC. */
export function moment(at: string): string {
  return `${at.slice(0, 10)} ${at.slice(11, 19)} UTC`
}

const counts = new Intl.NumberFormat('en')
const compact = new Intl.NumberFormat('en', { notation: 'compact', maximumSignificantDigits: 3 })

export function countOf(value: number): string {
  return counts.format(value)
}

/** A count in three digits, like `1.25M`. */
export function compactOf(value: number): string {
  return compact.format(value)
}

/** A share as a percentage, with a digit more where it is small or nearly all. */
export function percentOf(share: number): string {
  const percent = share * 100
  const isWhole = Number.isInteger(percent) || (percent >= 10 && percent <= 90)
  return `${percent.toFixed(isWhole ? 0 : 1)} %`
}

/** `1 message`, `2 messages`. */
export function plural(count: number, one: string, many = `${one}s`): string {
  return `${countOf(count)} ${count === 1 ? one : many}`
}

const TONES: Readonly<Record<string, string>> = {
  delivered: 'good',
  read: 'good',
  undelivered: 'bad',
  expired: 'bad',
  rejected: 'bad',
  failed: 'bad',
  unknown: 'dim',
}

export function Status({ status }: { status: string | null }): JSX.Element {
  if (status === null) return <span class="status waiting">no status yet</span>
  return <span class={`status ${TONES[status] ?? 'waiting'}`}>{status}</span>
}

const MOST_WORDS = 1_000

/** The words of a provider, without the phone numbers that they may hold. */
export function wordsOf(text: string): string {
  return maskedStart(text, MOST_WORDS)
}

/** Why a message failed. */
export function reasonOf({ code, description }: { code?: string | null; description?: string | null }): string {
  return wordsOf([code, description].filter(Boolean).join(': '))
}

/** A phone number by its last two digits. */
export function masked(number: string): string {
  return `…${number.slice(-2)}`
}

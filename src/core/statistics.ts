/**
 * The counts of an hour (db/counts.ts) as figures for people: how messages ended, who found it, how late it was
 * known, what asking cost and what it saved, and how old the messages are that are outstanding.
 */
import { type Ending, endingOf, FINAL_STATUSES, type FinalStatus, SOURCES, type Source } from './status.ts'

/** A sum of what was counted under a measure and a key. */
export interface Count {
  measure: string
  key: string
  n: number
}

/** How long after it happened a final status was known: at most so long, and longer than the one before. */
export const DELAYS = ['10s', '1m', '10m', 'later'] as const
export type Delay = (typeof DELAYS)[number]

export interface Statistics {
  /** Messages by the final status that stands. */
  ended: Record<FinalStatus, number>
  /** The same messages by who brought that status. */
  foundBy: Record<Source, number>
  /** By how long after it happened it was known; without those whose window closed, and those of which it was not noted. */
  known: Record<Delay, number>
  /** Messages that a webhook settled before anybody had asked about them. */
  pollsSaved: number
  /** Requests that the provider answered. */
  requests: number
  /** The messages that these asked about, or were told of. */
  ids: number
}

function zeros<K extends string>(keys: readonly K[]): Record<K, number> {
  return Object.fromEntries(keys.map((key) => [key, 0])) as Record<K, number>
}

export function statisticsOf(counts: Iterable<Count>): Statistics {
  const found: Statistics = {
    ended: zeros(FINAL_STATUSES),
    foundBy: zeros(SOURCES),
    known: zeros(DELAYS),
    pollsSaved: 0,
    requests: 0,
    ids: 0,
  }
  for (const { measure, key, n } of counts) {
    if (measure === 'requests' || measure === 'ids') found[measure] += n
    if (measure === 'ended') addEnded(found, key.split(' '), n)
  }
  return found
}

/** The key is written by the function `ended_key` of the database: status, source, delay, and whether it was asked about. */
function addEnded(found: Statistics, [status, source, delay, asked]: string[], n: number): void {
  add(found.ended, status, n)
  add(found.foundBy, source, n)
  add(found.known, delay, n)
  if (source === 'webhook' && asked === 'unasked') found.pollsSaved += n
}

function add(sums: Record<string, number>, key: string | undefined, n: number): void {
  if (key !== undefined && key in sums) sums[key] = (sums[key] ?? 0) + n
}

/** The sums of both. */
export function addStatistics(one: Statistics, other: Statistics): Statistics {
  const { pollsSaved, requests, ids } = other
  return {
    ended: sumOf(one.ended, other.ended),
    foundBy: sumOf(one.foundBy, other.foundBy),
    known: sumOf(one.known, other.known),
    pollsSaved: one.pollsSaved + pollsSaved,
    requests: one.requests + requests,
    ids: one.ids + ids,
  }
}

function sumOf<K extends string>(one: Record<K, number>, other: Record<K, number>): Record<K, number> {
  const sums = { ...one }
  for (const key of Object.keys(other) as K[]) sums[key] += other[key]
  return sums
}

/** The ended messages by their ending. */
export function endingsOf({ ended }: Statistics): Record<Ending, number> {
  const sums = { delivered: 0, failed: 0, unknown: 0 }
  for (const status of FINAL_STATUSES) sums[endingOf(status)] += ended[status]
  return sums
}

/** The share of messages that was known within each delay, from 0 to 1; undefined where none was. */
export function sharesKnownWithin({ known }: Statistics): Record<Exclude<Delay, 'later'>, number> | undefined {
  const all = DELAYS.reduce((sum, delay) => sum + known[delay], 0)
  if (all === 0) return undefined
  return {
    '10s': known['10s'] / all,
    '1m': (known['10s'] + known['1m']) / all,
    '10m': (known['10s'] + known['1m'] + known['10m']) / all,
  }
}

/** Messages that were sent within an hour, by its beginning in milliseconds since 1970. */
export interface SentHour {
  hour: number
  messages: number
}

const HOUR_MS = 3_600_000

/**
 * How many messages are no older than each of these ages, in milliseconds and rising, and older than the one before; the
 * last number counts those that are older than all. An hour counts by its middle.
 */
export function countByAge(hours: Iterable<SentHour>, now: number, ages: readonly number[]): number[] {
  const counted = Array.from({ length: ages.length + 1 }, () => 0)
  for (const { hour, messages } of hours) {
    const age = now - hour - HOUR_MS / 2
    const place = ages.findIndex((edge) => age <= edge)
    const index = place === -1 ? ages.length : place
    counted[index] = (counted[index] ?? 0) + messages
  }
  return counted
}

/**
 * The health of an account: which of its look-ups is in use, whether it gets good answers, and until when nobody asks.
 * Every outcome of a request moves it on, whichever process asked; so one message is blamed, one pause kept and one
 * look-up given up for all of them together.
 *
 *                          answered
 *        ┌──────────────────────────────────────────────────┐
 *        v                                                  │
 *       ok ──┬─ refused (the credentials) ───────────────┬─ in trouble ── probe: one message, after growing pauses
 *            ├─ 3 bad answers in a row, over 60 s ───────┤       ^  │
 *            ├─ as many refusals in a row as are allowed ┤       └──┘ bad again
 *            ├─ the last look-up has ended ──────────────┘
 *            │
 *            ├─ throttled ── paused for as long as the provider asks ── ok
 *            └─ gone ── paused for 10 s ── probe ──┬─ answered ── ok
 *                                                  └─ gone again ── the next look-up; the first is tried once a day
 *
 * Refused requests are those whose content the provider blames. A message is at fault only if others were answered
 * since it was first refused (`mayBlame`); until then it is a suspect. Where the provider refuses one batch after the
 * other it is the account's trouble; when a probe then shows that it was the messages' fault, more refusals are allowed
 * the next time.
 *
 * New credentials forget all of it; a person who asks now ends any pause (`endPause`).
 */
import { doubled } from './backoff.ts'
import { MEANINGS, type ProviderErrorKind, type Trouble } from './provider-failure.ts'

/** All times are milliseconds since 1970, by the database's clock. */
export interface AccountHealth {
  /** The name of the look-up in use; the account's first when left out. */
  lookup?: string | undefined
  /** When the look-up in use first said that it has ended. */
  goneAt?: number | undefined
  /** When the first look-up was tried last, while another is in use. */
  firstTriedAt?: number | undefined
  lastGoodAt?: number | undefined
  /** The answers since then that were not good. */
  bad?: BadAnswers | undefined
  trouble?: Trouble | undefined
  /** How many probes in a row brought no good answer. */
  probes?: number | undefined
  pausedUntil?: number | undefined
  /** How many requests in a row may be refused before it counts as trouble. */
  refusalsAllowed?: number | undefined
  /** Messages that were refused alone, and when first: the latest of them. */
  suspects?: Suspect[] | undefined
}

interface Suspect {
  messageId: string
  since: number
}

interface BadAnswers {
  since: number
  count: number
  refusals: number
  /** Why the latest was not good. */
  reason: string
}

/** The outcome of one request. */
export interface Outcome {
  /** The name of the look-up that was asked. */
  lookup: string
  result: 'answered' | ProviderErrorKind
  /** Why there was no good answer, in words. */
  reason: string
  /** How long the provider asks to be left alone. */
  retryAfterMs?: number | undefined
  /** The message, where it was asked about alone. */
  messageId?: string | undefined
  /** The job asked the first look-up, once a day, while another is in use. */
  isTrial?: boolean | undefined
  /** The request was a batch as it was cut: no part of a refused one, no probe and no trial. */
  isWhole?: boolean | undefined
}

/** The events that the operator is told of. */
export type HealthEvent =
  | { event: 'trouble'; trouble: Trouble; reason: string }
  | { event: 'recovered' }
  | { event: 'look-up changed'; from: string; to: string; reason: string }

export interface Step {
  health: AccountHealth
  events: HealthEvent[]
}

const TROUBLE_AFTER = { badAnswers: 3, ms: 60_000 }
const REFUSALS_ALLOWED = { atFirst: 5, factor: 4, most: 320 }
const MOST_SUSPECTS = 50
/** A shorter wait that the provider names is none. */
const LEAST_WAIT_MS = 1_000
const FIRST_LOOKUP_TRIED_EVERY_MS = 24 * 3_600_000

/** True when only one message may be asked about, to see whether things are better. */
export function needsProbe({ trouble, goneAt }: AccountHealth): boolean {
  return trouble !== undefined || goneAt !== undefined
}

export function isPaused({ pausedUntil }: AccountHealth, now: number): boolean {
  return pausedUntil !== undefined && pausedUntil > now
}

/** True while nobody may ask, or only the one who tries whether things are better. */
export function mustWait(health: AccountHealth, { tries }: { tries: boolean }, now: number): boolean {
  return isPaused(health, now) || (needsProbe(health) && !tries)
}

/** True when the first look-up may work again and has not been tried for a day. */
export function isTrialDue({ lookup, firstTriedAt = 0 }: AccountHealth, first: string, now: number): boolean {
  return lookup !== undefined && lookup !== first && now - firstTriedAt >= FIRST_LOOKUP_TRIED_EVERY_MS
}

/**
 * True when a message that is refused alone is at fault itself: others were answered since it was first refused, alone or
 * (`refusedAt`) as a part of a batch.
 */
export function mayBlame(
  { lastGoodAt = 0, suspects = [] }: AccountHealth,
  messageId: string,
  refusedAt = Infinity,
): boolean {
  const since = suspects.find((suspect) => suspect.messageId === messageId)?.since ?? Infinity
  return lastGoodAt >= Math.min(since, refusedAt)
}

/** A person asks now: nobody waits any longer, and further pauses begin short again. */
export function endPause(health: AccountHealth): AccountHealth {
  return { ...health, pausedUntil: undefined, probes: undefined }
}

/** The health after one more outcome, `lookups` being the names of the account's look-ups in their order. */
export function nextHealth(health: AccountHealth, outcome: Outcome, now: number, lookups: readonly string[]): Step {
  const [first = ''] = lookups
  const inUse = health.lookup !== undefined && lookups.includes(health.lookup) ? health.lookup : first
  if (outcome.isTrial && inUse !== first) return afterTrial(health, outcome, now, first)
  if (outcome.lookup !== inUse) return unchanged(health)
  const { result } = outcome
  if (result === 'answered') return afterAnswer(health, outcome, now)
  return result === 'gone' ? afterGone(health, outcome, now, lookups) : afterBad(health, result, outcome, now)
}

function unchanged(health: AccountHealth): Step {
  return { health, events: [] }
}

function afterAnswer(health: AccountHealth, outcome: Outcome, now: number): Step {
  const { lookup, firstTriedAt, trouble, pausedUntil, suspects } = health
  return {
    health: {
      lookup,
      firstTriedAt,
      lastGoodAt: now,
      refusalsAllowed: refusalsAllowedAfter(health, outcome),
      suspects: suspects?.filter(({ messageId }) => messageId !== outcome.messageId),
      // The pause of a trouble ends with it; the one that the provider has asked for does not.
      pausedUntil: !trouble && isPaused(health, now) ? pausedUntil : undefined,
    },
    events: trouble ? [{ event: 'recovered' }] : [],
  }
}

function refusalsAllowedAfter({ refusalsAllowed, trouble, bad }: AccountHealth, { isWhole }: Outcome) {
  const { atFirst, factor, most } = REFUSALS_ALLOWED
  if (trouble && bad && bad.refusals > 0) return Math.min((refusalsAllowed ?? atFirst) * factor, most)
  return isWhole ? undefined : refusalsAllowed
}

function afterTrial(health: AccountHealth, outcome: Outcome, now: number, first: string): Step {
  if (outcome.result !== 'answered') return unchanged({ ...health, firstTriedAt: now })
  const step = afterAnswer({ ...health, lookup: undefined, firstTriedAt: undefined }, outcome, now)
  const { lookup: from = first } = health
  return {
    ...step,
    events: [...step.events, { event: 'look-up changed', from, to: first, reason: 'it answers again' }],
  }
}

function afterGone(health: AccountHealth, outcome: Outcome, now: number, lookups: readonly string[]): Step {
  if (health.goneAt === undefined) {
    return unchanged({ ...noteBad(health, outcome, now), goneAt: now, pausedUntil: now + MEANINGS.gone.waitMs })
  }
  // Requests that were under way together with the first say nothing new.
  if (isPaused(health, now)) return unchanged(health)
  const { reason } = outcome
  const moved = { ...health, goneAt: undefined, pausedUntil: undefined }
  const next = lookups[lookups.indexOf(outcome.lookup) + 1]
  if (next !== undefined) {
    const events: HealthEvent[] = [{ event: 'look-up changed', from: outcome.lookup, to: next, reason }]
    return { health: { ...moved, lookup: next, firstTriedAt: now }, events }
  }
  // Back to the first, for when this was a wrong base URL rather than the end of every look-up.
  const back = { ...noteBad(moved, outcome, now), lookup: undefined, firstTriedAt: undefined }
  return beginTrouble(back, 'gone', now)
}

function afterBad(health: AccountHealth, kind: ProviderErrorKind, outcome: Outcome, now: number): Step {
  const noted = noteBad(health, outcome, now)
  const wait = waitAfter(kind, outcome, noted.bad.count)
  // Requests that were under way while the pause began are no probes.
  if (!isTrouble(noted, kind, now) || (health.trouble && isPaused(health, now))) {
    return unchanged(pauseFor(noted, wait, now))
  }
  const step = beginTrouble(noted, kind, now)
  return { ...step, health: pauseFor(step.health, wait, now) }
}

/** As long as the provider says; where it says that the wait is over, the pauses grow until it is. */
function waitAfter(kind: ProviderErrorKind, { retryAfterMs }: Outcome, count: number): number {
  const { waitMs } = MEANINGS[kind]
  if (waitMs === 0 || retryAfterMs === undefined) return waitMs
  return retryAfterMs >= LEAST_WAIT_MS ? retryAfterMs : Math.min(LEAST_WAIT_MS * 2 ** (count - 1), waitMs)
}

function noteBad(
  health: AccountHealth,
  { result, reason, messageId }: Outcome,
  now: number,
): AccountHealth & { bad: BadAnswers } {
  const { since, count, refusals } = health.bad ?? { since: now, count: 0, refusals: 0 }
  const isRefusal = result === 'request'
  return {
    ...health,
    bad: { since, count: count + 1, refusals: refusals + (isRefusal ? 1 : 0), reason },
    suspects: isRefusal && messageId !== undefined ? suspect(health.suspects, messageId, now) : health.suspects,
  }
}

function suspect(suspects: Suspect[] = [], messageId: string, now: number): Suspect[] {
  if (suspects.some((known) => known.messageId === messageId)) return suspects
  return [...suspects.slice(1 - MOST_SUSPECTS), { messageId, since: now }]
}

/** Whether an account is in trouble after a bad answer. */
function isTrouble(
  { bad, trouble, refusalsAllowed = REFUSALS_ALLOWED.atFirst }: AccountHealth & { bad: BadAnswers },
  kind: ProviderErrorKind,
  now: number,
): boolean {
  const isLong = bad.count >= TROUBLE_AFTER.badAnswers && now - bad.since >= TROUBLE_AFTER.ms
  return trouble !== undefined || MEANINGS[kind].isTroubleAtOnce || isLong || bad.refusals >= refusalsAllowed
}

function beginTrouble(health: AccountHealth & { bad: BadAnswers }, kind: ProviderErrorKind, now: number): Step {
  const { trouble, probes: pauses } = MEANINGS[kind]
  const probes = (health.probes ?? 0) + 1
  return {
    health: { ...health, trouble, probes, pausedUntil: now + doubled(pauses, probes) },
    events: health.trouble === trouble ? [] : [{ event: 'trouble', trouble, reason: health.bad.reason }],
  }
}

/** Pauses for `ms` at least. */
function pauseFor(health: AccountHealth, ms: number, now: number): AccountHealth {
  return ms <= 0 ? health : { ...health, pausedUntil: Math.max(health.pausedUntil ?? 0, now + ms) }
}

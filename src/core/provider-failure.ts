/**
 * The meaning of a failed request to a provider. Which kind a failure is say the status (`kindOfStatus`) and the
 * providers' modules; `MEANINGS` and `stepAfter` say all that follows from it. account-health.ts moves the account on,
 * jobs/query-statuses.ts does with the messages what the step says.
 *
 * kind         seen as                     the account waits               its messages               the way back
 * ──────────────────────────────────────────────────────────────────────────────────────────────────────────────────────
 * throttled    429, 403, a time to wait    as long as it is asked to,      given back                 the wait is over
 *              with 502, 503 or 504        10 s if nothing says how long
 * transient    5xx, a broken answer        in trouble: 10 s to 1 min       asked about up to 5        a good answer
 *                                                                          times, 1 to 30 s apart,
 *                                                                          then given back for later
 * unreachable  no connection               the same                        the same                   the same
 * account      401, another address        at once: 10 min to 1 h          given back                 a probe is answered
 * request      400, 414, 422, other 4xx    in trouble: 1 s to 30 min       cut in halves; one left:   a good answer; a
 *                                                                          set apart if it is to      message set apart is
 *                                                                          blame, else as transient   asked alone once a day
 * gone         404, 410                    10 s, then goes on by the       given back                 the first look-up is
 *                                          next look-up                                               tried once a day
 *
 * An account is in trouble after several bad answers in a row, and then asks about one message at a time, a probe
 * (account-health.ts). While it waits, the messages of every failed request are given back.
 */
import { jittered, type Pauses } from './backoff.ts'
import type { PollingPolicy } from './polling.ts'

export const PROVIDER_ERROR_KINDS = ['throttled', 'transient', 'unreachable', 'account', 'request', 'gone'] as const
export type ProviderErrorKind = (typeof PROVIDER_ERROR_KINDS)[number]

/** `refused`: the credentials; `unreachable`: no connection; `failing`: anything else that is no good answer. */
export type Trouble = 'refused' | 'unreachable' | 'failing'

interface Meaning {
  messages: 'given back' | 'asked again' | 'cut'
  trouble: Trouble
  /** One such answer is trouble. */
  isTroubleAtOnce: boolean
  /** How long the account waits after one such answer, in trouble or not, unless the provider says how long. */
  waitMs: number
  /** The pauses between probes while the account is in trouble. */
  probes: Pauses
}

const PASSING: Pauses = { firstMs: 10_000, longestMs: 60_000 }
const LASTING: Pauses = { firstMs: 10 * 60_000, longestMs: 3_600_000 }
/** A probe soon tells messages at fault from an account in trouble. */
const BLAMING: Pauses = { firstMs: 1_000, longestMs: 30 * 60_000 }

export const MEANINGS: Readonly<Record<ProviderErrorKind, Meaning>> = {
  throttled: { messages: 'given back', trouble: 'failing', isTroubleAtOnce: false, waitMs: 10_000, probes: PASSING },
  transient: { messages: 'asked again', trouble: 'failing', isTroubleAtOnce: false, waitMs: 0, probes: PASSING },
  unreachable: { messages: 'asked again', trouble: 'unreachable', isTroubleAtOnce: false, waitMs: 0, probes: PASSING },
  account: { messages: 'given back', trouble: 'refused', isTroubleAtOnce: true, waitMs: 0, probes: LASTING },
  request: { messages: 'cut', trouble: 'failing', isTroubleAtOnce: false, waitMs: 0, probes: BLAMING },
  gone: { messages: 'given back', trouble: 'failing', isTroubleAtOnce: false, waitMs: 10_000, probes: LASTING },
}

/** Answers that may say how long to wait. */
const PATIENT: ReadonlySet<number> = new Set([403, 429, 502, 503, 504])

/** The kind of an answer that is no success; `retryAfterMs` is how long its headers ask to wait. */
export function kindOfStatus(status: number, retryAfterMs: number | undefined): ProviderErrorKind {
  if (retryAfterMs !== undefined && PATIENT.has(status)) return 'throttled'
  // Forbidden is, to most providers, a limit or a guard of the moment; where it lasts, the account is in trouble.
  if (status === 429 || status === 403) return 'throttled'
  if (status === 401) return 'account'
  if (status === 404 || status === 410) return 'gone'
  return status >= 400 && status < 500 && status !== 408 ? 'request' : 'transient'
}

/** How often a job asks before its messages are given back for later. */
export const MOST_ATTEMPTS = 5
const RETRIES: Pauses = { firstMs: 2_000, longestMs: 30_000 }
export const LONGEST_RETRY_MS = RETRIES.longestMs

/** The pause after a job's `attempt`-th failure, counted from 1. `random` is a number in [0, 1). */
export function retryDelay(attempt: number, random: number): number {
  return jittered(RETRIES, attempt, random)
}

const LONGEST_PAUSE_MS = 5 * 60_000
const LEARNED_PAUSE_MS = 60_000

/** How long messages wait when their job has given up: as long as between two polls, a tenth more or less. */
function pauseAfterGivingUp(policy: PollingPolicy, random: number): number {
  const interval = policy.policy === 'learned' ? LEARNED_PAUSE_MS : Math.min(policy.firstAfterMs, policy.maxIntervalMs)
  return Math.min(interval * (0.9 + 0.2 * random), LONGEST_PAUSE_MS)
}

/** A failed request, and how things stand after it. */
export interface FailedRequest {
  kind: ProviderErrorKind
  /** Which attempt of its job it was, counted from 1. */
  attempt: number
  /** How many message IDs it named; undefined for a page of a sweep. */
  ids: number | undefined
  /** The first look-up was tried while another is in use. */
  isTrial: boolean
  /** The account is paused by now, or waits for a probe. */
  mustWait: boolean
  inTrouble: boolean
  /** The one message that was asked about is at fault: others were answered since it was first refused. */
  isToBlame: boolean
}

/** The next step for the messages of a failed request, which are due again after `delayMs`. */
export type FailureStep =
  /** The account waits; the job fails, with the reason in view, where it is in trouble. */
  | { step: 'give back'; delayMs: number; isFailed: boolean }
  | { step: 'cut in halves' }
  /** The message is asked about alone from now on. */
  | { step: 'set apart'; delayMs: number }
  /** The same job asks again (`retryDelay`). */
  | { step: 'retry' }
  | { step: 'give up'; delayMs: number }

/** A message that was set apart and is refused again stays so, and its account hears nothing of it. */
export const SET_APART = { step: 'set apart', delayMs: 24 * 3_600_000 } as const satisfies FailureStep

/** `random` is a number in [0, 1). */
export function stepAfter(failed: FailedRequest, policy: PollingPolicy, random: number): FailureStep {
  const { kind, attempt, ids, isTrial, mustWait, inTrouble, isToBlame } = failed
  const { messages } = MEANINGS[kind]
  // Due at once: the dispatcher claims nothing while the account waits, and the end of the wait is one for all of them.
  if (isTrial || mustWait || messages === 'given back') {
    return { step: 'give back', delayMs: 0, isFailed: inTrouble && !isTrial }
  }
  if (messages === 'cut' && ids !== undefined && ids > 1) return { step: 'cut in halves' }
  if (messages === 'cut' && isToBlame) return SET_APART
  const isHopeless = messages === 'cut' && ids === undefined
  if (!isHopeless && attempt < MOST_ATTEMPTS) return { step: 'retry' }
  return { step: 'give up', delayMs: pauseAfterGivingUp(policy, random) }
}

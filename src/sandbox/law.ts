/**
 * The delivery-time law: what becomes of a message, and when.
 *
 * How long a message takes to its final status is drawn from a mixture of lognormal distributions; some expire at the
 * validity period, some never report. The shares and medians are a proposal: no modern public distribution was found.
 *
 *   ACCEPTED ── TRANSMITTED ── (BUFFERED, slow ones) ── DELIVERED, NOTDELIVERED, FAILED, REJECTED
 *                                                    └─ EXPIRED, exactly at the validity period
 *                                                    └─ nothing more, ever
 *   (no report at all, ever)
 */
import { drawLognormal, type Random } from './random.ts'

export type SevenStatus =
  | 'ACCEPTED'
  | 'TRANSMITTED'
  | 'BUFFERED'
  | 'DELIVERED'
  | 'NOTDELIVERED'
  | 'EXPIRED'
  | 'REJECTED'
  | 'FAILED'

/** One step in the history of a message. */
export interface Transition {
  status: SevenStatus
  at: Date
}

/** One kind of message: the share of all messages, and how long they take. */
interface LawComponent {
  share: number
  medianMs: number
  sigma: number
}

/** The shares of the components, `expiredShare` and `neverShare` are relative to their sum. */
export interface Law {
  components: readonly LawComponent[]
  expiredShare: number
  neverShare: number
  /** How many of the messages that end before the validity period end in a failure. */
  failureShare: number
  /** No message becomes final after this; who is not final by then expires. */
  validityMs: number
  /** All times of the law are divided by this: at 60, a minute of the law takes a second. */
  timeScale: number
}

export const DEFAULT_LAW: Law = {
  components: [
    { share: 0.86, medianMs: 6_000, sigma: 1 },
    { share: 0.07, medianMs: 10 * 60_000, sigma: 1.2 },
    { share: 0.035, medianMs: 6 * 3_600_000, sigma: 1 },
  ],
  expiredShare: 0.02,
  neverShare: 0.015,
  failureShare: 0.04,
  validityMs: 48 * 3_600_000,
  timeScale: 1,
}

/** How the failures divide: two thirds are refused by the handset or its network. */
const FAILURES = [
  { status: 'NOTDELIVERED', share: 0.65 },
  { status: 'FAILED', share: 0.2 },
  { status: 'REJECTED', share: 0.15 },
] as const

const TRANSMITTED_MEDIAN_MS = 800
const TRANSMITTED_SIGMA = 0.5
/** A message that takes longer than this waits for its handset, and half of those say so. */
const SLOW_MS = 2 * 60_000
const BUFFERED_SHARE = 0.5
/** How many of the messages that never become final do not report at all. */
const SILENT_SHARE = 0.5

/** Draws the history of a message sent at `sentAt`, in order of time; empty when it never reports. */
export function drawHistory(random: Random, sentAt: Date, law: Law): Transition[] {
  const end = drawEnd(random, law)
  if (!end && random() < SILENT_SHARE) return []
  const endAfterMs = end?.afterMs ?? law.validityMs
  const transmittedMs = Math.min(drawLognormal(random, TRANSMITTED_MEDIAN_MS, TRANSMITTED_SIGMA), endAfterMs / 2)
  const steps: { status: SevenStatus; afterMs: number }[] = [
    { status: 'ACCEPTED', afterMs: 0 },
    { status: 'TRANSMITTED', afterMs: transmittedMs },
  ]
  if (endAfterMs > SLOW_MS && random() < BUFFERED_SHARE) {
    steps.push({ status: 'BUFFERED', afterMs: transmittedMs + random() * (SLOW_MS - transmittedMs) })
  }
  if (end) steps.push(end)
  const at = (afterMs: number) => new Date(sentAt.getTime() + Math.round(afterMs / law.timeScale))
  return steps.map(({ status, afterMs }) => ({ status, at: at(afterMs) }))
}

/** The final status and how long it takes, or undefined when it never comes. */
function drawEnd(random: Random, law: Law): { status: SevenStatus; afterMs: number } | undefined {
  const expired = { status: 'EXPIRED', afterMs: law.validityMs } as const
  const kinds = [...law.components, { share: law.expiredShare }, { share: law.neverShare }]
  const kind = drawByShare(random, kinds)
  if (kind === law.components.length + 1) return undefined
  const component = law.components[kind]
  if (!component) return expired
  const afterMs = drawLognormal(random, component.medianMs, component.sigma)
  if (afterMs >= law.validityMs) return expired
  if (random() >= law.failureShare) return { status: 'DELIVERED', afterMs }
  return { status: FAILURES[drawByShare(random, FAILURES)]?.status ?? 'FAILED', afterMs }
}

/** The index of one of `kinds`, each as likely as its share of the sum. */
function drawByShare(random: Random, kinds: readonly { share: number }[]): number {
  let left = random() * kinds.reduce((sum, { share }) => sum + share, 0)
  const index = kinds.findIndex(({ share }) => {
    left -= share
    return left < 0
  })
  return index === -1 ? kinds.findLastIndex(({ share }) => share > 0) : index
}

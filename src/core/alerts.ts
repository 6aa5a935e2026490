/**
 * Alerts: the conditions an operator is told of, once when one begins and once when it is over. One state machine for all
 * of them, pure; a condition that flaps is told neither way.
 *
 *   (nothing) ── holds ──> noticed ── held for beginAfterMs ──> begun ── gone ──> fading ── gone for endAfterMs ──> (nothing)
 *       ^                     │                                   ^                  │
 *       └──────── gone ───────┘                                   └── holds again ───┘
 */

export const ALERT_KINDS = [
  'account-refused',
  'account-unanswered',
  'webhooks-silent',
  'webhooks-refused',
  'receiver-failing',
  'callbacks-disabled',
  'callbacks-given-up',
  'tracking-failing',
  'dispatch-overdue',
  'queue-paused',
  'changes-unread',
  'queue-away',
  'memory-short',
  'disk-short',
  'clock-differs',
  'no-worker',
  'database-away',
] as const
export type AlertKind = (typeof ALERT_KINDS)[number]

/** A condition that holds. */
export interface Condition {
  kind: AlertKind
  /** An account, a receiver, a queue or a machine that it is about. */
  subject: string
  /** A sentence for people. */
  message: string
  /** Since when, in milliseconds since 1970, where that is known; else since it is first seen. */
  since?: number | undefined
}

export interface AlertRule {
  /** How long a condition must hold before it is told. */
  beginAfterMs: number
  /** How long it must be gone before that is told. */
  endAfterMs: number
}

export type AlertRules = Readonly<Record<AlertKind, AlertRule>>

const SECOND = 1000
const MINUTE = 60 * SECOND

/** Conditions that have been long in the making are told at once; those that a restart makes, too, must last. */
export const ALERT_RULES: AlertRules = {
  'account-refused': { beginAfterMs: 0, endAfterMs: MINUTE },
  'account-unanswered': { beginAfterMs: 10 * MINUTE, endAfterMs: MINUTE },
  'webhooks-silent': { beginAfterMs: 0, endAfterMs: MINUTE },
  'webhooks-refused': { beginAfterMs: 0, endAfterMs: 10 * MINUTE },
  'receiver-failing': { beginAfterMs: 30 * SECOND, endAfterMs: 30 * SECOND },
  'callbacks-disabled': { beginAfterMs: 0, endAfterMs: 0 },
  'callbacks-given-up': { beginAfterMs: 0, endAfterMs: 0 },
  'tracking-failing': { beginAfterMs: 0, endAfterMs: MINUTE },
  'dispatch-overdue': { beginAfterMs: 5 * MINUTE, endAfterMs: 5 * MINUTE },
  'queue-paused': { beginAfterMs: MINUTE, endAfterMs: 30 * SECOND },
  'changes-unread': { beginAfterMs: MINUTE, endAfterMs: 5 * MINUTE },
  'queue-away': { beginAfterMs: 30 * SECOND, endAfterMs: 30 * SECOND },
  'memory-short': { beginAfterMs: MINUTE, endAfterMs: 5 * MINUTE },
  'disk-short': { beginAfterMs: MINUTE, endAfterMs: 5 * MINUTE },
  'clock-differs': { beginAfterMs: 30 * SECOND, endAfterMs: MINUTE },
  'no-worker': { beginAfterMs: MINUTE, endAfterMs: 30 * SECOND },
  'database-away': { beginAfterMs: MINUTE, endAfterMs: 30 * SECOND },
}

/** All times are milliseconds since 1970. */
export interface AlertState {
  /** Since when the condition holds. */
  since: number
  /** When it was told. */
  begunAt?: number | undefined
  /** Since when it has been gone, while that is not told. */
  goneSince?: number | undefined
}

export interface AlertStep {
  /** Undefined when there is nothing to remember. */
  state: AlertState | undefined
  tell?: 'begun' | 'ended'
}

/** Moves an alert on by one look: whether the condition holds at `now`, and since when at least. */
export function nextAlert(
  state: AlertState | undefined,
  held: Pick<Condition, 'since'> | undefined,
  now: number,
  rule: AlertRule,
): AlertStep {
  const begunAt = state?.begunAt
  if (held) {
    const since = Math.min(state?.since ?? now, held.since ?? now, now)
    if (begunAt !== undefined) return { state: { since, begunAt } }
    return now - since >= rule.beginAfterMs ? { state: { since, begunAt: now }, tell: 'begun' } : { state: { since } }
  }
  if (!state || begunAt === undefined) return { state: undefined }
  const goneSince = state.goneSince ?? now
  if (now - goneSince < rule.endAfterMs) return { state: { ...state, goneSince } }
  return { state: undefined, tell: 'ended' }
}

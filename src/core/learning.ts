/**
 * The lessons of an account: when its messages become final, and whether receipts come. Everything that is found out
 * about a message is an observation; observations are gathered as news, and news are merged into what was learned before.
 */
import {
  countReceipt,
  countSighting,
  type Evidence,
  learnedCurve,
  learnedLag,
  learnedLoss,
  mergeEvidence,
  noEvidence,
} from './evidence.ts'
import type { PollingPolicy } from './polling.ts'
import type { Source } from './status.ts'
import { nextRoute, type RouteNews, type RouteStep, unprovedRoute, type WebhookRoute } from './webhook-route.ts'
import type { Costs, Economy } from './worth.ts'

export interface Learned {
  evidence: Evidence
  route: WebhookRoute
  /** Losses while the route was silent, which were not counted, and whose receipts have not come yet. */
  passedOver: number
}

export interface News {
  evidence: Evidence
  route: RouteNews & { losses: number[]; early: number[] }
}

/** The findings about a message at `now`. Times are milliseconds since 1970. */
export interface Observation {
  now: number
  sentAt: number
  /** When an answer had last told of it before. */
  askedAt: number | undefined
  source: Source
  /** When it became final, by the provider's time; undefined when it has no final status yet. */
  finalAt: number | undefined
  /** When it was tracked. */
  trackedAt?: number | undefined
  /** The final status that was known before. */
  known?: { settledBy: Source; changedAt: number } | undefined
}

/** The receipts of messages that had ended so long before they were tracked went elsewhere, or came before there was a Lastword. */
const LATE_TRACKING_MS = 3_600_000
const SHORTEST_GRACE_MS = 15_000
const PRICE_A_GRACE = 20

/** How late a receipt may be before it counts as lost: twice its usual lag, and, but for low prices, fifteen seconds. */
export function graceOf({ evidence }: Learned, policy: PollingPolicy): number {
  const shortest =
    policy.policy === 'learned' ? Math.min(SHORTEST_GRACE_MS, policy.priceMs / PRICE_A_GRACE) : SHORTEST_GRACE_MS
  return Math.max(shortest, 2 * learnedLag(evidence))
}

export function nothingLearned(now: number): Learned {
  return { evidence: noEvidence(now), route: unprovedRoute(now), passedOver: 0 }
}

export function noNews(now: number): News {
  return { evidence: noEvidence(now), route: { receipts: 0, lastReceiptAt: 0, losses: [], early: [] } }
}

/** Counts an observation, in place. `graceMs` is how late a receipt may be. */
export function observe({ evidence, route }: News, seen: Observation, graceMs: number): void {
  const { now, sentAt, askedAt = sentAt, source, finalAt, trackedAt = sentAt, known } = seen
  if (source === 'webhook') {
    route.receipts += 1
    route.lastReceiptAt = Math.max(route.lastReceiptAt, now)
  }
  if (known) {
    if (finalAt === undefined || source !== 'webhook' || known.settledBy !== 'poll') return
    countReceipt(evidence, now - finalAt)
    if (known.changedAt - finalAt > graceMs) evidence.lost -= 1
    return
  }
  const fromAge = askedAt - sentAt
  if (finalAt === undefined || source === 'window') {
    if (source !== 'webhook') countSighting(evidence, { fromAge, toAge: now - sentAt, isFinal: false })
    return
  }
  countSighting(evidence, { fromAge, toAge: finalAt - sentAt, isFinal: true })
  if (source === 'webhook') countReceipt(evidence, now - finalAt)
  else if (trackedAt - finalAt > LATE_TRACKING_MS) return
  else if (now - finalAt > graceMs) {
    evidence.lost += 1
    route.losses.push(finalAt)
  } else route.early.push(finalAt)
}

/** Counts the receipt of a message that is not tracked (yet), in place. */
export function observeUnmatched({ evidence, route }: News, now: number, isFinal: boolean): void {
  route.receipts += 1
  route.lastReceiptAt = Math.max(route.lastReceiptAt, now)
  if (isFinal) evidence.received += 1
}

/**
 * Merges news. `graceMs` is how late a receipt may be. Losses while the route is silent say nothing about how many are
 * usually lost, and nor do their receipts when these come after all.
 */
export function learn(
  learned: Learned,
  news: News,
  { graceMs, now }: { graceMs: number; now: number },
): { learned: Learned; event?: RouteStep['event'] } {
  const step = nextRoute(learned.route, news.route, { loss: learnedLoss(learned.evidence), graceMs, now })
  const isSilent = step.route.state === 'silent'
  const { lost } = news.evidence
  const passed = learned.passedOver + (isSilent ? Math.max(0, lost) : 0)
  const forgiven = Math.min(passed, Math.max(0, -lost))
  const told = { ...news.evidence, lost: (isSilent ? Math.min(0, lost) : lost) + forgiven }
  return {
    learned: {
      evidence: mergeEvidence(learned.evidence, told, now),
      route: step.route,
      passedOver: passed - forgiven,
    },
    ...(step.event ? { event: step.event } : {}),
  }
}

/** The economy that follows from what was learned. */
export function economyOf({ evidence, route }: Learned, costs: Costs): Economy {
  const loss = route.state === 'ok' ? learnedLoss(evidence) : 1
  return { ...costs, curve: learnedCurve(evidence), loss, lagMs: learnedLag(evidence) }
}

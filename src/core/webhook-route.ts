/**
 * The health of an account's webhook route: whether receipts come the way they should. One state machine, pure; nobody has
 * to notice that receipts stay away, because what polling finds without a receipt tells.
 *
 *   unproved ── a receipt ──> ok ── losses in a row ──> silent ── receipts in a row ──> ok
 *
 * A loss is a final status that polling found though its receipt should have been there for long. One that polling found
 * sooner becomes a loss when no receipt at all has come by then, or a route that is asked quickly would never be silent.
 * Losses are in a row when they became final after the last receipt came: where receipts come at all, they soon come again.
 */

type RouteState = 'unproved' | 'ok' | 'silent'

export interface WebhookRoute {
  state: RouteState
  /** Since when, in milliseconds since 1970: silent since the last receipt, for all that is known. */
  since: number
  /** When the last receipt came. */
  lastReceiptAt?: number | undefined
  /** Losses since the last receipt; while silent, all since then. */
  lost: number
  /** Receipts since the last loss, while silent. */
  returned: number
  /** When the oldest became final of those that polling found since the last receipt, sooner than a receipt had to be there. */
  early: readonly number[]
}

/** The receipts and polls since the last look. */
export interface RouteNews {
  /** How many receipts came, and when the last of them. */
  receipts: number
  lastReceiptAt: number
  /** When the final statuses became final of which no receipt came. */
  losses: readonly number[]
  /** When the final statuses became final that polling found before their receipts had to be there. */
  early: readonly number[]
}

export interface RouteStep {
  route: WebhookRoute
  /** Worth a line in the log. */
  event?: 'silent' | 'returned'
}

/** A run of losses that ordinary loss would make once in so many final statuses is taken for silence. */
const FALSE_ALARM = 1e-9
const FEWEST_LOSSES = 5
const MOST_LOSSES = 50
const FEWEST_RETURNED = 3

export function unprovedRoute(now: number): WebhookRoute {
  return { state: 'unproved', since: now, lost: 0, returned: 0, early: [] }
}

/** How many losses in a row mean silence, where this share of receipts is lost anyway. */
export function lossesOfSilence(loss: number): number {
  const losses = Math.ceil(Math.log(FALSE_ALARM) / Math.log(Math.min(loss, 0.99)))
  return Math.min(MOST_LOSSES, Math.max(FEWEST_LOSSES, losses))
}

/** Whether some of those that polling found early have become losses. */
export function hasRipened({ early }: WebhookRoute, graceMs: number, now: number): boolean {
  return early.some((at) => at + graceMs < now)
}

/** Moves a route on. `loss` is the share of receipts that is usually lost, `graceMs` how late a receipt may be. */
export function nextRoute(
  route: WebhookRoute,
  news: RouteNews,
  { loss, graceMs, now }: { loss: number; graceMs: number; now: number },
): RouteStep {
  const lastReceiptAt = news.receipts > 0 ? Math.max(news.lastReceiptAt, route.lastReceiptAt ?? 0) : route.lastReceiptAt
  const isSince = (at: number) => at > (lastReceiptAt ?? 0)
  const found = [...route.early, ...news.early].filter(isSince).sort((a, b) => a - b)
  const ripe = found.filter((at) => at + graceMs < now)
  const early = found.slice(ripe.length, ripe.length + MOST_LOSSES)
  const losses = news.losses.filter(isSince).length + ripe.length
  if (route.state === 'silent') {
    const returned = losses > 0 ? 0 : route.returned + news.receipts
    const lost = route.lost + news.losses.length + ripe.length
    if (returned < FEWEST_RETURNED) return { route: { ...route, lastReceiptAt, lost, returned, early } }
    return { route: { state: 'ok', since: now, lastReceiptAt, lost: 0, returned: 0, early }, event: 'returned' }
  }
  const lost = (news.receipts > 0 ? 0 : route.lost) + losses
  if (lastReceiptAt === undefined) return { route: { ...route, lost, early } }
  if (lost >= lossesOfSilence(loss)) {
    return {
      route: { state: 'silent', since: lastReceiptAt, lastReceiptAt, lost, returned: 0, early },
      event: 'silent',
    }
  }
  const since = route.state === 'ok' ? route.since : now
  return { route: { state: 'ok', since, lastReceiptAt, lost, returned: 0, early } }
}

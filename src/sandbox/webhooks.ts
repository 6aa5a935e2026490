/**
 * Delivery receipts by webhook, the same for both providers: what the knobs lose, delay, double and put out of order.
 *
 * Every transition of a message is announced at its time to each target, and brought there as `delivery.ts` tells.
 *
 *   transition ── lost (knob)
 *              └─ [held back until the next one is sent] ── delivery
 */
import type { Agenda } from './agenda.ts'
import { createCourier, createWebhookStats, type Delivery, type RetryPolicy, type WebhookStats } from './delivery.ts'
import type { Knobs } from './knobs.ts'
import type { Sent, Step } from './messages.ts'
import type { OutgoingRequest } from './outgoing-request.ts'
import { drawLognormal, type Random } from './random.ts'

/** A URL that receipts go to. */
export interface WebhookTarget {
  url: string
}

/** How a provider writes its webhooks, and where it sends them. */
export interface WebhookFormat<S extends string, M extends Sent<S>, T extends WebhookTarget> {
  policy: RetryPolicy
  targets(): readonly T[]
  /** The request that tells of one step of the message. */
  write(message: M, step: Step<S>, target: T, random: Random): OutgoingRequest
  /** False for a step that this provider keeps to itself. */
  isTold?(step: Step<S>): boolean
  /** A request that is no delivery receipt. */
  writeNoise(target: T, random: Random): OutgoingRequest
  rewrite?(request: OutgoingRequest): OutgoingRequest
}

export interface Webhooks<M> {
  /** Announces every transition of the message when its time comes. */
  follow(message: M): void
  stats(): WebhookStats
  /** Requests that were no delivery receipts. */
  noiseStats(): WebhookStats
  /** Resolves when every history has run out and every receipt has ended one way or another, or on close. */
  settled(): Promise<void>
  close(): Promise<void>
}

export interface WebhookOptions<S extends string, M extends Sent<S>, T extends WebhookTarget> {
  knobs: () => Knobs
  agenda: Agenda
  timeScale: number
  format: WebhookFormat<S, M, T>
  /** Noise is drawn from here, apart from the fates of messages. */
  random: Random
}

interface HeldBack {
  url: string
  deliver: () => void
}

export function createWebhooks<S extends string, M extends Sent<S>, T extends WebhookTarget>(
  options: WebhookOptions<S, M, T>,
): Webhooks<M> {
  const { knobs, agenda, timeScale, format, random: noiseRandom } = options
  const timeoutMs = () => knobs().webhookTimeoutMs
  const courier = createCourier({ timeoutMs, agenda, timeScale, policy: format.policy })
  const stats = createWebhookStats()
  const noiseStats = createWebhookStats()
  const heldBack = new Map<M, HeldBack[]>()

  const follow = (message: M, end: () => void, index = 0) => {
    const step = message.history[index]
    if (!step) return end()
    agenda.add(step.at.getTime(), () => {
      if (format.isTold?.(step) ?? true) announce(message, step, index === message.history.length - 1)
      follow(message, end, index + 1)
    })
  }

  const announce = (message: M, step: Step<S>, isLast: boolean) => {
    const held = heldBack.get(message) ?? []
    heldBack.delete(message)
    const targets = format.targets()
    // The fate of a message must not depend on whether somebody listened.
    if (targets.length === 0) message.random()
    for (const target of targets) {
      makeNoise(target)
      const index = held.findIndex(({ url }) => url === target.url)
      announceTo(target, message, step, isLast, index === -1 ? undefined : held.splice(index, 1)[0])
    }
    for (const { deliver } of held) deliver()
  }

  const announceTo = (target: T, message: M, step: Step<S>, isLast: boolean, held: HeldBack | undefined) => {
    const { webhookLoss, webhookLossPerMessage, webhookReorder, webhookDuplicates } = knobs()
    const { random } = message
    if (random() < webhookLoss || message.luck < webhookLossPerMessage) {
      stats.lost += 1
      return held?.deliver()
    }
    const delivery: Delivery = {
      lagMs: drawLag(random),
      stats,
      write: () => format.write(message, step, target, noiseRandom),
      rewrite: format.rewrite,
      onAccepted: () => message.receipts.push({ status: step.status, acknowledgedAt: Date.now() }),
    }
    if (random() < webhookReorder && !held && !isLast) {
      heldBack.set(message, [
        ...(heldBack.get(message) ?? []),
        { url: target.url, deliver: () => courier.deliver(delivery) },
      ])
      return
    }
    courier.deliver({ ...delivery, onTried: held?.deliver })
    if (random() < webhookDuplicates) courier.deliver({ ...delivery, lagMs: drawLag(random) })
  }

  const makeNoise = (target: T) => {
    if (noiseRandom() >= knobs().webhookNoise) return
    const write = () => format.writeNoise(target, noiseRandom)
    courier.deliver({ lagMs: drawLag(noiseRandom), stats: noiseStats, write, rewrite: format.rewrite })
  }

  const drawLag = (random: Random) => {
    const { medianMs, sigma } = knobs().webhookDelay
    return drawLognormal(random, medianMs, sigma) / timeScale
  }

  return {
    follow: (message) => follow(message, courier.begin()),
    stats: () => ({ ...stats }),
    noiseStats: () => ({ ...noiseStats }),
    settled: courier.settled,
    close: courier.close,
  }
}

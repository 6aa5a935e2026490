/**
 * Delivery receipts by webhook, as seven.io sends them (https://docs.seven.io/en/rest-api/webhooks).
 *
 * Every transition of a message is announced at its time, unless the knobs lose it. A receipt that the receiver answers
 * with 429, 500, 502, 503 or 504, not in time, or not at all is sent again, up to 14 times over about 3.5 days of the
 * law; any other 4xx loses it for good.
 *
 *   transition ── lost (knob)
 *              └─ [held back until the next one is sent] ── lag ── attempt ── accepted, refused
 *                                                                     └─ pause ── attempt … exhausted
 */
import { Agent, request } from 'undici'
import type { Agenda } from './agenda.ts'
import { formatBerlinTime, formatBerlinTimeWithOffset } from './berlin-time.ts'
import type { Knobs } from './knobs.ts'
import type { Transition } from './law.ts'
import type { SandboxMessage } from './messages.ts'
import { drawLognormal } from './random.ts'

export interface WebhookStats {
  /** Attempts that were begun. */
  sent: number
  /** Receipts answered 2xx or 3xx, duplicates included. */
  accepted: number
  /** Receipts that the knobs kept from being sent. */
  lost: number
  /** Attempts after the first. */
  retried: number
  /** Receipts lost for good by the receiver's answer. */
  refused: number
  /** Receipts given up after the last attempt. */
  exhausted: number
}

export interface Webhooks {
  /** Announces every transition of the message when its time comes. */
  follow(message: SandboxMessage): void
  stats(): WebhookStats
  /** Resolves when every history has run out and every receipt has ended one way or another, or on close. */
  settled(): Promise<void>
  close(): Promise<void>
}

export interface WebhookOptions {
  knobs: () => Knobs
  agenda: Agenda
  timeScale: number
}

interface Receipt {
  message: SandboxMessage
  transition: Transition
  url: string
  lagMs: number
  body?: string
  /** The receipt that was held back for this one. */
  heldBack?: Receipt | undefined
}

/** Pauses before each attempt. Those after two hours are ours: known is that 14 attempts take about 3.5 days. */
const PAUSES_MIN = [0, 1, 5, 30, 60, 120, 240, 360, 480, 600, 720, 720, 840, 840]
/** However fast the law runs, a receiver that is down is not flooded. */
const SHORTEST_PAUSE_MS = 20
const RETRIED_STATUSES: ReadonlySet<number> = new Set([429, 500, 502, 503, 504])
const MOST_CONNECTIONS = 50

export function createWebhooks({ knobs, agenda, timeScale }: WebhookOptions): Webhooks {
  // The agent queues what exceeds its connections, and counts time-outs from the moment a request is on its way.
  const agent = new Agent({ connections: MOST_CONNECTIONS, pipelining: 1 })
  const stats: WebhookStats = { sent: 0, accepted: 0, lost: 0, retried: 0, refused: 0, exhausted: 0 }
  const heldBack = new Map<SandboxMessage, Receipt>()
  /** Histories that have not run out, and receipts that have not ended. */
  let open = 0
  let waiting: (() => void)[] = []
  let closed = false

  const end = () => {
    open -= 1
    if (open === 0) release()
  }
  const release = () => {
    for (const resolve of waiting) resolve()
    waiting = []
  }

  const follow = (message: SandboxMessage, step = 0) => {
    const transition = message.history[step]
    if (!transition) return end()
    agenda.add(transition.at.getTime(), () => {
      announce(message, transition, step === message.history.length - 1)
      follow(message, step + 1)
    })
  }

  const announce = (message: SandboxMessage, transition: Transition, isLast: boolean) => {
    const { webhookUrl, webhookLoss, webhookLossPerMessage, webhookReorder, webhookDuplicates } = knobs()
    const { random } = message
    const held = heldBack.get(message)
    heldBack.delete(message)
    const isLost = random() < webhookLoss || message.luck < webhookLossPerMessage
    if (webhookUrl === null || isLost) {
      if (webhookUrl !== null) stats.lost += 1
      if (held) schedule(held)
      return
    }
    const receipt = { message, transition, url: webhookUrl, lagMs: drawLag(message) }
    if (random() < webhookReorder && !held && !isLast) {
      heldBack.set(message, receipt)
      return
    }
    schedule({ ...receipt, heldBack: held })
    if (random() < webhookDuplicates) schedule({ ...receipt, lagMs: drawLag(message) })
  }

  const drawLag = ({ random }: SandboxMessage) => {
    const { medianMs, sigma } = knobs().webhookDelay
    return drawLognormal(random, medianMs, sigma) / timeScale
  }

  const schedule = (receipt: Receipt) => {
    open += 1
    agenda.add(Date.now() + receipt.lagMs, () => void attempt(receipt, 1))
  }

  const attempt = async (receipt: Receipt, number: number): Promise<void> => {
    stats.sent += 1
    if (number > 1) stats.retried += 1
    receipt.body ??= receiptBody(receipt)
    const status = await post(agent, receipt.url, receipt.body, knobs().webhookTimeoutMs)
    if (closed) return
    if (receipt.heldBack && number === 1) schedule(receipt.heldBack)
    if (status === undefined || RETRIED_STATUSES.has(status)) {
      const pauseMin = PAUSES_MIN[number]
      if (pauseMin !== undefined) {
        const pauseMs = Math.max((pauseMin * 60_000) / timeScale, SHORTEST_PAUSE_MS)
        return agenda.add(Date.now() + pauseMs, () => void attempt(receipt, number + 1))
      }
      stats.exhausted += 1
    } else if (status < 400) {
      stats.accepted += 1
      receipt.message.receipts.push({ status: receipt.transition.status, acknowledgedAt: Date.now() })
    } else {
      stats.refused += 1
    }
    end()
  }

  return {
    follow(message) {
      open += 1
      follow(message)
    },
    stats: () => ({ ...stats }),
    settled: () => new Promise((resolve) => (open === 0 || closed ? resolve() : waiting.push(resolve))),
    async close() {
      closed = true
      release()
      await agent.destroy()
    },
  }
}

/** The status of the answer, or undefined when there is none: no connection, or not in time. */
async function post(agent: Agent, url: string, body: string, timeoutMs: number): Promise<number | undefined> {
  try {
    const headers = { 'content-type': 'application/json' }
    const limits = { headersTimeout: timeoutMs, bodyTimeout: timeoutMs }
    const answer = await request(url, { method: 'POST', headers, body, dispatcher: agent, ...limits })
    await answer.body.dump()
    return answer.statusCode
  } catch {
    return undefined
  }
}

function receiptBody({ message, transition }: Receipt): string {
  return JSON.stringify({
    data: {
      msg_id: message.messageId,
      status: transition.status,
      timestamp: formatBerlinTime(transition.at, 6),
      ...(message.foreignId === null ? {} : { foreign_id: message.foreignId }),
    },
    webhook_event: 'dlr',
    webhook_timestamp: formatBerlinTimeWithOffset(new Date()),
  })
}

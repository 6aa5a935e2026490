/**
 * Bringing webhooks to their receiver: attempts, and pauses between them, until the receiver takes one or the provider
 * gives up.
 *
 *   lag ── attempt ── accepted, refused
 *             └─ pause ── attempt … exhausted
 */
import { Agent, request } from 'undici'
import type { Agenda } from './agenda.ts'
import type { OutgoingRequest } from './outgoing-request.ts'

export interface WebhookStats {
  /** Attempts that were begun. */
  sent: number
  /** Receipts answered with a success, duplicates included. */
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

export function createWebhookStats(): WebhookStats {
  return { sent: 0, accepted: 0, lost: 0, retried: 0, refused: 0, exhausted: 0 }
}

/** How a provider takes the answers to its webhooks. */
export interface RetryPolicy {
  /** Pauses before each attempt, in minutes of the law. */
  pausesMin: readonly number[]
  /** The meaning of an answer; undefined is none: no connection, or not in time. */
  judge(status: number | undefined): 'accepted' | 'again' | 'refused'
}

export interface Delivery {
  lagMs: number
  stats: WebhookStats
  /** Writes the request, at the first attempt. */
  write(): OutgoingRequest
  /** Changes it for a later attempt; without this, it is repeated as it is. */
  rewrite?: ((request: OutgoingRequest) => OutgoingRequest) | undefined
  /** Called when the first attempt has ended, whatever the answer. */
  onTried?: (() => void) | undefined
  onAccepted?: (() => void) | undefined
}

export interface Courier {
  deliver(delivery: Delivery): void
  /** Counts something that `settled` waits for; the function returned ends it. */
  begin(): () => void
  /** Resolves when nothing that was begun goes on, or on close. */
  settled(): Promise<void>
  close(): Promise<void>
}

export interface CourierOptions {
  timeoutMs: () => number
  agenda: Agenda
  timeScale: number
  policy: RetryPolicy
}

/** However fast the law runs, a receiver that is down is not flooded. */
const SHORTEST_PAUSE_MS = 20
const MOST_CONNECTIONS = 50

export function createCourier({ timeoutMs, agenda, timeScale, policy }: CourierOptions): Courier {
  const agent = new Agent({ connections: MOST_CONNECTIONS, pipelining: 1 })
  const turns = createTurns(MOST_CONNECTIONS)
  let open = 0
  let waiting: (() => void)[] = []
  let closed = false

  const end = () => {
    open -= 1
    if (open === 0) release()
  }
  const begin = () => {
    open += 1
    return end
  }
  const release = () => {
    for (const resolve of waiting) resolve()
    waiting = []
  }

  const attempt = async (delivery: Delivery, outgoing: OutgoingRequest, number: number): Promise<void> => {
    const { stats } = delivery
    stats.sent += 1
    if (number > 1) stats.retried += 1
    const status = await send(agent, outgoing, timeoutMs())
    if (closed) return
    if (number === 1) delivery.onTried?.()
    const verdict = policy.judge(status)
    if (verdict === 'again') {
      const pauseMin = policy.pausesMin[number]
      if (pauseMin !== undefined) {
        const pauseMs = Math.max((pauseMin * 60_000) / timeScale, SHORTEST_PAUSE_MS)
        return agenda.add(Date.now() + pauseMs, () => {
          turns.add(() => attempt(delivery, delivery.rewrite?.(outgoing) ?? outgoing, number + 1))
        })
      }
      stats.exhausted += 1
    } else if (verdict === 'accepted') {
      stats.accepted += 1
      delivery.onAccepted?.()
    } else {
      stats.refused += 1
    }
    end()
  }

  return {
    deliver(delivery) {
      begin()
      agenda.add(Date.now() + delivery.lagMs, () => turns.add(() => attempt(delivery, delivery.write(), 1)))
    },
    begin,
    settled: () => new Promise((resolve) => (open === 0 || closed ? resolve() : waiting.push(resolve))),
    async close() {
      closed = true
      release()
      await agent.destroy()
    },
  }
}

/** Runs so many at a time, in the order in which they were added: those that wait for a slow receiver are not written yet. */
function createTurns(most: number) {
  let waiting: (() => Promise<void>)[] = []
  let begun = 0
  let running = 0
  const next = () => {
    const run = running < most ? waiting[begun] : undefined
    if (!run) return
    begun += 1
    // Dropping the begun ones now and then is cheap; taking the first of a long array moves all others.
    if (begun * 2 > waiting.length) {
      waiting = waiting.slice(begun)
      begun = 0
    }
    running += 1
    void run().finally(() => {
      running -= 1
      next()
    })
  }
  return {
    add(run: () => Promise<void>) {
      waiting.push(run)
      next()
    },
  }
}

/** The status of the answer, or undefined when there is none: no connection, or not in time. */
async function send(agent: Agent, outgoing: OutgoingRequest, timeoutMs: number): Promise<number | undefined> {
  const { method, url, headers, body } = outgoing
  try {
    const limits = { headersTimeout: timeoutMs, bodyTimeout: timeoutMs }
    const content = method === 'GET' ? {} : { body }
    const answer = await request(url, { method, headers, ...content, dispatcher: agent, ...limits })
    await answer.body.dump()
    return answer.statusCode
  } catch {
    return undefined
  }
}

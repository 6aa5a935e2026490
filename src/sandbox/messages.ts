/** The messages the sandbox has sent: their truth, who was told of it, and when they were asked about. */
import { type FinalStatus, isFinal, type Status } from '../core/status.ts'
import { drawHistory, type Law, type SevenStatus, type Transition } from './law.ts'
import { createRandom, type Random } from './random.ts'

export interface SandboxMessage {
  messageId: string
  recipient: string
  foreignId: string | null
  sentAt: Date
  /** All of it, what is still to come included. */
  history: Transition[]
  /** A number in [0, 1) that decides whether this is one of the messages without delivery receipts. */
  luck: number
  /** What becomes of its delivery receipts is drawn from here. */
  random: Random
  /** When status queries named this message, answered or not, in epoch milliseconds. */
  askedAt: number[]
  /** When a status query was first answered with the final status, in epoch milliseconds. */
  toldFinalAt: number | null
  /** The delivery receipts the receiver has accepted. */
  receipts: { status: SevenStatus; acknowledgedAt: number }[]
}

export interface SendOptions {
  /** Defaults to now. In the past, the delivery receipts that have come due since are sent at once. */
  sentAt?: Date | undefined
  /** The sender's own ID; delivery receipts repeat it. */
  foreignId?: string | undefined
}

/** What truly happens to a message. `status` words are ours, those in `history` and `receipts` are seven.io's. */
export interface Truth {
  messageId: string
  recipient: string
  foreignId: string | null
  sentAt: Date
  history: Transition[]
  /** The status now; null while there is none. */
  status: Status | null
  /** The status it ends with, now or later; null when it never becomes final. */
  finalStatus: FinalStatus | null
  finalAt: Date | null
  /** When status queries named this message, answered or not. */
  askedAt: Date[]
  /** When a status query was first answered with the final status. */
  toldFinalAt: Date | null
  /** The delivery receipts the receiver accepted, in the order of its answers. */
  receipts: { status: SevenStatus; acknowledgedAt: Date }[]
}

export interface MessageStore {
  /** Sends one message to each recipient. */
  send(recipients: readonly string[], options?: SendOptions): SandboxMessage[]
  find(messageId: string): SandboxMessage | undefined
  /** Messages in the order of sending, after that of the ID given. */
  list(after?: string, limit?: number): SandboxMessage[]
  readonly size: number
}

const STATUSES = {
  ACCEPTED: 'accepted',
  TRANSMITTED: 'transmitted',
  BUFFERED: 'buffered',
  DELIVERED: 'delivered',
  NOTDELIVERED: 'undelivered',
  EXPIRED: 'expired',
  REJECTED: 'rejected',
  FAILED: 'failed',
} as const satisfies Record<SevenStatus, Status>

/** Stream 0 of the seed is for what is not a message's. */
const FIRST_STREAM = 1

/** A first ID that later runs against the same database do not repeat within four months: 1,000 IDs a second. */
export function firstMessageIdAt(now: number): number {
  return 70_000_000_000 + (Math.floor(now / 1000) % 10_000_000) * 1_000
}

/**
 * IDs are consecutive, so that the ID of a message says where it stands in the list. The fate of a message follows from
 * the seed and this place alone, whatever happens to the others.
 */
export function createMessageStore(seed: number, law: Law, firstMessageId: number): MessageStore {
  const messages: SandboxMessage[] = []
  const indexOf = (messageId: string) => (/^\d{11}$/.test(messageId) ? Number(messageId) - firstMessageId : -1)

  return {
    send(recipients, { sentAt = new Date(), foreignId } = {}) {
      const sent = recipients.map((recipient, index) => {
        const place = messages.length + index
        const random = createRandom(seed, FIRST_STREAM + place)
        const history = drawHistory(random, sentAt, law)
        return {
          messageId: String(firstMessageId + place),
          recipient,
          foreignId: foreignId ?? null,
          sentAt,
          history,
          luck: random(),
          random,
          askedAt: [],
          toldFinalAt: null,
          receipts: [],
        }
      })
      for (const message of sent) messages.push(message)
      return sent
    },
    find: (messageId) => messages[indexOf(messageId)],
    list(after, limit = messages.length) {
      const start = after === undefined ? 0 : Math.max(indexOf(after) + 1, 0)
      return messages.slice(start, start + limit)
    },
    get size() {
      return messages.length
    },
  }
}

/** The latest transition at `now`, or undefined while there is none. */
export function transitionAt({ history }: SandboxMessage, now: number): Transition | undefined {
  return history.findLast(({ at }) => at.getTime() <= now)
}

export function isFinalTransition({ status }: Transition): boolean {
  return isFinal(STATUSES[status])
}

export function truthOf(message: SandboxMessage, now: number): Truth {
  const { messageId, recipient, foreignId, sentAt, history, toldFinalAt } = message
  const current = transitionAt(message, now)
  const last = history.at(-1)
  const lastStatus = last ? STATUSES[last.status] : null
  const finalStatus = isFinal(lastStatus) ? lastStatus : null
  return {
    messageId,
    recipient,
    foreignId,
    sentAt,
    history: [...history],
    status: current ? STATUSES[current.status] : null,
    finalStatus,
    finalAt: finalStatus && last ? last.at : null,
    askedAt: message.askedAt.map((at) => new Date(at)),
    toldFinalAt: toldFinalAt === null ? null : new Date(toldFinalAt),
    receipts: message.receipts.map(({ status, acknowledgedAt }) => ({
      status,
      acknowledgedAt: new Date(acknowledgedAt),
    })),
  }
}

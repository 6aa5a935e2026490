/** The messages sent through seven.io, each known by the ID that the sandbox gave it. */
import type { Status } from '../../core/status.ts'
import { drawHistory, type Law, type SevenStatus } from '../law.ts'
import { judge, type Sent, type TruthOf } from '../messages.ts'
import { createRandom } from '../random.ts'

export interface SevenMessage extends Sent<SevenStatus> {
  messageId: string
  foreignId: string | null
  sender: string
  text: string
}

export interface SevenSending {
  /** Defaults to now. In the past, the delivery receipts that have come due since are sent at once. */
  sentAt?: Date | undefined
  /** The sender's own ID; delivery receipts repeat it. */
  foreignId?: string | undefined
  /** The name or number it comes from, and what it says. */
  sender?: string | undefined
  text?: string | undefined
}

export interface SevenTruth extends TruthOf<SevenStatus> {
  messageId: string
  foreignId: string | null
}

export interface SevenMessageStore {
  /** Sends one message to each recipient. */
  send(recipients: readonly string[], options?: SevenSending): SevenMessage[]
  find(messageId: string): SevenMessage | undefined
  /** Messages in the order of sending, after that of the ID given. */
  list(after?: string, limit?: number): SevenMessage[]
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

/**
 * IDs are consecutive, so that the ID of a message says where it stands in the list. The fate of a message follows from
 * the seed and this place alone, whatever happens to the others.
 */
export function createSevenMessageStore(seed: number, law: Law, firstMessageId: number): SevenMessageStore {
  const messages: SevenMessage[] = []
  const indexOf = (messageId: string) => (/^\d{11}$/.test(messageId) ? Number(messageId) - firstMessageId : -1)

  return {
    send(recipients, { sentAt = new Date(), foreignId, sender = 'sandbox', text = 'Hello' } = {}) {
      const sent = recipients.map((recipient, index) => {
        const place = messages.length + index
        const random = createRandom(seed, FIRST_STREAM + place)
        const history = drawHistory(random, sentAt, law)
        return {
          messageId: String(firstMessageId + place),
          recipient,
          foreignId: foreignId ?? null,
          sender,
          text,
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

/** Our word for one of seven.io's. */
export function sevenWordOf(status: SevenStatus): Status {
  return STATUSES[status]
}

export function sevenTruthOf(message: SevenMessage, now: number): SevenTruth {
  const { messageId, foreignId } = message
  return { messageId, foreignId, ...judge(message, sevenWordOf, now) }
}

/** The messages the sandbox has sent: their truth, who was told of it, and when they were asked about. */
import { type FinalStatus, isFinal, type Status } from '../core/status.ts'
import { drawHistory, type Law, type SevenStatus } from './law.ts'
import { createRandom, type Random } from './random.ts'

/** One step in the history of a message, in the words of its provider. */
export interface Step<S extends string> {
  status: S
  at: Date
}

/** A message of either provider; `S` are the provider's words. */
export interface Sent<S extends string> {
  recipient: string
  sentAt: Date
  /** All of it, what is still to come included. */
  history: Step<S>[]
  /** A number in [0, 1) that decides whether this is one of the messages without delivery receipts. */
  luck: number
  /** What becomes of its delivery receipts is drawn from here. */
  random: Random
  /** When status queries named this message, answered or not, in epoch milliseconds. */
  askedAt: number[]
  /** When a status query was first answered with the final status, in epoch milliseconds. */
  toldFinalAt: number | null
  /** The delivery receipts the receiver has accepted. */
  receipts: { status: S; acknowledgedAt: number }[]
}

export interface SandboxMessage extends Sent<SevenStatus> {
  messageId: string
  foreignId: string | null
  sender: string
  text: string
}

export interface SendOptions {
  /** Defaults to now. In the past, the delivery receipts that have come due since are sent at once. */
  sentAt?: Date | undefined
  /** The sender's own ID; delivery receipts repeat it. */
  foreignId?: string | undefined
  /** The name or number it comes from, and what it says. */
  sender?: string | undefined
  text?: string | undefined
}

/** What truly happens to a message. `status` words are ours, those in `history` and `receipts` are the provider's. */
export interface TruthOf<S extends string> {
  recipient: string
  sentAt: Date
  history: Step<S>[]
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
  receipts: { status: S; acknowledgedAt: Date }[]
}

export interface Truth extends TruthOf<SevenStatus> {
  messageId: string
  foreignId: string | null
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

/** Numbers that Ofcom keeps free for drama: nobody has them. */
export function sampleRecipients(count: number): string[] {
  return Array.from({ length: count }, (_, index) => `447700900${String(index % 1000).padStart(3, '0')}`)
}

/** The one form in which numbers are compared: digits from the country code on. */
export function digitsOf(number: string): string {
  return number.replace(/\D/g, '').replace(/^0+/, '')
}

/** Our word for one of seven.io's. */
export function wordOf(status: SevenStatus): Status {
  return STATUSES[status]
}

/** The latest transition at `now`, or undefined while there is none. */
export function transitionAt<S extends string>({ history }: Sent<S>, now: number): Step<S> | undefined {
  return history.findLast(({ at }) => at.getTime() <= now)
}

/** Remembers that an answer of `now` told the status the message ends with. */
export function noteIfToldFinal<S extends string>(message: Sent<S>, wordOf: (status: S) => Status, now: number): void {
  if (message.toldFinalAt !== null) return
  const step = transitionAt(message, now)
  if (step && step === message.history.at(-1) && isFinal(wordOf(step.status))) message.toldFinalAt = now
}

export function truthOf(message: SandboxMessage, now: number): Truth {
  const { messageId, foreignId } = message
  return { messageId, foreignId, ...judge(message, wordOf, now) }
}

/** What is true of a message of either provider at `now`. */
export function judge<S extends string>(message: Sent<S>, wordOf: (status: S) => Status, now: number): TruthOf<S> {
  const { recipient, sentAt, history, toldFinalAt } = message
  const current = transitionAt(message, now)
  const last = history.at(-1)
  const lastStatus = last ? wordOf(last.status) : null
  const finalStatus = isFinal(lastStatus) ? lastStatus : null
  return {
    recipient,
    sentAt,
    history: [...history],
    status: current ? wordOf(current.status) : null,
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

/** The messages of both providers: their truth, who was told of it, and when they were asked about. */
import { type FinalStatus, isFinal, type Status } from '../core/status.ts'
import type { Random } from './random.ts'

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
  /** The fate of its delivery receipts is drawn from here. */
  random: Random
  /** When status queries named this message, answered or not, in epoch milliseconds. */
  askedAt: number[]
  /** When a status query was first answered with the final status, in epoch milliseconds. */
  toldFinalAt: number | null
  /** The delivery receipts the receiver has accepted. */
  receipts: { status: S; acknowledgedAt: number }[]
}

/** The truth of a message. `status` words are ours, words in `history` and `receipts` are the provider's. */
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

/** A first ID that later runs against the same database do not repeat within four months: 1,000 IDs a second. */
export function firstMessageIdAt(now: number): number {
  return 70_000_000_000 + (Math.floor(now / 1000) % 10_000_000) * 1_000
}

/** Numbers that Ofcom keeps free for drama: nobody has them. */
export function sampleRecipients(count: number): string[] {
  return Array.from({ length: count }, (_, index) => `447700900${String(index % 1000).padStart(3, '0')}`)
}

/** The one form in which numbers are compared: digits from the country code on. */
export function digitsOf(number: string): string {
  return number.replace(/\D/g, '').replace(/^0+/, '')
}

const ONE_PART_CHARS = 160
const EACH_PART_CHARS = 153

/** How many parts a text of the usual alphabet is sent in. */
export function partsOf(text: string): number {
  return text.length <= ONE_PART_CHARS ? 1 : Math.ceil(text.length / EACH_PART_CHARS)
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

/** The truth of a message of either provider at `now`. */
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

/**
 * The messages sent through CM.com, each known by the sender's own reference and its recipient.
 *
 * Their fates follow the same law. CM.com has fewer words, and the webhook fewer still than the transactions: what is
 * undelivered there (40) is failed here (3), so both words are true of such a message.
 */
import { LastwordError } from '../../core/errors.ts'
import type { FinalStatus, Status } from '../../core/status.ts'
import { formatAmsterdamTime } from '../berlin-time.ts'
import { drawHistory, type Law, type SevenStatus } from '../law.ts'
import { digitsOf, judge, type Sent, type Step, sampleRecipients, type TruthOf } from '../messages.ts'
import { createRandom, drawLognormal, type Random } from '../random.ts'

/** CM.com's words, as `statusdescription` says them; only `Delivered` has been seen, the others are ours. */
export type CmStatus = 'Accepted' | 'Sent' | 'Delivered' | 'Failed' | 'Rejected' | 'Undelivered'

export interface CmMessage extends Sent<CmStatus> {
  reference: string
  /** When it was sent, in CM.com's local time. */
  created: string
}

/** The key of a message, as it is tracked. */
export interface CmKey {
  messageId: string
  recipient: string
}

/** One reference and whom it goes to. */
export interface CmSending {
  /** Documented as 1 to 32 letters and digits, used with others too; given by the sandbox when left out. */
  reference?: string | undefined
  recipients: readonly string[]
}

export interface CmTruth extends TruthOf<CmStatus> {
  /** The reference. */
  messageId: string
  /** `finalStatus`, and what a webhook calls the same end. */
  finalStatuses: FinalStatus[]
}

export interface CmMessageStore {
  send(what: number | CmSending | readonly CmSending[], sentAt?: Date): CmMessage[]
  /** Without `recipient`, the first of the reference. */
  find(reference: string, recipient?: string): CmMessage | undefined
  findAll(reference: string): CmMessage[]
  /** The messages created in this time, both ends included, by local times as they are written. */
  findCreated(from: string, to: string): CmMessage[]
  /** In the order of sending. */
  list(offset?: number, limit?: number): CmMessage[]
  readonly size: number
}

export interface CmMessageOptions {
  seed: number
  law: Law
  firstReference: number
  /** The share of delivered messages that fail after all. */
  failedAfterDelivered: () => number
}

const WORDS = {
  Accepted: 'accepted',
  Sent: 'accepted',
  Delivered: 'delivered',
  Failed: 'failed',
  Rejected: 'rejected',
  Undelivered: 'undelivered',
} as const satisfies Record<CmStatus, Status>

/** CM.com's word for each step of the law; null is a step that CM.com has no word for. */
const STEPS = {
  ACCEPTED: 'Accepted',
  TRANSMITTED: 'Sent',
  BUFFERED: null,
  DELIVERED: 'Delivered',
  NOTDELIVERED: 'Undelivered',
  EXPIRED: 'Failed',
  REJECTED: 'Rejected',
  FAILED: 'Failed',
} as const satisfies Record<SevenStatus, CmStatus | null>

/** The streams below zero are CM.com's, this one and those before it the messages'. */
const FIRST_STREAM = -10
const FAILED_AFTER_MEDIAN_MS = 10 * 60_000
/** Messages are found by the minute, which a local time begins with: `2023-09-15T13:24`. */
const minuteOf = (created: string) => created.slice(0, 16)
/** Of the references the sandbox gives, every fifth covers this many recipients. */
const RECIPIENTS_OF_FIFTH = 3

export function createCmMessageStore(options: CmMessageOptions): CmMessageStore {
  const { seed, law, firstReference, failedAfterDelivered } = options
  const messages: CmMessage[] = []
  const byReference = new Map<string, CmMessage[]>()
  const byMinute = new Map<string, CmMessage[]>()
  let given = 0

  const create = (reference: string, recipient: string, sentAt: Date): CmMessage => {
    const random = createRandom(seed, FIRST_STREAM - messages.length)
    const history = drawCmHistory(random, sentAt, law, failedAfterDelivered())
    const luck = random()
    const created = formatAmsterdamTime(sentAt)
    return {
      reference,
      created,
      recipient,
      sentAt,
      history,
      luck,
      random,
      askedAt: [],
      toldFinalAt: null,
      receipts: [],
    }
  }

  const findAll = (reference: string) => byReference.get(reference) ?? []
  const find = (reference: string, recipient?: string) =>
    findAll(reference).find((message) => recipient === undefined || message.recipient === digitsOf(recipient))

  const sendOne = ({ reference = `R${firstReference + given}`, recipients }: CmSending, sentAt: Date) => {
    if (!/^[\x21-\x7e]{1,255}$/.test(reference)) {
      throw new LastwordError('INPUT_INVALID', 'Expected a reference of 1 to 255 printable characters, without spaces.')
    }
    const numbers = recipients.map(digitsOf)
    if (new Set(numbers).size < numbers.length || numbers.some((number) => find(reference, number))) {
      throw new LastwordError('CONFLICT', 'Expected recipients that this reference has not been sent to.')
    }
    given += 1
    return numbers.map((number) => {
      const message = create(reference, number, sentAt)
      messages.push(message)
      byReference.set(reference, [...findAll(reference), message])
      const minute = minuteOf(message.created)
      const ofMinute = byMinute.get(minute)
      if (ofMinute) ofMinute.push(message)
      else byMinute.set(minute, [message])
      return message
    })
  }

  return {
    send(what, sentAt = new Date()) {
      const sendings = typeof what === 'number' ? sampleSendings(what) : [what].flat()
      return sendings.flatMap((sending) => sendOne(sending, sentAt))
    },
    find,
    findAll,
    findCreated: (from, to) =>
      [...byMinute].flatMap(([minute, ofMinute]) =>
        minute >= minuteOf(from) && minute <= minuteOf(to)
          ? ofMinute.filter(({ created }) => created >= from && created <= to)
          : [],
      ),
    list: (offset = 0, limit = messages.length) => messages.slice(offset, offset + limit),
    get size() {
      return messages.length
    },
  }
}

function drawCmHistory(random: Random, sentAt: Date, law: Law, failedShare: number): Step<CmStatus>[] {
  const history = drawHistory(random, sentAt, law).flatMap(({ status, at }) => {
    const step = STEPS[status]
    return step ? [{ status: step, at }] : []
  })
  // Drawn for every message, so that turning the knob leaves the fates of the others as they are.
  const fails = random() < failedShare
  const afterMs = 1 + Math.round(drawLognormal(random, FAILED_AFTER_MEDIAN_MS, 1) / law.timeScale)
  const last = history.at(-1)
  if (!fails || last?.status !== 'Delivered') return history
  return [...history, { status: 'Failed', at: new Date(last.at.getTime() + afterMs) }]
}

function sampleSendings(count: number): CmSending[] {
  const recipients = sampleRecipients(count)
  const sendings: CmSending[] = []
  while (recipients.length > 0) {
    sendings.push({ recipients: recipients.splice(0, sendings.length % 5 === 4 ? RECIPIENTS_OF_FIFTH : 1) })
  }
  return sendings
}

/** Our word for one of CM.com's. */
export function cmWordOf(status: CmStatus): Status {
  return WORDS[status]
}

export function cmTruthOf(message: CmMessage, now: number): CmTruth {
  const truth = judge(message, cmWordOf, now)
  const { finalStatus } = truth
  const finalStatuses = finalStatus === 'undelivered' ? [finalStatus, 'failed' as const] : [finalStatus]
  return {
    messageId: message.reference,
    ...truth,
    finalStatuses: finalStatuses.filter((status) => status !== null),
  }
}

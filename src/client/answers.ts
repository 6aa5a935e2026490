/** The answers of the service, and the filters it takes, as an app sees them. */
import type { Source, Status, StatusError } from '../core/status.ts'

/** A message and what is known of it. Times are ISO 8601 in UTC. */
export interface Message {
  account: string
  messageId: string
  recipient: string | null
  /** Null as long as there is no report. */
  status: Status | null
  /** True when nothing more is asked. */
  final: boolean
  statusAt: string | null
  /** The source of the final status; null while there is none. */
  settledBy: Source | null
  sentAt: string
  /** How often the provider was asked. */
  polls: number
  nextPollAt: string | null
  windowEndsAt: string
  metadata: Record<string, unknown> | null
  /** Why the provider refuses to answer about this message. */
  queryError?: string
}

/** A message that is asked about now. */
export interface PolledMessage extends Message {
  /** Only where the account was paused: since and until when, and why. Asking has ended the pause. */
  paused?: { since: string | null; until: string | null; trouble: string | null }
}

export interface MessageReport {
  status: Status
  /** The provider's own word. */
  rawStatus: string
  source: Source
  occurredAt: string
  receivedAt: string
  /** Its effect on the status. */
  outcome: 'applied' | 'stale' | 'duplicate' | 'contradicting'
  error: StatusError | null
  /** Further words of the report: the channel, the operator, the sender's own ID. */
  details?: Record<string, unknown>
}

export interface MessageWithReports extends Message {
  /** In the order of their arrival. */
  reports: MessageReport[]
}

/** The filters of messages. Several find the messages that match all of them. */
export interface MessageFilter {
  account?: string | undefined
  /** Of whatever account. */
  messageId?: string | undefined
  /** A phone number in any form. */
  recipient?: string | undefined
  status?: Status | undefined
  /** The source of the final status. */
  settledBy?: Source | undefined
  /** The provider's code of the error that a message failed with. */
  error?: string | undefined
  /** ISO 8601; both ends of a range, the second exclusive. */
  sentAfter?: string | undefined
  sentBefore?: string | undefined
  /** Up to five keys and the values they must have. */
  metadata?: Readonly<Record<string, string | number | boolean>> | undefined
}

export interface ListFilter extends MessageFilter {
  /** True for messages without a final status, false for those with one. */
  outstanding?: boolean | undefined
}

export interface MessagePage {
  messages: Message[]
  /** The `cursor` of the next page; null on the last. */
  nextCursor: string | null
}

/** One change of a message's status. */
export interface Change {
  account: string
  messageId: string
  recipient: string | null
  status: Status
  previousStatus: Status | null
  final: boolean
  source: Source
  /** When it happened at the provider. */
  occurredAt: string
  /** When Lastword knew. */
  changedAt: string
  metadata: Record<string, unknown> | null
}

export interface ChangePage {
  changes: Change[]
  /** Where to go on after these: store it once all of them are handled. */
  cursor: string
}

/** How an account is doing at its provider. Durations are in seconds. */
export interface AccountHealth {
  account: string
  provider: string
  query: string
  /** The look-up in use; null when nothing is asked. */
  lookup: string | null
  status: 'ok' | 'refused' | 'unreachable' | 'failing'
  trouble: string | null
  troubleSince: string | null
  pausedUntil: string | null
  lastGoodAnswer: string | null
  noGoodAnswerSince: string | null
  lastError: string | null
  webhookRoute: { state: 'ok' | 'silent' | 'unproved'; since: string; lost: number; lagP95: number | null }
  schedule: Pick<Schedule, 'policy' | 'price' | 'webhookLoss' | 'finalsSeen'>
}

/** Durations and ages are in seconds. */
export interface Schedule {
  account: string
  policy: 'learned' | 'exponential'
  /** The waiting that a request must be worth; null by the exponential policy. */
  price: number | null
  /** The share of final statuses whose receipt never comes. */
  webhookLoss: number
  webhookLagP95: number
  finalsSeen: number
  /** The ages at which a message without a receipt is asked about where it is alone, and where requests are full. */
  alone: number[]
  shared: number[]
  /** Ages, each with the share of messages that are final by then. */
  curve: [number, number][]
}

/** Orders to track messages, as an app writes them, and what became of one. */

/** One message of an order. Only `messageId` is required. */
export interface MessageToTrack {
  /** The provider's ID; at CM.com the reference it was sent with. A bulk answer has null for a number it refused. */
  messageId: string | number | null
  /** When it was sent: now by default, at most a year ahead, and within the account's look-up window. */
  sentAt?: Date | string | undefined
  recipient?: string | undefined
  /** Comes back with the message and with each of its changes. */
  metadata?: Record<string, unknown> | undefined
  /** Where changes of this message are sent, instead of the account's callback URL. */
  callbackUrl?: string | undefined
}

/** 1 to 10,000 messages of one account. */
export interface Order {
  account: string
  messages: readonly MessageToTrack[]
  /** Tracks those that can be tracked, and answers with the others, instead of all or none. */
  partial?: boolean | undefined
}

/** The result of an order. */
export interface Tracked {
  /** How many messages are tracked from now on. */
  tracked: number
  /** How many were tracked before, or stand in the order twice. */
  alreadyTracked: number
  /** Of an order that may be tracked in part: the messages that were not. */
  refused?: Refused[]
}

/** A message of an order that was not tracked, by its place in the order. */
export interface Refused {
  index: number
  messageId: string | null
  reason: string
}

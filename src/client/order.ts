/** Orders to track messages, as an app writes them: a little more lenient than the wire. */
import type { Given } from './answers.ts'
import type { components } from './schemas.ts'

type Schemas = components['schemas']

/** One message of an order. Only `messageId` is required. */
export interface MessageToTrack extends Given<Omit<Schemas['MessageToTrack'], 'messageId' | 'sentAt'>> {
  /** The provider's ID; at CM.com the reference it was sent with. A bulk answer has null for a number it refused. */
  messageId: string | number | null
  /** When it was sent: now by default, at most a year ahead, and within the account's look-up window. */
  sentAt?: Date | string | undefined
}

/** 1 to 10,000 messages of one account. */
export interface Order extends Given<Omit<Schemas['Order'], 'messages'>> {
  messages: readonly MessageToTrack[]
}

import type { MessageKey } from './recipients.ts'

/** A message the app hands over, in normal form, with its place in the schedule. */
export interface NewMessage extends MessageKey {
  recipient: string | null
  /** The normal form of the recipient; null where there is none. */
  number?: string | null | undefined
  sentAt: Date
  windowEndsAt: Date
  dueAt: Date
  metadata: unknown
  callbackUrl?: string | undefined
  /** The ID may have been used before, by a message that has ended: then another life begins. */
  mayBeginAnew?: boolean | undefined
}

/**
 * The vocabulary of delivery statuses.
 *
 * message        one SMS a provider accepted for one recipient (a queue entry is a job)
 * status report  the one normalised value that a delivery receipt (webhook) and a status query (poll) both become
 * intermediate   more reports may come; the message stays outstanding
 * final          polling ends; a later webhook may still correct it
 * unknown        our own final word when the look-up window closed without an answer;
 *                the only final status that any later final report replaces
 */

export const INTERMEDIATE_STATUSES = ['accepted', 'transmitted', 'buffered'] as const
export const FINAL_STATUSES = ['unknown', 'rejected', 'failed', 'undelivered', 'expired', 'delivered', 'read'] as const
export const STATUSES = [...INTERMEDIATE_STATUSES, ...FINAL_STATUSES] as const

/** Final, and not delivered. */
export const FAILURE_STATUSES = ['unknown', 'rejected', 'failed', 'undelivered', 'expired'] as const

export type FinalStatus = (typeof FINAL_STATUSES)[number]
export type Status = (typeof STATUSES)[number]

/** The source of a status: the provider told us, we asked, or the look-up window closed. */
export const SOURCES = ['webhook', 'poll', 'window'] as const
export type Source = (typeof SOURCES)[number]

/** Why a message was not delivered, in the provider's own words. */
export interface StatusError {
  code?: string
  description?: string
}

/** One normalised status report. `recipient` is there where the provider's key includes it, and empty where it was not told. */
export interface StatusReport {
  account: string
  messageId: string
  recipient?: string
  status: Status
  /** The provider's own code or word, kept as it came. */
  rawStatus: string
  /** When the status happened at the provider, not when we heard of it. */
  occurredAt: Date
  source: Source
  /** True when `rawStatus` is not in the provider's table, so that `status` is only a stand-in. */
  unmapped?: boolean
  error?: StatusError
  /** Further fields that the provider sent along with the report, kept as they came. */
  details?: Record<string, unknown>
}

/** The end of a message, in the fewest words. */
export type Ending = 'delivered' | 'failed' | 'unknown'

export function endingOf(status: FinalStatus): Ending {
  if (status === 'unknown') return 'unknown'
  return status === 'delivered' || status === 'read' ? 'delivered' : 'failed'
}

const finals: ReadonlySet<Status> = new Set<Status>(FINAL_STATUSES)

export function isFinal(status: Status | null): status is FinalStatus {
  return status !== null && finals.has(status)
}

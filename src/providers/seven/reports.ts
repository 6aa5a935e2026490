/**
 * The parts of a report of seven.io, wherever it comes from: IDs, statuses, times, the sender's own foreign_id.
 *
 * Source: https://docs.seven.io/en/rest-api/endpoints/status. Unconfirmed and therefore taken every way it may come: IDs
 * as numbers, statuses in odd case, times that are missing or not in any clock.
 */
import { z } from 'zod'
import type { Status, StatusReport } from '../../core/status.ts'
import { parseLocalTime, parseUnixTime } from '../local-time.ts'

/** Times come without an offset, in the vendor's own time; recordings prove it, the documents do not say it. */
export const SEVEN_TIME_ZONE = 'Europe/Berlin'

/** Every status the API reports. The vendor's help pages count UNKNOWN among those that no longer change. */
const STATUSES: ReadonlyMap<string, Status> = new Map<string, Status>([
  ['ACCEPTED', 'accepted'],
  ['TRANSMITTED', 'transmitted'],
  ['BUFFERED', 'buffered'],
  ['DELIVERED', 'delivered'],
  ['NOTDELIVERED', 'undelivered'],
  ['EXPIRED', 'expired'],
  ['REJECTED', 'rejected'],
  ['FAILED', 'failed'],
  ['READ', 'read'],
  ['UNKNOWN', 'unknown'],
])

/** A number that JSON cannot carry exactly would be another message's ID, so it is none. */
export const idSchema = z.union([z.string(), z.int().nonnegative()]).transform((id) => String(id).trim())
export const statusSchema = z.union([z.string(), z.number().transform(String)]).nullish()
/** A value that is not a text stands for none, so that no report is refused for its time or for an additional field. */
export const optionalTextSchema = z.string().nullish().catch(null)
export const foreignIdSchema = z.union([z.string(), z.number()]).nullish().catch(null)

export function isMessageId(text: string): boolean {
  // A dot or two could stand in no URL.
  return /^(?!\.{1,2}$)[A-Za-z0-9._-]{1,64}$/.test(text)
}

/** A status not in the table is kept raw and taken as intermediate: more may come. */
export function readStatus(raw: string): Pick<StatusReport, 'status' | 'rawStatus' | 'unmapped'> {
  const status = STATUSES.get(raw.trim().toUpperCase())
  return status ? { status, rawStatus: raw } : { status: 'accepted', rawStatus: raw, unmapped: true }
}

/** The instant of a time as the vendor writes it, Unix time included; `near` decides between the two instants of the doubled hour. */
export function readTime(text: string | null | undefined, near?: Date): Date | undefined {
  return text ? (parseUnixTime(text) ?? parseLocalTime(text, SEVEN_TIME_ZONE, near)) : undefined
}

/** The sender's own ID, as a part of a report. */
export function readForeignId(foreignId: string | number | null | undefined): Pick<StatusReport, 'details'> {
  return foreignId ? { details: { foreignId: String(foreignId) } } : {}
}

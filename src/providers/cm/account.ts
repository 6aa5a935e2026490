/** The common ground of CM.com's module: the account, the key of a message, the time zone. */
import { z } from 'zod'
import { type Account, commonAccountFields, credentialSchema, durationSchema } from '../account.ts'
import { cleanPhoneNumber, normalizePhoneNumber } from '../phone-number.ts'

export interface CmAccount extends Account {
  provider: 'cm'
  productToken: string
  /** Rows of a page of transactions. */
  pageSize: number
  /** The longest window of one sweep. */
  maxWindowMs: number
  /** How much a window is widened on both sides, because the sender's clock and CM's differ. */
  clockSlackMs: number
}

/** Times come without an offset, in the vendor's own time. */
export const CM_TIME_ZONE = 'Europe/Amsterdam'

/**
 * Limits of rate, window and page are not documented. One request in five seconds and a day at a time are far below
 * what is seen in use; a page of 1,000 rows is the vendor's own example, 7,500 is the most that has been seen.
 */
export const cmAccountSchema = z
  .strictObject({
    ...commonAccountFields,
    provider: z.literal('cm'),
    productToken: credentialSchema,
    baseUrl: z.url({ protocol: /^https?$/ }).default('https://api.cmtelecom.com/v1.2'),
    query: z.enum(['auto', 'transactions', 'off']).default('auto'),
    requestsPerSecond: commonAccountFields.requestsPerSecond.unwrap().default(0.2),
    timeout: durationSchema.default(30_000),
    pageSize: z.int().min(1).max(10_000).default(1000),
    maxWindow: durationSchema.default(24 * 3_600_000),
    clockSlack: durationSchema.default(5 * 60_000),
  })
  .transform(
    ({ timeout, maxWindow, clockSlack, ...account }): CmAccount => ({
      ...account,
      timeoutMs: timeout,
      maxWindowMs: maxWindow,
      clockSlackMs: clockSlack,
    }),
  )

/**
 * CM documents 1 to 32 alphanumeric characters; UUIDs and object URIs are accepted and used all the same. One longer than
 * CM keeps would not be found again, but a report is never refused for its reference. A dot or two could stand in no URL.
 */
export const CM_REFERENCE_RULE =
  'the reference given when sending: 1 to 255 printable characters (CM.com documents 1 to 32 letters and digits), as in "order-4711"'

const LONGEST_NUMBER = 100

/** The normal form of a number that CM tells, which has its country code, with or without `+` or `00`; empty for none. */
export function readRecipient({ defaultCountry }: CmAccount, text: string): string {
  const clean = cleanPhoneNumber(text.slice(0, LONGEST_NUMBER))
  if (!/^[+(\d]/.test(clean)) return ''
  return normalizePhoneNumber(/^[1-9]/.test(clean) ? `+${clean}` : clean, defaultCountry)
}

export function normalizeReference(reference: string): string | undefined {
  const normal = reference.trim()
  return normal.length <= 255 && /^(?!\.{1,2}$)[^\p{C}\p{Zl}\p{Zp}]+$/u.test(normal) ? normal : undefined
}

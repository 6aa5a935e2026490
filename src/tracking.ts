/**
 * What the sending app hands over, checked and put into the schedule: the same for HTTP, for the queue `track`, and for
 * apps that track inside a transaction of their own.
 */
import { z } from 'zod'
import { type Issue, LastwordError } from './core/errors.ts'
import { nextPollAt, type PollingPolicy, windowEnd } from './core/polling.ts'
import type { Db } from './db/client.ts'
import { type NewMessage, trackMessages } from './db/messages.ts'
import { hasCredentials } from './providers/account.ts'
import type { Account, Provider } from './providers/provider.ts'
import { providerOf } from './providers/registry.ts'

export type Accounts = ReadonlyMap<string, Account>

/** The most messages in one order. */
const MOST_MESSAGES = 10_000
/** Clocks differ: `sentAt` may be this far ahead. */
const CLOCK_TOLERANCE_MS = 5 * 60_000
const LONGEST_URL = 2000

/** A NUL as JSON writes it, and not the text of a backslash and `u0000`. */
const nulCharacter = /(?<!\\)(?:\\\\)*\\u0000/
const metadataSchema = z
  .record(z.string(), z.json())
  .refine((value) => !nulCharacter.test(JSON.stringify(value)), 'expected no NUL characters')

/** Whether the address may be called is decided when it is called. */
const callbackUrlSchema = z
  .string()
  .refine(
    (text) => text.length <= LONGEST_URL && /^https?:\/\/[^\s\p{Cc}]+$/iu.test(text) && URL.canParse(text),
    `expected a URL that begins with https://, of at most ${LONGEST_URL} characters`,
  )
  .refine((url) => !hasCredentials(url), 'expected a URL without a user name and password, which would not be sent')

const messageSchema = z.strictObject({
  messageId: z
    .union([z.string(), z.int().nonnegative()])
    .transform(String)
    .pipe(z.string().min(1, 'expected a message ID, found an empty string')),
  sentAt: z.iso
    .datetime({ offset: true, message: 'expected an ISO 8601 time with an offset, like 2026-01-31T10:00:00Z' })
    .optional(),
  recipient: z
    .string()
    .regex(/^\+?[0-9 ()./-]{3,30}$/, 'expected a phone number of 3 to 30 characters, like +491700000000')
    .optional(),
  metadata: metadataSchema.optional(),
  callbackUrl: callbackUrlSchema.optional(),
})

/** The body of `POST /v1/messages`, and with `v` the payload of a job in the queue `track`. */
export const trackingOrderSchema = z.strictObject({
  account: z.string(),
  messages: z
    .array(messageSchema)
    .min(1, 'expected at least one message')
    .max(MOST_MESSAGES, `expected at most ${MOST_MESSAGES} messages; send the rest in a further request`),
})
export type TrackingOrder = z.infer<typeof trackingOrderSchema>

export interface Tracked {
  tracked: number
  alreadyTracked: number
}

/** Tracks an order, all or none; committed when it resolves. Throws NOT_FOUND or INPUT_INVALID. */
export async function track(db: Db, accounts: Accounts, order: TrackingOrder): Promise<Tracked> {
  const account = accounts.get(order.account)
  if (!account) {
    const known = [...accounts.keys()].join(', ') || 'none'
    throw new LastwordError(
      'NOT_FOUND',
      `No account named ${JSON.stringify(order.account.slice(0, 50))} is configured; known are: ${known}.`,
    )
  }
  const provider = providerOf(account)
  if (!account.callback) refuseCallbackUrls(order)
  const messages = scheduleMessages(provider, recordOf(account), order.messages, Date.now(), Math.random)
  const tracked = await trackMessages(db, messages, provider.keyedByRecipient)
  return { tracked, alreadyTracked: messages.length - tracked }
}

/** Nothing could be sent there: callbacks are signed with the account's own secret. */
function refuseCallbackUrls({ account, messages }: TrackingOrder): void {
  const issues = messages.flatMap(({ callbackUrl }, index) => {
    const message = `expected none, because account "${account}" has no callback secret to sign with`
    return callbackUrl === undefined ? [] : [{ path: `messages[${index}].callbackUrl`, message }]
  })
  if (issues.length > 0) throw invalidOrder(issues)
}

/** What tracking must know of an account; without its credentials, so that it can be kept in the database. */
export interface AccountRecord {
  account: string
  provider: string
  polling: PollingPolicy
  isPolled: boolean
}

export function recordOf(account: Account): AccountRecord {
  const { name, provider, polling } = account
  return { account: name, provider, polling, isPolled: providerOf(account).lookups(account).length > 0 }
}

/** Puts messages in normal form and into the schedule. Throws INPUT_INVALID with every message that is wrong, by index. */
export function scheduleMessages(
  provider: Provider,
  { account, polling, isPolled }: AccountRecord,
  messages: TrackingOrder['messages'],
  now: number,
  random: () => number,
): NewMessage[] {
  const issues: Issue[] = []
  const seen = new Map<string, number>()
  const scheduled = messages.map((message, index): NewMessage => {
    const wrong = (field: string, expectation: string) =>
      issues.push({ path: `messages[${index}].${field}`, message: expectation })
    const messageId = provider.normalizeMessageId(message.messageId)
    if (messageId === undefined) wrong('messageId', `expected ${provider.messageIdRule}`)
    const recipientKey =
      provider.keyedByRecipient && message.recipient ? provider.normalizeRecipient(message.recipient) : ''
    const key = `${messageId} ${recipientKey}`
    const first = seen.get(key)
    if (first !== undefined) wrong('messageId', `expected each message once, found the same one in messages[${first}]`)
    seen.set(key, index)
    const sentAt = message.sentAt === undefined ? now : Date.parse(message.sentAt)
    if (sentAt > now + CLOCK_TOLERANCE_MS) wrong('sentAt', 'expected a time at most 5 minutes ahead')
    const windowEndsAt = windowEnd(polling, sentAt)
    if (windowEndsAt <= now) wrong('sentAt', `expected a time within the look-up window of ${days(polling)} days`)
    const due = isPolled ? nextPollAt(polling, { sentAt, now, polls: 0, random: random() }) : windowEndsAt
    return {
      account,
      messageId: messageId ?? '',
      recipientKey,
      recipient: message.recipient ?? null,
      sentAt: new Date(sentAt),
      windowEndsAt: new Date(windowEndsAt),
      nextPollAt: new Date(due),
      metadata: message.metadata,
      callbackUrl: message.callbackUrl,
    }
  })
  if (issues.length > 0) throw invalidOrder(issues)
  return scheduled
}

function days({ windowMs }: PollingPolicy): string {
  return String(Number((windowMs / 86_400_000).toPrecision(3)))
}

const MOST_ISSUES = 20

/** INPUT_INVALID for an order, with the first of its issues. */
function invalidOrder(issues: readonly Issue[]): LastwordError {
  const [first] = issues
  const more = issues.length > 1 ? ` (and ${issues.length - 1} more)` : ''
  return new LastwordError('INPUT_INVALID', `Nothing was tracked. ${first?.path}: ${first?.message}${more}.`, {
    issues: issues.slice(0, MOST_ISSUES),
  })
}

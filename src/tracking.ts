/**
 * Checks the messages that the sending app hands over, and puts them into the schedule: the same for HTTP, for the
 * queue `track`, and for apps that track inside a transaction of their own.
 */
import { type Issue, LastwordError } from './core/errors.ts'
import { firstDueAt } from './core/plan.ts'
import { type PollingPolicy, windowOf } from './core/polling.ts'
import type { Db } from './db/client.ts'
import { trackMessages } from './db/messages.ts'
import type { NewMessage } from './db/new-message.ts'
import { type Plans, priorPlans } from './plans.ts'
import type { Account } from './providers/account.ts'
import { type Country, cleanPhoneNumber, isNationalNumber, isNumberOf } from './providers/phone-number.ts'
import type { Provider } from './providers/provider.ts'
import { providerOf } from './providers/registry.ts'
import type { OrderedMessage, ReadOrder, Refused } from './tracking-order.ts'

export type Accounts = ReadonlyMap<string, Account>

/** A gateway may be told to send later; more than this ahead is taken for a mistake. */
const FURTHEST_AHEAD_MS = 365 * 86_400_000

export interface Tracked {
  tracked: number
  alreadyTracked: number
  /** Of an order that may be tracked in part: the messages that were not. */
  refused?: Refused[]
}

/**
 * Tracks an order, all or none unless it is partial; committed when it resolves. `traceparent` is kept with the messages.
 * Throws NOT_FOUND or INPUT_INVALID.
 */
export async function track(
  db: Db,
  accounts: Accounts,
  order: ReadOrder,
  plans: Plans = priorPlans,
  traceparent?: string,
): Promise<Tracked> {
  const account = accounts.get(order.account)
  if (!account) {
    const known = [...accounts.keys()].join(', ') || 'none'
    throw new LastwordError(
      'NOT_FOUND',
      `No account named ${JSON.stringify(order.account.slice(0, 50))} is configured; known are: ${known}.`,
    )
  }
  const provider = providerOf(account)
  const moment = { now: plans.now(), random: Math.random }
  const scheduled = scheduleOrder(provider, recordOf(account, plans), order, moment)
  const tracked = await trackMessages(db, scheduled.messages, provider.keyedByRecipient, traceparent)
  return resultOf(order, scheduled, tracked)
}

/**
 * The settings of an account that tracking needs; without its credentials, so that they can be kept in the database.
 */
export interface AccountRecord {
  account: string
  provider: string
  polling: PollingPolicy
  /** The age, in milliseconds, at which its messages are first asked about; the exponential policy does without. */
  firstAge: number
  isPolled: boolean
  defaultCountry?: Country | undefined
  /** Messages are tracked whose IDs do not look like the provider's. */
  takesAnyId?: boolean | undefined
  /** Callbacks can be signed: messages may have URLs of their own. */
  hasCallbacks: boolean
  changesQueue?: string | undefined
}

export function recordOf(account: Account, plans: Plans): AccountRecord {
  const { name, provider, polling, defaultCountry, changesQueue } = account
  const takesAnyId = account.messageIds === 'any'
  const isPolled = providerOf(account).lookups(account).length > 0
  return {
    account: name,
    provider,
    polling,
    firstAge: plans.planOf(account).firstAge,
    isPolled,
    defaultCountry,
    takesAnyId,
    hasCallbacks: account.callback !== undefined,
    changesQueue,
  }
}

interface Scheduled {
  messages: NewMessage[]
  /** Messages that stand in the order more than once. */
  repeats: number
  refused: Refused[]
}

interface Moment {
  now: number
  random: () => number
}

/**
 * Puts messages in normal form and into the schedule, each once. Throws INPUT_INVALID with every message that is wrong,
 * by index, unless the order may be tracked in part.
 */
export function scheduleOrder(provider: Provider, record: AccountRecord, order: ReadOrder, moment: Moment): Scheduled {
  const issues: Issue[] = []
  const scheduled = new Map<string, NewMessage>()
  const refused = [...order.refused]
  for (const { index, message } of order.messages) {
    const problems = problemsOf(provider, record, message, moment)
    if (problems.length > 0) {
      issues.push(...problems.map(({ path, message }) => ({ path: `messages[${index}].${path}`, message })))
      const reason = problems.map(({ path, message }) => `${path}: ${message}`).join('; ')
      refused.push({ index, messageId: message.messageId, reason })
      continue
    }
    const row = schedule(provider, record, message, moment)
    const key = JSON.stringify([row.messageId, row.recipientKey])
    if (!scheduled.has(key)) scheduled.set(key, row)
  }
  if (issues.length > 0 && !order.partial) throw invalidOrder(issues)
  const repeats = order.messages.length + order.refused.length - refused.length - scheduled.size
  return { messages: [...scheduled.values()], repeats, refused: refused.sort((a, b) => a.index - b.index) }
}

/** The result of an order of which `tracked` messages were new. */
export function resultOf({ partial }: ReadOrder, { messages, repeats, refused }: Scheduled, tracked: number): Tracked {
  const counts = { tracked, alreadyTracked: messages.length - tracked + repeats }
  return partial ? { ...counts, refused } : counts
}

function problemsOf(
  provider: Provider,
  { account, polling, defaultCountry, takesAnyId, hasCallbacks }: AccountRecord,
  { messageId, recipient, sentAt: given, callbackUrl }: OrderedMessage,
  { now }: Moment,
): Issue[] {
  const issues: Issue[] = []
  const wrong = (path: string, message: string) => issues.push({ path, message })
  const id = provider.normalizeMessageId(messageId)
  const { givenIds } = provider
  if (id === undefined) wrong('messageId', `expected ${provider.messageIdRule}`)
  else if (givenIds && !takesAnyId && !givenIds.pattern.test(id)) {
    const remedy = `track the ID that the provider answered with, or set "messageIds": "any" in the account`
    wrong('messageId', `expected ${givenIds.rule}, found another form; ${remedy}`)
  }
  const open = provider.keyedByRecipient && recipient !== undefined && isNationalNumber(recipient)
  if (open && !defaultCountry) {
    wrong(
      'recipient',
      'expected a number with its country code, like +31612345678, found one that begins with a single 0',
    )
  }
  if (open && defaultCountry && !isNumberOf(defaultCountry, recipient)) {
    wrong(
      'recipient',
      `expected a number of ${defaultCountry}, the account's defaultCountry, or one with a country code`,
    )
  }
  const sentAt = given === undefined ? now : Date.parse(given)
  if (sentAt > now + FURTHEST_AHEAD_MS) wrong('sentAt', 'expected a time at most a year ahead')
  if (windowOf(polling, sentAt).windowEndsAt <= now) {
    wrong('sentAt', `expected a time within the look-up window of ${days(polling)} days`)
  }
  if (callbackUrl !== undefined && !hasCallbacks) {
    wrong('callbackUrl', `expected none, because account "${account}" has no callback secret to sign with`)
  }
  return issues
}

function schedule(
  provider: Provider,
  { account, polling, firstAge, isPolled, defaultCountry }: AccountRecord,
  { messageId, recipient: given, sentAt: sent, ...rest }: OrderedMessage,
  { now, random }: Moment,
): NewMessage {
  const recipient = given === undefined ? null : cleanPhoneNumber(given)
  const sentAt = sent === undefined ? now : Date.parse(sent)
  const window = windowOf(polling, sentAt)
  const { windowEndsAt } = window
  const due = isPolled ? firstDueAt({ policy: polling, firstAge }, window, now, random()) : windowEndsAt
  const number = recipient === null ? null : provider.normalizeRecipient(recipient, defaultCountry)
  return {
    account,
    messageId: provider.normalizeMessageId(messageId) ?? '',
    recipientKey: provider.keyedByRecipient && number ? number : '',
    recipient,
    number: number || null,
    sentAt: new Date(sentAt),
    windowEndsAt: new Date(windowEndsAt),
    dueAt: new Date(due),
    ...rest,
    mayBeginAnew: provider.idsMayRecur && sent !== undefined,
  }
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

/**
 * The contract between Lastword and an SMS provider. A provider is a folder, whose file of the same name exports one
 * `Provider` for the list in `registry.ts`; it knows neither the server, the queues nor the database.
 *
 * Providers differ in what they can be asked, so a provider offers its look-ups in order of preference, none at all
 * included; each is asked by many IDs, by one ID, or by time window and page. They agree in what comes back: reports.
 */
import type { z } from 'zod'
import type { BatchLimits } from '../core/batching.ts'
import type { Issue } from '../core/errors.ts'
import type { PollingPolicy } from '../core/polling.ts'
import type { StatusReport } from '../core/status.ts'
import type { ProviderHttp } from './http.ts'
import type { Country } from './phone-number.ts'

/** The part of a configured account that its provider reads, with its defaults filled in. */
export interface ProviderAccount {
  name: string
  provider: string
  baseUrl: string
  /** Which look-up is used; `off` means that only webhooks (and the closing window) settle messages. */
  query: string
  batchSize: number
  requestsPerSecond: number
  /** How long one request may take. */
  timeoutMs: number
  polling: PollingPolicy
  /** The keys of which webhooks are signed with one. */
  signingKey?: readonly string[] | undefined
  /** The country of numbers that are written without a country code. */
  defaultCountry?: Country | undefined
}

/** The findings of a status query about the messages it asked for. Messages in neither list have no status yet. */
export interface StatusAnswer {
  reports: StatusReport[]
  /** Asked for, but absent from the answer. */
  missing: string[]
}

/** A message that is asked about by its ID. */
export interface AskedMessage {
  messageId: string
  /** When it was sent, as the app says: some providers look for a message within a time. */
  sentAt: Date
}

/** Asking by message IDs, many a request or (with `maxIds: 1`) one. */
export interface LookupByIds {
  limits: BatchLimits
  /**
   * Asks once. Throws a ProviderError that says what to do about it. An error that the provider answers with carries the
   * answer (`response`): where HTTP 404 to one ID says that the message is not there, the module makes it `missing`.
   */
  ask(http: ProviderHttp, asked: readonly AskedMessage[], signal: AbortSignal): Promise<StatusAnswer>
}

/** One page of what was sent in a window of time. */
export interface WindowAnswer {
  /** A report for each row of the page that has a status, of messages tracked here or not. */
  reports: StatusReport[]
  /** The IDs of the rows that have no status yet. */
  noStatusYet: string[]
  /** True when there are further pages. */
  hasMore: boolean
  /** How the provider names the next page, where it does not count them. */
  cursor?: string | undefined
}

/** The page of a window that is asked for. */
interface AskedPage {
  from: Date
  to: Date
  /** Counted from 0. */
  page: number
  /** As the answer to the page before named it. */
  cursor?: string | undefined
}

/** Asking by the time of sending: one paged request covers every message sent in a window. */
export interface LookupByWindow {
  /** The longest window one sweep asks about. */
  maxSpanMs: number
  /** How much wider than the times of sending the window is made, on both sides, because clocks differ. */
  slackMs: number
  /** The most rows of a page, for estimates. */
  pageSize: number
  /** Asks for one page. Throws a ProviderError that says what to do about it. */
  ask(http: ProviderHttp, asked: AskedPage, signal: AbortSignal): Promise<WindowAnswer>
}

/** One interface of the provider that answers about statuses. With both ways of asking, the cheaper one is used. */
export interface StatusLookup {
  /** As it stands in jobs and in an account's health: `status`, `logbook`, `transactions`. */
  name: string
  byIds?: LookupByIds
  byWindow?: LookupByWindow
  /**
   * The provider hands each report out once. Its answers are kept with the job before anything is done with them, and
   * reports of messages that are not tracked (yet) are kept too.
   */
  readsOnce?: true
  /** Every record of an answer is paid for: with both ways of asking, only the messages that wait are asked about, by ID. */
  paidByRecord?: true
}

/** A webhook subscription at the provider. */
export interface HookSubscription {
  id: string
  targetUrl: string
  eventType: string
  enabled: boolean
}

/** Managing webhook subscriptions through the provider's API, where it has one for that. */
export interface HookApi {
  list(http: ProviderHttp, signal: AbortSignal): Promise<HookSubscription[]>
  /** Subscribes `targetUrl` to delivery receipts, in the form this provider module reads best. */
  create(http: ProviderHttp, targetUrl: string, signal: AbortSignal): Promise<void>
  delete(http: ProviderHttp, id: string, signal: AbortSignal): Promise<void>
}

/** A request that reached `/webhooks/{account}`. */
export interface WebhookRequest {
  method: string
  /** The complete URL the provider called: PUBLIC_URL and the path with its query; undefined without PUBLIC_URL. */
  publicUrl: string | undefined
  /** The path with its query, as received. */
  path: string
  headers: Readonly<Record<string, string | string[] | undefined>>
  /** The body as received. */
  body: Buffer
  receivedAt: Date
}

/** The value that a signed request must not repeat with another body. */
export interface Nonce {
  value: string
  bodyDigest: string
  validForMs: number
}

/** The findings of a provider's module in the values of a request. */
export interface ReceiptReading {
  reports: StatusReport[]
  /** Why parts of it are no receipts of this account: another event, a message without a reference. */
  ignored: string[]
  /** Receipts that could not be read, by their place. */
  issues: Issue[]
}

/** The content of a webhook request. */
export interface WebhookReading {
  reports: StatusReport[]
  /** Why a request without reports is accepted all the same: another event, an empty test request. */
  ignored?: string
  /** How many parts concern nobody here, beside the reports. */
  passedOver?: number
  /** Messages of the request that could not be read, beside others that could. */
  skipped?: Issue[]
  /** The nonce of a signed request: a request that repeats it with another digest is refused. */
  nonce?: Nonce
}

export interface Provider<A extends ProviderAccount = ProviderAccount> {
  /** The value of `provider` in an account. */
  name: string
  /** Validates an account and fills in its defaults. */
  accountSchema: z.ZodType<A>
  /** True where one message ID can cover several recipients, so that the recipient belongs to the key. */
  keyedByRecipient: boolean
  /** True where message IDs are the sender's own references, which may be used again. */
  idsMayRecur: boolean
  /** The form of a message ID, for error messages. */
  messageIdRule: string
  /**
   * The IDs that the provider gives out, where they are known to be narrower than `normalizeMessageId`: others are refused
   * when they are tracked, unless the account says `"messageIds": "any"`. Receipts are kept whatever their IDs.
   */
  givenIds?: { pattern: RegExp; rule: string }
  /** The one normal form in which IDs are stored and compared, or undefined for what cannot be an ID. */
  normalizeMessageId(messageId: string): string | undefined
  /** The one normal form of a phone number: `0031…`, `+31…`, `31…` and, within `country`, `06…` are the same. */
  normalizeRecipient(recipient: string, country?: Country): string
  /** How this account is asked, in order: the next is used once the provider says that the one before is gone. */
  lookups(account: A): readonly StatusLookup[]
  /** How webhook subscriptions are managed, where the provider has an interface for that. */
  hooks?(account: A): HookApi
  /**
   * Checks who sent a webhook request, where the provider signs. `inflated` is the body without its compression.
   * Throws UNAUTHORIZED for a signature that is truly wrong, UNAVAILABLE for one that cannot be checked here.
   */
  verifyWebhook?(account: A, request: WebhookRequest & { inflated: Buffer }): Nonce | undefined
  /** The answer to a webhook that was stored, where the provider wants to see a certain one. */
  webhookAnswer?: { contentType: string; body: string }
  /**
   * Reads the receipts in the values of one request: JSON, XML as objects, or fields, whatever the wrapping was
   * (receipt.ts). They may stand in an envelope, in a list, or as JSON within a text (`unfold`). Never throws.
   */
  readReceipts(account: A, content: unknown, receivedAt: Date): ReceiptReading
}

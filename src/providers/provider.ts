/**
 * The contract between Lastword and an SMS provider. A provider is one file that exports one `Provider`, listed in
 * `registry.ts`; it knows neither the server, the queues nor the database.
 *
 * Providers differ in what they can be asked, so a provider offers one or more look-ups: by many IDs, by one ID, by time
 * window and page, or none. They agree in what comes back: status reports.
 */
import type { z } from 'zod'
import type { BatchLimits } from '../core/batching.ts'
import type { PollingPolicy } from '../core/polling.ts'
import type { StatusReport } from '../core/status.ts'
import type { ProviderHttp } from './http.ts'

/** One configured set of credentials at a provider, with its defaults filled in. */
export interface Account {
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
  /** The token that webhook URLs of this account must end with. */
  webhookToken?: string | undefined
  /** The key webhooks are signed with. */
  signingKey?: string | undefined
}

/** What a status query found out about the messages it asked for. Those in neither list have no status yet. */
export interface StatusAnswer {
  reports: StatusReport[]
  /** Asked for, but absent from the answer. */
  missing: string[]
}

/** A look-up that takes many message IDs a request. */
export interface LookupByIds {
  by: 'ids'
  limits: BatchLimits
  /** Asks once. Throws a ProviderError that says what to do about it. */
  ask(http: ProviderHttp, messageIds: readonly string[], signal: AbortSignal): Promise<StatusAnswer>
}

/** A request that reached `/webhooks/{account}`. */
export interface WebhookRequest {
  method: string
  /** The complete URL the provider called: PUBLIC_URL and the path with its query; undefined without PUBLIC_URL. */
  publicUrl: string | undefined
  /** The path with its query, as received. */
  path: string
  query: Readonly<Record<string, unknown>>
  headers: Readonly<Record<string, string | string[] | undefined>>
  body: Buffer
  receivedAt: Date
}

/** What a webhook said. */
export interface WebhookReading {
  reports: StatusReport[]
  /** Why a request without reports is accepted all the same: another event, an empty test request. */
  ignored?: string
}

export interface Provider<A extends Account = Account> {
  /** The value of `provider` in an account. */
  name: string
  /** Validates an account and fills in its defaults. */
  accountSchema: z.ZodType<A>
  /** True where one message ID can cover several recipients, so that the recipient belongs to the key. */
  keyedByRecipient: boolean
  /** What a message ID looks like, for error messages. */
  messageIdRule: string
  /** The one normal form in which IDs are stored and compared, or undefined for what cannot be an ID. */
  normalizeMessageId(messageId: string): string | undefined
  /** The one normal form of a phone number: `0031…`, `+31…` and `31…` are the same. */
  normalizeRecipient(recipient: string): string
  /** How this account is asked, or undefined when it is never polled. */
  lookup(account: A): LookupByIds | undefined
  /**
   * Checks and reads one webhook request.
   * Throws UNAUTHORIZED for a signature that is truly wrong, INPUT_INVALID for a body that cannot be read.
   */
  readWebhook(account: A, request: WebhookRequest): WebhookReading
}

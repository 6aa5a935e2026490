/**
 * The service over HTTP, for sending apps and for the command line. A client holds no connection of its own and needs no
 * closing.
 *
 *   const lastword = createClient({ url: 'http://127.0.0.1:3000', apiKey: '…' })
 *   await lastword.track({ account: 'seven', messages: [{ messageId: '77232007287' }] })
 *   const { status } = await lastword.get('seven', '77232007287')
 *
 * Every request is tried once, `changes` goes on until it is told to stop. Every failure throws a LastwordError whose
 * `retryable` says whether the same request may succeed later; tracking twice is harmless.
 */

import { LastwordError } from '../core/errors.ts'
import type {
  AccountHealth,
  Act,
  ActFilter,
  ActPage,
  Alert,
  Change,
  ListFilter,
  Message,
  MessageFilter,
  MessagePage,
  MessageWithReports,
  PolledMessage,
  Schedule,
  Statistics,
  StatisticsFilter,
  Tracked,
} from './answers.ts'
import { pause, withRetries } from './backoff.ts'
import type { Order } from './order.ts'
import { ask, type ServiceAddress, type ServiceRequest } from './request.ts'

export interface ClientOptions {
  /** Where the service listens, as in `http://127.0.0.1:3000`. */
  url: string
  /** One of the service's API_KEYS. */
  apiKey?: string | undefined
  /** How long a request may take; 30,000 by default. Waiting for changes comes on top of it. */
  timeoutMs?: number | undefined
}

export interface ChangesOptions {
  /** A cursor of an earlier page; without one the oldest change that is kept is first; `latest` skips all there are. */
  after?: string | undefined
  /** False ends with what there is by now, and throws when the service does not answer, instead of waiting for either. */
  follow?: boolean | undefined
  /** Seconds that one request waits for a change, 1 to 60; 30 by default. */
  wait?: number | undefined
  /** The most changes of a page, 1 to 1,000; 100 by default. */
  limit?: number | undefined
  /** Ends the iteration at once, without an error. */
  signal?: AbortSignal | undefined
}

export interface ChangePage {
  changes: Change[]
  /** Where to go on after these: store it once all of them are handled. */
  cursor: string
}

export interface RequestOptions {
  signal?: AbortSignal | undefined
}

export interface Client {
  /** Tracks 1 to 10,000 messages, all or none. Throws INPUT_INVALID with `issues`, or NOT_FOUND for the account. */
  track(order: Order, options?: RequestOptions): Promise<Tracked>
  /**
   * One message with its reports. Throws NOT_FOUND if it is not tracked, AMBIGUOUS if the ID covers several recipients and
   * none was named; `extra.recipients` lists them.
   */
  get(
    account: string,
    messageId: string,
    options?: RequestOptions & { recipient?: string | undefined },
  ): Promise<MessageWithReports>
  /** Every message, the latest sent first, fetched page by page while they are read. */
  list(filter?: ListFilter & RequestOptions): AsyncGenerator<Message, void, void>
  /** One page of messages, the latest sent first: for those who keep the cursor themselves. It may hold few, or none. */
  listPage(
    filter?: ListFilter & RequestOptions & { limit?: number | undefined; cursor?: string | undefined },
  ): Promise<MessagePage>
  /** Has the provider asked about a message now. Throws NOT_FOUND, AMBIGUOUS, or CONFLICT when nothing is asked any more. */
  poll(
    account: string,
    messageId: string,
    options?: RequestOptions & { recipient?: string | undefined },
  ): Promise<PolledMessage>
  /**
   * Erases one message, with everything that is known of it; reports of it that come later are dropped. Throws NOT_FOUND,
   * or AMBIGUOUS as `get` does.
   */
  erase(
    account: string,
    messageId: string,
    options?: RequestOptions & { recipient?: string | undefined },
  ): Promise<void>
  /** Erases every message to a phone number. Returns how many those were; throws NOT_FOUND when there is none. */
  eraseRecipient(number: string, options?: RequestOptions): Promise<number>
  /** Every configured account, with its health. */
  accounts(options?: RequestOptions): Promise<AccountHealth[]>
  /** When messages of an account are asked about, and why. Throws NOT_FOUND for the account. */
  schedule(account: string, options?: RequestOptions): Promise<Schedule>
  /** The figures hour by hour and by account, and how old the outstanding messages are. Throws INPUT_INVALID for the range. */
  statistics(filter?: StatisticsFilter & RequestOptions): Promise<Statistics>
  /** The alerts that last, then those that ended within 30 days; the latest of each come first. */
  alerts(options?: RequestOptions): Promise<Alert[]>
  /** The acts of people and programs, the latest first, fetched page by page while it is read. */
  acts(filter?: ActFilter & RequestOptions): AsyncGenerator<Act, void, void>
  /** One page of acts, the latest first: for those who keep the cursor themselves. */
  actsPage(
    filter?: ActFilter & RequestOptions & { limit?: number | undefined; cursor?: string | undefined },
  ): Promise<ActPage>
  /** Has the provider asked now about every outstanding message that matches. Returns how many those are. */
  pollAll(filter?: MessageFilter & RequestOptions): Promise<number>
  /**
   * Every change of a status in the order of the commits, page by page, for ever: it waits for what comes next, and
   * goes on by itself after failures that pass. A reader that stores `cursor` when a page is handled, and begins with
   * it the next time, gets every change at least once. No page is empty but the first after `latest`, which brings the
   * cursor that the feed begins with.
   *
   *   for await (const { changes, cursor } of lastword.changes({ after: await loadCursor(), signal })) {
   *     for (const change of changes) await handle(change)
   *     await storeCursor(cursor)
   *   }
   *
   * Throws GONE for a cursor older than what is kept, and whatever else does not pass by itself.
   */
  changes(options?: ChangesOptions): AsyncGenerator<ChangePage, void, void>
}

const TIMEOUT_MS = 30_000
const PAGE_SIZE = 500
const WAIT_S = 30
const LEAST_WAIT_MS = 500
/** Of a request that does not follow changes: within some seconds. */
const ATTEMPTS_ONCE = 4

/** A client of the service. Throws a TypeError for a URL that is none. */
export function createClient({ url, apiKey, timeoutMs = TIMEOUT_MS }: ClientOptions): Client {
  if (!URL.canParse(url) || !/^https?:$/.test(new URL(url).protocol)) {
    throw new TypeError('Expected `url` to be a URL that begins with http:// or https://.')
  }
  const address: ServiceAddress = { url, apiKey, timeoutMs }
  // The types say what the service's own tests hold it to.
  const request = async <T>(what: ServiceRequest) => (await ask(address, what)) as T
  const listPage: Client['listPage'] = ({ signal, metadata = {}, ...query } = {}) => {
    const pairs = Object.entries(metadata).map(([key, value]) => [`metadata.${key}`, value])
    return request<MessagePage>({ path: '/v1/messages', query: { ...query, ...Object.fromEntries(pairs) }, signal })
  }
  const actsPage: Client['actsPage'] = ({ signal, ...query } = {}) =>
    request<ActPage>({ path: '/v1/acts', query, signal })

  return {
    track: (order, { signal } = {}) => request<Tracked>({ method: 'POST', path: '/v1/messages', body: order, signal }),
    get: async (account, messageId, { recipient, signal } = {}) =>
      request<MessageWithReports>({ path: pathOf(account, messageId), query: { recipient }, signal }),
    listPage,
    async *list(filter = {}) {
      const pages = readPages((cursor) => listPage({ ...filter, limit: PAGE_SIZE, cursor }))
      for await (const { messages } of pages) yield* messages
    },
    poll: async (account, messageId, { recipient, signal } = {}) =>
      request<PolledMessage>({
        method: 'POST',
        path: `${pathOf(account, messageId)}/poll`,
        query: { recipient },
        signal,
      }),
    async erase(account, messageId, { recipient, signal } = {}) {
      await request({ method: 'DELETE', path: pathOf(account, messageId), query: { recipient }, signal })
    },
    async eraseRecipient(number, { signal } = {}) {
      const path = `/v1/recipients/${segment(number)}`
      return (await request<{ erased: number }>({ method: 'DELETE', path, signal })).erased
    },
    accounts: async ({ signal } = {}) =>
      (await request<{ accounts: AccountHealth[] }>({ path: '/v1/accounts', signal })).accounts,
    schedule: async (account, { signal } = {}) =>
      request<Schedule>({ path: `/v1/accounts/${segment(account)}/schedule`, signal }),
    statistics: ({ signal, ...query } = {}) => request<Statistics>({ path: '/v1/statistics', query, signal }),
    alerts: async ({ signal } = {}) => (await request<{ alerts: Alert[] }>({ path: '/v1/alerts', signal })).alerts,
    async *acts(filter = {}) {
      const pages = readPages((cursor) => actsPage({ ...filter, limit: PAGE_SIZE, cursor }))
      for await (const { acts } of pages) yield* acts
    },
    actsPage,
    async pollAll({ signal, ...filter } = {}) {
      const path = '/v1/messages/poll'
      const pages = readPages((cursor) =>
        request<{ polled: number; nextCursor: string | null }>({
          method: 'POST',
          path,
          body: { ...filter, cursor },
          signal,
        }),
      )
      let all = 0
      for await (const { polled } of pages) all += polled
      return all
    },
    changes: (options) => readChanges(address, options),
  }
}

/** Every page, each asked for when it is read. */
async function* readPages<P extends { nextCursor: string | null }>(
  read: (cursor: string | undefined) => Promise<P>,
): AsyncGenerator<P, void, void> {
  let cursor: string | undefined
  do {
    const page = await read(cursor)
    yield page
    cursor = page.nextCursor ?? undefined
  } while (cursor !== undefined)
}

function pathOf(account: string, messageId: string): string {
  return `/v1/messages/${segment(account)}/${segment(messageId)}`
}

/** A part of a path. A URL takes `.` and `..` for ways through it, encoded or not, and the request would be another one. */
function segment(text: string): string {
  if (text !== '.' && text !== '..') return encodeURIComponent(text)
  throw new LastwordError('INPUT_INVALID', `Expected an account, an ID or a number, found "${text}".`)
}

async function* readChanges(
  address: ServiceAddress,
  { after, follow = true, wait = WAIT_S, limit, signal }: ChangesOptions = {},
): AsyncGenerator<ChangePage, void, void> {
  // Half-open connections would wait for ever, so each request ends some time after the service must have answered.
  const patient = { ...address, timeoutMs: address.timeoutMs + wait * 1000 }
  let cursor = after
  try {
    while (!signal?.aborted) {
      const isLatest = cursor === 'latest'
      const query = { after: cursor, limit, wait: follow && !isLatest ? wait : 0 }
      const begun = Date.now()
      const read = () => ask(patient, { path: '/v1/changes', query, signal })
      const attempts = follow ? Number.POSITIVE_INFINITY : ATTEMPTS_ONCE
      const { changes, next } = (await withRetries(read, { attempts, signal })) as {
        changes: Change[]
        next: string
      }
      cursor = next
      if (changes.length > 0 || isLatest) yield { changes, cursor }
      if (changes.length > 0) continue
      if (!follow) return
      // A service that is stopping answers at once.
      if (!isLatest && Date.now() - begun < LEAST_WAIT_MS) await pause(LEAST_WAIT_MS, signal)
    }
  } catch (error) {
    if (!signal?.aborted) throw error
  }
}

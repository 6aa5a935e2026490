/**
 * The sending app of a run: it sends through the simulated providers, tracks what it sent until that is acknowledged,
 * erases some people, and hears of changes in each of the three ways.
 */
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'
import { setTimeout as delay } from 'node:timers/promises'
import { Webhook } from 'standardwebhooks'
import type { Status } from '../../src/core/status.ts'
import { openQueueBackend } from '../../src/jobs/backend.ts'
import { createLog } from '../../src/log.ts'
import type { Random } from '../../src/sandbox/random.ts'
import type { Sandbox } from '../../src/sandbox/server.ts'
import { TELLERS, type Teller, type Told, toTold } from './ledger.ts'

export const SECRET = 'whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw'
export const QUEUE = 'told'

type ReceiverMood = 'takes' | 'refuses' | 'hangs up'

export interface App {
  /** Sends so many messages; they are tracked from then on, some of them late. */
  send(count: number): void
  /** The messages of people who were erased. */
  erased: ReadonlySet<string>
  /** The numbers of those people. */
  erasedNumbers: ReadonlySet<string>
  /** The changes of a message as one way told them, in order. */
  toldOf(teller: Teller, key: string): readonly Told[]
  /** How many changes each way has told, and how many callbacks were refused for their signature. */
  counts(): Record<Teller, number> & { forged: number }
  /** Resolves when everything that was sent is tracked, and everybody who is to be erased is; with what was refused. */
  idle(): Promise<readonly string[]>
  setMood(mood: ReceiverMood): void
  /** Neither reads the feed nor takes jobs. */
  pause(): Promise<void>
  resume(): void
  callbackUrl: string
  close(): Promise<void>
}

export interface AppOptions {
  sandbox: Sandbox
  random: Random
  /** Of the API, and of the queues; the latter is known once the processes are up. */
  apiUrl: string
  queueUrl: string
  /** Every so many messages are sent to somebody who is erased later; undefined for nobody. */
  erasedEvery: number | undefined
  /** The accounts that have callbacks. */
  called: readonly string[]
  /** Between how many receivers of callbacks messages are spread; the first is that of the accounts. */
  receivers: number
}

interface Order {
  account: string
  messageId: string
  recipient: string
  sentAt: string
  callbackUrl?: string
}

interface Due<T> {
  item: T
  at: number
}

interface ToldChange {
  account: string
  messageId: string
  recipient: string | null
  status: Status
  changedAt: string
}

const LATE_SHARE = 0.25
const LATEST_MS = 4_000
const ERASED_AFTER_MS = 3_000
const CM_SHARE = 0.3
const MOST_TRACKED = 1_000
const REQUEST_WITHIN_MS = 10_000
const AGAIN_AFTER_MS = 200
/** In the feed and the queues a recipient is as the app wrote it, or missing; a message ID is unique in a run. */
export const keyOf = (account: string, messageId: string) => `${account} ${messageId}`

export async function openApp({
  sandbox,
  random,
  apiUrl,
  queueUrl,
  erasedEvery,
  called,
  receivers,
}: AppOptions): Promise<App> {
  const told = Object.fromEntries(TELLERS.map((teller) => [teller, new Map()])) as Record<Teller, Map<string, Told[]>>
  const counts = { feed: 0, callback: 0, queue: 0, forged: 0 }
  const erased = new Set<string>()
  const erasedNumbers = new Set<string>()
  const failures: string[] = []
  const stopped = new AbortController()
  let mood: ReceiverMood = 'takes'
  let isPaused = false
  let sent = 0

  const hear = (teller: Teller, { account, messageId, status, changedAt }: ToldChange) => {
    const key = keyOf(account, messageId)
    const list = told[teller].get(key) ?? []
    list.push(toTold({ status, at: Date.parse(changedAt) }))
    told[teller].set(key, list)
    counts[teller] += 1
  }
  /** Asks the API until it says one of these. */
  async function insist(path: string, init: RequestInit, statuses: readonly number[]): Promise<void> {
    for (;;) {
      const signal = AbortSignal.any([stopped.signal, AbortSignal.timeout(REQUEST_WITHIN_MS)])
      const answer = await fetch(apiUrl + path, { ...init, signal }).catch(() => undefined)
      const text = await answer?.text().catch(() => '')
      if ((answer && statuses.includes(answer.status)) || stopped.signal.aborted) return
      if (answer && answer.status < 500) throw new Error(`${init.method} ${path}: ${answer.status} ${text}`)
      await delay(AGAIN_AFTER_MS)
    }
  }

  function sendTo(numbers: readonly string[]): Order[] {
    const forCm = numbers.filter(() => random() < CM_SHARE)
    const forSeven = numbers.filter((number) => !forCm.includes(number))
    const seven = sandbox.send(forSeven).map((messageId, index) => ({ messageId, recipient: forSeven[index] ?? '' }))
    const cm = sandbox.cm.send(forCm.map((number) => ({ recipients: [number] })))
    const orders = { seven, cm }
    const sentAt = new Date().toISOString()
    return (['seven', 'cm'] as const).flatMap((account) =>
      orders[account].map((message) => ({ account, sentAt, ...message })),
    )
  }

  /** Takes what is due of an outbox, and does it until it is acknowledged: one thing at a time, as an app does. */
  async function work<T>(outbox: Due<T>[], most: number, act: (items: readonly T[]) => Promise<void>): Promise<void> {
    while (!stopped.signal.aborted) {
      const items = outbox.filter(({ at }) => at <= Date.now()).slice(0, most)
      if (items.length === 0) await delay(AGAIN_AFTER_MS)
      else {
        await act(items.map(({ item }) => item)).catch((error) => {
          if (!stopped.signal.aborted) failures.push(String(error))
        })
        for (const one of items) outbox.splice(outbox.indexOf(one), 1)
      }
    }
  }

  async function track(orders: readonly Order[]): Promise<void> {
    const headers = { 'content-type': 'application/json' }
    for (const account of ['seven', 'cm']) {
      const messages = orders
        .filter((one) => one.account === account)
        .map(({ account: _account, ...message }) => message)
      const body = JSON.stringify({ account, messages })
      if (messages.length > 0) await insist('/v1/messages', { method: 'POST', headers, body }, [202])
    }
    const people = orders.map(({ recipient }) => recipient).filter((number) => isErased(number))
    toErase.push(...people.map((item) => ({ item, at: Date.now() + ERASED_AFTER_MS * (1 + random()) })))
  }

  async function erase([number]: readonly string[]): Promise<void> {
    // A repeat of a request whose answer was lost finds nobody.
    await insist(`/v1/recipients/${number}`, { method: 'DELETE' }, [200, 404])
  }

  const toTrack: Due<Order>[] = []
  const toErase: Due<string>[] = []
  const isErased = (number: string) => erasedNumbers.has(number)
  const working = [work(toTrack, MOST_TRACKED, track), work(toErase, 1, erase)]

  function receive(request: IncomingMessage, response: ServerResponse): void {
    let body = ''
    request.setEncoding('utf8').on('data', (text) => {
      body += text
    })
    request.on('end', () => take(body, request.headers as Record<string, string>, response))
  }
  function take(body: string, headers: Record<string, string>, response: ServerResponse): void {
    if (mood === 'hangs up') return void response.destroy()
    if (mood === 'refuses') return void response.writeHead(500).end()
    try {
      const { data } = new Webhook(SECRET).verify(body, headers) as { data: ToldChange }
      hear('callback', data)
      response.writeHead(204).end()
    } catch {
      counts.forged += 1
      response.writeHead(400).end()
    }
  }
  const listening = await Promise.all(Array.from({ length: receivers }, () => listen(createServer(receive))))
  const [callbackUrl = '', ...otherUrls] = listening.map(({ url }) => url)

  async function readFeed(): Promise<void> {
    let after = ''
    while (!stopped.signal.aborted) {
      if (isPaused) await delay(AGAIN_AFTER_MS)
      else after = await readPage(after)
    }
  }
  async function readPage(after: string): Promise<string> {
    try {
      const query = new URLSearchParams({ limit: '1000', wait: '2', ...(after ? { after } : {}) })
      const signal = AbortSignal.any([stopped.signal, AbortSignal.timeout(REQUEST_WITHIN_MS)])
      const answer = await fetch(`${apiUrl}/v1/changes?${query}`, { signal })
      if (answer.status !== 200) throw new Error(`the feed: ${answer.status}`)
      const page = (await answer.json()) as { changes: ToldChange[]; next: string }
      for (const change of page.changes) hear('feed', change)
      return page.next
    } catch {
      await delay(AGAIN_AFTER_MS)
      return after
    }
  }
  const feed = readFeed()

  const log = createLog({ level: 'silent', secretFields: [] })
  const queues = await openQueueBackend({ url: queueUrl, log, workers: 1 })
  const consumer = queues.openWorker(QUEUE, async (job) => {
    // A job that is handed out again comes after others, by the queue's own rule.
    if (job.attemptsStarted <= 1 && job.stalledCounter === 0) hear('queue', job.data)
    else hearAgain(job.data)
  })
  const again = new Map<string, Set<Told>>()
  function hearAgain({ account, messageId, status, changedAt }: ToldChange): void {
    const key = keyOf(account, messageId)
    again.set(key, (again.get(key) ?? new Set()).add(toTold({ status, at: Date.parse(changedAt) })))
    counts.queue += 1
  }

  return {
    erased,
    erasedNumbers,
    send(count) {
      const numbers = Array.from({ length: count }, (_, index) => numberOf(sent + index))
      for (const [index, number] of numbers.entries()) {
        if (erasedEvery && (sent + index) % erasedEvery === erasedEvery - 1) erasedNumbers.add(number)
      }
      sent += count
      for (const sentOne of sendTo(numbers)) {
        const url = otherUrls[Math.floor(random() * receivers)]
        const order =
          url === undefined || !called.includes(sentOne.account) ? sentOne : { ...sentOne, callbackUrl: url }
        if (isErased(order.recipient)) erased.add(keyOf(order.account, order.messageId))
        const lateMs = random() < LATE_SHARE ? random() * LATEST_MS : 0
        toTrack.push({ item: order, at: Date.now() + lateMs })
      }
    },
    toldOf(teller, key) {
      const list = told[teller].get(key) ?? []
      return teller === 'queue' ? withThoseAgain(list, again.get(key)) : list
    },
    counts: () => ({ ...counts }),
    idle: async () => {
      while (toTrack.length > 0 || toErase.length > 0) await delay(AGAIN_AFTER_MS)
      return failures
    },
    setMood(next) {
      mood = next
    },
    async pause() {
      isPaused = true
      await consumer.pause(true)
    },
    resume() {
      isPaused = false
      consumer.resume()
    },
    callbackUrl,
    async close() {
      stopped.abort()
      await Promise.all([feed, ...working])
      await consumer.close(true)
      await queues.close()
      await Promise.all(listening.map(({ close }) => close()))
    },
  }
}

async function listen(server: Server) {
  await new Promise<void>((listening) => server.listen(0, '127.0.0.1', listening))
  const { port } = server.address() as AddressInfo
  const close = () => {
    server.closeAllConnections()
    return new Promise((closed) => server.close(closed))
  }
  return { url: `http://127.0.0.1:${port}`, close }
}

/** Numbers of eleven digits that nobody has, and that stand in no other text by chance. */
function numberOf(index: number): string {
  return `4470${String(90_000_000 + index)}`
}

/** Changes handed out again count as told, in the place where they belong. */
function withThoseAgain(list: readonly Told[], again: ReadonlySet<Told> = new Set()): Told[] {
  const missing = [...again].filter((one) => !list.includes(one))
  const timeOf = (one: Told) => Number(one.split('@')[1])
  return missing.length === 0 ? [...list] : [...list, ...missing].sort((a, b) => timeOf(a) - timeOf(b))
}

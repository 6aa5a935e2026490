/** The feed of changes over HTTP: pulled with a cursor, waited for, and followed by readers who lose their connections. */
import { type FastifyInstance, fastify } from 'fastify'
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest'
import type { Source, Status, StatusReport } from '../../src/core/status.ts'
import { type ChangeListener, openChangeListener } from '../../src/db/change-listener.ts'
import { deleteChanges } from '../../src/db/changes.ts'
import type { Db } from '../../src/db/client.ts'
import { openDatabase } from '../../src/db/connection.ts'
import { trackMessages } from '../../src/db/messages.ts'
import { type AppliedReport, applyReports } from '../../src/db/reports.ts'
import { registerChangeRoutes } from '../../src/http/changes.ts'
import { sendError } from '../../src/http/errors.ts'
import { type Answer, type Api, anyTime, expectProblem, openTables, startApi, type Tables } from '../support/api.ts'
import { closeAll, startService, until } from '../support/service.ts'

const START = Date.parse('2026-03-01T12:00:00Z')
const HOUR = 3_600_000

interface ToldChange {
  account: string
  messageId: string
  recipient: string | null
  status: Status
  previousStatus: Status | null
  final: boolean
  source: Source
  occurredAt: string
  changedAt: string
  metadata: unknown
}

interface Page {
  changes: ToldChange[]
  next: string
}

let ids = 0
const newIds = (count: number) => Array.from({ length: count }, () => String(77_000_000_000 + ++ids))

function report(messageId: string, status: Status, ms = 1): StatusReport {
  const occurredAt = new Date(START + ms)
  return { account: 'seven', messageId, status, rawStatus: status.toUpperCase(), occurredAt, source: 'webhook' }
}

async function track(db: Db, messageIds: readonly string[], more: { recipient?: string; metadata?: unknown } = {}) {
  const windowEndsAt = new Date(Date.now() + HOUR)
  const schedule = { sentAt: new Date(), windowEndsAt, dueAt: windowEndsAt }
  const rest = { account: 'seven', recipientKey: '', recipient: null, metadata: undefined, ...schedule, ...more }
  await trackMessages(
    db,
    messageIds.map((messageId) => ({ messageId, ...rest })),
  )
}

/** Changes the status of so many new messages, one after the other. */
async function makeChanges(db: Db, count: number): Promise<string[]> {
  const messageIds = newIds(count)
  await track(db, messageIds)
  for (const messageId of messageIds) await applyReports(db, [report(messageId, 'delivered')])
  return messageIds
}

const pageOf = (answer: Answer): Page => {
  expect([answer.status, answer.type]).toEqual([200, 'application/json'])
  return answer.body as Page
}
const told = ({ changes }: Page) => changes.map(({ messageId }) => messageId)

async function timed<T>(promise: Promise<T>): Promise<{ result: T; ms: number }> {
  const begun = performance.now()
  return { result: await promise, ms: performance.now() - begun }
}

describe('GET /v1/changes', () => {
  let api: Api
  beforeAll(async () => {
    api = await startApi()
  })
  afterAll(() => api.close())

  const read = async (query = '') => pageOf(await api.get(`/v1/changes${query}`))
  const latest = async () => (await read('?after=latest')).next

  it('tells nothing before there is a change, and gives a cursor all the same', async () => {
    const first = await read()
    expect(first).toEqual({ changes: [], next: expect.stringMatching(/^c\d+(\.\w+)?$/) })
    expect(await latest()).toBe(first.next)
    const made = await makeChanges(api.db, 1)
    expect(told(await read(`?after=${first.next}`))).toEqual(made)
  })

  it('tells a change in full, and nothing of our own', async () => {
    const after = await latest()
    const [messageId = ''] = newIds(1)
    await track(api.db, [messageId], { recipient: '+491701234567', metadata: { order: [4711, null] } })
    await applyReports(api.db, [report(messageId, 'transmitted', 1)])
    await applyReports(api.db, [{ ...report(messageId, 'delivered', 2), source: 'poll' }])
    const common = { account: 'seven', messageId, recipient: '+491701234567', metadata: { order: [4711, null] } }
    expect(await read(`?after=${after}`)).toEqual({
      changes: [
        {
          ...common,
          status: 'transmitted',
          previousStatus: null,
          final: false,
          source: 'webhook',
          occurredAt: '2026-03-01T12:00:00.001Z',
          changedAt: anyTime,
        },
        {
          ...common,
          status: 'delivered',
          previousStatus: 'transmitted',
          final: true,
          source: 'poll',
          occurredAt: '2026-03-01T12:00:00.002Z',
          changedAt: anyTime,
        },
      ],
      next: expect.stringMatching(/^c\d+(\.\w+)?$/),
    })
  })

  it('tells so many at a time, and goes on from the cursor', async () => {
    const after = await latest()
    const made = await makeChanges(api.db, 5)
    const pages: string[][] = []
    let cursor = after
    do {
      const page = await read(`?after=${cursor}&limit=2`)
      pages.push(told(page))
      cursor = page.next
    } while (pages.at(-1)?.length)
    expect(pages).toEqual([made.slice(0, 2), made.slice(2, 4), made.slice(4), []])
    expect(cursor).toBe(await latest())
    // A cursor does not wear out.
    expect(told(await read(`?after=${after}`))).toEqual(made)
  })

  it('tells 100 unless asked for more, from the oldest when there is no cursor', async () => {
    const made = await makeChanges(api.db, 105)
    const oldest = await read()
    expect(oldest.changes).toHaveLength(100)
    const everything = told(await read('?limit=1000'))
    expect(told(oldest)).toEqual(everything.slice(0, 100))
    expect(everything.slice(-105)).toEqual(made)
  })

  it.each([
    ['after=', /^The query is not valid\. after: expected the "next" of an earlier answer, or "latest"\.$/],
    ['after=c', /after: expected the "next"/],
    ['after=12', /after: expected the "next"/],
    ['after=c-1', /after: expected the "next"/],
    ['after=c1e3', /after: expected the "next"/],
    ['after=c1234567890123456', /after: expected the "next"/],
    ['after=c1%3BDROP', /after: expected the "next"/],
    ['after=c1&after=c2', /after: expected the "next"/],
    ['limit=0', /limit: /],
    ['limit=1001', /limit: /],
    ['limit=1.5', /limit: /],
    ['limit=many', /limit: /],
    ['wait=-1', /wait: /],
    ['wait=61', /wait: /],
    ['wait=long', /wait: /],
    ['since=c1', /since/],
  ])('answers 400 to ?%s', async (query, detail) => {
    const answer = await api.get(`/v1/changes?${query}`)
    const title = 'Invalid request'
    const problem = { title, code: 'INPUT_INVALID', detail: expect.stringMatching(detail), errors: expect.any(Array) }
    expectProblem(answer, { status: 400, ...problem })
  })
})

describe('a cursor older than the retention', () => {
  afterEach(closeAll)

  it('is answered 410, with what to do about it', async () => {
    const api = await startApi()
    try {
      const made = await makeChanges(api.db, 4)
      const cursors = ['c0']
      for (let taken = 0; taken < 4; taken++) {
        cursors.push(pageOf(await api.get(`/v1/changes?after=${cursors.at(-1)}&limit=1`)).next)
      }
      expect(await deleteChanges(api.db, { olderThan: new Date(Date.now() + HOUR), limit: 2, readers: [] })).toBe(2)
      for (const cursor of cursors.slice(0, 2)) {
        expectProblem(await api.get(`/v1/changes?after=${cursor}&wait=5`), {
          status: 410,
          title: 'Gone',
          code: 'GONE',
          detail:
            'The changes after this cursor have been deleted: it is older than CHANGES_RETENTION. Read the messages once by GET /v1/messages, then go on from after=latest.',
        })
      }
      expect(told(pageOf(await api.get(`/v1/changes?after=${cursors[2]}`)))).toEqual(made.slice(2))
      expect(told(pageOf(await api.get('/v1/changes')))).toEqual(made.slice(2))
      const { next } = pageOf(await api.get('/v1/changes?after=latest'))
      expect(next).toBe(cursors.at(-1))
    } finally {
      await api.close()
    }
  })

  it('comes of CHANGES_RETENTION, which the workers keep to', async () => {
    const accounts = [{ name: 'seven', provider: 'seven', apiKey: 'key', query: 'off' }]
    const service = await startService({ accounts, environment: { CHANGES_RETENTION: '1h' } })
    const { db, close } = await openDatabase(service.databaseUrl, { maxConnections: 1 })
    try {
      const [, kept] = await makeChanges(db, 2)
      await service.sql`
        UPDATE lastword.changes SET changed_at = now() - interval '61 minutes'
        WHERE position = (SELECT min(position) FROM lastword.changes)`
      await until(async () => expect((await fetch(`${service.url}/v1/changes?after=c0`)).status).toBe(410))
      const page = (await (await fetch(`${service.url}/v1/changes`)).json()) as Page
      expect(told(page)).toEqual([kept])
    } finally {
      await close()
    }
  })
})

describe('a long poll', () => {
  let tables: Tables
  let listener: ChangeListener
  let server: FastifyInstance
  let url: string
  /** How many requests have begun to wait. */
  let waits: number

  beforeEach(async () => {
    waits = 0
    tables = await openTables()
    listener = await openChangeListener(tables)
    server = fastify({ forceCloseConnections: true })
    server.setErrorHandler(sendError)
    registerChangeRoutes(server, {
      db: tables.db,
      nextChange(ms) {
        waits++
        return listener.nextChange(ms)
      },
    })
    url = await server.listen({ port: 0 })
  })
  afterEach(async () => {
    await listener.close()
    await server.close()
    await tables.close()
  })

  async function poll(query: string, signal?: AbortSignal): Promise<Page> {
    const response = await fetch(`${url}/v1/changes?${query}`, signal ? { signal } : {})
    expect(response.status).toBe(200)
    return (await response.json()) as Page
  }

  const waiting = (count: number) => until(() => expect(waits).toBe(count))

  it('answers at once what is there already', async () => {
    const made = await makeChanges(tables.db, 2)
    const { result, ms } = await timed(poll('after=c0&wait=60'))
    expect(told(result)).toEqual(made)
    expect(ms).toBeLessThan(5_000)
  })

  it('is woken by a change, long before its time is over', async () => {
    const answer = poll('after=latest&wait=60')
    await waiting(1)
    const made = await makeChanges(tables.db, 1)
    const committed = performance.now()
    expect(told(await answer)).toEqual(made)
    expect(performance.now() - committed).toBeLessThan(1_000)
    // It looked when it began and when it was woken, and did not ask in a loop.
    expect(waits).toBeLessThanOrEqual(2)
  })

  it('ends when its time is over, with the cursor it came with', async () => {
    await makeChanges(tables.db, 1)
    const { next } = await poll('after=latest')
    const { result, ms } = await timed(poll(`after=${next}&wait=0.5`))
    expect(result).toEqual({ changes: [], next })
    expect(ms).toBeGreaterThanOrEqual(490)
    expect(ms).toBeLessThan(5_000)
  })

  it('waits for nobody without `wait`', async () => {
    expect((await poll('after=latest')).changes).toEqual([])
    expect(waits).toBe(0)
  })

  it('wakes many who wait at once, and each goes on by itself', async () => {
    const READERS = 200
    const many = Array.from({ length: READERS }, () => poll('after=latest&wait=60'))
    await waiting(READERS)
    const made = await makeChanges(tables.db, 1)
    const { result: pages, ms } = await timed(Promise.all(many))
    for (const page of pages) expect(told(page)).toEqual(made)
    expect(ms).toBeLessThan(10_000)
  })

  it('may be left by its client, and harms nobody', async () => {
    const leaving = new AbortController()
    const left = poll('after=latest&wait=60', leaving.signal)
    const staying = poll('after=latest&wait=60')
    await waiting(2)
    leaving.abort()
    await expect(left).rejects.toThrow()
    const made = await makeChanges(tables.db, 1)
    expect(told(await staying)).toEqual(made)
  })
})

it('is answered when the service stops', async () => {
  const api = await startApi()
  const waiting = Promise.all([1, 2, 3].map(() => timed(api.get('/v1/changes?after=latest&wait=60'))))
  // The readers before it are in hand by the time this one is answered.
  await api.get('/v1/changes')
  await api.close()
  for (const { result, ms } of await waiting) {
    expect(pageOf(result)).toEqual({ changes: [], next: 'c0' })
    expect(ms).toBeLessThan(5_000)
  }
})

describe('5,000 messages that settle under eight writers', () => {
  const MESSAGES = 5_000
  const WRITERS = 8
  const BATCH = 40
  const CHAINS: Status[][] = [
    ['delivered'],
    ['transmitted', 'delivered'],
    ['accepted', 'transmitted', 'buffered', 'delivered', 'read'],
    ['unknown', 'undelivered'],
    ['delivered', 'failed'],
  ]

  /** The reports of a message come from different writers, so in any order and at the same moment. */
  function plan(messageIds: readonly string[]): StatusReport[][][] {
    const perWriter: StatusReport[][] = Array.from({ length: WRITERS }, () => [])
    for (const [index, messageId] of messageIds.entries()) {
      for (const [step, status] of (CHAINS[index % CHAINS.length] ?? []).entries()) {
        perWriter[(index + step * 3) % WRITERS]?.push(report(messageId, status, step))
      }
    }
    return perWriter.map((reports) =>
      Array.from({ length: Math.ceil(reports.length / BATCH) }, (_, n) => reports.slice(n * BATCH, (n + 1) * BATCH)),
    )
  }

  const describeStep = (messageId: string, previousStatus: Status | null, status: Status) =>
    `${messageId}: ${previousStatus} to ${status}`
  const stepsOf = (changes: readonly ToldChange[]) =>
    changes.map(({ messageId, previousStatus, status }) => describeStep(messageId, previousStatus, status))

  /** Follows from a cursor, hanging up at random, until it has come to the end that is told once it is known. */
  async function follow(url: string, from: string | undefined, end: () => string | undefined) {
    const seen: ToldChange[] = []
    const stats = { requests: 0, hungUp: 0, waited: 0 }
    let cursor = from
    while (cursor === undefined || cursor !== end()) {
      stats.requests++
      const hangUp = Math.random() < 0.3
      const signal = hangUp ? AbortSignal.timeout(Math.floor(Math.random() * 40)) : undefined
      const limit = 1 + Math.floor(Math.random() * 1000)
      const query = new URLSearchParams({ limit: String(limit), wait: '1', ...(cursor && { after: cursor }) })
      const page: Page | undefined = await fetch(`${url}/v1/changes?${query}`, signal ? { signal } : {})
        .then(async (response) => (await response.json()) as Page)
        .catch((error: unknown) => {
          if (!signal?.aborted) throw error
          stats.hungUp++
          return undefined
        })
      if (!page) continue
      if (page.changes.length === 0) stats.waited++
      seen.push(...page.changes)
      cursor = page.next
    }
    return { seen, stats }
  }

  it('are seen by three readers once each, in order per message', { timeout: 120_000 }, async () => {
    const api = await startApi()
    const writers = await Promise.all(
      Array.from({ length: WRITERS }, () => openDatabase(api.databaseUrl, { maxConnections: 1 })),
    )
    try {
      const messageIds = newIds(MESSAGES)
      for (let begin = 0; begin < MESSAGES; begin += 5_000) await track(api.db, messageIds.slice(begin, begin + 5_000))
      const batches = plan(messageIds)
      const applied: AppliedReport[] = []
      let end: string | undefined
      const begun = performance.now()
      const fromStart = follow(api.url, undefined, () => end)
      const working = Promise.all(
        writers.map(async ({ db }, index) => {
          for (const batch of batches[index] ?? []) applied.push(...(await applyReports(db, batch)))
        }),
      )
      const isPast = (share: number) =>
        until(() => expect(applied.length).toBeGreaterThan(share * MESSAGES * 2), 60_000)
      await isPast(0.2)
      const middle = pageOf(await api.get('/v1/changes?limit=1000')).next
      const fromMiddle = follow(api.url, middle, () => end)
      await isPast(0.5)
      const late = pageOf(await api.get('/v1/changes?after=latest')).next
      const fromLate = follow(api.url, late, () => end)
      await working
      const written = performance.now() - begun
      end = pageOf(await api.get('/v1/changes?after=latest')).next
      const readers = await Promise.all([fromStart, fromMiddle, fromLate])

      const expected = applied
        .filter(({ changed }) => changed)
        .map(({ report: { messageId }, previousStatus, status }) => describeStep(messageId, previousStatus, status))
      const [everything, ...others] = readers.map(({ seen }) => seen)
      expect([...stepsOf(everything ?? [])].sort()).toEqual([...expected].sort())
      expect(brokenChains(everything ?? [])).toEqual([])
      expect(new Set(everything?.map(({ messageId }) => messageId)).size).toBe(MESSAGES)
      for (const seen of others) {
        expect(seen.length).toBeGreaterThan(0)
        expect(seen.length).toBeLessThan(expected.length)
        expect(stepsOf(seen)).toEqual(stepsOf(everything?.slice(-seen.length) ?? []))
      }
      expect(everything?.length).toBe((others[0]?.length ?? 0) + 1000)
      for (const { stats } of readers) expect(stats.hungUp).toBeGreaterThan(0)
      console.log(
        `${expected.length} changes of ${MESSAGES} messages by ${WRITERS} writers in ${(written / 1000).toFixed(1)} s; ` +
          readers
            .map(({ seen, stats }) => `${seen.length} in ${stats.requests} requests, ${stats.hungUp} hung up`)
            .join('; '),
      )
    } finally {
      await Promise.all(writers.map(({ close }) => close()))
      await api.close()
    }
  })

  /** The messages of which a change does not go on where the last one ended. */
  function brokenChains(seen: readonly ToldChange[]): string[] {
    const statuses = new Map<string, Status>()
    return seen.flatMap(({ messageId, previousStatus, status }) => {
      const last = statuses.get(messageId) ?? null
      statuses.set(messageId, status)
      return last === previousStatus ? [] : [describeStep(messageId, previousStatus, status)]
    })
  }
})

/** The library's client against a real service, and against servers that fail. */
import { execFile } from 'node:child_process'
import { once } from 'node:events'
import { mkdtemp, readdir, readFile, rm } from 'node:fs/promises'
import { createServer, type RequestListener } from 'node:http'
import type { AddressInfo } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest'
import { backoffMs } from '../../src/client/backoff.ts'
import { ALERT_RULES } from '../../src/core/alerts.ts'
import type { StatusReport } from '../../src/core/status.ts'
import { acts } from '../../src/db/act-tables.ts'
import { moveAlerts } from '../../src/db/alerts.ts'
import { applyReports } from '../../src/db/reports.ts'
import { messages } from '../../src/db/schema.ts'
import { type Client, createClient, LastwordError } from '../../src/index.ts'
import { type Api, anyTime, startApi } from '../support/api.ts'
import { openProxy } from '../support/proxy.ts'
import { closeAll, closeLater, until } from '../support/service.ts'
import { freePort } from '../support/services.ts'

const KEY = 'a-key'
const ACCOUNTS = JSON.stringify([
  { name: 'seven', provider: 'seven', apiKey: 'seven-api-key' },
  { name: 'cm', provider: 'cm', productToken: 'product-token' },
])

let api: Api
let client: Client
beforeAll(async () => {
  api = await startApi({ ACCOUNTS, API_KEYS: KEY })
  client = createClient({ url: `${api.url}/`, apiKey: KEY })
})
afterAll(async () => {
  await closeAll()
  await api.close()
})
beforeEach(async () => {
  await api.db.delete(messages)
})

const order = (...messageIds: string[]) => ({
  account: 'seven',
  messages: messageIds.map((messageId) => ({ messageId })),
})

const settle = (messageId: string, more: Partial<StatusReport> = {}) =>
  applyReports(api.db, [
    {
      account: 'seven',
      messageId,
      status: 'delivered',
      rawStatus: 'DELIVERED',
      occurredAt: new Date(),
      source: 'poll',
      ...more,
    },
  ])

/** The cursor of now. */
async function latest(): Promise<string> {
  for await (const { cursor } of client.changes({ after: 'latest', follow: false })) return cursor
  return expect.fail('Expected a page')
}

async function serve(listener: RequestListener): Promise<string> {
  const server = createServer(listener).listen(0, '127.0.0.1')
  closeLater(async () => {
    server.closeAllConnections()
    await new Promise((closed) => server.close(closed))
  })
  await once(server, 'listening')
  return `http://127.0.0.1:${(server.address() as AddressInfo).port}`
}

const failureOf = (running: Promise<unknown>) =>
  running.then(
    () => expect.fail('Expected an error'),
    (error: unknown) => error,
  )

describe('the client', () => {
  it.each(['.', '..'])('never makes another request of the ID %s, which a URL would take for a way', async (id) => {
    for (const asked of [client.get('seven', id), client.poll('seven', id), client.erase('seven', id)]) {
      expect(await failureOf(asked)).toMatchObject({ code: 'INPUT_INVALID' })
    }
    expect(await failureOf(client.eraseRecipient(id))).toMatchObject({ code: 'INPUT_INVALID' })
  })

  it('tracks, and tells what is known', async () => {
    const sentAt = new Date(Date.now() - 60_000)
    const message = { messageId: '1', sentAt, recipient: '+49170', metadata: { order: 7 } }
    expect(await client.track({ account: 'seven', messages: [message] })).toEqual({ tracked: 1, alreadyTracked: 0 })
    expect(await client.track(order('1'))).toEqual({ tracked: 0, alreadyTracked: 1 })
    await settle('1')
    expect(await client.get('seven', '1')).toEqual({
      account: 'seven',
      messageId: '1',
      recipient: '+49170',
      status: 'delivered',
      final: true,
      statusAt: anyTime,
      settledBy: 'poll',
      sentAt: sentAt.toISOString(),
      polls: 0,
      nextPollAt: null,
      windowEndsAt: anyTime,
      metadata: { order: 7 },
      trackedAt: anyTime,
      asking: 'never',
      failedPolls: 0,
      lastAttempt: null,
      blockedBy: [],
      reports: [
        {
          status: 'delivered',
          rawStatus: 'DELIVERED',
          source: 'poll',
          occurredAt: anyTime,
          receivedAt: anyTime,
          outcome: 'applied',
          error: null,
        },
      ],
      queries: [],
      callbacks: [],
    })
  })

  it('has the provider asked now', async () => {
    await client.track(order('1'))
    const before = await client.get('seven', '1')
    const { nextPollAt } = await client.poll('seven', '1')
    expect(Date.parse(nextPollAt ?? '')).toBeLessThan(Date.parse(before.nextPollAt ?? ''))
    await settle('1')
    expect(await failureOf(client.poll('seven', '1'))).toMatchObject({
      code: 'CONFLICT',
      status: 409,
      retryable: false,
    })
  })

  it('lists page by page, and all of them', async () => {
    const ids = Array.from({ length: 1203 }, (_, index) => String(10_000 + index))
    await client.track(order(...ids))
    await settle('10001')
    const listed: string[] = []
    for await (const { messageId } of client.list({ account: 'seven', outstanding: true })) listed.push(messageId)
    expect(listed.sort()).toEqual(ids.filter((id) => id !== '10001'))
    const first = await client.listPage({ limit: 1000 })
    const second = await client.listPage({ limit: 1000, cursor: first.nextCursor ?? undefined })
    expect([first.messages.length, second.messages.length, second.nextCursor]).toEqual([1000, 203, null])
    const settled: string[] = []
    for await (const { messageId } of client.list({ status: 'delivered', outstanding: false })) settled.push(messageId)
    expect(settled).toEqual(['10001'])
  })

  it('tells what happened by the hour', async () => {
    await client.track({ account: 'cm', messages: [{ messageId: 'S1', recipient: '+31612345678' }] })
    await settle('S1', { account: 'cm', recipient: '31612345678', error: { code: '7' }, status: 'failed' })
    const { hours, accounts, reasons, outstanding } = await client.statistics({ account: 'cm' })
    expect(hours).toMatchObject([{ hour: anyTime, ended: { failed: 1 }, foundBy: { poll: 1 } }])
    expect(accounts).toMatchObject([{ account: 'cm', ended: { failed: 1 } }])
    expect(reasons).toEqual([{ code: '7', messages: 1 }])
    expect(outstanding.ages.map(({ upTo }) => upTo).at(-1)).toBeNull()
    const past = await client.statistics({ from: '2026-01-01T00:00:00Z', to: '2026-01-02T00:00:00+01:00' })
    expect(past.hours).toEqual([])
    expect(await failureOf(client.statistics({ from: 'yesterday' }))).toMatchObject({
      code: 'INPUT_INVALID',
      issues: [{ path: 'from' }],
    })
  })

  it('tells what needs somebody', async () => {
    const condition = { kind: 'account-refused', subject: 'seven', message: 'It is refused.' } as const
    await moveAlerts(api.db, [condition], [], ALERT_RULES)
    const alert = { ...condition, id: expect.any(Number), since: anyTime, begunAt: anyTime, until: null }
    expect(await client.alerts()).toContainEqual(alert)
  })

  it('tells who did what, page by page, and all of it', async () => {
    const queues = Array.from({ length: 503 }, (_, index) => `queue-${index}`)
    await api.db.insert(acts).values(queues.map((queue) => ({ by: 'ops', kind: 'pause' as const, queue })))
    await api.db.insert(acts).values({ by: 'ops', kind: 'resume' })
    const listed: unknown[] = []
    for await (const { queue } of client.acts({ by: 'ops', kind: 'pause' })) listed.push(queue)
    expect(listed).toEqual(queues.toReversed())
    const first = await client.actsPage({ by: 'ops', limit: 500 })
    const second = await client.actsPage({ by: 'ops', limit: 500, cursor: first.nextCursor ?? undefined })
    expect([first.acts.length, first.acts[0]?.kind, second.acts.length, second.nextCursor]).toEqual([
      500,
      'resume',
      4,
      null,
    ])
    expect(await failureOf(client.actsPage({ after: 'yesterday' }))).toMatchObject({
      code: 'INPUT_INVALID',
      issues: [{ path: 'after' }],
    })
  })

  it('names the recipients of an ID that covers several', async () => {
    const both = ['+31612345678', '+31698765432'].map((recipient) => ({ messageId: 'R/1\u0007', recipient }))
    expect(await failureOf(client.track({ account: 'cm', messages: both }))).toMatchObject({ code: 'INPUT_INVALID' })
    await client.track({ account: 'cm', messages: both.map((message) => ({ ...message, messageId: 'R1' })) })
    const error = await failureOf(client.get('cm', 'R1'))
    expect(error).toMatchObject({ code: 'AMBIGUOUS', extra: { recipients: ['+31612345678', '+31698765432'] } })
    expect(await client.get('cm', 'R1', { recipient: '0031698765432' })).toMatchObject({ recipient: '+31698765432' })
  })

  it('escapes what stands in a path', async () => {
    expect(await failureOf(client.get('seven', '../../health/live'))).toMatchObject({ code: 'NOT_FOUND', status: 404 })
  })

  it('refuses a URL that is none', () => {
    for (const url of ['', 'localhost:3000', 'ftp://localhost']) expect(() => createClient({ url })).toThrow(TypeError)
  })
})

describe('errors', () => {
  it('carry what the service said', async () => {
    const error = await failureOf(client.track(order('1', 'x y')))
    expect(error).toBeInstanceOf(LastwordError)
    expect(error).toMatchObject({
      name: 'LastwordError',
      code: 'INPUT_INVALID',
      status: 400,
      retryable: false,
      issues: [{ path: 'messages[1].messageId', message: expect.stringMatching(/^expected /) }],
    })
    expect(await failureOf(client.get('seven', '404'))).toMatchObject({ code: 'NOT_FOUND', status: 404 })
    const stranger = createClient({ url: api.url, apiKey: 'another' })
    expect(await failureOf(stranger.get('seven', '1'))).toMatchObject({ code: 'UNAUTHORIZED', status: 401 })
  })

  it.each([
    [502, 'text/html', '<html>', 'UNAVAILABLE', true],
    [429, 'text/plain', 'slow down', 'UNAVAILABLE', true],
    [404, 'text/html', '<html>', 'CONFIG_INVALID', false],
    [302, 'text/html', '', 'CONFIG_INVALID', false],
    [200, 'text/html', '<html>', 'CONFIG_INVALID', false],
  ])('say that %i is not an answer of the service', async (status, type, body, code, retryable) => {
    const url = await serve((_request, response) => {
      response.writeHead(status, { 'content-type': type, location: '/elsewhere' }).end(body)
    })
    const error = await failureOf(createClient({ url }).get('seven', '1'))
    expect(error).toMatchObject({ code, status, retryable, message: expect.stringContaining('is the URL right?') })
  })

  it('say that nobody answers, or too late', async () => {
    const url = `http://user:secret@127.0.0.1:${await freePort()}`
    const refused = await failureOf(createClient({ url: url.replace('user:secret@', '') }).get('seven', '1'))
    expect(refused).toMatchObject({ code: 'UNAVAILABLE', status: 0, retryable: true })
    expect(String(refused)).toContain('ECONNREFUSED')
    const silent = await serve(() => {})
    const late = await failureOf(createClient({ url: silent, timeoutMs: 50 }).get('seven', '1'))
    expect(late).toMatchObject({ code: 'UNAVAILABLE', status: 0, message: expect.stringContaining('within 50 ms') })
  })

  it('are the reason of the signal when that ends a request', async () => {
    const controller = new AbortController()
    const url = await serve(() => controller.abort(new Error('enough')))
    await expect(createClient({ url }).get('seven', '1', { signal: controller.signal })).rejects.toThrow('enough')
  })
})

describe('changes', () => {
  it('come in order, page by page, and go on after a cursor', async () => {
    const after = await latest()
    await client.track(order('1', '2', '3', '4', '5'))
    for (const messageId of ['3', '1', '5', '2', '4']) await settle(messageId)
    const pages: string[][] = []
    let cursor: string | undefined
    for await (const page of client.changes({ after, follow: false, limit: 2 })) {
      pages.push(page.changes.map(({ messageId }) => messageId))
      cursor ??= page.cursor
    }
    expect(pages).toEqual([['3', '1'], ['5', '2'], ['4']])
    for await (const { changes } of client.changes({ after: cursor, limit: 1 })) {
      expect(changes).toEqual([
        {
          account: 'seven',
          messageId: '5',
          recipient: null,
          status: 'delivered',
          previousStatus: null,
          final: true,
          source: 'poll',
          occurredAt: anyTime,
          changedAt: anyTime,
          metadata: null,
        },
      ])
      break
    }
  })

  it('are waited for, and the signal ends the wait at once', async () => {
    await client.track(order('1'))
    const controller = new AbortController()
    const seen: unknown[] = []
    for await (const { changes } of client.changes({ after: 'latest', signal: controller.signal })) {
      if (changes.length === 0) await settle('1')
      seen.push(...changes.map(({ messageId }) => messageId))
      if (changes.length > 0) setImmediate(() => controller.abort())
    }
    expect(seen).toEqual(['1'])
    for await (const _page of client.changes({ signal: AbortSignal.abort() })) expect.fail('Expected no page')
  })

  it('go on where they were when the connection was lost', { timeout: 60_000 }, async () => {
    const { hostname, port } = new URL(api.url)
    const proxy = await openProxy({ host: hostname, port: Number(port) })
    closeLater(() => proxy.close())
    const through = createClient({ url: `http://127.0.0.1:${proxy.port}`, apiKey: KEY })
    await client.track(order('1', '2', '3'))
    const after = await latest()
    const controller = new AbortController()
    const seen: string[] = []
    const following = (async () => {
      for await (const { changes } of through.changes({ after, signal: controller.signal })) {
        seen.push(...changes.map(({ messageId }) => messageId))
      }
    })()
    await settle('1')
    await until(() => expect(seen).toEqual(['1']))
    await proxy.cut()
    await settle('2')
    await proxy.restore()
    await settle('3')
    await until(() => expect(seen).toEqual(['1', '2', '3']))
    controller.abort()
    await following
  })

  it('wait as long as the service asks, and go on after 429 and 5xx', async () => {
    const asked: number[] = []
    const url = await serve((_request, response) => {
      asked.push(Date.now())
      if (asked.length === 1) response.writeHead(429, { 'retry-after': '1' }).end()
      else if (asked.length === 2) response.writeHead(500).end()
      else response.end(JSON.stringify({ changes: [{ messageId: '1' }], next: 'c1' }))
    })
    for await (const { cursor } of createClient({ url }).changes()) {
      expect(cursor).toBe('c1')
      break
    }
    expect(asked).toHaveLength(3)
    expect((asked[1] ?? 0) - (asked[0] ?? 0)).toBeGreaterThanOrEqual(1000)
  })

  it('end with what does not pass by itself', async () => {
    const read = async (after: string, from = client) => {
      for await (const _page of from.changes({ after })) expect.fail('Expected no page')
    }
    expect(await failureOf(read('yesterday'))).toMatchObject({ code: 'INPUT_INVALID' })
    const stranger = createClient({ url: api.url })
    expect(await failureOf(read('latest', stranger))).toMatchObject({ code: 'UNAUTHORIZED' })
  })

  it('end without a service when they do not follow', async () => {
    let asked = 0
    const url = await serve((_request, response) => {
      asked += 1
      response.writeHead(503).end()
    })
    const reading = createClient({ url }).changes({ follow: false }).next()
    expect(await failureOf(reading)).toMatchObject({ code: 'UNAVAILABLE' })
    expect(asked).toBe(4)
  })

  it('end at once while a failing service is waited for', async () => {
    const controller = new AbortController()
    const url = await serve((_request, response) => {
      response.writeHead(503, { 'retry-after': '3600' }).end()
      setImmediate(() => controller.abort())
    })
    for await (const _page of createClient({ url }).changes({ signal: controller.signal }))
      expect.fail('Expected no page')
  })
})

it('waits longer after each failure, never less than asked, and never in step with others', () => {
  expect([1, 2, 3, 20].map((failures) => backoffMs(failures, undefined, 1))).toEqual([500, 1000, 2000, 30_000])
  expect(backoffMs(1, undefined, 0)).toBe(250)
  expect(backoffMs(1, 7000, 0)).toBe(7250)
})

it('importing the library starts nothing and loads no server', async () => {
  const folder = await mkdtemp(join(tmpdir(), 'lastword-library-'))
  closeLater(() => rm(folder, { recursive: true, force: true }))
  const library = fileURLToPath(new URL('../../dist/index.js', import.meta.url))
  const script = `import(${JSON.stringify(library)}).then((m) => console.log(Object.keys(m).join()))`
  // Node writes down every script it has loaded, and the process ends by itself only if nothing is running.
  const env = { PATH: process.env.PATH, NODE_V8_COVERAGE: folder }
  const { stdout, stderr } = await promisify(execFile)(process.execPath, ['-e', script], { env, timeout: 20_000 })
  expect([stdout, stderr]).toEqual(['LastwordError,createClient,track\n', ''])
  const coverage = await Promise.all((await readdir(folder)).map((file) => readFile(join(folder, file), 'utf8')))
  const loaded = new Set(
    coverage.flatMap((text) => {
      const { result } = JSON.parse(text) as { result: { url: string }[] }
      return result.map(
        ({ url }) => /node_modules\/((?:@[^/]+\/)?[^/]+)/.exec(url)?.[1] ?? url.replace(/^.*\/dist\//, ''),
      )
    }),
  )
  expect([...loaded]).toEqual(
    expect.arrayContaining(['index.js', 'client/client.js', 'zod', 'drizzle-orm', 'postgres']),
  )
  const servers = [
    'fastify',
    'bullmq',
    'ioredis',
    'pg',
    'pino',
    'undici',
    '@bull-board/api',
    '@bull-board/fastify',
    'prom-client',
    'commander',
  ]
  expect(servers.filter((name) => loaded.has(name))).toEqual([])
  expect([...loaded].filter((path) => /^(http|jobs|sandbox|cli|runtime|config|log)(\/|\.js)/.test(path))).toEqual([])
})

/** An installation knows itself: among others, after a backup was restored, and when clocks differ (docs: Operating). */
import { once } from 'node:events'
import { createServer } from 'node:http'
import { connect } from 'node:net'
import postgres from 'postgres'
import { afterEach, describe, expect, inject, it } from 'vitest'
import { makeDue } from '../support/schedule.ts'
import {
  allSettled,
  closeAll,
  closeLater,
  createInstallation,
  type Installation,
  minutesAgo,
  ONE_MINUTE,
  openSandbox,
  sendReceipt,
  sevenAccount,
  spawnService,
  startService,
  statusesOf,
  trackOver,
  truthsOf,
  until,
} from '../support/service.ts'
import { freePort } from '../support/services.ts'

afterEach(closeAll)

const ACCOUNT = { name: 'seven', provider: 'seven', apiKey: 'key', query: 'off' }

describe('two installations on one Redis', () => {
  it('are kept apart by QUEUE_PREFIX, which a start asks for (F3)', { timeout: 60_000 }, async () => {
    const first = await createInstallation('redis')
    await startService({ installation: first, accounts: [ACCOUNT] })
    const other = { ...(await createInstallation('postgres')), queueUrl: first.queueUrl }
    const environment = {
      DATABASE_URL: other.databaseUrl,
      QUEUE_URL: first.queueUrl,
      ACCOUNTS: JSON.stringify([ACCOUNT]),
    }
    const refused = spawnService(['worker'], environment)
    expect(await refused.exited).toBe(2)
    expect(refused.output()).toMatch(/^lastword: QUEUE_URL: .* belong to another installation .*QUEUE_PREFIX/m)
    const apart = spawnService(['worker'], { ...environment, QUEUE_PREFIX: '{lastword-b}' })
    await apart.ready()
    // A tracking order goes to the installation whose queue it was added to.
    await first.queue('track').add('order', { v: 1, account: 'seven', messages: [{ messageId: '77000000001' }] })
    await until(async () => expect(await first.sql`SELECT FROM lastword.messages`).toHaveLength(1))
    expect(await other.sql`SELECT FROM lastword.messages`).toHaveLength(0)
  })
})

/** Copies a database as a backup does, and puts a copy in its place. */
async function administer(...statements: string[]): Promise<void> {
  const sql = postgres(inject('databaseUrl'), { max: 1, onnotice: () => {} })
  for (const statement of statements) await sql.unsafe(statement)
  await sql.end()
}

interface Page {
  changes: { messageId: string }[]
  next: string
}

it('settles what is outstanding, and tells every change under new names, after an older backup was restored (F8)', {
  timeout: 90_000,
}, async () => {
  const received: string[] = []
  const receiver = createServer((request, response) => {
    received.push(String(request.headers['webhook-id']))
    request.resume().on('end', () => response.end())
  }).listen(0, '127.0.0.1')
  closeLater(async () => receiver.close())
  await once(receiver, 'listening')
  const address = receiver.address()
  const url = `http://127.0.0.1:${typeof address === 'object' && address ? address.port : 0}`
  const secret = 'whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw'
  const sandbox = await openSandbox({ law: ONE_MINUTE })
  const polled = sevenAccount(sandbox, { name: 'polled', polling: { firstAfter: '1h', maxInterval: '1h' } })
  const accounts = [{ ...ACCOUNT, callback: { url, secret }, changesQueue: 'told' }, polled]
  const environment = { CALLBACK_ALLOW_PRIVATE: 'true' }
  const installation = await createInstallation('redis')
  const { pathname } = new URL(installation.databaseUrl)
  const name = pathname.slice(1)
  closeLater(() => administer(`DROP DATABASE IF EXISTS ${name}_backup WITH (FORCE)`))

  /** Has ten messages settle, and returns how they were told. */
  const settleTen = async (from: number, more: Partial<Installation> = {}) => {
    const service = await startService({ installation: { ...installation, ...more }, accounts, environment })
    const ids = Array.from({ length: 10 }, (_, index) => String(77_000_000_000 + from + index))
    const before = received.length
    await trackOver(service.url, ids)
    for (const id of ids) expect(await sendReceipt(service.url, id, 'DELIVERED')).toBe(200)
    await until(() => expect(received.length).toBe(before + 10))
    const told = () => installation.queue('told').getJobs(['waiting'])
    await until(async () => {
      const names = (await told()).map(({ data }) => data.messageId)
      expect(ids.filter((id) => names.includes(id))).toHaveLength(10)
    })
    const jobs = await told()
    const feed = (await (await fetch(`${service.url}/v1/changes?limit=1000`)).json()) as Page
    return { service, names: received.slice(before), jobs: jobs.map(({ data }) => data.messageId), feed, ids }
  }

  /** Has the provider asked about what is outstanding, and compares what it said with the truth. */
  const settlePolled = async () => {
    const sql = postgres(installation.databaseUrl, { max: 1, onnotice: () => {} })
    await makeDue(sql)
    await allSettled({ sql }, 'polled')
    expect(await statusesOf({ sql }, 'polled')).toEqual(truthsOf(sandbox))
    await sql.end()
  }

  const first = await settleTen(100)
  const sentAt = minutesAgo(5)
  await trackOver(first.service.url, sandbox.send(20, { sentAt }), { account: 'polled', sentAt })
  await first.service.close()
  await installation.sql.end()
  await administer(`CREATE DATABASE ${name}_backup TEMPLATE ${name}`)
  const lost = await settleTen(200)
  await settlePolled()
  await lost.service.close()
  await administer(`DROP DATABASE ${name} WITH (FORCE)`, `CREATE DATABASE ${name} TEMPLATE ${name}_backup`)

  const after = await settleTen(300)
  expect(after.jobs.filter((id) => after.ids.includes(id))).toHaveLength(10)
  const told = [...first.names, ...lost.names, ...after.names]
  expect(new Set(told).size).toBe(told.length)
  const read = (cursor: string) => fetch(`${after.service.url}/v1/changes?after=${cursor}`)
  // A cursor of the lost future, whether its position is taken again or not, and one of 0.1.0 beyond the feed.
  expect((await read(lost.feed.next)).status).toBe(410)
  expect((await read('c999999')).status).toBe(410)
  // One from before the backup goes on.
  for (const cursor of [first.feed.next, first.feed.next.split('.')[0] ?? '']) {
    const page = (await (await read(cursor)).json()) as Page
    expect(page.changes.map(({ messageId }) => messageId)).toEqual(after.ids)
  }
  await settlePolled()
  expect(sandbox.truths().map(({ askedAt }) => askedAt.length)).toEqual(Array(20).fill(2))
})

/** Has a process live some milliseconds in the future. */
function ahead(ms: number): Record<string, string> {
  const code = `const now = Date.now; const D = Date; globalThis.Date = class extends D {
    constructor(...given) { given.length ? super(...given) : super(now() + ${ms}) }
    static now() { return now() + ${ms} } }`
  return { NODE_OPTIONS: `--import "data:text/javascript,${encodeURIComponent(code)}"` }
}

describe('a process whose clock is ten minutes ahead', () => {
  it('tracks by the clock of the database, and says so (F10)', { timeout: 60_000 }, async () => {
    const installation = await createInstallation('redis')
    const accounts = [{ ...ACCOUNT, query: 'auto', polling: { firstAfter: '60s' } }]
    const environment = installation.environment(accounts, { ...ahead(600_000), LOG_LEVEL: 'info' })
    const api = spawnService(['api'], environment)
    const url = await api.ready()
    expect(api.output()).toMatch(/this machine's clock is (599|600)(\.\d+)? s ahead of the database's/)
    expect(await (await fetch(`${url}/metrics`)).text()).toMatch(/^lastword_clock_ahead_seconds (599|600)/m)
    await trackOver(url, ['77000000001'])
    const [row] = await installation.sql<{ sent: number; due: number }[]>`
      SELECT extract(epoch FROM sent_at - now())::float8 AS sent, extract(epoch FROM due_at - now())::float8 AS due
      FROM lastword.messages`
    expect(Math.abs(row?.sent ?? 600)).toBeLessThan(10)
    expect(row?.due).toBeLessThan(120)
  })
})

describe('an API without a worker', () => {
  it('says since when, to everybody who may want to know (F22)', { timeout: 60_000 }, async () => {
    const installation = await createInstallation('redis')
    const { url } = await startService({ installation, accounts: [ACCOUNT], parts: { api: true, workers: false } })
    const read = async (path: string) => (await (await fetch(url + path)).json()) as Record<string, string>
    expect(await read('/health/ready')).toMatchObject({ status: 'degraded', worker: 'no worker has run yet' })
    await startService({ installation, accounts: [ACCOUNT], parts: { api: false, workers: true } }).then(({ close }) =>
      close(),
    )
    expect(await read('/health/ready')).toMatchObject({ status: 'ok', worker: 'ok' })
    expect(await read('/v1/accounts')).not.toHaveProperty('worker')
    await installation.sql`UPDATE lastword.installation SET worker_seen_at = '2026-01-31T10:00:00Z'`
    const since = 'no worker since 2026-01-31T10:00:00.000Z'
    expect(await read('/health/ready')).toMatchObject({ status: 'degraded', worker: since })
    expect(await read('/v1/accounts')).toMatchObject({ worker: since })
    const metrics = await (await fetch(`${url}/metrics`)).text()
    expect(Number(/^lastword_worker_seen_seconds ([\d.]+)/m.exec(metrics)?.[1])).toBeGreaterThan(3600)
  })
})

describe('a worker', () => {
  it('can be looked at where METRICS_PORT says, and asked by lastword health', { timeout: 60_000 }, async () => {
    const installation = await createInstallation('redis')
    const port = String(await freePort())
    const environment = {
      METRICS_PORT: port,
      API_KEYS: 'a-key',
      METRICS_KEYS: 'prometheus=m-key',
      PORT: String(await freePort()),
    }
    const health = async () => {
      const asked = spawnService(['health'], installation.environment([ACCOUNT], environment))
      return { code: await asked.exited, output: asked.output() }
    }
    expect(await health()).toEqual({ code: 1, output: expect.stringMatching(/does not answer \(ECONNREFUSED\)/) })
    const parts = { api: false, workers: true }
    await startService({ installation, accounts: [ACCOUNT], parts, environment })
    expect(await health()).toEqual({ code: 0, output: expect.stringMatching(/"status":"ok"/) })
    const url = `http://127.0.0.1:${port}`
    expect(await (await fetch(`${url}/health/live`)).json()).toEqual({ status: 'ok' })
    expect((await fetch(`${url}/metrics`)).status).toBe(401)
    for (const key of ['a-key', 'm-key']) {
      const keyed = await fetch(`${url}/metrics`, { headers: { authorization: `Bearer ${key}` } })
      expect(await keyed.text()).toMatch(/^lastword_queue_writable 1$/m)
    }
    expect((await fetch(`${url}/health/ready/`)).status).toBe(200)
    const nothing = await fetch(`${url}/nothing`)
    expect([nothing.status, nothing.headers.get('content-type')]).toEqual([
      404,
      expect.stringMatching(/^application\/problem\+json\b/),
    ])
    for (const target of ['http://a:99999/', 'http://[', 'http://', '*']) {
      const socket = connect(Number(port), '127.0.0.1')
      socket.write(`GET ${target} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n`)
      expect(String(await once(socket, 'data')), target).toMatch(/^HTTP\/1\.1 400 /)
      socket.destroy()
    }
    expect(await health()).toMatchObject({ code: 0 })
    const taken = startService({ installation, accounts: [ACCOUNT], parts, environment })
    await expect(taken).rejects.toThrow(`METRICS_PORT: 127.0.0.1:${port} is taken by another process`)
  })

  it('says that it is dead while its event loop hangs, and alive again', { timeout: 90_000 }, async () => {
    const installation = await createInstallation('redis')
    const port = String(await freePort())
    const code = `process.on('SIGUSR2', () => Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 15000))`
    const NODE_OPTIONS = `--import "data:text/javascript,${encodeURIComponent(code)}"`
    const environment = { METRICS_PORT: port, NODE_OPTIONS }
    const worker = spawnService(['worker'], installation.environment([ACCOUNT], environment))
    const statusOf = async (path: string) => (await fetch(`http://127.0.0.1:${port}${path}`)).status
    await until(async () => expect(await statusOf('/health/ready')).toBe(200), 40_000)
    worker.kill('SIGUSR2')
    await until(async () => expect(await statusOf('/health/live')).toBe(503))
    // Nor does anything else wait for it then.
    expect(await statusOf('/metrics')).toBe(503)
    await until(async () => expect(await statusOf('/health/live')).toBe(200))
    expect(await statusOf('/metrics')).toBe(200)
  })
})

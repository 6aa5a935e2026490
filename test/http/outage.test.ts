import { afterAll, beforeAll, beforeEach, describe, expect, it, vi } from 'vitest'
import { readConfig } from '../../src/config.ts'
import { type Runtime, start } from '../../src/runtime.ts'
import { openProxy, type TcpProxy } from '../support/proxy.ts'
import { createDatabase } from '../support/services.ts'

/** How long a provider waits for the answer to a webhook. */
const PATIENCE_MS = 5_000

let database: { url: string; drop(): Promise<void> }
let proxy: TcpProxy
let runtime: Runtime

beforeAll(async () => {
  database = await createDatabase()
  const { hostname, port } = new URL(database.url)
  proxy = await openProxy({ host: hostname, port: Number(port) })
  const throughProxy = new URL(database.url)
  throughProxy.host = `127.0.0.1:${proxy.port}`
  const config = readConfig({
    PORT: '0',
    LOG_LEVEL: 'silent',
    DATABASE_URL: throughProxy.href,
    // The queues go past the proxy: only the database goes away.
    QUEUE_URL: database.url,
    ACCOUNTS: JSON.stringify([{ name: 'seven', provider: 'seven', apiKey: 'seven-api-key' }]),
  })
  runtime = await start(config, { api: true, workers: false })
})
afterAll(async () => {
  await runtime.close()
  await proxy.close()
  await database.drop()
})

let ids = 0
let id: string
beforeEach(() => {
  id = `77232${++ids}`
})

async function ask(path: string, body?: unknown) {
  const begin = performance.now()
  const init = { method: 'POST', headers: { 'content-type': 'application/json' }, body: JSON.stringify(body) }
  const response = await fetch(runtime.url + path, body === undefined ? {} : init)
  const answer = JSON.parse(await response.text())
  return { status: response.status, headers: response.headers, body: answer, ms: performance.now() - begin }
}

const track = (messageId: string) => ask('/v1/messages', { account: 'seven', messages: [{ messageId }] })
const receive = (msg_id: string) =>
  ask('/webhooks/seven', { webhook_event: 'dlr', data: { msg_id, status: 'DELIVERED' } })

/** Takes the database away while `run` runs. */
async function withoutDatabase(run: () => Promise<void>): Promise<void> {
  await proxy.cut()
  try {
    await run()
  } finally {
    await proxy.restore()
  }
}

/** A database that is away answers nobody, in time, and says that it is worth trying again. */
function expectUnavailable({ status, headers, body, ms }: Awaited<ReturnType<typeof ask>>): void {
  expect([status, headers.get('retry-after')]).toEqual([503, '5'])
  expect(headers.get('content-type')).toMatch('application/problem+json')
  expect(body).toEqual({
    type: 'about:blank',
    title: 'Temporarily unavailable',
    status: 503,
    detail: expect.stringMatching(/^The database does/),
    code: 'UNAVAILABLE',
  })
  expect(ms).toBeLessThan(PATIENCE_MS)
}

const isBack = () => vi.waitFor(async () => expect((await ask('/health/ready')).status).toBe(200), { timeout: 10_000 })

describe('while the database is away', () => {
  it('the metrics that need none are there', async () => {
    const scrape = async () => {
      const response = await fetch(`${runtime.url}/metrics`)
      return [response.status, await response.text()] as const
    }
    const gauge = 'lastword_account_without_good_answer_seconds{account="seven"} 0'
    await vi.waitFor(async () => expect((await scrape())[1]).toContain(gauge), { timeout: 10_000 })
    await withoutDatabase(async () => {
      const [status, text] = await scrape()
      expect(status).toBe(200)
      expect(text).toContain('lastword_webhooks_total')
      expect(text).not.toContain(gauge)
    })
    await isBack()
    expect((await scrape())[1]).toContain(gauge)
  })

  it('a webhook and a tracking order are refused in time; both are taken when they come again', async () => {
    await withoutDatabase(async () => {
      for (const answer of await Promise.all([receive(id), track(id)])) expectUnavailable(answer)
    })
    await isBack()
    expect(await track(id)).toMatchObject({ status: 202, body: { tracked: 1, alreadyTracked: 0 } })
    expect(await receive(id)).toMatchObject({ status: 200, body: { reports: 1 } })
    expect(await ask(`/v1/messages/seven/${id}`)).toMatchObject({ body: { status: 'delivered', final: true } })
  })

  it('looking, listing and asking are refused in time', async () => {
    await track(id)
    await withoutDatabase(async () => {
      const paths = [`/v1/messages/seven/${id}`, '/v1/messages']
      const answers = await Promise.all([...paths.map((path) => ask(path)), ask(`/v1/messages/seven/${id}/poll`, {})])
      for (const answer of answers) expectUnavailable(answer)
    })
    await isBack()
  })

  it('many webhooks at once are all refused in time, and none of them is half stored', async () => {
    const many = Array.from({ length: 100 }, (_, index) => `${id}${2_000 + index}`)
    await withoutDatabase(async () => {
      for (const answer of await Promise.all(many.map(receive))) expectUnavailable(answer)
    })
    await isBack()
    const again = await Promise.all(many.map(receive))
    expect(new Set(again.map(({ status }) => status))).toEqual(new Set([200]))
    const order = { account: 'seven', messages: many.map((messageId) => ({ messageId })) }
    expect(await ask('/v1/messages', order)).toMatchObject({ body: { tracked: 100 } })
    const { body } = await ask('/v1/messages?status=delivered&limit=100')
    expect(body.messages.filter((message: { messageId: string }) => many.includes(message.messageId))).toHaveLength(100)
  })

  it('the API is alive, but not ready, and says what is missing', async () => {
    await withoutDatabase(async () => {
      const ready = await ask('/health/ready')
      expect([ready.status, ready.body]).toEqual([
        503,
        {
          status: 'unavailable',
          database: expect.any(String),
          migrations: expect.any(String),
          worker: 'unknown',
          queue: 'ok',
        },
      ])
      expect(ready.body.database).not.toBe('ok')
      expect(ready.body.migrations).not.toBe('ok')
      expect(JSON.stringify(ready.body)).not.toContain(new URL(database.url).password)
      expect(ready.ms).toBeLessThan(PATIENCE_MS)
      expect(await ask('/health/live')).toMatchObject({ status: 200, body: { status: 'ok' } })
    })
    await isBack()
  })
})

describe('when the database is back', () => {
  it('everything that was held is still held', async () => {
    const open = `${id}1001`
    const early = `${id}1002`
    await track(id)
    await track(open)
    await receive(id)
    await receive(early)
    const before = [await ask(`/v1/messages/seven/${id}`), await ask(`/v1/messages/seven/${open}`)]
    await withoutDatabase(async () => expectUnavailable(await track(`${id}1003`)))
    await isBack()
    const after = [await ask(`/v1/messages/seven/${id}`), await ask(`/v1/messages/seven/${open}`)]
    expect(after.map(({ body }) => body)).toEqual(before.map(({ body }) => body))
    expect((await ask(`/v1/messages/seven/${id}1003`)).status).toBe(404)
    await track(early)
    expect(await ask(`/v1/messages/seven/${early}`)).toMatchObject({ body: { status: 'delivered' } })
  })

  it('after one outage, and after the next', async () => {
    for (let outage = 1; outage <= 3; outage++) {
      await withoutDatabase(async () => expectUnavailable(await receive(id)))
      await isBack()
      expect(await receive(id)).toMatchObject({ status: 200 })
    }
    await track(id)
    const { body } = await ask(`/v1/messages/seven/${id}`)
    expect(body.reports).toHaveLength(3)
  })
})

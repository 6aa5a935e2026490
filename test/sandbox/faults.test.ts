import { Agent, request } from 'undici'
import { afterAll, afterEach, expect, it } from 'vitest'
import type { KnobsPatch } from '../../src/sandbox/knobs.ts'
import { createSandbox, type Sandbox } from '../../src/sandbox/server.ts'

let sandbox: Sandbox
const agent = new Agent()
afterEach(() => sandbox.close())
afterAll(() => agent.close())

async function start(knobs: KnobsPatch, seed = 1): Promise<string> {
  sandbox = await createSandbox({ knobs, seed })
  return sandbox.send(10).join(',')
}

async function ask(messageIds: string, headersTimeout = 5_000) {
  const headers = { 'X-Api-Key': sandbox.apiKey, Accept: 'application/json' }
  const options = { headers, dispatcher: agent, headersTimeout }
  const response = await request(`${sandbox.url}/status?msg_id=${messageIds}`, options)
  return { status: response.statusCode, headers: response.headers, body: await response.body.text() }
}

it('limits the rate in seconds', async () => {
  const messageIds = await start({ rateLimited: { share: 1, retryAfter: 7 } })
  expect(await ask(messageIds)).toMatchObject({ status: 429, headers: { 'retry-after': '7' } })
})

it('limits the rate until an HTTP date', async () => {
  const messageIds = await start({ rateLimited: { share: 1, retryAfter: 'date' } })
  const before = Date.now()
  const date = String((await ask(messageIds)).headers['retry-after'])
  expect(date).toMatch(/^\w{3}, \d{2} \w{3} \d{4} \d{2}:\d{2}:\d{2} GMT$/)
  expect(Date.parse(date) - before).toBeGreaterThan(0)
  expect(Date.parse(date) - Date.now()).toBeLessThanOrEqual(2_000)
})

it('answers with server errors', async () => {
  const messageIds = await start({ serverErrors: 1 })
  const statuses = new Set<number>()
  for (let count = 0; count < 30; count += 1) statuses.add((await ask(messageIds)).status)
  expect([...statuses].sort()).toEqual([500, 502, 503, 504])
})

it('never answers', async () => {
  const messageIds = await start({ timeouts: 1 })
  await expect(ask(messageIds, 100)).rejects.toMatchObject({ code: 'UND_ERR_HEADERS_TIMEOUT' })
  expect(sandbox.stats()).toMatchObject({ requests: 1, answered: 0, faults: { timeouts: 1 } })
})

it('closes although a request is unanswered', async () => {
  const messageIds = await start({ timeouts: 1 })
  const unanswered = expect(ask(messageIds)).rejects.toMatchObject({ code: 'UND_ERR_SOCKET' })
  while (sandbox.stats().faults.timeouts === 0) await new Promise((resolve) => setImmediate(resolve))
  await sandbox.close()
  await unanswered
})

it('answers with broken JSON in a complete body', async () => {
  const messageIds = await start({ malformed: 1 })
  const { status, body } = await ask(messageIds)
  expect(status).toBe(200)
  expect(body).toMatch(/^\[\{"id":"77100000001"/)
  expect(() => JSON.parse(body)).toThrow(SyntaxError)
})

it('cuts the connection in mid-body', async () => {
  const messageIds = await start({ cutOff: 1 })
  await expect(ask(messageIds)).rejects.toMatchObject({ code: 'UND_ERR_SOCKET' })
  expect(sandbox.truths()[0]?.askedAt).toHaveLength(1)
})

it.each([
  [{ share: 1 }, '900'],
  [{ share: 1, code: 600, form: 'string' }, '"600"'],
  [{ share: 1, code: 403, form: 'code' }, '{"code":"403"}'],
  [{ share: 1, code: 902, form: 'error_code' }, '{"error_code":"902"}'],
] as const)('answers with an error code in a 200: %o', async (errorCode, body) => {
  const messageIds = await start({ errorCode })
  expect(await ask(messageIds)).toMatchObject({ status: 200, body })
})

it('takes its time', async () => {
  const messageIds = await start({ latencyMs: 50 })
  const before = performance.now()
  expect((await ask(messageIds)).status).toBe(200)
  expect(performance.now() - before).toBeGreaterThan(45)
})

it('draws faults by their shares, the same for the same seed, until they are turned off', async () => {
  const knobs = { rateLimited: { share: 0.2 }, serverErrors: 0.2, errorCode: { share: 0.2 } }
  const run = async () => {
    const messageIds = await start(knobs, 9)
    const statuses = []
    for (let count = 0; count < 200; count += 1) statuses.push((await ask(messageIds)).status)
    return statuses
  }
  const first = await run()
  const { answered, faults } = sandbox.stats()
  expect(answered + faults.rateLimited + faults.serverErrors + faults.errorCode).toBe(200)
  for (const count of [faults.rateLimited, faults.serverErrors, faults.errorCode]) {
    expect(Math.abs(count - 40)).toBeLessThan(20)
  }
  await sandbox.close()
  expect(await run()).toEqual(first)

  sandbox.set({ rateLimited: { share: 0 }, serverErrors: 0, errorCode: { share: 0 } })
  for (let count = 0; count < 20; count += 1) expect((await ask('77100000001')).body).toMatch(/^\[/)
})

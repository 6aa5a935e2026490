/**
 * Secrets, phone numbers and metadata with marks are planted in a running service. Then everything that comes out of it is
 * searched for the marks: the log, errors, metrics, job data, Bull Board, pages for a key that may only look, alerts.
 *
 * Spans are searched in tracing.test.ts, messages about the configuration in config.test.ts.
 */
import { once } from 'node:events'
import { createServer, type IncomingHttpHeaders } from 'node:http'
import type { AddressInfo } from 'node:net'
import { Redis } from 'ioredis'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import {
  closeAll,
  closeLater,
  createInstallation,
  type Installation,
  minutesAgo,
  type ServiceProcess,
  spawnService,
  until,
} from '../support/service.ts'

const whsec = (text: string) => `whsec_${Buffer.from(text.padEnd(32, '.')).toString('base64')}`
const SECRETS = {
  apiKey: 'mArK-api-key-of-seven',
  productToken: 'mArK-product-token',
  webhookToken: 'mArK-webhook-token',
  signingKey: 'mArK-signing-key',
  callbackSecret: whsec('mArK callback secret'),
  endpointSecret: whsec('mArK endpoint secret'),
  alertSecret: whsec('mArK alert secret'),
  changeKey: 'mArK-key-that-changes',
  lookKey: 'mArK-key-that-looks',
  metricsKey: 'mArK-key-that-measures',
  callbackUrl: 'mArK-in-the-callback-url',
  wrongKey: 'mArK-wrong-key',
  wrongToken: 'mArK-wrong-token',
}
const NUMBER = '+491705550177'
/** Its end, which is more of it than two digits. */
const NUMBER_END = '5550177'
const METADATA = 'mArK-of-metadata'

/** The marks of each kind that a text holds, also where it is escaped or encoded. */
function marksIn(text: string, kinds: { numbers?: boolean; metadata?: boolean } = {}): string[] {
  const { numbers = true, metadata = true } = kinds
  const marks = [
    ...Object.values(SECRETS).flatMap((secret) => [secret, Buffer.from(`me:${secret}`).toString('base64')]),
    ...(numbers ? [NUMBER_END] : []),
    ...(metadata ? [METADATA] : []),
  ]
  const decoded = text.replaceAll('\\/', '/').replace(/%[0-9a-f]{2}/gi, (code) => unescaped(code))
  return marks.filter((mark) => text.includes(mark) || decoded.includes(mark))
}

function unescaped(code: string): string {
  return String.fromCharCode(Number.parseInt(code.slice(1), 16))
}

interface Request {
  path: string
  headers: IncomingHttpHeaders
  text: string
}

/** A server of others that says all it was told, and the number, with this status. */
async function openEcho(status: number): Promise<{ url: string; requests: Request[] }> {
  const requests: Request[] = []
  const server = createServer(async (request, response) => {
    let text = ''
    for await (const piece of request) text += piece
    requests.push({ path: request.url ?? '', headers: request.headers, text })
    response.writeHead(status, { 'content-type': 'application/json' })
    response.end(JSON.stringify({ error: 'no', of: NUMBER, path: request.url, headers: request.headers, text }))
  }).listen(0, '127.0.0.1')
  await once(server, 'listening')
  closeLater(async () => {
    server.closeAllConnections()
    server.close()
  })
  return { url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`, requests }
}

let installation: Installation
let service: ServiceProcess
let url: string
let alerts: Request[]
let callbacks: Request[]
/** The requests to the provider that fails. */
let askedInVain: Request[]
/** The answers to mistakes. */
const refused: string[] = []

async function ask(path: string, key: string, init: RequestInit = {}): Promise<{ status: number; text: string }> {
  const headers = { authorization: `Bearer ${key}`, ...init.headers }
  const answer = await fetch(url + path, { ...init, headers })
  return { status: answer.status, text: await answer.text() }
}

function post(path: string, body: unknown, key = SECRETS.changeKey) {
  const text = typeof body === 'string' ? body : JSON.stringify(body)
  return ask(path, key, { method: 'POST', body: text, headers: { 'content-type': 'application/json' } })
}

beforeAll(async () => {
  installation = await createInstallation('redis')
  const [refusing, failing, receiver, alerted] = await Promise.all([401, 500, 503, 204].map(openEcho))
  callbacks = receiver?.requests ?? []
  askedInVain = failing?.requests ?? []
  alerts = alerted?.requests ?? []
  const polling = { firstAfter: '1s', maxInterval: '1s' }
  const callback = {
    url: `${receiver?.url}/hook?token=${SECRETS.callbackUrl}`,
    secret: SECRETS.callbackSecret,
    endpoints: [{ url: `${receiver?.url}/own`, secret: SECRETS.endpointSecret }],
  }
  const { apiKey, productToken, webhookToken, signingKey } = SECRETS
  const accounts = [
    { name: 'seven', provider: 'seven', apiKey, webhookToken, baseUrl: refusing?.url, polling, callback },
    { name: 'signed', provider: 'seven', apiKey: `${apiKey}-2`, signingKey, baseUrl: failing?.url, polling },
    { name: 'cm', provider: 'cm', productToken, webhookToken, baseUrl: failing?.url, polling, callback },
  ]
  service = spawnService(
    ['start'],
    installation.environment(accounts, {
      LOG_LEVEL: 'trace',
      PUBLIC_URL: 'https://sms.example.com',
      API_KEYS: `ops=${SECRETS.changeKey}`,
      READ_KEYS: `wall=${SECRETS.lookKey}`,
      METRICS_KEYS: SECRETS.metricsKey,
      ALERT_URL: `${alerted?.url}/alerts?token=${SECRETS.callbackUrl}`,
      ALERT_SECRET: SECRETS.alertSecret,
      CALLBACK_ALLOW_PRIVATE: 'true',
    }),
  )
  url = await service.ready()
  await use()
}, 90_000)
afterAll(closeAll)

/** Has the service do everything that it does, mostly in vain. */
async function use(): Promise<void> {
  const sentAt = minutesAgo(5)
  const message = (messageId: string) => ({ messageId, sentAt, recipient: NUMBER, metadata: { word: METADATA } })
  for (const account of ['seven', 'signed', 'cm']) {
    const order = { account, messages: ['71', '72', '73'].map(message) }
    expect((await post('/v1/messages', order)).status).toBe(202)
  }
  const own = { ...message('74'), callbackUrl: `https://app.example.com/hook?token=${SECRETS.callbackUrl}` }
  refused.push((await post('/v1/messages', { account: 'seven', messages: [{ ...own, sentAt: 'soon' }] })).text)
  const track = installation.queue('track')
  await track.add('order', { v: 1, account: 'seven', messages: [message('75')] })
  await track.add('order', {
    v: 1,
    account: 'seven',
    messages: [{ ...message('76'), sentAt: METADATA, callbackUrl: own.callbackUrl }],
  })

  const receipt = (status: string, id = '71') => ({ webhook_event: 'dlr', data: { msg_id: id, status } })
  for (let round = 0; round < 12; round++) {
    refused.push((await post(`/webhooks/seven/${SECRETS.wrongToken}`, receipt('DELIVERED'))).text)
    refused.push((await post('/webhooks/signed', receipt('DELIVERED'))).text)
  }
  expect((await post(`/webhooks/seven/${SECRETS.webhookToken}`, receipt('DELIVERED'))).status).toBe(200)
  expect((await post(`/webhooks/seven/${SECRETS.webhookToken}`, receipt(`TO ${NUMBER}`, '79'))).status).toBe(200)
  refused.push((await post(`/webhooks/seven/${SECRETS.webhookToken}`, `{"msg_id":"${NUMBER}`)).text)
  const cm = {
    reference: '72',
    to: NUMBER.replace('+', '00'),
    status: { code: '3', errorDescription: `not ${NUMBER}` },
  }
  const arrived = {
    reference: '73',
    to: cm.to,
    gsm: cm.to,
    sender: NUMBER,
    status: { code: '2', errorDescription: `Delivered to ${NUMBER}` },
  }
  for (const msg of [cm, arrived]) {
    expect((await post(`/webhooks/cm/${SECRETS.webhookToken}`, { messages: { msg } })).status).toBe(200)
  }

  for (const key of [SECRETS.wrongKey, SECRETS.metricsKey]) refused.push((await ask('/v1/messages', key)).text)
  refused.push((await post('/v1/messages', {}, SECRETS.lookKey)).text)
  refused.push((await post('/v1/messages', `{"to":"${NUMBER}","word":"${METADATA}"`)).text)
  refused.push(
    (await post('/v1/messages', { account: METADATA, messages: [message('1')] })).text.replaceAll(METADATA, ''),
  )
  refused.push(
    (await post('/v1/messages', { account: 'seven', messages: [{ messageId: NUMBER, recipient: METADATA }] })).text,
  )
  refused.push((await ask(`/v1/recipients/${NUMBER}9`, SECRETS.changeKey, { method: 'DELETE' })).text)
  refused.push((await ask(`/v1/nothing?key=${SECRETS.wrongKey}`, SECRETS.changeKey)).text)

  await until(async () => {
    const { text } = await ask('/v1/accounts', SECRETS.lookKey)
    expect(text).toContain('the credentials are refused')
    const asked = JSON.stringify(askedInVain.map(({ headers }) => headers))
    expect(asked).toContain(SECRETS.productToken)
    expect(asked).toContain(`${SECRETS.apiKey}-2`)
    expect(alerts.length).toBeGreaterThan(0)
    expect(callbacks.length).toBeGreaterThan(1)
    expect(await track.getFailedCount()).toBe(1)
  }, 40_000)
}

it('the log holds none, but the address that brought a wrong key', () => {
  const log = service.output()
  expect(marksIn(log)).toEqual([])
  expect(log).toMatch(/"address":"127\.0\.0\.1","route":"GET \/v1\/messages","msg":"a wrong key was refused"/)
  expect(log).toContain('a wrong token was refused')
  expect(log).toContain('a wrong signature was refused')
  expect(log).toContain('not in the table')
})

it('answers to mistakes hold none', () => {
  expect(refused.length).toBeGreaterThan(30)
  expect(marksIn(refused.join('\n'))).toEqual([])
})

it('the metrics hold none', async () => {
  const { text } = await ask('/metrics', SECRETS.metricsKey)
  expect(text).toContain('lastword_refused_secrets_total{secret="token",answer="401"}')
  expect(marksIn(text)).toEqual([])
})

it('alerts and callbacks hold none but what they are for', () => {
  const told = (requests: Request[]) => JSON.stringify(requests.map(({ headers, text }) => ({ headers, text })))
  expect(alerts.map(({ text }) => text).join()).toContain('account-refused')
  expect(marksIn(told(alerts))).toEqual([])
  expect(marksIn(told(callbacks), { numbers: false, metadata: false })).toEqual([])
})

it('Redis holds none, but for the orders that the app has put there', async () => {
  const redis = new Redis(installation.queueUrl)
  const keys = await redis.keys('*')
  expect(keys.length).toBeGreaterThan(10)
  const values = await Promise.all(
    keys
      .filter((key) => !/:track:\d+$/.test(key))
      .map(async (key) => [key, (await redis.dump(key)) ?? '', await read(redis, key)]),
  )
  redis.disconnect()
  expect(marksIn(values.flat().join('\n'))).toEqual([])
})

/** A key's value as text. */
async function read(redis: Redis, key: string): Promise<string> {
  const type = await redis.type(key)
  if (type === 'hash') return JSON.stringify(await redis.hgetall(key))
  if (type === 'list') return JSON.stringify(await redis.lrange(key, 0, -1))
  if (type === 'zset') return JSON.stringify(await redis.zrange(key, 0, '-1'))
  if (type === 'stream') return JSON.stringify(await redis.xrange(key, '-', '+'))
  return type === 'string' ? String(await redis.get(key)) : ''
}

describe('a key that may only look', () => {
  it.each([
    '/',
    '/messages',
    `/messages?q=${encodeURIComponent(NUMBER)}`,
    '/accounts/seven',
    '/accounts/cm',
    `/messages/cm/73?recipient=${encodeURIComponent(NUMBER)}`,
    '/callbacks',
    '/alerts',
    '/acts',
    '/queues',
    '/openapi.json',
    '/v1/accounts',
    '/v1/alerts',
    '/v1/acts',
    '/v1/statistics',
    '/v1/callbacks',
  ])('finds none at %s', async (path) => {
    const { status, text } = await ask(path, SECRETS.lookKey)
    expect(status).toBe(200)
    // Links lead to messages by their recipients, and the field of the search keeps the number that was put into it.
    expect(marksIn(text.replace(/recipient=[^"&]*|value="[^"]*"/g, ''))).toEqual([])
  })

  it('finds why a message failed, with neither number nor metadata', async () => {
    const { text } = await ask(`/messages/cm/72?recipient=${encodeURIComponent(NUMBER)}`, SECRETS.lookKey)
    expect(text).toContain('not …77')
    expect(marksIn(text.replace(/recipient=[^"&]*/g, ''))).toEqual([])
  })

  it('finds no number in any job on the board, and no secret', async () => {
    const { text } = await ask('/queues/api/queues', SECRETS.lookKey)
    const names = (JSON.parse(text).queues as { name: string }[]).map(({ name }) => name)
    expect(names).toEqual(expect.arrayContaining(['track', 'callbacks', 'status-query.seven']))
    for (const name of names) {
      for (const status of ['completed', 'failed', 'waiting', 'delayed', 'active']) {
        const page = await ask(
          `/queues/api/queues?activeQueue=${name}&status=${status}&jobsPerPage=100`,
          SECRETS.lookKey,
        )
        expect([name, status, marksIn(page.text, { metadata: name !== 'track' })]).toEqual([name, status, []])
      }
    }
  })
})

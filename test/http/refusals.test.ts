/** Wrong keys: what is logged and counted of them, and how an address that brings many is slowed. */
import { type FastifyBaseLogger, type FastifyInstance, fastify, LogController } from 'fastify'
import { afterAll, beforeAll, beforeEach, describe, expect, it, vi } from 'vitest'
import { guardByKeys } from '../../src/http/auth.ts'
import { createRefuse } from '../../src/http/refusals.ts'
import { createLog } from '../../src/log.ts'
import { createMetrics, type Metrics } from '../../src/metrics.ts'
import { type Api, startApi } from '../support/api.ts'

const KEY = 'a-key-of-sixteen-or-more'
const MOST = 20

describe('a wrong key', () => {
  let server: FastifyInstance
  let metrics: Metrics
  let lines: { msg: string; address: string; route: string }[]
  beforeEach(async () => {
    lines = []
    const destination = { write: (line: string) => void lines.push(JSON.parse(line)) }
    const log = createLog({ level: 'info', secretFields: [], destination })
    server = fastify({
      loggerInstance: log as FastifyBaseLogger,
      logController: new LogController({ disableRequestLogging: true }),
      trustProxy: ['10.0.0.0/8'],
    })
    metrics = createMetrics({ ofProcess: false })
    guardByKeys(server, [{ name: 'app', value: KEY, grants: 'look' }], await createRefuse(server, metrics))
    server.get('/things/:id', () => 'a thing')
    server.post('/things', () => 'done')
    return () => server.close()
  })

  const ask = async (key: string, remoteAddress = '203.0.113.5', forwardedFor?: string) => {
    const headers = {
      authorization: `Bearer ${key}`,
      ...(forwardedFor === undefined ? {} : { 'x-forwarded-for': forwardedFor }),
    }
    const { statusCode, headers: answered } = await server.inject({ url: '/things/7', headers, remoteAddress })
    return { status: statusCode, retryAfter: answered['retry-after'] }
  }
  const askOften = (address: string, count = MOST) =>
    Promise.all(Array.from({ length: count }, (_, index) => ask(`wrong-${index}`, address)))

  it('is logged with its address and its route, and never itself', async () => {
    await ask('a-wrong-key')
    expect(lines).toMatchObject([
      { level: 40, msg: 'a wrong key was refused', address: '203.0.113.5', route: 'GET /things/:id' },
    ])
    expect(JSON.stringify(lines)).not.toContain('a-wrong-key')
  })

  it('is answered 429 when its address has brought many, counted by both answers, and logged no more', async () => {
    expect((await askOften('203.0.113.5')).map(({ status }) => status)).toEqual(Array(MOST).fill(401))
    const { status, retryAfter } = await ask('another')
    expect(status).toBe(429)
    expect(Number(retryAfter)).toBeGreaterThan(50)
    expect(lines).toHaveLength(MOST)
    expect(lines.at(-1)?.msg).toMatch(/^a wrong key was refused; others of this address are not logged for \d\d s$/)
    const counted = await metrics.registry.metrics()
    expect(counted).toContain(`lastword_refused_secrets_total{secret="key",answer="401"} ${MOST}`)
    expect(counted).toContain('lastword_refused_secrets_total{secret="key",answer="429"} 1')
  })

  it('locks out no right one of the same address, and no other address', async () => {
    await askOften('203.0.113.5', MOST + 5)
    expect(await ask(KEY)).toEqual({ status: 200, retryAfter: undefined })
    expect(await ask('wrong', '203.0.113.6')).toMatchObject({ status: 401 })
  })

  it('is forgotten after a minute', async () => {
    vi.useFakeTimers({ toFake: ['Date'] })
    try {
      await askOften('203.0.113.5', MOST + 1)
      vi.setSystemTime(Date.now() + 61_000)
      expect(await ask('wrong')).toMatchObject({ status: 401 })
    } finally {
      vi.useRealTimers()
    }
  })

  it.each([
    ['another address of its /64', '2001:db8:1:2::1', '2001:db8:1:2:ffff::9', 429],
    ['another /64', '2001:db8:1:2::1', '2001:db8:1:3::1', 401],
    ['its IPv4 address as IPv6 writes it', '203.0.113.5', '::ffff:203.0.113.5', 429],
    ['another IPv4 address as IPv6 writes it', '::ffff:203.0.113.5', '::ffff:203.0.113.6', 401],
  ])('counts for %s', async (_name, one, other, status) => {
    await askOften(one)
    expect(await ask('wrong', other)).toMatchObject({ status })
  })

  it('counts for the address that a trusted proxy tells, and another tells none', async () => {
    await Promise.all(Array.from({ length: MOST }, () => ask('wrong', '10.0.0.1', 'made-up, 203.0.113.9')))
    expect(lines[0]).toMatchObject({ address: '203.0.113.9' })
    expect(await ask('wrong', '10.0.0.2', '203.0.113.9')).toMatchObject({ status: 429 })
    expect(await ask('wrong', '10.0.0.2', '203.0.113.10')).toMatchObject({ status: 401 })
    expect(await ask('wrong', '203.0.113.11', '203.0.113.9')).toMatchObject({ status: 401 })
    expect(lines.at(-1)).toMatchObject({ address: '203.0.113.11' })
    await ask('wrong', '10.0.0.3', 'no\taddress')
    expect(lines.at(-1)).toMatchObject({ address: '10.0.0.3' })
  })

  it('is none where a browser presents nothing, or a key may not do this; the latter is logged, too', async () => {
    for (let round = 0; round <= MOST; round++) await server.inject({ url: '/things/7', remoteAddress: '203.0.113.5' })
    expect(lines).toEqual([])
    expect(await ask('wrong')).toMatchObject({ status: 401 })
    const headers = { authorization: `Bearer ${KEY}` }
    expect((await server.inject({ method: 'POST', url: '/things', headers })).statusCode).toBe(403)
    expect(lines.at(-1)).toMatchObject({ level: 30, msg: 'a key may not do this', key: 'app', route: 'POST /things' })
  })
})

describe('wrong tokens and signatures', () => {
  let api: Api
  beforeAll(async () => {
    const accounts = [
      { name: 'token', provider: 'seven', apiKey: 'x', webhookToken: 'a-token-of-sixteen' },
      { name: 'signed', provider: 'seven', apiKey: 'x', signingKey: 'a-signing-key' },
    ]
    const environment = { ACCOUNTS: JSON.stringify(accounts), PUBLIC_URL: 'https://sms.example.com' }
    api = await startApi({ ...environment, TRUSTED_PROXIES: 'loopback' })
  })
  afterAll(() => api.close())

  const receipt = { webhook_event: 'dlr', data: { msg_id: '7', status: 'DELIVERED' } }
  const send = async (path: string, address: string) =>
    (await api.post(`/webhooks/${path}`, receipt, { headers: { 'x-forwarded-for': address } })).status

  it.each([
    ['token', 'token/wrong', '203.0.113.1'],
    ['token', 'token', '203.0.113.2'],
    ['signature', 'signed', '203.0.113.3'],
  ])('are counted and slowed: a wrong %s at %s', async (secret, path, address) => {
    const answers = await Promise.all(Array.from({ length: MOST + 3 }, () => send(path, address)))
    expect(answers.filter((status) => status === 401)).toHaveLength(MOST)
    expect(answers.filter((status) => status === 429)).toHaveLength(3)
    const { body } = await api.get('/metrics', { headers: { host: 'localhost' } })
    expect(body).toMatch(new RegExp(`lastword_refused_secrets_total{secret="${secret}",answer="429"} [36]`))
  })

  it('lose no receipt with the right token from the same address', async () => {
    expect(await send('token/wrong', '203.0.113.1')).toBe(429)
    expect(await send('token/a-token-of-sixteen', '203.0.113.1')).toBe(200)
  })

  it('are answered 429 to a HEAD, too', async () => {
    const init = { method: 'HEAD', headers: { 'x-forwarded-for': '203.0.113.1' } }
    expect((await api.get('/webhooks/token/wrong', init)).status).toBe(429)
    expect((await api.get('/webhooks/token/a-token-of-sixteen', init)).status).toBe(200)
  })
})

/**
 * Requests that other sites can make a browser send: other Host headers, requests across sites, frames, and prefixes.
 */
import { request } from 'undici'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { type Api, startApi } from '../support/api.ts'

const KEY = 'a-key-of-sixteen-or-more'
const basic = { authorization: `Basic ${Buffer.from(`me:${KEY}`).toString('base64')}` }

let open: Api
let keyed: Api
let prefixed: Api
beforeAll(async () => {
  open = await startApi()
  keyed = await startApi({ API_KEYS: KEY })
  prefixed = await startApi({ PUBLIC_URL: 'https://sms.example.com/lastword/' })
})
afterAll(() => Promise.all([open, keyed, prefixed].map((api) => api.close())))

async function ask(api: Api, path: string, { method = 'GET', headers = {}, body = '' } = {}) {
  const answer = await request(api.url + path, { method: method as 'GET', headers, ...(body ? { body } : {}) })
  const text = await answer.body.text()
  return {
    status: answer.statusCode,
    headers: answer.headers,
    text,
    problem: text.startsWith('{') ? JSON.parse(text) : {},
  }
}

describe('without API keys', () => {
  it.each(['localhost', 'localhost:3000', '127.0.0.1', '127.0.0.2:80', '[::1]:3000'])(
    'lets in who asks for %s',
    async (host) => {
      expect((await ask(open, '/v1/messages', { headers: { host } })).status).toBe(200)
    },
  )

  it.each(['evil.example', 'evil.example:3000', 'localhost.evil.example', '127.0.0.1.evil.example', '10.0.0.1', '@'])(
    'refuses %s, which may lead here too',
    async (host) => {
      const { status, problem } = await ask(open, '/v1/messages', { headers: { host } })
      expect([status, problem.code]).toEqual([421, 'MISDIRECTED'])
      expect(problem.detail).toContain('PUBLIC_URL')
      expect((await ask(open, '/queues', { headers: { host } })).status).toBe(421)
      expect((await ask(open, '/docs', { headers: { host } })).status).toBe(421)
    },
  )

  it('lets in who asks for PUBLIC_URL', async () => {
    expect((await ask(prefixed, '/v1/messages', { headers: { host: 'sms.example.com' } })).status).toBe(200)
    expect((await ask(prefixed, '/v1/messages', { headers: { host: 'other.example.com' } })).status).toBe(421)
  })

  it('takes receipts and tells its health under any name', async () => {
    const headers = { host: 'tunnel.example', 'content-type': 'application/json' }
    const body = '{"webhook_event":"dlr","data":{"msg_id":"77","status":"DELIVERED","timestamp":"2026-01-31 11:00:05"}}'
    expect((await ask(open, '/webhooks/seven', { method: 'POST', headers, body })).status).toBe(200)
    expect((await ask(open, '/health/live', { headers: { host: 'tunnel.example' } })).status).toBe(200)
  })
})

describe('with API keys, any Host is good', () => {
  it('since a name of another site has no credentials of ours', async () => {
    expect((await ask(keyed, '/v1/messages', { headers: { host: 'sms.example', ...basic } })).status).toBe(200)
    expect((await ask(keyed, '/v1/messages', { headers: { host: 'sms.example' } })).status).toBe(401)
  })
})

describe('a request that acts', () => {
  const acting = [
    ['POST', '/v1/callbacks/replay'],
    ['POST', '/v1/messages/poll'],
    ['POST', '/v1/messages'],
    ['DELETE', '/v1/messages/seven/1'],
    ['PUT', '/queues/api/queues/dispatch/pause'],
    ['PUT', '/queues/api/queues/dispatch/clean/completed'],
  ] as const
  const foreign: [string, Record<string, string>][] = [
    ['an Origin', { origin: 'https://evil.example' }],
    ['an Origin of the same host and another port', { origin: 'http://127.0.0.1:1' }],
    ['the Origin null', { origin: 'null' }],
    ['Sec-Fetch-Site', { 'sec-fetch-site': 'cross-site' }],
    ['Sec-Fetch-Site of a neighbour', { 'sec-fetch-site': 'same-site' }],
  ]

  it.each(foreign)('is refused when another site has made it, by %s', async (_name, headers) => {
    for (const [method, path] of acting) {
      for (const [api, credentials] of [
        [open, {}],
        [keyed, basic],
      ] as const) {
        const { status, problem } = await ask(api, path, { method, headers: { ...headers, ...credentials } })
        expect([method, path, status, problem.code]).toEqual([method, path, 403, 'FORBIDDEN'])
      }
    }
  })

  it('is let in from these pages, and from programs', async () => {
    const host = new URL(open.url).host
    for (const headers of [
      {},
      { origin: `http://${host}` },
      { 'sec-fetch-site': 'same-origin' },
      { 'sec-fetch-site': 'none' },
    ]) {
      expect((await ask(open, '/v1/callbacks/replay', { method: 'POST', headers })).status).toBe(202)
    }
    const behindProxy = { host: '127.0.0.1', origin: 'https://sms.example.com' }
    expect((await ask(prefixed, '/v1/callbacks/replay', { method: 'POST', headers: behindProxy })).status).toBe(202)
  })

  it.each(['text/plain', 'application/x-www-form-urlencoded', 'multipart/form-data; boundary=x'])(
    'has a body of JSON: 415 for %s, which a form can send',
    async (type) => {
      const { status } = await ask(open, '/v1/messages', {
        method: 'POST',
        headers: { 'content-type': type },
        body: '{}',
      })
      expect(status).toBe(415)
    },
  )
})

it('may not be framed, nor taken for another type, on any page', async () => {
  for (const path of ['/docs', '/queues', '/openapi.json', '/v1/messages', '/nothing-here']) {
    const { headers } = await ask(open, path)
    if (path === '/nothing-here') continue
    expect(headers['content-security-policy']).toContain("frame-ancestors 'none'")
    expect(headers).toMatchObject({ 'x-frame-options': 'DENY', 'x-content-type-options': 'nosniff' })
    expect(headers['cache-control'], path).toBe('no-store')
  }
})

it.each(['GET', 'POST'])(
  'takes no receipt by %s from a page of another site, where anybody here may bring one',
  async (method) => {
    const path = '/webhooks/seven?msg_id=4711&status=DELIVERED'
    const headers = { 'sec-fetch-site': 'cross-site' }
    const { status, problem } = await ask(open, path, { method, headers })
    expect([status, problem.code]).toEqual([403, 'FORBIDDEN'])
    expect((await ask(open, path, { method })).status).toBe(200)
  },
)

describe('under a prefix of a proxy', () => {
  it.each(['', '/lastword'])('has its pages, with the path handed on as "%s…"', async (prefix) => {
    const page = await ask(prefixed, `${prefix}/queues/`)
    expect(page.status).toBe(200)
    expect(page.text).toContain('<base href="/lastword/queues/"')
    const script = /src="([^"]+\.js)"/.exec(page.text)?.[1] ?? ''
    const path = new URL(script, 'https://sms.example.com/lastword/queues/').pathname
    expect((await ask(prefixed, prefix === '' ? path.replace('/lastword', '') : path)).status).toBe(200)
    expect((await ask(prefixed, `${prefix}/v1/messages`)).status).toBe(200)
    expect((await ask(prefixed, `${prefix}/docs`)).status).toBe(200)
  })

  it.each(['/lastword', '/lastword?period=7d', '/lastword/'])('has its overview at %s', async (path) => {
    const page = await ask(prefixed, path)
    expect([page.status, page.headers['content-type']]).toEqual([200, 'text/html; charset=utf-8'])
    expect((await ask(prefixed, '/lastwords')).status).toBe(404)
  })
})

import { subscribe, unsubscribe } from 'node:diagnostics_channel'
import type { FastifyInstance } from 'fastify'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { messages } from '../../src/db/schema.ts'
import { type Api, expectProblem, startApi } from '../support/api.ts'

interface Route {
  method: string
  url: string
}

const KEYS = ['first-key', 'second-key']

let api: Api
const routes: Route[] = []
beforeAll(async () => {
  // Fastify announces every server before it has routes.
  const listen = (message: unknown) => {
    const { fastify } = message as { fastify: FastifyInstance }
    fastify.addHook('onRoute', ({ method, url }) => {
      for (const one of [method].flat()) routes.push({ method: one, url })
    })
  }
  subscribe('fastify.initialization', listen)
  try {
    api = await startApi({
      API_KEYS: `${KEYS[0]},ops=${KEYS[1]}`,
      READ_KEYS: 'wall=look-key',
      METRICS_KEYS: 'prometheus=measure-key',
      TRUSTED_PROXIES: 'loopback',
    })
  } finally {
    unsubscribe('fastify.initialization', listen)
  }
})
afterAll(() => api.close())

/** The only routes that answer without an API key. Providers call the webhooks, which have tokens and signatures. */
const PUBLIC = ['/health/live', '/health/ready', '/webhooks/:account', '/webhooks/:account/:token']

/** A URL of this route. */
function urlOf({ url }: Route): string {
  return url.replace(':account', 'seven').replace(/:\w+/g, 'x').replace('*', 'x')
}

const nameOf = ({ method, url }: Route) => `${method} ${url}`

/** Asks every route, with a key or without; of an answer that goes on no more than its beginning is read. */
function askAll(key?: string): Promise<(Route & { status: number; text: string })[]> {
  const headers = key === undefined ? {} : { authorization: `Bearer ${key}` }
  return Promise.all(
    routes.map(async (route) => {
      const response = await fetch(api.url + urlOf(route), { method: route.method, headers })
      const isProblem = response.headers.get('content-type')?.startsWith('application/problem+json')
      if (!isProblem) await response.body?.cancel()
      return { ...route, status: response.status, text: isProblem ? await response.text() : '' }
    }),
  )
}

function withKey(authorization: string): RequestInit {
  return { headers: { authorization } }
}

const basic = (user: string, password: string) => `Basic ${Buffer.from(`${user}:${password}`).toString('base64')}`

const unauthorized = (found: string) => ({
  status: 401,
  title: 'Unauthorized',
  detail: `Expected an API key (Authorization: Bearer …), found ${found}.`,
  code: 'UNAUTHORIZED',
})

describe('every route', () => {
  it('is known to this test', () => {
    const urls = new Set(routes.map(({ url }) => url))
    const ours = ['/v1/messages', '/v1/messages/:account/:messageId', '/v1/messages/:account/:messageId/poll']
    for (const url of [...PUBLIC, ...ours, '/metrics', '/openapi.json', '/docs', '/queues']) expect(urls).toContain(url)
    expect(routes.filter(({ url }) => url.startsWith('/queues/')).length).toBeGreaterThan(5)
  })

  it('answers 401 without an API key, unless it is public', async () => {
    const answers = await askAll()
    const open = answers.filter(({ status }) => status !== 401)
    expect([...new Set(open.map(({ url }) => url))].sort()).toEqual(PUBLIC)
  })

  it('answers 401 with a wrong key, before it reads a body', async () => {
    for (const [index, route] of routes.filter(({ url }) => !PUBLIC.includes(url)).entries()) {
      // An address that brings many is answered 429.
      const headers = { authorization: 'Bearer wrong', 'x-forwarded-for': `203.0.113.${index}` }
      const body = route.method === 'GET' || route.method === 'HEAD' ? null : 'not JSON'
      const init = { method: route.method, body, headers }
      expect((await api.get(urlOf(route), init)).status).toBe(401)
    }
  })

  it('changes nothing for a key that may only look', async () => {
    const answers = await askAll('look-key')
    const isReading = ({ method }: Route) => ['GET', 'HEAD', 'OPTIONS'].includes(method)
    const refused = answers.filter(({ url, status }) => !PUBLIC.includes(url) && status === 403)
    expect(refused.map(nameOf)).toEqual(
      routes.filter((route) => !PUBLIC.includes(route.url) && !isReading(route)).map(nameOf),
    )
    expect(refused.filter(({ url }) => url.startsWith('/queues/')).length).toBeGreaterThan(15)
    for (const { text } of refused) expect(JSON.parse(text)).toMatchObject({ code: 'FORBIDDEN' })
    expect(answers.filter(({ status }) => status === 401)).toEqual([])
  })

  it('but /metrics is closed to a key that may only measure', async () => {
    const answers = await askAll('measure-key')
    const open = answers.filter(({ status }) => status !== 403)
    expect([...new Set(open.map(({ url }) => url))].sort()).toEqual([...PUBLIC, '/metrics'].sort())
  })

  it.each(['/v1/messages/', '//v1/messages', '/V1/messages', '/v1/../v1/messages', '/v1/%6dessages', '/queues/'])(
    'cannot be reached without a key by writing it as %s',
    async (path) => {
      expect([401, 404]).toContain((await api.get(path)).status)
    },
  )
})

describe('an API key', () => {
  it.each([
    ['bearer', `Bearer ${KEYS[0]}`],
    ['bearer, the second key', `Bearer ${KEYS[1]}`],
    ['bearer in lower case', `bearer ${KEYS[0]}`],
    ['basic, any user name', basic('somebody', 'first-key')],
    ['basic, no user name', basic('', 'second-key')],
  ])('lets in: %s', async (_name, authorization) => {
    expect(await api.get('/v1/messages', withKey(authorization))).toMatchObject({
      status: 200,
      body: { messages: [], nextCursor: null },
    })
    const board = await api.get('/queues', withKey(authorization))
    expect([board.status, board.type]).toEqual([200, 'text/html'])
    expect((await api.get('/metrics', withKey(authorization))).body).toContain('lastword_messages_tracked_total')
  })

  it('that may only look or measure is let in there, and told why not elsewhere', async () => {
    for (const authorization of ['Bearer look-key', basic('me', 'look-key')]) {
      for (const path of ['/v1/messages', '/queues', '/queues/api/queues', '/metrics']) {
        expect((await api.get(path, withKey(authorization))).status, path).toBe(200)
      }
      const order = { account: 'seven', messages: [{ messageId: '2' }] }
      expectProblem(await api.post('/v1/messages', order, withKey(authorization)), {
        status: 403,
        title: 'Forbidden',
        detail: 'Expected a key of API_KEYS, found one of READ_KEYS, which may look and change nothing.',
        code: 'FORBIDDEN',
      })
    }
    const measuring = withKey('Bearer measure-key')
    expect((await api.get('/metrics', measuring)).status).toBe(200)
    expect(await api.get('/v1/messages', measuring)).toMatchObject({
      status: 403,
      body: { detail: expect.stringMatching(/^Expected a key of API_KEYS or READ_KEYS, found one of METRICS_KEYS/) },
    })
  })

  it.each([
    ['a wrong key', 'Bearer third-key', 'one that is not configured'],
    ['a key and more', `Bearer ${KEYS[0]}x`, 'one that is not configured'],
    ['half a key', `Bearer ${KEYS[0]?.slice(0, -1)}`, 'one that is not configured'],
    ['both keys', `Bearer ${KEYS.join()}`, 'one that is not configured'],
    ['an empty key', 'Bearer ', 'one that is not configured'],
    ['a wrong password', basic('somebody', 'wrong'), 'one that is not configured'],
    ['the key as user name', basic('first-key', ''), 'one that is not configured'],
    ['another scheme', 'Digest first-key', 'none'],
    ['no scheme', 'first-key', 'none'],
  ])('keeps out: %s', async (_name, authorization, found) => {
    const answer = await api.get('/v1/messages', withKey(authorization))
    expectProblem(answer, unauthorized(found))
    expect(JSON.stringify(answer.body)).not.toMatch(/(first|second|third)-key/)
  })

  it('keeps out who presents none, and says how to present one', async () => {
    const answer = await api.get('/v1/messages')
    expectProblem(answer, unauthorized('none'))
    expect(answer.headers.get('www-authenticate')).toMatch(/^Basic realm="Lastword", charset="UTF-8", Bearer/)
  })

  it('keeps out before anything is done', async () => {
    const order = { account: 'seven', messages: [{ messageId: '1' }] }
    expect((await api.post('/v1/messages', order)).status).toBe(401)
    expect(await api.db.select().from(messages)).toEqual([])
    const allowed = await api.post('/v1/messages', order, withKey(`Bearer ${KEYS[0]}`))
    expect([allowed.status, allowed.body]).toEqual([202, { tracked: 1, alreadyTracked: 0 }])
  })
})

describe('without API keys', () => {
  it('everybody on this machine is let in', async () => {
    const keyless = await startApi()
    try {
      expect((await keyless.get('/v1/messages')).status).toBe(200)
      expect((await keyless.get('/v1/messages', withKey('Bearer anything'))).status).toBe(200)
    } finally {
      await keyless.close()
    }
  })

  it('but with others, nobody changes anything', async () => {
    const watched = await startApi({ READ_KEYS: 'look-key' })
    try {
      const look = withKey('Bearer look-key')
      expect((await watched.get('/v1/messages')).status).toBe(401)
      expect((await watched.get('/v1/messages', look)).status).toBe(200)
      expect((await watched.post('/v1/messages/poll', {}, look)).status).toBe(403)
    } finally {
      await watched.close()
    }
  })

  it('the API refuses to listen to others', async () => {
    await expect(startApi({ HOST: '0.0.0.0' })).rejects.toThrow(/^API_KEYS: found nothing, expected at least one key/)
  })
})

describe('health', () => {
  it('is told to everybody', async () => {
    expect(await api.get('/health/live')).toMatchObject({ status: 200, body: { status: 'ok' } })
    const ready = await api.get('/health/ready')
    expect([ready.status, ready.body]).toEqual([
      200,
      {
        status: 'degraded',
        database: 'ok',
        migrations: 'ok',
        queue: 'ok',
        worker: 'no worker has run yet',
        detail: expect.stringMatching(/^Receipts and tracking go on/),
      },
    ])
  })
})

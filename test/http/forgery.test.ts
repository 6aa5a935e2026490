/**
 * Forgery, tried with a real browser: a page of another site sends forms and requests to every route that acts, Bull Board's
 * included, while the browser remembers the key. Each is refused, and nothing happens.
 */
import { subscribe, unsubscribe } from 'node:diagnostics_channel'
import { once } from 'node:events'
import { createServer, type Server } from 'node:http'
import type { AddressInfo } from 'node:net'
import type { FastifyInstance } from 'fastify'
import type { Browser, BrowserContext, Page } from 'playwright-core'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { READING } from '../../src/http/auth.ts'
import { type Api, startApi } from '../support/api.ts'
import { launchBrowser } from '../support/browser.ts'

const KEY = 'a-key-of-sixteen-or-more'

interface Asked {
  method: string
  url: string
  hasKey: boolean
  isForeign: boolean
  status: number
}

interface Watched {
  api: Api
  routes: { method: string; path: string }[]
  asked: Asked[]
}

let browser: Browser
let evil: Server
let evilUrl: string
const services: Watched[] = []
beforeAll(async () => {
  evil = createServer((_request, response) => response.setHeader('content-type', 'text/html').end('<p>Evil</p>'))
  await once(evil.listen(0, '127.0.0.1'), 'listening')
  evilUrl = `http://evil.example:${(evil.address() as AddressInfo).port}`
  services.push(await startWatched({}), await startWatched({ API_KEYS: KEY }))
  browser = await launchBrowser(['--host-resolver-rules=MAP *.example 127.0.0.1'])
}, 240_000)
afterAll(async () => {
  await browser?.close()
  evil.close()
  await Promise.all(services.map(({ api }) => api.close()))
})

/** The API with one message, whose routes are known, and which remembers the requests that it answers. */
async function startWatched(environment: Record<string, string>): Promise<Watched> {
  const routes: Watched['routes'] = []
  const asked: Asked[] = []
  const listen = (message: unknown) => {
    const { fastify } = message as { fastify: FastifyInstance }
    fastify.addHook('onRoute', ({ method, url }) => {
      const path = url.replace(':account', 'seven').replace(':messageId', '1').replace(':queueName', 'dispatch')
      for (const one of [method].flat()) {
        if (!READING.has(one) && !url.startsWith('/webhooks'))
          routes.push({ method: one, path: path.replace(/:\w+/g, '1') })
      }
    })
    fastify.addHook('onResponse', async ({ method, url, headers }, { statusCode: status }) => {
      const isForeign = headers.origin !== undefined && headers.origin !== `http://${headers.host}`
      asked.push({ method, url, hasKey: headers.authorization !== undefined, isForeign, status })
    })
  }
  subscribe('fastify.initialization', listen)
  try {
    const api = await startApi(environment)
    const headers = { authorization: `Bearer ${KEY}` }
    await api.post(
      '/v1/messages',
      { account: 'seven', messages: [{ messageId: '1', recipient: '+491701' }] },
      { headers },
    )
    return { api, routes, asked }
  } finally {
    unsubscribe('fastify.initialization', listen)
  }
}

/** All that an act could change. */
async function stateOf({ api }: Watched): Promise<string> {
  const rows = await api.db.execute(
    `SELECT (SELECT json_agg(m) FROM lastword.messages m) AS messages, (SELECT json_agg(a) FROM lastword.acts a) AS acts,
      (SELECT json_agg(s) FROM (SELECT * FROM bullmq.meta ORDER BY queue, field) s) AS queues,
      (SELECT json_agg(j) FROM (SELECT queue, id, state FROM bullmq.job ORDER BY queue, id) j) AS jobs`,
  )
  return JSON.stringify(rows)
}

/** A tab in which somebody has opened the service, so that the browser remembers the key. */
async function visit({ api }: Watched): Promise<{ context: BrowserContext; page: Page }> {
  const context = await browser.newContext({ httpCredentials: { username: 'me', password: KEY, origin: api.url } })
  const page = await context.newPage()
  expect((await page.goto(`${api.url}/queues`))?.status()).toBe(200)
  return { context, page }
}

/** In the page: sends each route whatever a page of another site can send, and resolves when all have failed or been sent. */
const SEND_REQUESTS = `async ({ url, routes }) => {
  const body = () => new URLSearchParams({ change: '1', recipient: '+491701' })
  const sends = routes.flatMap(({ method, path }) => [
    () => fetch(url + path, { method, mode: 'no-cors', credentials: 'include', body: body() }),
    () => fetch(url + path, { method, mode: 'cors', credentials: 'include', body: '{}', headers: { 'content-type': 'application/json' } }),
    () => fetch(url + path, { method, mode: 'no-cors', credentials: 'include', body: '{}', headers: { 'content-type': 'text/plain' } }),
    () => method === 'POST' && navigator.sendBeacon(url + path, body()),
  ])
  const done = await Promise.allSettled(sends.map(async (send) => send()))
  return done.length
}`

/** In the page: a form, which takes the whole tab to its answer, with the browser's credentials. */
const SEND_FORM = `({ url, type }) => {
  const form = document.body.appendChild(document.createElement('form'))
  Object.assign(form, { method: 'post', action: url, enctype: type })
  form.innerHTML = '<input name="recipient" value="+491701"><input name="change" value="1">'
  form.submit()
}`

describe.each([
  ['without keys', 0],
  ['with keys that the browser remembers', 1],
])('a page of another site, %s,', (_name, index) => {
  it('does nothing by any form or request, on any route that acts', { timeout: 120_000 }, async () => {
    const service = services[index] as Watched
    const { api, routes, asked } = service
    const before = await stateOf(service)
    const { context, page } = await visit(service)
    expect(routes.filter(({ path }) => path.startsWith('/queues/')).length).toBeGreaterThan(15)
    expect(routes.filter(({ path }) => path.startsWith('/v1/')).length).toBeGreaterThan(5)

    await page.goto(evilUrl)
    await page.evaluate(`(${SEND_REQUESTS})(${JSON.stringify({ url: api.url, routes })})`)
    const posts = routes.filter(({ method }) => method === 'POST')
    for (const [turn, { path }] of posts.entries()) {
      await page.goto(evilUrl)
      const form = { url: api.url + path, type: turn % 2 === 0 ? 'application/x-www-form-urlencoded' : 'text/plain' }
      await page.evaluate(`(${SEND_FORM})(${JSON.stringify(form)})`)
      await page.waitForURL(form.url, { waitUntil: 'commit' })
    }
    await context.close()

    const acting = asked.filter(({ method, isForeign }) => !READING.has(method) && isForeign)
    expect(acting.filter(({ status }) => status !== 403 && status !== 401)).toEqual([])
    // Each route was reached, and by the forms with the key: it was not for want of a key that they were refused.
    const withKey = acting.filter(({ hasKey, status }) => hasKey === (index === 1) && status === 403)
    expect([...new Set(withKey.map(({ url }) => url))].sort()).toEqual(
      [...new Set(posts.map(({ path }) => path))].sort(),
    )
    expect(await stateOf(service)).toBe(before)
  })

  it('cannot read an answer, nor act by a name of its own that leads here', async () => {
    const { api } = services[index] as Watched
    const { context, page } = await visit(services[index] as Watched)
    await page.goto(evilUrl)
    const read = `fetch('${api.url}/v1/messages', { credentials: 'include' }).then((r) => r.text(), () => 'blocked')`
    expect(await page.evaluate(read)).toBe('blocked')
    const rebound = page.goto(`http://evil.example:${new URL(api.url).port}/v1/messages`)
    const seen = await rebound.then((answer) => String(answer?.status()), String)
    expect(seen).toMatch(index === 0 ? /^421$/ : /ERR_INVALID_AUTH_CREDENTIALS/)
    await context.close()
  })

  it('would do something if it were these pages', async () => {
    const service = services[index] as Watched
    const { context, page } = await visit(service)
    const before = await stateOf(service)
    const pause = `fetch('/queues/api/queues/dispatch/pause', { method: 'PUT' }).then((r) => r.status)`
    expect(await page.evaluate(pause)).toBe(200)
    expect(await stateOf(service)).not.toBe(before)
    await context.close()
  })
})

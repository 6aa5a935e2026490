import { once } from 'node:events'
import { createServer, type RequestListener, type Server } from 'node:http'
import type { AddressInfo } from 'node:net'
import { inspect } from 'node:util'
import { brotliCompressSync, deflateRawSync, gzipSync } from 'node:zlib'
import { afterEach, describe, expect, it } from 'vitest'
import { ProviderError } from '../../src/core/errors.ts'
import { createProviderHttp, type ProviderHttp } from '../../src/providers/http.ts'

const SECRET = 'sEcReT-kEy-7f3a'
const ID = '77232007287'
const NEVER = new AbortController().signal
const MEBIBYTE = 1024 * 1024

const closers: (() => Promise<unknown>)[] = []

afterEach(async () => {
  for (const close of closers.splice(0).reverse()) await close()
})

async function listen(listener: RequestListener): Promise<string> {
  const server = createServer(listener).listen(0, '127.0.0.1')
  closers.push(() => closeServer(server))
  await once(server, 'listening')
  return urlOf(server)
}

function urlOf(server: Server): string {
  return `http://127.0.0.1:${(server.address() as AddressInfo).port}`
}

async function closeServer(server: Server): Promise<void> {
  server.closeAllConnections()
  await new Promise((resolve) => server.close(resolve))
}

function connect(baseUrl: string, timeoutMs = 10_000): ProviderHttp {
  const http = createProviderHttp({ baseUrl, timeoutMs, connections: 2 })
  closers.push(() => http.close())
  return http
}

const ask = (http: ProviderHttp, signal = NEVER) => http.get(`/status?msg_id=${ID}`, { 'X-Api-Key': SECRET }, signal)

/** The error a question ends in, after looking for the secret in every form the error may be printed in. */
async function errorOf(question: Promise<unknown>): Promise<unknown> {
  const error = await question.then(
    () => expect.fail('Expected an error, got an answer'),
    (reason: unknown) => reason,
  )
  const printed = [inspect(error, { depth: null, showHidden: true }), JSON.stringify(error), String(error)]
  for (let cause = error; cause instanceof Error; cause = cause.cause) {
    printed.push(cause.message, cause.stack ?? '', JSON.stringify(cause), inspect(cause, { depth: null }))
  }
  for (const text of printed) expect(text).not.toContain(SECRET)
  for (const text of printed) expect(text).not.toContain(ID)
  return error
}

describe('an answer that is a success', () => {
  it('is handed over whole, asked for below the path of the base URL', async () => {
    const seen: unknown[] = []
    const url = await listen((request, response) => {
      seen.push({ method: request.method, url: request.url, key: request.headers['x-api-key'] })
      response.setHeader('X-Extra', 'yes').end('[{"id":"1","status":"ä"}]')
    })
    for (const base of [url, `${url}/`, `${url}/api`, `${url}/api/v1/`]) {
      const answer = await ask(connect(base))
      expect(answer).toMatchObject({ status: 200, headers: { 'x-extra': 'yes' }, text: '[{"id":"1","status":"ä"}]' })
    }
    const path = `/status?msg_id=${ID}`
    expect(seen).toEqual(
      [path, path, `/api${path}`, `/api/v1${path}`].map((seenUrl) => ({ method: 'GET', url: seenUrl, key: SECRET })),
    )
  })

  it('may be empty', async () => {
    const url = await listen((_, response) => response.writeHead(204).end())
    expect(await ask(connect(url))).toMatchObject({ status: 204, text: '' })
  })

  it('may be as large as a page of transactions', async () => {
    const url = await listen((_, response) => response.end('x'.repeat(5 * MEBIBYTE)))
    expect((await ask(connect(url))).text).toHaveLength(5 * MEBIBYTE)
  })
})

describe('an answer in a wrapping', () => {
  it.each([
    ['gzip', gzipSync],
    ['deflate', deflateRawSync],
    ['br', brotliCompressSync],
    ['identity', gzipSync],
  ])('is read when it is compressed and called %s', async (encoding, compress) => {
    const url = await listen((_, response) =>
      response.writeHead(200, { 'content-encoding': encoding }).end(compress('{"größe":1}')),
    )
    expect((await ask(connect(url))).text).toBe('{"größe":1}')
  })

  it('is transient when it grows beyond the cap', async () => {
    const url = await listen((_, response) =>
      response.writeHead(200, { 'content-encoding': 'gzip' }).end(gzipSync(Buffer.alloc(17 * MEBIBYTE))),
    )
    expect(await errorOf(ask(connect(url)))).toMatchObject({
      kind: 'transient',
      message: expect.stringContaining('larger than'),
    })
  })

  it('is followed to another path of the same address, with its credentials', async () => {
    const url = await listen((request, response) => {
      if (request.url?.startsWith('/moved')) response.end(`${request.url} ${request.headers['x-api-key']}`)
      else response.writeHead(308, { location: '/moved?id=1' }).end()
    })
    expect((await ask(connect(url))).text).toBe(`/moved?id=1 ${SECRET}`)
  })

  it('is never followed to another address, which gets no request', async () => {
    let reached = 0
    const other = await listen((_, response) => {
      reached++
      response.end()
    })
    const url = await listen((_, response) => response.writeHead(301, { location: `${other}/new?key=x` }).end())
    const error = await errorOf(ask(connect(url)))
    const message = `the provider has moved to ${new URL(other).origin}/new; set baseUrl accordingly`
    expect(error).toMatchObject({ kind: 'account', message })
    expect(reached).toBe(0)
  })

  it('is followed when another place is to be seen', async () => {
    const url = await listen((request, response) => {
      if (request.url === '/seen') response.end('seen')
      else response.writeHead(303, { location: '/seen' }).end()
    })
    expect((await ask(connect(url))).text).toBe('seen')
  })

  it('is followed to the same host by TLS, which this one does not speak', async () => {
    const url = await listen((request, response) =>
      response.writeHead(301, { location: `https://${request.headers.host}/` }).end(),
    )
    expect(await errorOf(ask(connect(url)))).toMatchObject({ kind: 'unreachable' })
  })

  it('that redirects to itself ends', async () => {
    const url = await listen((request, response) => response.writeHead(302, { location: request.url ?? '/' }).end())
    expect(await errorOf(ask(connect(url)))).toMatchObject({ kind: 'account' })
  })
})

describe('an answer that is no success', () => {
  it.each<[number, ProviderError['kind'], string]>([
    [302, 'transient', 'the provider answered HTTP 302'],
    [400, 'request', 'the provider answered HTTP 400'],
    [401, 'account', 'the provider answered HTTP 401: the credentials are refused'],
    [403, 'throttled', 'the provider answered HTTP 403'],
    [404, 'gone', 'the provider answered HTTP 404: the look-up does not exist there'],
    [408, 'transient', 'the provider answered HTTP 408'],
    [410, 'gone', 'the provider answered HTTP 410: the look-up does not exist there'],
    [414, 'request', 'the provider answered HTTP 414'],
    [422, 'request', 'the provider answered HTTP 422'],
    [429, 'throttled', 'the provider answered HTTP 429'],
    [500, 'transient', 'the provider answered HTTP 500'],
    [502, 'transient', 'the provider answered HTTP 502'],
    [503, 'transient', 'the provider answered HTTP 503'],
    [504, 'transient', 'the provider answered HTTP 504'],
  ])('HTTP %d is %s', async (status, kind, message) => {
    const url = await listen((request, response) => {
      response.writeHead(status).end(`You asked ${request.url} with ${request.headers['x-api-key']}`)
    })
    const error = await errorOf(ask(connect(url)))
    expect(error).toBeInstanceOf(ProviderError)
    expect(error).toMatchObject({ kind, message, retryAfterMs: undefined })
  })

  it('says how long to wait, in seconds', async () => {
    const url = await listen((_, response) => response.writeHead(429, { 'Retry-After': '7' }).end())
    expect(await errorOf(ask(connect(url)))).toMatchObject({ kind: 'throttled', retryAfterMs: 7000 })
  })

  it.each([502, 503, 504])('asks for patience when HTTP %d says how long', async (status) => {
    const url = await listen((_, response) => response.writeHead(status, { 'retry-after': '3600' }).end())
    expect(await errorOf(ask(connect(url)))).toMatchObject({ kind: 'throttled', retryAfterMs: 3_600_000 })
  })

  it('says how long to wait, as an HTTP date', async () => {
    const inAMinute = new Date(Date.now() + 60_000).toUTCString()
    const url = await listen((_, response) => response.writeHead(429, { 'Retry-After': inAMinute }).end())
    const error = await errorOf(ask(connect(url)))
    expect(error).toMatchObject({ kind: 'throttled' })
    const { retryAfterMs } = error as ProviderError
    expect(retryAfterMs).toBeGreaterThan(40_000)
    expect(retryAfterMs).toBeLessThanOrEqual(60_000)
  })

  it.each<[string, number, ProviderError['kind'], RequestListener]>([
    [
      'is cut off',
      429,
      'throttled',
      (_, response) => {
        response.writeHead(429, { 'Retry-After': '7', 'Content-Length': 100 })
        response.write('{', () => response.destroy())
      },
    ],
    ['is beyond the size cap', 401, 'account', (_, response) => response.writeHead(401).end('x'.repeat(MEBIBYTE))],
    ['never ends', 404, 'gone', (_, response) => response.writeHead(404).write('{')],
  ])('keeps its meaning when its body %s', async (_, status, kind, listener) => {
    const error = await errorOf(ask(connect(await listen(listener), 500)))
    expect(error).toMatchObject({ kind, message: expect.stringContaining(`HTTP ${status}`) })
  })

  it('hands its status, headers and body to the module, however compressed, and to no log', async () => {
    const url = await listen((_, response) => {
      response.writeHead(422, { 'X-RateLimit-Reset': '5', 'content-encoding': 'gzip' })
      response.end(gzipSync('{"parameter":"ids"}'))
    })
    const error = (await errorOf(ask(connect(url)))) as ProviderError
    expect(error.response).toMatchObject({
      status: 422,
      headers: { 'x-ratelimit-reset': '5' },
      text: '{"parameter":"ids"}',
    })
    expect(inspect(error, { depth: null, showHidden: true }) + JSON.stringify(error)).not.toContain('parameter')
  })

  it('leaves the connection fit for the next question', async () => {
    let asked = 0
    const url = await listen((_, response) => {
      asked += 1
      response.writeHead(asked === 1 ? 500 : 200).end('body')
    })
    const http = connect(url)
    await errorOf(ask(http))
    expect(await ask(http)).toMatchObject({ status: 200, text: 'body' })
  })
})

describe('no answer', () => {
  it('is unreachable when the time is out before the head', async () => {
    const url = await listen(() => {})
    const error = await errorOf(ask(connect(url, 50)))
    expect(error).toBeInstanceOf(ProviderError)
    expect(error).toMatchObject({ kind: 'unreachable', message: 'the provider did not answer: no answer within 50 ms' })
  })

  it('is transient when the time is out before the end of the body', async () => {
    const url = await listen((_, response) => response.writeHead(200).write('['))
    const error = await errorOf(ask(connect(url, 500)))
    expect(error).toBeInstanceOf(ProviderError)
    expect(error).toMatchObject({ kind: 'transient', message: 'the provider did not answer: no answer within 500 ms' })
  })

  it('is transient when the body is cut off', async () => {
    const url = await listen((_, response) => {
      response.writeHead(200, { 'Content-Length': 100 })
      response.write('[{"id":', () => response.destroy())
    })
    const error = await errorOf(ask(connect(url)))
    expect(error).toBeInstanceOf(ProviderError)
    expect(error).toMatchObject({ kind: 'transient', message: 'the provider did not answer: UND_ERR_SOCKET' })
  })

  it('is unreachable when the connection ends before the head', async () => {
    const url = await listen((request) => request.socket.destroy())
    const error = await errorOf(ask(connect(url)))
    expect(error).toBeInstanceOf(ProviderError)
    expect(error).toMatchObject({ kind: 'unreachable', message: 'the provider did not answer: UND_ERR_SOCKET' })
  })

  it('is unreachable when the answer is not HTTP', async () => {
    const url = await listen((request) => request.socket.end(`SMTP ${request.headers['x-api-key']}\r\n\r\n`))
    const error = await errorOf(ask(connect(url)))
    expect(error).toBeInstanceOf(ProviderError)
    expect(error).toMatchObject({
      kind: 'unreachable',
      message: 'the provider did not answer: HTTPParserError',
    })
  })

  it('is transient when the body is beyond the size cap', async () => {
    const url = await listen((_, response) => response.end('x'.repeat(17 * MEBIBYTE)))
    const error = await errorOf(ask(connect(url)))
    expect(error).toBeInstanceOf(ProviderError)
    expect(error).toMatchObject({
      kind: 'transient',
      message: `the provider's answer is larger than ${16 * MEBIBYTE} bytes`,
    })
  })

  it('is unreachable when the connection is refused', async () => {
    const server = createServer().listen(0, '127.0.0.1')
    await once(server, 'listening')
    const url = urlOf(server)
    await closeServer(server)
    const error = await errorOf(ask(connect(url)))
    expect(error).toBeInstanceOf(ProviderError)
    expect(error).toMatchObject({ kind: 'unreachable', message: 'the provider did not answer: ECONNREFUSED' })
  })

  it('is the reason of the caller who gave up, not an error of the provider', async () => {
    const giveUp = new AbortController()
    const url = await listen(() => giveUp.abort(new Error('shutting down')))
    const error = await errorOf(ask(connect(url), giveUp.signal))
    expect(error).toEqual(new Error('shutting down'))
  })
})

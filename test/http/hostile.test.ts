/**
 * Requests made to hurt, against one process: smuggled ones, deep ones, slow ones, too many connections, and texts that mean
 * something to databases, logs and JavaScript, in every field that the OpenAPI document names.
 *
 * Bodies of webhooks made to hurt (bombs, entities, deep ones, names of every object) are those of test/fuzz/mutate.ts.
 */
import { subscribe, unsubscribe } from 'node:diagnostics_channel'
import { once } from 'node:events'
import { connect, type Socket } from 'node:net'
import { text as textOf } from 'node:stream/consumers'
import { setTimeout as sleep } from 'node:timers/promises'
import type { FastifyInstance } from 'fastify'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { startApi } from '../support/api.ts'
import {
  closeAll,
  createInstallation,
  type Installation,
  type ServiceProcess,
  spawnService,
  until,
} from '../support/service.ts'

/** The bound of http/server.ts. */
const MOST_CONNECTIONS = 10_000

let installation: Installation
let api: ServiceProcess
let url: string
let port: number
beforeAll(async () => {
  installation = await createInstallation('postgres')
  const accounts = [
    { name: 'seven', provider: 'seven', apiKey: 'x', query: 'off' },
    { name: 'cm', provider: 'cm', productToken: 'x', query: 'off' },
  ]
  api = spawnService(['api'], installation.environment(accounts, { LOG_LEVEL: 'trace' }))
  url = await api.ready()
  port = Number(new URL(url).port)
}, 60_000)
afterAll(closeAll)

function open(at = port, onClose = () => {}): Promise<Socket> {
  return new Promise((resolve, reject) => {
    const socket = connect(at, '127.0.0.1', () => resolve(socket))
    socket.on('error', reject).on('close', onClose)
  })
}

/** Sends these bytes on a connection of their own; resolves with the statuses of all answers when the server closes it. */
async function sendRaw(text: string): Promise<{ statuses: number[]; isClosed: boolean }> {
  const socket = await open()
  let answer = ''
  socket.on('data', (chunk) => {
    answer += chunk
  })
  socket.on('error', () => {})
  socket.write(text)
  const isClosed = await Promise.race([once(socket, 'close').then(() => true), sleep(1_000).then(() => false)])
  socket.destroy()
  const statuses = [...answer.matchAll(/^HTTP\/1\.1 (\d+)/gm)].map(([, status]) => Number(status))
  return { statuses, isClosed }
}

describe('a request within another', () => {
  const order = '{"account":"seven","messages":[{"messageId":"4711"}]}'
  const head = 'Host: localhost\r\nContent-Type: application/json\r\n'
  const inner = `POST /v1/messages HTTP/1.1\r\n${head}Content-Length: ${order.length}\r\n\r\n${order}`
  const around = (fields: string, body = '') =>
    `POST /webhooks/seven HTTP/1.1\r\n${head}${fields}\r\n\r\n${body}${inner}`
  it.each([
    ['a length and chunks', around('Content-Length: 5\r\nTransfer-Encoding: chunked', '0\r\n\r\n')],
    ['chunks and a length', around('Transfer-Encoding: chunked\r\nContent-Length: 4', '0\r\n\r\n')],
    ['two lengths', around(`Content-Length: 0\r\nContent-Length: ${inner.length}`)],
    ['a length twice', around('Content-Length: 0\r\nContent-Length: 0')],
    ['a list of lengths', around('Content-Length: 0, 0')],
    ['a length with a sign', around('Content-Length: +0')],
    ['chunks called otherwise', around('Transfer-Encoding: xchunked', '0\r\n\r\n')],
    ['chunks and something after', around('Transfer-Encoding: chunked, identity', '0\r\n\r\n')],
    ['a folded line', around('Transfer-Encoding:\r\n chunked', '0\r\n\r\n')],
    ['a blank before the colon', around('Content-Length : 0')],
    ['line feeds alone', around('Content-Length: 0').replaceAll('\r\n', '\n')],
    ['a chunk with a line feed in its extension', around('Transfer-Encoding: chunked', '0;a\n\r\n\r\n')],
    ['a chunk below nothing', around('Transfer-Encoding: chunked', '-0\r\n\r\n')],
    ['a NUL in a header', around('X-A: a\0b\r\nContent-Length: 0')],
    ['a bare carriage return in a header', around('X-A: a\rContent-Length: 0')],
  ])('is not found behind %s', async (_name, text) => {
    expect(await sendRaw(text)).toEqual({ statuses: [400], isClosed: true })
  })

  it('is not found in the body of a GET', async () => {
    const text = `GET /v1/messages HTTP/1.1\r\nHost: localhost\r\nContent-Length: ${inner.length}\r\n\r\n${inner}`
    expect(await sendRaw(text)).toMatchObject({ statuses: [200] })
  })

  it.each([
    ['without a host', 'GET /v1/messages HTTP/1.1\r\n\r\n', 400],
    ['whose headers are too large', `GET / HTTP/1.1\r\nHost: localhost\r\nX-A: ${'a'.repeat(20_000)}\r\n\r\n`, 431],
  ])('%s is refused', async (_name, text, status) => {
    expect(await sendRaw(text)).toEqual({ statuses: [status], isClosed: true })
  })

  it.each([
    ['cannot be read', 'GET / HTTP/1.1\r\nHost localhost\r\n\r\n', 400],
    ['has too many headers', `GET / HTTP/1.1\r\nHost: localhost\r\nX-A: ${'a'.repeat(20_000)}\r\n\r\n`, 431],
  ])('that %s is answered by a problem document', async (_name, text, status) => {
    const socket = await open()
    socket.write(text)
    const [head = '', body = ''] = (await textOf(socket)).split('\r\n\r\n')
    expect(head.toLowerCase()).toContain('content-type: application/problem+json')
    expect(JSON.parse(body)).toMatchObject({ status, code: 'INPUT_INVALID', type: 'about:blank' })
  })

  it('was tracked by none of these', async () => {
    expect(await installation.sql`SELECT FROM lastword.messages WHERE message_id = '4711'`).toHaveLength(0)
  })
})

async function post(path: string, body: string, headers: Record<string, string> = {}) {
  const response = await fetch(url + path, {
    method: 'POST',
    body,
    headers: { 'content-type': 'application/json', ...headers },
  })
  return { status: response.status, text: await response.text() }
}

describe('an order', () => {
  const lists = (depth: number) => '['.repeat(depth) + ']'.repeat(depth)
  const withMetadata = (metadata: string) =>
    `{"account":"seven","messages":[{"messageId":"1","metadata":{"a":${metadata}}}]}`
  it.each([
    ['deep metadata', withMetadata(lists(100)), 'nested too deeply; expected at most 100 levels'],
    ['very deep metadata', withMetadata(lists(100_000)), 'nested too deeply'],
    ['deep metadata, in part', withMetadata(lists(100)).replace('{', '{"partial":true,'), 'nested too deeply'],
    ['nothing but depth', lists(400_000), 'nested too deeply'],
    ['depth without end', '['.repeat(400_000), 'not JSON'],
    ['a prototype', withMetadata('{"__proto__":{"x":1}}'), 'not JSON'],
    ['a prototype by its constructor', withMetadata('{"constructor":{"prototype":{"x":1}}}'), 'not JSON'],
  ])('of %s is refused, and says why', async (_name, body, why) => {
    const { status, text } = await post('/v1/messages', body)
    expect([status, JSON.parse(text).detail]).toEqual([400, expect.stringContaining(why)])
  })

  it('of metadata as deep as may be is tracked', async () => {
    expect(await post('/v1/messages', withMetadata(lists(90)))).toMatchObject({ status: 202 })
  })
})

const TEXTS: Record<string, string> = {
  NUL: 'a\0b',
  'half a character': 'a\ud800',
  'the other half, first': '\udc00a',
  lines: 'a\r\n{"level":30,"msg":"forged"}\r\n',
  'an escape of terminals': '\u001b[2J\u001b]0;forged\u0007\u009b31m',
  SQL: "'; DROP TABLE lastword.messages; --",
  'SQL for a filter': "%' OR 1=1) --\\",
  'a name of every object': '__proto__',
  'another direction': '\u202eforged\u2066',
}

interface Schema {
  $ref?: string
  type?: string
  properties?: Record<string, Schema>
  items?: Schema
  additionalProperties?: Schema | boolean
  anyOf?: Schema[]
}
interface Operation {
  parameters?: { name: string; in: 'path' | 'query' | 'header' }[]
  requestBody?: { content: { 'application/json'?: { schema: Schema } } }
}
interface Document {
  paths: Record<string, Record<string, Operation>>
  components: { schemas: Record<string, Schema> }
}

/** As it can stand in a URL. */
function wellFormed(text: string): string {
  return Buffer.from(text).toString()
}

/** URLs of an operation with the text in each of its parameters in turn, the others as they should be. */
function urlsWith(text: string, path: string, { parameters = [] }: Operation): string[] {
  // Half a character cannot stand in a URL but as the bytes that would be its UTF-8.
  const escaped = encodeURIComponent(wellFormed(text)).replaceAll('%EF%BF%BD', '%ED%A0%80')
  return parameters.flatMap(({ name, in: place }) => {
    const filled = path.replace('{account}', 'seven').replace(/\{\w+\}/g, '1')
    if (place === 'path')
      return [
        path
          .replace(`{${name}}`, escaped)
          .replace('{account}', 'seven')
          .replace(/\{\w+\}/g, '1'),
      ]
    return place === 'query' ? [`${filled}?${name}=${escaped}`, `${filled}?metadata.${escaped}=${escaped}`] : []
  })
}

/** Bodies by a schema, with the text in each of its texts in turn, and as a name in objects of any names. */
function bodiesWith(text: string, given: Schema, { components }: Document, depth = 0): unknown[] {
  const schema = given.$ref ? (components.schemas[given.$ref.split('/').pop() ?? ''] ?? {}) : given
  const inner = (one: Schema) => (depth > 6 ? [] : bodiesWith(text, one, { paths: {}, components }, depth + 1))
  if (schema.anyOf) return schema.anyOf.flatMap(inner)
  if (schema.items) return inner(schema.items).map((item) => [item])
  if (schema.properties) {
    const whole: Record<string, unknown> = {
      account: 'seven',
      messages: [{ messageId: '1', recipient: '+491701234567' }],
    }
    const kept = Object.fromEntries(Object.entries(whole).filter(([name]) => name in (schema.properties ?? {})))
    const message = 'messageId' in schema.properties ? { messageId: '1' } : {}
    return Object.entries(schema.properties).flatMap(([name, one]) =>
      inner(one).map((value) => ({ ...kept, ...message, [name]: value })),
    )
  }
  if (schema.additionalProperties)
    return [{ a: text }, JSON.parse(`{${JSON.stringify(text)}:"a"}`), { a: { b: [text] } }]
  return [text]
}

describe.each(Object.entries(TEXTS))('%s', (_name, text) => {
  it('in any field of any route breaks nothing', { timeout: 60_000 }, async () => {
    const document = (await (await fetch(`${url}/openapi.json`)).json()) as Document
    const answers: string[] = []
    const send = async (method: string, path: string, body?: unknown) => {
      const init =
        body === undefined ? {} : { body: JSON.stringify(body), headers: { 'content-type': 'application/json' } }
      const response = await fetch(url + path, { method, ...init, redirect: 'manual' })
      const said = await response.text()
      answers.push(`${response.status}`)
      if (response.status >= 500) answers.push(`${method} ${path} ${JSON.stringify(body)}: ${said}`)
    }
    for (const [path, methods] of Object.entries(document.paths)) {
      for (const [method, operation] of Object.entries(methods)) {
        const urls = urlsWith(text, path, operation)
        await Promise.all(urls.map((one) => send(method.toUpperCase(), one)))
        const schema = operation.requestBody?.content['application/json']?.schema
        const to = path.replace('{account}', 'seven').replace(/\{\w+\}/g, '1')
        const bodies = schema ? bodiesWith(text, schema, document) : []
        await Promise.all(bodies.map((body) => send(method.toUpperCase(), to, body)))
      }
    }
    const escaped = encodeURIComponent(wellFormed(text))
    for (const path of [
      '/messages?q=',
      '/messages/seven/',
      '/accounts/',
      '/queues/api/queues/dispatch/',
      '/queues/api/queues?activeQueue=',
    ]) {
      await send('GET', path + escaped)
    }
    expect(answers.length).toBeGreaterThan(50)
    expect(answers.filter((answer) => !/^[234]\d\d$/.test(answer))).toEqual([])
  })

  it('in a receipt and in headers breaks nothing', async () => {
    const receipt = { webhook_event: 'dlr', data: { msg_id: '77', status: text, error_code: text, foreign_id: text } }
    const agent = text.replace(/[^\x20-\x7e]/g, '?')
    const headers = { 'user-agent': agent, 'x-forwarded-for': agent, 'x-signature': agent, traceparent: agent }
    expect((await post('/webhooks/seven', JSON.stringify(receipt), headers)).status).toBeLessThan(500)
    const cm = {
      messages: { msg: { reference: 'r', to: '0031612345678', status: { code: '3', errorDescription: text } } },
    }
    expect((await post('/webhooks/cm', JSON.stringify(cm), headers)).status).toBe(200)
  })
})

it('takes a body that breaks off for no outage of the database', async () => {
  const head = 'HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: 100\r\n\r\n{"a'
  for (const line of ['POST /webhooks/seven', 'GET /webhooks/seven', 'POST /v1/messages', 'POST /webhooks/nobody']) {
    const socket = await open()
    socket.write(`${line} ${head}`)
    await sleep(100)
    socket.destroy()
  }
  await sleep(500)
  expect(api.output()).not.toContain('database')
})

it.each([
  ['/messages/poll', '{"metadata":5}'],
  ['/messages/poll', '{"metadata":{"order":1}}'],
  ['/messages/erase', '{"recipient":"\\ud8001"}'],
  ['/callbacks/replay', '[1]'],
])('takes JSON for a form without harm: %s %s', async (path, body) => {
  expect((await post(path, body)).status).toBeLessThan(500)
})

it('leaves a log of one JSON object a line, without control characters, in which nothing is forged', async () => {
  await post(
    '/webhooks/seven',
    '{"webhook_event":"dlr","data":{"msg_id":"78","status":"A-78\\n{\\"msg\\":\\"forged\\"}"}}',
  )
  const read = () => {
    const lines = api.output().trimEnd().split('\n')
    return lines.map((line) => JSON.parse(line) as { msg: string; level: number; status?: string })
  }
  const said = await until(() => {
    const lines = read()
    expect(lines.filter(({ status }) => status?.startsWith('A-78'))).toHaveLength(1)
    return lines
  })
  expect(said.filter(({ msg }) => msg === 'forged')).toEqual([])
  expect(said.filter(({ level }) => level >= 50)).toEqual([])
  expect(api.output()).not.toMatch(/[^\P{Cc}\n]/u)
  const [table] = await installation.sql`SELECT count(*)::int AS messages FROM lastword.messages`
  expect(table?.messages).toBeGreaterThan(0)
})

describe('connections', () => {
  it('that are slow are closed: without a word, in the headers, in the body', async () => {
    const { port: at, wait, limits, close } = await startHurried()
    // The limits as configured are kept in proportion; a test of half a minute would say no more.
    expect(limits).toEqual({ headersTimeout: 15_000, requestTimeout: 30_000, connectionsCheckingInterval: 5_000 })
    try {
      const sockets = await Promise.all([open(at), open(at), open(at)])
      sockets[1]?.write('GET /health/live HTTP/1.1\r\nHost: ')
      sockets[2]?.write('POST /webhooks/seven HTTP/1.1\r\nHost: localhost\r\nContent-Length: 100\r\n\r\n{')
      const dripping = setInterval(() => {
        sockets[1]?.write('a')
        sockets[2]?.write(' ')
      }, 20)
      for (const socket of sockets) socket.on('error', () => {}).resume()
      await Promise.all(sockets.map((socket) => Promise.race([once(socket, 'close'), wait()])))
      clearInterval(dripping)
      expect(sockets.map(({ destroyed }) => destroyed)).toEqual([true, true, true])
    } finally {
      await close()
    }
  })

  it.each(['Content-Length: 3145728', 'Transfer-Encoding: chunked'])(
    'that bring a body that is too large can read why it was refused (%s)',
    async (header) => {
      const socket = connect(port, '127.0.0.1')
      let answer = ''
      let failure: Error | undefined
      socket.on('data', (bytes) => {
        answer += bytes
      })
      socket.on('error', (error) => {
        failure = error
      })
      socket.write(`POST /webhooks/seven HTTP/1.1\r\nHost: localhost\r\n${header}\r\n\r\n`)
      const piece = '7'.repeat(65_536)
      let sent = 0
      for (; sent < 48 && !socket.destroyed; sent++) {
        socket.write(header.endsWith('chunked') ? `10000\r\n${piece}\r\n` : piece)
        await sleep(2)
      }
      if (header.endsWith('chunked')) socket.write('0\r\n\r\n')
      await until(() => expect(socket.closed).toBe(true))
      expect({ sent, failure }).toEqual({ sent: 48 })
      expect(answer).toMatch(/^HTTP\/1\.1 413 /)
    },
  )

  it('that are idle, 10,000 of them, hold up nobody, and further ones are closed at once', {
    timeout: 120_000,
  }, async () => {
    const count = Math.min(MOST_CONNECTIONS + 100, mostFiles() - 300)
    const kept = await open()
    const sockets: Socket[] = []
    let closed = 0
    while (sockets.length < count) {
      sockets.push(...(await Promise.all(Array.from({ length: 100 }, () => open(port, () => closed++)))))
    }
    await until(() => expect(sockets.length - closed).toBeLessThanOrEqual(MOST_CONNECTIONS))
    kept.write('GET /health/live HTTP/1.1\r\nHost: localhost\r\n\r\n')
    const [answer] = await Promise.race([once(kept, 'data'), sleep(5_000).then(() => ['none in 5 s'])])
    expect(String(answer)).toMatch(/^HTTP\/1\.1 200 OK/)
    for (const socket of [kept, ...sockets]) socket.destroy()
    await until(async () => expect((await fetch(`${url}/health/live`)).status).toBe(200))
  })
})

/** As many file handles as this process may have. */
function mostFiles(): number {
  const report = process.report?.getReport() as { userLimits?: { open_files?: { soft: number | string } } } | undefined
  const soft = Number(report?.userLimits?.open_files?.soft)
  return Number.isFinite(soft) ? soft : Number.MAX_SAFE_INTEGER
}

/** The API with the limits of time of a connection at a thirtieth. */
async function startHurried() {
  let limits: object = {}
  const hurry = (message: unknown) => {
    const { server } = (message as { fastify: FastifyInstance }).fastify as FastifyInstance & {
      server: { connectionsCheckingInterval: number }
    }
    const { headersTimeout, requestTimeout, connectionsCheckingInterval } = server
    limits = { headersTimeout, requestTimeout, connectionsCheckingInterval }
    Object.assign(server, {
      headersTimeout: headersTimeout / 30,
      requestTimeout: requestTimeout / 30,
      connectionsCheckingInterval: connectionsCheckingInterval / 30,
    })
  }
  subscribe('fastify.initialization', hurry)
  const hurried = await startApi().finally(() => unsubscribe('fastify.initialization', hurry))
  return { ...hurried, port: Number(new URL(hurried.url).port), limits, wait: () => sleep(10_000) }
}

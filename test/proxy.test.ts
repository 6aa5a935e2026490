/** Requests through a proxy: a real one, which notes what it is asked for. */
import { once } from 'node:events'
import { createServer, request as httpRequest, type IncomingMessage, type ServerResponse } from 'node:http'
import { type AddressInfo, connect, type Socket } from 'node:net'
import { afterEach, describe, expect, it } from 'vitest'
import { createCallbackSender } from '../src/jobs/callback-sender.ts'
import { createProviderHttp } from '../src/providers/http.ts'
import { usesProxy } from '../src/proxy.ts'

const NEVER = new AbortController().signal
const closers: (() => unknown)[] = []
afterEach(async () => {
  for (const close of closers.splice(0).reverse()) await close()
})

async function listen(listener: (request: IncomingMessage, response: ServerResponse) => void) {
  const server = createServer(listener).listen(0, '127.0.0.1')
  await once(server, 'listening')
  closers.push(() => {
    server.closeAllConnections()
    server.close()
  })
  return { server, port: (server.address() as AddressInfo).port }
}

/** Takes every name for this machine, as a proxy that alone can resolve it would. */
async function openProxy() {
  const asked: string[] = []
  const { server, port } = await listen((request, response) => {
    asked.push(`${request.method} ${request.url} ${request.headers['proxy-authorization'] ?? ''}`.trim())
    const target = new URL(request.url ?? '')
    const { method, headers } = request
    request.pipe(
      httpRequest({ port: target.port, path: target.pathname + target.search, method, headers }, (answer) => {
        response.writeHead(answer.statusCode ?? 502, answer.headers)
        answer.pipe(response)
      }),
    )
  })
  server.on('connect', (request, socket: Socket) => {
    asked.push(`CONNECT ${request.url}`)
    const upstream = connect(Number(request.url?.split(':')[1]), '127.0.0.1', () => {
      socket.write('HTTP/1.1 200 OK\r\n\r\n')
      upstream.pipe(socket).pipe(upstream)
    })
    for (const side of [socket, upstream]) side.on('error', () => {})
  })
  return { asked, url: `http://user:secret@127.0.0.1:${port}` }
}

describe('a proxy', () => {
  it('carries what a provider is asked, and callbacks', async () => {
    const proxy = await openProxy()
    const { port } = await listen((request, response) => response.end(`${request.method} ${request.url}`))
    const settings = { http: proxy.url, https: undefined }
    const baseUrl = `http://gateway.example:${port}/api`
    const http = createProviderHttp({ baseUrl, timeoutMs: 5_000, connections: 2, proxy: settings })
    closers.push(() => http.close())
    expect((await http.get('/status?msg_id=1', {}, NEVER)).text).toBe('GET /api/status?msg_id=1')
    const sender = createCallbackSender({ allowPrivate: true, proxy: settings })
    closers.push(() => sender.close())
    const callback = { id: 'c-1', url: `http://app.example:${port}/sms`, secrets: [], body: '{}' }
    expect((await sender.send(callback, NEVER)).refusal).toBeUndefined()
    const credentials = `Basic ${Buffer.from('user:secret').toString('base64')}`
    expect(proxy.asked).toEqual([
      `GET http://gateway.example:${port}/api/status?msg_id=1 ${credentials}`,
      `POST http://app.example:${port}/sms ${credentials}`,
    ])
  })

  it('gets a tunnel for https', async () => {
    const proxy = await openProxy()
    const { port } = await listen((_request, response) => response.end())
    const baseUrl = `https://gateway.example:${port}`
    const http = createProviderHttp({ baseUrl, timeoutMs: 5_000, connections: 1, proxy: { https: proxy.url } })
    closers.push(() => http.close())
    // The server there speaks no TLS.
    await expect(http.get('/', {}, NEVER)).rejects.toMatchObject({ kind: 'unreachable' })
    expect(proxy.asked).toEqual([`CONNECT gateway.example:${port}`])
  })

  it('is passed by for this machine and for the hosts that NO_PROXY names', async () => {
    const proxy = await openProxy()
    const { port } = await listen((_request, response) => response.end('direct'))
    for (const [host, except] of [
      ['127.0.0.1', undefined],
      ['localhost', 'other.example'],
      ['[::1]', ''],
    ] as const) {
      const settings = { http: proxy.url, except }
      const http = createProviderHttp({
        baseUrl: `http://${host}:${port}`,
        timeoutMs: 5_000,
        connections: 1,
        proxy: settings,
      })
      closers.push(() => http.close())
      if (host === '[::1]') await http.get('/', {}, NEVER).catch(() => {})
      else expect((await http.get('/', {}, NEVER)).text).toBe('direct')
    }
    expect(proxy.asked).toEqual([])
    expect([usesProxy({ http: proxy.url, except: '*' }), usesProxy({}), usesProxy({ https: proxy.url })]).toEqual([
      false,
      false,
      true,
    ])
  })

  it('is not asked for addresses inside, as far as they can be seen from here', async () => {
    const proxy = await openProxy()
    const sender = createCallbackSender({ allowPrivate: false, proxy: { http: proxy.url } })
    closers.push(() => sender.close())
    for (const host of ['localhost', '10.0.0.1', '[::1]']) {
      const callback = { id: 'c-1', url: `https://${host}/sms`, secrets: [], body: '{}' }
      const { refusal } = await sender.send(callback, NEVER)
      expect(refusal?.reason).toMatch(/not a public one/)
    }
    expect(proxy.asked).toEqual([])
  })
})

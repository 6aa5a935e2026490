/**
 * The thread that owns METRICS_PORT (watch.ts): it says whether the event loop of the process turns, and hands every other
 * request over to the process. JavaScript, because a thread is started by Node itself, which reads no TypeScript before
 * version 22.
 */
import { createServer } from 'node:http'
import { parentPort, workerData } from 'node:worker_threads'

/** @type {import('./watch.ts').ThreadData} */
const { host, port, beats, hangsAfterMs } = workerData
const main = /** @type {import('node:worker_threads').MessagePort} */ (parentPort)
const counter = new Int32Array(beats)

let seen = 0
let seenAt = performance.now()
setInterval(() => {
  const count = Atomics.load(counter, 0)
  if (count !== seen) seenAt = performance.now()
  seen = count
}, hangsAfterMs / 20)

/** @type {Map<number, import('node:http').ServerResponse>} */
const waiting = new Map()
let requests = 0

/** @param {import('node:http').ServerResponse} response @param {number} status @param {object} body */
function answer(response, status, body) {
  response.writeHead(status, { 'content-type': 'application/json; charset=utf-8' }).end(JSON.stringify(body))
}

const server = createServer((request, response) => {
  const hungMs = performance.now() - seenAt
  if (hungMs > hangsAfterMs) {
    const detail = `The event loop has not turned for ${Math.floor(hungMs / 1000)} s.`
    return answer(response, 503, { status: 'unavailable', detail })
  }
  if (request.url === '/health/live') return answer(response, 200, { status: 'ok' })
  if (!request.url?.startsWith('/'))
    return answer(response, 400, { detail: 'Expected a path as the target of the request.' })
  const id = ++requests
  waiting.set(id, response)
  response.on('close', () => waiting.delete(id))
  const { method, url, headers } = request
  const remoteAddress = request.socket.remoteAddress
  main.postMessage({ kind: 'request', id, request: { method, url, headers, remoteAddress } })
})

main.on('message', (/** @type {import('./watch.ts').ThreadAnswer} */ { id, status, headers, body }) => {
  waiting.get(id)?.writeHead(status, headers).end(body)
})

server.once('error', (error) =>
  main.postMessage({ kind: 'failed', code: 'code' in error ? error.code : error.message }),
)
server.listen(port, host, () => {
  const address = server.address()
  main.postMessage({ kind: 'listens', port: typeof address === 'object' && address ? address.port : port })
})

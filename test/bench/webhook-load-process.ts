/**
 * The load on a webhook route, in a process of its own: `webhook-load-process.js SANDBOX_API TARGET CONNECTIONS`.
 *
 * Sends the final receipt of every message of the sandbox once, over kept-alive connections, each with its next request
 * as soon as the last was answered. Requests are bytes made beforehand and answers are read no further than needed, so
 * that the sender is never the slow part. Prints the rate and the latencies as JSON.
 */
import { connect } from 'node:net'
import { request } from 'undici'
import type { ToldTruth } from './sandbox.ts'

const [, , sandboxUrl = '', target = '', connections = '64'] = process.argv
const { hostname, port, pathname } = new URL(target)

const requests = await prepareRequests()
const latencies = new Float64Array(requests.length)
let next = 0
let refused = 0

const begun = performance.now()
await Promise.all(Array.from({ length: Number(connections) }, sendAlong))
const seconds = (performance.now() - begun) / 1000
latencies.sort()
const quantile = (share: number) => latencies[Math.floor(share * (latencies.length - 1))] ?? 0
console.log(
  JSON.stringify({ perSecond: requests.length / seconds, p50Ms: quantile(0.5), p99Ms: quantile(0.99), refused }),
)

async function prepareRequests(): Promise<Buffer[]> {
  const prepared: Buffer[] = []
  for (let after = ''; ; ) {
    const answer = await request(new URL(`/sandbox/truth?limit=10000${after && `&after=${after}`}`, sandboxUrl))
    const page = (await answer.body.json()) as { messages: ToldTruth[]; next: string | null }
    prepared.push(...page.messages.map(toRequest))
    if (page.next === null) return prepared
    after = page.next
  }
}

function toRequest({ messageId, history }: ToldTruth): Buffer {
  const last = history.at(-1)
  const timestamp = last?.at.replace('T', ' ').replace('Z', '')
  const data = { msg_id: messageId, status: last?.status, timestamp }
  const body = JSON.stringify({ data, webhook_event: 'dlr', webhook_timestamp: timestamp })
  const head = `POST ${pathname} HTTP/1.1\r\nhost: ${hostname}:${port}\r\ncontent-type: application/json\r\n`
  return Buffer.from(`${head}content-length: ${Buffer.byteLength(body)}\r\n\r\n${body}`)
}

/** One connection: request, answer, request, until none is left. */
function sendAlong(): Promise<void> {
  return new Promise((resolve, reject) => {
    const socket = connect({ host: hostname, port: Number(port), noDelay: true })
    let current = -1
    let sentAt = 0
    let answer = ''
    const send = () => {
      current = next
      next += 1
      const bytes = requests[current]
      if (!bytes) return void socket.end(resolve)
      answer = ''
      sentAt = performance.now()
      socket.write(bytes)
    }
    socket.setEncoding('latin1').on('data', (chunk) => {
      answer += chunk
      if (!isComplete(answer)) return
      latencies[current] = performance.now() - sentAt
      if (!answer.startsWith('HTTP/1.1 2')) refused += 1
      send()
    })
    socket.on('connect', send).on('error', reject)
  })
}

function isComplete(answer: string): boolean {
  const headEnd = answer.indexOf('\r\n\r\n')
  if (headEnd === -1) return false
  const length = /\r\ncontent-length: (\d+)/i.exec(answer)?.[1] ?? '0'
  return answer.length >= headEnd + 4 + Number(length)
}

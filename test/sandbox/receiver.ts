/** A receiver of webhooks: keeps every request, and answers each as it is told. */
import { createServer, type IncomingHttpHeaders } from 'node:http'
import type { AddressInfo } from 'node:net'

export interface Received {
  method: string | undefined
  /** Path and query, as in the request. */
  path: string
  headers: IncomingHttpHeaders
  type: string | undefined
  text: string
  /** The parsed text, where it is JSON. */
  body: { data: { msg_id: string; status: string; timestamp: string; foreign_id?: string }; webhook_timestamp: string }
}

export interface Receiver {
  url: string
  received: Received[]
  close(): Promise<void>
}

/** `answer` gives the status of the answer to each request, by its number from 0; `hang` leaves it unanswered. */
export async function createReceiver(answer: (index: number) => number | 'hang' = () => 200): Promise<Receiver> {
  const received: Received[] = []
  const server = createServer(async (request, response) => {
    const chunks: Buffer[] = []
    for await (const chunk of request) chunks.push(chunk)
    const text = Buffer.concat(chunks).toString('utf8')
    const status = answer(received.length)
    const { method, url: path = '', headers } = request
    const body = text.startsWith('{') ? JSON.parse(text) : undefined
    received.push({ method, path, headers, type: headers['content-type'], text, body })
    if (status !== 'hang') response.writeHead(status).end()
  })
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  return {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}/webhooks/seven`,
    received,
    close() {
      server.closeAllConnections()
      return new Promise((resolve, reject) => server.close((error) => (error ? reject(error) : resolve())))
    },
  }
}

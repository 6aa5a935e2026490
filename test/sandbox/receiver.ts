/** A receiver of webhooks: keeps every request, and answers each as it is told. */
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'

interface Received {
  method: string | undefined
  type: string | undefined
  text: string
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
    received.push({ method: request.method, type: request.headers['content-type'], text, body: JSON.parse(text) })
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

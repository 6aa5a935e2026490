/** Bull Board at /queues. Phone numbers in tracking orders are cut to their last two digits before they are shown. */
import { createBullBoard } from '@bull-board/api'
import { BullMQAdapter } from '@bull-board/api/bullMQAdapter'
import { FastifyAdapter } from '@bull-board/fastify'
import type { FastifyInstance } from 'fastify'
import type { Queues } from '../jobs/queues.ts'

const BASE_PATH = '/queues'

/** `prefix` is the path under which browsers reach the service. */
export async function registerBoard(server: FastifyInstance, queues: Queues, prefix: string): Promise<void> {
  const serverAdapter = new FastifyAdapter().setBasePath(prefix + BASE_PATH)
  const adapters = queues.all.map((queue) => {
    const adapter = new BullMQAdapter(queue, { delimiter: '.' })
    adapter.setFormatter('data', maskRecipients)
    return adapter
  })
  createBullBoard({ queues: adapters, serverAdapter, options: { uiConfig: { boardTitle: 'Lastword' } } })
  await server.register(serverAdapter.registerPlugin(), { prefix: BASE_PATH })
}

function maskRecipients(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(maskRecipients)
  if (typeof value !== 'object' || value === null) return value
  const entries = Object.entries(value).map(([key, item]) => [
    key,
    key === 'recipient' ? `…${String(item).slice(-2)}` : maskRecipients(item),
  ])
  return Object.fromEntries(entries)
}

/** Where the queues live: the URL alone decides, and everything above is the same for both. */
import { openPostgres } from './postgres-backend.ts'
import type { QueueBackend, QueueBackendOptions } from './queue-backend.ts'
import { openRedis } from './redis-backend.ts'

/** Connects. Throws UNAVAILABLE when the server does not answer or takes no writes, UNUSABLE when waiting cannot help. */
export function openQueueBackend(options: QueueBackendOptions): Promise<QueueBackend> {
  return options.url.startsWith('redis') ? openRedis(options) : openPostgres(options)
}

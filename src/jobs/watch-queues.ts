/** Watches whether the queues take writes, from within one process. */
import { LastwordError } from '../core/errors.ts'
import type { Log } from '../log.ts'
import type { QueueBackend } from './queue-backend.ts'

export interface QueueWatch {
  /** Says in a few words without an address why they take none; undefined while the queues take writes. */
  trouble(): string | undefined
  close(): void
}

const WATCH_EVERY_MS = 5_000

/** Tells when the queues take no writes any more, and when they do again. A flushed Redis is marked anew. */
export function watchQueues(backend: QueueBackend, mark: () => Promise<void>, log: Log): QueueWatch {
  let trouble: string | undefined
  const look = async () => {
    try {
      await backend.check()
      await mark()
      if (trouble !== undefined) log.info('the queue is back')
      trouble = undefined
    } catch (error) {
      if (trouble === undefined) {
        log.error({ err: error }, `the queue is away: ${error instanceof Error ? error.message : error}`)
      }
      trouble = error instanceof LastwordError ? String(error.extra?.summary ?? error.title) : 'does not answer'
    }
  }
  const watching = setInterval(look, WATCH_EVERY_MS)
  return { trouble: () => trouble, close: () => clearInterval(watching) }
}

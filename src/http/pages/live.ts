/**
 * Tells open pages that something may have changed, as server-sent events: after a change of a status at once, but not
 * oftener than every two seconds, and every ten seconds for the sake of what goes by time. A page then loads itself anew.
 */
import { setTimeout as delay } from 'node:timers/promises'
import type { FastifyInstance } from 'fastify'
import { LastwordError } from '../../core/errors.ts'

export interface LiveOptions {
  nextChange(ms: number): Promise<boolean>
}

const EVERY_MS = 10_000
const SELDOM_MS = 2_000
/** Each open page costs a connection and some queries every ten seconds. */
const MOST_PAGES = 200

export function registerLive(server: FastifyInstance, { nextChange }: LiveOptions): void {
  const closing = new AbortController()
  let open = 0
  server.addHook('preClose', async () => closing.abort())

  // A stream answers a HEAD request never.
  server.get('/live', { exposeHeadRoute: false }, async (_request, reply) => {
    if (open >= MOST_PAGES) {
      throw new LastwordError('UNAVAILABLE', `${MOST_PAGES} pages are open; this one is not kept up to date.`)
    }
    open += 1
    const gone = new AbortController()
    const ended = AbortSignal.any([gone.signal, closing.signal])
    reply.raw.on('close', () => gone.abort())
    reply.hijack()
    reply.raw.writeHead(200, { 'content-type': 'text/event-stream', 'cache-control': 'no-store' })
    try {
      while (!ended.aborted) {
        reply.raw.write('data: look\n\n')
        await delay(SELDOM_MS, undefined, { signal: ended }).catch(() => {})
        if (!ended.aborted) await Promise.race([nextChange(EVERY_MS - SELDOM_MS), aborted(ended)])
      }
    } finally {
      open -= 1
      reply.raw.end()
    }
  })
}

function aborted(signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    if (signal.aborted) resolve()
    else signal.addEventListener('abort', () => resolve(), { once: true })
  })
}

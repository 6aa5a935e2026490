/**
 * Where a process without an API can be looked at: liveness, readiness and metrics.
 *
 * A hung event loop answers nobody, so a thread owns the port (watch-thread.js). It answers `/health/live` by the beats of
 * the event loop, and hands everything else over to it. A prober's own time-out, one second in Kubernetes, would take a
 * process for dead that is busy for two; by the beats only one is that has hung for HANGS_AFTER_MS.
 */
import type { OutgoingHttpHeaders } from 'node:http'
import { Worker } from 'node:worker_threads'
import { type FastifyBaseLogger, type FastifyInstance, fastify, type InjectOptions, LogController } from 'fastify'
import type { Key } from '../config/keys.ts'
import type { Log } from '../log.ts'
import { guardByKeys } from './auth.ts'
import { createDoors } from './doors.ts'
import { sendError, sendNotFound } from './errors.ts'
import { type GaugesOptions, registerGauges } from './gauges.ts'
import { registerHealthRoutes } from './health.ts'
import { createRefuse } from './refusals.ts'

export interface WatchOptions extends GaugesOptions {
  keys: readonly Key[]
  host: string
  port: number
}

export interface Watch {
  url: string
  close(): Promise<void>
}

/** The values that the thread is started with. */
export interface ThreadData {
  host: string
  port: number
  /** One count, which grows while the event loop turns. */
  beats: SharedArrayBuffer
  hangsAfterMs: number
}

/** The answer to a request that the thread has handed over. */
export interface ThreadAnswer {
  id: number
  status: number
  headers: OutgoingHttpHeaders
  body: string
}

type ThreadMessage =
  | { kind: 'listens'; port: number }
  | { kind: 'failed'; code: string }
  | { kind: 'request'; id: number; request: InjectOptions }

const HANGS_AFTER_MS = 10_000
const BEAT_EVERY_MS = 500

/** Listens; rejects with an error that has a code where that cannot be. */
export async function openWatch(options: WatchOptions): Promise<Watch> {
  const { host, port, log } = options
  const server = await createWatchServer(options)
  const beats = new SharedArrayBuffer(4)
  const counter = new Int32Array(beats)
  const workerData: ThreadData = { host, port, beats, hangsAfterMs: HANGS_AFTER_MS }
  // The process's own arguments, such as modules loaded beforehand, are not for the thread.
  const thread = new Worker(new URL('./watch-thread.js', import.meta.url), { workerData, execArgv: [], env: {} })
  thread.on('error', (error) => log.error({ err: error }, 'METRICS_PORT answers no more'))
  const beating = setInterval(() => Atomics.add(counter, 0, 1), BEAT_EVERY_MS)
  const close = async () => {
    await thread.terminate()
    clearInterval(beating)
    await server.close()
  }
  try {
    const boundPort = await new Promise<number>((resolve, reject) => {
      thread.once('error', reject)
      thread.on('message', (message: ThreadMessage) => {
        if (message.kind === 'listens') resolve(message.port)
        else if (message.kind === 'failed') reject(Object.assign(new Error(message.code), { code: message.code }))
        else void answer(server, message, log).then((answered) => thread.postMessage(answered))
      })
    })
    return { url: `http://${host.includes(':') ? `[${host}]` : host}:${boundPort}`, close }
  } catch (error) {
    await close()
    throw error
  }
}

/** A server that is closing answers no more, and a stranger's request must not end the process. */
async function answer(
  server: FastifyInstance,
  { id, request }: { id: number; request: InjectOptions },
  log: Log,
): Promise<ThreadAnswer> {
  try {
    const { statusCode: status, headers, payload: body } = await server.inject(request)
    return { id, status, headers, body }
  } catch (error) {
    log.warn({ err: error }, 'a request to METRICS_PORT could not be answered')
    return { id, status: 503, headers: {}, body: '' }
  }
}

async function createWatchServer(options: WatchOptions): Promise<FastifyInstance> {
  const {
    log,
    metrics: { registry },
  } = options
  const server = fastify({
    loggerInstance: log as FastifyBaseLogger,
    logController: new LogController({ disableRequestLogging: true }),
    routerOptions: { ignoreTrailingSlash: true },
  })
  server.setErrorHandler(sendError)
  server.setNotFoundHandler((_request, reply) => sendNotFound(reply))
  const refuse = await createRefuse(server, options.metrics)
  registerHealthRoutes(server, { ...options, hasApi: false })
  registerGauges(options)
  await server.register(async (guarded) => {
    const { keys, host } = options
    guarded.addHook('onRequest', createDoors({ hasKeys: keys.length > 0, host, publicUrl: undefined }))
    guardByKeys(guarded, keys, refuse)
    guarded.get('/metrics', { config: { needs: 'metrics' } }, async (_request, reply) =>
      reply.type(registry.contentType).send(await registry.metrics()),
    )
  })
  return server
}

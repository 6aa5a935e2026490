/** The HTTP server: every route, and which of them are public. Everything else asks for a key. */
import type { IncomingMessage } from 'node:http'
import { finished } from 'node:stream/promises'
import { type FastifyBaseLogger, type FastifyInstance, fastify, LogController } from 'fastify'
import type { Key } from '../config/keys.ts'
import { createReportWriter } from '../db/report-writer.ts'
import type { Tracing } from '../tracing.ts'
import { registerAccountRoutes } from './accounts.ts'
import { registerActRoutes } from './acts.ts'
import { registerAlertRoutes } from './alerts.ts'
import { guardByKeys } from './auth.ts'
import { createBlockFinder } from './blocks.ts'
import { registerBoard } from './board.ts'
import { registerCallbackRoutes } from './callbacks.ts'
import { type ChangeRoutesOptions, registerChangeRoutes } from './changes.ts'
import { createDoors } from './doors.ts'
import { registerErasureRoutes } from './erasure.ts'
import { answerBroken, sendError, sendNotFound } from './errors.ts'
import { type GaugesOptions, registerGauges } from './gauges.ts'
import { registerHealthRoutes } from './health.ts'
import { registerMessageCount } from './message-count.ts'
import { registerMessageRoutes } from './messages.ts'
import { type RouteDoc, registerDocs, registerOpenApi } from './openapi/openapi.ts'
import { registerPages } from './pages/pages.tsx'
import { registerPollRoutes } from './polls.ts'
import { createRefuse } from './refusals.ts'
import { registerStatisticsRoutes } from './statistics.ts'
import { createWaitingNote } from './waiting-receipts.ts'
import { refuseWebhookMethod, registerWebhookRoutes, WEBHOOK_METHODS } from './webhooks.ts'

export interface ServerOptions extends GaugesOptions {
  nextChange: ChangeRoutesOptions['nextChange']
  tracing: Tracing
  keys: readonly Key[]
  host: string
  publicUrl: string | undefined
  /** The addresses of proxies that tell by whom they were asked. */
  trustedProxies: string[]
}

/** The path under which people reach the service; empty where it is a host's own. */
function prefixOf(publicUrl: string | undefined): string {
  return publicUrl === undefined ? '' : new URL(publicUrl).pathname.replace(/\/+$/, '')
}

function withoutPrefix(url: string, prefix: string, accounts: ServerOptions['accounts']): string {
  // A prefix may be called as our own route is.
  if (prefix === '/webhooks' && accounts.has(/^\/webhooks\/([^/?]+)/.exec(url)?.[1] ?? '')) return url
  if (url.startsWith(`${prefix}/`)) return url.slice(prefix.length)
  const isItself = prefix !== '' && (url === prefix || url.startsWith(`${prefix}?`))
  return isItself ? `/${url.slice(prefix.length)}` : url
}

const REQUEST_WITHIN_MS = 30_000
/** How long the rest of a body is read that is refused before its end. */
const REST_WITHIN_MS = 2_000
/** A connection that says nothing is closed after this and one more check. */
const HEADERS_WITHIN_MS = 15_000
const CHECK_EVERY_MS = 5_000
/** Each takes memory and a file handle; further ones are closed at once. */
const MOST_CONNECTIONS = 10_000

const METRICS: RouteDoc = {
  operationId: 'getMetrics',
  tag: 'Operation',
  summary: 'Metrics for Prometheus',
  response: { 200: { type: 'text/plain', description: 'The metrics.' } },
}

export async function createServer(options: ServerOptions): Promise<FastifyInstance> {
  const { db, queues, accounts, learner, nextChange, log, metrics, tracing, keys, host, publicUrl, trustedProxies } =
    options
  const prefix = prefixOf(publicUrl)
  const server = fastify({
    // A proxy may hand the path on as it came, or without the prefix.
    rewriteUrl: ({ url = '/' }) => withoutPrefix(url, prefix, accounts),
    trustProxy: trustedProxies,
    loggerInstance: log as FastifyBaseLogger,
    // One line a request would be most of the log, and its URL holds message IDs and webhook tokens.
    logController: new LogController({ disableRequestLogging: true }),
    // A logger of its own for every request would cost half of what reading a receipt does.
    childLoggerFactory: (logger) => logger,
    requestTimeout: REQUEST_WITHIN_MS,
    http: { headersTimeout: HEADERS_WITHIN_MS, connectionsCheckingInterval: CHECK_EVERY_MS },
    clientErrorHandler: answerBroken,
    frameworkErrors: (error, request, reply) => void sendError(error, request, reply),
    routerOptions: { ignoreTrailingSlash: true, ignoreDuplicateSlashes: true, maxParamLength: 4000 },
  })
  server.server.maxConnections = MOST_CONNECTIONS
  server.setErrorHandler(sendError)
  server.addHook('onError', async (request, reply) => {
    if (reply.getHeader('connection') === 'close') await skipRest(request.raw)
  })
  server.setNotFoundHandler((request, reply) =>
    /^\/webhooks\/[^/]/.test(request.url) && !WEBHOOK_METHODS.has(request.method)
      ? refuseWebhookMethod(reply)
      : sendNotFound(reply),
  )

  if (keys.length > 0 && !keys.some(({ grants }) => grants === 'change')) {
    log.warn('API_KEYS is empty, and there are other keys: nobody can change anything over HTTP')
  }
  const docs = { hasKeys: keys.length > 0, prefix }
  await registerOpenApi(server, docs)
  registerGauges(options)
  const refuse = await createRefuse(server, metrics)
  const noteWaiting = createWaitingNote(db, log)
  await server.register(async (open) => {
    registerHealthRoutes(open, { ...options, hasApi: true })
  })
  await server.register(async (webhooks) => {
    registerWebhookRoutes(webhooks, {
      db,
      accounts,
      writer: createReportWriter(db, learner.now, (ms, waiting) => {
        metrics.receiptCommitDuration.observe(ms / 1000)
        noteWaiting(waiting)
      }),
      learner,
      metrics,
      tracing,
      host,
      publicUrl,
      refuse,
    })
  })
  await server.register(async (guarded) => {
    guarded.addHook('onRequest', createDoors({ hasKeys: docs.hasKeys, host, publicUrl }))
    guardByKeys(guarded, keys, refuse)
    // A form of another site can send text without asking first; bodies here are JSON.
    guarded.removeContentTypeParser(['text/plain', 'application/json'])
    const parseJson = guarded.getDefaultJsonParser('error', 'error')
    // Many programs name the type of a body that they do not send.
    guarded.addContentTypeParser('application/json', { parseAs: 'string' }, (request, text, done) =>
      text === '' ? done(null) : parseJson(request, String(text), done),
    )
    const findBlocks = createBlockFinder(options)
    registerAccountRoutes(guarded, { db, accounts, learner, queues })
    registerAlertRoutes(guarded, { db })
    registerStatisticsRoutes(guarded, { db, accounts, now: learner.now })
    registerChangeRoutes(guarded, { db, nextChange })
    registerCallbackRoutes(guarded, { db })
    registerMessageRoutes(guarded, { db, accounts, learner, metrics, tracing, findBlocks })
    registerMessageCount(guarded, { db, accounts })
    registerPollRoutes(guarded, { db, accounts, learner, queues, findBlocks })
    registerActRoutes(guarded, { db })
    registerErasureRoutes(guarded, { db, accounts, queues })
    guarded.get('/metrics', { config: { doc: METRICS, needs: 'metrics' } }, async (_request, reply) =>
      reply.type(metrics.registry.contentType).send(await metrics.registry.metrics()),
    )
    await registerDocs(guarded, docs)
    await registerBoard(guarded, { db, queues, keys, prefix, publicUrl })
    await guarded.register((pages) => registerPages(pages, { prefix, nextChange, now: learner.now }))
  })
  return server
}

/** Bytes that come in once the connection is closed would reset it, and the sender would not see why it was refused. */
async function skipRest(body: IncomingMessage): Promise<void> {
  body.resume()
  // Some go on for ever, or hang up: they are answered all the same.
  await finished(body, { signal: AbortSignal.timeout(REST_WITHIN_MS) }).catch(() => {})
}

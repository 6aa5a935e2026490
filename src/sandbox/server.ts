/**
 * The sandbox provider: a real HTTP server on 127.0.0.1 that speaks the wire formats of seven.io and CM.com, for
 * demos, tests and benchmarks. Every message has a truth, drawn from a seeded law when it is sent, against which a run
 * can be judged.
 *
 * Its limit: it is as kind as its knobs say, and knows the providers only as far as their documents and recordings
 * tell. Its control routes ask for no key, which is why it listens on the loopback address only.
 *
 *   const sandbox = await createSandbox({ seed: 7, law: { timeScale: 60 }, knobs: { webhookLossPerMessage: 0.5 } })
 *   const messageIds = sandbox.send(100)          // and an account with baseUrl: sandbox.url, apiKey: sandbox.apiKey
 *   sandbox.truth(messageIds[0])?.finalStatus     // 'delivered'
 *   await sandbox.close()
 */
import { gzipSync } from 'node:zlib'
import Fastify, { type FastifyInstance } from 'fastify'
import { LastwordError } from '../core/errors.ts'
import { createAgenda } from './agenda.ts'
import { type CmSandbox, type CmStats, createCm } from './cm/cm.ts'
import { addControlRoutes } from './control.ts'
import { createResponder } from './faults.ts'
import { DEFAULT_KNOBS, type Knobs, type KnobsPatch, turnKnobs } from './knobs.ts'
import { DEFAULT_LAW, type Law } from './law.ts'
import { createRandom } from './random.ts'
import { createSeven, type SevenSandbox, type SevenStats } from './seven/seven.ts'

export interface SandboxOptions {
  /** 0, the default, takes a free one. */
  port?: number
  apiKey?: string
  /** CM.com's. */
  productToken?: string
  /** Histories, faults and the fate of webhooks follow from it. */
  seed?: number
  /** The differences from the default law, `timeScale` above all. */
  law?: Partial<Law>
  knobs?: KnobsPatch
  /**
   * IDs count up from here, and CM.com's references (`R77100000001`); eleven digits. Two runs against one database
   * should not share IDs.
   */
  firstMessageId?: number
}

interface SandboxStats extends SevenStats {
  cm: CmStats
}

/** seven.io's part, with CM.com's beside it. */
export interface Sandbox extends SevenSandbox {
  /** The base URL of seven.io's API, for `baseUrl` of an account. */
  url: string
  /** CM.com, with the base URL of its API. */
  cm: CmSandbox & { url: string }
  stats(): SandboxStats
  knobs(): Knobs
  /** Turns some of the knobs; throws INPUT_INVALID for what cannot be turned so. */
  set(patch: KnobsPatch): void
  /** Resolves when every history has run out and every webhook has ended one way or another, or on close. */
  settled(): Promise<void>
  close(): Promise<void>
}

const FIRST_MESSAGE_ID = 77_100_000_001

export async function createSandbox(options: SandboxOptions = {}): Promise<Sandbox> {
  const {
    port = 0,
    apiKey = 'sandbox',
    productToken = 'sandbox',
    seed = 1,
    firstMessageId = FIRST_MESSAGE_ID,
  } = options
  const law: Law = { ...DEFAULT_LAW, ...options.law }
  let knobs = turnKnobs(DEFAULT_KNOBS, options.knobs ?? {})
  const set = (patch: unknown) => {
    knobs = turnKnobs(knobs, patch)
  }
  const agenda = createAgenda()
  const app = createApp()
  const common = { app, seed, law, knobs: () => knobs, agenda }
  addDisguises(app, common.knobs)
  const respond = createResponder({ knobs: common.knobs, random: createRandom(seed), agenda })
  const { seven, ...sevenWebhooks } = createSeven({ ...common, respond, apiKey, firstMessageId })
  const { cm, ...cmWebhooks } = createCm({ ...common, productToken, firstReference: firstMessageId })
  const stats = () => ({ ...seven.stats(), cm: cm.stats() })
  addControlRoutes(app, { seven, cm, stats, knobs: common.knobs, set })
  const close = async () => {
    agenda.close()
    await Promise.all([sevenWebhooks.close(), cmWebhooks.close()])
    await app.close()
  }

  try {
    const origin = await app.listen({ host: '127.0.0.1', port })
    return {
      ...seven,
      url: `${origin}/api`,
      cm: { ...cm, url: `${origin}/cm/v1.2` },
      stats,
      knobs: common.knobs,
      set,
      settled: async () => {
        await Promise.all([sevenWebhooks.settled(), cmWebhooks.settled()])
      },
      close,
    }
  } catch (error) {
    await close()
    throw error
  }
}

const MOVED = '/moved'

/** Redirects and compression, as the knobs have them, on what a provider is asked about statuses. */
function addDisguises(app: FastifyInstance, knobs: () => Knobs): void {
  const isStatusQuery = ({ method, url }: { method: string; url: string }) =>
    method === 'GET' && /^\/(api\/(status|journal)|cm)\b/.test(url)
  app.addHook('onRequest', async (request, reply) => {
    const { moved } = knobs()
    const { originalUrl } = request
    if (moved === 'no' || !isStatusQuery(request) || originalUrl.startsWith(`${MOVED}/`)) return
    const place = moved === 'here' ? MOVED + originalUrl : `https://example.com${originalUrl}`
    return reply.code(301).header('location', place).send()
  })
  app.addHook('onSend', async (request, reply, payload) => {
    if (!knobs().gzippedAnswers || !isStatusQuery(request) || typeof payload !== 'string') return payload
    const packed = gzipSync(payload)
    reply.header('content-encoding', 'gzip').header('content-length', packed.length)
    return packed
  })
}

function createApp(): FastifyInstance {
  const app = Fastify({
    forceCloseConnections: true,
    exposeHeadRoutes: false,
    bodyLimit: 8 * 1024 * 1024,
    rewriteUrl: ({ url = '/' }) => (url.startsWith(`${MOVED}/`) ? url.slice(MOVED.length) : url),
  })
  app.addContentTypeParser('application/x-www-form-urlencoded', { parseAs: 'string' }, (_request, body, done) => {
    done(null, Object.fromEntries(new URLSearchParams(String(body))))
  })
  app.setErrorHandler((error, _request, reply) => {
    if (!(error instanceof LastwordError)) return reply.send(error)
    return reply.code(error.status).send({ title: error.title, status: error.status, detail: error.message })
  })
  return app
}

/**
 * The sandbox provider: a real HTTP server on 127.0.0.1 that speaks seven.io's wire format, for demos, tests and
 * benchmarks. Every message has a truth, drawn from a seeded law when it is sent, against which a run can be judged.
 *
 * Its limit: it is as kind as its knobs say, and knows seven.io only as far as its documents and recordings tell. Its
 * control routes ask for no key, which is why it listens on the loopback address only.
 *
 *   const sandbox = await createSandbox({ seed: 7, law: { timeScale: 60 }, knobs: { webhookLossPerMessage: 0.5 } })
 *   const messageIds = sandbox.send(100)          // and an account with baseUrl: sandbox.url, apiKey: sandbox.apiKey
 *   sandbox.truth(messageIds[0])?.finalStatus     // 'delivered'
 *   await sandbox.close()
 */
import Fastify, { type FastifyInstance } from 'fastify'
import { LastwordError } from '../core/errors.ts'
import { createAgenda } from './agenda.ts'
import { addControlRoutes } from './control.ts'
import { DEFAULT_KNOBS, type Knobs, type KnobsPatch, turnKnobs } from './knobs.ts'
import { DEFAULT_LAW, type Law } from './law.ts'
import { createMessageStore, type SendOptions, type Truth, truthOf } from './messages.ts'
import { createRandom } from './random.ts'
import { addSevenRoutes, createQueryStats, type QueryStats } from './seven.ts'
import { createWebhooks, type WebhookStats } from './webhooks.ts'

export interface SandboxOptions {
  /** 0, the default, takes a free one. */
  port?: number
  apiKey?: string
  /** Histories, faults and the fate of webhooks follow from it. */
  seed?: number
  /** What differs from the default law, `timeScale` above all. */
  law?: Partial<Law>
  knobs?: KnobsPatch
  /** IDs count up from here; eleven digits. Two runs against one database should not share IDs. */
  firstMessageId?: number
}

interface SandboxStats extends QueryStats {
  /** Messages sent. */
  messages: number
  webhooks: WebhookStats
}

export interface Sandbox {
  /** The base URL of the API, for `baseUrl` of an account. */
  url: string
  apiKey: string
  /** Sends so many messages, or one to each recipient, and returns their IDs. */
  send(what: number | readonly string[], options?: SendOptions): string[]
  truth(messageId: string): Truth | undefined
  /** The truth of all messages, in the order of sending. */
  truths(): Truth[]
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
  const { port = 0, apiKey = 'sandbox', seed = 1, firstMessageId = FIRST_MESSAGE_ID } = options
  const law: Law = { ...DEFAULT_LAW, ...options.law }
  let knobs = turnKnobs(DEFAULT_KNOBS, options.knobs ?? {})
  const agenda = createAgenda()
  const messages = createMessageStore(seed, law, firstMessageId)
  const queryStats = createQueryStats()
  const currentKnobs = () => knobs
  const webhooks = createWebhooks({ knobs: currentKnobs, agenda, timeScale: law.timeScale })

  const sendTo = (recipients: readonly string[], sendOptions?: SendOptions) => {
    const sent = messages.send(recipients, sendOptions)
    for (const message of sent) webhooks.follow(message)
    return sent
  }
  const send = (what: number | readonly string[], sendOptions?: SendOptions) => {
    const recipients = typeof what === 'number' ? Array.from({ length: what }, (_, index) => recipientOf(index)) : what
    return sendTo(recipients, sendOptions).map(({ messageId }) => messageId)
  }
  const set = (patch: unknown) => {
    knobs = turnKnobs(knobs, patch)
  }
  const stats = () => ({ messages: messages.size, ...structuredClone(queryStats), webhooks: webhooks.stats() })

  const app = createApp()
  const random = createRandom(seed)
  addSevenRoutes(app, { apiKey, messages, send: sendTo, knobs: currentKnobs, stats: queryStats, random, agenda })
  addControlRoutes(app, { messages, send, stats, knobs: currentKnobs, set })
  const close = async () => {
    agenda.close()
    await webhooks.close()
    await app.close()
  }

  try {
    const origin = await app.listen({ host: '127.0.0.1', port })
    return {
      url: `${origin}/api`,
      apiKey,
      send,
      truth(messageId) {
        const message = messages.find(messageId)
        return message && truthOf(message, Date.now())
      },
      truths: () => messages.list().map((message) => truthOf(message, Date.now())),
      stats,
      knobs: currentKnobs,
      set,
      settled: webhooks.settled,
      close,
    }
  } catch (error) {
    await close()
    throw error
  }
}

function createApp(): FastifyInstance {
  const app = Fastify({ forceCloseConnections: true, exposeHeadRoutes: false, bodyLimit: 8 * 1024 * 1024 })
  app.addContentTypeParser('application/x-www-form-urlencoded', { parseAs: 'string' }, (_request, body, done) => {
    done(null, Object.fromEntries(new URLSearchParams(String(body))))
  })
  app.setErrorHandler((error, _request, reply) => {
    if (!(error instanceof LastwordError)) return reply.send(error)
    return reply.code(error.status).send({ title: error.title, status: error.status, detail: error.message })
  })
  return app
}

/** From the numbers that Ofcom keeps free for drama: nobody has them. */
function recipientOf(index: number): string {
  return `447700900${String(index % 1000).padStart(3, '0')}`
}

/**
 * seven.io: what is sent through it, its status query, its logbook, its webhooks and the subscriptions to them.
 *
 *   const messageIds = sandbox.send(100)          // an account has baseUrl: sandbox.url, and its apiKey
 *   sandbox.truth(messageIds[0])?.finalStatus     // 'delivered'
 */
import type { FastifyInstance } from 'fastify'
import type { Agenda } from '../agenda.ts'
import type { WebhookStats } from '../delivery.ts'
import type { Responder } from '../faults.ts'
import type { Knobs } from '../knobs.ts'
import type { Law, SevenStatus } from '../law.ts'
import { sampleRecipients } from '../messages.ts'
import { createRandom } from '../random.ts'
import { createWebhooks } from '../webhooks.ts'
import { addHookRoutes, type Hook } from './hooks.ts'
import { addLogbookRoute, createLogbookStats, type LogbookStats } from './logbook.ts'
import {
  createSevenMessageStore,
  type SevenMessage,
  type SevenSending,
  type SevenTruth,
  sevenTruthOf,
} from './messages.ts'
import { addSmsRoute } from './sms.ts'
import { addStatusQueryRoute, createQueryStats, type QueryStats } from './status-query.ts'
import { createSevenFormat, type SevenTarget } from './webhooks.ts'

export interface SevenStats extends QueryStats {
  /** Messages sent. */
  messages: number
  logbook: LogbookStats
  webhooks: WebhookStats
  /** Requests that were no delivery receipts: other events, empty bodies. */
  webhookNoise: WebhookStats
}

export interface SevenSandbox {
  apiKey: string
  /** Sends so many messages, or one to each recipient, and returns their IDs. */
  send(what: number | readonly string[], options?: SevenSending): string[]
  truth(messageId: string): SevenTruth | undefined
  /** The truth of all messages, or of so many after an ID, in the order of sending. */
  truths(after?: string, limit?: number): SevenTruth[]
  stats(): SevenStats
  /** The webhook subscriptions. */
  hooks(): Hook[]
}

export interface SevenOptions {
  app: FastifyInstance
  seed: number
  law: Law
  knobs: () => Knobs
  agenda: Agenda
  respond: Responder
  apiKey: string
  firstMessageId: number
}

/** Stream 0 is that of faults, those above are the messages'; CM.com's are below zero. */
const NOISE_STREAM = -3

/** Adds the routes below `/api`. */
export function createSeven(options: SevenOptions) {
  const { app, seed, law, knobs, agenda, respond, apiKey, firstMessageId } = options
  const messages = createSevenMessageStore(seed, law, firstMessageId)
  const queryStats = createQueryStats()
  const logbookStats = createLogbookStats()
  const hooks: Hook[] = []
  const webhooks = createWebhooks<SevenStatus, SevenMessage, SevenTarget>({
    knobs,
    agenda,
    timeScale: law.timeScale,
    format: createSevenFormat(knobs, () => hooks),
    random: createRandom(seed, NOISE_STREAM),
  })
  const send = (recipients: readonly string[], sendOptions?: SevenSending) => {
    const sent = messages.send(recipients, sendOptions)
    for (const message of sent) webhooks.follow(message)
    return sent
  }
  addStatusQueryRoute(app, { apiKey, messages, knobs, stats: queryStats, respond })
  addSmsRoute(app, { apiKey, send })
  addLogbookRoute(app, { apiKey, messages, stats: logbookStats, respond })
  addHookRoutes(app, { apiKey, hooks })

  const seven: SevenSandbox = {
    apiKey,
    send(what, sendOptions) {
      const recipients = typeof what === 'number' ? sampleRecipients(what) : what
      return send(recipients, sendOptions).map(({ messageId }) => messageId)
    },
    truth(messageId) {
      const message = messages.find(messageId)
      return message && sevenTruthOf(message, Date.now())
    },
    truths: (after, limit) => messages.list(after, limit).map((message) => sevenTruthOf(message, Date.now())),
    stats: () => ({
      messages: messages.size,
      ...structuredClone(queryStats),
      logbook: structuredClone(logbookStats),
      webhooks: webhooks.stats(),
      webhookNoise: webhooks.noiseStats(),
    }),
    hooks: () => structuredClone(hooks),
  }
  return { seven, settled: webhooks.settled, close: webhooks.close }
}

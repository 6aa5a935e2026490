/**
 * CM.com, beside seven.io on the same server: what is sent through it, its transactions, and its webhooks.
 *
 *   const [key] = sandbox.cm.send({ reference: 'order4711', recipients: ['0031612345678'] })
 *   sandbox.cm.truth('order4711')?.finalStatus    // an account has baseUrl: sandbox.cm.url, and its productToken
 */
import type { FastifyInstance } from 'fastify'
import type { Agenda } from '../agenda.ts'
import type { WebhookStats } from '../delivery.ts'
import { createResponder } from '../faults.ts'
import type { Knobs } from '../knobs.ts'
import type { Law } from '../law.ts'
import { createRandom } from '../random.ts'
import { createWebhooks, type WebhookTarget } from '../webhooks.ts'
import {
  type CmKey,
  type CmMessage,
  type CmSending,
  type CmStatus,
  type CmTruth,
  cmTruthOf,
  createCmMessageStore,
} from './messages.ts'
import { addCmSmsRoute } from './sms.ts'
import { addTransactionRoute, createTransactionStats, type TransactionStats } from './transactions.ts'
import { createCmFormat } from './webhooks.ts'

export interface CmStats extends TransactionStats {
  /** Messages sent. */
  messages: number
  webhooks: WebhookStats
  /** Requests that carried nothing. */
  webhookNoise: WebhookStats
}

export interface CmSandbox {
  productToken: string
  /** Sends so many messages, or those given, and returns their keys. Throws CONFLICT for a key that has been sent. */
  send(what: number | CmSending | readonly CmSending[], options?: { sentAt?: Date | undefined }): CmKey[]
  /** Without `recipient`, of the first of the reference. */
  truth(reference: string, recipient?: string): CmTruth | undefined
  /** The truth of all messages, or of so many after so many, in the order of sending. */
  truths(offset?: number, limit?: number): CmTruth[]
  stats(): CmStats
}

export interface CmOptions {
  app: FastifyInstance
  seed: number
  law: Law
  knobs: () => Knobs
  agenda: Agenda
  productToken: string
  firstReference: number
}

/** The streams of messages begin below these. */
const FAULTS_STREAM = -1
const NOISE_STREAM = -2

/** Adds the routes below `/cm`. */
export function createCm(options: CmOptions) {
  const { app, seed, law, knobs, agenda, productToken, firstReference } = options
  const failedAfterDelivered = () => knobs().failedAfterDelivered
  const messages = createCmMessageStore({ seed, law, firstReference, failedAfterDelivered })
  const stats = createTransactionStats()
  const respond = createResponder({ knobs, random: createRandom(seed, FAULTS_STREAM), agenda })
  const webhooks = createWebhooks<CmStatus, CmMessage, WebhookTarget>({
    knobs,
    agenda,
    timeScale: law.timeScale,
    format: createCmFormat(knobs),
    random: createRandom(seed, NOISE_STREAM),
  })
  addTransactionRoute(app, { productToken, messages, knobs, stats, respond })

  const cm: CmSandbox = {
    productToken,
    send(what, { sentAt } = {}) {
      const sent = messages.send(what, sentAt)
      for (const message of sent) webhooks.follow(message)
      return sent.map(({ reference, recipient }) => ({ messageId: reference, recipient }))
    },
    truth(reference, recipient) {
      const message = messages.find(reference, recipient)
      return message && cmTruthOf(message, Date.now())
    },
    truths: (offset, limit) => messages.list(offset, limit).map((message) => cmTruthOf(message, Date.now())),
    stats: () => ({
      messages: messages.size,
      ...structuredClone(stats),
      webhooks: webhooks.stats(),
      webhookNoise: webhooks.noiseStats(),
    }),
  }
  addCmSmsRoute(app, { productToken, send: cm.send })
  return { cm, settled: webhooks.settled, close: webhooks.close }
}

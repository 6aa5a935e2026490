/**
 * Sends one callback: a POST signed by the Standard Webhooks scheme (https://www.standardwebhooks.com). A receiver takes
 * it by any 2xx; redirects are not followed.
 *
 * A callback URL must not reach inside: addresses that are not public are refused unless the configuration allows them,
 * after the name has been resolved and for the very address that is connected to.
 */

import { lookup } from 'node:dns'
import type { LookupFunction } from 'node:net'
import { Webhook } from 'standardwebhooks'
import { type Dispatcher, request } from 'undici'
import { errorCodeOf } from '../core/error-code.ts'
import { maskedStart } from '../core/masked-text.ts'
import { readRetryAfter } from '../core/retry-after.ts'
import { isTimeout, withDeadline } from '../deadline.ts'
import { createAgent, type ProxySettings, usesProxy } from '../proxy.ts'
import { isPublic, NOT_PUBLIC, whyForbidden } from '../urls/public-address.ts'

interface Callback {
  /** Stays the same over all attempts, so that the receiver recognises a repeat. */
  id: string
  url: string
  /** `whsec_…`; each gives a signature. */
  secrets: readonly string[]
  body: string
  /** The header of that name, for a receiver that goes on with the trace. */
  traceparent?: string | undefined
}

export interface CallbackSender {
  send(callback: Callback, signal: AbortSignal): Promise<Sent>
  close(): Promise<void>
}

export interface Sent {
  /** Why the receiver has not taken it; undefined when it has. */
  refusal?: Refusal | undefined
  /** The receiver's answer, where one came. */
  httpStatus?: number | undefined
  /** How its body began, with phone numbers masked. */
  answer?: string | undefined
}

export interface Refusal {
  reason: string
  /** The receiver says that this URL is over (410), or it can never be called: trying again cannot help. */
  final: boolean
  /** It says so by a 410. */
  isGone?: boolean
  /** How long the receiver asks to be left alone. */
  retryAfterMs?: number
  /** It asks that for whatever is sent to it: it is overloaded, or sent too much (503, 429). */
  isBusy?: boolean
}

export const CALLBACK_TIMEOUT_MS = 15_000
/** A longer answer is cut off. */
const MOST_ANSWER_BYTES = 64 * 1024
/** So much of an answer is kept, and looked at. */
const ANSWER_CHARACTERS = 200
const SHORTEST_SECRET = 8
const ANSWER_START_BYTES = 1024

export interface CallbackSenderOptions {
  allowPrivate: boolean
  proxy?: ProxySettings | undefined
}

export function createCallbackSender({ allowPrivate, proxy = {} }: CallbackSenderOptions): CallbackSender {
  const agent = createAgent(proxy, {
    connect: { timeout: CALLBACK_TIMEOUT_MS, ...(allowPrivate ? {} : { lookup: lookupPublic }) },
    headersTimeout: CALLBACK_TIMEOUT_MS,
    bodyTimeout: CALLBACK_TIMEOUT_MS,
  })
  return {
    async send({ id, url, secrets, body, traceparent }, signal) {
      const forbidden = allowPrivate ? undefined : whyForbidden(url)
      if (forbidden) return { refusal: { reason: forbidden, final: true } }
      try {
        const headers = {
          'content-type': 'application/json',
          'user-agent': 'Lastword',
          ...signatureOf(id, secrets, body),
          ...(traceparent === undefined ? {} : { traceparent }),
        }
        return await withDeadline(CALLBACK_TIMEOUT_MS, signal, async (deadline) => {
          if (!allowPrivate && usesProxy(proxy)) await refusePrivate(new URL(url).hostname)
          const response = await request(url, { method: 'POST', dispatcher: agent, signal: deadline, headers, body })
          const answer = await readStart(url, response.body)
          return { refusal: refusalOf(response), httpStatus: response.statusCode, answer }
        })
      } catch (error) {
        if (signal.aborted) throw error
        return { refusal: { reason: reasonOf(error), final: false } }
      }
    },
    close: () => agent.close(),
  }
}

/** Why an answer is none that takes the callback. */
function refusalOf({ statusCode, headers }: Dispatcher.ResponseData): Refusal | undefined {
  if (statusCode >= 200 && statusCode < 300) return undefined
  const retryAfterMs = readRetryAfter(headers, Date.now())
  return {
    reason: `the receiver answered HTTP ${statusCode}`,
    final: statusCode === 410,
    isGone: statusCode === 410,
    ...(retryAfterMs === undefined ? {} : { retryAfterMs, isBusy: statusCode === 429 || statusCode === 503 }),
  }
}

/** How a body begins. It is read to its end, so that the connection serves again; one that fails on the way has said enough. */
async function readStart(url: string, body: AsyncIterable<Buffer>): Promise<string> {
  const start: Buffer[] = []
  let size = 0
  try {
    for await (const chunk of body) {
      if (size < ANSWER_START_BYTES) start.push(chunk.subarray(0, ANSWER_START_BYTES - size))
      size += chunk.length
      if (size > MOST_ANSWER_BYTES) break
    }
  } catch {
    // Its status counts all the same.
  }
  const text = withoutSecretsOf(url, Buffer.concat(start).toString())
  return maskedStart(text, ANSWER_CHARACTERS, size > ANSWER_START_BYTES)
}

/** Some receivers repeat the URL that they were called by, and its query may hold a token. */
function withoutSecretsOf(url: string, text: string): string {
  const { search, searchParams } = new URL(url)
  const secrets = [search, ...searchParams.values()].filter((value) => value.length >= SHORTEST_SECRET)
  return secrets.reduce((rest, secret) => rest.replaceAll(secret, '…'), text)
}

function signatureOf(id: string, secrets: readonly string[], body: string): Record<string, string> {
  const now = new Date()
  return {
    'webhook-id': id,
    'webhook-timestamp': String(Math.floor(now.getTime() / 1000)),
    'webhook-signature': secrets.map((secret) => new Webhook(secret).sign(id, now, body)).join(' '),
  }
}

/** Resolves a name to its public addresses only: a name that has both is called by these. */
export const lookupPublic: LookupFunction = (hostname, options, done) => {
  lookup(hostname, { ...options, all: true }, (error, addresses) => {
    if (error) return done(error, [])
    const allowed = addresses.filter(({ address }) => isPublic(address))
    const [first] = allowed
    if (!first) return done(Object.assign(new Error(NOT_PUBLIC), { code: 'ENOTPUBLIC' }), [])
    if (options.all) done(null, allowed)
    else done(null, first.address, first.family)
  })
}

/** A proxy resolves names itself: those that are private as seen from here are not given to it. */
function refusePrivate(hostname: string): Promise<void> {
  return new Promise((resolve, reject) => {
    lookupPublic(hostname, { all: true }, (error) => (error && isNotPublic(error) ? reject(error) : resolve()))
  })
}

function isNotPublic(error: Error): boolean {
  return errorCodeOf(error) === 'ENOTPUBLIC'
}

function reasonOf(error: unknown): string {
  if (!(error instanceof Error)) return String(error)
  if (isTimeout(error)) return `the receiver did not answer within ${CALLBACK_TIMEOUT_MS / 1000} s`
  if (isNotPublic(error)) return NOT_PUBLIC
  return `the receiver cannot be reached: ${errorCodeOf(error) ?? error.name}`
}

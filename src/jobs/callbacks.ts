/**
 * Sends callbacks, one a job. The callbacks that are due stand in Postgres; a job carries the change and its claim,
 * never the body, which may hold a phone number.
 *
 * A callback that is not taken is tried again with growing pauses for three days; then its job fails, where Bull Board
 * shows it, and retrying that job, or `lastword callbacks --replay`, tries once more. When an account's callback URL
 * answers 410, nothing more is sent to it: callbacks fail at once until some are replayed, or another URL is configured.
 */
import { type Job, UnrecoverableError } from 'bullmq'
import { jittered } from '../core/backoff.ts'
import { secretsFor } from '../core/callback-secrets.ts'
import type { CallbackAttempt } from '../db/callback-attempts.ts'
import { deleteCallback, findCallback, type HeldCallback, releaseCallback, retryCallback } from '../db/callbacks.ts'
import { nameOfChange } from '../db/changes.ts'
import type { Db } from '../db/client.ts'
import { forgetGoneUrls, noteGoneUrl, noteReceiver } from '../db/receivers.ts'
import type { Log } from '../log.ts'
import type { Metrics } from '../metrics.ts'
import type { Tracing } from '../tracing.ts'
import type { Accounts } from '../tracking.ts'
import type { CallbackSender, Refusal, Sent } from './callback-sender.ts'
import { callbackJobSchema, readJob } from './queues.ts'

export interface CallbackCallerOptions {
  db: Db
  accounts: Accounts
  sender: CallbackSender
  /** The ID of this installation, which the names of its changes carry. */
  installation: string
  log: Log
  metrics: Metrics
  tracing: Tracing
  shutdown: AbortSignal
  /** Told when a callback has left, so that the next of its message can be claimed. */
  onLeft(): void
}

export interface CallbackResult {
  taken: boolean
  reason?: string
}

/** A receiver that takes longer counts as slow. */
const GOOD_TIME_MS = 2_000
/** Between the attempts of a callback. */
export const CALLBACK_PAUSES = { firstMs: 5_000, longestMs: 3_600_000 }
const RETRY_FOR_MS = 3 * 86_400_000

/** The pause after `attempts` failed ones, and one more. */
export function callbackPause(attempts: number): number {
  return jittered(CALLBACK_PAUSES, attempts + 1, Math.random())
}

export function createCallbackCaller(options: CallbackCallerOptions) {
  const { db, accounts, sender, installation, metrics, tracing, shutdown, onLeft } = options
  return async function callBack(job: Job): Promise<CallbackResult> {
    const { change, claim } = readJob(job, callbackJobSchema)
    const callback = await findCallback(db, change, claim)
    if (!callback) return { taken: false, reason: 'it has been taken already, or is held by a newer claim' }
    const began = performance.now()
    const sent = await tracing.callback(callback, (traceparent) => send(callback, traceparent))
    if (sent === 'given back') return { taken: false, reason: 'given back at a stop; it is due at once' }
    const { refusal, ...answered } = sent
    const tookMs = performance.now() - began
    const attempt = { ...answered, tookMs }
    const labels = { account: callback.account, result: refusal ? 'refused' : 'taken' }
    metrics.callbacks.inc(labels)
    metrics.callbackDuration.observe(labels, tookMs / 1000)
    if (!isDisabled(callback)) await note(options, callback, tookMs, refusal)
    if (refusal) return putOff(options, { claim, callback, refusal, attempt }).finally(onLeft)
    await deleteCallback(db, change, attempt)
    if (callback.isGone) await forgetGoneUrls(db, [callback.url])
    onLeft()
    return { taken: true }

    async function send(callback: HeldCallback, traceparent?: string): Promise<Sent | 'given back'> {
      const { account, url, body } = callback
      if (isDisabled(callback))
        return { refusal: { reason: 'the receiver said before that this URL is gone (HTTP 410)', final: true } }
      const configured = accounts.get(account)?.callback
      if (configured === undefined)
        return { refusal: { reason: `account "${account}" has no callback secret any more`, final: false } }
      const id = nameOfChange(installation, change, new Date(body.timestamp))
      try {
        const secrets = secretsFor(url, configured)
        return await sender.send({ id, url, secrets, body: JSON.stringify(body), traceparent }, shutdown)
      } catch (error) {
        await releaseCallback(db, claim, change)
        if (shutdown.aborted) return 'given back'
        throw error
      }
    }
  }
}

/** Nothing is sent to its URL; who retries the job of one that has failed for good wants it tried all the same. */
function isDisabled({ isGone, nextAttemptAt }: HeldCallback): boolean {
  return isGone && nextAttemptAt !== null
}

/** Notes of the receiver what is not known already, after an attempt that took `ms`. */
async function note(
  { db, accounts }: CallbackCallerOptions,
  { account, url, receiver, isSlow: wasSlow }: HeldCallback,
  ms: number,
  refusal?: Refusal,
): Promise<void> {
  const isSlow = ms > GOOD_TIME_MS
  const closedForMs = refusal?.isBusy ? refusal.retryAfterMs : undefined
  if (isSlow !== wasSlow || closedForMs) await noteReceiver(db, { receiver, isSlow, closedForMs })
  // URLs that came with a message are given up with it.
  if (refusal?.isGone && url === accounts.get(account)?.callback?.url) await noteGoneUrl(db, account, url)
}

interface NotTaken {
  claim: string
  callback: HeldCallback
  refusal: Refusal
  attempt: CallbackAttempt
}

async function putOff(
  { db, log }: CallbackCallerOptions,
  { claim, callback, refusal: { reason, final, retryAfterMs = 0 }, attempt }: NotTaken,
): Promise<CallbackResult> {
  const { change, account, attempts, firstDueAt } = callback
  const pauseMs = Math.max(callbackPause(attempts), retryAfterMs)
  const isOver = final || Date.now() + pauseMs > firstDueAt.getTime() + RETRY_FOR_MS
  await retryCallback(db, { change, claim, error: reason, delayMs: isOver ? undefined : pauseMs, attempt })
  if (!isOver) return { taken: false, reason }
  if (!isDisabled(callback)) {
    log.warn({ account, change, attempts: attempts + 1, reason }, 'a callback failed for good')
  }
  throw new UnrecoverableError(`Given up at attempt ${attempts + 1}: ${reason}.`)
}

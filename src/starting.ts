/** Waiting, at a start, for servers that do not answer yet. */
import { setTimeout as delay } from 'node:timers/promises'
import { LastwordError } from './core/errors.ts'
import { isTimeout, orAborted, withDeadline } from './deadline.ts'
import type { Log } from './log.ts'

export interface Patience {
  /** How long is waited. */
  withinMs: number
  log: Log
  /** Ends the waiting at once. */
  stopped: AbortSignal
}

const PAUSE_MS = 500
const TELL_EVERY_MS = 5_000

/**
 * Tries until it works, for as long as waiting can help, and says every few seconds what is waited for. Throws the last
 * error, or `silent` when there was no answer at all, or the reason of `stopped`; what was tried then may still be under way.
 */
export async function keepTrying<T>(run: () => Promise<T>, silent: LastwordError, patience: Patience): Promise<T> {
  const { withinMs, log, stopped } = patience
  const until = performance.now() + withinMs
  let last = silent
  const tell = () => log.warn(`waiting, for ${withinMs / 1000} s at most: ${last.message}`)
  const telling = setInterval(tell, TELL_EVERY_MS)
  try {
    for (let attempt = 1; ; attempt++) {
      const leftMs = Math.max(until - performance.now(), PAUSE_MS)
      try {
        return await withDeadline(leftMs, stopped, (signal) => orAborted(run(), signal))
      } catch (error) {
        if (stopped.aborted) throw error
        if (isTimeout(error)) throw last
        if (!(error instanceof LastwordError && error.retryable)) throw error
        last = error
      }
      if (performance.now() + PAUSE_MS > until) throw last
      if (attempt === 1) tell()
      await delay(PAUSE_MS, undefined, { signal: stopped })
    }
  } finally {
    clearInterval(telling)
  }
}

/**
 * A time limit for one piece of work, beside the signal that may end it from outside.
 *
 * Not `AbortSignal.any` with `AbortSignal.timeout`: nothing keeps that timeout from being collected as garbage, and then it
 * never comes (https://github.com/nodejs/node/issues/57736). Nor does anything stay behind on a long-lived outer signal.
 */

/**
 * Runs `work` with a signal that aborts after `ms` milliseconds, by a DOMException named TimeoutError, or when `outer`
 * does, by its reason. Throws that reason when `outer` is aborted already.
 */
export async function withDeadline<T>(
  ms: number,
  outer: AbortSignal | undefined,
  work: (signal: AbortSignal) => Promise<T>,
): Promise<T> {
  outer?.throwIfAborted()
  const controller = new AbortController()
  const abort = () => controller.abort(outer?.reason)
  outer?.addEventListener('abort', abort, { once: true })
  const timer = setTimeout(() => controller.abort(new DOMException(`not done within ${ms} ms`, 'TimeoutError')), ms)
  try {
    return await work(controller.signal)
  } finally {
    clearTimeout(timer)
    outer?.removeEventListener('abort', abort)
  }
}

/** For work that knows no signal: rejects with the signal's reason when that comes first, and leaves the work to itself. */
export function orAborted<T>(work: Promise<T>, signal: AbortSignal): Promise<T> {
  return new Promise((resolve, reject) => {
    const abort = () => reject(signal.reason)
    if (signal.aborted) abort()
    signal.addEventListener('abort', abort, { once: true })
    work.then(resolve, reject).finally(() => signal.removeEventListener('abort', abort))
  })
}

/** Whether an error says that a deadline has passed. */
export function isTimeout(error: unknown): boolean {
  return error instanceof Error && error.name === 'TimeoutError'
}

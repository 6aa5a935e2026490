/** Waiting between attempts: twice as long each time, with jitter, never less than the service asks for. */
import { RequestError } from './request.ts'

const FIRST_MS = 500
const LONGEST_MS = 30_000

/** How long to wait after the `failures`-th failure in a row; `random` is in [0, 1). */
export function backoffMs(failures: number, retryAfterMs: number | undefined, random: number): number {
  const longest = Math.min(FIRST_MS * 2 ** (failures - 1), LONGEST_MS)
  // Clients that were sent away together must not come back together.
  return (retryAfterMs ?? 0) + longest * (0.5 + random / 2)
}

/** Repeats what fails for a reason that passes, up to `attempts` times in all. Throws at once when `signal` is aborted. */
export async function withRetries<T>(
  run: () => Promise<T>,
  { attempts, signal }: { attempts: number; signal?: AbortSignal | undefined },
): Promise<T> {
  for (let failures = 1; ; failures++) {
    try {
      return await run()
    } catch (error) {
      if (!(error instanceof RequestError) || !error.retryable || failures >= attempts) throw error
      await pause(backoffMs(failures, error.retryAfterMs, Math.random()), signal)
    }
  }
}

/** Waits, and throws the signal's reason as soon as it is aborted. */
export async function pause(ms: number, signal: AbortSignal | undefined): Promise<void> {
  signal?.throwIfAborted()
  await new Promise<void>((resolve) => {
    const end = () => {
      clearTimeout(timer)
      signal?.removeEventListener('abort', end)
      resolve()
    }
    const timer = setTimeout(end, ms)
    signal?.addEventListener('abort', end)
  })
  signal?.throwIfAborted()
}

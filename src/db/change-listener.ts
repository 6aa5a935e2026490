/**
 * Who waits for changes is woken by the database: one connection of the process listens, however many wait. A wake-up can
 * be missed while that connection is made anew, so nobody should wait without looking again after some time.
 */
import { CHANGES_CHANNEL } from './changes.ts'
import type { Database } from './client.ts'

export interface ChangeListener {
  /** Resolves with true at the next change, with false after `ms` or when the listener is closed. */
  nextChange(ms: number): Promise<boolean>
  close(): Promise<void>
}

export async function openChangeListener({ listen }: Pick<Database, 'listen'>): Promise<ChangeListener> {
  const waiting = new Set<(isChange: boolean) => void>()
  let closed = false
  const wakeAll = (isChange: boolean) => {
    for (const wake of waiting) wake(isChange)
  }
  const unlisten = await listen(CHANGES_CHANNEL, () => wakeAll(true))

  return {
    nextChange(ms) {
      if (closed) return Promise.resolve(false)
      return new Promise((resolve) => {
        const wake = (isChange: boolean) => {
          clearTimeout(timer)
          waiting.delete(wake)
          resolve(isChange)
        }
        const timer = setTimeout(wake, ms, false)
        waiting.add(wake)
      })
    },
    async close() {
      if (closed) return
      closed = true
      wakeAll(false)
      await unlisten()
    },
  }
}

/**
 * Readers that wait for changes are woken by the database: one connection of the process listens for all of them. A
 * wake-up can be missed while that connection is made anew, and behind a pooler none comes at all: everybody looks
 * again by themselves after some time.
 */
import { setTimeout as delay } from 'node:timers/promises'
import { CHANGES_CHANNEL } from './changes.ts'
import type { Database } from './connection.ts'

const LOOK_EVERY_MS = 5_000
/** A database that says nothing keeps nobody from ending. */
const CLOSE_WITHIN_MS = 2_000
const LOOK_WITHOUT_LISTENING_EVERY_MS = 1_000

export interface ChangeListener {
  /** Resolves with true when there may be a change, with false after `ms` or when the listener is closed. */
  nextChange(ms: number): Promise<boolean>
  close(): Promise<void>
}

export async function openChangeListener({
  listens,
  listen,
}: Pick<Database, 'listens' | 'listen'>): Promise<ChangeListener> {
  const lookEveryMs = listens ? LOOK_EVERY_MS : LOOK_WITHOUT_LISTENING_EVERY_MS
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
        const timer = setTimeout(wake, Math.min(ms, lookEveryMs), ms > lookEveryMs)
        waiting.add(wake)
      })
    },
    async close() {
      if (closed) return
      closed = true
      wakeAll(false)
      await Promise.race([unlisten(), delay(CLOSE_WITHIN_MS, undefined, { ref: false })])
    },
  }
}

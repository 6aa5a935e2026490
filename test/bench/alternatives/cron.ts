/**
 * Cron: every tick up to 500 rows that are due and not final, the longest due first, one request an ID. One begins a
 * tick each second; one begins the next as soon as the last has ended, as long as it found all the rows it may take.
 */
import { setTimeout as delay } from 'node:timers/promises'
import { type Alternative, createAsker, type Site, type Work } from './alternative.ts'

const ROWS_A_TICK = 500
const TICK_MS = 1_000

/** The rows are the schedule. */
const openScheduler: Alternative['openScheduler'] = async () => ({ add: async () => {}, close: async () => {} })

export const cron: Alternative = { openScheduler, work: (site) => tick(site, false) }
export const cronWithoutPause: Alternative = { openScheduler, work: (site) => tick(site, true) }

async function tick(site: Site, withoutPause: boolean): Promise<Work> {
  const asker = createAsker(site)
  const stop = new AbortController()
  const run = async () => {
    while (!stop.signal.aborted) {
      const begun = performance.now()
      const rows = await asker.sql<{ message_id: string; polls: number }[]>`
        SELECT message_id, polls FROM messages
        WHERE NOT final AND next_poll_at <= now() ORDER BY next_poll_at LIMIT ${ROWS_A_TICK}`
      // As many at once as the pool of connections lets through.
      await Promise.all(rows.map((row) => asker.ask(row.message_id, row.polls)))
      if (withoutPause && rows.length === ROWS_A_TICK) continue
      const pause = withoutPause ? TICK_MS / 20 : Math.max(0, TICK_MS - (performance.now() - begun))
      await delay(pause, undefined, { signal: stop.signal }).catch(() => {})
    }
  }
  const running = run()
  return {
    async close() {
      stop.abort()
      await running
      await asker.close()
    },
  }
}

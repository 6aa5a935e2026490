/**
 * An upgrade in mid-run. The processes of an older version work; then one worker of this version comes up beside them and
 * migrates the database, and for a while all of them run. The others are replaced after that.
 */
import { setTimeout as delay } from 'node:timers/promises'
import { watchBatches } from './evidence.ts'
import type { Stage } from './stage.ts'

const SIDE_BY_SIDE_MS = 10_000

/** Resolves with the time from which on claims are written down, in milliseconds since 1970. */
export async function upgrade(stage: Stage, sendForMs: number, say: (text: string) => void): Promise<number> {
  const { api, workers, database } = stage
  await delay(sendForMs / 2)
  const [first, ...others] = workers
  say('a worker of this version comes up beside those of the older one')
  await first?.stop()
  await first?.start()
  await watchBatches(database.sql)
  const watchedFrom = Date.now()
  await delay(SIDE_BY_SIDE_MS)
  for (const member of [...others, api]) {
    await member.kill()
    await member.start()
  }
  say('all processes are of this version')
  return watchedFrom
}

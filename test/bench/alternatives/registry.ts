/** The alternatives by name, so that a process of its own can be told which to run. */
import type { Alternative } from './alternative.ts'
import { cron, cronWithoutPause } from './cron.ts'
import { graphileWorker } from './graphile-worker.ts'
import { naiveBullmq } from './naive-bullmq.ts'
import { pgBoss } from './pg-boss.ts'

export const alternatives = {
  'naive BullMQ': naiveBullmq,
  'cron, a tick a second': cron,
  'cron without pause': cronWithoutPause,
  'graphile-worker': graphileWorker,
  'pg-boss': pgBoss,
} as const satisfies Record<string, Alternative>

export type AlternativeName = keyof typeof alternatives

export function isAlternative(name: string): name is AlternativeName {
  return Object.hasOwn(alternatives, name)
}

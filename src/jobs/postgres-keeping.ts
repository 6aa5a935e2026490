/**
 * Keeping so many finished jobs of a queue in Postgres. BullMQ would count them whenever a job ends: with 1,000 kept that is
 * three quarters of its work. Here they are counted every few seconds, so that a busy queue holds some more for a moment.
 */
import type pg from 'pg'
import type { Kept, KeptOptions } from './queue-backend.ts'

export interface Keeper {
  /** BullMQ removes by age alone, for which it has an index. */
  keep(queue: string, kept: Kept): KeptOptions
  /** Removes the oldest of those that are more; to be called every few seconds. */
  trim(): Promise<void>
}

/** The predicate of the index is said in full: a state that comes from a row does not imply it. */
const TRIM = `
  WITH bounds AS MATERIALIZED (
    SELECT kept.queue, kept.state, newest.finished_at_ms, newest.seq
    FROM unnest($1::text[], $2::bullmq.job_state[], $3::int[]) AS kept (queue, state, count),
      LATERAL (
        SELECT j.finished_at_ms, j.seq FROM bullmq.job j
        WHERE j.queue = kept.queue AND j.state = kept.state AND j.state IN ('completed', 'failed')
        ORDER BY j.finished_at_ms DESC, j.seq DESC OFFSET kept.count LIMIT 1
      ) AS newest
  ), beyond AS (
    SELECT j.queue, j.id FROM bullmq.job j JOIN bounds b USING (queue, state)
    WHERE j.state IN ('completed', 'failed') AND (j.finished_at_ms, j.seq) <= (b.finished_at_ms, b.seq)
    FOR UPDATE OF j SKIP LOCKED
  )
  DELETE FROM bullmq.job j USING beyond b WHERE j.queue = b.queue AND j.id = b.id`

export function createKeeper(pool: pg.Pool): Keeper {
  const known = new Map<string, Kept>()
  return {
    keep(queue, kept) {
      known.set(queue, kept)
      const { completed, failed } = kept
      return {
        ...(completed ? { removeOnComplete: { age: completed.age } } : {}),
        ...(failed ? { removeOnFail: { age: failed.age } } : {}),
      }
    },
    async trim() {
      const bounds = [...known].flatMap(([queue, kept]) =>
        (['completed', 'failed'] as const).flatMap((state) => {
          const count = kept[state]?.count
          return count === undefined ? [] : [{ queue, state, count }]
        }),
      )
      if (bounds.length === 0) return
      await pool.query(TRIM, [
        bounds.map(({ queue }) => queue),
        bounds.map(({ state }) => state),
        bounds.map(({ count }) => count),
      ])
    },
  }
}

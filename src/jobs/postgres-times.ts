/**
 * The times that BullMQ keeps in Postgres are those of the process that wrote them, and the others go by them: a worker
 * whose clock is an hour ahead and that then leaves keeps an account unasked, a job locked and stalled jobs unnoticed for
 * that hour. In Redis the server counts these times itself.
 */
import type pg from 'pg'

/** No lock, check or window of a rate lasts longer: the lowest rate is a request in 100 seconds. */
const FAR_MS = 120_000
/** A worker that lives renews its locks twice in this time. */
const UNMOVED_MS = 30_000
const NOW_MS = '(extract(epoch FROM now()) * 1000)::bigint'

const FIND = `
  SELECT 'rate_limit' AS kind, queue, '' AS id, expire_at_ms::text AS time FROM bullmq.rate_limit
  WHERE expire_at_ms > ${NOW_MS} + ${FAR_MS}
  UNION ALL
  SELECT 'check', queue, '', value FROM bullmq.meta
  WHERE field = 'stalled-check' AND value::bigint > ${NOW_MS} + ${FAR_MS}
  UNION ALL
  SELECT 'lock', queue, id, locked_until_ms::text FROM bullmq.job
  WHERE state = 'active' AND locked_until_ms > ${NOW_MS} + ${FAR_MS}`

/** Each unless it has moved since it was found. */
const FREE: Record<Found['kind'], string> = {
  rate_limit: "DELETE FROM bullmq.rate_limit WHERE queue = $1 AND $2 = '' AND expire_at_ms = $3",
  check: "DELETE FROM bullmq.meta WHERE queue = $1 AND $2 = '' AND field = 'stalled-check' AND value::bigint = $3",
  lock: `UPDATE bullmq.job SET locked_until_ms = ${NOW_MS} WHERE queue = $1 AND id = $2 AND state = 'active' AND locked_until_ms = $3`,
}

interface Found {
  kind: 'rate_limit' | 'check' | 'lock'
  queue: string
  id: string
  time: string
}

/** To be called every few seconds: frees what lies far ahead and has not moved for a while, so that nobody moves it. */
export function createFreer(pool: pg.Pool, unmovedMs = UNMOVED_MS): () => Promise<void> {
  let known = new Map<string, number>()
  return async function free(): Promise<void> {
    const { rows } = await pool.query<Found>(FIND)
    const now = performance.now()
    const before = known
    known = new Map()
    for (const found of rows) {
      const { kind, queue, id, time } = found
      const key = JSON.stringify(found)
      const since = before.get(key) ?? now
      if (now - since < unmovedMs) known.set(key, since)
      else await pool.query(FREE[kind], [queue, id, time])
    }
  }
}

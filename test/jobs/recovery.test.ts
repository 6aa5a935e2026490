/** Schedulers whose next tick is lost, and times that lie too far ahead: both are mended. test/chaos kills workers and empties Redis. */
import { setTimeout as delay } from 'node:timers/promises'
import { Redis } from 'ioredis'
import { afterEach, describe, expect, it } from 'vitest'
import { openQueueBackend } from '../../src/jobs/backend.ts'
import { createPool } from '../../src/jobs/postgres-backend.ts'
import { createFreer } from '../../src/jobs/postgres-times.ts'
import { createLog } from '../../src/log.ts'
import { readPostgresUrl } from '../../src/urls/postgres.ts'
import {
  allSettled,
  BACKENDS,
  closeAll,
  closeLater,
  createInstallation,
  type Installation,
  minutesAgo,
  ONE_MINUTE,
  openSandbox,
  sevenAccount,
  startService,
  trackOver,
  until,
} from '../support/service.ts'

afterEach(closeAll)

describe.each(BACKENDS)('with the queues in %s', (backend) => {
  it('takes a tick that lies too far ahead for a lost one, and adds one that is lost', {
    timeout: 60_000,
  }, async () => {
    const sandbox = await openSandbox({ law: ONE_MINUTE })
    const installation = await createInstallation(backend)
    await putTicksAhead(installation)
    const polling = { firstAfter: '1h', maxInterval: '1h' }
    const { url } = await startService({ installation, accounts: [sevenAccount(sandbox, { polling })] })
    const settleTwenty = async () => {
      const sentAt = minutesAgo(120)
      await trackOver(url, sandbox.send(20, { sentAt }), { sentAt })
      await allSettled(installation)
    }
    await settleTwenty()
    await loseNextTicks(backend, installation)
    await settleTwenty()
  })
})

/** The doings of a worker whose clock is an hour ahead. */
async function putTicksAhead({ queue }: Installation) {
  for (const [id, every] of [
    ['dispatch', 1_000],
    ['expire', 5_000],
  ] as const) {
    const startDate = Date.now() + 3_600_000
    await queue(id).upsertJobScheduler(id, { every, startDate }, { name: 'tick' })
    expect((await queue(id).getJobScheduler(id))?.next).toBeGreaterThan(Date.now() + 3_000_000)
  }
}

/**
 * The doings of a worker that dies between taking a tick and adding the next one, and whose tick then fails as stalled.
 */
async function loseNextTicks(backend: (typeof BACKENDS)[number], { queueUrl, sql, queue }: Installation) {
  const client = backend === 'redis' ? new Redis(queueUrl) : undefined
  try {
    await until(async () => {
      if (client) await client.del('{lastword}:dispatch:delayed')
      else await sql`DELETE FROM bullmq.job WHERE queue = 'dispatch' AND state = 'delayed'`
      const left = await queue('dispatch').getJobCounts('delayed', 'waiting', 'active')
      expect(left).toEqual({ delayed: 0, waiting: 0, active: 0 })
    })
  } finally {
    client?.disconnect()
  }
}

it('the times in Postgres of a worker that was an hour ahead hold nobody up once it is gone', async () => {
  const { sql, queue, queueUrl } = await createInstallation('postgres')
  const track = queue('track')
  await track.add('order', {}, { jobId: 'locked' })
  const pool = createPool(readPostgresUrl('QUEUE_URL', queueUrl), 1)
  closeLater(() => pool.end())
  const beginAhead = async (aheadMs: number) => {
    const at = Date.now() + aheadMs
    await pool.query("SELECT * FROM move_to_active('track', 'token', 30000, $1, 'ahead', 1, 1000)", [at])
    await pool.query("SELECT * FROM move_stalled_jobs_to_wait('track', 1, $1, 30000)", [at])
  }
  const find = async () => {
    const [row] = await sql`
      SELECT (SELECT count(*)::int FROM bullmq.rate_limit) AS limits,
        (SELECT count(*)::int FROM bullmq.meta WHERE field = 'stalled-check') AS checks,
        (SELECT count(*)::int FROM bullmq.job WHERE locked_until_ms > ${Date.now() + 60_000}) AS locks`
    return row
  }
  await beginAhead(3_600_000)
  const free = createFreer(pool, 200)
  await free()
  expect(await find()).toEqual({ limits: 1, checks: 1, locks: 1 })
  await delay(300)
  await free()
  expect(await find()).toEqual({ limits: 0, checks: 0, locks: 0 })

  // A worker with that clock that lives moves them.
  await sql`UPDATE bullmq.job SET state = 'waiting', locked_until_ms = NULL`
  await beginAhead(3_600_000)
  await free()
  await delay(300)
  await sql`UPDATE bullmq.job SET locked_until_ms = locked_until_ms + 1`
  await sql`UPDATE bullmq.meta SET value = (value::bigint + 1)::text WHERE field = 'stalled-check'`
  await sql`UPDATE bullmq.rate_limit SET expire_at_ms = expire_at_ms + 1`
  await free()
  expect(await find()).toEqual({ limits: 1, checks: 1, locks: 1 })
})

it('a worker with its queues in Postgres works once the tables are there that were not when it began', async () => {
  const { sql, queueUrl } = await createInstallation('postgres')
  const log = createLog({ level: 'silent', secretFields: [] })
  const backend = await openQueueBackend({ url: queueUrl, log, workers: 1 })
  closeLater(() => backend.close())
  await sql`ALTER SCHEMA bullmq RENAME TO away`
  const done: unknown[] = []
  const worker = backend.openWorker('track', async ({ id }) => done.push(id))
  closeLater(() => worker.close())
  const queue = backend.openQueue('track')
  await expect(queue.getJobCounts()).rejects.toThrow(/does not exist/)
  await sql`ALTER SCHEMA away RENAME TO bullmq`
  await queue.add('order', {}, { jobId: 'waits' })
  await until(() => expect(done).toEqual(['waits']))
})

/** Schedulers whose next tick is lost, or lies too far ahead: both are mended. test/chaos kills workers and empties Redis. */
import { Redis } from 'ioredis'
import { afterEach, describe, expect, it } from 'vitest'
import {
  allSettled,
  BACKENDS,
  closeAll,
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

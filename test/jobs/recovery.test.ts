/** Workers killed in mid-batch and a Redis that forgot everything: the leases run out, and everything settles. */
import { Redis } from 'ioredis'
import { afterEach, describe, expect, it } from 'vitest'
import type { Sandbox } from '../../src/sandbox/server.ts'
import {
  allSettled,
  BACKENDS,
  closeAll,
  createInstallation,
  type Installation,
  minutesAgo,
  ONE_MINUTE,
  openSandbox,
  type ServiceProcess,
  sevenAccount,
  spawnService,
  startService,
  statusesOf,
  trackOver,
  truthsOf,
  until,
} from '../support/service.ts'

afterEach(closeAll)

const TIMEOUT_MS = 3_000
const LEASE_MS = 6_000
const BATCH = 10
const MESSAGES = 400
/** From the check of a claim to the moment its request is noted at the provider. */
const ON_ITS_WAY_MS = 500

function accountAt(sandbox: Sandbox, more: object = {}) {
  const polling = { firstAfter: '1h', maxInterval: '1h' }
  return sevenAccount(sandbox, {
    batchSize: BATCH,
    timeout: `${TIMEOUT_MS}ms`,
    requestsPerSecond: 20,
    polling,
    ...more,
  })
}

/** Sends and tracks messages that are delivered already and due at once. */
async function trackDelivered(url: string, sandbox: Sandbox, count: number) {
  const sentAt = minutesAgo(120)
  await trackOver(url, sandbox.send(count, { sentAt }), { sentAt })
}

/**
 * Messages that were asked about twice, and how long apart. A second time is right only when the first answer was lost
 * with its worker, and then the time-out of the first request has passed: no message is ever in two live batches.
 */
function askedAgain(sandbox: Sandbox) {
  return sandbox.truths().flatMap(({ askedAt }) => {
    const [first, ...later] = askedAt.map((at) => at.getTime())
    return later.map((at, index) => ({ first: first ?? 0, apart: at - (askedAt[index]?.getTime() ?? 0) }))
  })
}

async function startProcesses(installation: Installation, sandbox: Sandbox) {
  const environment = installation.environment([accountAt(sandbox)], { LEASE: `${LEASE_MS}ms` })
  const api = spawnService(['api'], environment)
  const url = await api.ready()
  const startWorker = async (): Promise<ServiceProcess> => {
    const worker = spawnService(['worker'], environment)
    await worker.ready()
    return worker
  }
  return { url, startWorker }
}

describe.each(BACKENDS)('with the queues in %s', (backend) => {
  it('settles everything, nothing twice, when a worker is killed in mid-batch', { timeout: 60_000 }, async () => {
    const sandbox = await openSandbox({ law: ONE_MINUTE, knobs: { latencyMs: 1_500 } })
    const installation = await createInstallation(backend)
    const { url, startWorker } = await startProcesses(installation, sandbox)
    const [worker] = await Promise.all([startWorker(), startWorker()])
    await trackDelivered(url, sandbox, MESSAGES)
    await until(() => expect(sandbox.stats().requests).toBeGreaterThan(10))
    const killedAt = Date.now()
    worker.kill('SIGKILL')
    expect(await worker.exited).toBe('SIGKILL')

    await allSettled(installation, 'seven', 40_000)
    expect(await statusesOf(installation)).toEqual(truthsOf(sandbox))
    const again = askedAgain(sandbox)
    expect(again.length).toBeGreaterThan(0)
    for (const { first, apart } of again) {
      expect(first).toBeLessThan(killedAt + ON_ITS_WAY_MS)
      expect(apart).toBeGreaterThan(TIMEOUT_MS - ON_ITS_WAY_MS)
    }
    expect(sandbox.truths().every(({ askedAt }) => askedAt.length <= 2)).toBe(true)
  })

  it('goes on dispatching when the worker that does it is killed at any moment', { timeout: 90_000 }, async () => {
    const sandbox = await openSandbox({ law: ONE_MINUTE })
    const installation = await createInstallation(backend)
    const { url, startWorker } = await startProcesses(installation, sandbox)
    for (let kills = 0; kills < 3; kills++) {
      const worker = await startWorker()
      await trackDelivered(url, sandbox, 20)
      // From just before a tick to well after it.
      await new Promise((resolve) => setTimeout(resolve, Math.random() * 1_500))
      worker.kill('SIGKILL')
      await worker.exited
    }
    await startWorker()
    await trackDelivered(url, sandbox, 20)
    await allSettled(installation, 'seven', 30_000)
    expect(await statusesOf(installation)).toEqual(truthsOf(sandbox))
  })

  it('adds the next tick of a scheduler that has lost it', { timeout: 40_000 }, async () => {
    const sandbox = await openSandbox({ law: ONE_MINUTE })
    const service = await startService({ backend, accounts: [accountAt(sandbox)], lease: `${LEASE_MS}ms` })
    await loseNextTicks(backend, service)
    await trackDelivered(service.url, sandbox, 20)
    await allSettled(service)
  })

  it('takes a tick that lies too far ahead for a lost one', { timeout: 40_000 }, async () => {
    const sandbox = await openSandbox({ law: ONE_MINUTE })
    const installation = await createInstallation(backend)
    await putTicksAhead(installation)
    const service = await startService({ installation, accounts: [accountAt(sandbox)], lease: `${LEASE_MS}ms` })
    await trackDelivered(service.url, sandbox, 20)
    await allSettled(service)
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

it('settles everything, nothing twice, when Redis has forgotten it', { timeout: 60_000 }, async () => {
  const sandbox = await openSandbox({ law: ONE_MINUTE, knobs: { latencyMs: 500 } })
  const installation = await createInstallation('redis')
  const accounts = [accountAt(sandbox, { requestsPerSecond: 5 })]
  const lease = `${LEASE_MS}ms`
  const service = await startService({ installation, accounts, lease })
  await startService({ installation, accounts, lease, parts: { api: false, workers: true } })
  await trackDelivered(service.url, sandbox, 250)
  const queue = service.queue('status-query.seven')
  await until(async () => {
    expect(sandbox.stats().requests).toBeGreaterThan(2)
    expect(await queue.getWaitingCount()).toBeGreaterThan(2)
    expect(await queue.getActiveCount()).toBeGreaterThan(0)
  })
  const client = new Redis(service.queueUrl)
  await client.flushdb()
  client.disconnect()

  await until(async () => {
    expect(await service.queue('dispatch').getJobScheduler('dispatch')).toMatchObject({ every: 1_000 })
    expect(await service.queue('expire').getJobScheduler('expire')).toMatchObject({ every: 5_000 })
  })
  await allSettled(service, 'seven', 40_000)
  expect(await statusesOf(service)).toEqual(truthsOf(sandbox))
  expect(askedAgain(sandbox)).toEqual([])
})

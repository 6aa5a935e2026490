/** Finished jobs are kept for a time, and so many of them; on both backends. */
import { setTimeout as delay } from 'node:timers/promises'
import { afterEach, describe, expect, it } from 'vitest'
import type { Kept, QueueBackend } from '../../src/jobs/queue-backend.ts'
import { BACKENDS, closeAll, closeLater, createInstallation, until } from '../support/service.ts'

afterEach(closeAll)

/** Adds so many jobs, of which every second fails, and waits until they have ended one after the other. */
async function endJobs(queues: QueueBackend, name: string, count: number, kept: Kept) {
  const queue = queues.openQueue(name)
  const options = { concurrency: 1, ...queues.keep(name, kept) }
  const worker = queues.openWorker(
    name,
    async ({ data }) => {
      if (data.index % 2 === 1) throw new Error('every second fails')
    },
    options,
  )
  closeLater(() => worker.close())
  await queue.addBulk(Array.from({ length: count }, (_, index) => ({ name: 'one', data: { index } })))
  await until(async () => expect(await queue.getJobCountByTypes('waiting', 'active')).toBe(0))
  return queue
}

const indexesOf = (jobs: readonly { data: { index: number } }[]) =>
  jobs.map(({ data }) => data.index).sort((a, b) => a - b)

describe.each(BACKENDS)('finished jobs, with the queues in %s', (backend) => {
  it('stay as many as are kept, the newest of them, and nothing else goes', async () => {
    const { queues } = await createInstallation(backend)
    const hour = 3600
    const kept = { completed: { age: hour, count: 3 }, failed: { age: hour, count: 2 } }
    const queue = await endJobs(queues, 'kept', 20, kept)
    const others = await endJobs(queues, 'others', 4, {})
    await queue.add('later', { index: 100 }, { delay: hour * 1000 })
    await queues.tidy()
    expect(indexesOf(await queue.getJobs('completed'))).toEqual([14, 16, 18])
    expect(indexesOf(await queue.getJobs('failed'))).toEqual([17, 19])
    expect(await queue.getDelayedCount()).toBe(1)
    expect(await others.getJobCountByTypes('completed', 'failed')).toBe(4)
  })

  it('go when they are older than what is kept', async () => {
    const { queues } = await createInstallation(backend)
    const kept = { completed: { age: 1, count: 100 }, failed: { age: 1, count: 100 } }
    const queue = await endJobs(queues, 'kept', 4, kept)
    await delay(2_100)
    await queue.addBulk([
      { name: 'one', data: { index: 10 } },
      { name: 'one', data: { index: 11 } },
    ])
    await until(async () => {
      expect(indexesOf(await queue.getJobs('completed'))).toEqual([10])
      expect(indexesOf(await queue.getJobs('failed'))).toEqual([11])
    })
  })

  it('are trimmed by several processes at once', async () => {
    const { queues } = await createInstallation(backend)
    const queue = await endJobs(queues, 'kept', 40, { completed: { age: 3600, count: 5 } })
    await Promise.all(Array.from({ length: 5 }, () => queues.tidy()))
    expect(indexesOf(await queue.getJobs('completed'))).toEqual([30, 32, 34, 36, 38])
    expect(await queue.getFailedCount()).toBe(20)
  })
})

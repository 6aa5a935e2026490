/** The queue `track`, as an app uses it that knows nothing of Lastword but the name of the queue and its payload. */
import { createPostgresBackend, Queue } from 'bullmq'
import pg from 'pg'
import { afterEach, describe, expect, inject, it } from 'vitest'
import { openProxy } from '../support/proxy.ts'
import {
  BACKENDS,
  type Backend,
  closeAll,
  closeLater,
  createInstallation,
  type Installation,
  messageStates,
  openSandbox,
  sevenAccount,
  startService,
  until,
} from '../support/service.ts'

afterEach(closeAll)

/** Nothing but BullMQ. */
function openTrackQueue(backend: Backend, { queueUrl }: Installation): Queue {
  if (backend === 'redis') {
    const queue = new Queue('track', { connection: { url: queueUrl }, prefix: '{lastword}' })
    closeLater(() => queue.close())
    return queue
  }
  const pool = new pg.Pool({ connectionString: queueUrl, options: '-c search_path=bullmq,public' })
  const queue = new Queue('track', { connection: pool } as never, createPostgresBackend) as unknown as Queue
  closeLater(async () => {
    await queue.close()
    await pool.end()
  })
  return queue
}

const POLLING = { firstAfter: '1h', maxInterval: '1h' }

async function start(
  backend: Backend,
  environment: (installation: Installation) => Record<string, string> = () => ({}),
) {
  const sandbox = await openSandbox()
  const installation = await createInstallation(backend)
  const accounts = [sevenAccount(sandbox, { polling: POLLING })]
  const service = await startService({ installation, accounts, environment: environment(installation) })
  return { service, queue: openTrackQueue(backend, installation) }
}

function order(...messageIds: string[]) {
  return { v: 1, account: 'seven', messages: messageIds.map((messageId) => ({ messageId })) }
}

async function add(queue: Queue, data: unknown): Promise<string> {
  const job = await queue.add('order', data)
  return job.id ?? ''
}

async function tracked(installation: Installation): Promise<string[]> {
  return (await messageStates(installation)).map(({ messageId }) => messageId)
}

describe.each(BACKENDS)('with the queues in %s', (backend) => {
  it('tracks what an order names, and says so', async () => {
    const { service, queue } = await start(backend)
    const first = await add(queue, order('1001', '1002'))
    const state = (id: string) => async () => expect(await (await queue.getJob(id))?.getState()).toBe('completed')
    await until(state(first))
    expect((await queue.getJob(first))?.returnvalue).toEqual({ tracked: 2, alreadyTracked: 0 })
    const second = await add(queue, order('1002', '1003'))
    await until(state(second))
    expect((await queue.getJob(second))?.returnvalue).toEqual({ tracked: 1, alreadyTracked: 1 })
    expect(await tracked(service)).toEqual(['1001', '1002', '1003'])
  })

  it('waits while the database is away, and tracks when it is back', async () => {
    const { hostname, port } = new URL(inject('databaseUrl'))
    const proxy = await openProxy({ host: hostname, port: Number(port) })
    closeLater(() => proxy.close())
    const { service, queue } = await start(backend, ({ databaseUrl }) => {
      const url = new URL(databaseUrl)
      url.port = String(proxy.port)
      return { DATABASE_URL: url.href }
    })
    const before = await add(queue, order('1001'))
    await until(async () => expect(await (await queue.getJob(before))?.getState()).toBe('completed'))
    await proxy.cut()
    const id = await add(queue, order('1002'))
    const later = await add(queue, order('1003'))
    await until(async () => expect((await queue.getJob(id))?.attemptsStarted).toBeGreaterThan(2))
    // Nothing depends on the clock of the worker that met the outage.
    expect(await queue.getJobCountByTypes('delayed', 'failed')).toBe(0)
    expect(await tracked(service)).toEqual(['1001'])
    await proxy.restore()
    await until(async () => expect(await (await queue.getJob(id))?.getState()).toBe('completed'))
    expect((await queue.getJob(id))?.returnvalue).toEqual({ tracked: 1, alreadyTracked: 0 })
    await until(async () => expect(await (await queue.getJob(later))?.getState()).toBe('completed'))
    expect(await tracked(service)).toEqual(['1001', '1002', '1003'])
  })
})

it('tracks a partial order as far as it can, and says what it could not', async () => {
  const { service, queue } = await start('redis')
  const messages = [{ messageId: '1' }, { messageId: null }, { messageId: '?' }, 7, { messageId: ' 1' }]
  const id = await add(queue, { v: 1, account: 'seven', partial: true, messages })
  await until(async () => expect(await (await queue.getJob(id))?.getState()).toBe('completed'))
  expect((await queue.getJob(id))?.returnvalue).toEqual({
    tracked: 1,
    alreadyTracked: 1,
    refused: [
      { index: 1, messageId: null, reason: expect.stringContaining('found null: the provider gave no ID') },
      { index: 2, messageId: '?', reason: expect.stringMatching(/^messageId: expected /) },
      { index: 3, messageId: null, reason: expect.any(String) },
    ],
  })
  expect(await tracked(service)).toEqual(['1'])
})

it('fails malformed orders with their reason, and tracks the others', async () => {
  const { service, queue } = await start('redis')
  const wrong: [unknown, RegExp][] = [
    [{ ...order('1'), v: 2 }, /^Expected a job of version 1, found version 2\. /],
    [{ account: 'seven', messages: [{ messageId: '2' }] }, /^Expected a job of version 1, found no version\. /],
    [{ ...order('3'), account: 'nobody' }, /^No account named "nobody" is configured; known are: seven\.$/],
    [order('not an ID!'), /^Nothing was tracked\. messages\[0\]\.messageId: expected /],
    [{ ...order('5'), sender: 'x' }, /^The job is not valid\. /],
  ]
  const good = [await add(queue, order('1001'))]
  const bad = await Promise.all(wrong.map(([data]) => add(queue, data)))
  good.push(await add(queue, order('1002')))
  for (const [index, id] of bad.entries()) {
    const reason = await until(async () => {
      const job = await queue.getJob(id)
      return job?.failedReason || expect.fail('not failed')
    })
    expect(reason).toMatch(wrong[index]?.[1] ?? /never/)
    const job = await queue.getJob(id)
    expect([await job?.getState(), job?.attemptsMade, job?.data]).toEqual(['failed', 1, wrong[index]?.[0]])
  }
  for (const id of good) {
    await until(async () => expect(await (await queue.getJob(id))?.getState()).toBe('completed'))
  }
  expect(await tracked(service)).toEqual(['1001', '1002'])
})

it('tracks an order that was mended and retried', async () => {
  const { service, queue } = await start('redis')
  const id = await add(queue, { ...order('1001'), account: 'sevn' })
  await until(async () => expect(await (await queue.getJob(id))?.getState()).toBe('failed'))
  const job = await queue.getJob(id)
  await job?.updateData(order('1001'))
  await job?.retry()
  await until(async () => expect(await (await queue.getJob(id))?.getState()).toBe('completed'))
  expect(await tracked(service)).toEqual(['1001'])
})

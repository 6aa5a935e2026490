/** The dispatcher by itself. That it claims, fills and recovers is tested where workers run (status-query, lookups, chaos). */
import type { Job } from 'bullmq'
import { afterAll, expect, it, vi } from 'vitest'
import { findInstallation, findReceiptsWaitedMsAgo, noteReceiptsWait } from '../../src/db/installation.ts'
import { createWaitingNote } from '../../src/http/waiting-receipts.ts'
import { openQueueBackend } from '../../src/jobs/backend.ts'
import { createDispatcher } from '../../src/jobs/dispatch.ts'
import { openQueues } from '../../src/jobs/queues.ts'
import { openLearner } from '../../src/learner.ts'
import { createLog } from '../../src/log.ts'
import type { Account } from '../../src/providers/account.ts'
import { findProvider } from '../../src/providers/registry.ts'
import { track } from '../../src/tracking.ts'
import { readOrder } from '../../src/tracking-order.ts'
import { openTables } from '../support/api.ts'
import { closeAll, closeLater, minutesAgo } from '../support/service.ts'

afterAll(closeAll)

const settings = { name: 'seven', provider: 'seven', apiKey: 'key', polling: { firstAfter: '1s', maxInterval: '1s' } }
const account = findProvider('seven')?.accountSchema.parse(settings) as Account
const log = createLog({ level: 'silent', secretFields: [] })

async function openDispatcher() {
  const tables = await openTables()
  closeLater(tables.close)
  const { db, url } = tables
  await findInstallation(db)
  const accounts = new Map([['seven', account]])
  const learner = await openLearner({ db, accounts, log })
  closeLater(() => learner.close())
  const backend = await openQueueBackend({ url, log, workers: 0 })
  closeLater(() => backend.close())
  const queues = openQueues(backend, [account])
  const dispatch = createDispatcher({ db, queues, accounts, learner, leaseMs: 60_000 })
  const trackOne = (messageId: string) =>
    track(
      db,
      accounts,
      readOrder({ account: 'seven', messages: [{ messageId, sentAt: minutesAgo(5).toISOString() }] }, 'order'),
    )
  return { db, tick: () => dispatch({} as Job), trackOne }
}

it('gives way while receipts wait for the database in numbers, but for one tick in ten', async () => {
  const { db, tick, trackOne } = await openDispatcher()
  expect(await findReceiptsWaitedMsAgo(db)).toBe(Number.POSITIVE_INFINITY)
  await trackOne('1')
  expect(await tick()).toEqual({ seven: { jobs: 1, messages: 1 } })

  const note = createWaitingNote(db, log)
  note(999)
  expect(await findReceiptsWaitedMsAgo(db)).toBe(Number.POSITIVE_INFINITY)
  note(1_000)
  await vi.waitFor(async () => expect(await findReceiptsWaitedMsAgo(db)).toBeLessThan(3_000))
  await trackOne('2')
  const results = []
  for (let tickNumber = 2; tickNumber <= 10; tickNumber++) {
    await noteReceiptsWait(db)
    results.push(Object.keys(await tick()))
  }
  expect(results).toEqual([...Array.from({ length: 8 }, () => []), ['seven']])
})

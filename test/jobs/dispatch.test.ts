/** The dispatcher by itself. That it claims, fills and recovers is tested where workers run (status-query, lookups, chaos). */
import type { Job } from 'bullmq'
import { sql } from 'drizzle-orm'
import { afterAll, expect, it, vi } from 'vitest'
import { moveHealth } from '../../src/db/accounts.ts'
import { findInstallation, findReceiptsWaitedMsAgo, noteReceiptsWait } from '../../src/db/installation.ts'
import { applyReports } from '../../src/db/reports.ts'
import { batches, messages } from '../../src/db/schema.ts'
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

const accountOf = (provider: string, secret: object) => {
  const settings = { name: provider, provider, ...secret, polling: { firstAfter: '1s', maxInterval: '1s' } }
  return findProvider(provider)?.accountSchema.parse(settings) as Account
}
const SEVEN = accountOf('seven', { apiKey: 'key' })
const CM = accountOf('cm', { productToken: 'token' })
const log = createLog({ level: 'silent', secretFields: [] })

async function openDispatcher(account: Account) {
  const tables = await openTables()
  closeLater(tables.close)
  const { db, url } = tables
  await findInstallation(db)
  const accounts = new Map([[account.name, account]])
  const learner = await openLearner({ db, accounts, log })
  closeLater(() => learner.close())
  const backend = await openQueueBackend({ url, log, workers: 0 })
  closeLater(() => backend.close())
  const queues = openQueues(backend, [account])
  const dispatch = createDispatcher({ db, queues, accounts, learner, leaseMs: 60_000 })
  const trackOne = (messageId: string, minutes = 5) => {
    const messages = [{ messageId, sentAt: minutesAgo(minutes).toISOString() }]
    return track(db, accounts, readOrder({ account: account.name, messages }, 'order'))
  }
  return { db, tick: () => dispatch({} as Job), trackOne }
}

it('gives way while receipts wait for the database in numbers, but for one tick in ten', async () => {
  const { db, tick, trackOne } = await openDispatcher(SEVEN)
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

it.each([SEVEN, CM])('probes $name past messages that are settled or whose window has closed', async (account) => {
  const { db, tick, trackOne } = await openDispatcher(account)
  const ids = ['1', '2', '3', '4']
  for (const [index, messageId] of ids.entries()) await trackOne(messageId, 9 - index)
  const report = { status: 'delivered', rawStatus: 'DELIVERED', source: 'webhook', occurredAt: new Date() } as const
  await applyReports(db, [{ account: account.name, messageId: '1', ...report }])
  await db.execute(sql`UPDATE ${messages} SET window_ends_at = now() WHERE message_id = '2'`)
  await moveHealth(db, account.name, () => ({ health: { trouble: 'failing', probes: 1 }, events: [] }))
  expect(await tick()).toEqual({ [account.name]: { jobs: 1, messages: 1 } })
  const held = await db.execute(sql`
    SELECT message_id FROM ${messages} WHERE id = ANY(ARRAY(SELECT unnest(messages) FROM ${batches}))`)
  expect(held).toEqual([{ message_id: '3' }])
})

it('asks about messages that are set apart with a tenth of the requests of a claim', async () => {
  const { db, tick, trackOne } = await openDispatcher(SEVEN)
  for (let id = 1; id <= 30; id++) await trackOne(String(id))
  await db.execute(sql`UPDATE ${messages} SET query_error = 'code 600'`)
  await trackOne('31')
  expect(await tick()).toEqual({ seven: { jobs: 6, messages: 6 } })
})

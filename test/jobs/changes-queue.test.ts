/** An app's own queue: one job a change, in order, and none missing whenever a process is killed. */
import { setTimeout as delay } from 'node:timers/promises'
import { createPostgresBackend, type Job, Worker } from 'bullmq'
import pg from 'pg'
import { afterEach, describe, expect, it } from 'vitest'
import { readConfig } from '../../src/config.ts'
import { describeQueue } from '../../src/core/queue-table.ts'
import type { Status, StatusReport } from '../../src/core/status.ts'
import { openChangeListener } from '../../src/db/change-listener.ts'
import { nameOfChange } from '../../src/db/changes.ts'
import { openDatabase } from '../../src/db/connection.ts'
import { findInstallation } from '../../src/db/installation.ts'
import { applyReports } from '../../src/db/reports.ts'
import { openFeeder } from '../../src/jobs/feeder.ts'
import { openQueues } from '../../src/jobs/queues.ts'
import { createLog } from '../../src/log.ts'
import { createReceiver } from '../sandbox/receiver.ts'
import {
  BACKENDS,
  type Backend,
  closeAll,
  closeLater,
  createInstallation,
  type Installation,
  type ServiceProcess,
  sendReceipt,
  spawnService,
  startService,
  trackOver,
  until,
} from '../support/service.ts'

afterEach(closeAll)

const QUEUE = 'sms-changes'
const SECRET = `whsec_${Buffer.from('a secret of 32 bytes, not a word').toString('base64')}`
const START = Date.parse('2026-03-01T12:00:00Z')

const accountOf = (name: string, more: object = {}) => ({
  name,
  provider: 'seven',
  apiKey: 'key',
  query: 'off',
  changesQueue: QUEUE,
  timeout: '1s',
  ...more,
})

let ids = 0
const newIds = (count: number) => Array.from({ length: count }, () => String(77_000_000_000 + ++ids))

/** Applies reports as webhooks and polls do, in a process that has no workers. */
async function openWriter({ databaseUrl }: Installation) {
  const { db, close } = await openDatabase(databaseUrl, { maxConnections: 1 })
  closeLater(() => close())
  return async (messageIds: readonly string[], status: Status, ms: number, account = 'seven') => {
    const rest = { account, status, rawStatus: status, occurredAt: new Date(START + ms), source: 'poll' } as const
    await applyReports(
      db,
      messageIds.map((messageId): StatusReport => ({ messageId, ...rest })),
    )
  }
}

interface Taken {
  id: string | undefined
  name: string
  data: { v: number; account: string; messageId: string; status: Status; previousStatus: Status | null }
}

/** An app's own worker, which knows nothing of Lastword but the name of the queue, and its prefix in Redis. */
function openAppWorker(backend: Backend, { queueUrl }: Installation): Taken[] {
  const taken: Taken[] = []
  const take = async ({ id, name, data }: Job) => {
    taken.push({ id, name, data })
  }
  if (backend === 'redis') {
    const worker = new Worker(QUEUE, take, { connection: { url: queueUrl }, prefix: '{lastword}' })
    closeLater(() => worker.close())
    return taken
  }
  const pool = new pg.Pool({ connectionString: queueUrl, options: '-c search_path=bullmq,public' })
  const worker = new Worker(QUEUE, take, { connection: pool } as never, createPostgresBackend)
  closeLater(async () => {
    await worker.close()
    await pool.end()
  })
  return taken
}

/** The job IDs that all changes so far must have, in their order. */
async function expectedIds({ sql }: Installation): Promise<string[]> {
  const rows = await sql<{ position: string; changed_at: Date; id: string }[]>`
    SELECT position, changed_at, id FROM lastword.changes CROSS JOIN lastword.installation ORDER BY position`
  return rows.map((row) => nameOfChange(row.id, Number(row.position), row.changed_at))
}

/** The IDs of the jobs that wait for the app, in the order in which it will get them. */
async function waitingIds({ queue }: Installation): Promise<string[]> {
  const jobs = await queue(QUEUE).getJobs(['waiting'], 0, -1, true)
  return jobs.map(({ id }) => id ?? '')
}

async function spawnWorker(environment: Record<string, string>): Promise<ServiceProcess> {
  const worker = spawnService(['worker'], environment)
  await worker.ready()
  return worker
}

async function killAtOnce(service: ServiceProcess): Promise<void> {
  service.kill('SIGKILL')
  expect(await service.exited).toBe('SIGKILL')
}

/** Feeds changes as a worker does, with nothing else of it. */
async function feed(
  { databaseUrl, queues: backend, environment }: Installation,
  given: readonly object[],
  more: { mostUnread: number },
): Promise<void> {
  const { accounts: list } = readConfig(environment(given))
  const accounts = new Map(list.map((account) => [account.name, account]))
  const database = await openDatabase(databaseUrl, { maxConnections: 2 })
  closeLater(() => database.close())
  const { db } = database
  const listener = await openChangeListener(database)
  closeLater(() => listener.close())
  const { id: installation } = await findInstallation(db)
  const log = createLog({ level: 'silent', secretFields: [] })
  const queues = openQueues(backend, list)
  const feeder = openFeeder({ ...more, db, backend, queues, accounts, listener, leaseMs: 60_000, installation, log })
  closeLater(() => feeder.close())
}

const BLOCK = 4711

/** Holds up whoever moves a reader's position, until it is let go. */
async function holdPositions({ sql }: Installation) {
  await sql.unsafe(`
    CREATE FUNCTION hold_position() RETURNS trigger LANGUAGE plpgsql AS
      $$ BEGIN PERFORM pg_advisory_xact_lock(${BLOCK}); RETURN NEW; END $$;
    CREATE TRIGGER hold BEFORE UPDATE ON lastword.feed_readers FOR EACH ROW EXECUTE FUNCTION hold_position();
  `)
  const held = await sql.reserve()
  await held`SELECT pg_advisory_lock(${BLOCK})`
  return {
    someoneWaits: () =>
      until(async () => {
        const waiting = await sql`SELECT FROM pg_locks WHERE locktype = 'advisory' AND objid = ${BLOCK} AND NOT granted`
        expect(waiting).toHaveLength(1)
      }),
    async letGo() {
      await held`SELECT pg_advisory_unlock(${BLOCK})`
      held.release()
      await sql`DROP FUNCTION hold_position CASCADE`
    },
  }
}

describe.each(BACKENDS)('with the queues in %s', (backend) => {
  it('gives the app one job a change, in order, with what the feed tells', async () => {
    const service = await startService({ backend, accounts: [accountOf('seven')] })
    const apply = await openWriter(service)
    const taken = openAppWorker(backend, service)
    const messageIds = newIds(20)
    await trackOver(service.url, messageIds)
    for (const [ms, status] of (['transmitted', 'delivered', 'read'] as const).entries()) {
      await apply(messageIds, status, ms)
    }
    await until(() => expect(taken).toHaveLength(60))
    expect(taken.map(({ id }) => id)).toEqual(await expectedIds(service))
    const { changes } = (await (await fetch(`${service.url}/v1/changes`)).json()) as { changes: { status: Status }[] }
    expect(taken.map(({ name, data }) => ({ name, data }))).toEqual(
      changes.map((change) => ({ name: change.status, data: { v: 1, ...change } })),
    )
    for (const messageId of messageIds) {
      const own = taken.filter(({ data }) => data.messageId === messageId)
      expect(own.map(({ data }) => data.status)).toEqual(['transmitted', 'delivered', 'read'])
    }
  })

  it('loses nothing when a process dies after adding jobs and before it noted that', { timeout: 60_000 }, async () => {
    const installation = await createInstallation(backend)
    const accounts = [accountOf('seven')]
    const { url } = await startService({ installation, accounts, parts: { api: true, workers: false } })
    const worker = await spawnWorker(installation.environment(accounts))
    const apply = await openWriter(installation)
    const messageIds = newIds(10)
    await trackOver(url, messageIds)
    const held = await holdPositions(installation)
    await apply(messageIds, 'transmitted', 1)
    await held.someoneWaits()
    const added = await waitingIds(installation)
    expect(added).toEqual(await expectedIds(installation))
    await apply(messageIds, 'delivered', 2)
    await killAtOnce(worker)
    // The app goes on meanwhile, and has done with some of them.
    const done = added.slice(0, 4)
    for (const id of done) await installation.queue(QUEUE).remove(id)

    await held.letGo()
    await spawnWorker(installation.environment(accounts))
    const expected = await expectedIds(installation)
    expect(expected).toHaveLength(20)
    await until(async () => expect([...(await waitingIds(installation))].sort()).toEqual([...expected].sort()))
    // Jobs that were still there were not added twice, and the new ones come in their order.
    const [kept, repeated] = [added.slice(4), await waitingIds(installation)]
    expect(repeated).toEqual([...kept, ...done, ...expected.slice(10)])
    const jobs = await Promise.all(repeated.map((id) => installation.queue(QUEUE).getJob(id)))
    const told = jobs.map((job) => `${job?.data.messageId} ${job?.data.status}`)
    expect(new Set(told).size).toBe(20)
  })

  it('lets changes wait in the database while nobody takes jobs, and loses none', async () => {
    const service = await startService({
      backend,
      accounts: [accountOf('seven')],
      parts: { api: true, workers: false },
    })
    await feed(service, [accountOf('seven')], { mostUnread: 3 })
    const apply = await openWriter(service)
    const [first, second] = [newIds(5), newIds(5)]
    await trackOver(service.url, [...first, ...second])
    await apply(first, 'delivered', 1)
    await until(async () => expect(await waitingIds(service)).toHaveLength(5))
    await delay(1_500)
    await apply(second, 'delivered', 2)
    await delay(1_500)
    expect(await waitingIds(service)).toHaveLength(5)
    const taken = openAppWorker(backend, service)
    await until(() => expect(taken).toHaveLength(10))
    expect(taken.map(({ id }) => id)).toEqual(await expectedIds(service))
  })
})

it('tells by job and by callback what was committed before a process died', { timeout: 60_000 }, async () => {
  const receiver = await createReceiver()
  closeLater(receiver.close)
  const installation = await createInstallation('redis')
  const accounts = [accountOf('seven', { callback: { url: receiver.url, secret: SECRET } })]
  const environment = installation.environment(accounts, { CALLBACK_ALLOW_PRIVATE: 'true' })
  // No worker has ever run here: what comes before the first one is told by it.
  const api = spawnService(['api'], environment)
  const url = await api.ready()
  const messageIds = newIds(5)
  await trackOver(url, messageIds)
  for (const messageId of messageIds) expect(await sendReceipt(url, messageId, 'DELIVERED')).toBe(200)
  await killAtOnce(api)
  expect(receiver.received).toEqual([])
  expect(await waitingIds(installation)).toEqual([])

  await spawnWorker(environment)
  await until(() => expect(receiver.received).toHaveLength(5))
  const told = receiver.received.map(({ text }) => JSON.parse(text).data.messageId)
  expect(told.sort()).toEqual([...messageIds].sort())
  await until(async () => expect(await waitingIds(installation)).toEqual(await expectedIds(installation)))
})

it('calls again with the same ID when a process died in the middle of a callback', { timeout: 60_000 }, async () => {
  const receiver = await createReceiver((index) => (index === 0 ? 'hang' : 200))
  closeLater(receiver.close)
  const installation = await createInstallation('redis')
  const accounts = [accountOf('seven', { callback: { url: receiver.url, secret: SECRET } })]
  const environment = installation.environment(accounts, { CALLBACK_ALLOW_PRIVATE: 'true' })
  const { url } = await startService({ installation, accounts, parts: { api: true, workers: false }, environment })
  const worker = await spawnWorker(environment)
  const [messageId = ''] = newIds(1)
  await trackOver(url, [messageId])
  expect(await sendReceipt(url, messageId, 'DELIVERED')).toBe(200)
  await until(() => expect(receiver.received).toHaveLength(1))
  await killAtOnce(worker)
  // Its lease runs out.
  await installation.sql`UPDATE lastword.callbacks SET next_attempt_at = now()`

  await spawnWorker(environment)
  await until(async () => {
    expect(await installation.sql`SELECT FROM lastword.callbacks`).toHaveLength(0)
  })
  const [first, ...again] = receiver.received
  expect(again.length).toBeGreaterThan(0)
  for (const { headers, text } of again) {
    expect([headers['webhook-id'], text]).toEqual([first?.headers['webhook-id'], first?.text])
  }
})

it('is one queue for two accounts that name the same, and shown in Bull Board', async () => {
  const accounts = [accountOf('seven'), accountOf('other'), accountOf('silent', { changesQueue: undefined })]
  const service = await startService({ accounts })
  const apply = await openWriter(service)
  const messageIds = newIds(5)
  for (const account of ['seven', 'other', 'silent']) await trackOver(service.url, messageIds, { account })
  for (const [ms, status] of (['transmitted', 'delivered'] as const).entries()) {
    for (const account of ['seven', 'other', 'silent']) await apply(messageIds, status, ms, account)
  }
  const health = { trouble: 'refused', bad: { since: 0, count: 1, refusals: 0, reason: 'HTTP 401' } }
  await service.sql`UPDATE lastword.account_states SET health = ${service.sql.json(health)} WHERE account = 'other'`
  const board = await (await fetch(`${service.url}/queues/api/queues`)).json()
  const shown = (board as { queues: { name: string; description: string }[] }).queues
  expect(shown.filter(({ name }) => name === QUEUE)).toHaveLength(1)
  const refused = 'At present account "other" is refused, and only one message at a time is asked about: HTTP 401. '
  for (const { name, description } of shown) {
    const waits = name === 'status-query.other' ? refused : ''
    expect([name, description]).toEqual([name, waits + describeQueue(name)])
  }

  const taken = openAppWorker('redis', service)
  await until(() => expect(taken).toHaveLength(20))
  for (const account of ['seven', 'other']) {
    for (const messageId of messageIds) {
      const own = taken.filter(({ data }) => data.account === account && data.messageId === messageId)
      expect(own.map(({ data }) => [data.previousStatus, data.status])).toEqual([
        [null, 'transmitted'],
        ['transmitted', 'delivered'],
      ])
    }
  }
  expect(new Set(taken.map(({ id }) => id)).size).toBe(20)
})

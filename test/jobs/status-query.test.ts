/**
 * Status queries against everything that goes wrong at a provider. One installation a backend, two workers, an account
 * and a sandbox for each case, and all cases at once: an account that suffers must not concern the others.
 */
import { randomUUID } from 'node:crypto'
import { createServer } from 'node:http'
import type { Job } from 'bullmq'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { accountQueueName } from '../../src/core/queue-table.ts'
import { capacityOf } from '../../src/jobs/dispatch.ts'
import { statusQueryJobOptions } from '../../src/jobs/status-query-jobs.ts'
import type { Account } from '../../src/providers/account.ts'
import { findProvider } from '../../src/providers/registry.ts'
import type { KnobsPatch } from '../../src/sandbox/knobs.ts'
import type { Sandbox } from '../../src/sandbox/server.ts'
import { anyTime } from '../support/api.ts'
import {
  allSettled,
  BACKENDS,
  type Backend,
  closeAll,
  closeLater,
  messageStates,
  minutesAgo,
  ONE_MINUTE,
  openSandbox,
  type Service,
  sendReceipt,
  sevenAccount,
  startService,
  statusesOf,
  trackOver,
  truthsOf,
  until,
} from '../support/service.ts'

const statusQueryQueue = (account: string) => accountQueueName('status-query', account)
const LEASE_MS = 4_000
const TIMEOUT_MS = 1_000
const FIRST_AFTER_MS = 600
/** Messages come due about once a second, so that a second poll is not long in coming. */
const POLLING = { firstAfter: `${FIRST_AFTER_MS}ms`, factor: 1, maxInterval: '1s' }
const NOT_DUE_BY_ITSELF = { firstAfter: '1h', maxInterval: '1h' }
const SECRET = 'a-key-that-nobody-may-see'
const RATE = 10

const CASES: Record<string, object> = {
  seconds: { polling: POLLING },
  date: { polling: POLLING },
  patient: { polling: POLLING, requestsPerSecond: 50 },
  servererrors: { polling: POLLING },
  malformed: { polling: POLLING },
  cutoff: { polling: POLLING },
  timeouts: { polling: POLLING },
  permanent: { polling: POLLING },
  refused: { polling: POLLING, apiKey: SECRET },
  unmapped: { polling: POLLING },
  counts: { polling: NOT_DUE_BY_ITSELF },
  version: { polling: NOT_DUE_BY_ITSELF },
  paused: { polling: POLLING, batchSize: 10, requestsPerSecond: 5 },
  pressure: { polling: POLLING, batchSize: 10, requestsPerSecond: 5 },
  rate: { polling: POLLING, batchSize: 1, requestsPerSecond: RATE },
}

interface Stage {
  service: Service
  sandbox(name: string): Sandbox
  /** The provider with a status that nobody has heard of; what it says next. */
  say(status: string): void
}

const stages = new Map<Backend, Stage>()

/** The cases in which a queue itself is at work: attempts, pauses, limits. */
const OF_THE_QUEUE = ['patient', 'permanent', 'paused', 'pressure', 'rate']

beforeAll(async () => {
  stages.set('redis', await openStage('redis', Object.keys(CASES)))
  stages.set('postgres', await openStage('postgres', OF_THE_QUEUE))
})
afterAll(closeAll)

async function openStage(backend: Backend, cases: readonly string[]): Promise<Stage> {
  const sandboxes = new Map<string, Sandbox>()
  const creative = await openCreativeProvider()
  const accounts: object[] = []
  for (const name of cases) {
    const sandbox = await openSandbox({ law: ONE_MINUTE })
    sandboxes.set(name, sandbox)
    const common = { name, timeout: `${TIMEOUT_MS}ms`, requestsPerSecond: 20, ...CASES[name] }
    accounts.push(sevenAccount(sandbox, name === 'unmapped' ? { ...common, baseUrl: creative.url } : common))
  }
  const lease = `${LEASE_MS}ms`
  const service = await startService({ backend, accounts, lease })
  await startService({ installation: service, accounts, lease, parts: { api: false, workers: true } })
  const sandbox = (name: string) => sandboxes.get(name) ?? expect.fail(`no case ${name}`)
  return { service, sandbox, say: creative.say }
}

/** Answers every query with one status for all its messages. */
async function openCreativeProvider() {
  let status = 'TELEPORTED'
  const server = createServer((request, response) => {
    const ids = new URL(request.url ?? '', 'http://localhost').searchParams.get('msg_id')?.split(',') ?? []
    response.end(JSON.stringify(ids.map((id) => ({ id, status, status_time: '2026-01-31 12:00:00.000' }))))
  })
  await new Promise<void>((listening) => server.listen(0, '127.0.0.1', listening))
  closeLater(async () => {
    server.closeAllConnections()
    await new Promise((closed) => server.close(closed))
  })
  const address = server.address()
  const port = typeof address === 'object' && address ? address.port : 0
  const say = (next: string) => {
    status = next
  }
  return { url: `http://127.0.0.1:${port}/api`, say }
}

/** Sends and tracks messages that are delivered already and due at once. */
async function trackDelivered({ service, sandbox }: Stage, account: string, count: number): Promise<string[]> {
  const sentAt = minutesAgo(5)
  const messageIds = sandbox(account).send(count, { sentAt })
  await trackOver(service.url, messageIds, { account, sentAt })
  return messageIds
}

/** Every moment a message of this account was asked about, in order. */
function askedTimes(sandbox: Sandbox): number[] {
  return sandbox
    .truths()
    .flatMap(({ askedAt }) => askedAt.map((at) => at.getTime()))
    .sort((one, other) => one - other)
}

async function expectTruth({ service, sandbox }: Stage, account: string) {
  await allSettled(service, account)
  expect(await statusesOf(service, account)).toEqual(truthsOf(sandbox(account)))
}

/** The finished jobs of an account that asked about something. */
async function finishedJobs({ service }: Stage, account: string): Promise<Job[]> {
  const jobs = await service.queue(statusQueryQueue(account)).getJobs(['completed', 'failed'])
  return jobs.filter(({ returnvalue, failedReason }) => failedReason || returnvalue?.asked > 0)
}

async function questionsAbout({ url }: Service, account: string, messageId = ''): Promise<Record<string, unknown>[]> {
  const answer = await fetch(`${url}/v1/messages/${account}/${messageId}`)
  return ((await answer.json()) as { queries: Record<string, unknown>[] }).queries
}

describe.concurrent.each(BACKENDS)('with the queues in %s', (backend) => {
  const stageOf = () => stages.get(backend) ?? expect.fail('no stage')

  it('fails visibly when the provider does not recover, keeps the messages, and asks again later', {
    timeout: 90_000,
  }, async () => {
    const stage = stageOf()
    const sandbox = stage.sandbox('permanent')
    sandbox.set({ serverErrors: 1 })
    const messageIds = await trackDelivered(stage, 'permanent', 5)
    const queue = stage.service.queue(statusQueryQueue('permanent'))
    const failed = await until(async () => {
      const [job] = await queue.getFailed()
      return job ?? expect.fail('nothing has failed yet')
    }, 60_000)
    expect(failed.failedReason).toMatch(/^the provider answered HTTP 50[0-4]$/)
    expect(failed.attemptsMade).toBe(5)
    expect(failed.data.messageIds.toSorted()).toEqual(messageIds)
    for (const state of await messageStates(stage.service, 'permanent')) {
      expect(state).toMatchObject({ status: null, final: false, dueAt: expect.any(Date) })
    }
    const [first = 0, ...later] = [...new Set(askedTimes(sandbox))].slice(0, 5)
    const pauses = later.map((at, index) => at - (later[index - 1] ?? first))
    // Doubling from two seconds, with jitter over the upper half.
    for (const [index, pause] of pauses.entries()) expect(pause).toBeGreaterThan(1_000 * 2 ** index * 0.99)

    sandbox.set({ serverErrors: 0 })
    await expectTruth(stage, 'permanent')
    const questions = await questionsAbout(stage.service, 'permanent', messageIds[0])
    const last = questions.pop()
    expect(last).toMatchObject({ outcome: 'answered', error: null })
    expect(questions.length).toBeGreaterThanOrEqual(5)
    for (const question of questions) expect(question).toMatchObject({ outcome: 'failed', ids: 5, rawStatus: null })
    expect(questions[4]).toMatchObject({ job: failed.id, batch: failed.data.batch, error: failed.failedReason })
  })

  it('uses up no attempt when it is told to wait, however often', { timeout: 90_000 }, async () => {
    const stage = stageOf()
    const sandbox = stage.sandbox('patient')
    sandbox.set({ rateLimited: { share: 1, retryAfter: 1 } })
    await trackDelivered(stage, 'patient', 5)
    await until(() => expect(sandbox.stats().faults.rateLimited).toBeGreaterThan(6), 40_000)
    sandbox.set({ rateLimited: { share: 0 } })
    await expectTruth(stage, 'patient')
    await until(async () => {
      const jobs = await finishedJobs(stage, 'patient')
      expect(jobs).toMatchObject([{ attemptsMade: 1, returnvalue: { asked: 5, final: 5 } }])
    })
  })

  it('asks nothing while a queue is paused, keeps its promises meanwhile, and nothing twice afterwards', {
    timeout: 60_000,
  }, async () => {
    const stage = stageOf()
    const { service } = stage
    const sandbox = stage.sandbox('paused')
    const queue = service.queue(statusQueryQueue('paused'))
    sandbox.set({ latencyMs: 200 })
    await trackDelivered(stage, 'paused', 200)
    await until(() => expect(sandbox.stats().requests).toBeGreaterThan(2))
    await queue.pause()
    await until(async () => expect(await queue.getActiveCount()).toBe(0))
    const { requests } = sandbox.stats()
    // Not counted by type: BullMQ's Postgres backend counts no waiting jobs in a paused queue.
    const inQueue = async () => (await queue.getJobs(['waiting', 'delayed'])).length
    const held = await inQueue()
    expect(held).toBeGreaterThan(0)

    const [webhooked = ''] = await trackDelivered(stage, 'paused', 1)
    expect(await sendReceipt(service.url, webhooked, 'DELIVERED', 'paused')).toBe(200)
    // The leases of the batches in the queue run out; their messages are due again, and nobody takes them.
    await until(async () => {
      const [row] = await service.sql`
        SELECT count(*)::int AS due, (SELECT count(*)::int FROM lastword.batches WHERE account = 'paused') AS batches
        FROM lastword.due WHERE account = 'paused' AND due_at < now()`
      expect(row?.due).toBeGreaterThan(0)
      expect(row?.batches).toBe(0)
    }, 2 * LEASE_MS)
    const dispatched = await service.queue('dispatch').getCompleted(0, 0)
    await until(async () => {
      const [latest] = await service.queue('dispatch').getCompleted(0, 0)
      expect(latest?.timestamp).toBeGreaterThan((dispatched[0]?.timestamp ?? 0) + 1_500)
    })
    expect(sandbox.stats().requests).toBe(requests)
    expect(await inQueue()).toBe(held)
    expect((await statusesOf(service, 'paused'))[webhooked]).toBe('delivered')

    await queue.resume()
    await expectTruth(stage, 'paused')
    for (const { messageId, askedAt } of sandbox.truths()) {
      expect({ messageId, asked: askedAt.length }).toEqual({ messageId, asked: messageId === webhooked ? 0 : 1 })
    }
  })

  it('claims no more than its workers can run, however much is due', async () => {
    const stage = stageOf()
    const { service } = stage
    const sandbox = stage.sandbox('pressure')
    const account = findProvider('seven')?.accountSchema.parse(
      sevenAccount(sandbox, { ...CASES.pressure, timeout: `${TIMEOUT_MS}ms` }),
    ) as Account
    const capacity = capacityOf(account, LEASE_MS)
    expect(capacity).toBe(10)
    await trackDelivered(stage, 'pressure', 5_000)
    const queue = service.queue(statusQueryQueue('pressure'))
    const seen: number[] = []
    await until(async () => {
      seen.push(await queue.getJobCountByTypes('waiting', 'active', 'delayed', 'prioritized'))
      expect(sandbox.stats().requests).toBeGreaterThan(20)
    })
    expect(Math.max(...seen)).toBeLessThanOrEqual(capacity)
    expect(Math.max(...seen)).toBeGreaterThan(capacity / 2)
    const [row] = await service.sql`
      SELECT coalesce(sum(cardinality(messages)), 0)::int AS claimed FROM lastword.batches WHERE account = 'pressure'`
    expect(row?.claimed).toBeLessThanOrEqual(capacity * 10)
    await queue.pause()
  })

  it('keeps the budget of requests per second, two workers together', async () => {
    const stage = stageOf()
    const begun = Date.now()
    await trackDelivered(stage, 'rate', RATE * 5)
    await expectTruth(stage, 'rate')
    const times = askedTimes(stage.sandbox('rate')).filter((at) => at >= begun)
    expect(times.length).toBe(RATE * 5)
    // A second begins with its first request, so two budgets may meet at most; over all, no more than one a second.
    for (const [index, at] of times.entries()) {
      const withinSecond = times.slice(index).filter((other) => other < at + 1000).length
      expect(withinSecond).toBeLessThanOrEqual(2 * RATE)
    }
    // The first request may wait for its connection. With a budget for each worker it would take two seconds.
    const seconds = ((times.at(-1) ?? 0) - (times[0] ?? 0)) / 1000
    expect(seconds).toBeGreaterThan(5 - 1 - 0.5)
  })
})

describe.concurrent('with any queues', () => {
  const stageOf = () => stages.get('redis') ?? expect.fail('no stage')

  it.each([
    ['seconds', 2],
    ['date', 'date'],
  ] as const)('asks nothing before a Retry-After in %s is over', async (account, retryAfter) => {
    const stage = stageOf()
    const sandbox = stage.sandbox(account)
    sandbox.set({ rateLimited: { share: 1, retryAfter } })
    await trackDelivered(stage, account, 5)
    await until(() => expect(sandbox.stats().faults.rateLimited).toBe(1))
    sandbox.set({ rateLimited: { share: 0 } })
    // These messages come due while the account waits.
    await trackDelivered(stage, account, 5)
    await expectTruth(stage, account)

    const [first = 0, second = 0] = [...new Set(askedTimes(sandbox))]
    const allowedAt = retryAfter === 'date' ? Math.floor(first / 1000) * 1000 + 2_000 : first + retryAfter * 1000
    expect(second).toBeGreaterThanOrEqual(allowedAt)
    await until(async () => {
      const jobs = await finishedJobs(stage, account)
      expect(jobs.reduce((sum, { returnvalue }) => sum + returnvalue.final, 0)).toBe(10)
      for (const { attemptsMade } of jobs) expect(attemptsMade).toBe(1)
    })
  })

  it.each([
    ['servererrors', { serverErrors: 1 }, { serverErrors: 0 }],
    ['malformed', { malformed: 1 }, { malformed: 0 }],
    ['cutoff', { cutOff: 1 }, { cutOff: 0 }],
    ['timeouts', { timeouts: 1 }, { timeouts: 0 }],
  ] satisfies [string, KnobsPatch, KnobsPatch][])('tries again after a pause: %s', async (account, wrong, right) => {
    const stage = stageOf()
    const sandbox = stage.sandbox(account)
    sandbox.set(wrong)
    await trackDelivered(stage, account, 5)
    await until(() => expect(sandbox.stats().requests).toBe(1))
    const isHurt = () => expect(Object.values(sandbox.stats().faults)).toContain(1)
    await until(isHurt)
    sandbox.set(right)
    await expectTruth(stage, account)
    const [first = 0, second = 0, ...others] = [...new Set(askedTimes(sandbox))]
    expect(second - first).toBeGreaterThan(990)
    expect(others).toEqual([])
    await until(async () => {
      const jobs = await finishedJobs(stage, account)
      expect(jobs).toMatchObject([{ attemptsMade: 2, returnvalue: { asked: 5, final: 5 } }])
    })
  })

  it('fails at once when the credentials are refused, without showing them, and keeps the messages', async () => {
    const stage = stageOf()
    const messageIds = await trackDelivered(stage, 'refused', 5)
    const queue = stage.service.queue(statusQueryQueue('refused'))
    const failed = await until(async () => {
      const [job] = await queue.getFailed()
      return job ?? expect.fail('nothing has failed yet')
    })
    expect(failed).toMatchObject({
      failedReason: 'the provider answered with code 900: the API key is wrong',
      attemptsMade: 1,
    })
    expect(failed.data.messageIds.toSorted()).toEqual(messageIds)
    expect(JSON.stringify(failed)).not.toContain(SECRET)
    const states = await messageStates(stage.service, 'refused')
    expect(states.map(({ final, status }) => ({ final, status }))).toEqual(
      messageIds.map(() => ({ final: false, status: null })),
    )
    for (const { dueAt } of states) expect(dueAt).not.toBeNull()
    expect(stage.sandbox('refused').stats().wrongKeys).toBeGreaterThan(0)
  })

  it('keeps a status that is not in the table, and goes on asking', async () => {
    const stage = stageOf()
    const messageIds = await trackDelivered(stage, 'unmapped', 2)
    await until(async () => {
      for (const state of await messageStates(stage.service, 'unmapped')) {
        expect(state).toMatchObject({ status: 'accepted', final: false })
        expect(state.polls).toBeGreaterThan(1)
      }
    })
    const shown = await fetch(`${stage.service.url}/v1/messages/unmapped/${messageIds[0]}`)
    expect(await shown.json()).toMatchObject({ reports: [{ status: 'accepted', rawStatus: 'TELEPORTED' }] })
    stage.say('DELIVERED')
    await allSettled(stage.service, 'unmapped')
    expect(Object.values(await statusesOf(stage.service, 'unmapped'))).toEqual(['delivered', 'delivered'])
  })

  it('says in the job what it asked about and what came of it, without phone numbers', async () => {
    const stage = stageOf()
    const { service } = stage
    const sandbox = stage.sandbox('counts')
    const delivered = sandbox.send(3, { sentAt: minutesAgo(5) })
    const transmitted = sandbox.send(2, { sentAt: minutesAgo(0.5) })
    const notYet = sandbox.send(1, { sentAt: minutesAgo(-10) })
    const settled = sandbox.send(1, { sentAt: minutesAgo(5) })
    const messageIds = [...delivered, ...transmitted, ...notYet, '99999999999', ...settled]
    const recipient = '+4917612345678'
    const answer = await fetch(`${service.url}/v1/messages`, {
      method: 'POST',
      headers: { 'content-type': 'application/json' },
      body: JSON.stringify({
        account: 'counts',
        messages: messageIds.map((messageId) => ({ messageId, recipient })),
      }),
    })
    expect(answer.status).toBe(202)
    const batch = randomUUID()
    await service.sql`DELETE FROM lastword.due WHERE account = 'counts'`
    await service.sql`
      INSERT INTO lastword.batches (id, account, lease_ends_at, messages)
      SELECT ${batch}, 'counts', now() + interval '1 hour', array_agg(id) FROM lastword.messages WHERE account = 'counts'`
    expect(await sendReceipt(service.url, String(settled[0]), 'DELIVERED', 'counts')).toBe(200)

    const queue = service.queue(statusQueryQueue('counts'))
    const data = { v: 2, account: 'counts', lookup: 'status', batch, messageIds }
    const { id = '' } = await queue.add('by hand', data, statusQueryJobOptions)
    const job = await until(async () => {
      const found = await queue.getJob(id)
      return found?.finishedOn ? found : expect.fail('not finished')
    })
    expect(job.failedReason).toBeUndefined()
    expect(job.returnvalue).toEqual({
      asked: 7,
      final: 3,
      intermediate: 2,
      noStatusYet: 1,
      missing: 1,
      alreadySettled: 1,
      givenBack: 0,
    })
    const asked = { lookup: 'status', batch, job: id, ids: 7, error: null, at: anyTime }
    const answers = { [String(delivered[0])]: 'DELIVERED', [String(transmitted[0])]: 'TRANSMITTED' }
    for (const [messageId, rawStatus] of Object.entries(answers)) {
      const told = [{ ...asked, outcome: 'answered', rawStatus }]
      expect(await questionsAbout(service, 'counts', messageId)).toEqual(told)
    }
    const silent = { ...asked, rawStatus: null }
    expect(await questionsAbout(service, 'counts', notYet[0])).toEqual([{ ...silent, outcome: 'noStatusYet' }])
    expect(await questionsAbout(service, 'counts', '99999999999')).toEqual([{ ...silent, outcome: 'missing' }])
    expect(await questionsAbout(service, 'counts', settled[0])).toEqual([])
    const ofBatch = `/messages?account=counts&batch=${batch}`
    const listed = (await (await fetch(`${service.url}/v1${ofBatch}`)).json()) as { messages: { messageId: string }[] }
    const asks = messageIds.filter((messageId) => messageId !== settled[0])
    expect(listed.messages.map(({ messageId }) => messageId).sort()).toEqual(asks.sort())
    const board = await fetch(`${service.url}/queues/api/queues/${statusQueryQueue('counts')}/${id}`)
    expect(await board.json()).toMatchObject({ job: { externalUrl: { href: ofBatch } } })
    // The same batch once more: it has ended, so nothing is asked.
    const before = sandbox.stats().requests
    const again = await queue.add('once more', data, statusQueryJobOptions)
    await until(async () => {
      const found = await queue.getJob(again.id ?? '')
      expect(found?.returnvalue).toMatchObject({ asked: 0, alreadySettled: 0, givenBack: 8 })
    })
    expect(sandbox.stats().requests).toBe(before)
    for (const account of Object.keys(CASES)) {
      for (const other of await service.queue(statusQueryQueue(account)).getJobs()) {
        expect(JSON.stringify(other?.data ?? {})).not.toMatch(/recipient|17612345678|447700900/)
      }
    }
  })

  it('puts into its jobs what Bull Board shows: the version, the account and the IDs', async () => {
    const stage = stageOf()
    const messageIds = await until(async () => {
      const [job] = await finishedJobs(stage, 'servererrors')
      expect(Object.keys(job?.data ?? {}).sort()).toEqual(['account', 'batch', 'lookup', 'messageIds', 'v'])
      expect(job?.data).toMatchObject({ v: 2, account: 'servererrors', lookup: 'status', batch: expect.any(String) })
      return job?.data.messageIds as string[]
    })
    expect(messageIds.toSorted()).toEqual(
      stage
        .sandbox('servererrors')
        .truths()
        .map(({ messageId }) => messageId),
    )
  })

  it('refuses a batch of a version it does not know, and leaves it where it can be retried', async () => {
    const { service, sandbox } = stageOf()
    const queue = service.queue(statusQueryQueue('version'))
    const data = { v: 3, account: 'version', somethingNew: [] }
    const { id = '' } = await queue.add('from the future', data, statusQueryJobOptions)
    const job = await until(async () => {
      const found = await queue.getJob(id)
      return found?.failedReason ? found : expect.fail('not refused')
    })
    expect(job.failedReason).toBe(
      'Expected a job of version 2, found version 3. Retry the job on a worker that knows it.',
    )
    expect(job.attemptsMade).toBe(1)
    expect(await job.getState()).toBe('failed')
    expect(job.data).toEqual(data)

    // Of 0.1.0: its messages are in the schedule already.
    const old = { v: 1, account: 'version', lookup: 'status', claim: randomUUID(), messageIds: ['1'] }
    const { id: oldId = '' } = await queue.add('from 0.1.0', old, statusQueryJobOptions)
    await until(async () => {
      expect((await queue.getJob(oldId))?.returnvalue).toMatchObject({
        asked: 0,
        next: expect.stringContaining('0.1.0'),
      })
    })
    expect(sandbox('version').stats().requests).toBe(0)
  })
})

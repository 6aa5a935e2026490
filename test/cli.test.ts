/** The command line, as real processes: what it says to the operator, how it ends, and how its processes work together. */
import { exec } from 'node:child_process'
import { createServer } from 'node:net'
import { promisify } from 'node:util'
import { Redis } from 'ioredis'
import { afterEach, describe, expect, inject, it } from 'vitest'
import packageJson from '../package.json' with { type: 'json' }
import { readConfig } from '../src/config.ts'
import { openQueueBackend } from '../src/jobs/backend.ts'
import { openQueues } from '../src/jobs/queues.ts'
import { createLog } from '../src/log.ts'
import { openProxy } from './support/proxy.ts'
import {
  allSettled,
  BACKENDS,
  closeAll,
  closeLater,
  createInstallation,
  messageStates,
  minutesAgo,
  ONE_MINUTE,
  openSandbox,
  sendReceipt,
  sevenAccount,
  spawnService,
  startService,
  statusesOf,
  trackOver,
  truthsOf,
  until,
} from './support/service.ts'
import { createDatabase, createEmptyDatabase, freePort } from './support/services.ts'

afterEach(closeAll)

const PASSWORD = 'a-password-nobody-may-see'
/** An operator should not have to wait for bad news. A start that is told nothing else waits for 30 s. */
const QUICKLY_MS = 25_000

/** Runs a command that must fail with one sentence, after those that say what it waits for; returns the exit code and the sentence. */
async function fail(args: string[], environment: Record<string, string>) {
  const begun = Date.now()
  const process = spawnService(args, environment)
  const code = await process.exited
  expect(Date.now() - begun).toBeLessThan(QUICKLY_MS)
  const output = process.output()
  expect(output).not.toContain(PASSWORD)
  expect(output).not.toMatch(/\n\s+at /)
  const lines = output
    .trim()
    .split('\n')
    .filter((line) => !line.includes('"msg":"waiting, for 3 s at most: '))
  expect(lines).toHaveLength(1)
  return { code, sentence: lines[0] ?? '' }
}

describe('a wrong configuration', () => {
  it.each([
    ['ACCOUNTS that are not JSON', { ACCOUNTS: `[{"apiKey":"${PASSWORD}"` }, /^lastword: ACCOUNTS: .*JSON/],
    ['no API_KEYS on a public HOST', { HOST: '0.0.0.0' }, /^lastword: API_KEYS: found nothing, .*0\.0\.0\.0/],
  ])('ends with 2 and one sentence: %s', async (_what, environment, sentence) => {
    expect(await fail(['start'], environment)).toEqual({ code: 2, sentence: expect.stringMatching(sentence) })
  })
})

/** Waiting is tested in operating/. */
const IMPATIENT = { PORT: '0', START_WITHIN: '200ms' }
/** For a start whose database answers, however busy the machine is. */
const PATIENT = { PORT: '0', START_WITHIN: '3s' }

describe('what cannot be reached at the start', () => {
  it.each(['worker', 'migrate'])('%s ends with 1 and one sentence without a database', async (command) => {
    const port = await freePort()
    const failed = await fail([command], {
      DATABASE_URL: `postgres://lastword:${PASSWORD}@127.0.0.1:${port}/x`,
      ...IMPATIENT,
    })
    const sentence = new RegExp(
      `^lastword: DATABASE_URL: 127\\.0\\.0\\.1:${port} does not answer \\(.*ECONNREFUSED.*\\); start`,
    )
    expect(failed).toEqual({ code: 1, sentence: expect.stringMatching(sentence) })
  })

  it('says so when the database refuses the password or does not exist', async () => {
    const url = new URL(inject('databaseUrl'))
    url.pathname = '/there-is-no-such-database'
    const failed = await fail(['start'], { DATABASE_URL: url.href, PORT: '0' })
    expect(failed).toEqual({ code: 1, sentence: expect.stringMatching(/^lastword: DATABASE_URL: .*does not exist/) })
  })

  it.each(['start', 'worker'])('%s ends with 1 and one sentence without Redis', async (command) => {
    const { url, drop } = await createDatabase()
    closeLater(drop)
    const port = await freePort()
    const QUEUE_URL = `redis://user:${PASSWORD}@127.0.0.1:${port}/0`
    const failed = await fail([command], { DATABASE_URL: url, QUEUE_URL, ...PATIENT })
    const sentence = new RegExp(`^lastword: QUEUE_URL: redis://127\\.0\\.0\\.1:${port} does not answer \\(.*\\); start`)
    expect(failed).toEqual({ code: 1, sentence: expect.stringMatching(sentence) })
  })

  it('ends with 1 and one sentence when the queues cannot live in the database named', async () => {
    const { url, drop } = await createDatabase()
    closeLater(drop)
    const port = await freePort()
    const QUEUE_URL = `postgres://user:${PASSWORD}@127.0.0.1:${port}/x`
    const failed = await fail(['start'], { DATABASE_URL: url, QUEUE_URL, ...PATIENT })
    expect(failed).toEqual({
      code: 1,
      sentence: expect.stringMatching(/^lastword: QUEUE_URL: .* does not answer \(.*\);/),
    })
  })

  it('ends with 1 and one sentence when the port is taken', async () => {
    const { url, drop } = await createDatabase()
    closeLater(drop)
    const taken = createServer()
    const port = await freePort()
    await new Promise<void>((listening) => taken.listen(port, '127.0.0.1', listening))
    closeLater(() => new Promise((closed) => taken.close(closed)))
    const failed = await fail(['api'], { DATABASE_URL: url, PORT: String(port), LOG_LEVEL: 'warn' })
    expect(failed).toEqual({ code: 1, sentence: expect.stringMatching(new RegExp(`^lastword: PORT: .*${port}`)) })
    const sandbox = await fail(['sandbox', '--port', String(port)], {})
    expect(sandbox).toEqual({ code: 1, sentence: expect.stringMatching(new RegExp(`^lastword: .*${port}`)) })
  })
})

describe('the commands', () => {
  it('explains itself', async () => {
    const help = spawnService(['--help'])
    expect(await help.exited).toBe(0)
    for (const command of ['start', 'api', 'worker', 'migrate', 'sandbox', 'demo']) {
      expect(help.output()).toMatch(new RegExp(`^  ${command}\\b.*  \\w`, 'm'))
    }
    const version = spawnService(['worker', '--version'])
    expect(await version.exited).toBe(0)
    expect(version.output()).toBe(`${packageJson.version}\n`)
    const unknown = spawnService(['begin'])
    expect(await unknown.exited).not.toBe(0)
    expect(unknown.output()).toContain("error: unknown command 'begin'")
  })

  it('migrates an empty database, and again', async () => {
    const { url, drop } = await createEmptyDatabase()
    closeLater(drop)
    for (let times = 0; times < 2; times++) {
      const migrate = spawnService(['migrate'], { DATABASE_URL: url })
      expect(await migrate.exited).toBe(0)
      expect(migrate.output()).toBe('The database is up to date.\n')
    }
  })

  it('runs a sandbox that sends, knows the truth and stops', async () => {
    const port = await freePort()
    const sandbox = spawnService([
      'sandbox',
      '--port',
      String(port),
      '--time-scale',
      '1000',
      '--knobs',
      '{"latencyMs":1}',
    ])
    await until(() => expect(sandbox.output()).toContain(`"baseUrl":"http://127.0.0.1:${port}/api"`))
    await until(() => expect(sandbox.output()).toContain('/sandbox/knobs'))
    const commands = sandbox.output().match(/(?<=^ {2})curl .*/gm) ?? []
    const answers = await Promise.all(commands.map((command) => promisify(exec)(`${command} -s`)))
    expect(answers.map(({ stdout }) => JSON.parse(stdout))).toMatchObject([
      { success: '100', messages: [{ recipient: '447700900001' }] },
      { messageIds: Array(10).fill(expect.stringMatching(/^\d{11}$/)) },
      { errorCode: 0, messages: [{ status: 'Accepted', reference: 'order-4711' }] },
      { messages: Array(10).fill({ messageId: expect.any(String), recipient: expect.any(String) }) },
    ])
    const truth = await fetch(`http://127.0.0.1:${port}/sandbox/cm/truth/order-4711`)
    expect(await truth.json()).toMatchObject({ messageId: 'order-4711', recipient: '447700900001' })
    expect(await (await fetch(`http://127.0.0.1:${port}/sandbox/knobs`)).json()).toMatchObject({ latencyMs: 1 })
    sandbox.kill('SIGTERM')
    expect(await sandbox.exited).toBe(0)
  })

  it('says what is wrong with the knobs of the sandbox', async () => {
    const failed = await fail(['sandbox', '--port', '0', '--knobs', '{"latency":1}'], {})
    expect(failed).toEqual({ code: 2, sentence: expect.stringMatching(/knobs/) })
  })

  it.each([
    [['sandbox', '--port', '70000'], "'70000' is invalid. Expected a port, from 0 to 65535."],
    [['sandbox', '--time-scale', 'x'], "'x' is invalid. Expected a number above 0."],
    [['simulate', '--scale', '0'], "'0' is invalid. Expected a number above 0."],
  ])('says what is wrong with %j', async (args, sentence) => {
    const failed = spawnService(args)
    expect(await failed.exited).toBe(2)
    expect(failed.output()).toContain(sentence)
    expect(failed.output()).not.toMatch(/^ +at /m)
  })
})

describe.each(BACKENDS)('api and worker as two processes, with the queues in %s', (backend) => {
  it('settle what was tracked', async () => {
    const sandbox = await openSandbox({ law: ONE_MINUTE })
    const installation = await createInstallation(backend, createEmptyDatabase)
    const environment = installation.environment([sevenAccount(sandbox)])
    const [api, worker] = [spawnService(['api'], environment), spawnService(['worker'], environment)]
    const [url] = await Promise.all([api.ready(), worker.ready()])
    const sentAt = minutesAgo(5)
    const messageIds = sandbox.send(150, { sentAt })
    await trackOver(url, messageIds, { sentAt })
    expect(await sendReceipt(url, String(messageIds[0]), 'DELIVERED')).toBe(200)
    await allSettled(installation)
    expect(await statusesOf(installation)).toEqual(truthsOf(sandbox))
    for (const process of [api, worker]) {
      process.kill('SIGTERM')
      expect(await process.exited).toBe(0)
    }
  })

  it('have a worker for every queue', async () => {
    const sandbox = await openSandbox()
    const accounts = ['seven', 'other'].map((name) => sevenAccount(sandbox, { name }))
    const service = await startService({ backend, accounts })
    const queues = await openQueueBackend({
      url: service.queueUrl,
      log: createLog({ level: 'silent', secretFields: [] }),
      workers: 0,
    })
    closeLater(() => queues.close())
    const { all } = openQueues(queues, readConfig({ ACCOUNTS: JSON.stringify(accounts) }).accounts)
    expect(all.map(({ name }) => name).sort()).toEqual([
      'callbacks',
      'dispatch',
      'expire',
      'status-query.other',
      'status-query.seven',
      'track',
    ])
    for (const queue of all) {
      const { id = '' } = await queue.add('is anybody there?', { v: 0 })
      await until(async () => {
        const job = await queue.getJob(id)
        expect({ queue: queue.name, finished: job?.finishedOn !== undefined }).toEqual({
          queue: queue.name,
          finished: true,
        })
      })
    }
  })
})

it('goes on taking messages and receipts while Redis is away, and polls again when it is back', {
  timeout: 60_000,
}, async () => {
  const sandbox = await openSandbox({ law: ONE_MINUTE })
  const installation = await createInstallation('redis')
  const redis = new URL(installation.queueUrl)
  const proxy = await openProxy({ host: redis.hostname, port: Number(redis.port) })
  closeLater(() => proxy.close())
  redis.port = String(proxy.port)
  const environment = installation.environment([sevenAccount(sandbox)], { QUEUE_URL: redis.href, LOG_LEVEL: 'info' })
  const service = spawnService(['start'], environment)
  const url = await service.ready()
  const sentAt = minutesAgo(5)
  await trackOver(url, sandbox.send(20, { sentAt }), { sentAt })
  await allSettled(installation)

  await proxy.cut()
  await until(async () => {
    const response = await fetch(`${url}/health/ready`)
    expect([response.status, await response.json()]).toMatchObject([200, { status: 'degraded', database: 'ok' }])
  })
  const { requests } = sandbox.stats()
  const messageIds = sandbox.send(20, { sentAt })
  await trackOver(url, messageIds, { sentAt })
  expect(await sendReceipt(url, String(messageIds[0]), 'DELIVERED')).toBe(200)
  expect((await messageStates(installation)).filter(({ final }) => !final)).toHaveLength(19)
  expect(sandbox.stats().requests).toBe(requests)

  await proxy.restore()
  await allSettled(installation, 'seven', 30_000)
  expect(await statusesOf(installation)).toEqual(truthsOf(sandbox))
  service.kill('SIGTERM')
  expect(await service.exited).toBe(0)
  const client = new Redis(installation.queueUrl)
  const left = await client.keys('*')
  client.disconnect()
  expect(left.filter((key) => !key.startsWith('{lastword}:'))).toEqual([])
})

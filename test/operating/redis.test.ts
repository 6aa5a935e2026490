/** Redis as it is run: failed over, full, frozen, in a cluster, behind TLS, with users that may little (docs: Operating). */
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest'
import { openQueueBackend } from '../../src/jobs/backend.ts'
import { createLog } from '../../src/log.ts'
import { execute, type RedisServer, startRedis } from '../support/programs.ts'
import { openProxy } from '../support/proxy.ts'
import {
  allSettled,
  closeAll,
  closeLater,
  createInstallation,
  minutesAgo,
  ONE_MINUTE,
  openSandbox,
  sevenAccount,
  spawnService,
  startService,
  trackOver,
  until,
} from '../support/service.ts'
import { createDatabase, freePort } from '../support/services.ts'

afterEach(closeAll)

const POLLING = { firstAfter: '1s', maxInterval: '1s' }

async function openRedis(settings?: Record<string, string>): Promise<RedisServer> {
  const server = await startRedis(settings)
  closeLater(() => server.close())
  return server
}

async function readiness(url: string): Promise<{ status: number; body: Record<string, string> }> {
  const response = await fetch(`${url}/health/ready`)
  return { status: response.status, body: (await response.json()) as Record<string, string> }
}

/** An API and a worker, apart, with their queues in a Redis; and a message that is due at once whenever one is wanted. */
async function startApart(queueUrl: string) {
  const installation = await createInstallation('redis', createDatabase, queueUrl)
  const sandbox = await openSandbox({ law: ONE_MINUTE })
  const accounts = [sevenAccount(sandbox, { polling: POLLING })]
  const port = await freePort()
  const environment = { METRICS_PORT: String(port) }
  const { url } = await startService({ installation, accounts, parts: { api: true, workers: false } })
  await startService({ installation, accounts, parts: { api: false, workers: true }, environment })
  const trackOne = async () => {
    const sentAt = minutesAgo(5)
    const ids = sandbox.send(1, { sentAt })
    await trackOver(url, ids, { sentAt })
    return ids[0]
  }
  const settleOne = async () => {
    await trackOne()
    await allSettled(installation)
  }
  return { url, workerUrl: `http://127.0.0.1:${port}`, trackOne, settleOne }
}

const DEGRADED = { status: 200, body: { status: 'degraded', database: 'ok', detail: expect.stringMatching(/go on/) } }

describe('a Redis that takes no writes', () => {
  it('is connected to anew when its name leads to another server (F1)', { timeout: 60_000 }, async () => {
    const [first, second] = [await openRedis(), await openRedis()]
    const name = await openProxy({ host: '127.0.0.1', port: first.port })
    closeLater(() => name.close())
    const { url, workerUrl, settleOne } = await startApart(`redis://127.0.0.1:${name.port}`)
    await settleOne()
    expect(await readiness(workerUrl)).toMatchObject({ status: 200, body: { status: 'ok', queue: 'ok' } })

    // A failover: the connections stay with what is a replica from now on; new ones would lead to the primary.
    await first.command('replicaof', '127.0.0.1', String(second.port))
    await until(async () => expect((await readiness(workerUrl)).body.queue).not.toBe('ok'))
    expect(await readiness(url)).toMatchObject(DEGRADED)
    name.aim(second.port)
    await until(async () => expect(await readiness(workerUrl)).toMatchObject({ status: 200, body: { queue: 'ok' } }))
    await settleOne()
  })

  it('is told of while it is full, and forgotten when it has room (F2)', { timeout: 60_000 }, async () => {
    const redis = await openRedis()
    const { url, workerUrl, trackOne, settleOne } = await startApart(redis.url)
    await redis.command('config', 'set', 'maxmemory', '1mb')
    await until(async () =>
      expect(await readiness(workerUrl)).toMatchObject({ status: 503, body: { queue: 'is full' } }),
    )
    expect(await readiness(url)).toMatchObject(DEGRADED)
    const metrics = async () => (await fetch(`${workerUrl}/metrics`)).text()
    const full = await metrics()
    expect(full).toMatch(/^lastword_queue_writable 0$/m)
    expect(full).toMatch(/^lastword_redis_memory_max_bytes 1048576$/m)
    expect(Number(/^lastword_redis_memory_bytes (\d+)$/m.exec(full)?.[1])).toBeGreaterThan(1048576)
    const polled = await fetch(`${url}/v1/messages/seven/${await trackOne()}/poll`, { method: 'POST' })
    expect(await polled.json()).toMatchObject({ blockedBy: [{ cause: 'queue-away', message: /is full/ }] })
    await redis.command('config', 'set', 'maxmemory', '0')
    await settleOne()
    expect(await readiness(workerUrl)).toMatchObject({ status: 200, body: { status: 'ok' } })
    const roomy = await metrics()
    expect(roomy).toMatch(/^lastword_queue_writable 1$/m)
    expect(roomy).not.toMatch(/^lastword_redis_memory/m)
  })
})

describe('a Redis that says nothing', () => {
  it('is waited for at a start, and then told of in a sentence (F4)', { timeout: 60_000 }, async () => {
    const redis = await openRedis()
    const installation = await createInstallation('redis', createDatabase, redis.url)
    redis.freeze()
    const start = (within: string) =>
      spawnService(['worker'], installation.environment([], { START_WITHIN: within, LOG_LEVEL: 'warn' }))
    const patient = start('60s')
    await until(() => expect(patient.output()).toMatch(/"waiting, for 60 s at most: QUEUE_URL: /))
    patient.kill('SIGTERM')
    const began = performance.now()
    expect(await patient.exited).toBe(0)
    expect(performance.now() - began).toBeLessThan(5_000)

    const hasty = start('2s')
    expect(await hasty.exited).toBe(1)
    expect(hasty.output().split('\n').at(-2)).toMatch(
      /^lastword: QUEUE_URL: .*; start the server, or correct QUEUE_URL\.$/,
    )
    expect(hasty.output()).not.toContain(' at ')
  })

  it('keeps no worker from stopping with its request (F5)', { timeout: 60_000 }, async () => {
    const redis = await openRedis()
    const installation = await createInstallation('redis', createDatabase, redis.url)
    const sandbox = await openSandbox({ law: ONE_MINUTE, knobs: { latencyMs: 2_000 } })
    const accounts = [sevenAccount(sandbox, { polling: POLLING })]
    const { url } = await startService({ installation, accounts, parts: { api: true, workers: false } })
    const worker = spawnService(['worker'], installation.environment(accounts, { LOG_LEVEL: 'info' }))
    await worker.ready()
    const sentAt = minutesAgo(5)
    await trackOver(url, sandbox.send(1, { sentAt }), { sentAt })
    await until(() => expect(sandbox.stats().requests).toBe(1))
    redis.freeze()
    worker.kill('SIGTERM')
    expect(await worker.exited, worker.output()).toBe(0)
    expect(worker.output()).toContain('"stopped"')
    // The answer was written down all the same.
    await allSettled(installation)
    const batches = await installation.sql`SELECT FROM lastword.batches`
    expect(batches).toHaveLength(0)
  })
})

describe('what Redis refuses', () => {
  let redis: RedisServer
  beforeAll(async () => {
    redis = await startRedis()
    await redis.command('acl', 'setuser', 'narrow', 'on', '>word', '~{lastword}*', '+@read', '+@connection')
    await redis.command('acl', 'setuser', 'elsewhere', 'on', '>word', '~other*', '+@all')
    await redis.command(
      'acl',
      'setuser',
      'able',
      'on',
      '>word',
      '~{lastword}*',
      '+@all',
      '-@admin',
      '-@dangerous',
      '+info',
    )
  })
  afterAll(() => redis.close())

  const open = (url: string) =>
    openQueueBackend({ url, log: createLog({ level: 'silent', secretFields: [] }), workers: 0 })
  const at = (user: string) => redis.url.replace('//', `//${user}@`)

  it.each([
    ['a wrong password', 'able:wrong', /refuses the user or the password/],
    ['an unknown user', 'nobody:word', /refuses the user or the password/],
    ['a user that may only read', 'narrow:word', /does not let the user do what BullMQ does .*~\{lastword\}\*/],
    ['a user for other keys', 'elsewhere:word', /does not let the user do what BullMQ does/],
  ])('is told of for %s (F18)', async (_what, user, message) => {
    const error = await open(at(user)).catch((error: unknown) => error)
    expect(error).toMatchObject({ code: 'UNUSABLE', message: expect.stringMatching(message) })
    expect(String(error)).not.toContain('word@')
  })

  it('is told of in a sentence, also when it begins while a process starts', async () => {
    const backend = await open(at('able:word'))
    await redis.command('config', 'set', 'maxmemory', '1mb')
    const error = await backend.meet('an installation').catch((error: unknown) => error)
    await redis.command('config', 'set', 'maxmemory', '0')
    expect(error).toMatchObject({ code: 'UNAVAILABLE', message: expect.stringMatching(/^QUEUE_URL: .* is full /) })
    await backend.close()
  })

  it('is nothing, for a user that may do what BullMQ does to our keys (F18)', async () => {
    const backend = await open(at('able:word'))
    const queue = backend.openQueue('track')
    await queue.add('order', {})
    expect(await queue.getJobCounts('waiting')).toEqual({ waiting: 1 })
    await backend.close()
  })
})

it('may be a cluster, found by any of its nodes (F18)', { timeout: 60_000 }, async () => {
  const settings = { 'cluster-enabled': 'yes', 'cluster-node-timeout': '2000' }
  const nodes = [await openRedis(settings), await openRedis(settings), await openRedis(settings)]
  const slots = [
    ['0', '5460'],
    ['5461', '10922'],
    ['10923', '16383'],
  ]
  for (const [index, node] of nodes.entries()) await node.command('cluster', 'addslotsrange', ...(slots[index] ?? []))
  for (const node of nodes.slice(1)) await node.command('cluster', 'meet', '127.0.0.1', String(nodes[0]?.port))
  await until(async () => {
    for (const node of nodes)
      expect(await node.command('cluster', 'info')).toMatch(/cluster_state:ok[\s\S]*known_nodes:3/)
  })
  const [first, second, third] = nodes.map(({ port }) => `127.0.0.1:${port}`)
  const { settleOne } = await startApart(`redis://${second}`)
  await settleOne()
  const named = await openQueueBackend({
    url: `redis+cluster://${third},${first}`,
    log: createLog({ level: 'silent', secretFields: [] }),
    workers: 0,
  })
  closeLater(() => named.close())
  expect(await named.openQueue('dispatch').getJobSchedulersCount()).toBe(1)
  const scattered = openQueueBackend({
    url: `redis://${first}`,
    log: createLog({ level: 'silent', secretFields: [] }),
    workers: 0,
    prefix: 'plain',
  })
  await expect(scattered).rejects.toThrow(/^QUEUE_PREFIX: found "plain", expected one with braces/)
})

it('may prove itself by a private authority', async () => {
  const folder = await mkdtemp(join(tmpdir(), 'lastword-test-'))
  closeLater(() => rm(folder, { recursive: true, force: true }))
  const [key, certificate] = [join(folder, 'key.pem'), join(folder, 'certificate.pem')]
  const subject = ['-subj', '/CN=localhost', '-addext', 'subjectAltName=DNS:localhost,IP:127.0.0.1']
  await execute('openssl', [
    'req',
    '-x509',
    '-newkey',
    'rsa:2048',
    '-nodes',
    '-keyout',
    key,
    '-out',
    certificate,
    ...subject,
  ])
  const port = await freePort()
  const files = { 'tls-cert-file': certificate, 'tls-key-file': key, 'tls-auth-clients': 'no' }
  await openRedis({ 'tls-port': String(port), ...files })
  const open = (query: string) =>
    openQueueBackend({
      url: `rediss://127.0.0.1:${port}${query}`,
      log: createLog({ level: 'silent', secretFields: [] }),
      workers: 0,
    })
  await expect(open('')).rejects.toMatchObject({ code: 'UNUSABLE', message: expect.stringMatching(/sslrootcert/) })
  for (const query of [`?sslrootcert=${certificate}`, `?ssl_ca_certs=${certificate}`, '?ssl_cert_reqs=none']) {
    const backend = await open(query)
    await backend.check()
    await backend.close()
  }
})

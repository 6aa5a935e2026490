/** Postgres as it is run: behind URLs as hosts hand them out, restricted, peculiar, read-only, silent (docs: Operating). */
import { once } from 'node:events'
import { mkdtemp, rm } from 'node:fs/promises'
import { createServer } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import postgres from 'postgres'
import { afterAll, afterEach, beforeAll, describe, expect, inject, it } from 'vitest'
import { openDatabase } from '../../src/db/connection.ts'
import { openEmbedded } from '../../src/db/embedded.ts'
import { openQueueBackend } from '../../src/jobs/backend.ts'
import { createPool } from '../../src/jobs/postgres-backend.ts'
import { createLog } from '../../src/log.ts'
import { readPostgresUrl } from '../../src/urls/postgres.ts'
import { execute, makeFolder } from '../support/programs.ts'
import { openProxy } from '../support/proxy.ts'
import {
  allSettled,
  closeAll,
  closeLater,
  createInstallation,
  minutesAgo,
  ONE_MINUTE,
  openSandbox,
  sendReceipt,
  sevenAccount,
  spawnService,
  startService,
  trackOver,
  until,
} from '../support/service.ts'
import { createEmptyDatabase, freePort } from '../support/services.ts'

afterEach(closeAll)

const POLLING = { firstAfter: '1s', maxInterval: '1s' }

/** Starts all in one, with this URL for the database and nothing for the queues, and has it settle a message. */
async function settleBy(databaseUrl: string, installation: Awaited<ReturnType<typeof createInstallation>>) {
  const sandbox = await openSandbox({ law: ONE_MINUTE })
  const accounts = [sevenAccount(sandbox, { polling: POLLING })]
  const environment = { DATABASE_URL: databaseUrl, QUEUE_URL: '' }
  const service = await startService({ installation, accounts, environment })
  const sentAt = minutesAgo(5)
  await trackOver(service.url, sandbox.send(1, { sentAt }), { sentAt })
  await allSettled(installation)
  return { ...service, sandbox }
}

const withQuery = (url: string, query: string) => `${url}?${query}`

async function failureOf(url: string) {
  return openDatabase(url).then(
    async ({ close }) => close(),
    (error: unknown) => error,
  )
}

describe('a URL as hosts hand it out', () => {
  it.each([
    // As Prisma, Neon, Supabase and Vercel write them.
    'schema=public&connection_limit=5&pool_timeout=10&pgbouncer=true',
    'sslmode=prefer&channel_binding=require&target_session_attrs=read-write&application_name=billing',
    'options=-c%20statement_timeout%3D60000&connect_timeout=7&keepalives=1&ssl=false&supa=base-pooler.x',
  ])('works for both clients: ?%s (F14, F15)', { timeout: 60_000 }, async (query) => {
    const installation = await createInstallation('postgres')
    await settleBy(withQuery(installation.databaseUrl, query), installation)
  })

  it('may name several hosts (F20)', { timeout: 60_000 }, async () => {
    const installation = await createInstallation('postgres')
    const { host } = new URL(installation.databaseUrl)
    const nobody = `127.0.0.1:${await freePort()}`
    await settleBy(installation.databaseUrl.replace(host, `${nobody},${host}`), installation)
  })

  it('goes on by the next host when one is gone (F20)', { timeout: 60_000 }, async () => {
    const installation = await createInstallation('postgres')
    const { host, hostname, port } = new URL(installation.databaseUrl)
    const target = { host: hostname, port: Number(port) }
    const [first, second] = [await openProxy(target), await openProxy(target)]
    for (const proxy of [first, second]) closeLater(() => proxy.close())
    const url = installation.databaseUrl.replace(host, `127.0.0.1:${first.port},127.0.0.1:${second.port}`)
    const { url: api, sandbox } = await settleBy(url, installation)
    await first.cut()
    const sentAt = minutesAgo(5)
    const messageIds = sandbox.send(1, { sentAt })
    await until(() => trackOver(api, messageIds, { sentAt }))
    await allSettled(installation)
  })
})

describe('TLS', () => {
  let server: Awaited<ReturnType<typeof openEmbedded>>
  let folder: string
  let certificate: string

  beforeAll(async () => {
    folder = await makeFolder()
    server = await openEmbedded(folder)
    const data = join(folder, 'postgres', 'data')
    const [key, crt] = [join(data, 'server.key'), join(data, 'server.crt')]
    const subject = ['-subj', '/CN=localhost', '-addext', 'subjectAltName=DNS:localhost,IP:127.0.0.1']
    await execute('openssl', ['req', '-x509', '-newkey', 'rsa:2048', '-nodes', '-keyout', key, '-out', crt, ...subject])
    await execute('chown', [`--reference=${data}`, key, crt])
    certificate = join(folder, 'ca.pem')
    await execute('cp', [crt, certificate])
    const sql = postgres(server.url, { max: 1 })
    await sql.unsafe('ALTER SYSTEM SET ssl = on')
    await sql`SELECT pg_reload_conf()`
    await until(async () => expect(await sql`SHOW ssl`).toEqual([{ ssl: 'on' }]))
    await sql.end()
  })

  afterAll(async () => {
    await server.close()
    await rm(folder, { recursive: true, force: true })
  })

  it.each([
    ['sslmode=require', true],
    ['sslmode=no-verify', true],
    ['sslmode=prefer', true],
    ['sslmode=disable', false],
    ['sslmode=verify-full&sslrootcert=CA', true],
    ['sslmode=verify-ca&sslrootcert=CA', true],
    ['ssl=true&sslrootcert=CA', true],
    ['sslrootcert=CA', true],
  ])('means one thing for both clients: %s (F14, F15)', async (query, isEncrypted) => {
    const application = `test-${query.replace(/\W+/g, '-')}`
    const url = withQuery(server.url, `${query.replace('CA', certificate)}&application_name=${application}`)
    const database = await openDatabase(url)
    await database.takesWrites()
    const backend = await openQueueBackend({ url, log: createLog({ level: 'silent', secretFields: [] }), workers: 0 })
    await backend.check()
    const sql = postgres(server.url, { max: 1 })
    const rows = await sql<{ ssl: boolean }[]>`
      SELECT ssl FROM pg_stat_ssl JOIN pg_stat_activity USING (pid)
      WHERE application_name = ${application}`
    expect(rows.map(({ ssl }) => ssl)).toEqual([isEncrypted, isEncrypted])
    await Promise.all([database.close(), backend.close(), sql.end()])
  })

  it('is refused in a sentence where the certificate proves nothing', async () => {
    const url = withQuery(server.url, 'sslmode=verify-full')
    const message = expect.stringMatching(/certificate that proves nothing here .* sslrootcert/)
    await expect(openDatabase(url)).rejects.toMatchObject({ code: 'UNUSABLE', message })
    const queues = openQueueBackend({ url, log: createLog({ level: 'silent', secretFields: [] }), workers: 0 })
    await expect(queues).rejects.toMatchObject({ code: 'UNUSABLE', message })
  })
})

describe('a database', () => {
  it('may be served by a role that may change rows and nothing else (F16)', { timeout: 60_000 }, async () => {
    const installation = await createInstallation('postgres')
    const { sql } = installation
    const sandbox = await openSandbox({ law: ONE_MINUTE })
    const accounts = [sevenAccount(sandbox, { polling: POLLING })]
    const owner = { DATABASE_URL: installation.databaseUrl, ACCOUNTS: JSON.stringify(accounts) }
    expect(await spawnService(['migrate'], owner).exited).toBe(0)
    const role = `role_${process.pid}_${Date.now()}`
    await sql.unsafe(`
      CREATE ROLE ${role} LOGIN PASSWORD 'word';
      GRANT USAGE ON SCHEMA lastword, bullmq TO ${role};
      GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA lastword, bullmq TO ${role};
      GRANT USAGE, SELECT ON ALL SEQUENCES IN SCHEMA lastword, bullmq TO ${role};`)
    closeLater(() => sql.unsafe(`DROP OWNED BY ${role}; DROP ROLE ${role};`))
    const url = new URL(installation.databaseUrl)
    url.username = role
    url.password = 'word'
    await settleBy(url.href, installation)

    // A right that is missing is named.
    await sql.unsafe(`REVOKE UPDATE ON lastword.account_states FROM ${role}`)
    const less = spawnService(['worker'], { ...owner, DATABASE_URL: url.href })
    expect(await less.exited).toBe(1)
    expect(less.output()).toMatch(/^lastword: DATABASE_URL: .*permission denied for table account_states/m)
    expect(less.output()).not.toContain('    at ')

    // A migration is for the owner, and the sentence says so.
    await sql`DELETE FROM lastword.migrations WHERE created_at = (SELECT max(created_at) FROM lastword.migrations)`
    const process_ = spawnService(['worker'], { DATABASE_URL: url.href })
    expect(await process_.exited).toBe(1)
    expect(process_.output()).toMatch(
      /^lastword: DATABASE_URL: the role may not migrate .*"lastword migrate" as the owner/m,
    )
    expect(process_.output()).not.toContain('    at ')
  })

  it('may have settings of any kind (F17)', { timeout: 60_000 }, async () => {
    const installation = await createInstallation('postgres')
    const name = new URL(installation.databaseUrl).pathname.slice(1)
    await installation.sql.unsafe(`
      ALTER DATABASE ${name} SET datestyle = 'German, DMY';
      ALTER DATABASE ${name} SET timezone = 'Asia/Kolkata';
      ALTER DATABASE ${name} SET intervalstyle = 'iso_8601';
      ALTER DATABASE ${name} SET bytea_output = 'escape';
      ALTER DATABASE ${name} SET standard_conforming_strings = off;
      ALTER DATABASE ${name} SET array_nulls = off;
      ALTER DATABASE ${name} SET default_transaction_isolation = 'serializable';
      ALTER DATABASE ${name} SET search_path = 'nowhere';`)
    const { url } = await settleBy(installation.databaseUrl, installation)
    const { changes } = (await (await fetch(`${url}/v1/changes`)).json()) as { changes: { occurredAt: string }[] }
    const occurred = changes.map(({ occurredAt }) => Date.now() - Date.parse(occurredAt))
    expect(Math.max(...occurred)).toBeLessThan(3_600_000)
  })

  it.each([
    [
      'LATIN1',
      "ENCODING 'LATIN1' LC_COLLATE 'C' LC_CTYPE 'C' TEMPLATE template0",
      /has a database in LATIN1; .*ENCODING 'UTF8'/,
    ],
  ])('in %s is refused (F17)', async (_encoding, options, message) => {
    const name = `test_latin_${process.pid}`
    const sql = postgres(inject('databaseUrl'), { max: 1, onnotice: () => {} })
    closeLater(async () => {
      await sql.unsafe(`DROP DATABASE IF EXISTS ${name} WITH (FORCE)`)
      await sql.end()
    })
    await sql.unsafe(`CREATE DATABASE ${name} ${options}`)
    const url = new URL(inject('databaseUrl'))
    url.pathname = `/${name}`
    expect(await failureOf(url.href)).toMatchObject({ code: 'UNUSABLE', message: expect.stringMatching(message) })
  })

  it('that turned read-only is not ready, and its connections are dropped (F26)', { timeout: 60_000 }, async () => {
    const installation = await createInstallation('redis')
    const accounts = [{ name: 'seven', provider: 'seven', apiKey: 'key' }]
    const { url } = await startService({ installation, accounts })
    const name = new URL(installation.databaseUrl).pathname.slice(1)
    const ready = async () => (await fetch(`${url}/health/ready`)).status
    expect(await ready()).toBe(200)
    const { sql } = installation
    // Sessions that begin from now on are read-only, and stay so when the database is not any more.
    await sql.unsafe(`ALTER DATABASE ${name} SET default_transaction_read_only = on`)
    await sql`SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = ${name} AND application_name = 'lastword'`
    await until(async () => expect(await ready()).toBe(503))
    expect(await sendReceipt(url, '77000000001', 'DELIVERED')).toBe(503)
    await sql.unsafe(
      `SET SESSION CHARACTERISTICS AS TRANSACTION READ WRITE; ALTER DATABASE ${name} RESET default_transaction_read_only`,
    )
    await until(async () => expect(await ready()).toBe(200))
    await until(async () => expect(await sendReceipt(url, '77000000002', 'DELIVERED')).toBe(200))
  })

  it('may end a connection of the queues between two queries of a transaction', async () => {
    const { sql, databaseUrl } = await createInstallation('postgres')
    const pool = createPool(readPostgresUrl('QUEUE_URL', databaseUrl), 1).on('error', () => {})
    closeLater(() => pool.end())
    const client = await pool.connect()
    const { rows } = await client.query('SELECT pg_backend_pid() AS pid')
    const ended = new Promise((resolve) => client.once('end', resolve))
    await sql`SELECT pg_terminate_backend(${rows[0].pid})`
    await ended
    const failed = await client.query('SELECT 1').catch((error: unknown) => error)
    client.release()
    expect(String(failed)).toMatch(/not queryable|terminated/)
    expect((await pool.query('SELECT 1 AS one')).rows).toEqual([{ one: 1 }])
  })

  it('that takes no writes at the start is told of (F18)', async () => {
    const installation = await createInstallation('redis')
    const name = new URL(installation.databaseUrl).pathname.slice(1)
    await installation.sql.unsafe(`ALTER DATABASE ${name} SET default_transaction_read_only = on`)
    const environment = { ...installation.environment([]), START_WITHIN: '3s' }
    const worker = spawnService(['worker'], environment)
    expect(await worker.exited).toBe(1)
    expect(worker.output()).toMatch(/^lastword: DATABASE_URL: .* takes no writes .*name the primary there\.$/m)
  })
})

describe('at a start, a Postgres', () => {
  it('that says nothing is waited for, and then told of in a sentence', { timeout: 60_000 }, async () => {
    const silent = createServer((socket) => socket.on('error', () => {})).listen(0, '127.0.0.1')
    closeLater(async () => silent.close())
    await once(silent, 'listening')
    const address = silent.address()
    const port = typeof address === 'object' && address ? address.port : 0
    const start = (within: string) =>
      spawnService(['worker'], { DATABASE_URL: `postgres://user:word@127.0.0.1:${port}/app`, START_WITHIN: within })
    const patient = start('60s')
    await until(() => expect(patient.output()).toMatch(/"waiting, for 60 s at most: DATABASE_URL: /))
    patient.kill('SIGTERM')
    expect(await patient.exited).toBe(0)
    const hasty = start('2s')
    expect(await hasty.exited).toBe(1)
    expect(hasty.output().split('\n').at(-2)).toMatch(/^lastword: DATABASE_URL: /)
    expect(hasty.output()).not.toMatch(/ {4}at |word@/)
  })

  it('that is absent for a while is waited for', { timeout: 60_000 }, async () => {
    const folder = await mkdtemp(join(tmpdir(), 'lastword-test-'))
    closeLater(() => rm(folder, { recursive: true, force: true }))
    const { url, drop } = await createEmptyDatabase()
    closeLater(drop)
    const { hostname, port } = new URL(url)
    const proxy = await openProxy({ host: hostname, port: Number(port) })
    closeLater(() => proxy.close())
    await proxy.cut()
    const behind = new URL(url)
    behind.port = String(proxy.port)
    const worker = spawnService(['worker'], { DATABASE_URL: behind.href })
    await until(() => expect(worker.output()).toMatch(/does not answer \(.*ECONNREFUSED/))
    await proxy.restore()
    await worker.ready()
  })

  it.each([
    ['refuses the password', (url: URL) => Object.assign(url, { password: 'wrong' }), /refuses the user/],
    ['lacks the database', (url: URL) => Object.assign(url, { pathname: '/nothing' }), /lacks the database/],
  ])('that %s is told of at once', async (_what, change, message) => {
    const url = change(new URL(inject('databaseUrl')))
    expect(await failureOf(url.href)).toMatchObject({ code: 'UNUSABLE', message: expect.stringMatching(message) })
  })
})

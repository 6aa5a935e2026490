/** A pooler that gives each transaction another connection of the server: PgBouncer (docs: Operating). */
import { chmod, chown, rm, writeFile } from 'node:fs/promises'
import { connect } from 'node:net'
import { join } from 'node:path'
import { afterAll, afterEach, beforeAll, describe, expect, inject, it } from 'vitest'
import { execute, findProgram, makeFolder, type StartedProgram, startProgram } from '../support/programs.ts'
import {
  allSettled,
  closeAll,
  createInstallation,
  type Installation,
  minutesAgo,
  ONE_MINUTE,
  openSandbox,
  sevenAccount,
  spawnService,
  startService,
  trackOver,
  until,
} from '../support/service.ts'
import { createEmptyDatabase, freePort } from '../support/services.ts'

let pooler: StartedProgram
let folder: string
let port: number

/** PgBouncer runs as root no more than Postgres does. */
beforeAll(async () => {
  const program = await findProgram(['pgbouncer', '/usr/sbin/pgbouncer'], 'pgbouncer')
  if (!program) throw new Error('This needs PgBouncer: install the package pgbouncer.')
  folder = await makeFolder()
  port = await freePort()
  const { hostname, port: serverPort, username, password } = new URL(inject('databaseUrl'))
  const users = join(folder, 'users.txt')
  const settings = join(folder, 'pgbouncer.ini')
  await writeFile(users, `"${username}" "${password}"\n`)
  await writeFile(
    settings,
    `[databases]
* = host=${hostname} port=${serverPort}
[pgbouncer]
listen_addr = 127.0.0.1
listen_port = ${port}
unix_socket_dir =
auth_type = plain
auth_file = ${users}
pool_mode = transaction
default_pool_size = 20
`,
  )
  const owner = process.getuid?.() === 0 ? await nobody() : undefined
  if (owner) for (const path of [folder, users, settings]) await chown(path, owner.uid, owner.gid)
  await chmod(folder, 0o700)
  pooler = startProgram(program, [settings], owner)
  await Promise.race([pooler.died, until(() => connected(port))])
}, 120_000)

afterAll(async () => {
  await pooler?.stop()
  await rm(folder, { recursive: true, force: true })
})

afterEach(closeAll)

async function nobody(): Promise<{ uid: number; gid: number }> {
  const [uid, gid] = await Promise.all(['-u', '-g'].map((flag) => execute('id', [flag, 'nobody'])))
  return { uid: Number(uid?.stdout), gid: Number(gid?.stdout) }
}

function connected(to: number): Promise<void> {
  return new Promise((resolve, reject) => {
    const socket = connect(to, '127.0.0.1', () => {
      socket.destroy()
      resolve()
    })
    socket.once('error', reject)
  })
}

const POLLING = { firstAfter: '1s', maxInterval: '1s' }

function through({ databaseUrl }: Pick<Installation, 'databaseUrl'>, query = ''): string {
  const url = new URL(databaseUrl)
  url.port = String(port)
  return `${url.href}${query}`
}

describe('a pooler', () => {
  it.each([
    ['three starts at once migrate an empty database', '?prepare=false'],
    ['three starts at once migrate an empty database', ''],
  ])('is passed through: %s, with "%s" (F6)', { timeout: 90_000 }, async (_what, query) => {
    const installation = await createInstallation('redis', createEmptyDatabase)
    const sandbox = await openSandbox({ law: ONE_MINUTE })
    const accounts = [sevenAccount(sandbox, { polling: POLLING })]
    const environment = { DATABASE_URL: through(installation, query) }
    const starts = [1, 2, 3].map(() => startService({ installation, accounts, environment }))
    const [service] = await Promise.all(starts)
    const sentAt = minutesAgo(5)
    await trackOver(service?.url ?? '', sandbox.send(50, { sentAt }), { sentAt })
    await allSettled(installation)
    const locks = await installation.sql`SELECT FROM pg_locks WHERE locktype = 'advisory' AND mode = 'ExclusiveLock'
      AND database = (SELECT oid FROM pg_database WHERE datname = current_database()) AND granted
      AND pid NOT IN (SELECT pid FROM pg_stat_activity WHERE state <> 'idle')`
    expect(locks).toHaveLength(0)
  })

  it('brings no notifications, and a change is told within a second or two (F7)', { timeout: 60_000 }, async () => {
    const installation = await createInstallation('redis')
    const sandbox = await openSandbox({ law: ONE_MINUTE })
    const accounts = [sevenAccount(sandbox, { polling: POLLING })]
    const { url } = await startService({ installation, accounts, environment: { DATABASE_URL: through(installation) } })
    const answered = fetch(`${url}/v1/changes?after=latest&wait=20`).then(async (response) => ({
      page: (await response.json()) as { changes: object[] },
      at: performance.now(),
    }))
    const sentAt = minutesAgo(5)
    await trackOver(url, sandbox.send(1, { sentAt }), { sentAt })
    await allSettled(installation)
    const settledAt = performance.now()
    const { page, at } = await answered
    expect(page.changes).toHaveLength(1)
    expect(at - settledAt).toBeLessThan(4_000)
  })

  it('cannot hold the queues, and says what to set; past it they work (F7)', { timeout: 60_000 }, async () => {
    const installation = await createInstallation('postgres')
    const pooled = { DATABASE_URL: through(installation), QUEUE_URL: '' }
    const worker = spawnService(['worker'], pooled)
    expect(await worker.exited).toBe(1)
    expect(worker.output()).toMatch(/^lastword: DATABASE_URL: .* pooler .* set DATABASE_DIRECT_URL/m)
    expect(worker.output()).not.toMatch(/ {4}at |QUEUE_URL/)

    const sandbox = await openSandbox({ law: ONE_MINUTE })
    const accounts = [sevenAccount(sandbox, { polling: POLLING })]
    const environment = { ...pooled, DATABASE_DIRECT_URL: installation.databaseUrl }
    const { url } = await startService({ installation, accounts, environment })
    const sentAt = minutesAgo(5)
    await trackOver(url, sandbox.send(1, { sentAt }), { sentAt })
    await allSettled(installation)
  })
})

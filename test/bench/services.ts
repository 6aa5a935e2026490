/**
 * The services of a run: one Postgres (DATABASE_URL, else the embedded one in a temporary folder) and one Redis
 * (REDIS_URL, else `redis-server` or `valkey-server` from the PATH). Each measure gets databases of its own.
 *
 * A given Redis must hold no keys of Lastword's: what is under `{lastword}:` and `{bench}:` is removed again and again.
 */
import { spawn } from 'node:child_process'
import { randomBytes } from 'node:crypto'
import { once } from 'node:events'
import { chmod, mkdtemp, rm } from 'node:fs/promises'
import { createServer } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { Redis } from 'ioredis'
import postgres from 'postgres'
import { openEmbedded } from '../../src/db/embedded.ts'
import { cli, parentOf, startProcess } from './processes.ts'

export interface Services {
  redisUrl: string
  /** A client of the bench itself. */
  redis: Redis
  redisVersion: string
  redisPid: number
  postgresVersion: string
  /** The server process all backends are children of. */
  postgresPid: number | undefined
  /** The URL of a new database: empty, or with Lastword's tables. */
  createDatabase(kind: 'empty' | 'migrated'): Promise<string>
  dropDatabase(url: string): Promise<void>
  /** Removes the keys of all queues. */
  clearRedis(): Promise<void>
}

export type Releasers = (() => Promise<unknown>)[]

/** The services and settings of a run. */
export interface Environment {
  DATABASE_URL?: string | undefined
  REDIS_URL?: string | undefined
}

export async function openServices(environment: Environment, releasers: Releasers): Promise<Services> {
  const databaseUrl = environment.DATABASE_URL ?? (await startPostgres(releasers))
  const admin = postgres(databaseUrl, { max: 1, onnotice: () => {} })
  releasers.push(() => admin.end())
  const [server] = await admin<{ version: string; pid: number }[]>`
    SELECT current_setting('server_version') AS version, pg_backend_pid() AS pid`

  const redisUrl = environment.REDIS_URL ?? (await startRedis(releasers))
  // A server that was started just now needs a moment.
  const redis = new Redis(redisUrl, { maxRetriesPerRequest: 50, retryStrategy: () => 100 }).on('error', () => {})
  releasers.push(async () => redis.disconnect())
  const info = await redis.info('server')
  if ((await redis.keys('{lastword}:*')).length > 0) throw new Error('REDIS_URL: this Redis holds keys of Lastword.')
  const clearRedis = () => removeKeys(redis)
  releasers.push(clearRedis)

  async function create(template: string): Promise<string> {
    const name = `bench_${randomBytes(6).toString('hex')}`
    await admin.unsafe(`CREATE DATABASE ${name} TEMPLATE ${template}`)
    releasers.push(() => admin.unsafe(`DROP DATABASE IF EXISTS ${name} WITH (FORCE)`))
    const url = new URL(databaseUrl)
    url.pathname = `/${name}`
    return url.href
  }
  const migrated = await create('template1')
  const env = { DATABASE_URL: migrated, QUEUE_URL: redisUrl }
  await (await startProcess(cli, { args: ['migrate'], env, ready: /up to date/ })).ended

  return {
    redisUrl,
    redis,
    redisVersion: /^(?:valkey|redis)_version:(\S+)/m.exec(info)?.[1] ?? 'unknown',
    redisPid: Number(/^process_id:(\d+)/m.exec(info)?.[1]),
    postgresVersion: server?.version ?? 'unknown',
    postgresPid: parentOf(server?.pid ?? 0),
    createDatabase: (kind) => create(kind === 'empty' ? 'template1' : databaseOf(migrated)),
    async dropDatabase(url) {
      await admin.unsafe(`DROP DATABASE IF EXISTS ${databaseOf(url)} WITH (FORCE)`)
    },
    clearRedis,
  }
}

function databaseOf(url: string): string {
  return new URL(url).pathname.slice(1)
}

/** For everybody what one would set on such a machine, instead of what Postgres starts with on any. */
const SETTINGS = { shared_buffers: '1GB', max_wal_size: '4GB' }

async function startPostgres(releasers: Releasers): Promise<string> {
  const folder = await makeFolder(releasers)
  const untuned = await openEmbedded(folder)
  const admin = postgres(untuned.url, { max: 1, onnotice: () => {} })
  for (const [name, value] of Object.entries(SETTINGS)) await admin.unsafe(`ALTER SYSTEM SET ${name} = '${value}'`)
  await admin.end()
  await untuned.close()
  const { url, close } = await openEmbedded(folder)
  releasers.push(close)
  return url
}

async function startRedis(releasers: Releasers): Promise<string> {
  const folder = await makeFolder(releasers)
  const port = await freePort()
  const options = { port, bind: '127.0.0.1', dir: folder, save: '', appendonly: 'no' }
  const args = Object.entries(options).flatMap(([name, value]) => [`--${name}`, String(value)])
  for (const program of ['redis-server', 'valkey-server']) {
    const server = spawn(program, args, { stdio: 'ignore' })
    const isThere = await once(server, 'spawn').then(
      () => true,
      () => false,
    )
    if (!isThere) continue
    releasers.push(async () => {
      if (server.exitCode !== null || !server.kill()) return
      await once(server, 'exit')
    })
    return `redis://127.0.0.1:${port}`
  }
  throw new Error('The bench needs Redis: install redis-server or valkey-server, or set REDIS_URL.')
}

async function removeKeys(redis: Redis): Promise<void> {
  for (const match of ['{lastword}:*', '{bench}:*']) {
    for await (const keys of redis.scanStream({ match, count: 10_000 })) {
      if (keys.length > 0) await redis.unlink(keys)
    }
  }
}

/** A temporary folder that the user Postgres runs as can enter, too. */
async function makeFolder(releasers: Releasers): Promise<string> {
  const folder = await mkdtemp(join(tmpdir(), 'lastword-bench-'))
  releasers.push(() => rm(folder, { recursive: true, force: true }))
  await chmod(folder, 0o711)
  return folder
}

function freePort(): Promise<number> {
  return new Promise((found, failed) => {
    const server = createServer().once('error', failed)
    server.listen(0, '127.0.0.1', () => {
      const address = server.address()
      server.close(() => found(typeof address === 'object' && address ? address.port : 0))
    })
  })
}

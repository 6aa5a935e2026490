/**
 * Starts the services of a test run: an embedded Postgres in a temporary folder, with a migrated database that the tests
 * copy, and Redis from the first of REDIS_URL, the PATH, apt-get (root on Debian) and Docker. Tests get the URLs through `services.ts`. A service that cannot be had
 * fails the run; nothing is skipped. Everything started here is stopped at the end.
 */
import { type ChildProcess, execFile, spawn } from 'node:child_process'
import { once } from 'node:events'
import { chmod, mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { promisify } from 'node:util'
import { Redis } from 'ioredis'
import postgres from 'postgres'
import type { TestProject } from 'vitest/node'
import { openEmbedded } from '../../src/db/embedded.ts'
import { migrateDatabase } from '../../src/db/migrate.ts'
import { openQueueBackend } from '../../src/jobs/backend.ts'
import { createLog } from '../../src/log.ts'
import { freePort, TEMPLATE } from './services.ts'

declare module 'vitest' {
  interface ProvidedContext {
    databaseUrl: string
    redisUrl: string
  }
}

interface Service {
  url: string
  close(): Promise<void>
}

const execute = promisify(execFile)
const READY_TIMEOUT_MS = 15_000
const DOCKER_IMAGE = 'redis:7'

export default async function setup(project: TestProject): Promise<() => Promise<void>> {
  const postgres = await startPostgres()
  const redis = await startRedis().catch(async (error: unknown) => {
    await postgres.close()
    throw error
  })
  project.provide('databaseUrl', postgres.url)
  project.provide('redisUrl', redis.url)
  let closing: Promise<void> | undefined
  const close = () => {
    closing ??= redis.close().finally(postgres.close)
    return closing
  }
  // Vitest's own listeners exit a millisecond after the signal, too soon for any teardown.
  for (const signal of ['SIGINT', 'SIGTERM'] as const) {
    process.removeAllListeners(signal)
    process.once(signal, () => close().finally(() => process.exit(1)))
  }
  return close
}

async function startPostgres(): Promise<Service> {
  const folder = await makeFolder()
  const server = await openEmbedded(folder)
  const close = async () => {
    await server.close()
    await rm(folder, { recursive: true, force: true })
  }
  try {
    await prepareDatabases(server.url)
  } catch (error) {
    await close()
    throw error
  }
  return { url: server.url, close }
}

async function prepareDatabases(url: string): Promise<void> {
  const client = postgres(url, { max: 1, onnotice: () => {} })
  try {
    // No test takes the machine's power away, and a commit is still waited for: only the disk is not.
    for (const setting of ['fsync', 'full_page_writes']) await client.unsafe(`ALTER SYSTEM SET ${setting} = off`)
    await client`SELECT pg_reload_conf()`
    await client.unsafe(`CREATE DATABASE ${TEMPLATE}`)
    const template = new URL(url)
    template.pathname = `/${TEMPLATE}`
    await migrateDatabase(template.href)
    const queues = await openQueueBackend({ url: template.href, log: createLog('silent'), workers: 0 })
    await queues.close()
    await client.unsafe(`ALTER DATABASE ${TEMPLATE} ALLOW_CONNECTIONS false`)
  } finally {
    await client.end()
  }
}

async function startRedis(): Promise<Service> {
  const given = process.env.REDIS_URL
  if (given) {
    await waitForRedis(given)
    return { url: given, close: async () => {} }
  }
  const program = (await findRedisServer()) ?? (await installRedisServer())
  if (program) return startRedisServer(program)
  if (await succeeds('docker', ['info'])) return startRedisContainer()
  throw new Error('The tests need Redis: install redis-server or valkey-server, start Docker, or set REDIS_URL.')
}

async function findRedisServer(): Promise<string | undefined> {
  for (const program of ['redis-server', 'valkey-server']) if (await succeeds(program, ['--version'])) return program
  return undefined
}

async function installRedisServer(): Promise<string | undefined> {
  if (process.getuid?.() !== 0 || !(await succeeds('apt-get', ['--version']))) return undefined
  console.log('Installing redis-server with apt-get, because the tests need it')
  const env = { ...process.env, DEBIAN_FRONTEND: 'noninteractive' }
  try {
    await execute('apt-get', ['update'], { env })
    await execute('apt-get', ['install', '-y', '--no-install-recommends', 'redis-server'], { env })
  } catch (error) {
    console.warn(`apt-get could not install redis-server: ${error instanceof Error ? error.message : error}`)
  }
  return findRedisServer()
}

async function startRedisServer(program: string): Promise<Service> {
  const folder = await makeFolder()
  const port = await freePort()
  const options = { port, bind: '127.0.0.1', dir: folder, save: '', appendonly: 'no' }
  const args = Object.entries(options).flatMap(([name, value]) => [`--${name}`, String(value)])
  const server = spawn(program, args, { stdio: ['ignore', 'pipe', 'inherit'] })
  const said: string[] = []
  server.stdout.on('data', (chunk) => said.push(String(chunk)))
  const url = `redis://127.0.0.1:${port}`
  const close = async () => {
    await stop(server)
    await rm(folder, { recursive: true, force: true })
  }
  const died = once(server, 'exit').then(() => Promise.reject(new Error(`${program} ended: ${said.join('')}`)))
  try {
    await Promise.race([waitForRedis(url), died])
  } catch (error) {
    await close()
    throw error
  }
  return { url, close }
}

async function startRedisContainer(): Promise<Service> {
  const { stdout: id } = await execute('docker', ['run', '-d', '--rm', '-p', '127.0.0.1::6379', DOCKER_IMAGE])
  const close = async () => {
    await execute('docker', ['stop', id.trim()])
  }
  try {
    const { stdout: address } = await execute('docker', ['port', id.trim(), '6379/tcp'])
    const url = `redis://${address.trim()}`
    await waitForRedis(url)
    return { url, close }
  } catch (error) {
    await close()
    throw error
  }
}

async function waitForRedis(url: string): Promise<void> {
  const client = new Redis(url, { maxRetriesPerRequest: null, retryStrategy: () => 50 })
  let reason = 'no answer'
  client.on('error', (error) => {
    reason = error.message
  })
  const answer = await Promise.race([client.ping(), sleep(READY_TIMEOUT_MS, undefined, { ref: false })])
  client.disconnect()
  if (answer) return
  throw new Error(`Redis at ${new URL(url).host} did not get ready within ${READY_TIMEOUT_MS / 1000} s: ${reason}`)
}

async function stop(server: ChildProcess): Promise<void> {
  if (server.exitCode !== null || server.signalCode !== null) return
  const ended = once(server, 'exit')
  server.kill()
  await ended
}

/** A temporary folder that the user Postgres runs as can enter, too. */
async function makeFolder(): Promise<string> {
  const folder = await mkdtemp(join(tmpdir(), 'lastword-test-'))
  await chmod(folder, 0o711)
  return folder
}

async function succeeds(program: string, args: string[]): Promise<boolean> {
  return execute(program, args).then(
    () => true,
    () => false,
  )
}

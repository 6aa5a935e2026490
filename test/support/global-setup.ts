/**
 * Starts the services of a test run: an embedded Postgres in a temporary folder, with a migrated database that the tests
 * copy, and Redis from the first of REDIS_URL, the PATH, apt-get (root on Debian) and Docker. Tests get the URLs through `services.ts`. A service that cannot be had
 * fails the run; nothing is skipped. Everything started here is stopped at the end.
 */
import { rm } from 'node:fs/promises'
import postgres from 'postgres'
import type { TestProject } from 'vitest/node'
import { openEmbedded } from '../../src/db/embedded.ts'
import { migrateDatabase } from '../../src/db/migrate.ts'
import { openQueueBackend } from '../../src/jobs/backend.ts'
import { createLog } from '../../src/log.ts'
import { execute, findProgram, makeFolder, startRedis, succeeds, waitForRedis } from './programs.ts'
import { TEMPLATE } from './services.ts'

interface Service {
  url: string
  close(): Promise<void>
}

const DOCKER_IMAGE = 'redis:7'

export default async function setup(project: TestProject): Promise<() => Promise<void>> {
  const postgres = await startPostgres()
  const redis = await findRedis().catch(async (error: unknown) => {
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
    const queues = await openQueueBackend({
      url: template.href,
      log: createLog({ level: 'silent', secretFields: [] }),
      workers: 0,
    })
    await queues.close()
    await client.unsafe(`ALTER DATABASE ${TEMPLATE} ALLOW_CONNECTIONS false`)
  } finally {
    await client.end()
  }
}

async function findRedis(): Promise<Service> {
  const given = process.env.REDIS_URL
  if (given) {
    await waitForRedis(given)
    return { url: given, close: async () => {} }
  }
  if (await findProgram(['redis-server', 'valkey-server'], 'redis-server')) return startRedis()
  if (await succeeds('docker', ['info'])) return startRedisContainer()
  throw new Error('The tests need Redis: install redis-server or valkey-server, start Docker, or set REDIS_URL.')
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

/**
 * The services of the run, for a test file: databases of its own, the URL of Redis, a free port.
 *
 * Redis is shared by all files: keep apart by queue prefix. A free port is free when it is found, not for ever.
 */
import { randomBytes } from 'node:crypto'
import { createServer } from 'node:net'
import postgres from 'postgres'
import { inject } from 'vitest'

declare module 'vitest' {
  interface ProvidedContext {
    databaseUrl: string
    redisUrl: string
  }
}

/** A database to which all migrations of the product and of BullMQ are applied; nobody may connect to it but to copy. */
export const TEMPLATE = 'lastword_template'

interface TestDatabase {
  url: string
  /** Ends whatever is still connected to it, too. */
  drop(): Promise<void>
}

/** A database as the service leaves it when it has started: migrated, and without rows. */
export function createDatabase(): Promise<TestDatabase> {
  return copyDatabase(TEMPLATE)
}

export function createEmptyDatabase(): Promise<TestDatabase> {
  return copyDatabase('template1')
}

async function copyDatabase(template: string): Promise<TestDatabase> {
  const name = `test_${randomBytes(8).toString('hex')}`
  await administer(`CREATE DATABASE ${name} TEMPLATE ${template}`)
  const url = new URL(inject('databaseUrl'))
  url.pathname = `/${name}`
  return { url: url.href, drop: () => administer(`DROP DATABASE IF EXISTS ${name} WITH (FORCE)`) }
}

export function redisUrl(): string {
  return inject('redisUrl')
}

export function freePort(): Promise<number> {
  return new Promise((found, failed) => {
    const server = createServer().once('error', failed)
    server.listen(0, '127.0.0.1', () => {
      const address = server.address()
      server.close(() => found(typeof address === 'object' && address ? address.port : 0))
    })
  })
}

async function administer(statement: string): Promise<void> {
  const client = postgres(inject('databaseUrl'), { max: 1, onnotice: () => {} })
  try {
    await client.unsafe(statement)
  } finally {
    await client.end()
  }
}

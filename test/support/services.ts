/**
 * What a test file gets from the services of the run: a database of its own, the URL of Redis, a free port.
 *
 * Redis is shared by all files: keep apart by queue prefix. A free port is free when it is found, not for ever.
 */
import { randomBytes } from 'node:crypto'
import { createServer } from 'node:net'
import postgres from 'postgres'
import { inject } from 'vitest'

/** An empty database. `drop` ends whatever is still connected to it. */
export async function createDatabase(): Promise<{ url: string; drop(): Promise<void> }> {
  const name = `test_${randomBytes(8).toString('hex')}`
  await administer(`CREATE DATABASE ${name}`)
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

import { sql } from 'drizzle-orm'
import { afterAll, beforeAll, expect, it } from 'vitest'
import { deleteExpiredNonces, rememberNonce } from '../../src/db/nonces.ts'
import { webhookNonces } from '../../src/db/schema.ts'
import { openTables, type Tables } from '../support/api.ts'

let database: Tables
beforeAll(async () => {
  database = await openTables()
})
afterAll(() => database.close())

it('knows a nonce with another body for a replay, and with the same body for a retry', async () => {
  const { db } = database
  const nonce = { account: 'one', value: 'n-1', bodyDigest: 'aa', validForMs: 60_000 }
  expect(await rememberNonce(db, nonce)).toBe(true)
  expect(await rememberNonce(db, nonce)).toBe(true)
  expect(await rememberNonce(db, { ...nonce, bodyDigest: 'bb' })).toBe(false)
  expect(await rememberNonce(db, { ...nonce, account: 'two', bodyDigest: 'bb' })).toBe(true)
})

it('forgets a nonce when its signature is no longer fresh', async () => {
  const { db } = database
  const nonce = { account: 'one', value: 'n-2', bodyDigest: 'aa', validForMs: 60_000 }
  await rememberNonce(db, nonce)
  await db.execute(sql`UPDATE ${webhookNonces} SET expires_at = now() - interval '1 second' WHERE nonce = 'n-2'`)
  expect(await rememberNonce(db, { ...nonce, bodyDigest: 'bb' })).toBe(true)
  await db.execute(sql`UPDATE ${webhookNonces} SET expires_at = now() - interval '1 second' WHERE nonce = 'n-2'`)
  await deleteExpiredNonces(db)
  const left = await db.select().from(webhookNonces)
  expect(left.map((row) => row.nonce)).not.toContain('n-2')
  expect(left).not.toHaveLength(0)
})

import { sql } from 'drizzle-orm'
import { afterAll, beforeAll, expect, it } from 'vitest'
import {
  clearTrouble,
  deleteExpiredNonces,
  findAccountStates,
  recordLookup,
  recordTrouble,
  rememberNonce,
} from '../../src/db/accounts.ts'
import { webhookNonces } from '../../src/db/schema.ts'
import { openTables, type Tables } from '../support/api.ts'

let database: Tables
beforeAll(async () => {
  database = await openTables()
})
afterAll(() => database.close())

it('records trouble once, since when, and until when nobody asks; and clears it once', async () => {
  const { db } = database
  const trouble = { account: 'one', trouble: 'the API key is wrong', pauseMs: 60_000 }
  expect(await recordTrouble(db, trouble)).toBe(true)
  const first = (await findAccountStates(db)).get('one')
  expect(await recordTrouble(db, trouble)).toBe(false)
  const again = (await findAccountStates(db)).get('one')
  expect(again).toEqual({ ...first, pausedUntil: expect.any(Date) })
  expect(again?.trouble).toBe(trouble.trouble)
  expect(again?.pausedUntil?.getTime()).toBeGreaterThan(Date.now() + 50_000)
  expect(await recordTrouble(db, { ...trouble, trouble: 'the IP address is not allowed' })).toBe(true)

  expect(await clearTrouble(db, 'one')).toBe(true)
  expect(await clearTrouble(db, 'one')).toBe(false)
  expect(await clearTrouble(db, 'never heard of')).toBe(false)
  expect((await findAccountStates(db)).get('one')).toMatchObject({
    trouble: null,
    troubleSince: null,
    pausedUntil: null,
  })
})

it('records a change of the look-up once, beside trouble', async () => {
  const { db } = database
  await recordTrouble(db, { account: 'two', trouble: 'x', pauseMs: 1 })
  expect(await recordLookup(db, 'two', 'logbook')).toBe(true)
  expect(await recordLookup(db, 'two', 'logbook')).toBe(false)
  expect((await findAccountStates(db)).get('two')).toMatchObject({ lookup: 'logbook', trouble: 'x' })
})

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

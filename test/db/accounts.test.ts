import { afterAll, beforeAll, expect, it } from 'vitest'
import type { AccountHealth, Step } from '../../src/core/account-health.ts'
import { findHealth, findHealths, moveHealth, recordAccounts } from '../../src/db/accounts.ts'
import { openTables, type Tables } from '../support/api.ts'

let database: Tables
beforeAll(async () => {
  database = await openTables()
})
afterAll(() => database.close())

it('moves the health of an account on, one process after the other, and keeps it', async () => {
  const { db } = database
  const count = (health: AccountHealth): Step => ({ health: { probes: (health.probes ?? 0) + 1 }, events: [] })
  const steps = await Promise.all(Array.from({ length: 20 }, () => moveHealth(db, 'one', count)))
  expect(steps.map(({ health }) => health.probes).toSorted((one, other) => Number(one) - Number(other))).toEqual(
    Array.from({ length: 20 }, (_, index) => index + 1),
  )
  const { health, now } = await findHealth(db, 'one')
  expect(health).toEqual({ probes: 20 })
  expect(Math.abs(now - Date.now())).toBeLessThan(60_000)
  expect((await findHealths(db)).healths.get('one')).toEqual(health)
  expect((await findHealth(db, 'never heard of')).health).toEqual({})
})

it('knows any health again that it wrote', async () => {
  const { db } = database
  const odd: AccountHealth = {
    pausedUntil: 1_732_762_823_123.4568,
    lastGoodAt: 1e21,
    goneAt: 5e-324,
    firstTriedAt: -0,
    suspects: [{ messageId: 'é"\\\u2028\u{1f4a9}', since: 0.1 + 0.2 }],
  }
  await moveHealth(db, 'odd', () => ({ health: odd, events: [] }))
  await moveHealth(db, 'odd', (health) => ({ health: { ...health, probes: 1 }, events: [] }))
  expect((await findHealth(db, 'odd')).health).toEqual({ ...odd, firstTriedAt: 0, probes: 1 })
})

it('forgets the health of an account that is asked with other credentials, and no other', async () => {
  const { db } = database
  const record = (account: string, credentials: string) => ({
    account,
    provider: 'seven',
    polling: { policy: 'learned' as const, priceMs: 1, windowMs: 1 },
    firstAge: 1,
    isPolled: true,
    hasCallbacks: false,
    credentials,
  })
  const inTrouble: AccountHealth = { trouble: 'refused', pausedUntil: Date.now() + 60_000 }
  for (const account of ['new', 'same', 'changed']) {
    await moveHealth(db, account, () => ({ health: inTrouble, events: [] }))
  }
  await recordAccounts(db, [record('same', 'a'), record('changed', 'a')])
  await recordAccounts(db, [record('new', 'a'), record('same', 'a'), record('changed', 'b')])
  const { healths } = await findHealths(db)
  // Of the first record nobody knows whether its credentials are new: the health may come from an older version.
  expect([healths.get('new'), healths.get('same'), healths.get('changed')]).toEqual([inTrouble, inTrouble, {}])
})

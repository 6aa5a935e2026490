import { randomUUID } from 'node:crypto'
import { sql } from 'drizzle-orm'
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest'
import { giveBackExpired } from '../../src/db/batches.ts'
import { trackMessages } from '../../src/db/messages.ts'
import type { NewMessage } from '../../src/db/new-message.ts'
import { applyReports } from '../../src/db/reports.ts'
import { batches, due, messages } from '../../src/db/schema.ts'
import { claimWindow, countSent, findUnmet, findUnmetByIds, renewSweep } from '../../src/db/sweeps.ts'
import { openTables, type Tables } from '../support/api.ts'

let database: Tables
beforeAll(async () => {
  database = await openTables()
})
afterAll(() => database.close())
beforeEach(async () => {
  for (const table of [messages, due, batches]) await database.db.delete(table)
})

const MINUTE = 60_000
const HOUR = 60 * MINUTE
const now = Math.floor(Date.now() / 1000) * 1000

function message(messageId: string, sentAgoMs: number, dueAgoMs = 1): NewMessage {
  return {
    account: 'cm',
    messageId,
    recipientKey: '',
    recipient: null,
    sentAt: new Date(now - sentAgoMs),
    windowEndsAt: new Date(now + 24 * HOUR),
    dueAt: new Date(now - dueAgoMs),
    metadata: undefined,
  }
}

/** Claims what was sent from so long ago to so long ago. */
const claimOf = (fromAgoMs: number, toAgoMs: number, { limit = 100, restMs = MINUTE } = {}) => {
  const [from, to] = [new Date(now - fromAgoMs), new Date(now - toAgoMs)]
  return claimWindow(database.db, { account: 'cm', from, to, limit, leaseMs: MINUTE, restMs })
}
const idsOf = async (batch = '') => (await findUnmet(database.db, { batch })).map(({ messageId }) => messageId).sort()

describe('claimWindow', () => {
  it('claims what was sent in the window, due now or next, and tells the times of sending', async () => {
    await trackMessages(database.db, [
      message('old', 10 * HOUR, 5 * MINUTE),
      message('near', 10 * HOUR - 20 * MINUTE),
      message('far', 8 * HOUR),
      message('due next', 10 * HOUR, -MINUTE),
      message('just asked', 10 * HOUR, -MINUTE),
    ])
    await database.db.execute(sql`UPDATE ${messages} SET asked_at = now() WHERE message_id = 'just asked'`)
    const window = await claimOf(11 * HOUR, 9 * HOUR)
    expect(window).toEqual({
      batch: expect.any(String),
      messages: 3,
      from: new Date(now - 10 * HOUR),
      to: new Date(now - 10 * HOUR + 20 * MINUTE),
    })
    expect(await idsOf(window?.batch)).toEqual(['due next', 'near', 'old'])
    expect(await claimOf(11 * HOUR, 9 * HOUR)).toBeUndefined()
    expect(await claimOf(9 * HOUR, HOUR)).toMatchObject({ messages: 1, from: new Date(now - 8 * HOUR) })
  })

  it('looks at no more than its limit, the longest due first', async () => {
    await trackMessages(database.db, [message('a', MINUTE, 1), message('b', MINUTE, 3), message('c', MINUTE, 2)])
    expect(await idsOf((await claimOf(HOUR, 0, { limit: 2 }))?.batch)).toEqual(['b', 'c'])
  })
})

describe('countSent', () => {
  it('counts what was sent in a window, up to a limit, settled or not', async () => {
    await trackMessages(database.db, [message('a', HOUR), message('b', 2 * HOUR), message('c', 9 * HOUR)])
    await database.db.execute(sql`UPDATE ${messages} SET final = true WHERE message_id = 'b'`)
    const window = { account: 'cm', from: new Date(now - 3 * HOUR), to: new Date(now) }
    expect(await countSent(database.db, { ...window, limit: 10 })).toBe(2)
    expect(await countSent(database.db, { ...window, limit: 1 })).toBe(1)
    expect(await countSent(database.db, { ...window, account: 'other', limit: 10 })).toBe(0)
  })
})

describe('renewSweep', () => {
  it('counts what no page has told of, and renews the lease', async () => {
    await trackMessages(database.db, [message('a', MINUTE), message('b', MINUTE), message('c', MINUTE)])
    const { batch = '' } = (await claimOf(HOUR, 0)) ?? {}
    await database.db.update(batches).set({ leaseEndsAt: new Date() })
    expect(await renewSweep(database.db, { batch, leaseMs: MINUTE })).toBe(3)
    expect(await giveBackExpired(database.db)).toBe(0)
    const [met, ...others] = await findUnmet(database.db, { batch })
    const answered = [{ id: met?.id ?? 0, dueAt: new Date(now + HOUR) }]
    await applyReports(database.db, [], { answered: { batch, messages: answered, goesOn: true } })
    const unmet = others.map(({ messageId }) => messageId)
    expect(await renewSweep(database.db, { batch, leaseMs: MINUTE })).toBe(2)
    expect(await idsOf(batch)).toEqual(unmet.sort())
    expect(await findUnmet(database.db, { batch, limit: 1 })).toHaveLength(1)
    const [one = ''] = unmet
    const named = await findUnmetByIds(database.db, batch, [one, met?.messageId ?? '', 'z'])
    expect(named.map(({ messageId }) => messageId)).toEqual([one])
    expect(await renewSweep(database.db, { batch: randomUUID(), leaseMs: MINUTE })).toBe(0)
  })
})

import { randomUUID } from 'node:crypto'
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest'
import { giveBackExpired } from '../../src/db/batches.ts'
import { trackMessages } from '../../src/db/messages.ts'
import type { NewMessage } from '../../src/db/new-message.ts'
import { applyReports } from '../../src/db/reports.ts'
import { batches, due, messages } from '../../src/db/schema.ts'
import { claimWindow, findUnmet, renewSweep } from '../../src/db/sweeps.ts'
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

const claimOf = (spanMs: number, limit = 100) =>
  claimWindow(database.db, { account: 'cm', limit, leaseMs: MINUTE, spanMs })
const idsOf = async (batch = '') => (await findUnmet(database.db, { batch })).map(({ messageId }) => messageId).sort()

describe('claimWindow', () => {
  it('claims the message longest due and what was sent around it, and tells the times of sending', async () => {
    await trackMessages(database.db, [
      message('old', 10 * HOUR, 5 * MINUTE),
      message('near', 10 * HOUR - 20 * MINUTE),
      message('far', 8 * HOUR),
      message('not due', 10 * HOUR, -MINUTE),
    ])
    const window = await claimOf(HOUR)
    expect(window).toEqual({
      batch: expect.any(String),
      messages: 2,
      from: new Date(now - 10 * HOUR),
      to: new Date(now - 10 * HOUR + 20 * MINUTE),
    })
    expect(await idsOf(window?.batch)).toEqual(['near', 'old'])
    expect(await claimOf(HOUR)).toMatchObject({ messages: 1, from: new Date(now - 8 * HOUR) })
    expect(await claimOf(HOUR)).toBeUndefined()
  })

  it('claims no more than its limit, the longest due first', async () => {
    await trackMessages(database.db, [message('a', MINUTE, 1), message('b', MINUTE, 3), message('c', MINUTE, 2)])
    expect(await idsOf((await claimOf(HOUR, 2))?.batch)).toEqual(['b', 'c'])
  })
})

describe('renewSweep', () => {
  it('counts what no page has told of, and renews the lease', async () => {
    await trackMessages(database.db, [message('a', MINUTE), message('b', MINUTE), message('c', MINUTE)])
    const { batch = '' } = (await claimOf(HOUR)) ?? {}
    await database.db.update(batches).set({ leaseEndsAt: new Date() })
    expect(await renewSweep(database.db, { batch, leaseMs: MINUTE })).toBe(3)
    expect(await giveBackExpired(database.db)).toBe(0)
    const [met, ...others] = await findUnmet(database.db, { batch })
    const answered = [{ id: met?.id ?? 0, dueAt: new Date(now + HOUR) }]
    await applyReports(database.db, [], { answered: { batch, messages: answered, goesOn: true } })
    const unmet = others.map(({ messageId }) => messageId)
    expect(await renewSweep(database.db, { batch, leaseMs: MINUTE })).toBe(2)
    expect(await idsOf(batch)).toEqual(unmet.sort())
    const some = await findUnmet(database.db, { batch, messageIds: ['a', 'b', 'c'], limit: 1 })
    expect(some).toHaveLength(1)
    expect(await renewSweep(database.db, { batch: randomUUID(), leaseMs: MINUTE })).toBe(0)
  })
})

import { randomUUID } from 'node:crypto'
import { sql } from 'drizzle-orm'
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest'
import { trackMessages } from '../../src/db/messages.ts'
import type { NewMessage } from '../../src/db/new-message.ts'
import { applyReports } from '../../src/db/reports.ts'
import { claimDue, claimWindow, findClaimed, refuseMessage, releaseClaim, renewClaim } from '../../src/db/schedule.ts'
import { messages } from '../../src/db/schema.ts'
import { openTables, type Tables } from '../support/api.ts'

let database: Tables
beforeAll(async () => {
  database = await openTables()
})
afterAll(() => database.close())
beforeEach(async () => {
  await database.db.delete(messages)
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
    nextPollAt: new Date(now - dueAgoMs),
    metadata: undefined,
  }
}

const claimOf = async (spanMs: number, limit = 100) => {
  const claim = randomUUID()
  const options = { account: 'cm', claim, limit, leaseMs: MINUTE, spanMs }
  return { claim, window: await claimWindow(database.db, options) }
}
const idsOf = async (claim: string) =>
  (await findClaimed(database.db, { claim, limit: 100 })).map(({ messageId }) => messageId).sort()

describe('claimWindow', () => {
  it('claims the message longest due and what was sent around it, and tells the times of sending', async () => {
    await trackMessages(database.db, [
      message('old', 10 * HOUR, 5 * MINUTE),
      message('near', 10 * HOUR - 20 * MINUTE),
      message('far', 8 * HOUR),
      message('not due', 10 * HOUR, -MINUTE),
    ])
    const { claim, window } = await claimOf(HOUR)
    expect(window).toEqual({
      messages: 2,
      from: new Date(now - 10 * HOUR),
      to: new Date(now - 10 * HOUR + 20 * MINUTE),
    })
    expect(await idsOf(claim)).toEqual(['near', 'old'])
    expect((await claimOf(HOUR)).window).toMatchObject({ messages: 1, from: new Date(now - 8 * HOUR) })
    expect((await claimOf(HOUR)).window).toBeUndefined()
  })

  it('claims no more than its limit, the longest due first', async () => {
    await trackMessages(database.db, [message('a', MINUTE, 1), message('b', MINUTE, 3), message('c', MINUTE, 2)])
    const { claim } = await claimOf(HOUR, 2)
    expect(await idsOf(claim)).toEqual(['b', 'c'])
  })
})

describe('renewClaim', () => {
  it('counts what still carries the claim, and renews a lease of which half is over', async () => {
    await trackMessages(database.db, [message('a', MINUTE), message('b', MINUTE)])
    const { claim } = await claimOf(HOUR)
    await database.db.execute(sql`UPDATE ${messages} SET next_poll_at = now() - interval '1 s' WHERE message_id = 'a'`)
    expect(await renewClaim(database.db, { claim, leaseMs: MINUTE })).toBe(2)
    const other = { account: 'cm', claim: randomUUID(), limit: 10, leaseMs: MINUTE }
    expect(await claimDue(database.db, other)).toEqual([])
    await releaseClaim(database.db, { account: 'cm', claim, messageIds: ['a'], delayMs: 0 })
    expect(await renewClaim(database.db, { claim, leaseMs: MINUTE })).toBe(1)
    expect(await renewClaim(database.db, { claim: randomUUID(), leaseMs: MINUTE })).toBe(0)
  })
})

describe('refuseMessage', () => {
  it('marks the message with the reason until it is answered for, and brings it back after the delay', async () => {
    await trackMessages(database.db, [message('bad', MINUTE), message('good', MINUTE)])
    const batch = { account: 'cm', claim: randomUUID() }
    await claimDue(database.db, { ...batch, limit: 10, leaseMs: MINUTE })
    await refuseMessage(database.db, { ...batch, messageIds: ['bad'], reason: 'code 600', delayMs: HOUR })
    const rowOf = async () => (await database.db.select().from(messages)).find(({ messageId }) => messageId === 'bad')
    expect(await rowOf()).toMatchObject({ queryError: 'code 600', claim: null, polls: 1, final: false })
    expect((await rowOf())?.nextPollAt?.getTime()).toBeGreaterThan(Date.now() + HOUR - MINUTE)

    await database.db.execute(sql`UPDATE ${messages} SET next_poll_at = now() WHERE message_id = 'bad'`)
    const claim = randomUUID()
    const [claimed] = await claimDue(database.db, { account: 'cm', claim, limit: 10, leaseMs: MINUTE })
    expect(claimed).toMatchObject({ messageId: 'bad', refused: true })
    const polled = { account: 'cm', messageId: 'bad', recipientKey: '', claim, nextPollAt: new Date(now + HOUR) }
    await applyReports(database.db, [], [polled])
    expect(await rowOf()).toMatchObject({ queryError: null, claim: null })
  })
})

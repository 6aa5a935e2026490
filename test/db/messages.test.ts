import { eq } from 'drizzle-orm'
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest'
import { findMessages, findReports, trackMessages } from '../../src/db/messages.ts'
import type { NewMessage } from '../../src/db/new-message.ts'
import { applyReports } from '../../src/db/reports.ts'
import { messages, statusReports } from '../../src/db/schema.ts'
import { openTables, type Tables } from '../support/api.ts'

let database: Tables
beforeAll(async () => {
  database = await openTables()
})
afterAll(() => database.close())
beforeEach(async () => {
  await database.db.delete(messages)
  await database.db.delete(statusReports)
})

const MINUTE = 60_000
const HOUR = 60 * MINUTE
const fromNow = (ms: number) => new Date(Date.now() + ms)

function message(messageId: string, more: Partial<NewMessage> = {}): NewMessage {
  return {
    account: 'seven',
    messageId,
    recipientKey: '',
    recipient: null,
    sentAt: fromNow(-HOUR),
    windowEndsAt: fromNow(24 * HOUR),
    dueAt: fromNow(-MINUTE),
    metadata: undefined,
    ...more,
  }
}

const track = (...tracked: NewMessage[]) => trackMessages(database.db, tracked)
const settle = (messageId: string) =>
  applyReports(database.db, [
    {
      account: 'seven',
      messageId,
      status: 'delivered',
      rawStatus: 'DELIVERED',
      occurredAt: fromNow(0),
      source: 'webhook',
    },
  ])

async function rowOf(messageId: string) {
  const [row] = await database.db.select().from(messages).where(eq(messages.messageId, messageId))
  if (!row) throw new Error(`no row of ${messageId}`)
  return row
}

describe('trackMessages', () => {
  it('counts those that were not tracked before, and leaves the others as they are', async () => {
    const first = message('1', { metadata: { order: 'a' }, recipient: '+49170', sentAt: fromNow(-2 * HOUR) })
    expect(await track(first, message('2'))).toBe(2)
    const before = await rowOf('1')
    expect(before).toMatchObject({
      account: 'seven',
      recipient: '+49170',
      sentAt: first.sentAt,
      windowEndsAt: first.windowEndsAt,
      dueAt: first.dueAt,
      metadata: { order: 'a' },
      status: null,
      final: false,
      polls: 0,
    })
    expect(await track(message('3'), message('1', { metadata: { order: 'b' } }))).toBe(1)
    expect(await rowOf('1')).toEqual(before)
    expect(await track(message('1'), message('2'), message('3'))).toBe(0)
  })

  it('keeps accounts and recipients of one ID apart', async () => {
    expect(await track(message('1'), message('1', { account: 'b' }), message('1', { recipientKey: '49170' }))).toBe(3)
  })

  it('tracks all or none', async () => {
    const impossible = message('3', { sentAt: new Date(Number.NaN) })
    await expect(track(message('1'), message('2'), impossible)).rejects.toThrow()
    expect(await database.db.select().from(messages)).toEqual([])
  })

  it('counts each message once when many track the same ones at once, in any order', async () => {
    const ids = Array.from({ length: 300 }, (_, index) => String(index))
    const orders = [ids, ids.toReversed(), ids, ids.toReversed(), ids]
    const counts = await Promise.all(orders.map((order) => track(...order.map((id) => message(id)))))
    expect(counts.reduce((sum, count) => sum + count)).toBe(300)
    expect(await database.db.select().from(messages)).toHaveLength(300)
  })

  it('takes 10,000 at once', async () => {
    expect(await track(...Array.from({ length: 10_000 }, (_, index) => message(String(index))))).toBe(10_000)
  })
})

describe('finding messages', () => {
  it('finds all recipients of one ID, or the one asked for', async () => {
    await track(
      message('1', { recipientKey: '49170', recipient: '+49 170' }),
      message('1', { recipientKey: '49171' }),
      message('1', { account: 'other' }),
      message('2'),
    )
    const keysOf = async (key?: string) =>
      (await findMessages(database.db, 'seven', '1', key)).map(({ recipientKey }) => recipientKey)
    expect((await keysOf()).sort()).toEqual(['49170', '49171'])
    expect(await keysOf('49171')).toEqual(['49171'])
    expect(await keysOf('49172')).toEqual([])
    expect(await findMessages(database.db, 'seven', '3')).toEqual([])
  })

  it('finds the reports of one message in the order of their arrival', async () => {
    await track(message('1'))
    for (const id of ['1', '2', '1']) await settle(id)
    const { id } = await rowOf('1')
    const reports = await findReports(database.db, id)
    expect(reports.map((report) => report.message)).toEqual([id, id])
    expect(reports[0]?.id).toBeLessThan(reports[1]?.id ?? 0)
  })
})

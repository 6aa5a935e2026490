import { randomUUID } from 'node:crypto'
import { eq, isNull, sql } from 'drizzle-orm'
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest'
import type { Db } from '../../src/db/client.ts'
import { deleteUntracked, findMessages, findReports, listMessages, trackMessages } from '../../src/db/messages.ts'
import type { NewMessage } from '../../src/db/new-message.ts'
import { applyReports } from '../../src/db/reports.ts'
import {
  type ClaimedBatch,
  checkClaim,
  claimDue,
  extendClaim,
  findClosed,
  findDueAccounts,
  pollNow,
  releaseClaim,
} from '../../src/db/schedule.ts'
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

const SECOND = 1_000
const MINUTE = 60 * SECOND
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
    nextPollAt: fromNow(-MINUTE),
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

const idsOf = (rows: readonly { messageId: string }[]) => rows.map(({ messageId }) => messageId).sort()

async function claim(
  limit = 100,
  { account = 'seven', leaseMs = MINUTE } = {},
): Promise<ClaimedBatch & { messageIds: string[] }> {
  const id = randomUUID()
  const claimed = await claimDue(database.db, { account, claim: id, limit, leaseMs })
  return { account, claim: id, messageIds: idsOf(claimed) }
}

/** As if so much time had passed: the lease of these messages ends `ms` from now. */
async function endLeaseIn(ms: number, messageId: string): Promise<void> {
  await database.db
    .update(messages)
    .set({ nextPollAt: fromNow(ms) })
    .where(eq(messages.messageId, messageId))
}

const secondsUntil = (time: Date | null) => Math.round(((time?.getTime() ?? 0) - Date.now()) / SECOND)

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
      nextPollAt: first.nextPollAt,
      metadata: { order: 'a' },
      status: null,
      final: false,
      polls: 0,
      claim: null,
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

describe('claimDue', () => {
  it('gives each message to one of many claimers', async () => {
    const ids = Array.from({ length: 500 }, (_, index) => String(index))
    await track(...ids.map((id) => message(id)))
    const claimAll = async () => {
      const claimed: ClaimedBatch[] = []
      for (let batch = await claim(20); batch.messageIds.length > 0; batch = await claim(20)) claimed.push(batch)
      return claimed
    }
    const batches = (await Promise.all(Array.from({ length: 6 }, claimAll))).flat()
    expect(batches.flatMap(({ messageIds }) => messageIds).sort()).toEqual(ids.sort())
    for (const batch of batches) {
      const rows = await database.db.select().from(messages).where(eq(messages.claim, batch.claim))
      expect(idsOf(rows)).toEqual(batch.messageIds)
    }
  })

  it('says of each what its batch needs, and holds it for the lease', async () => {
    const sentAt = fromNow(-3 * HOUR)
    await track(message('1', { sentAt, recipientKey: '49170' }))
    await database.db.update(messages).set({ polls: 4 })
    const id = randomUUID()
    const claimed = await claimDue(database.db, { account: 'seven', claim: id, limit: 10, leaseMs: 90 * SECOND })
    expect(claimed).toEqual([{ messageId: '1', recipientKey: '49170', sentAt, polls: 4, refused: false }])
    const row = await rowOf('1')
    expect(row.claim).toBe(id)
    expect(secondsUntil(row.nextPollAt)).toBeGreaterThan(85)
    expect(secondsUntil(row.nextPollAt)).toBeLessThanOrEqual(90)
    expect((await claim()).messageIds).toEqual([])
  })

  it('takes those that are due the longest first', async () => {
    const due = { a: -5, b: -9, c: -1, d: -7, e: -3 }
    await track(...Object.entries(due).map(([id, minutes]) => message(id, { nextPollAt: fromNow(minutes * MINUTE) })))
    expect((await claim(2)).messageIds).toEqual(['b', 'd'])
    expect((await claim(2)).messageIds).toEqual(['a', 'e'])
    expect((await claim(2)).messageIds).toEqual(['c'])
  })

  it('passes over what is not due, not of this account, final, or past its window', async () => {
    await track(
      message('later', { nextPollAt: fromNow(MINUTE) }),
      message('elsewhere', { account: 'other' }),
      message('final'),
      message('closed', { windowEndsAt: fromNow(-SECOND) }),
      message('due'),
    )
    await settle('final')
    await settle('never tracked')
    expect((await claim()).messageIds).toEqual(['due'])
  })

  it('gives a message to the next claimer when its lease has run out', async () => {
    await track(message('1'))
    const first = await claim()
    await endLeaseIn(-SECOND, '1')
    const second = await claim()
    expect(second.messageIds).toEqual(['1'])
    expect((await rowOf('1')).claim).toBe(second.claim)
    expect(second.claim).not.toBe(first.claim)
  })

  it('passes over a row that another transaction is claiming just now', async () => {
    await track(message('1'), message('2'))
    await database.db.transaction(async (tx) => {
      const options = { account: 'seven', claim: randomUUID(), limit: 1, leaseMs: MINUTE }
      const [taken] = await claimDue(tx, options)
      const { messageIds } = await claim()
      expect([taken?.messageId, ...messageIds].sort()).toEqual(['1', '2'])
    })
  })
})

describe('checkClaim', () => {
  const check = (batch: Awaited<ReturnType<typeof claim>>, { marginMs = 10 * SECOND, leaseMs = MINUTE } = {}) =>
    checkClaim(database.db, { ...batch, marginMs, leaseMs })

  it('finds held what is held, without moving a lease that is long enough', async () => {
    await track(message('1'), message('2'))
    const batch = await claim()
    const before = await rowOf('1')
    const { held, settled } = await check(batch)
    expect(idsOf(held)).toEqual(['1', '2'])
    expect(held[0]).toEqual({ messageId: '1', recipientKey: '', sentAt: before.sentAt, polls: 0, refused: false })
    expect(settled).toBe(0)
    expect(await rowOf('1')).toEqual(before)
  })

  it('leaves out what has been settled, and what has been taken over by another claim', async () => {
    await track(message('kept'), message('settled'), message('taken'))
    const batch = await claim()
    await settle('settled')
    await endLeaseIn(-SECOND, 'taken')
    const other = await claim()
    expect(other.messageIds).toEqual(['taken'])
    const { held, settled } = await check(batch)
    expect([idsOf(held), settled]).toEqual([['kept'], 1])
    expect(idsOf((await check(other)).held)).toEqual(['taken'])
  })

  it('holds nothing that was given back', async () => {
    await track(message('1'))
    const batch = await claim()
    await releaseClaim(database.db, { ...batch, delayMs: 0 })
    expect(await check(batch)).toEqual({ held: [], settled: 0 })
  })

  it.each([
    ['nearly over', 5 * SECOND],
    ['over', -5 * SECOND],
  ])('renews a lease that is %s, so that nobody else claims the message', async (_name, ms) => {
    await track(message('1'))
    const batch = await claim()
    await endLeaseIn(ms, '1')
    expect(idsOf((await check(batch)).held)).toEqual(['1'])
    const row = await rowOf('1')
    expect(row.claim).toBe(batch.claim)
    expect(secondsUntil(row.nextPollAt)).toBeGreaterThan(50)
    expect((await claim()).messageIds).toEqual([])
  })

  it('and a claimer at the same moment never both have a message whose lease is over', async () => {
    for (let round = 0; round < 15; round++) {
      await database.db.delete(messages)
      const ids = Array.from({ length: 30 }, (_, index) => String(index))
      await track(...ids.map((id) => message(id)))
      const batch = await claim()
      await database.db.update(messages).set({ nextPollAt: fromNow(-SECOND) })
      const [mine, theirs] = await Promise.all([check(batch), claim(17)])
      expect([...idsOf(mine.held), ...theirs.messageIds].filter((id, index, all) => all.indexOf(id) !== index)).toEqual(
        [],
      )
      expect(mine.held.length + theirs.messageIds.length).toBeGreaterThanOrEqual(30 - 17)
    }
  })
})

describe('extendClaim', () => {
  it('moves the end of the lease of what the batch still holds, and of nothing else', async () => {
    await track(message('held'), message('taken'), message('settled'), message('free', { nextPollAt: fromNow(HOUR) }))
    const batch = await claim()
    await settle('settled')
    await endLeaseIn(-SECOND, 'taken')
    await claim()
    const [taken, settled, free] = [await rowOf('taken'), await rowOf('settled'), await rowOf('free')]
    const messageIds = ['held', 'taken', 'settled', 'free']
    await extendClaim(database.db, { ...batch, messageIds, leaseMs: 10 * MINUTE })
    const held = await rowOf('held')
    expect(secondsUntil(held.nextPollAt)).toBeGreaterThan(590)
    expect(held.claim).toBe(batch.claim)
    expect([await rowOf('taken'), await rowOf('settled'), await rowOf('free')]).toEqual([taken, settled, free])
  })
})

describe('releaseClaim', () => {
  it('gives back what the batch still holds, to come due after the delay', async () => {
    await track(message('held'), message('taken'))
    const batch = await claim()
    await endLeaseIn(-SECOND, 'taken')
    await claim()
    const taken = await rowOf('taken')
    await releaseClaim(database.db, { ...batch, delayMs: 30 * MINUTE })
    const { claim: ended, nextPollAt, polls } = await rowOf('held')
    expect([ended, polls]).toEqual([null, 0])
    expect(Math.abs(secondsUntil(nextPollAt) - 1800)).toBeLessThan(5)
    expect(await rowOf('taken')).toEqual(taken)
  })

  it('does not move a message past the end of its window', async () => {
    const windowEndsAt = fromNow(5 * MINUTE)
    await track(message('1', { windowEndsAt }))
    await releaseClaim(database.db, { ...(await claim()), delayMs: HOUR })
    expect((await rowOf('1')).nextPollAt).toEqual(windowEndsAt)
  })

  it('makes a message due at once when its window has closed meanwhile', async () => {
    await track(message('1'))
    const batch = await claim()
    await database.db.update(messages).set({ windowEndsAt: fromNow(-HOUR) })
    await releaseClaim(database.db, { ...batch, delayMs: HOUR })
    expect(Math.abs(secondsUntil((await rowOf('1')).nextPollAt))).toBeLessThan(5)
    expect(idsOf(await findClosed(database.db, 10))).toEqual(['1'])
  })
})

describe('findClosed', () => {
  it('finds what is outstanding past its window, in every account there is, configured or not', async () => {
    const windowEndsAt = fromNow(-MINUTE)
    const closed = { windowEndsAt, nextPollAt: windowEndsAt }
    await track(
      message('1', { ...closed, account: 'b', recipientKey: '49170' }),
      message('2', { ...closed, account: 'no longer configured' }),
      message('3', closed),
      message('4', { ...closed, account: 'b' }),
      message('open', { account: 'c' }),
      message('not due', { windowEndsAt, nextPollAt: fromNow(MINUTE) }),
      message('settled', closed),
    )
    await settle('settled')
    await settle('never tracked')
    const found = await findClosed(database.db, 100)
    expect(found.sort((a, b) => a.messageId.localeCompare(b.messageId))).toEqual([
      { account: 'b', messageId: '1', recipientKey: '49170', windowEndsAt },
      { account: 'no longer configured', messageId: '2', recipientKey: '', windowEndsAt },
      { account: 'seven', messageId: '3', recipientKey: '', windowEndsAt },
      { account: 'b', messageId: '4', recipientKey: '', windowEndsAt },
    ])
    expect(await findClosed(database.db, 3)).toHaveLength(3)
  })

  it('finds nothing in an empty table', async () => {
    expect(await findClosed(database.db, 100)).toEqual([])
  })

  it('leaves a message to the batch that holds it', async () => {
    await track(message('1'))
    await claim()
    await database.db.update(messages).set({ windowEndsAt: fromNow(-SECOND) })
    expect(await findClosed(database.db, 100)).toEqual([])
    await endLeaseIn(-SECOND, '1')
    expect(idsOf(await findClosed(database.db, 100))).toEqual(['1'])
  })
})

describe('deleteUntracked', () => {
  it('deletes the oldest messages that nobody tracked, with their reports, and no others', async () => {
    await track(message('tracked', { sentAt: fromNow(-90 * 24 * HOUR) }))
    for (const id of ['old', 'older', 'oldest', 'new']) await settle(id)
    const ages = { old: 5, older: 6, oldest: 7 }
    for (const [id, hours] of Object.entries(ages)) {
      await database.db
        .update(messages)
        .set({ sentAt: fromNow(-hours * HOUR) })
        .where(eq(messages.messageId, id))
    }
    const olderThan = fromNow(-HOUR)
    expect(await deleteUntracked(database.db, { olderThan, limit: 2 })).toBe(2)
    expect(idsOf(await database.db.select().from(messages).where(isNull(messages.trackedAt)))).toEqual(['new', 'old'])
    expect(await deleteUntracked(database.db, { olderThan, limit: 2 })).toBe(1)
    expect(await deleteUntracked(database.db, { olderThan, limit: 2 })).toBe(0)
    expect(idsOf(await database.db.select().from(messages))).toEqual(['new', 'tracked'])
    expect(await database.db.select().from(statusReports)).toHaveLength(1)
  })
})

describe('pollNow', () => {
  it('makes an outstanding message due', async () => {
    await track(message('1', { nextPollAt: fromNow(HOUR) }))
    expect(await pollNow(database.db, (await rowOf('1')).id)).toBe(true)
    await expect.poll(async () => (await claim()).messageIds).toEqual(['1'])
  })

  it('leaves a message to the batch that holds it, and not to one whose lease is over', async () => {
    await track(message('1'))
    await claim()
    const before = await rowOf('1')
    expect(await pollNow(database.db, before.id)).toBe(true)
    expect(await rowOf('1')).toEqual(before)
    await endLeaseIn(-MINUTE, '1')
    expect(await pollNow(database.db, before.id)).toBe(true)
    await expect.poll(async () => (await claim()).messageIds).toEqual(['1'])
  })

  it('puts a message before all others that are due, where that is asked for', async () => {
    await track(message('1', { nextPollAt: fromNow(-HOUR) }), message('2', { nextPollAt: fromNow(HOUR) }))
    expect(await pollNow(database.db, (await rowOf('2')).id, { isFirst: true })).toBe(true)
    const [first, second] = await Promise.all([rowOf('2'), rowOf('1')])
    expect(first.nextPollAt?.getTime()).toBeLessThan(Number(second.nextPollAt?.getTime()))
  })

  it('refuses what is final, closed or not there', async () => {
    await track(message('final'), message('closed', { windowEndsAt: fromNow(-SECOND) }))
    await settle('final')
    for (const id of ['final', 'closed']) {
      const before = await rowOf(id)
      expect(await pollNow(database.db, before.id)).toBe(false)
      expect(await rowOf(id)).toEqual(before)
    }
    expect(await pollNow(database.db, 9_999_999)).toBe(false)
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

describe('listMessages', () => {
  const list = async (filter: Omit<Parameters<typeof listMessages>[1], 'limit'>, limit = 100) =>
    (await listMessages(database.db, { ...filter, limit })).map(({ messageId }) => messageId)

  it('lists tracked messages, newest first, by account, by status, by whether they are outstanding', async () => {
    for (const id of ['1', '2', '3', '4']) await track(message(id, { account: id === '3' ? 'other' : 'seven' }))
    await settle('2')
    await settle('never tracked')
    expect(await list({})).toEqual(['4', '3', '2', '1'])
    expect(await list({ account: 'seven' })).toEqual(['4', '2', '1'])
    expect(await list({ account: 'nobody' })).toEqual([])
    expect(await list({ status: 'delivered' })).toEqual(['2'])
    expect(await list({ outstanding: true })).toEqual(['4', '3', '1'])
    expect(await list({ outstanding: false })).toEqual(['2'])
    expect(await list({ account: 'seven', outstanding: true, status: 'delivered' })).toEqual([])
  })

  it('goes on before a message, whatever has been tracked since', async () => {
    await track(...['1', '2', '3', '4', '5'].map((id) => message(id)))
    const page = await listMessages(database.db, { limit: 2 })
    expect(page.map(({ messageId }) => messageId)).toEqual(['5', '4'])
    await track(message('6'))
    expect(await list({ before: page[1]?.id }, 2)).toEqual(['3', '2'])
  })
})

describe('the schedule of many messages', () => {
  const DUE = 20_000
  const LOT = 1_000
  const BATCH = 10

  /** How many rows of the messages a step of the schedule reads. */
  function rowsRead({ db }: Tables, step: (db: Db) => Promise<unknown>): Promise<number> {
    return db.transaction(async (transaction) => {
      const soFar = async () => {
        const [row] = await transaction.execute<{ read: number }>(sql`
          SELECT (seq_tup_read + coalesce(idx_tup_fetch, 0))::int AS read
          FROM pg_stat_xact_user_tables WHERE relid = 'lastword.messages'::regclass`)
        return row?.read ?? Number.NaN
      }
      const before = await soFar()
      await step(transaction)
      return (await soFar()) - before
    })
  }

  it.each([
    ['no statistics', []],
    ['statistics of a time when nothing was due', ['later']],
    ['statistics', ['now', 'later']],
  ])('is read no further than what is claimed or asked about, with %s', async (_title, analyzed) => {
    const tables = await openTables()
    try {
      const { db } = tables
      const later = Array.from({ length: LOT }, (_, index) => message(`later-${index}`, { nextPollAt: fromNow(HOUR) }))
      await trackMessages(db, later)
      if (analyzed.includes('later')) await db.execute(sql`ANALYZE ${messages}`)
      const due = Array.from({ length: DUE }, (_, index) => message(String(index)))
      await trackMessages(db, due)
      if (analyzed.includes('now')) await db.execute(sql`ANALYZE ${messages}`)

      const claim = { account: 'seven', claim: randomUUID(), leaseMs: MINUTE }
      const read = await rowsRead(tables, (within) => claimDue(within, { ...claim, limit: LOT }))
      // Each is read to be found, to be locked and to be updated.
      expect(read).toBeLessThanOrEqual(3 * LOT)

      const lot = await claimDue(db, { ...claim, limit: LOT })
      expect(lot).toHaveLength(LOT)
      const messageIds = lot.slice(0, BATCH).map(({ messageId }) => messageId)
      const check = (marginMs: number) =>
        rowsRead(tables, async (within) => {
          expect((await checkClaim(within, { ...claim, messageIds, marginMs })).held).toHaveLength(BATCH)
        })
      expect(await check(0)).toBe(BATCH)
      // With the lease renewed.
      expect(await check(2 * MINUTE)).toBeLessThanOrEqual(3 * BATCH)
      const accounts = await findDueAccounts(db, ['seven', 'none'])
      expect(accounts).toEqual(new Set(['seven']))
      expect(await rowsRead(tables, (within) => findDueAccounts(within, ['seven', 'none']))).toBe(1)
    } finally {
      await tables.close()
    }
  })
})

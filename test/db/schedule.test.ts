import { randomUUID } from 'node:crypto'
import { eq, sql } from 'drizzle-orm'
import postgres from 'postgres'
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest'
import {
  checkBatch,
  endBatch,
  extendLease,
  giveBackExpired,
  refuseMessage,
  releaseBatch,
  splitBatch,
} from '../../src/db/batches.ts'
import type { Db } from '../../src/db/client.ts'
import { trackMessages } from '../../src/db/messages.ts'
import { pollNow } from '../../src/db/moves.ts'
import type { NewMessage } from '../../src/db/new-message.ts'
import { applyReports } from '../../src/db/reports.ts'
import { claimDue, findClosed, findDueAccounts, type Offered } from '../../src/db/schedule.ts'
import { batches, due, messages, statusReports } from '../../src/db/schema.ts'
import { openTables, type Tables } from '../support/api.ts'
import { findMisplaced, makeDue } from '../support/schedule.ts'

let database: Tables
let client: postgres.Sql
beforeAll(async () => {
  database = await openTables()
  client = postgres(database.url, { max: 2, onnotice: () => {} })
})
afterAll(async () => {
  await client.end()
  await database.close()
})
beforeEach(async () => {
  for (const table of [messages, statusReports, due, batches]) await database.db.delete(table)
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
    dueAt: fromNow(-MINUTE),
    metadata: undefined,
    ...more,
  }
}

const track = (...tracked: NewMessage[]) => trackMessages(database.db, tracked)
const settle = (messageId: string, status: 'delivered' | 'transmitted' = 'delivered') =>
  applyReports(database.db, [
    { account: 'seven', messageId, status, rawStatus: status, occurredAt: fromNow(0), source: 'webhook' },
  ])
const answer = (batch: string, answered: readonly { id: number }[], goesOn = false) =>
  applyReports(database.db, [], {
    answered: { batch, messages: answered.map(({ id }) => ({ id, dueAt: fromNow(HOUR) })), goesOn },
  })

async function rowOf(messageId: string) {
  const [row] = await database.db.select().from(messages).where(eq(messages.messageId, messageId))
  if (!row) throw new Error(`no row of ${messageId}`)
  return row
}

const idsOf = (rows: readonly { messageId: string }[]) => rows.map(({ messageId }) => messageId).sort()

const inOne = ({ due }: Offered) => (due.length > 0 ? [due] : [])

/** Claims one batch; its ID is that of no batch when nothing was due. */
async function claim(limit = 100, { account = 'seven', leaseMs = MINUTE } = {}) {
  const { batches: claimed, hasMore } = await claimDue(database.db, { account, limit, leaseMs }, inOne)
  const { id, messages: own } = claimed[0] ?? { id: randomUUID(), messages: [] }
  return { batch: id, own, messageIds: idsOf(own), hasMore }
}

/** As if so much time had passed: the lease ends `ms` from now. */
async function endLeaseIn(ms: number, batch: string): Promise<void> {
  await database.db
    .update(batches)
    .set({ leaseEndsAt: fromNow(ms) })
    .where(eq(batches.id, batch))
}

const leaseOf = async (batch: string) =>
  (await database.db.select().from(batches).where(eq(batches.id, batch)))[0]?.leaseEndsAt ?? null
const secondsUntil = (time: Date | null) => Math.round(((time?.getTime() ?? 0) - Date.now()) / SECOND)
const scheduled = async () => (await database.db.select().from(due)).length

describe('claimDue', () => {
  it('gives each message to one of many claimers', async () => {
    const ids = Array.from({ length: 500 }, (_, index) => String(index))
    await track(...ids.map((id) => message(id)))
    const claimAll = async () => {
      const claimed: string[][] = []
      for (let lot = await claim(20); lot.messageIds.length > 0; lot = await claim(20)) claimed.push(lot.messageIds)
      return claimed
    }
    const claimed = (await Promise.all(Array.from({ length: 6 }, claimAll))).flat()
    expect(claimed.flat().sort()).toEqual(ids.sort())
    expect(await database.db.select().from(batches)).toHaveLength(claimed.length)
    expect(await findMisplaced(client)).toEqual([])
  })

  it('says of each what its batch needs, and holds it for the lease', async () => {
    const sentAt = fromNow(-3 * HOUR)
    await track(message('1', { sentAt, recipientKey: '49170' }))
    await database.db.update(messages).set({ polls: 4 })
    const { batch, own, hasMore } = await claim(10, { leaseMs: 90 * SECOND })
    const { id } = await rowOf('1')
    expect(own).toEqual([
      {
        id,
        messageId: '1',
        recipientKey: '49170',
        sentAt,
        windowEndsAt: (await rowOf('1')).windowEndsAt,
        polls: 4,
        askedAt: undefined,
        wanted: false,
        refused: false,
      },
    ])
    expect(hasMore).toBe(false)
    expect(secondsUntil(await leaseOf(batch))).toBeGreaterThan(85)
    expect(secondsUntil(await leaseOf(batch))).toBeLessThanOrEqual(90)
    expect((await claim()).messageIds).toEqual([])
  })

  it('cuts what it claims into batches', async () => {
    await track(...['a', 'b', 'c'].map((id) => message(id)))
    const cut = ({ due }: Offered) => due.map((one) => [one])
    const claimed = await claimDue(database.db, { account: 'seven', limit: 10, leaseMs: MINUTE }, cut)
    expect(claimed.batches.map((batch) => idsOf(batch.messages)).sort()).toEqual([['a'], ['b'], ['c']])
    for (const { id, messages: own } of claimed.batches) {
      expect((await checkBatch(database.db, { batch: id, marginMs: 0, leaseMs: MINUTE })).held).toEqual(own)
    }
  })

  it('takes those that are due the longest first, and says when there may be more', async () => {
    const minutes = { a: -5, b: -9, c: -1, d: -7, e: -3 }
    await track(...Object.entries(minutes).map(([id, ago]) => message(id, { dueAt: fromNow(ago * MINUTE) })))
    expect(await claim(2)).toMatchObject({ messageIds: ['b', 'd'], hasMore: true })
    expect(await claim(2)).toMatchObject({ messageIds: ['a', 'e'], hasMore: true })
    expect(await claim(2)).toMatchObject({ messageIds: ['c'], hasMore: false })
  })

  it('offers those due last, too, where there are more than it looks at', async () => {
    await track(...[9, 7, 5, 3, 1].map((ago) => message(`${ago}`, { dueAt: fromNow(-ago * MINUTE) })))
    const offered: string[][] = []
    const options = { account: 'seven', leaseMs: MINUTE, newest: 2 }
    for (const limit of [2, 4, 10]) {
      await claimDue(database.db, { ...options, limit }, ({ due }) => {
        offered.push(idsOf(due))
        return []
      })
    }
    expect(offered).toEqual([
      ['1', '3', '7', '9'],
      ['1', '3', '5', '7', '9'],
      ['1', '3', '5', '7', '9'],
    ])
    expect(await scheduled()).toBe(5)
  })

  it('fills free places with those due next, but for those asked about just now and those not sent yet', async () => {
    await track(
      message('due'),
      ...[1, 2, 3, 4].map((inMinutes) => message(`next ${inMinutes}`, { dueAt: fromNow(inMinutes * MINUTE) })),
      message('not sent', { sentAt: fromNow(SECOND * 30), dueAt: fromNow(SECOND * 40) }),
    )
    await database.db.execute(sql`UPDATE ${messages} SET asked_at = now() WHERE message_id = 'next 2'`)
    const options = { account: 'seven', limit: 10, leaseMs: MINUTE, places: 3, restMs: 10 * SECOND }
    const { batches: claimed } = await claimDue(database.db, options, ({ due, next }) => [[...due, ...next]])
    expect(claimed.map((batch) => idsOf(batch.messages))).toEqual([['due', 'next 1', 'next 3']])
    // Without anything due there is nothing to fill.
    expect((await claimDue(database.db, options, ({ due, next }) => [[...due, ...next]])).batches).toEqual([])
    expect(await findMisplaced(client)).toEqual([])
  })

  it('passes over what is not due, not of this account, final, or past its window', async () => {
    await track(
      message('later', { dueAt: fromNow(MINUTE) }),
      message('elsewhere', { account: 'other' }),
      message('final'),
      message('closed', { windowEndsAt: fromNow(-SECOND) }),
      message('due'),
    )
    await settle('final')
    await settle('never tracked')
    expect(await scheduled()).toBe(5)
    expect((await claim()).messageIds).toEqual(['due'])
    // The final messages have been dropped.
    expect(await scheduled()).toBe(3)
    expect(await findMisplaced(client)).toEqual([])
  })

  it('passes over a row that another transaction is claiming just now', async () => {
    await track(message('1'), message('2'))
    await database.db.transaction(async (tx) => {
      const { batches: taken } = await claimDue(tx, { account: 'seven', limit: 1, leaseMs: MINUTE }, inOne)
      const { messageIds } = await claim()
      expect([...idsOf(taken[0]?.messages ?? []), ...messageIds].sort()).toEqual(['1', '2'])
    })
  })

  it("drops a place that is not the message's own any more", async () => {
    await track(message('1'))
    await makeDue(client)
    expect(await scheduled()).toBe(2)
    expect((await claim()).messageIds).toEqual(['1'])
    expect(await scheduled()).toBe(0)
  })
})

describe('checkBatch', () => {
  const check = (batch: string, { marginMs = 10 * SECOND, leaseMs = MINUTE } = {}) =>
    checkBatch(database.db, { batch, marginMs, leaseMs })

  it('finds held what is held, without moving a lease that is long enough', async () => {
    await track(message('1'), message('2'))
    const { batch, own } = await claim()
    const before = await leaseOf(batch)
    expect(await check(batch)).toEqual({ held: own, settled: 0 })
    expect(await leaseOf(batch)).toEqual(before)
  })

  it('leaves out what has been settled', async () => {
    await track(message('kept'), message('settled'))
    const { batch } = await claim()
    await settle('settled')
    const { held, settled } = await check(batch)
    expect([idsOf(held), settled]).toEqual([['kept'], 1])
  })

  it('holds nothing that was given back', async () => {
    await track(message('1'))
    const { batch } = await claim()
    await releaseBatch(database.db, { batch, delayMs: 0 })
    expect(await check(batch)).toEqual({ held: [], settled: 0 })
  })

  it.each([
    ['nearly over', 5 * SECOND],
    ['over', -5 * SECOND],
  ])('renews a lease that is %s, so that nobody else claims the message', async (_name, ms) => {
    await track(message('1'))
    const { batch } = await claim()
    await endLeaseIn(ms, batch)
    expect(idsOf((await check(batch)).held)).toEqual(['1'])
    expect(secondsUntil(await leaseOf(batch))).toBeGreaterThan(50)
    expect(await giveBackExpired(database.db)).toBe(0)
  })

  it('and a give-back at the same moment never both have a message whose lease is over', async () => {
    for (let round = 0; round < 25; round++) {
      await track(message(`round ${round}`))
      const { batch } = await claim()
      await endLeaseIn(-SECOND, batch)
      const giveBackAndClaim = async () => {
        await giveBackExpired(database.db)
        return claim()
      }
      const steps = [() => check(batch), giveBackAndClaim] as const
      const [mine, theirs] = await Promise.all([steps[0](), steps[1]()])
      expect(mine.held.length + theirs.own.length).toBe(1)
      expect(await findMisplaced(client)).toEqual([])
      await settle(`round ${round}`)
    }
  })
})

describe('a batch', () => {
  it('extends its lease while it is there', async () => {
    await track(message('1'))
    const { batch } = await claim()
    expect(await extendLease(database.db, batch, 10 * MINUTE)).toBe(true)
    expect(secondsUntil(await leaseOf(batch))).toBeGreaterThan(590)
    await endBatch(database.db, batch)
    expect(await extendLease(database.db, batch, 10 * MINUTE)).toBe(false)
  })

  it('is cut into others, which nobody else has', async () => {
    await track(...['a', 'b', 'c'].map((id) => message(id)))
    const { batch, own } = await claim()
    const [first, ...others] = own
    const parts = await splitBatch(database.db, { batch, account: 'seven', leaseMs: MINUTE }, [
      [first as never],
      others,
    ])
    expect(parts.map((part) => part.messages)).toEqual([[first], others])
    expect(await findMisplaced(client)).toEqual([])
    expect(await leaseOf(batch)).toBeNull()
    // A worker that comes late with the same batch gets nothing.
    expect(await splitBatch(database.db, { batch, account: 'seven', leaseMs: MINUTE }, [own])).toEqual([])
  })

  it('is given back, to come due after the delay, without what is final', async () => {
    await track(message('held'), message('settled'))
    const { batch } = await claim()
    await settle('settled')
    await releaseBatch(database.db, { batch, delayMs: 30 * MINUTE })
    const { dueAt, polls } = await rowOf('held')
    expect(polls).toBe(0)
    expect(Math.abs(secondsUntil(dueAt) - 1800)).toBeLessThan(5)
    expect(await scheduled()).toBe(1)
    expect(await findMisplaced(client)).toEqual([])
    await releaseBatch(database.db, { batch, delayMs: 0 })
    expect((await rowOf('held')).dueAt).toEqual(dueAt)
  })

  it('does not move a message past the end of its window', async () => {
    const windowEndsAt = fromNow(5 * MINUTE)
    await track(message('1', { windowEndsAt }))
    await releaseBatch(database.db, { ...(await claim()), delayMs: HOUR })
    expect((await rowOf('1')).dueAt).toEqual(windowEndsAt)
  })

  it('makes a message due at once when its window has closed meanwhile', async () => {
    await track(message('1'))
    const { batch } = await claim()
    await database.db.update(messages).set({ windowEndsAt: fromNow(-HOUR) })
    await releaseBatch(database.db, { batch, delayMs: HOUR })
    expect(Math.abs(secondsUntil((await rowOf('1')).dueAt))).toBeLessThan(5)
    expect(idsOf((await findClosed(database.db, 10)).closed)).toEqual(['1'])
  })

  it('is given back when its lease has run out, and no other is', async () => {
    await track(message('1'), message('2'))
    const [first, second] = [await claim(1), await claim(1)]
    await endLeaseIn(-SECOND, first.batch)
    expect(await giveBackExpired(database.db)).toBe(1)
    const again = await claim()
    expect(again.messageIds).toEqual(first.messageIds)
    expect(secondsUntil(await leaseOf(second.batch))).toBeGreaterThan(50)
    expect(await findMisplaced(client)).toEqual([])
  })

  it('gives back only what no answer has told of', async () => {
    await track(message('met'), message('unmet'))
    const { batch, own } = await claim()
    await answer(
      batch,
      own.filter(({ messageId }) => messageId === 'met'),
      true,
    )
    expect(secondsUntil((await rowOf('met')).dueAt)).toBeGreaterThan(3000)
    expect(await findMisplaced(client)).toEqual([])
    await endLeaseIn(-SECOND, batch)
    expect(await giveBackExpired(database.db)).toBe(1)
    expect(await findMisplaced(client)).toEqual([])
    expect((await claim()).messageIds).toEqual(['unmet'])
  })

  it('is given back whole when an answer to the batch before it comes late', async () => {
    await track(message('1'))
    const before = await claim()
    await endLeaseIn(-SECOND, before.batch)
    expect(await giveBackExpired(database.db)).toBe(1)
    const { batch } = await claim()
    await answer(before.batch, before.own)
    expect(await findMisplaced(client)).toEqual([])
    await endLeaseIn(-SECOND, batch)
    expect(await giveBackExpired(database.db)).toBe(1)
    expect(await findMisplaced(client)).toEqual([])
  })

  it("gives back the rest, whatever the database's clock says of the last answer", async () => {
    await track(message('met'), message('unmet'))
    await database.db.update(messages).set({ askedAt: fromNow(HOUR) })
    const { batch, own } = await claim()
    await answer(
      batch,
      own.filter(({ messageId }) => messageId === 'met'),
      true,
    )
    await database.db.update(messages).set({ askedAt: fromNow(-HOUR) })
    expect(await findMisplaced(client)).toEqual([])
    await endLeaseIn(-SECOND, batch)
    expect(await giveBackExpired(database.db)).toBe(1)
    expect((await claim()).messageIds).toEqual(['unmet'])
  })

  it('is marked with why the provider refuses to answer, until it is answered for', async () => {
    await track(message('bad'), message('good'))
    const { batch, own } = await claim()
    const parts = own.map((one) => [one])
    for (const part of await splitBatch(database.db, { batch, account: 'seven', leaseMs: MINUTE }, parts)) {
      if (part.messages[0]?.messageId !== 'bad') continue
      await refuseMessage(database.db, { batch: part.id, reason: 'code 600', delayMs: HOUR })
    }
    expect(await rowOf('bad')).toMatchObject({ queryError: 'code 600', polls: 1, final: false })
    expect(secondsUntil((await rowOf('bad')).dueAt)).toBeGreaterThan(3590)
    expect(await rowOf('good')).toMatchObject({ queryError: null, polls: 0 })

    await makeDue(client, ['bad'])
    const again = await claim()
    expect(again.own).toMatchObject([{ messageId: 'bad', refused: true }])
    await answer(again.batch, again.own)
    expect(await rowOf('bad')).toMatchObject({ queryError: null })
    expect(await findMisplaced(client)).toEqual([])
  })
})

describe('findClosed', () => {
  it('finds what is outstanding past its window, in every account there is, configured or not', async () => {
    const windowEndsAt = fromNow(-MINUTE)
    const closed = { windowEndsAt, dueAt: windowEndsAt }
    await track(
      message('1', { ...closed, account: 'b', recipientKey: '49170' }),
      message('2', { ...closed, account: 'no longer configured' }),
      message('3', closed),
      message('4', { ...closed, account: 'b' }),
      message('open', { account: 'c' }),
      message('not due', { windowEndsAt, dueAt: fromNow(MINUTE) }),
      message('settled', closed),
    )
    await settle('settled')
    await settle('never tracked')
    const found = await findClosed(database.db, 100)
    expect(found.closed.sort((a, b) => a.messageId.localeCompare(b.messageId))).toEqual([
      { account: 'b', messageId: '1', recipientKey: '49170', windowEndsAt },
      { account: 'no longer configured', messageId: '2', recipientKey: '', windowEndsAt },
      { account: 'seven', messageId: '3', recipientKey: '', windowEndsAt },
      { account: 'b', messageId: '4', recipientKey: '', windowEndsAt },
    ])
    expect(found.hasMore).toBe(false)
    expect(await findClosed(database.db, 3)).toMatchObject({ closed: { length: 3 }, hasMore: true })
    // The settled messages have been dropped.
    expect(await scheduled()).toBe(6)
  })

  it('finds nothing in an empty table', async () => {
    expect(await findClosed(database.db, 100)).toEqual({ closed: [], hasMore: false })
  })

  it('leaves a message to the batch that holds it', async () => {
    await track(message('1'))
    const { batch } = await claim()
    await database.db.update(messages).set({ windowEndsAt: fromNow(-SECOND) })
    expect((await findClosed(database.db, 100)).closed).toEqual([])
    await endLeaseIn(-SECOND, batch)
    await giveBackExpired(database.db)
    expect(idsOf((await findClosed(database.db, 100)).closed)).toEqual(['1'])
  })
})

describe('pollNow', () => {
  it('makes an outstanding message due', async () => {
    await track(message('1', { dueAt: fromNow(HOUR) }))
    expect(await pollNow(database.db, [(await rowOf('1')).id])).toBe(1)
    await expect.poll(async () => (await claim()).messageIds).toEqual(['1'])
    expect(await scheduled()).toBe(0)
  })

  it('has a message wanted until an answer tells of it, whatever the clock said before', async () => {
    await track(message('1', { dueAt: fromNow(HOUR) }))
    await database.db.update(messages).set({ askedAt: fromNow(HOUR) })
    await pollNow(database.db, [(await rowOf('1')).id])
    await makeDue(client)
    const { batch, own } = await claim()
    expect(own).toMatchObject([{ wanted: true }])
    await answer(batch, own)
    await makeDue(client)
    expect((await claim()).own).toMatchObject([{ wanted: false }])
  })

  it('leaves a message to the batch that holds it', async () => {
    await track(message('1'))
    await claim()
    const before = await rowOf('1')
    expect(await pollNow(database.db, [before.id])).toBe(1)
    expect(await rowOf('1')).toEqual(before)
    expect(await findMisplaced(client)).toEqual([])
  })

  it('puts a message before all others that are due, where that is asked for', async () => {
    await track(message('1', { dueAt: fromNow(-HOUR) }), message('2', { dueAt: fromNow(HOUR) }))
    expect(await pollNow(database.db, [(await rowOf('2')).id], { isFirst: true })).toBe(1)
    expect((await claim(1)).messageIds).toEqual(['2'])
  })

  it('refuses what is final, closed or not there', async () => {
    await track(message('final'), message('closed', { windowEndsAt: fromNow(-SECOND) }))
    await settle('final')
    for (const id of ['final', 'closed']) {
      const before = await rowOf(id)
      expect(await pollNow(database.db, [before.id])).toBe(0)
      expect(await rowOf(id)).toEqual(before)
    }
    expect(await pollNow(database.db, [9_999_999])).toBe(0)
  })
})

describe('every message', () => {
  it('stands in one place, whatever is done at once', async () => {
    const ids = Array.from({ length: 200 }, (_, index) => String(index))
    await track(...ids.map((id) => message(id)))
    let left = 600
    const any = () => ids[Math.floor(Math.random() * ids.length)] ?? ''
    const steps = [
      async () => {
        const { batch, own } = await claim(20)
        const { held } = await checkBatch(database.db, { batch, marginMs: SECOND, leaseMs: MINUTE })
        expect(held.length).toBeLessThanOrEqual(own.length)
        if (Math.random() < 0.5) await answer(batch, held)
        else await releaseBatch(database.db, { batch, delayMs: Math.random() * 20 })
      },
      async () => {
        const { batch, own } = await claim(10)
        await answer(batch, own.slice(0, 5), true)
        await endLeaseIn(-SECOND, batch)
      },
      () => giveBackExpired(database.db),
      async () => pollNow(database.db, [(await rowOf(any())).id]),
      () => settle(any(), Math.random() < 0.1 ? 'delivered' : 'transmitted'),
      () => findClosed(database.db, 100),
    ]
    const work = async () => {
      while (left-- > 0) await steps[left % steps.length]?.()
    }
    await Promise.all(Array.from({ length: 8 }, work))
    expect(await findMisplaced(client)).toEqual([])
    // The schedule goes on: everything that is left can be claimed.
    await database.db.update(batches).set({ leaseEndsAt: fromNow(-SECOND) })
    await giveBackExpired(database.db)
    await makeDue(client)
    const open = (await database.db.select().from(messages)).filter(({ final }) => !final)
    expect((await claim(1000)).messageIds).toEqual(idsOf(open))
  })
})

describe('the schedule of many messages', () => {
  const DUE = 20_000
  const LOT = 1_000
  const BATCH = 10

  /** How many rows of the two tables a step of the schedule reads. */
  function rowsRead({ db }: Tables, step: (db: Db) => Promise<unknown>): Promise<{ messages: number; due: number }> {
    return db.transaction(async (transaction) => {
      const soFar = async (table: string) => {
        const [row] = await transaction.execute<{ read: number }>(sql`
          SELECT (seq_tup_read + coalesce(idx_tup_fetch, 0))::int AS read
          FROM pg_stat_xact_user_tables WHERE relid = ${table}::regclass`)
        return row?.read ?? Number.NaN
      }
      const before = { messages: await soFar('lastword.messages'), due: await soFar('lastword.due') }
      await step(transaction)
      return {
        messages: (await soFar('lastword.messages')) - before.messages,
        due: (await soFar('lastword.due')) - before.due,
      }
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
      const later = Array.from({ length: LOT }, (_, index) => message(`later-${index}`, { dueAt: fromNow(HOUR) }))
      await trackMessages(db, later)
      if (analyzed.includes('later')) await db.execute(sql`ANALYZE ${messages}`)
      const due = Array.from({ length: DUE }, (_, index) => message(String(index)))
      await trackMessages(db, due)
      if (analyzed.includes('now')) await db.execute(sql`ANALYZE ${messages}`)

      const lease = { account: 'seven', leaseMs: MINUTE }
      const read = await rowsRead(tables, (within) => claimDue(within, { ...lease, limit: LOT }, inOne))
      expect(read).toEqual({ messages: LOT, due: expect.any(Number) })
      // Each is read to be found and to be deleted, and the lock looks at it once more.
      expect(read.due).toBeLessThanOrEqual(3 * LOT)

      const { batches: lots } = await claimDue(db, { ...lease, limit: BATCH }, inOne)
      const batch = lots[0]?.id ?? ''
      const check = (marginMs: number) =>
        rowsRead(tables, async (within) => {
          expect((await checkBatch(within, { batch, leaseMs: MINUTE, marginMs })).held).toHaveLength(BATCH)
        })
      expect(await check(0)).toEqual({ messages: BATCH, due: 0 })
      // With the lease renewed.
      expect(await check(2 * MINUTE)).toEqual({ messages: BATCH, due: 0 })
      const accounts = await findDueAccounts(db, ['seven', 'none'])
      expect(accounts).toEqual(new Set(['seven']))
      const looked = await rowsRead(tables, (within) => findDueAccounts(within, ['seven', 'none']))
      expect(looked).toEqual({ messages: 0, due: 1 })
    } finally {
      await tables.close()
    }
  })
})

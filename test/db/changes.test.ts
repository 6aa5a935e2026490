/** The feed of changes, at the database: its order, what is a change, who reads it, and how long it is kept. */
import { sql } from 'drizzle-orm'
import { afterAll, afterEach, beforeAll, describe, expect, inject, it, vi } from 'vitest'
import type { Status, StatusReport } from '../../src/core/status.ts'
import { openChangeListener } from '../../src/db/change-listener.ts'
import {
  addReader,
  type Change,
  deleteChanges,
  findChanges,
  findDeletedPosition,
  findLatestPosition,
  readChanges,
} from '../../src/db/changes.ts'
import type { Db } from '../../src/db/client.ts'
import { type Database, openDatabase } from '../../src/db/connection.ts'
import { eraseMessages } from '../../src/db/erasure.ts'
import { trackMessages, trackMessagesWithin } from '../../src/db/messages.ts'
import type { NewMessage } from '../../src/db/new-message.ts'
import { applyReports } from '../../src/db/reports.ts'
import { openTables, type Tables } from '../support/api.ts'
import { openProxy } from '../support/proxy.ts'

let tables: Tables
let db: Db
beforeAll(async () => {
  tables = await openTables()
  db = tables.db
})
afterAll(() => tables.close())

const START = Date.parse('2026-03-01T12:00:00Z')
const at = (ms: number) => new Date(START + ms)
const HOUR = 3_600_000
const ALL = 100_000

let ids = 0
const newId = () => `id-${++ids}`
const newIds = (count: number) => Array.from({ length: count }, newId)

function report(messageId: string, status: Status, ms: number, more: Partial<StatusReport> = {}): StatusReport {
  const rawStatus = status.toUpperCase()
  return { account: 'seven', messageId, status, rawStatus, occurredAt: at(ms), source: 'webhook', ...more }
}

function newMessage(messageId: string, more: Partial<NewMessage> = {}): NewMessage {
  const schedule = { sentAt: new Date(), windowEndsAt: new Date(Date.now() + HOUR), dueAt: new Date() }
  const rest = { account: 'seven', recipientKey: '', recipient: null, metadata: undefined, ...schedule }
  return { messageId, ...rest, ...more }
}

function track(on: Db, messageIds: readonly string[], more: Partial<NewMessage> = {}): Promise<number> {
  return trackMessages(
    on,
    messageIds.map((messageId) => newMessage(messageId, more)),
  )
}

/** The changes of one message, oldest first. */
async function changesOf(messageId: string): Promise<Change[]> {
  const found = await findChanges(db, 0, ALL)
  return found.filter((change) => change.messageId === messageId)
}

const steps = (found: readonly Change[]) => found.map(({ previousStatus, status }) => [previousStatus, status])

/** A promise, and how to fulfil it. */
function openGate() {
  let open = () => {}
  const opened = new Promise<void>((resolve) => {
    open = resolve
  })
  return { open, opened }
}

/** Reports of messages that nobody tracks yet. */
const reportAhead = (messageIds: readonly string[]) =>
  applyReports(
    db,
    messageIds.map((messageId) => report(messageId, 'delivered', 1)),
  )

/** A transaction of the sending app that tracks a message which reports have told of; it commits when told to. */
async function beginChange(messageId: string) {
  const written = openGate()
  const { open, opened } = openGate()
  const done = db.transaction(async (transaction) => {
    await trackMessagesWithin(transaction, [newMessage(messageId)], false)
    written.open()
    await opened
  })
  await Promise.race([written.opened, done])
  return {
    commit: () => {
      open()
      return done
    },
  }
}

/** Reads a feed as a reader does that goes on from the last position it has seen. */
function createFollower(read: (after: number) => Promise<{ position: number; messageId: string }[]>, from: number) {
  const seen: string[] = []
  const positions: number[] = []
  let cursor = from
  return {
    seen,
    positions,
    async follow() {
      for (const { position, messageId } of await read(cursor)) {
        seen.push(messageId)
        positions.push(position)
        cursor = position
      }
    },
  }
}

async function followFeed() {
  return createFollower((after) => findChanges(db, after, ALL), await findLatestPosition(db))
}

/** The feed as many would write it: a table with a serial ID, filled as the status changes, read by `id > cursor`. */
async function followNaively() {
  await db.execute(
    sql.raw(`
    CREATE TABLE naive_changes (id bigserial PRIMARY KEY, message_id text NOT NULL);
    CREATE FUNCTION naive_change() RETURNS trigger LANGUAGE plpgsql AS
      $$ BEGIN INSERT INTO naive_changes (message_id) VALUES (NEW.message_id); RETURN NULL; END $$;
    CREATE TRIGGER naive AFTER UPDATE OF tracked_at ON lastword.messages FOR EACH ROW EXECUTE FUNCTION naive_change();
  `),
  )
  return createFollower(async (after) => {
    const rows = await db.execute<{ id: string; message_id: string }>(
      sql`SELECT id, message_id FROM naive_changes WHERE id > ${after} ORDER BY id`,
    )
    return rows.map((row) => ({ position: Number(row.id), messageId: row.message_id }))
  }, 0)
}

const forgetNaive = () =>
  db.execute(sql.raw('DROP FUNCTION IF EXISTS naive_change CASCADE; DROP TABLE IF EXISTS naive_changes;'))

describe('transactions that commit in another order than they began', () => {
  afterEach(forgetNaive)

  it('are told in the order of their commits; a table with a serial ID loses one', async () => {
    const [first = '', second = '', third = ''] = newIds(3)
    await reportAhead([first, second, third])
    const feed = await followFeed()
    const naive = await followNaively()

    const begunFirst = await beginChange(first)
    const begunSecond = await beginChange(second)
    const begunThird = await beginChange(third)
    for (const { commit } of [begunThird, begunFirst, begunSecond]) {
      await commit()
      await feed.follow()
      await naive.follow()
    }

    expect(feed.seen).toEqual([third, first, second])
    expect(feed.positions).toEqual([...feed.positions].sort((a, b) => a - b))
    expect(naive.seen).toEqual([third])
    const [kept] = await db.execute<{ count: number }>(sql`SELECT count(*)::int AS count FROM naive_changes`)
    expect(kept?.count).toBe(3)
  })

  it('do not hold up each other while they are open', async () => {
    const [slow = '', quick = ''] = newIds(2)
    await reportAhead([slow])
    await track(db, [quick])
    const open = await beginChange(slow)
    await applyReports(db, [report(quick, 'delivered', 1)])
    expect(await changesOf(quick)).toHaveLength(1)
    expect(await changesOf(slow)).toEqual([])
    await open.commit()
    expect(await changesOf(slow)).toHaveLength(1)
  })

  it('are all seen, in order, by one who follows while eight writers and three apps work', async () => {
    const WRITERS = 8
    const ROUNDS = 60
    const APPS = 3
    const feed = await followFeed()
    const written = newIds(WRITERS * ROUNDS)
    await track(db, written)
    const adopted = newIds(APPS * ROUNDS)
    await reportAhead(adopted)
    let working = true
    const follow = async () => {
      while (working) await feed.follow()
    }
    const shareOf = (messageIds: readonly string[], of: number, index: number) =>
      messageIds.filter((_id, n) => n % of === index)
    // Two reports of each message, which other writers have in hand at the same time.
    const write = async (index: number) => {
      for (const messageId of shareOf(written, WRITERS, index)) {
        const both = [report(messageId, 'transmitted', 1), report(messageId, 'delivered', 2)]
        if (Math.random() < 0.5) await applyReports(db, both)
        else for (const one of both) await applyReports(db, [one])
      }
    }
    // An app's own transactions are long, and commit after others that have begun later.
    const app = async (index: number) => {
      const own = shareOf(adopted, APPS, index)
      for (let n = 0; n < own.length; n += 2) {
        await db.transaction(async (transaction) => {
          await trackMessagesWithin(
            transaction,
            own.slice(n, n + 2).map((id) => newMessage(id)),
            false,
          )
          await transaction.execute(sql`SELECT pg_sleep(random() * 0.05)`)
        })
      }
    }
    const following = follow()
    const writers = Array.from({ length: WRITERS }, (_, index) => write(index))
    const apps = Array.from({ length: APPS }, (_, index) => app(index))
    await Promise.all([...writers, ...apps]).finally(() => {
      working = false
    })
    await following
    await feed.follow()

    expect(feed.positions).toEqual([...new Set(feed.positions)].sort((a, b) => a - b))
    expect([...feed.seen].sort()).toEqual([...adopted, ...written, ...written].sort())
    for (const messageId of [written[0], written.at(-1), adopted[0]]) {
      const told = steps(await changesOf(messageId ?? ''))
      const expected = [
        [null, 'transmitted'],
        ['transmitted', 'delivered'],
      ]
      expect(told).toEqual(adopted.includes(messageId ?? '') ? [[null, 'delivered']] : expected)
    }
    // One transaction's changes stand together: nothing was committed in between.
    for (let n = 0; n < adopted.length; n += 2 * APPS) {
      const places = [adopted[n], adopted[n + APPS]].map((messageId) => feed.seen.indexOf(messageId ?? ''))
      expect(Math.abs((places[0] ?? 0) - (places[1] ?? 0))).toBe(1)
    }
  })
})

describe('a change', () => {
  it('is told with everything that an app needs', async () => {
    const messageId = newId()
    const metadata = { order: 4711 }
    await track(db, [messageId], { recipient: '+49 170 1234567', metadata })
    const begun = Date.now()
    await applyReports(db, [report(messageId, 'delivered', 5, { source: 'poll' })])
    const [change] = await changesOf(messageId)
    expect(change).toEqual({
      position: expect.any(Number),
      messageRow: expect.any(Number),
      account: 'seven',
      messageId,
      recipient: '+49 170 1234567',
      status: 'delivered',
      previousStatus: null,
      source: 'poll',
      occurredAt: at(5),
      changedAt: expect.any(Date),
      metadata,
      callbackUrl: null,
    })
    // The two clocks are one machine's, but the database cuts to the millisecond.
    expect(change?.changedAt.getTime()).toBeGreaterThanOrEqual(begun - 1)
    expect(change?.changedAt.getTime()).toBeLessThanOrEqual(Date.now() + 1)
  })

  it.each<[string, [Status, number][], [Status | null, Status][]]>([
    [
      'is one for each status',
      [
        ['accepted', 1],
        ['transmitted', 2],
        ['delivered', 3],
      ],
      [
        [null, 'accepted'],
        ['accepted', 'transmitted'],
        ['transmitted', 'delivered'],
      ],
    ],
    [
      'is none when the same comes again',
      [
        ['transmitted', 1],
        ['transmitted', 1],
        ['transmitted', 2],
      ],
      [[null, 'transmitted']],
    ],
    [
      'is none when older news come',
      [
        ['buffered', 2],
        ['transmitted', 1],
      ],
      [[null, 'buffered']],
    ],
    [
      'is none when an intermediate status comes after a final one',
      [
        ['delivered', 1],
        ['buffered', 2],
      ],
      [[null, 'delivered']],
    ],
    [
      'is none when a final status comes again later',
      [
        ['delivered', 1],
        ['delivered', 9],
      ],
      [[null, 'delivered']],
    ],
    [
      'is one when it is read after it was delivered',
      [
        ['delivered', 1],
        ['read', 2],
      ],
      [
        [null, 'delivered'],
        ['delivered', 'read'],
      ],
    ],
    [
      'is none when delivered comes after read',
      [
        ['read', 1],
        ['delivered', 2],
      ],
      [[null, 'read']],
    ],
    [
      'is one when unknown turns out otherwise',
      [
        ['unknown', 9],
        ['undelivered', 1],
      ],
      [
        [null, 'unknown'],
        ['unknown', 'undelivered'],
      ],
    ],
    [
      'is one when a later failure corrects a delivery',
      [
        ['delivered', 1],
        ['failed', 2],
      ],
      [
        [null, 'delivered'],
        ['delivered', 'failed'],
      ],
    ],
  ])('%s', async (_name, arriving, expected) => {
    const apart = newId()
    const together = newId()
    await track(db, [apart, together])
    for (const [status, ms] of arriving) await applyReports(db, [report(apart, status, ms)])
    expect(steps(await changesOf(apart))).toEqual(expected)

    await applyReports(
      db,
      arriving.map(([status, ms]) => report(together, status, ms)),
    )
    expect(steps(await changesOf(together))).toEqual(expected)
  })

  it('is one for each message that one call changes, and none for the others', async () => {
    const changed = newIds(3)
    const unchanged = newIds(2)
    await track(db, [...changed, ...unchanged])
    await applyReports(
      db,
      unchanged.map((messageId) => report(messageId, 'transmitted', 1)),
    )
    const before = await findLatestPosition(db)
    await applyReports(db, [
      ...changed.map((messageId) => report(messageId, 'delivered', 2)),
      ...unchanged.map((messageId) => report(messageId, 'transmitted', 1)),
    ])
    const found = await findChanges(db, before, ALL)
    expect(found.map(({ messageId }) => messageId).sort()).toEqual([...changed].sort())
  })

  it('is none while nobody tracks the message, and one when somebody does', async () => {
    const messageId = newId()
    await applyReports(db, [report(messageId, 'accepted', 1)])
    await applyReports(db, [report(messageId, 'delivered', 2)])
    expect(await changesOf(messageId)).toEqual([])
    expect(await track(db, [messageId])).toBe(1)
    expect(steps(await changesOf(messageId))).toEqual([[null, 'delivered']])
    expect(await track(db, [messageId])).toBe(0)
    await applyReports(db, [report(messageId, 'read', 3)])
    expect(steps(await changesOf(messageId))).toEqual([
      [null, 'delivered'],
      ['delivered', 'read'],
    ])
  })

  it('is none when a message is tracked of which nothing is known', async () => {
    const messageId = newId()
    const before = await findLatestPosition(db)
    await track(db, [messageId])
    expect(await findLatestPosition(db)).toBe(before)
  })

  it('is told of whoever found it: webhook, poll or closing window', async () => {
    for (const source of ['webhook', 'poll', 'window'] as const) {
      const messageId = newId()
      await track(db, [messageId])
      await applyReports(db, [report(messageId, source === 'window' ? 'unknown' : 'delivered', 1, { source })])
      expect(await changesOf(messageId)).toMatchObject([{ source }])
    }
  })
})

describe('what is rolled back', () => {
  it('leaves nothing', async () => {
    const messageId = newId()
    await track(db, [messageId])
    const before = await findLatestPosition(db)
    const undone = db.transaction(async (transaction) => {
      await applyReports(transaction, [report(messageId, 'delivered', 1)])
      throw new Error('changed my mind')
    })
    await expect(undone).rejects.toThrow('changed my mind')
    expect(await findLatestPosition(db)).toBe(before)
    await applyReports(db, [report(messageId, 'failed', 1)])
    expect(steps(await changesOf(messageId))).toEqual([[null, 'failed']])
  })

  it('leaves nothing of a part that was undone, and what was done besides', async () => {
    const [undone = '', done = ''] = newIds(2)
    await track(db, [undone, done])
    await db.transaction(async (transaction) => {
      await applyReports(transaction, [report(done, 'delivered', 1)])
      const part = transaction.transaction(async (inner) => {
        await applyReports(inner, [report(undone, 'delivered', 1)])
        throw new Error('not this one')
      })
      await expect(part).rejects.toThrow('not this one')
    })
    expect(await changesOf(undone)).toEqual([])
    expect(await changesOf(done)).toHaveLength(1)
  })
})

describe('readers inside the service', () => {
  const positionOf = async (reader: string) => {
    const [row] = await db.execute<{ position: string }>(
      sql`SELECT position FROM lastword.feed_readers WHERE name = ${reader}`,
    )
    return Number(row?.position)
  }

  async function makeChanges(count: number): Promise<string[]> {
    const messageIds = newIds(count)
    await track(db, messageIds)
    for (const messageId of messageIds) await applyReports(db, [report(messageId, 'delivered', 1)])
    return messageIds
  }

  /** One turn of a reader; returns what it was given. */
  async function takeTurn(reader: string, limit = ALL): Promise<string[]> {
    const given: string[] = []
    const read = await readChanges(db, { reader, limit }, async (_transaction, found) => {
      given.push(...found.map(({ messageId }) => messageId))
    })
    expect(read).toBe(given.length)
    return given
  }

  it('begin with what comes from now on, once and for all', async () => {
    await makeChanges(2)
    await addReader(db, 'new')
    expect(await takeTurn('new')).toEqual([])
    const coming = await makeChanges(2)
    await addReader(db, 'new')
    expect(await takeTurn('new')).toEqual(coming)
    expect(await takeTurn('new')).toEqual([])
  })

  it('go on where they stopped, so many at a time, each by itself', async () => {
    await addReader(db, 'steady')
    await addReader(db, 'other')
    const [first, second, third] = await makeChanges(3)
    expect(await takeTurn('steady', 2)).toEqual([first, second])
    expect(await takeTurn('steady', 2)).toEqual([third])
    expect(await takeTurn('other')).toEqual([first, second, third])
  })

  it('that nobody has added are given nothing', async () => {
    await makeChanges(1)
    expect(await takeTurn('never added')).toEqual([])
  })

  it('are given the same again when they fail, and what they wrote is undone', async () => {
    await addReader(db, 'failing')
    const made = await makeChanges(2)
    const before = await positionOf('failing')
    const failing = readChanges(db, { reader: 'failing', limit: ALL }, async (transaction) => {
      await addReader(transaction, 'written by a reader that failed')
      throw new Error('crashed')
    })
    await expect(failing).rejects.toThrow('crashed')
    expect(await positionOf('failing')).toBe(before)
    expect(await positionOf('written by a reader that failed')).toBeNaN()
    expect(await takeTurn('failing')).toEqual(made)
  })

  it('are served by one at a time; the others are told so at once', async () => {
    await addReader(db, 'shared')
    await addReader(db, 'apart')
    const made = await makeChanges(2)
    const { open, opened } = openGate()
    const begun = openGate()
    const serving = readChanges(db, { reader: 'shared', limit: ALL }, async () => {
      begun.open()
      await opened
    })
    await begun.opened
    const served = await Promise.all(Array.from({ length: 4 }, () => takeTurn('shared')))
    expect(served).toEqual([[], [], [], []])
    expect(await takeTurn('apart')).toEqual(made)
    open()
    expect(await serving).toBe(2)
    expect(await takeTurn('shared')).toEqual([])
  })
})

describe('retention', () => {
  let own: Tables
  beforeAll(async () => {
    own = await openTables()
  })
  afterAll(() => own.close())

  it('deletes the oldest, so many at a time, and knows up to which', async () => {
    const messageIds = newIds(6)
    await track(own.db, messageIds)
    for (const messageId of messageIds) await applyReports(own.db, [report(messageId, 'delivered', 1)])
    const made = await findChanges(own.db, 0, ALL)
    const [first, second, third, fourth] = made.map(({ position }) => position)
    await own.db.execute(sql`
      UPDATE lastword.changes SET changed_at = now() - interval '2 hours' WHERE position <= ${third}`)
    const olderThan = new Date(Date.now() - HOUR)
    expect(await findDeletedPosition(own.db)).toBe(0)

    expect(await deleteChanges(own.db, { olderThan, limit: 2, readers: [] })).toBe(2)
    expect(await findDeletedPosition(own.db)).toBe(second)
    expect((await findChanges(own.db, 0, ALL)).map(({ position }) => position)).not.toContain(first)
    expect(await deleteChanges(own.db, { olderThan, limit: 2, readers: [] })).toBe(1)
    expect(await findDeletedPosition(own.db)).toBe(third)
    expect(await deleteChanges(own.db, { olderThan, limit: 2, readers: [] })).toBe(0)
    expect(await findDeletedPosition(own.db)).toBe(third)
    const kept = await findChanges(own.db, 0, ALL)
    expect(kept.map(({ position }) => position)).toEqual(made.slice(3).map(({ position }) => position))
    expect(kept[0]?.position).toBe(fourth)
  })

  it('keeps what an app has not taken from its queue for as long as messages are kept', async () => {
    const late = await openTables()
    try {
      await addReader(late.db, 'changes-queue.seven')
      await addReader(late.db, 'callbacks')
      const messageId = newId()
      await track(late.db, [messageId])
      await applyReports(late.db, [report(messageId, 'delivered', 1)])
      const [old, readers] = [{ olderThan: new Date(Date.now() + HOUR), limit: ALL }, ['changes-queue.seven']]
      const unreadOlderThan = old.olderThan
      expect(await deleteChanges(late.db, { ...old, readers })).toBe(0)
      expect(await deleteChanges(late.db, { ...old, readers: [...readers, 'callbacks'], unreadOlderThan })).toBe(0)
      expect(await deleteChanges(late.db, { ...old, readers, unreadOlderThan })).toBe(1)
    } finally {
      await late.close()
    }
  })

  it('keeps the position of the latest when its message is erased, so that no reader takes that for a loss', async () => {
    const before = await findLatestPosition(db)
    const messageId = newId()
    await track(db, [messageId])
    await applyReports(db, [report(messageId, 'delivered', 1)])
    const latest = await findLatestPosition(db)
    expect(latest).toBeGreaterThan(before)
    const rows = await db.execute<{ id: string }>(sql`SELECT id FROM lastword.messages WHERE message_id = ${messageId}`)
    await eraseMessages(db, [Number(rows[0]?.id)])
    expect(await findLatestPosition(db)).toBe(latest)
  })

  it('keeps the position of the latest when it has deleted everything', async () => {
    const latest = await findLatestPosition(own.db)
    expect(await deleteChanges(own.db, { olderThan: new Date(Date.now() + HOUR), limit: ALL, readers: [] })).toBe(3)
    expect(await findChanges(own.db, 0, ALL)).toEqual([])
    expect(await findLatestPosition(own.db)).toBe(latest)
    expect(await findDeletedPosition(own.db)).toBe(latest)
    const messageId = newId()
    await track(own.db, [messageId])
    await applyReports(own.db, [report(messageId, 'delivered', 1)])
    expect(await findLatestPosition(own.db)).toBeGreaterThan(latest)
  })
})

describe('the listener', () => {
  const LONG_MS = 20_000

  async function makeChange(): Promise<void> {
    const messageId = newId()
    await track(db, [messageId])
    await applyReports(db, [report(messageId, 'delivered', 1)])
  }

  /** Resolves with how long it took, too. */
  async function timed<T>(promise: Promise<T>): Promise<{ result: T; ms: number }> {
    const begun = performance.now()
    return { result: await promise, ms: performance.now() - begun }
  }

  it('wakes everybody who waits when a change is committed, and not before', async () => {
    const listener = await openChangeListener(tables)
    const messageId = newId()
    await reportAhead([messageId])
    const open = await beginChange(messageId)
    expect(await listener.nextChange(200)).toBe(false)
    const waiting = timed(Promise.all([1, 2, 3].map(() => listener.nextChange(LONG_MS))))
    await open.commit()
    const { result, ms } = await waiting
    expect(result).toEqual([true, true, true])
    expect(ms).toBeLessThan(LONG_MS / 10)
    await listener.close()
  })

  it('is not woken by what changes no status', async () => {
    const listener = await openChangeListener(tables)
    const messageId = newId()
    const waiting = listener.nextChange(300)
    await track(db, [messageId])
    await applyReports(db, [report(newId(), 'delivered', 1)])
    expect(await waiting).toBe(false)
    await listener.close()
  })

  it('lets everybody go when it is closed', async () => {
    const listener = await openChangeListener(tables)
    const waiting = timed(Promise.all([1, 2, 3].map(() => listener.nextChange(LONG_MS))))
    await listener.close()
    await listener.close()
    expect(await listener.nextChange(LONG_MS)).toBe(false)
    const { result, ms } = await waiting
    expect(result).toEqual([false, false, false])
    expect(ms).toBeLessThan(LONG_MS / 10)
  })

  it('goes on when its connection was lost, and misses nothing that happened in between', async () => {
    const { hostname, port } = new URL(inject('databaseUrl'))
    const proxy = await openProxy({ host: hostname, port: Number(port) })
    const url = new URL(tables.url)
    url.port = String(proxy.port)
    const behind: Database = await openDatabase(url.href, { maxConnections: 2 })
    const listener = await openChangeListener(behind)
    try {
      const waiting = timed(listener.nextChange(LONG_MS))
      await proxy.cut()
      await makeChange()
      await proxy.restore()
      const { result, ms } = await waiting
      expect(result).toBe(true)
      expect(ms).toBeLessThan(LONG_MS / 2)

      // One wake-up was for the connection itself; from here on only changes wake.
      await vi.waitFor(async () => expect(await listener.nextChange(500)).toBe(false), { timeout: LONG_MS })
      const next = listener.nextChange(LONG_MS)
      await makeChange()
      expect(await next).toBe(true)
    } finally {
      await listener.close()
      await behind.close()
      await proxy.close()
    }
  })
})

import { randomUUID } from 'node:crypto'
import { and, eq, like, sql } from 'drizzle-orm'
import fc from 'fast-check'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { settle } from '../../src/core/settle.ts'
import { SOURCES, STATUSES, type Status, type StatusReport } from '../../src/core/status.ts'
import { findHealth, moveHealth } from '../../src/db/accounts.ts'
import { releaseBatch } from '../../src/db/batches.ts'
import { eraseMessages } from '../../src/db/erasure.ts'
import { listMessages } from '../../src/db/list.ts'
import { findMessages, findReports, trackMessages } from '../../src/db/messages.ts'
import type { NewMessage } from '../../src/db/new-message.ts'
import type { Answered } from '../../src/db/report-statement.ts'
import { applyReports } from '../../src/db/reports.ts'
import { claimDue } from '../../src/db/schedule.ts'
import { batches, due, messages } from '../../src/db/schema.ts'
import { openTables, type Tables } from '../support/api.ts'
import { until } from '../support/service.ts'

let database: Tables
beforeAll(async () => {
  database = await openTables()
})
afterAll(() => database.close())

const START = Date.parse('2026-03-01T12:00:00Z')
const at = (ms: number) => new Date(START + ms)
const HOUR = 3_600_000
const soon = () => new Date(Date.now() + HOUR)

let ids = 0
const newId = () => `id-${++ids}`

function report(messageId: string, status: Status, ms: number, more: Partial<StatusReport> = {}): StatusReport {
  const rawStatus = status.toUpperCase()
  return { account: 'seven', messageId, status, rawStatus, occurredAt: at(ms), source: 'webhook', ...more }
}

function message(messageId: string, more: Partial<NewMessage> = {}): NewMessage {
  return {
    account: 'seven',
    messageId,
    recipientKey: '',
    recipient: null,
    sentAt: new Date(Date.now() - HOUR),
    windowEndsAt: new Date(Date.now() + 24 * HOUR),
    dueAt: new Date(Date.now() - 1000),
    metadata: undefined,
    ...more,
  }
}

async function rowOf(messageId: string) {
  const [row] = await database.db
    .select()
    .from(messages)
    .where(and(eq(messages.account, 'seven'), eq(messages.messageId, messageId)))
  if (!row) throw new Error(`no row of ${messageId}`)
  return row
}

const reportsOf = async (messageId: string) => findReports(database.db, (await rowOf(messageId)).id)

/** Tracks messages and claims them, in one batch. */
async function trackAndClaim(...messageIds: string[]): Promise<string> {
  await trackMessages(
    database.db,
    messageIds.map((messageId) => message(messageId)),
  )
  const lease = { account: 'seven', limit: 1000, leaseMs: HOUR }
  const claimed = await claimDue(database.db, lease, ({ due }) => [
    due.filter((one) => messageIds.includes(one.messageId)),
  ])
  expect(claimed.batches[0]?.messages).toHaveLength(messageIds.length)
  return claimed.batches[0]?.id ?? ''
}

/** An answer that tells nothing final of these messages. */
async function answered(batch: string, messageIds: readonly string[], dueAt = soon()): Promise<{ answered: Answered }> {
  const rows = await Promise.all(messageIds.map(rowOf))
  return { answered: { batch, messages: rows.map(({ id }) => ({ id, dueAt })) } }
}

const duePlaces = async (messageId: string) => {
  const { id } = await rowOf(messageId)
  return (await database.db.select().from(due).where(eq(due.message, id))).map((place) => place.dueAt)
}
const isThere = async (batch: string) =>
  (await database.db.select().from(batches).where(eq(batches.id, batch))).length > 0

describe('the law of order, in the database', () => {
  const MESSAGES = 25
  // Few different times, so that reports often fall into the same millisecond.
  const anyReport = fc.record({
    message: fc.nat(MESSAGES - 1),
    status: fc.constantFrom(...STATUSES),
    ms: fc.nat(4),
    source: fc.constantFrom(...SOURCES),
  })
  const anyRun = fc.record({
    reports: fc.array(anyReport, { minLength: 20, maxLength: 150, size: 'max' }),
    repeats: fc.array(fc.nat(), { maxLength: 40, size: 'max' }),
    groupSizes: fc.array(fc.integer({ min: 1, max: 30 }), { minLength: 1, maxLength: 6 }),
    callsAtOnce: fc.integer({ min: 1, max: 5 }),
    trackedBefore: fc.nat(MESSAGES),
    trackedDuring: fc.nat(MESSAGES),
  })

  it('settles every message as settle() does, whatever the order, the grouping, the repeats and the races', async () => {
    const { db } = database
    await fc.assert(
      fc.asyncProperty(anyRun, async ({ reports, repeats, groupSizes, callsAtOnce, trackedBefore, trackedDuring }) => {
        const run = newId()
        const idOf = (index: number) => `${run}-${index}`
        const all = reports.map(({ message, status, ms, source }) => report(idOf(message), status, ms, { source }))
        const arriving = [...all, ...repeats.flatMap((index) => all[index % all.length] ?? [])]
        const groups: StatusReport[][] = []
        for (let begin = 0; begin < arriving.length; ) {
          const size = groupSizes[groups.length % groupSizes.length] ?? 1
          groups.push(arriving.slice(begin, begin + size))
          begin += size
        }
        const everyMessage = Array.from({ length: MESSAGES }, (_, index) => message(idOf(index)))
        const track = (from: number, to: number) => trackMessages(db, everyMessage.slice(from, to))

        await track(0, trackedBefore)
        for (let begin = 0; begin < groups.length; begin += callsAtOnce) {
          const calls: Promise<unknown>[] = groups.slice(begin, begin + callsAtOnce).map((one) => applyReports(db, one))
          if (begin === 0) calls.push(track(0, trackedDuring))
          await Promise.all(calls)
        }
        await track(0, MESSAGES)

        const rows = await db
          .select()
          .from(messages)
          .where(like(messages.messageId, `${run}-%`))
        const found = Object.fromEntries(
          rows.map(({ messageId, status, statusAt, final, readAt, dueAt }) => [
            messageId,
            { status, statusAt, final, readAt, scheduled: dueAt !== null },
          ]),
        )
        const expected = Object.fromEntries(
          everyMessage.map(({ messageId }) => {
            const settlement = settle(all.filter((one) => one.messageId === messageId))
            return [
              messageId,
              {
                status: settlement?.status ?? null,
                statusAt: settlement?.decidedBy.occurredAt ?? null,
                final: settlement?.final ?? false,
                readAt: settlement?.read?.occurredAt ?? null,
                scheduled: !settlement?.final,
              },
            ]
          }),
        )
        expect(found).toEqual(expected)
      }),
      { numRuns: 30 },
    )
  })

  it.each<[string, [Status, number][], Status, number]>([
    [
      'a later intermediate report does not undo a final one',
      [
        ['delivered', 1],
        ['buffered', 9],
      ],
      'delivered',
      1,
    ],
    [
      'a failure that happened after delivery corrects it',
      [
        ['delivered', 1],
        ['failed', 2],
      ],
      'failed',
      2,
    ],
    [
      'a failure that happened before delivery does not',
      [
        ['delivered', 2],
        ['failed', 1],
      ],
      'delivered',
      2,
    ],
    [
      'delivered after read changes nothing',
      [
        ['read', 1],
        ['delivered', 9],
      ],
      'read',
      1,
    ],
    [
      'unknown is replaced by a final report, even of an earlier time',
      [
        ['unknown', 9],
        ['undelivered', 1],
      ],
      'undelivered',
      1,
    ],
    [
      'unknown is not undone by an intermediate report',
      [
        ['unknown', 1],
        ['buffered', 9],
      ],
      'unknown',
      1,
    ],
  ])('%s', async (_name, arriving, status, statusAt) => {
    const id = newId()
    for (const [one, ms] of arriving) await applyReports(database.db, [report(id, one, ms)])
    expect(await rowOf(id)).toMatchObject({ status, statusAt: at(statusAt), final: true })
  })
})

describe('what each report did', () => {
  it('says so for every report, in the order given', async () => {
    const id = newId()
    await trackMessages(database.db, [message(id)])
    const news = [report(id, 'transmitted', 1), report(newId(), 'accepted', 1), report(id, 'delivered', 3)]
    const was = (applied: Awaited<ReturnType<typeof applyReports>>) =>
      applied.map(({ before: _before, given: _given, ...rest }) => rest)
    expect(was(await applyReports(database.db, news))).toEqual([
      { report: news[0], previousStatus: null, status: 'transmitted', changed: true, unmatched: false },
      { report: news[1], previousStatus: null, status: 'accepted', changed: true, unmatched: true },
      { report: news[2], previousStatus: 'transmitted', status: 'delivered', changed: true, unmatched: false },
    ])
    const stale = [report(id, 'buffered', 2), report(id, 'delivered', 3)]
    const applied = await applyReports(database.db, stale)
    const { sentAt } = await rowOf(id)
    const known = { settledBy: 'webhook', changedAt: expect.any(Number) }
    expect(applied.map(({ before }) => before)).toEqual([
      { sentAt: sentAt.getTime(), askedAt: undefined, trackedAt: expect.any(Number), known },
      { sentAt: sentAt.getTime(), askedAt: undefined, trackedAt: expect.any(Number), known },
    ])
    expect(was(applied)).toEqual([
      { report: stale[0], previousStatus: 'delivered', status: 'delivered', changed: false, unmatched: false },
      { report: stale[1], previousStatus: 'delivered', status: 'delivered', changed: false, unmatched: false },
    ])
  })

  it('answers nothing for nothing', async () => {
    expect(await applyReports(database.db, [])).toEqual([])
  })

  it('applies and records several reports of one message in one call', async () => {
    const id = newId()
    await applyReports(database.db, [report(id, 'read', 5), report(id, 'accepted', 1), report(id, 'delivered', 7)])
    expect(await rowOf(id)).toMatchObject({ status: 'read', statusAt: at(5), readAt: at(5), final: true })
    expect((await reportsOf(id)).map(({ status }) => status)).toEqual(['read', 'accepted', 'delivered'])
  })

  it('joins the transaction of the caller', async () => {
    const id = newId()
    const rollback = database.db.transaction(async (tx) => {
      await applyReports(tx, [report(id, 'delivered', 1)])
      throw new Error('roll back')
    })
    await expect(rollback).rejects.toThrow('roll back')
    await expect(rowOf(id)).rejects.toThrow(`no row of ${id}`)
  })

  it('keeps one message of one account apart from the same ID of another, and from another recipient', async () => {
    const id = newId()
    const { db } = database
    await applyReports(db, [
      report(id, 'delivered', 1),
      report(id, 'failed', 1, { account: 'other' }),
      report(id, 'expired', 1, { recipient: '491700000001' }),
    ])
    const rows = await db.select().from(messages).where(eq(messages.messageId, id))
    expect(rows.map(({ account, recipientKey, status }) => [account, recipientKey, status]).sort()).toEqual([
      ['other', '', 'failed'],
      ['seven', '', 'delivered'],
      ['seven', '491700000001', 'expired'],
    ])
  })
})

describe('a report before its message is tracked', () => {
  it('is kept, but neither found nor listed', async () => {
    const id = newId()
    await applyReports(database.db, [report(id, 'delivered', 1)])
    expect(await rowOf(id)).toMatchObject({ trackedAt: null, status: 'delivered', dueAt: null })
    expect(await findMessages(database.db, 'seven', id)).toEqual([])
    const { messages: listed } = await listMessages(database.db, { account: 'seven', limit: 1_000 })
    expect(listed.map(({ messageId }) => messageId)).not.toContain(id)
  })

  it.each<[Status, boolean]>([
    ['delivered', true],
    ['transmitted', false],
  ])('counts at tracking: %s, final %s', async (status, final) => {
    const id = newId()
    await applyReports(database.db, [report(id, status, 1)])
    const tracked = message(id, { dueAt: soon(), metadata: { order: 1 }, recipient: '+49170' })
    expect(await trackMessages(database.db, [tracked])).toBe(1)
    const [row] = await findMessages(database.db, 'seven', id)
    expect(row).toMatchObject({
      status,
      final,
      statusAt: at(1),
      settledBy: 'webhook',
      dueAt: final ? null : tracked.dueAt,
      sentAt: tracked.sentAt,
      windowEndsAt: tracked.windowEndsAt,
      metadata: { order: 1 },
      recipient: '+49170',
    })
    expect(await reportsOf(id)).toHaveLength(1)
  })

  it('meets its message when both come at once, many at a time', async () => {
    const { db } = database
    const run = newId()
    const every = Array.from({ length: 200 }, (_, index) => `${run}-${index}`)
    const backwards = every.toReversed()
    const orders = [every, backwards, every, backwards]
    const [counts] = await Promise.all([
      Promise.all(
        orders.map((order) =>
          trackMessages(
            db,
            order.map((id) => message(id)),
          ),
        ),
      ),
      Promise.all(
        orders.map((order, ms) =>
          applyReports(
            db,
            order.map((id) => report(id, 'delivered', ms)),
          ),
        ),
      ),
    ])
    expect(counts.reduce((sum, count) => sum + count)).toBe(200)
    const rows = await db
      .select()
      .from(messages)
      .where(like(messages.messageId, `${run}-%`))
    expect(rows).toHaveLength(200)
    for (const row of rows) {
      expect(row).toMatchObject({ status: 'delivered', statusAt: at(3), final: true, dueAt: null })
      expect(row.trackedAt).toBeInstanceOf(Date)
    }
    const [first] = rows
    expect(await findReports(db, first?.id ?? 0)).toHaveLength(4)
  })
})

describe('what a poll learned about the schedule', () => {
  it('ends the batch, counts the poll and moves on, with and without a report', async () => {
    const [silent, talking] = [newId(), newId()]
    const batch = await trackAndClaim(silent, talking)
    const next = soon()
    const applied = await applyReports(
      database.db,
      [report(talking, 'transmitted', 1, { source: 'poll' })],
      await answered(batch, [silent, talking], next),
    )
    expect(applied).toHaveLength(1)
    const moved = { polls: 1, dueAt: next, final: false, askedAt: expect.any(Date) }
    expect(await rowOf(silent)).toMatchObject({ ...moved, status: null, statusAt: null, settledBy: null })
    expect(await rowOf(talking)).toMatchObject({ ...moved, status: 'transmitted', statusAt: at(1), settledBy: 'poll' })
    expect(await reportsOf(silent)).toEqual([])
    expect([await duePlaces(silent), await duePlaces(talking)]).toEqual([[next], [next]])
    expect(await isThere(batch)).toBe(false)
  })

  it('leaves the batch to further answers that will come', async () => {
    const [met, unmet] = [newId(), newId()]
    const batch = await trackAndClaim(met, unmet)
    const next = soon()
    const page = await answered(batch, [met], next)
    await applyReports(database.db, [], { answered: { ...page.answered, goesOn: true } })
    expect([await duePlaces(met), await duePlaces(unmet)]).toEqual([[next], []])
    expect(await isThere(batch)).toBe(true)
  })

  it('leaves the schedule to whoever gave the batch back', async () => {
    const id = newId()
    const batch = await trackAndClaim(id)
    await releaseBatch(database.db, { batch, delayMs: HOUR })
    const { dueAt } = await rowOf(id)
    const late = await answered(batch, [id], new Date(Date.now() + 9 * HOUR))
    await applyReports(database.db, [report(id, 'buffered', 1, { source: 'poll' })], late)
    expect(await rowOf(id)).toMatchObject({ status: 'buffered', polls: 1, dueAt })
    expect(await duePlaces(id)).toEqual([dueAt])
  })

  it('makes no message out of a poll alone', async () => {
    const nobody = { batch: randomUUID(), messages: [{ id: 9_999_999, dueAt: soon() }] }
    const before = await database.db.select().from(due)
    expect(await applyReports(database.db, [], { answered: nobody })).toEqual([])
    expect(await database.db.select().from(due)).toEqual(before)
  })

  it('schedules nothing any more when the poll says final', async () => {
    const id = newId()
    const batch = await trackAndClaim(id)
    await applyReports(database.db, [report(id, 'expired', 1, { source: 'poll' })], await answered(batch, [id]))
    const final = { status: 'expired', final: true, settledBy: 'poll', polls: 1, dueAt: null }
    expect(await rowOf(id)).toMatchObject(final)
    expect(await duePlaces(id)).toEqual([])
    expect(await isThere(batch)).toBe(false)
  })

  it('schedules nothing any more when a webhook was faster than the poll', async () => {
    const id = newId()
    const batch = await trackAndClaim(id)
    await applyReports(database.db, [report(id, 'delivered', 2)])
    expect(await rowOf(id)).toMatchObject({ dueAt: null, settledBy: 'webhook' })
    const late = await answered(batch, [id])
    await applyReports(database.db, [report(id, 'transmitted', 1, { source: 'poll' })], late)
    const settled = { final: true, status: 'delivered', polls: 1, dueAt: null, settledBy: 'webhook' }
    expect(await rowOf(id)).toMatchObject(settled)
    expect(await duePlaces(id)).toEqual([])
  })

  it('leaves the schedule as it is when a webhook brings an intermediate status', async () => {
    const id = newId()
    const batch = await trackAndClaim(id)
    const { dueAt } = await rowOf(id)
    await applyReports(database.db, [report(id, 'transmitted', 1)])
    expect(await rowOf(id)).toMatchObject({ status: 'transmitted', polls: 0, dueAt })
    expect([await duePlaces(id), await isThere(batch)]).toEqual([[], true])
  })

  it('says when the status changed last', async () => {
    const id = newId()
    await trackMessages(database.db, [message(id)])
    expect((await rowOf(id)).changedAt).toBeNull()
    await applyReports(database.db, [report(id, 'transmitted', 1)])
    const { changedAt } = await rowOf(id)
    expect(Math.abs((changedAt?.getTime() ?? 0) - Date.now())).toBeLessThan(HOUR)
    await applyReports(database.db, [report(id, 'transmitted', 1)])
    expect((await rowOf(id)).changedAt).toEqual(changedAt)
  })

  it('records a poll that repeats a poll once, and every webhook', async () => {
    const id = newId()
    const poll = report(id, 'transmitted', 1, { source: 'poll' })
    for (const one of [poll, poll, report(id, 'transmitted', 1), report(id, 'transmitted', 1), poll]) {
      await applyReports(database.db, [one])
    }
    expect((await reportsOf(id)).map(({ source }) => source)).toEqual(['poll', 'webhook', 'webhook'])
    await applyReports(database.db, [report(id, 'transmitted', 2, { source: 'poll' })])
    expect(await reportsOf(id)).toHaveLength(4)
  })

  it('records a poll that repeats what only a webhook has said', async () => {
    const id = newId()
    for (const source of ['webhook', 'poll'] as const) {
      await applyReports(database.db, [report(id, 'transmitted', 1, { source })])
    }
    expect((await reportsOf(id)).map(({ source }) => source)).toEqual(['webhook', 'poll'])
  })
})

describe('who settled a message', () => {
  it.each(SOURCES)('%s', async (source) => {
    const [tracked, untracked] = [newId(), newId()]
    await trackMessages(database.db, [message(tracked)])
    await applyReports(database.db, [
      report(tracked, 'failed', 1, { source }),
      report(untracked, 'failed', 1, { source }),
    ])
    expect(await rowOf(tracked)).toMatchObject({ settledBy: source })
    expect(await rowOf(untracked)).toMatchObject({ settledBy: source })
  })

  it('is whoever brought the status that stands, not who repeated it', async () => {
    const id = newId()
    await applyReports(database.db, [report(id, 'transmitted', 1, { source: 'poll' })])
    expect(await rowOf(id)).toMatchObject({ settledBy: 'poll' })
    await applyReports(database.db, [report(id, 'unknown', 5, { source: 'window' })])
    expect(await rowOf(id)).toMatchObject({ settledBy: 'window' })
    await applyReports(database.db, [report(id, 'delivered', 2, { source: 'webhook' })])
    await applyReports(database.db, [report(id, 'delivered', 3, { source: 'poll' })])
    expect(await rowOf(id)).toMatchObject({ status: 'delivered', statusAt: at(3), settledBy: 'webhook' })
  })
})

describe('what a provider may write', () => {
  it('keeps error and details, and a stale report does not wipe them', async () => {
    const id = newId()
    const error = { code: '27', description: 'absent subscriber' }
    const details = { foreignId: 'order 7', nested: { list: [1, null, 'x'] } }
    await applyReports(database.db, [report(id, 'undelivered', 5, { error, details, rawStatus: 'NOTDELIVERED' })])
    await applyReports(database.db, [report(id, 'transmitted', 1)])
    const [first, second] = await reportsOf(id)
    expect(first).toMatchObject({ status: 'undelivered', rawStatus: 'NOTDELIVERED', occurredAt: at(5), error, details })
    expect(first?.receivedAt).toBeInstanceOf(Date)
    expect(second).toMatchObject({ error: null, details: null })
  })

  it.each([
    ['quotes', `it's "quoted"`],
    ['backslashes', 'C:\\new\\u0000\\'],
    ['braces and commas', '{a,{b}},,'],
    ['an array literal', '{"a","b"}'],
    ['the word NULL', 'NULL'],
    ['nothing', ''],
    ['white space', ' \t\r\n '],
    ['emoji and other scripts', '👩‍👩‍👧‍👦 ñ 漢 \u202e'],
    ['what looks like a parameter', `$1 ' || pg_sleep(9) -- ?`],
  ])('keeps %s as they came', async (_name, text) => {
    const id = `${newId()} ${text}`
    const more = { rawStatus: text, error: { code: text, description: text }, details: { [text]: [text] } }
    await applyReports(database.db, [report(id, 'failed', 1, more)])
    await trackMessages(database.db, [message(id, { recipient: text, metadata: more.details })])
    expect(await rowOf(id)).toMatchObject({ messageId: id, recipient: text, metadata: more.details })
    expect(await reportsOf(id)).toEqual([expect.objectContaining(more)])
  })

  it.each(['0000-01-01T00:00:00Z', '-005000-01-01T00:00:00Z', '+012000-01-01T00:00:00Z', '+275760-09-13T00:00:00Z'])(
    'keeps a report of the time %s, in any order with others of such times',
    async (time) => {
      const occurredAt = new Date(time)
      const late = new Date(occurredAt.getTime() - 1)
      for (const [first, second] of [
        [occurredAt, late],
        [late, occurredAt],
      ]) {
        const id = newId()
        await applyReports(database.db, [report(id, 'delivered', 0, first ? { occurredAt: first } : {})])
        await applyReports(database.db, [report(id, 'delivered', 0, second ? { occurredAt: second } : {})])
        const statusAt = occurredAt.getTime() < 0 ? new Date(0) : expect.any(Date)
        expect(await rowOf(id)).toMatchObject({ status: 'delivered', statusAt })
      }
    },
  )

  it.each([
    ['NUL', 'a\0b'],
    ['half a surrogate pair', 'a\ud83db'],
  ])('replaces %s, which Postgres cannot store', async (_name, text) => {
    const id = newId()
    const error = { code: text, description: text }
    await applyReports(database.db, [report(id, 'failed', 1, { rawStatus: text, error, details: { [text]: [text] } })])
    await trackMessages(database.db, [message(id, { metadata: { [text]: text } })])
    const stored = 'a\ufffdb'
    expect(await reportsOf(id)).toEqual([
      expect.objectContaining({
        rawStatus: stored,
        error: { code: stored, description: stored },
        details: { [stored]: [stored] },
      }),
    ])
    expect(await rowOf(id)).toMatchObject({ metadata: { [stored]: stored } })
  })
})

it('creates no message anew that is being erased while its report comes', async () => {
  const messageId = newId()
  await trackMessages(database.db, [message(messageId)])
  const { id } = await rowOf(messageId)
  const applied = await database.db.transaction(async (transaction) => {
    await eraseMessages(transaction, [id])
    const applying = applyReports(database.db, [report(messageId, 'delivered', 0)])
    await until(async () => {
      const waiting = await database.db.execute(
        sql`SELECT FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'`,
      )
      expect(waiting).toHaveLength(1)
    })
    return { applying }
  })
  expect(await applied.applying).toMatchObject([{ unmatched: true }])
  expect(await database.db.select().from(messages).where(eq(messages.messageId, messageId))).toEqual([])
})

it('leaves nothing of a message that is erased while its report commits', async () => {
  const { db } = database
  const messageId = newId()
  await trackMessages(db, [message(messageId)])
  const { id } = await rowOf(messageId)
  const applied = await db.transaction(async (transaction) => {
    await applyReports(transaction, [report(messageId, 'failed', 0, { error: { code: '21' } })])
    const erasing = eraseMessages(db, [id])
    await until(async () => {
      const waiting = await db.execute(
        sql`SELECT FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'`,
      )
      expect(waiting).toHaveLength(1)
    })
    return { erasing }
  })
  await applied.erasing
  for (const table of ['status_reports', 'changes', 'failures', 'message_metadata']) {
    const left = await db.execute(sql`SELECT FROM ${sql.raw(`lastword.${table}`)} WHERE message = ${id}`)
    expect(left, table).toEqual([])
  }
})

it('takes an erased message out of those that its account suspects', async () => {
  const { db } = database
  const [messageId, other] = [newId(), newId()]
  await trackMessages(db, [message(messageId)])
  const { id, account } = await rowOf(messageId)
  const suspects = [messageId, other].map((one) => ({ messageId: one, since: 1 }))
  await moveHealth(db, account, (health) => ({ health: { ...health, suspects }, events: [] }))
  await eraseMessages(db, [id])
  expect((await findHealth(db, account)).health.suspects).toEqual([{ messageId: other, since: 1 }])
})

describe('a report that is dated ahead of its arrival', () => {
  const YEARS_AHEAD = new Date('2099-01-01T00:00:00Z')
  const hoursAhead = new Date(Date.now() + 2 * HOUR)
  const later = async () => {
    await new Promise((resolve) => setTimeout(resolve, 5))
    return { occurredAt: new Date() }
  }

  it.each([YEARS_AHEAD, hoursAhead])('of %s counts as arrived, and keeps its own time', async (occurredAt) => {
    const id = newId()
    await trackMessages(database.db, [message(id)])
    await applyReports(database.db, [report(id, 'undelivered', 0, { occurredAt, details: { channel: 'SMS' } })])
    const first = await rowOf(id)
    expect(Math.abs(Number(first.statusAt) - Date.now())).toBeLessThan(60_000)
    await applyReports(database.db, [report(id, 'delivered', 0, await later())])
    expect(await rowOf(id)).toMatchObject({ status: 'delivered' })
    expect(await reportsOf(id)).toMatchObject([
      { occurredAt: first.statusAt, details: { channel: 'SMS', datedAt: occurredAt.toISOString() } },
      { details: null },
    ])
  })

  it('counts no later when it is repeated, by webhook or by poll', async () => {
    const id = newId()
    await trackMessages(database.db, [message(id)])
    const ahead = report(id, 'undelivered', 0, { occurredAt: YEARS_AHEAD })
    await applyReports(database.db, [ahead])
    await applyReports(database.db, [report(id, 'delivered', 0, await later())])
    await later()
    await applyReports(database.db, [ahead, { ...ahead, source: 'poll' }])
    await applyReports(database.db, [{ ...ahead, source: 'poll' }])
    expect(await rowOf(id)).toMatchObject({ status: 'delivered' })
    const times = (await reportsOf(id))
      .filter(({ status }) => status === 'undelivered')
      .map((one) => Number(one.occurredAt))
    expect([times.length, new Set(times).size]).toEqual([3, 1])
  })

  it('counts before what arrives later, whatever that says of its own time', async () => {
    for (const statuses of [
      ['failed', 'delivered'],
      ['delivered', 'failed'],
    ] as const) {
      const id = newId()
      await trackMessages(database.db, [message(id)])
      for (const status of statuses) {
        await applyReports(database.db, [report(id, status, 0, { occurredAt: YEARS_AHEAD })])
        await later()
      }
      expect(await rowOf(id)).toMatchObject({ status: statuses[1] })
    }
  })
})

it('ends in the status of all its reports, whatever they say of their time and however often they come', async () => {
  const anyReport = fc.record({
    status: fc.constantFrom(...STATUSES),
    ahead: fc.constantFrom(-2 * HOUR, -HOUR, HOUR, 2 * HOUR, 1000 * HOUR),
  })
  const base = Date.now()
  await fc.assert(
    fc.asyncProperty(fc.array(anyReport, { minLength: 1, maxLength: 6 }), fc.nat(), async (given, cut) => {
      const id = newId()
      await trackMessages(database.db, [message(id)])
      const reports = given.map(({ status, ahead }) => report(id, status, 0, { occurredAt: new Date(base + ahead) }))
      for (const one of reports) {
        await applyReports(database.db, [one])
        await new Promise((resolve) => setTimeout(resolve, 2))
      }
      const { status, final } = await rowOf(id)
      const stored = await reportsOf(id)
      expect([status, final]).toEqual([settle(stored)?.status, settle(stored)?.final])
      for (const { occurredAt, receivedAt } of stored) {
        expect(Number(occurredAt)).toBeLessThanOrEqual(Number(receivedAt) + CLOCKS_MS)
      }
      // Repeats, in another order, change nothing.
      const from = cut % reports.length
      await applyReports(database.db, [...reports.slice(from), ...reports.slice(0, from)])
      expect(await rowOf(id)).toMatchObject({ status, final })
    }),
    { numRuns: 25 },
  )
})

/** How far the clocks of this process and of Postgres may differ. */
const CLOCKS_MS = 100

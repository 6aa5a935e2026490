import { eq, isNull, sql } from 'drizzle-orm'
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest'
import type { Status } from '../../src/core/status.ts'
import { acts } from '../../src/db/act-tables.ts'
import { beginAct, deleteActs, endAct, listActs } from '../../src/db/acts.ts'
import { callbackAttempts } from '../../src/db/attempt-tables.ts'
import { findAttempts } from '../../src/db/callback-attempts.ts'
import { addCallbacks, listUntaken } from '../../src/db/callbacks.ts'
import { addReader, deleteChanges, findChanges } from '../../src/db/changes.ts'
import { trackMessages } from '../../src/db/messages.ts'
import type { NewMessage } from '../../src/db/new-message.ts'
import { applyReports } from '../../src/db/reports.ts'
import { deleteDated, deleteFailedCallbacks, deleteSettled, deleteUntracked } from '../../src/db/retention.ts'
import { callbacks, changes, feedReaders, messages, statusReports } from '../../src/db/schema.ts'
import { openTables, type Tables } from '../support/api.ts'

let database: Tables
beforeAll(async () => {
  database = await openTables()
})
afterAll(() => database.close())
beforeEach(async () => {
  for (const table of [messages, statusReports, changes, feedReaders, callbacks]) await database.db.delete(table)
})

const HOUR = 3_600_000
const DAY = 24 * HOUR
const fromNow = (ms: number) => new Date(Date.now() + ms)

function message(messageId: string, more: Partial<NewMessage> = {}): NewMessage {
  return {
    account: 'seven',
    messageId,
    recipientKey: '',
    recipient: null,
    sentAt: fromNow(-HOUR),
    windowEndsAt: fromNow(24 * HOUR),
    dueAt: fromNow(HOUR),
    metadata: undefined,
    ...more,
  }
}
const track = (...messageIds: string[]) =>
  trackMessages(
    database.db,
    messageIds.map((id) => message(id)),
  )
const settle = (messageId: string, status: Status = 'delivered') =>
  applyReports(database.db, [
    { account: 'seven', messageId, status, rawStatus: status, occurredAt: fromNow(0), source: 'webhook' },
  ])
/** As if everything had happened so much earlier. */
async function passDays(days: number, messageId?: string): Promise<void> {
  const which = messageId === undefined ? sql`true` : sql`message_id = ${messageId}`
  const by = sql`${days} * interval '1 day'`
  await database.db.execute(sql`
    UPDATE ${messages} SET tracked_at = tracked_at - ${by}, changed_at = changed_at - ${by}, status_at = status_at - ${by}
    WHERE ${which}`)
  if (messageId === undefined) await database.db.execute(sql`UPDATE ${changes} SET changed_at = changed_at - ${by}`)
}
const idsOf = (rows: readonly { messageId: string }[]) => rows.map(({ messageId }) => messageId).sort()
const kept = async () => idsOf(await database.db.select().from(messages))
const readAll = () => deleteChanges(database.db, { olderThan: fromNow(HOUR), limit: 10_000, readers: [] })

/** One walk from the oldest on, as the worker goes. */
async function walk(olderThan: Date, limit = 1000) {
  let deleted = 0
  let steps = 0
  for (let after: number | undefined = 0; after !== undefined; steps++) {
    const step = await deleteSettled(database.db, { olderThan, limit, after })
    deleted += step.deleted
    after = step.next
  }
  return { deleted, steps }
}

describe('deleteSettled', () => {
  it('deletes what has been final for so long, with its reports, and nothing else', async () => {
    await track('old', 'corrected late', 'outstanding', 'never heard of')
    for (const id of ['old', 'corrected late', 'untracked']) await settle(id)
    await settle('outstanding', 'transmitted')
    await passDays(100)
    await settle('corrected late', 'failed')
    await track('new')
    await settle('new')
    await readAll()
    expect(await walk(fromNow(-90 * DAY))).toEqual({ deleted: 1, steps: 1 })
    expect(await kept()).toEqual(['corrected late', 'never heard of', 'new', 'outstanding', 'untracked'])
    // Two of the corrected one, and one of each other that has any.
    expect(await database.db.select().from(statusReports)).toHaveLength(5)
    expect(await walk(fromNow(-90 * DAY))).toMatchObject({ deleted: 0 })
  })

  it('deletes callbacks with their message, so that nothing of it can be erased no more', async () => {
    await track('old', 'new')
    for (const id of ['old', 'new']) await settle(id)
    const rows = await database.db.select({ id: messages.id, messageId: messages.messageId }).from(messages)
    for (const [index, { id }] of rows.entries()) {
      const body = { type: 'message.status', timestamp: '2026-01-31T10:00:00.000Z', data: {} }
      await database.db.insert(callbacks).values({
        change: index + 1,
        message: id,
        account: 'seven',
        url: 'https://app.example',
        body,
        nextAttemptAt: null,
      })
    }
    await passDays(100, 'old')
    await readAll()
    // Not while one is still tried.
    await database.db.execute(sql`UPDATE ${callbacks} SET next_attempt_at = now()`)
    expect(await walk(fromNow(-90 * DAY))).toMatchObject({ deleted: 0 })
    await database.db.execute(sql`UPDATE ${callbacks} SET next_attempt_at = NULL`)
    expect(await walk(fromNow(-90 * DAY))).toMatchObject({ deleted: 1 })
    const [left] = await database.db.select({ message: callbacks.message }).from(callbacks)
    expect(left?.message).toBe(rows.find(({ messageId }) => messageId === 'new')?.id)
  })

  it('goes from page to page, past what stays, and stops where nothing can be old enough', async () => {
    const ids = Array.from({ length: 25 }, (_, index) => String(index))
    await track(...ids)
    for (const id of ids) if (id !== '3') await settle(id)
    await passDays(100)
    await track(...ids.map((id) => `new ${id}`))
    await readAll()
    // Two pages of the old ones and one that holds both; the fourth holds new ones only, and is the last.
    expect(await walk(fromNow(-90 * DAY), 10)).toEqual({ deleted: 24, steps: 4 })
    expect(await kept()).toHaveLength(26)
  })

  it('keeps a message of which the feed still tells a change', async () => {
    await addReader(database.db, 'callbacks')
    await track('read', 'unread')
    await settle('read')
    const [first] = await findChanges(database.db, 0, 10)
    await database.db.update(feedReaders).set({ position: first?.position ?? 0 })
    await settle('unread')
    await passDays(100)
    await passDays(1, 'read')
    await database.db.execute(sql`
      UPDATE ${changes} SET changed_at = changed_at - interval '1 day' WHERE position = ${first?.position ?? 0}`)
    const olderThan = fromNow(-30 * DAY)
    expect(await walk(olderThan)).toMatchObject({ deleted: 0 })
    expect(await deleteChanges(database.db, { olderThan, limit: 10, readers: ['callbacks'] })).toBe(1)
    expect(await walk(olderThan)).toMatchObject({ deleted: 1 })
    expect(await kept()).toEqual(['unread'])
    await database.db
      .update(feedReaders)
      .set({ position: (first?.position ?? 0) + 1 })
      .where(eq(feedReaders.name, 'callbacks'))
    await deleteChanges(database.db, { olderThan, limit: 10, readers: ['callbacks'] })
    expect(await walk(olderThan)).toMatchObject({ deleted: 1 })
  })

  it('goes by the time of tracking for a message that reports had told of long before', async () => {
    await settle('adopted')
    await passDays(100)
    await track('adopted')
    expect(await walk(fromNow(-90 * DAY))).toMatchObject({ deleted: 0 })
    await readAll()
    expect(await walk(fromNow(-90 * DAY))).toMatchObject({ deleted: 0 })
    expect(await kept()).toEqual(['adopted'])
  })
})

describe('deleteUntracked', () => {
  it('deletes the oldest messages that nobody tracked, with their reports, and no others', async () => {
    await trackMessages(database.db, [message('tracked', { sentAt: fromNow(-90 * DAY) })])
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

describe('deleteFailedCallbacks', () => {
  it('deletes those that failed for good so long ago', async () => {
    const callback = (change: number) => ({
      change,
      message: 1,
      account: 'seven',
      url: 'https://example.com',
      body: { type: 'message.status', timestamp: '2026-01-31T10:00:00.000Z', data: {} },
    })
    await addCallbacks(database.db, [1, 2, 3].map(callback))
    const firstDueAt = fromNow(-100 * DAY)
    await database.db.update(callbacks).set({ nextAttemptAt: null, firstDueAt }).where(eq(callbacks.change, 1))
    await database.db.update(callbacks).set({ nextAttemptAt: null }).where(eq(callbacks.change, 2))
    await database.db.update(callbacks).set({ firstDueAt }).where(eq(callbacks.change, 3))
    expect(await deleteFailedCallbacks(database.db, { olderThan: fromNow(-90 * DAY), limit: 10 })).toBe(1)
    expect((await listUntaken(database.db, { limit: 10 })).map(({ change }) => change)).toEqual([2])
    expect(await database.db.select().from(callbacks)).toHaveLength(2)
  })
})

describe('deleteDated', () => {
  it('deletes those that began so long ago, the oldest first', async () => {
    const attempt = { message: 1, change: 1, receiver: 'https://example.com', tookMs: 1 }
    const days = [9, 1, 8, 10]
    await database.db.insert(callbackAttempts).values(days.map((ago) => ({ ...attempt, at: fromNow(-ago * DAY) })))
    const step = { olderThan: fromNow(-7 * DAY), limit: 2 }
    expect(await deleteDated(database.db, callbackAttempts, step)).toBe(2)
    expect((await findAttempts(database.db, [1])).map(({ at }) => Math.round((Date.now() - +at) / DAY))).toEqual([1, 8])
    expect(await deleteDated(database.db, callbackAttempts, step)).toBe(1)
  })
})

describe('deleteActs', () => {
  it('deletes the oldest so long ago, and leaves what has only begun as such', async () => {
    const ids: number[] = []
    for (const queue of ['1', '2', '3']) ids.push(await beginAct(database.db, { kind: 'pause', by: 'ops', queue }))
    await endAct(database.db, ids[2] ?? 0, { outcome: 'done', count: 2 })
    await database.db
      .update(acts)
      .set({ at: fromNow(-91 * DAY) })
      .where(eq(acts.queue, '1'))
    expect(await deleteActs(database.db, { olderThan: fromNow(-90 * DAY), limit: 2 })).toBe(1)
    const left = await listActs(database.db, { limit: 10 })
    expect(left.map(({ queue, outcome, count }) => [queue, outcome, count])).toEqual([
      ['3', 'done', 2],
      ['2', 'begun', null],
    ])
  })
})

/** The status queries that are kept, and the way from a message to those that were about it. */
import { randomUUID } from 'node:crypto'
import { sql } from 'drizzle-orm'
import { afterAll, beforeAll, expect, it } from 'vitest'
import { findMessages, trackMessages } from '../../src/db/messages.ts'
import { statusQueries } from '../../src/db/query-tables.ts'
import { applyReports } from '../../src/db/reports.ts'
import { deleteDated } from '../../src/db/retention.ts'
import { countLatest, findQuestions, noteFailedQuery } from '../../src/db/status-queries.ts'
import { openTables, type Tables } from '../support/api.ts'

let tables: Tables
beforeAll(async () => {
  tables = await openTables()
  const at = new Date()
  const times = { sentAt: at, windowEndsAt: new Date(+at + 86_400_000), dueAt: at }
  const rest = { account: 'seven', recipientKey: '', recipient: null, metadata: undefined, ...times }
  await trackMessages(
    tables.db,
    ['1', '2', '3'].map((messageId) => ({ messageId, ...rest })),
  )
})
afterAll(() => tables.close())

async function rowOf(messageId: string) {
  const [row] = await findMessages(tables.db, 'seven', messageId)
  if (!row) throw new Error(`No message ${messageId}.`)
  return row
}

async function claim(...messageIds: string[]): Promise<string> {
  const batch = randomUUID()
  const rows = await Promise.all(messageIds.map(rowOf))
  await tables.db.execute(sql`
    INSERT INTO lastword.batches (id, account, lease_ends_at, messages)
    VALUES (${batch}, 'seven', now() + interval '1 hour', ${`{${rows.map(({ id }) => id)}}`}::bigint[])`)
  return batch
}

/** An answer with these words, by message ID: null where it has no status, undefined where it does not mention one. */
async function answer(words: Record<string, string | null | undefined>, occurredAt = new Date()): Promise<string> {
  const batch = await claim(...Object.keys(words))
  const asked = await Promise.all(
    Object.entries(words).map(async ([messageId, word]) => ({ word, row: await rowOf(messageId) })),
  )
  const reports = asked.flatMap(({ word, row }) =>
    word
      ? [
          {
            account: 'seven',
            messageId: row.messageId,
            status: 'transmitted',
            rawStatus: word,
            source: 'poll',
          } as const,
        ]
      : [],
  )
  const dueAt = new Date(Date.now() + 60_000)
  const messages = asked.map(({ row, word }) => ({
    id: row.id,
    askedAt: row.askedAt ?? undefined,
    word: word ?? undefined,
    isMissing: word === undefined,
  }))
  const query = { account: 'seven', lookup: 'status', batch, job: '7', ids: asked.length, messages }
  const answered = { batch, messages: asked.map(({ row }) => ({ id: row.id, dueAt })), query }
  await applyReports(
    tables.db,
    reports.map((report) => ({ ...report, occurredAt })),
    { answered },
  )
  return batch
}

it('leads from a message to every question about it, in order, whatever else was asked', async () => {
  const occurredAt = new Date()
  const batches = [await answer({ '1': null, '2': 'NUL \0' }), await answer({ '1': 'SENT' }, occurredAt)]
  await answer({ '2': null, '3': null })
  const failed = await claim('1', '3')
  await noteFailedQuery(tables.db, { account: 'seven', lookup: 'status', batch: failed, job: undefined }, 'HTTP 500')
  batches.push(failed, await answer({ '1': 'SENT', '2': 'SENT' }, occurredAt), await answer({ '1': undefined }))

  const found = await findQuestions(tables.db, await rowOf('1'))
  expect(found.map(({ batch }) => batch)).toEqual(batches)
  expect(found).toMatchObject([
    { outcome: 'noStatusYet', rawStatus: null, ids: 2, job: '7', lookup: 'status' },
    { outcome: 'answered', rawStatus: 'SENT', ids: 1 },
    { outcome: 'failed', error: 'HTTP 500', ids: 2, job: null },
    { outcome: 'answered', rawStatus: 'SENT', error: null },
    { outcome: 'missing', rawStatus: null },
  ])
  const outcomes = async (messageId: string) =>
    (await findQuestions(tables.db, await rowOf(messageId))).map(({ outcome, rawStatus }) => rawStatus ?? outcome)
  expect(await outcomes('2')).toEqual(['NUL \ufffd', 'noStatusYet', 'SENT'])
  expect(await outcomes('3')).toEqual(['noStatusYet', 'failed'])
  // All six were requests of this account, the one that failed, too.
  expect(await countLatest(tables.db)).toEqual(new Map([['seven', 6]]))
})

it('keeps none for ever, and forgets the earliest first', async () => {
  await tables.db.execute(sql`
    UPDATE lastword.status_queries SET at = at - interval '8 days' WHERE at = (SELECT min(at) FROM lastword.status_queries)`)
  const step = { olderThan: new Date(Date.now() - 7 * 86_400_000), limit: 10 }
  expect(await deleteDated(tables.db, statusQueries, step)).toBe(1)
  expect(await deleteDated(tables.db, statusQueries, step)).toBe(0)
  expect((await findQuestions(tables.db, await rowOf('1'))).map(({ outcome }) => outcome)).toEqual([
    'answered',
    'failed',
    'answered',
    'missing',
  ])
})

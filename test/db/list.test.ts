import { sql } from 'drizzle-orm'
import fc from 'fast-check'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { isFinal, SOURCES, STATUSES, type StatusReport } from '../../src/core/status.ts'
import { type ListFilter, type ListPlace, listMessages } from '../../src/db/list.ts'
import { trackMessages } from '../../src/db/messages.ts'
import type { NewMessage } from '../../src/db/new-message.ts'
import { applyReports } from '../../src/db/reports.ts'
import { claimDue } from '../../src/db/schedule.ts'
import { openTables, type Tables } from '../support/api.ts'

const HOUR = 3_600_000
const START = Date.parse('2026-03-01T12:00:00Z')

function message(index: number, more: Partial<NewMessage> = {}): NewMessage {
  const sentAt = new Date(START + (index % 7) * HOUR)
  return {
    account: 'a',
    messageId: String(index),
    recipientKey: '',
    recipient: null,
    sentAt,
    windowEndsAt: new Date(Date.now() + HOUR),
    dueAt: new Date(Date.now() - HOUR),
    metadata: undefined,
    ...more,
  }
}

/** Every message of a filter, page by page. */
async function listAll({ db }: Tables, filter: ListFilter, limit: number) {
  const ids: string[] = []
  let pages = 0
  let after: ListPlace | undefined
  do {
    const page = await listMessages(db, { ...filter, limit, after, patienceMs: 0 })
    expect(page.messages.length).toBeLessThanOrEqual(limit)
    ids.push(...page.messages.map(({ messageId }) => messageId))
    after = page.next
    pages++
  } while (after)
  return { ids, pages }
}

describe('listMessages', () => {
  const MESSAGES = 240
  const ACCOUNTS = ['a', 'b', 'c']
  const NUMBERS = ['491700000001', '491700000002', null]
  const CODES = ['202', '301']
  const METADATA = [{ order: 1, campaign: 'spring' }, { order: '1' }, { campaign: 'spring', vip: true }, undefined]

  let tables: Tables
  let all: { message: NewMessage; report: StatusReport | undefined }[]
  beforeAll(async () => {
    tables = await openTables()
    const pick = <T>(of: readonly T[], index: number) => of[index % of.length] as T
    const tracked = Array.from({ length: MESSAGES }, (_, index) =>
      message(index, {
        account: pick(ACCOUNTS, index * 7 + (index % 5)),
        number: pick(NUMBERS, index * 5 + 1),
        metadata: pick(METADATA, index * 3 + (index % 11)),
      }),
    )
    all = tracked.map((one, index) => {
      const status = pick([undefined, ...STATUSES], index * 13 + (index % 4))
      if (!status) return { message: one, report: undefined }
      const { account, messageId } = one
      const error = isFinal(status) && status !== 'delivered' ? { error: { code: pick(CODES, index) } } : {}
      const source = pick(SOURCES, index * 3 + (index % 2))
      return {
        message: one,
        report: { account, messageId, status, rawStatus: status, occurredAt: new Date(START), source, ...error },
      }
    })
    // Some reports come before their message is tracked.
    const early = all.flatMap(({ report }, index) => (report && index % 10 === 0 ? [report] : []))
    await applyReports(tables.db, early)
    await trackMessages(tables.db, tracked)
    await applyReports(
      tables.db,
      all.flatMap(({ report }) => (report && !early.includes(report) ? [report] : [])),
    )
    // Nobody tracks this one.
    await applyReports(tables.db, [{ ...(early[0] as StatusReport), messageId: 'untracked' }])
    // Some are being asked about.
    await claimDue(tables.db, { account: 'a', limit: 20, leaseMs: HOUR }, ({ due }) => [due])
  })
  afterAll(() => tables.close())

  function isMet({ message, report }: (typeof all)[number], filter: ListFilter): boolean {
    const { account, messageIds, numbers, metadata = {}, status, outstanding, settledBy, error } = filter
    const final = report !== undefined && isFinal(report.status)
    const has = message.metadata as Record<string, unknown> | undefined
    const isFailure = final && report.status !== 'delivered' && report.status !== 'read'
    return (
      (account === undefined || message.account === account) &&
      (!messageIds || messageIds.includes(message.messageId)) &&
      (!numbers || numbers.includes(message.number ?? '')) &&
      Object.entries(metadata).every(([key, value]) => has?.[key] !== undefined && String(has[key]) === value) &&
      (status === undefined || report?.status === status) &&
      (outstanding === undefined || outstanding === !final) &&
      (settledBy === undefined || (final && report.source === settledBy)) &&
      (error === undefined || (isFailure && report.error?.code === error)) &&
      (!filter.sentAfter || message.sentAt >= filter.sentAfter) &&
      (!filter.sentBefore || message.sentAt < filter.sentBefore)
    )
  }

  const anyFilter = fc.record(
    {
      account: fc.constantFrom(...ACCOUNTS, 'nobody'),
      messageIds: fc.constantFrom(['7'], ['8', '08'], ['none']),
      numbers: fc.constantFrom(['491700000001'], ['491700000002', '1700000002']),
      metadata: fc.constantFrom<Record<string, string>>(
        { order: '1' },
        { campaign: 'spring' },
        { campaign: 'spring', vip: 'true' },
        { colour: 'red' },
      ),
      status: fc.constantFrom(...STATUSES),
      outstanding: fc.boolean(),
      settledBy: fc.constantFrom(...SOURCES),
      error: fc.constantFrom(...CODES, '999'),
      sentAfter: fc.constant(new Date(START + 2 * HOUR)),
      sentBefore: fc.constant(new Date(START + 5 * HOUR)),
    },
    { requiredKeys: [] },
  )

  it('finds what a look at every message finds, the latest sent first, whatever the filter and the page', async () => {
    await fc.assert(
      fc.asyncProperty(anyFilter, fc.integer({ min: 1, max: 50 }), async (filter, limit) => {
        const expected = all
          .map((one, index) => ({ ...one, index }))
          .filter((one) => isMet(one, filter))
          .sort((a, b) => +b.message.sentAt - +a.message.sentAt)
        const { ids } = await listAll(tables, filter, limit)
        expect([...ids].sort()).toEqual(expected.map(({ message }) => message.messageId).sort())
        const times = ids.map((id) => all[Number(id)]?.message.sentAt.getTime() ?? 0)
        expect(times).toEqual([...times].sort((a, b) => b - a))
      }),
      { numRuns: 100 },
    )
  })

  it('goes on where it was, whatever has been tracked since', async () => {
    const first = await listMessages(tables.db, { limit: 5 })
    await trackMessages(tables.db, [message(5, { messageId: 'late', sentAt: new Date(START + 9 * HOUR) })])
    const { ids } = await listAll(tables, {}, 50)
    const second = await listMessages(tables.db, { limit: 5, after: first.next })
    expect(second.messages.map(({ messageId }) => messageId)).toEqual(ids.slice(6, 11))
  })
})

describe('a list of many messages', () => {
  const MANY = 30_000
  const NUMBER = '491700000009'
  let tables: Tables
  beforeAll(async () => {
    tables = await openTables()
    // One of a kind among many, and the longest ago.
    const rare = message(0, {
      messageId: 'rare',
      sentAt: new Date(START - HOUR),
      number: NUMBER,
      metadata: { order: 'x' },
    })
    await trackMessages(tables.db, [rare, message(0, { messageId: 'old', sentAt: new Date(START - 2 * HOUR) })])
    for (let begin = 0; begin < MANY; begin += 10_000) {
      const more = Array.from({ length: 10_000 }, (_, index) => message(begin + index, { metadata: { campaign: 'c' } }))
      await trackMessages(tables.db, more)
    }
    await tables.db.execute(sql`
      UPDATE lastword.messages SET status = 'delivered', final = true, due_at = NULL, settled_by = 'webhook'
      WHERE message_id NOT IN ('rare', 'old')`)
    await tables.db.execute(sql`DELETE FROM lastword.due WHERE message NOT IN (
      SELECT id FROM lastword.messages WHERE NOT final)`)
    const report = { account: 'a', rawStatus: 'x', occurredAt: new Date(START), source: 'poll' as const }
    await applyReports(tables.db, [{ ...report, messageId: 'rare', status: 'failed', error: { code: '202' } }])
    await applyReports(tables.db, [{ ...report, messageId: 'old', status: 'transmitted' }])
  })
  afterAll(() => tables.close())

  async function rowsRead(filter: ListFilter) {
    return tables.db.transaction(async (transaction) => {
      const soFar = async () => {
        const [row] = await transaction.execute<{ read: number }>(sql`
          SELECT sum(seq_tup_read + coalesce(idx_tup_fetch, 0))::int AS read FROM pg_stat_xact_user_tables
          WHERE schemaname = 'lastword'`)
        return row?.read ?? Number.NaN
      }
      const before = await soFar()
      const page = await listMessages(transaction, { ...filter, limit: 10, patienceMs: 0 })
      return { ids: page.messages.map(({ messageId }) => messageId), next: page.next, read: (await soFar()) - before }
    })
  }

  it.each<[string, ListFilter, string]>([
    ['a number', { numbers: [NUMBER] }, 'rare'],
    ['a message ID', { messageIds: ['rare'] }, 'rare'],
    ['a failure', { status: 'failed' }, 'rare'],
    ['an error', { error: '202' }, 'rare'],
    ['metadata', { metadata: { order: 'x' } }, 'rare'],
    ['what is outstanding', { outstanding: true }, 'old'],
    ['an intermediate status', { status: 'transmitted' }, 'old'],
    ['times of sending', { sentAfter: new Date(START - HOUR), sentBefore: new Date(START) }, 'rare'],
    ['two that match many and one', { metadata: { campaign: 'c', order: 'x' } }, ''],
    ['a failure among many of a campaign', { metadata: { campaign: 'c' }, status: 'failed' }, ''],
  ])('is found by %s without looking at the others', async (_name, filter, expected) => {
    for (const analyzed of [false, true]) {
      if (analyzed) await tables.db.execute(sql.raw('ANALYZE lastword.messages, lastword.failures, lastword.due'))
      const { ids, next, read } = await rowsRead(filter)
      expect(ids).toEqual(expected === '' ? [] : [expected])
      expect(next).toBeUndefined()
      // Counting the ways looks at a few hundred index entries; a page of ten reads a few rows of each.
      expect(read).toBeLessThan(2_500)
    }
  })

  it('reads a page of many quickly', async () => {
    for (const filter of [{}, { account: 'a' }, { status: 'delivered' as const }, { metadata: { campaign: 'c' } }]) {
      const { ids, read } = await rowsRead(filter)
      expect(ids).toHaveLength(10)
      expect(read).toBeLessThan(200)
    }
  })

  it('looks at so many at once where few match, and goes on from there', async () => {
    const { ids, pages } = await listAll(tables, { settledBy: 'poll' }, 10)
    expect(ids).toEqual(['rare'])
    expect(pages).toBe(MANY / 500 + 1)
    const { read } = await rowsRead({ settledBy: 'poll' })
    expect(read).toBeLessThan(6_000)
    // With patience it is found at once.
    const { messages: found } = await listMessages(tables.db, { settledBy: 'poll', limit: 1, patienceMs: 60_000 })
    expect(found.map(({ messageId }) => messageId)).toEqual(['rare'])
  })
})

import { eq, isNull } from 'drizzle-orm'
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest'
import type { StatusReport } from '../../src/core/status.ts'
import { listMessages } from '../../src/db/list.ts'
import { trackMessages } from '../../src/db/messages.ts'
import type { NewMessage } from '../../src/db/new-message.ts'
import { applyReports } from '../../src/db/reports.ts'
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

const ONE = '31612345601'
const TWO = '31612345602'

function message(messageId: string, recipientKey = ''): NewMessage {
  const now = Date.now()
  return {
    account: 'cm',
    messageId,
    recipientKey,
    recipient: recipientKey || null,
    sentAt: new Date(now),
    windowEndsAt: new Date(now + 3_600_000),
    dueAt: new Date(now + 60_000),
    metadata: undefined,
  }
}

function report(messageId: string, recipient: string, status: StatusReport['status'] = 'delivered'): StatusReport {
  return { account: 'cm', messageId, recipient, status, rawStatus: '2', occurredAt: new Date(), source: 'webhook' }
}

const track = (...tracked: NewMessage[]) => trackMessages(database.db, tracked, true)
const apply = (...reports: StatusReport[]) => applyReports(database.db, reports)

async function tracked() {
  const { messages: rows } = await listMessages(database.db, { limit: 1000 })
  return rows.map(({ messageId, recipientKey, status }) => [messageId, recipientKey, status]).sort()
}

describe('a reference tracked without its recipient', () => {
  it('is bound to the recipient of its first report', async () => {
    await track(message('a'))
    await apply(report('a', ONE))
    expect(await tracked()).toEqual([['a', ONE, 'delivered']])
  })

  it('takes over what a report said before it was tracked', async () => {
    const [applied] = await apply(report('a', ONE))
    expect(applied?.unmatched).toBe(true)
    expect(await track(message('a'))).toBe(1)
    expect(await tracked()).toEqual([['a', ONE, 'delivered']])
  })

  it('is not mixed up with another recipient of the same reference', async () => {
    await track(message('a'))
    await apply(report('a', ONE), report('a', TWO, 'failed'))
    expect(await tracked()).toEqual([['a', ONE, 'delivered']])
    expect(await track(message('a', TWO))).toBe(1)
    expect(await tracked()).toEqual([
      ['a', ONE, 'delivered'],
      ['a', TWO, 'failed'],
    ])
  })

  it('is one message in an order that names it with its recipient, too, once a report has told that they are one', async () => {
    await apply(report('a', ONE))
    expect(await track(message('a'), message('a', ONE), message('b'))).toBe(2)
    expect(await tracked()).toEqual([
      ['a', ONE, 'delivered'],
      ['b', '', null],
    ])
  })

  it('is one message in an order that alone tells its recipient', async () => {
    const told = { ...message('a', ONE), metadata: { order: 1 } }
    expect(await track(message('a'), told, message('b', TWO), message('b'))).toBe(2)
    const [row] = await database.db.select().from(messages).where(eq(messages.messageId, 'a'))
    expect(row?.metadata).toEqual({ order: 1 })
    expect(await tracked()).toEqual([
      ['a', ONE, null],
      ['b', TWO, null],
    ])
    expect(await database.db.$count(messages, isNull(messages.recipient))).toBe(0)
  })

  it('is already tracked when it is tracked again, with or without the recipient', async () => {
    await track(message('a'))
    expect(await track(message('a', ONE))).toBe(0)
    expect(await track(message('a'))).toBe(0)
    expect(await tracked()).toEqual([['a', ONE, null]])
  })
})

describe('a report without a recipient', () => {
  const unnamed = (messageId: string) => report(messageId, '')

  it('is of the only message of its reference, before or after it is tracked', async () => {
    await track(message('a', ONE))
    await apply(unnamed('a'))
    await apply(unnamed('b'))
    await track(message('b', ONE))
    await apply(report('c', ONE, 'accepted'))
    await apply(unnamed('c'))
    await track(message('c', ONE))
    await apply(unnamed('d'), report('d', ONE, 'accepted'))
    await track(message('d', ONE))
    expect(await tracked()).toEqual(['a', 'b', 'c', 'd'].map((id) => [id, ONE, 'delivered']))
  })

  it('is of none of several', async () => {
    await track(message('a', ONE), message('a', TWO))
    await apply(unnamed('a'))
    expect(await tracked()).toEqual([
      ['a', ONE, null],
      ['a', TWO, null],
    ])
  })

  it('is written with others of its message in one request', async () => {
    await track(message('a', ONE))
    const applied = await apply(report('a', ONE, 'accepted'), unnamed('a'), { ...unnamed('a'), status: 'read' })
    expect(applied.map(({ unmatched }) => unmatched)).toEqual([false, false, false])
    expect(await tracked()).toEqual([['a', ONE, 'read']])
  })
})

describe('a reference tracked with its recipients', () => {
  it('keeps them apart', async () => {
    await track(message('a', ONE), message('a', TWO))
    await apply(report('a', TWO), report('b', ONE))
    expect(await tracked()).toEqual([
      ['a', ONE, null],
      ['a', TWO, 'delivered'],
    ])
  })
})

it('loses nothing when tracking and reports meet', async () => {
  const ids = Array.from({ length: 200 }, (_, index) => `ref${index}`)
  const halves = [ids.slice(0, 100), ids.slice(100)]
  await Promise.all([
    ...halves.map((half) => track(...half.map((id) => message(id)))),
    ...ids.map((id, index) => apply(report(id, index % 2 ? ONE : TWO))),
  ])
  const rows = await tracked()
  expect(rows).toHaveLength(200)
  expect(rows.filter(([, recipientKey, status]) => recipientKey === '' || status !== 'delivered')).toEqual([])
})

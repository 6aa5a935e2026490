import { randomBytes } from 'node:crypto'
import { setTimeout } from 'node:timers/promises'
import { DrizzleQueryError, eq } from 'drizzle-orm'
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it, vi } from 'vitest'
import type { Status, StatusReport } from '../../src/core/status.ts'
import type { Db } from '../../src/db/client.ts'
import { trackMessagesWithin } from '../../src/db/messages.ts'
import { createReportWriter, MOST_MS_WAITING, MOST_REPORTS_WAITING } from '../../src/db/report-writer.ts'
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

afterEach(() => vi.restoreAllMocks())

let ids = 0

function report(status: Status = 'delivered', more: Partial<StatusReport> = {}): StatusReport {
  const occurredAt = new Date('2026-03-01T12:00:00Z')
  return {
    account: 'seven',
    messageId: `id-${++ids}`,
    status,
    rawStatus: status.toUpperCase(),
    occurredAt,
    source: 'webhook',
    ...more,
  }
}

/** The row of the unique index would exceed its page, so that Postgres refuses the statement. */
const poison = () => report('delivered', { account: randomBytes(8000).toString('hex') })

/** The database, counting statements, each after waiting for `gate`. */
function watch(gate: Promise<unknown> = Promise.resolve()) {
  const execute = vi.fn<() => void>()
  const { session } = database.db._
  const prepareQuery: typeof session.prepareQuery = (...query) => {
    const prepared = session.prepareQuery(...query)
    const run: typeof prepared.execute = async (...values) => {
      execute()
      await gate
      return prepared.execute(...values)
    }
    return Object.assign(Object.create(prepared), { execute: run })
  }
  return { db: { _: { session: { prepareQuery } } } as unknown as Db, execute }
}

/** Nobody waits for long, however slow the machine is, unless a test says so. */
const holdClock = () => vi.spyOn(performance, 'now').mockReturnValue(0)

/** A writer whose first statement is on its way until `open`, with a clock that stands still. */
async function beginWriting() {
  let open = () => {}
  const { db, execute } = watch(new Promise<void>((opened) => (open = opened)))
  const elapsed = holdClock()
  const writer = createReportWriter(db)
  const first = writer.write([report()])
  await vi.waitFor(() => expect(execute).toHaveBeenCalledTimes(1))
  return { writer, first, elapsed, open }
}

const storedIds = async () => (await database.db.select().from(messages)).map(({ messageId }) => messageId).sort()
const idsOf = (reports: readonly StatusReport[]) => reports.map(({ messageId }) => messageId).sort()

describe('group commit', () => {
  it('writes what is in hand together in few statements', async () => {
    const { db, execute } = watch()
    const writer = createReportWriter(db)
    const reports = Array.from({ length: 300 }, () => report())
    await Promise.all(reports.map((one) => writer.write([one])))
    expect(await storedIds()).toEqual(idsOf(reports))
    expect(execute).toHaveBeenCalledTimes(1)
  })

  it('cuts what is in hand into statements of at most 500 reports', async () => {
    const { db, execute } = watch()
    const waiting: number[] = []
    const writer = createReportWriter(db, undefined, (_ms, count) => waiting.push(count))
    const calls = Array.from({ length: 40 }, () => Array.from({ length: 50 }, () => report()))
    await Promise.all(calls.map((reports) => writer.write(reports)))
    expect(await storedIds()).toEqual(idsOf(calls.flat()))
    expect(execute).toHaveBeenCalledTimes((40 * 50) / 500)
    expect(waiting).toEqual([1500, 1000, 500, 0])
  })

  it('refuses at once what comes while too many wait, keeps the others, and takes more when they are written', async () => {
    let open = () => {}
    const { db } = watch(new Promise<void>((opened) => (open = opened)))
    holdClock()
    const writer = createReportWriter(db)
    const first = writer.write([report()])
    // It is on its way when those come that have to wait.
    await setTimeout(10)
    const many = Array.from({ length: MOST_REPORTS_WAITING / 100 }, () => Array.from({ length: 100 }, () => report()))
    const waiting = many.map((reports) => writer.write(reports))
    await expect(writer.write([report()])).rejects.toMatchObject({
      code: 'UNAVAILABLE',
      message: expect.stringMatching(/^This one was not stored: 20000 receipts wait for the database/),
    })
    open()
    expect(await first).toHaveLength(1)
    expect((await Promise.all(waiting)).flat()).toHaveLength(MOST_REPORTS_WAITING)
    expect(await writer.write([report()])).toHaveLength(1)
    expect(await storedIds()).toHaveLength(MOST_REPORTS_WAITING + 2)
  })

  it('refuses, unwritten, what has waited too long while others wait, so that these are written in time', async () => {
    const { writer, first, elapsed, open } = await beginWriting()
    const send = () => Array.from({ length: 6 }, () => writer.write(Array.from({ length: 100 }, () => report())))
    const early = send()
    elapsed.mockReturnValue(1)
    const later = send()
    elapsed.mockReturnValue(MOST_MS_WAITING + 1)
    open()
    expect(await first).toHaveLength(1)
    const refused = (await Promise.allSettled(early)).map((outcome) => outcome.status === 'rejected' && outcome.reason)
    const message = expect.stringMatching(/^This one was not stored: it waited 3 s for the database/)
    expect(refused).toEqual(early.map(() => expect.objectContaining({ code: 'UNAVAILABLE', message })))
    expect((await Promise.all(later)).flat()).toHaveLength(600)
    expect(await storedIds()).toHaveLength(601)
  })

  it('writes what has waited too long, too, where a statement takes all that wait', async () => {
    const { writer, first, elapsed, open } = await beginWriting()
    const waiting = Array.from({ length: 500 }, () => writer.write([report()]))
    elapsed.mockReturnValue(10 * MOST_MS_WAITING)
    open()
    await Promise.all([first, ...waiting])
    expect(await storedIds()).toHaveLength(501)
  })

  it('tells what became of a report that was dated ahead of its arrival', async () => {
    const ahead = report('delivered', { occurredAt: new Date(Date.now() + 60_000) })
    const [told] = await createReportWriter(database.db).write([ahead])
    expect(told).toMatchObject({ given: ahead, report: { messageId: ahead.messageId }, unmatched: true })
    expect(told?.report.occurredAt.getTime()).toBeLessThanOrEqual(Date.now())
  })

  it('writes more than 500 reports of one caller, too', async () => {
    const { db } = watch()
    const reports = Array.from({ length: 1200 }, () => report())
    expect(await createReportWriter(db).write(reports)).toHaveLength(1200)
    expect(await storedIds()).toEqual(idsOf(reports))
  })

  it('answers each caller with what its own reports did, in their order', async () => {
    const writer = createReportWriter(database.db)
    const one = [report('transmitted'), report('failed')]
    const other = [report('delivered')]
    const expected = (reports: StatusReport[]) =>
      reports.map((each) => ({
        report: each,
        given: each,
        previousStatus: null,
        status: each.status,
        changed: true,
        unmatched: true,
        before: expect.anything(),
      }))
    expect(await Promise.all([writer.write([report()]), writer.write(one), writer.write(other)])).toEqual([
      expect.any(Array),
      expected(one),
      expected(other),
    ])
  })

  it('applies what several callers say of one message at once', async () => {
    const writer = createReportWriter(database.db)
    const { messageId } = report()
    const statuses: Status[] = ['accepted', 'transmitted', 'delivered', 'read', 'delivered', 'buffered']
    const base = Date.parse('2026-03-01T12:00:00Z')
    const write = (status: Status, ms: number) =>
      writer.write([report(status, { messageId, occurredAt: new Date(base + ms) })])
    await Promise.all(statuses.map(write))
    const [row] = await database.db.select().from(messages).where(eq(messages.messageId, messageId))
    expect(row).toMatchObject({ status: 'read', final: true })
    expect(await database.db.select().from(statusReports)).toHaveLength(statuses.length)
  })

  it('answers nothing for nothing', async () => {
    expect(await createReportWriter(database.db).write([])).toEqual([])
  })

  it('resolves only after the commit', async () => {
    let open: () => void = () => {}
    const { db, execute } = watch(
      new Promise<void>((resolve) => {
        open = resolve
      }),
    )
    const resolved = vi.fn()
    const writer = createReportWriter(db)
    const first = report()
    const writing = writer.write([first]).then(resolved)
    const waiting = writer.write([report()]).then(resolved)
    await vi.waitFor(() => expect(execute).toHaveBeenCalled())
    // A round trip to the database, in which a writer that does not wait would have answered.
    expect(await storedIds()).toEqual([])
    expect(resolved).not.toHaveBeenCalled()
    open()
    await writing
    expect(await storedIds()).toContain(first.messageId)
    await waiting
  })

  it('is ready again when all is written', async () => {
    const { db, execute } = watch()
    const writer = createReportWriter(db)
    for (let round = 1; round <= 3; round++) {
      await writer.write([report()])
      expect(execute).toHaveBeenCalledTimes(round)
    }
  })
})

describe('a message that a long transaction of the sending app has in hand', () => {
  const sentAt = new Date()
  const tracked = (account: string, messageId: string, recipientKey = '') => ({
    account,
    messageId,
    recipientKey,
    recipient: null,
    sentAt,
    windowEndsAt: new Date(sentAt.getTime() + 3_600_000),
    dueAt: sentAt,
    metadata: undefined,
  })

  it('holds up its own report, and no other of its account', async () => {
    const writer = createReportWriter(database.db)
    const own = report()
    const resolved = vi.fn<() => void>()
    await database.db.transaction(async (transaction) => {
      await trackMessagesWithin(transaction, [tracked('seven', own.messageId)], false)
      const writing = writer.write([own]).then(resolved)
      // Reports that are in hand with it wait with it.
      await setTimeout(100)
      const others = Array.from({ length: 20 }, () => report())
      await Promise.all(others.map((one) => writer.write([one])))
      for (let count = 0; count < 3; count++) await writer.write([report()])
      expect(resolved).not.toHaveBeenCalled()
      return { writing }
    })
    await vi.waitFor(() => expect(resolved).toHaveBeenCalledTimes(1))
    expect(await storedIds()).toHaveLength(24)
  })

  it('holds up the reports of its account at most, where it has all references in hand', async () => {
    const writer = createReportWriter(database.db)
    const numbers = Array.from({ length: 2_000 }, (_, index) => tracked('cm', `ref-${index}`, '31612345678'))
    const held = Array.from({ length: 10 }, (_, index) =>
      report('delivered', { account: 'cm', messageId: `ref-${index}`, recipient: '31612345678' }),
    )
    const resolved = vi.fn<() => void>()
    await database.db.transaction(async (transaction) => {
      await trackMessagesWithin(transaction, numbers, true)
      const [first, ...others] = held
      const writing = [writer.write(first ? [first] : []).then(resolved)]
      await setTimeout(100)
      for (const one of others) {
        writing.push(writer.write([one]).then(resolved))
        await writer.write([report()])
      }
      expect(resolved).not.toHaveBeenCalled()
      return { writing }
    })
    await vi.waitFor(() => expect(resolved).toHaveBeenCalledTimes(held.length))
  })
})

describe('a report that Postgres refuses', () => {
  it('costs nobody else theirs', async () => {
    const writer = createReportWriter(database.db)
    const good = Array.from({ length: 20 }, () => report())
    const outcomes = await Promise.allSettled([
      ...good.slice(0, 10).map((one) => writer.write([one])),
      writer.write([poison()]),
      ...good.slice(10).map((one) => writer.write([one])),
    ])
    expect(outcomes.map(({ status }) => status)).toEqual(
      Array.from({ length: 21 }, (_, index) => (index === 10 ? 'rejected' : 'fulfilled')),
    )
    const [, , , , , , , , , , refused] = outcomes
    expect(refused).toMatchObject({ reason: expect.any(DrizzleQueryError) })
    expect(await storedIds()).toEqual(idsOf(good))
  })

  it('costs its own caller all reports of that call, and the next ones are written', async () => {
    const writer = createReportWriter(database.db)
    await expect(writer.write([report(), poison()])).rejects.toThrow(DrizzleQueryError)
    expect(await storedIds()).toEqual([])
    const next = report()
    await writer.write([next])
    expect(await storedIds()).toEqual([next.messageId])
  })
})

describe('a database that is away', () => {
  it('is told to everybody at once, without trying each report alone', async () => {
    const gone = Object.assign(new Error('connect ECONNREFUSED 127.0.0.1:1'), { code: 'ECONNREFUSED' })
    const execute = vi.fn(() => Promise.reject(new DrizzleQueryError('…', [], gone)))
    const session = { prepareQuery: () => ({ execute }) }
    const writer = createReportWriter({ _: { session } } as unknown as Db)
    const outcomes = await Promise.allSettled(Array.from({ length: 50 }, () => writer.write([report()])))
    expect(outcomes.every(({ status }) => status === 'rejected')).toBe(true)
    expect(execute).toHaveBeenCalledTimes(1)
  })
})

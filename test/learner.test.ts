import { Writable } from 'node:stream'
import { sql } from 'drizzle-orm'
import { pino } from 'pino'
import { afterEach, beforeEach, expect, it } from 'vitest'
import type { StatusReport } from '../src/core/status.ts'
import type { AppliedReport } from '../src/db/reports.ts'
import { accountLearning } from '../src/db/schema.ts'
import { type Learner, openLearner } from '../src/learner.ts'
import type { Account } from '../src/providers/account.ts'
import { findProvider } from '../src/providers/registry.ts'
import { openTables, type Tables } from './support/api.ts'

const account = findProvider('seven')?.accountSchema.parse({
  name: 'seven',
  provider: 'seven',
  apiKey: 'key',
}) as Account
const accounts = new Map([['seven', account]])

let tables: Tables
let lines: Record<string, unknown>[]
let learners: Learner[]
beforeEach(async () => {
  tables = await openTables()
  lines = []
  learners = []
})
afterEach(async () => {
  for (const learner of learners) await learner.close()
  await tables.close()
})

async function open(): Promise<Learner> {
  const stream = new Writable({
    write(chunk, _encoding, done) {
      lines.push(JSON.parse(String(chunk)))
      done()
    },
  })
  const learner = await openLearner({ db: tables.db, accounts, log: pino(stream) })
  learners.push(learner)
  return learner
}

function applied(source: 'webhook' | 'poll', { sentAgoMs = 600_000, finalAgoMs = 590_000 } = {}): AppliedReport {
  const now = Date.now()
  const report: StatusReport = {
    account: 'seven',
    messageId: '1',
    status: 'delivered',
    rawStatus: 'DELIVERED',
    source,
    occurredAt: new Date(now - finalAgoMs),
  }
  return {
    report,
    given: report,
    previousStatus: null,
    status: 'delivered',
    changed: true,
    unmatched: false,
    before: { sentAt: now - sentAgoMs, askedAt: undefined, trackedAt: undefined, known: undefined },
  }
}

it('shares what it learns with every other process, and with those that come later', async () => {
  const [one, other] = [await open(), await open()]
  one.observeReports(Array.from({ length: 30 }, () => applied('webhook', { finalAgoMs: 1 })))
  other.observeReports(Array.from({ length: 10 }, () => applied('webhook', { finalAgoMs: 1 })))
  await one.refresh()
  await other.refresh()
  await one.refresh()
  const later = await open()
  for (const learner of [one, other, later]) {
    expect(learner.learnedOf('seven').evidence).toMatchObject({ seen: 40, lost: 0 })
    expect(learner.learnedOf('seven').evidence.received).toBeCloseTo(40, 1)
    expect(learner.planOf(account).economy.loss).toBeLessThan(0.05)
  }
})

it('tells of a silent route and of its return, a line each, whichever process finds out', async () => {
  const [one, other] = [await open(), await open()]
  one.observeReports(Array.from({ length: 100 }, () => applied('webhook', { finalAgoMs: 1 })))
  await one.refresh()
  // Every receipt of what became final since then is missing.
  await tables.db.execute(sql`
    UPDATE ${accountLearning} SET learned = jsonb_set(learned, '{route,lastReceiptAt}', to_jsonb(${Date.now() - 900_000}::float8))`)
  for (const learner of [other, one, other]) {
    learner.observeReports(Array.from({ length: 10 }, () => applied('poll')))
    await learner.refresh()
  }
  expect(lines).toEqual([
    expect.objectContaining({
      level: 50,
      account: 'seven',
      since: expect.any(String),
      lost: 10,
      msg: expect.stringContaining('silent'),
    }),
  ])
  expect(one.planOf(account).economy.loss).toBe(1)
  expect(other.learnedOf('seven').route).toMatchObject({ state: 'silent', lost: 30 })
  one.observeReports(Array.from({ length: 5 }, () => applied('webhook', { finalAgoMs: 1 })))
  await one.refresh()
  expect(lines).toHaveLength(2)
  expect(lines[1]).toMatchObject({ level: 30, account: 'seven', msg: expect.stringContaining('again') })
})

it('finds a route silent whose final statuses were all found early, without any news', async () => {
  const [one, other] = [await open(), await open()]
  one.observeReports(Array.from({ length: 100 }, () => applied('webhook', { finalAgoMs: 1_000 })))
  await one.refresh()
  one.observeReports(Array.from({ length: 10 }, () => applied('poll', { finalAgoMs: -1 })))
  await one.refresh()
  expect(one.learnedOf('seven').route).toMatchObject({ state: 'ok', lost: 0, early: { length: 10 } })
  // All of it was a quarter of an hour ago.
  const moved = sql`(SELECT jsonb_agg(at::float8 - 900000) FROM jsonb_array_elements_text(learned #> '{route,early}') AS at)`
  await tables.db.execute(sql`
    UPDATE ${accountLearning} SET learned = jsonb_set(
      jsonb_set(learned, '{route,lastReceiptAt}', to_jsonb((learned #>> '{route,lastReceiptAt}')::float8 - 900000)),
      '{route,early}', ${moved})`)
  await other.refresh()
  expect(other.learnedOf('seven').route).toMatchObject({ state: 'silent', lost: 10, early: [] })
  await one.refresh()
  expect(lines.map(({ level }) => level)).toEqual([50])
})

it('begins again from the prior, and says so, when what was learned cannot be read or is gone', async () => {
  const learner = await open()
  learner.observeReports([applied('webhook')])
  await learner.refresh()
  expect(learner.learnedOf('seven').evidence.seen).toBe(1)
  await tables.db.update(accountLearning).set({ learned: { evidence: 'damaged' } })
  await learner.refresh()
  expect(learner.learnedOf('seven').evidence.seen).toBe(0)
  learner.observeReports([applied('webhook'), applied('webhook')])
  await learner.refresh()
  expect(learner.learnedOf('seven').evidence.seen).toBe(2)
  expect(lines.filter(({ msg }) => String(msg).includes('cannot be read'))).toHaveLength(1)

  await tables.db.delete(accountLearning)
  await learner.refresh()
  await learner.refresh()
  expect(learner.learnedOf('seven').evidence.seen).toBe(0)
  expect(lines.filter(({ msg }) => String(msg).includes('is gone'))).toHaveLength(1)
})

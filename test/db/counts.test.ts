import { sql } from 'drizzle-orm'
import fc from 'fast-check'
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest'
import { sharesKnownWithin } from '../../src/core/statistics.ts'
import { isFinal, type Source, STATUSES, type Status, type StatusReport } from '../../src/core/status.ts'
import {
  deleteOldCounts,
  findHours,
  findOutstanding,
  findReasons,
  findTotals,
  foldCounts,
} from '../../src/db/counts.ts'
import { eraseMessages } from '../../src/db/erasure.ts'
import { trackMessages } from '../../src/db/messages.ts'
import type { NewMessage } from '../../src/db/new-message.ts'
import { applyReports } from '../../src/db/reports.ts'
import { deleteSettled, deleteUntracked } from '../../src/db/retention.ts'
import { claimDue } from '../../src/db/schedule.ts'
import { openTables, type Tables } from '../support/api.ts'

let database: Tables
beforeAll(async () => {
  database = await openTables()
})
afterAll(() => database.close())
beforeEach(() =>
  database.db.execute(sql`
    TRUNCATE lastword.messages, lastword.status_reports, lastword.due, lastword.batches, lastword.failures,
      lastword.changes, lastword.erased, lastword.hour_counts, lastword.counts_pending`),
)

const HOUR = 3_600_000
const MINUTE = 60_000
const START = Date.now()
const ago = (ms: number) => new Date(START - ms)
const hourOf = (time: Date) => Math.floor(time.getTime() / HOUR) * HOUR

function message(messageId: string, sentAt: Date, account = 'seven'): NewMessage {
  return {
    account,
    messageId,
    recipientKey: '',
    recipient: null,
    sentAt,
    windowEndsAt: new Date(START + 24 * HOUR),
    dueAt: ago(1000),
    metadata: undefined,
    mayBeginAnew: true,
  }
}

function report(messageId: string, status: Status, occurredAt: Date, more: Partial<StatusReport> = {}): StatusReport {
  return { account: 'seven', messageId, status, rawStatus: status, occurredAt, source: 'webhook', ...more }
}

/** Claims what is due and writes an answer. */
async function answer(statusOf: (messageId: string) => Status | undefined, minutes = 1.5): Promise<void> {
  const claim = { account: 'seven', limit: 100, leaseMs: HOUR }
  const { batches } = await claimDue(database.db, claim, ({ due }) => (due.length === 0 ? [] : [due]))
  for (const { id, messages } of batches) {
    const reports = messages.flatMap(({ messageId }) => {
      const status = statusOf(messageId)
      return status ? [report(messageId, status, ago(minutes * MINUTE), { source: 'poll' })] : []
    })
    const answered = {
      batch: id,
      messages: messages.map((one) => ({ id: one.id, dueAt: ago(1000) })),
      request: { account: 'seven', ids: messages.length },
    }
    await applyReports(database.db, reports, { answered })
  }
}

it('a message that is sent again takes no rank from a poll that tells of the time before', async () => {
  const { db } = database
  const recipient = '31612345678'
  const sent = (minutes: number) => ({ ...message('a', ago(minutes * MINUTE), 'cm'), recipientKey: recipient })
  const told = (status: Status, minutes: number, source: Source = 'webhook') =>
    report('a', status, ago(minutes * MINUTE), { account: 'cm', recipient, source })
  const row = async () => {
    const [found] = await db.execute(sql`SELECT status, final, life_since IS NOT NULL AS again FROM lastword.messages`)
    return found
  }
  await trackMessages(db, [sent(20)], true)
  await applyReports(db, [told('failed', 19)])
  await trackMessages(db, [sent(10)], true)
  const { batches } = await claimDue(db, { account: 'cm', limit: 1, leaseMs: HOUR }, ({ due }) => [due])
  const [batch] = batches
  const answered = { batch: batch?.id ?? '', messages: [{ id: batch?.messages[0]?.id ?? 0, dueAt: ago(0) }] }
  await applyReports(db, [told('failed', 19, 'poll')], { answered })
  expect(await row()).toEqual({ status: null, final: false, again: true })
  await applyReports(db, [told('transmitted', 9)])
  expect(await row()).toMatchObject({ status: 'transmitted', final: false })
  await applyReports(db, [told('unknown', 1, 'window')])
  expect(await row()).toMatchObject({ status: 'unknown', final: true })
})

describe('counts', () => {
  it('tell what is outstanding, what ended how and when it was known, why, and what asking cost', async () => {
    const { db } = database
    const [long, short] = [ago(5 * HOUR), ago(HOUR)]
    await trackMessages(db, [
      ...['a', 'b', 'c'].map((id) => message(id, long)),
      message('d', short),
      message('e', short, 'other'),
    ])
    await applyReports(db, [report('a', 'delivered', ago(5_000)), report('b', 'delivered', ago(MINUTE * 30))])
    await answer((messageId) => (messageId === 'c' ? 'failed' : undefined))
    // A correction takes back what it corrects.
    const error = { code: '21', description: 'number unknown' }
    await applyReports(db, [report('b', 'undelivered', ago(MINUTE * 5), { error })])

    for (const folded of [false, true]) {
      if (folded) await foldCounts(db)
      const around = { from: ago(2 * HOUR), to: new Date(START + 2 * HOUR) }
      expect(await findOutstanding(db)).toEqual(
        new Map([
          ['other', [{ hour: hourOf(short), messages: 1 }]],
          ['seven', [{ hour: hourOf(short), messages: 1 }]],
        ]),
      )
      const totals = await findTotals(db, around)
      expect(totals).toEqual(
        new Map([
          [
            'seven',
            {
              ended: { unknown: 0, rejected: 0, failed: 1, undelivered: 1, expired: 0, delivered: 1, read: 0 },
              foundBy: { webhook: 2, poll: 1, window: 0 },
              known: { '10s': 1, '1m': 0, '10m': 2, later: 0 },
              pollsSaved: 2,
              requests: 1,
              ids: 2,
            },
          ],
        ]),
      )
      const [hour, ...more] = await findHours(db, { ...around, account: 'seven' })
      expect(more).toEqual([])
      expect(hour).toEqual({ hour: expect.any(Number), ...totals.get('seven') })
      expect(hour && sharesKnownWithin(hour)).toEqual({ '10s': 1 / 3, '1m': 1 / 3, '10m': 1 })
      expect(await findHours(db, { ...around, account: 'other' })).toEqual([])
      expect(await findHours(db, { ...around, to: new Date(hourOf(ago(0))) })).toEqual([])
      expect(await findReasons(db, around)).toEqual([{ code: '21', messages: 1 }])
    }
  })

  it('are deleted when they are old, and what is outstanding never is', async () => {
    const { db } = database
    await db.execute(sql`
      INSERT INTO lastword.hour_counts (account, hour, measure, key, n)
      SELECT 'seven', date_trunc('hour', now() - age * interval '1 day'), measure, '', n
      FROM (VALUES (500, 'ended', 7), (500, 'outstanding', 7), (300, 'ended', 7), (300, 'outstanding', 0)) v (age, measure, n)`)
    await deleteOldCounts(db)
    const left = await db.execute(sql`
      SELECT measure, hour < now() - interval '1 year' AS is_old FROM lastword.hour_counts ORDER BY measure`)
    expect([...left]).toEqual([
      { measure: 'ended', is_old: false },
      { measure: 'outstanding', is_old: true },
    ])
  })
})

/** The meaning of a row, by looking at it. */
interface Scanned extends Record<string, unknown> {
  id: string
  life: string
  account: string
  hour: number
  measure: string
  key: string
}

const scan = () =>
  database.db.execute<Scanned>(sql`
    SELECT id, coalesce(life_since::text, '') AS life, account, measure, key,
      (extract(epoch FROM date_bin('1 hour', at, '2000-01-01Z')) * 1000)::float8 AS hour
    FROM lastword.messages m CROSS JOIN LATERAL (
      SELECT sent_at AS at, 'outstanding' AS measure, '' AS key WHERE NOT final
      UNION ALL SELECT changed_at, 'ended', lastword.ended_key(status, settled_by, known_after, polls) WHERE final
      UNION ALL SELECT changed_at, 'reason', code FROM lastword.failures f WHERE f.message = m.id AND code IS NOT NULL
    ) c
    WHERE tracked_at IS NOT NULL`)

const counted = () =>
  database.db.execute<{ account: string; hour: number; measure: string; key: string; n: number }>(sql`
    SELECT account, (extract(epoch FROM hour) * 1000)::float8 AS hour, measure, key, sum(n)::int AS n
    FROM (SELECT * FROM lastword.hour_counts UNION ALL SELECT * FROM lastword.counts_pending) c
    WHERE measure NOT IN ('requests', 'ids')
    GROUP BY account, hour, measure, key HAVING sum(n) <> 0`)

type Place = Omit<Scanned, 'id' | 'life'>
const placeOf = ({ account, hour, measure, key }: Place) => [account, hour, measure, key].join(' | ')

/** An hour passes: everything that has happened moves back by one, and so do its counts. */
async function passAnHour(history: Place[]): Promise<void> {
  const hour = sql`interval '1 hour'`
  await database.db.execute(sql`UPDATE lastword.messages SET changed_at = changed_at - ${hour}`)
  await database.db.execute(
    sql`UPDATE lastword.counts_pending SET hour = hour - ${hour} WHERE measure <> 'outstanding'`,
  )
  await database.db.execute(sql`
    WITH moved AS (DELETE FROM lastword.hour_counts WHERE measure <> 'outstanding' RETURNING *)
    INSERT INTO lastword.counts_pending (account, hour, measure, key, n)
    SELECT account, hour - ${hour}, measure, key, n FROM moved`)
  for (const place of history) place.hour = Number(place.hour) - HOUR
}

const IDS = ['a', 'b', 'c', 'd', 'e', 'f']
const id = fc.constantFrom(...IDS)
const someIds = fc.uniqueArray(id, { minLength: 1, maxLength: 4 })
const minutesAgo = fc.integer({ min: 0, max: 600 })
const aReport = fc.record({
  messageId: id,
  status: fc.constantFrom(...STATUSES),
  minutes: minutesAgo,
  source: fc.constantFrom<Source>('webhook', 'poll'),
  code: fc.constantFrom(undefined, '1', '2'),
})
const step = fc.oneof(
  { weight: 4, arbitrary: fc.record({ track: someIds, minutes: minutesAgo }) },
  { weight: 8, arbitrary: fc.record({ reports: fc.array(aReport, { minLength: 1, maxLength: 5 }) }) },
  {
    weight: 2,
    arbitrary: fc.record({
      answer: fc.constantFrom(undefined, 'delivered', 'failed', 'buffered'),
      // Long ago it may be of an earlier life.
      minutes: fc.constantFrom(1.5, 1.5, 300),
    }),
  },
  { weight: 1, arbitrary: fc.record({ erase: id }) },
  { weight: 3, arbitrary: fc.constant('fold' as const) },
  { weight: 2, arbitrary: fc.constant('an hour passes' as const) },
  { weight: 1, arbitrary: fc.constant('retention' as const) },
)
type Step = typeof step extends fc.Arbitrary<infer T> ? T : never

function toReport({
  messageId,
  status,
  minutes,
  source,
  code,
}: typeof aReport extends fc.Arbitrary<infer T> ? T : never) {
  const isUnknown = status === 'unknown'
  return report(messageId, status, ago(minutes * MINUTE), {
    source: isUnknown ? 'window' : source,
    ...(code !== undefined && isFinal(status) && !isUnknown ? { error: { code } } : {}),
  })
}

async function take(step: Step, history: Place[]): Promise<void> {
  const { db } = database
  if (step === 'fold') {
    // Beside a writer, and each other.
    const written = applyReports(db, [report('a', 'delivered', ago(MINUTE))])
    await Promise.all([foldCounts(db), foldCounts(db), written, foldCounts(db)])
  } else if (step === 'an hour passes') await passAnHour(history)
  else if (step === 'retention') {
    await db.execute(sql`DELETE FROM lastword.changes`)
    const all = { olderThan: new Date(Date.now() + MINUTE), limit: 2 }
    await deleteSettled(db, { ...all, after: 0 })
    await deleteUntracked(db, all)
  } else if ('track' in step && 'minutes' in step) {
    await trackMessages(
      db,
      step.track.map((one) => message(one, ago(step.minutes * MINUTE))),
    )
  } else if ('reports' in step) await applyReports(db, step.reports.map(toReport))
  else if ('answer' in step) {
    await answer((one) => (one < 'd' ? (step.answer as Status | undefined) : undefined), step.minutes)
  } else {
    const rows = await db.execute<{ id: string }>(
      sql`SELECT id FROM lastword.messages WHERE message_id = ${step.erase}`,
    )
    await eraseMessages(
      db,
      rows.map((row) => Number(row.id)),
    )
    await db.execute(sql`DELETE FROM lastword.erased`)
  }
}

it('are what a look at every message says, and what history has left, whatever happens in whatever order', async () => {
  const run = async (steps: Step[]) => {
    // The counts of messages that were deleted, or sent again, after they had ended.
    const history: Place[] = []
    let before: Scanned[] = []
    for (const [index, one] of steps.entries()) {
      await take(one, history)
      const now = [...(await scan())]
      const stays = new Set(now.map((row) => `${row.id} ${row.life}`))
      if (one !== 'an hour passes') {
        const left = before.filter((row) => row.measure !== 'outstanding' && !stays.has(`${row.id} ${row.life}`))
        history.push(...left)
      }
      before = now
      const expected = new Map<string, number>()
      for (const place of [...now, ...history]) {
        expected.set(placeOf(place), (expected.get(placeOf(place)) ?? 0) + 1)
      }
      const found = new Map([...(await counted())].map((row) => [placeOf(row), row.n]))
      expect(found, `after step ${index}: ${JSON.stringify(one)}`).toEqual(expected)
    }
  }
  await fc.assert(fc.asyncProperty(fc.array(step, { minLength: 300, maxLength: 300, size: 'max' }), run), {
    numRuns: 1,
    endOnFailure: true,
  })
})

/**
 * The plans of the hot statements, as EXPLAIN (ANALYZE, BUFFERS) tells them, with `counts.outstanding` messages. The
 * product's own functions run, on a connection that explains instead of answering, and everything is rolled back.
 */
import type { Query, SQL } from 'drizzle-orm'
import { PgDialect } from 'drizzle-orm/pg-core'
import { checkBatch } from '../../src/db/batches.ts'
import type { Db } from '../../src/db/client.ts'
import { trackMessages } from '../../src/db/messages.ts'
import { applyReports } from '../../src/db/reports.ts'
import { claimDue, findClosed, type Offered } from '../../src/db/schedule.ts'
import type { Bench } from './bench.ts'
import { ACCOUNT, fillOutstanding, type Installation, makeDue, openInstallation } from './installation.ts'

const BATCH = 100
const LEASE_MS = 60_000

export async function explainStatements({ services, counts, say }: Bench): Promise<string> {
  const installation = await openInstallation(services)
  try {
    say(`explain: filling ${counts.outstanding}`)
    await fillOutstanding(installation, counts.outstanding)
    await makeDue(installation, { share: Math.min(1, (20 * BATCH) / counts.outstanding), withinS: 0 })
    return await explainAll(installation)
  } finally {
    await installation.close()
  }
}

async function explainAll({ database }: Installation): Promise<string> {
  const leased = { account: ACCOUNT, leaseMs: LEASE_MS }
  const inOne = ({ due }: Offered) => [due]
  const { batches } = await claimDue(database.db, { ...leased, limit: BATCH }, inOne)
  const { id: batch = '', messages: claimed = [] } = batches[0] ?? {}
  const now = new Date()
  const later = new Date(now.getTime() + 3_600_000)
  const key = (messageId: string) => ({ account: ACCOUNT, messageId, recipientKey: '' })
  const reports = claimed.map(({ messageId }) => ({
    account: ACCOUNT,
    messageId,
    status: 'delivered' as const,
    rawStatus: 'DELIVERED',
    occurredAt: now,
    source: 'poll' as const,
  }))
  const answered = { batch, messages: claimed.map(({ id }) => ({ id, dueAt: later })) }
  const tracked = Array.from({ length: 1000 }, (_, index) => ({
    ...key(String(50_000_000_000 + index)),
    recipient: null,
    sentAt: now,
    windowEndsAt: later,
    dueAt: later,
    metadata: undefined,
  }))

  const statements: [string, (db: Db) => Promise<unknown>][] = [
    ['track 1,000 messages', (db) => trackMessages(db, tracked)],
    ['claim 100 of those due', (db) => claimDue(db, { ...leased, limit: BATCH }, inOne)],
    ['claim when nothing is due', (db) => claimDue(db, { ...leased, account: 'none', limit: BATCH }, inOne)],
    ['check a batch of 100', (db) => checkBatch(db, { ...leased, batch, marginMs: 10_000 })],
    ['apply 100 polled reports', (db) => applyReports(db, reports, { answered, keepUntracked: false })],
    ['apply one webhook', (db) => applyReports(db, reports.slice(0, 1), { keepUntracked: false })],
    ['find closed windows', (db) => findClosed(db, 1000)],
  ]
  const plans: string[] = []
  for (const [title, run] of statements) plans.push(`== ${title}\n${await explain(database.db, run)}`)
  return plans.join('\n\n')
}

class RolledBack extends Error {}

const dialect = new PgDialect()

async function explain(db: Db, run: (db: Db) => Promise<unknown>): Promise<string> {
  const plans: string[] = []
  const explained = db.transaction(async (transaction) => {
    const { session } = transaction._
    const prepareQuery = (query: Query) => ({
      async execute() {
        const explaining = { ...query, sql: `EXPLAIN (ANALYZE, BUFFERS) ${query.sql}` }
        const rows = await session.prepareQuery(explaining, undefined, undefined, false).execute()
        plans.push((rows as { 'QUERY PLAN': string }[]).map((row) => row['QUERY PLAN']).join('\n'))
        return []
      },
    })
    const explainer = {
      execute: (query: SQL) => prepareQuery(dialect.sqlToQuery(query)).execute(),
      transaction: (within: (db: Db) => Promise<unknown>) => within(explainer as unknown as Db),
      _: { session: { prepareQuery } },
    }
    await run(explainer as unknown as Db)
    throw new RolledBack()
  })
  await explained.catch((error: unknown) => {
    if (!(error instanceof RolledBack)) throw error
  })
  return plans.join('\n')
}

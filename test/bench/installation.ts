/** Lastword as it is measured: a database of its own, the queues in Redis, and real processes of the command line. */
import postgres from 'postgres'
import { windowOf } from '../../src/core/polling.ts'
import type { Status } from '../../src/core/status.ts'
import { type Database, openDatabase } from '../../src/db/connection.ts'
import { trackMessages } from '../../src/db/messages.ts'
import type { Account } from '../../src/providers/account.ts'
import { findProvider } from '../../src/providers/registry.ts'
import { cli, type Process, startProcess } from './processes.ts'
import type { Sandbox } from './sandbox.ts'
import type { Services } from './services.ts'

export const ACCOUNT = 'seven'

export interface Installation {
  databaseUrl: string
  /** For the bench's own questions. */
  sql: postgres.Sql
  /** For the product's own functions. */
  database: Database
  close(): Promise<void>
}

/** A new, migrated installation, and empty queues. */
export async function openInstallation(services: Services): Promise<Installation> {
  await services.clearRedis()
  const databaseUrl = await services.createDatabase('migrated')
  const sql = postgres(databaseUrl, { max: 2, onnotice: () => {} })
  const database = await openDatabase(databaseUrl)
  return {
    databaseUrl,
    sql,
    database,
    async close() {
      await Promise.all([sql.end(), database.close()])
      await services.dropDatabase(databaseUrl)
    },
  }
}

/** The account's settings: as many requests as an account may have, and what a measure changes. */
function settingsOf(sandbox: Pick<Sandbox, 'url' | 'apiKey'>, more: object) {
  const { url: baseUrl, apiKey } = sandbox
  return { name: ACCOUNT, provider: 'seven', apiKey, baseUrl, requestsPerSecond: 1000, timeout: '3s', ...more }
}

export function accountOf(sandbox: Pick<Sandbox, 'url' | 'apiKey'>, more: object = {}): Account {
  const account = findProvider('seven')?.accountSchema.parse(settingsOf(sandbox, more))
  if (!account) throw new Error('There is no provider "seven" any more.')
  return account
}

interface ServiceOptions {
  services: Services
  installation: Installation
  sandbox: Pick<Sandbox, 'url' | 'apiKey'>
  /** Further settings of the account. */
  account?: object
  /** Further accounts. */
  others?: readonly object[]
  /** Further variables of the environment. */
  environment?: Readonly<Record<string, string>>
}

/** As in docker-compose.yml. */
const WORKER_NODE_OPTIONS = '--max-semi-space-size=8'

/** Runs `lastword api` or `lastword worker`; `url` is where the API listens. */
export async function startService(
  command: 'api' | 'worker',
  options: ServiceOptions,
): Promise<Process & { url: string }> {
  const { services, installation, sandbox, account = {}, others = [], environment = {} } = options
  const started = await startProcess(cli, {
    args: [command],
    env: {
      DATABASE_URL: installation.databaseUrl,
      QUEUE_URL: services.redisUrl,
      ACCOUNTS: JSON.stringify([settingsOf(sandbox, account), ...others]),
      PORT: '0',
      ...environment,
      ...(command === 'worker' ? { NODE_OPTIONS: WORKER_NODE_OPTIONS } : {}),
    },
    ready: /listening on (http:\/\/[^,]+),|"working"/,
  })
  return { ...started, url: started.ready[1] ?? '' }
}

const MESSAGES_A_STATEMENT = 1000

/** Tracks messages that all come due at one moment. */
export async function trackDueAt(
  { database }: Installation,
  account: Account,
  messageIds: readonly string[],
  { sentAt, dueAt }: { sentAt: Date; dueAt: Date },
): Promise<void> {
  const windowEndsAt = new Date(windowOf(account.polling, sentAt.getTime()).windowEndsAt)
  for (let start = 0; start < messageIds.length; start += MESSAGES_A_STATEMENT) {
    const messages = messageIds.slice(start, start + MESSAGES_A_STATEMENT).map((messageId) => ({
      account: account.name,
      messageId,
      recipientKey: '',
      recipient: null,
      sentAt,
      windowEndsAt,
      dueAt,
      metadata: undefined,
    }))
    await trackMessages(database.db, messages)
  }
}

/** Filled rows come due no sooner than this. */
const FILLED_DUE_AFTER_H = 2
const FILLED_DUE_WITHIN_H = 8
const ROWS_A_STATEMENT = 250_000
const FIRST_FILLED_ID = 60_000_000_000

/**
 * Adds outstanding messages, up to `total` of them, by SQL: into the table as it is, its indexes in place, due in no
 * order some hours from now. The provider knows none of them.
 */
export async function fillOutstanding({ sql }: Installation, total: number): Promise<void> {
  const [row] = await sql<{ last: string }[]>`
    SELECT coalesce(max(message_id), ${String(FIRST_FILLED_ID)}) AS last
    FROM lastword.messages WHERE message_id LIKE '60_________'`
  for (let done = Number(row?.last) - FIRST_FILLED_ID; done < total; ) {
    const end = Math.min(done + ROWS_A_STATEMENT, total)
    await sql`
      WITH tracked AS (
        INSERT INTO lastword.messages (account, message_id, sent_at, window_ends_at, due_at, tracked_at)
        SELECT ${ACCOUNT}, (${FIRST_FILLED_ID}::bigint + n)::text, now() - interval '1 day', now() + interval '29 days',
          now() + ${FILLED_DUE_AFTER_H} * interval '1 hour' + random() * ${FILLED_DUE_WITHIN_H} * interval '1 hour', now()
        FROM generate_series(${done + 1}::bigint, ${end}::bigint) n
        RETURNING account, due_at, id
      )
      INSERT INTO lastword.due (account, due_at, message) SELECT * FROM tracked`
    done = end
  }
  await vacuum(sql)
}

async function vacuum(sql: postgres.Sql): Promise<void> {
  await sql.unsafe('VACUUM ANALYZE lastword.messages')
  await sql.unsafe('VACUUM ANALYZE lastword.due')
}

/** Has every n-th of the filled messages come due within so many seconds from now, in no order. */
export async function makeDue(
  { sql }: Installation,
  { share, withinS }: { share: number; withinS: number },
): Promise<void> {
  const every = Math.max(1, Math.floor(1 / share))
  await sql`
    WITH moved AS (
      UPDATE lastword.messages SET due_at = now() + random() * ${withinS} * interval '1 second'
      WHERE id % ${every} = 0 AND message_id LIKE '60_________' AND NOT final
      RETURNING account, due_at, id
    )
    INSERT INTO lastword.due (account, due_at, message) SELECT * FROM moved ON CONFLICT DO NOTHING`
  await vacuum(sql)
}

/** Puts everything that is due, or held, some hours away again. */
export async function makeNothingDue({ sql }: Installation): Promise<void> {
  await sql`DELETE FROM lastword.batches`
  await sql`DELETE FROM lastword.due WHERE due_at < now() + interval '1 hour'`
  await sql`
    WITH moved AS (
      UPDATE lastword.messages SET due_at = now() + ${FILLED_DUE_AFTER_H} * interval '1 hour'
      WHERE due_at < now() + interval '1 hour'
      RETURNING account, due_at, id
    )
    INSERT INTO lastword.due (account, due_at, message) SELECT * FROM moved`
  await vacuum(sql)
}

/** True when no message but the filled ones is outstanding: theirs are hours away, and nobody asks about them. */
export async function isSettled({ sql }: Installation): Promise<boolean> {
  const rows = await sql`
    SELECT FROM lastword.due d JOIN lastword.messages m ON m.id = d.message AND m.due_at = d.due_at
    WHERE d.account = ${ACCOUNT} AND d.due_at < now() + interval '1 hour'
    UNION ALL SELECT FROM lastword.batches LIMIT 1`
  return rows.length === 0
}

/** The status of every message but the filled ones. */
export async function findStatuses({ sql }: Installation): Promise<{ id: string; status: Status | null }[]> {
  return sql`
    SELECT message_id AS id, CASE WHEN final THEN status END AS status
    FROM lastword.messages WHERE message_id LIKE '77_________'`
}

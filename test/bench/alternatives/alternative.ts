/**
 * The alternatives that people build, and their common ground: the table, the request about one ID, the write of one
 * row.
 *
 * Each has what one would give it with care: a pool of kept-alive connections to the provider, prepared statements on a
 * pool of connections to the database, rows added many at a time, and as many requests under way as pay off.
 */
import postgres from 'postgres'
import { Pool } from 'undici'
import { type ExponentialPolicy, intervalAfter } from '../../../src/core/polling.ts'
import { isFinal, type Status } from '../../../src/core/status.ts'

/** Where an alternative works. */
export interface Site {
  databaseUrl: string
  redisUrl: string
  provider: { url: string; apiKey: string }
  polling: ExponentialPolicy
}

/** The backoff that the alternatives have unless a measure says otherwise. */
export const BACKOFF: ExponentialPolicy = {
  policy: 'exponential',
  firstAfterMs: 60_000,
  factor: 2,
  maxIntervalMs: 6 * 3_600_000,
  windowMs: 30 * 86_400_000,
}

export interface Scheduled {
  messageId: string
  dueAt: Date
}

export interface Alternative {
  /** Creates what it keeps beside the table. */
  prepare?(site: Site): Promise<void>
  /** Schedules messages whose rows are there already; returns how to let go of its connections. */
  openScheduler(site: Site): Promise<{ add(messages: readonly Scheduled[]): Promise<void>; close(): Promise<void> }>
  /** Begins to work, in a process of its own. */
  work(site: Site): Promise<Work>
}

export interface Work {
  close(): Promise<void>
}

export const REQUESTS_AT_ONCE = 100
const DATABASE_CONNECTIONS = 10
const ROWS_A_STATEMENT = 1000

/** The same row for everybody; the index lets a cron find what is not final. */
export async function createTable(databaseUrl: string): Promise<void> {
  const sql = postgres(databaseUrl, { max: 1 })
  await sql.unsafe(`
    CREATE TABLE messages (
      message_id text PRIMARY KEY, next_poll_at timestamptz NOT NULL, polls int NOT NULL DEFAULT 0,
      status text, status_at timestamptz, final boolean NOT NULL DEFAULT false
    );
    CREATE INDEX messages_outstanding ON messages (next_poll_at) WHERE NOT final`)
  await sql.end()
}

export async function addRows(sql: postgres.Sql, messages: readonly Scheduled[]): Promise<void> {
  for (let start = 0; start < messages.length; start += ROWS_A_STATEMENT) {
    const some = messages.slice(start, start + ROWS_A_STATEMENT)
    const ids = some.map(({ messageId }) => messageId)
    const times = some.map(({ dueAt }) => dueAt.toISOString())
    await sql`INSERT INTO messages (message_id, next_poll_at)
      SELECT * FROM unnest(${ids}::text[], ${times}::timestamptz[])`
  }
}

/** The work of an alternative for one message. */
export interface Asker {
  sql: postgres.Sql
  /** Asks, writes the row, and resolves with when to ask again: undefined when the status is final. */
  ask(messageId: string, polls: number): Promise<Date | undefined>
  close(): Promise<void>
}

const STATUSES: Readonly<Record<string, Status>> = {
  ACCEPTED: 'accepted',
  TRANSMITTED: 'transmitted',
  BUFFERED: 'buffered',
  DELIVERED: 'delivered',
  NOTDELIVERED: 'undelivered',
  EXPIRED: 'expired',
  REJECTED: 'rejected',
  FAILED: 'failed',
}

export function createAsker({ databaseUrl, provider, polling }: Site): Asker {
  const base = new URL(provider.url)
  const pool = new Pool(base.origin, { connections: REQUESTS_AT_ONCE, pipelining: 1 })
  const sql = postgres(databaseUrl, { max: DATABASE_CONNECTIONS, onnotice: () => {} })
  const headers = { 'X-Api-Key': provider.apiKey, Accept: 'application/json' }
  return {
    sql,
    async ask(messageId, polls) {
      const path = `${base.pathname}/status?msg_id=${messageId}`
      const { statusCode, body } = await pool.request({ method: 'GET', path, headers })
      if (statusCode !== 200) throw new Error(`The provider answered ${statusCode}.`)
      const [row] = (await body.json()) as { status: string | null; status_time: string | null }[]
      const status = (row?.status && STATUSES[row.status]) || null
      const final = isFinal(status)
      const next = new Date(Date.now() + intervalAfter(polling, polls + 1, Math.random()))
      await sql`
        UPDATE messages SET status = ${status}, final = ${final}, polls = polls + 1, next_poll_at = ${next},
          status_at = ${row?.status_time ?? null}::timestamp AT TIME ZONE 'Europe/Berlin'
        WHERE message_id = ${messageId} AND NOT final`
      return final ? undefined : next
    },
    async close() {
      await Promise.all([pool.close(), sql.end()])
    },
  }
}

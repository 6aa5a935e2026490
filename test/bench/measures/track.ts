/**
 * Tracking: messages a second, committed, through the library's function and through `POST /v1/messages`, against naive
 * delayed jobs and against a bare multi-row INSERT into the same table. Bodies of 1,000, four at a time, for everybody.
 *
 * The naive job is not asked to write a row anywhere, so its figure is a kind one.
 */
import { Pool } from 'undici'
import { nextPollAt, windowOf } from '../../../src/core/polling.ts'
import { track } from '../../../src/tracking.ts'
import { readOrder } from '../../../src/tracking-order.ts'
import { BACKOFF } from '../alternatives/alternative.ts'
import { naiveBullmq } from '../alternatives/naive-bullmq.ts'
import { type Bench, cut, median, type Row, runAll, timed } from '../bench.ts'
import { ACCOUNT, accountOf, type Installation, openInstallation, startService } from '../installation.ts'

const BODY = 1000
const AT_ONCE = 4
const NO_PROVIDER = { url: 'http://127.0.0.1:9/api', apiKey: 'none' }

export async function measureTracking(bench: Bench): Promise<Row[]> {
  const { services, counts } = bench
  const installation = await openInstallation(services)
  const api = await startService('api', { services, installation, sandbox: NO_PROVIDER })
  const rates = { library: [] as number[], http: [] as number[], insert: [] as number[], jobs: [] as number[] }
  const wipe = () => installation.sql.unsafe('TRUNCATE lastword.messages, lastword.status_reports')
  try {
    for (let round = 0; round <= counts.trackRounds; round += 1) {
      const isWarmUp = round === 0
      const messages = isWarmUp ? BODY * AT_ONCE : counts.trackMessages
      const once = {
        insert: await rateOfInsert(installation, messages).finally(wipe),
        library: await rateOfLibrary(installation, messages).finally(wipe),
        http: await rateOfHttp(api.url, messages).finally(wipe),
        jobs: await rateOfJobs(bench, isWarmUp ? BODY * AT_ONCE : counts.trackJobs),
      }
      if (isWarmUp) continue
      for (const key of ['library', 'http', 'insert', 'jobs'] as const) rates[key].push(once[key])
    }
  } finally {
    await api.stop()
    await installation.close()
  }
  const library = median(rates.library)
  const http = median(rates.http)
  const insert = median(rates.insert)
  const jobs = median(rates.jobs)
  return [
    { measure: 'track: through the library', value: library, unit: 'messages/s', goal: { atLeast: 30_000 } },
    { measure: 'track: through POST /v1/messages', value: http, unit: 'messages/s' },
    { measure: 'track: naive delayed jobs', value: jobs, unit: 'messages/s' },
    { measure: 'track: bare INSERT', value: insert, unit: 'messages/s' },
    { measure: 'track: library against naive delayed jobs', value: library / jobs, unit: '×', goal: { atLeast: 3.5 } },
    { measure: 'track: HTTP against naive delayed jobs', value: http / jobs, unit: '×', goal: { atLeast: 3.5 } },
    {
      measure: 'track: library against bare INSERT',
      value: (100 * library) / insert,
      unit: '%',
      goal: { atLeast: 60 },
    },
    { measure: 'track: HTTP against bare INSERT', value: (100 * http) / insert, unit: '%', goal: { atLeast: 60 } },
  ]
}

let given = 0

/** Bodies with IDs that no other body of this run has. */
function newBodies(messages: number): string[][] {
  const messageIds = Array.from({ length: messages }, () => {
    given += 1
    return String(50_000_000_000 + given)
  })
  return cut(messageIds, BODY)
}

export async function rateOfLibrary({ database }: Installation, messages: number): Promise<number> {
  const accounts = new Map([[ACCOUNT, accountOf(NO_PROVIDER)]])
  const sentAt = new Date().toISOString()
  const orders = newBodies(messages).map((ids) =>
    readOrder({ account: ACCOUNT, messages: ids.map((messageId) => ({ messageId, sentAt })) }, 'order'),
  )
  return messages / (await timed(() => runAll(orders, AT_ONCE, (order) => track(database.db, accounts, order))))
}

export async function rateOfHttp(url: string, messages: number): Promise<number> {
  const sentAt = new Date().toISOString()
  const bodies = newBodies(messages).map((ids) =>
    JSON.stringify({ account: ACCOUNT, messages: ids.map((messageId) => ({ messageId, sentAt })) }),
  )
  const pool = new Pool(url, { connections: AT_ONCE })
  const post = async (body: string) => {
    const headers = { 'content-type': 'application/json' }
    const answer = await pool.request({ method: 'POST', path: '/v1/messages', headers, body })
    if (answer.statusCode !== 202) throw new Error(`Tracking: ${answer.statusCode} ${await answer.body.text()}`)
    await answer.body.dump()
  }
  try {
    return messages / (await timed(() => runAll(bodies, AT_ONCE, post)))
  } finally {
    await pool.close()
  }
}

/** The same rows as ours, each with its own time of the first poll, and nothing else: no normal form, no conflict. */
async function rateOfInsert({ sql }: Installation, messages: number): Promise<number> {
  const bodies = newBodies(messages).map((ids) => {
    const now = Date.now()
    const sentAt = new Date(now).toISOString()
    const window = windowOf(BACKOFF, now)
    const windowEndsAt = new Date(window.windowEndsAt).toISOString()
    const due = () => new Date(nextPollAt(BACKOFF, { ...window, now, polls: 0, random: Math.random() })).toISOString()
    return { ids, sentAt: ids.map(() => sentAt), windowEndsAt: ids.map(() => windowEndsAt), dueAt: ids.map(due) }
  })
  const insert = ({ ids, sentAt, windowEndsAt, dueAt }: (typeof bodies)[number]) => sql`
    WITH tracked AS (
      INSERT INTO lastword.messages (account, message_id, sent_at, window_ends_at, due_at, tracked_at)
      SELECT ${ACCOUNT}, n.*, now()
      FROM unnest(${ids}::text[], ${sentAt}::timestamptz[], ${windowEndsAt}::timestamptz[], ${dueAt}::timestamptz[]) AS n
      RETURNING account, due_at, id
    )
    INSERT INTO lastword.due (account, due_at, message) SELECT * FROM tracked`
  return messages / (await timed(() => runAll(bodies, AT_ONCE, insert)))
}

async function rateOfJobs({ services }: Bench, messages: number): Promise<number> {
  await services.clearRedis()
  const site = {
    databaseUrl: '',
    redisUrl: services.redisUrl,
    provider: NO_PROVIDER,
    polling: BACKOFF,
  }
  const scheduler = await naiveBullmq.openScheduler(site)
  const dueAt = new Date(Date.now() + 60_000)
  const bodies = newBodies(messages).map((ids) => ids.map((messageId) => ({ messageId, dueAt })))
  try {
    return messages / (await timed(() => runAll(bodies, AT_ONCE, scheduler.add)))
  } finally {
    await scheduler.close()
    await services.clearRedis()
  }
}

/**
 * Settling by polling: messages a second from the moment all of them come due until the last is final, by one worker
 * process, against each alternative. Every variant asks a sandbox process of its own over HTTP, and its rows are compared
 * with that sandbox's truth at the end.
 *
 * Ours writes more than theirs: beside the message's row, its report, and its change for the app. The bare statements
 * write the same rows, and know everything beforehand: they neither claim nor ask.
 */
import { setTimeout as delay } from 'node:timers/promises'
import postgres from 'postgres'
import { addRows, BACKOFF, createTable, type Site } from '../alternatives/alternative.ts'
import { type AlternativeName, alternatives } from '../alternatives/registry.ts'
import { type Bench, cut, type Row, runAll, timed } from '../bench.ts'
import {
  accountOf,
  findStatuses,
  type Installation,
  isSettled,
  openInstallation,
  startService,
  trackDueAt,
} from '../installation.ts'
import { benchFile, startProcess } from '../processes.ts'
import { anHourAgo, countWrong, openSandbox, type Sandbox } from '../sandbox.ts'
import { type CpuMeter, cpuOf, microsecondsEach } from '../usage.ts'

const BODY = 1000
const LOOK_EVERY_MS = 50
/** All are added by the time they come due: ours adds at least this many in a millisecond, the slowest other this many. */
const ADDED_PER_MS = { ours: 6, others: 1.5 }
const ADDED_WITHIN_MS = 1_000

export interface Settled {
  perSecond: number
  /** Of Postgres, for a settled message with its report and its change; only for ours. */
  bytes?: number
  /** CPU microseconds of the worker, Postgres and Redis for a message; only for ours. */
  cpuUs: number
  requests: number
  wrong: number
}

export async function measureSettling(bench: Bench): Promise<Row[]> {
  const { counts } = bench
  const ours = await settleWithLastword(bench, counts.settle)
  const rows: Row[] = [figureOf('Lastword', ours, { atLeast: 10_000 })]
  const results = new Map<AlternativeName, Settled>()
  for (const name of Object.keys(alternatives) as AlternativeName[]) {
    bench.say(`settle: ${name}`)
    const count = name === 'cron, a tick a second' ? counts.settleByCron : counts.settleByOthers
    const settled = await settleWith(bench, name, count)
    results.set(name, settled)
    rows.push(figureOf(name, settled))
  }
  const against = (name: AlternativeName, atLeast?: number): Row => ({
    measure: `settle: against ${name}`,
    value: ours.perSecond / (results.get(name)?.perSecond ?? Number.NaN),
    unit: '×',
    ...(atLeast === undefined ? {} : { goal: { atLeast } }),
  })
  bench.say('settle: bare statements')
  const bare = await writeBare(bench, counts.settle)
  const wrong = [ours, ...results.values()].reduce((sum, settled) => sum + settled.wrong, 0)
  return [
    ...rows,
    against('naive BullMQ', 6.5),
    against('cron, a tick a second', 20),
    against('cron without pause'),
    against('graphile-worker'),
    against('pg-boss'),
    { measure: 'settle: bare statements', value: bare, unit: 'messages/s' },
    {
      measure: 'settle: against bare statements',
      value: (100 * ours.perSecond) / bare,
      unit: '%',
      goal: { atLeast: 50 },
    },
    { measure: 'settle: CPU time of all processes', value: ours.cpuUs, unit: 'µs/message' },
    { measure: 'settle: Postgres', value: ours.bytes ?? Number.NaN, unit: 'B/message', goal: { atMost: 600 } },
    { measure: "settle: rows that disagree with the sandbox's truth", value: wrong, unit: 'rows', goal: { atMost: 0 } },
  ]
}

function figureOf(name: string, { perSecond, requests }: Settled, goal?: Row['goal']): Row {
  const details = { requests }
  return { measure: `settle: ${name}`, value: perSecond, unit: 'messages/s', details, ...(goal ? { goal } : {}) }
}

async function settleWithLastword(bench: Bench, count: number): Promise<Settled> {
  const installation = await openInstallation(bench.services)
  try {
    const settled = await settleIn(bench, installation, count)
    return { ...settled, bytes: await bytesPerMessage(installation) }
  } finally {
    await installation.close()
  }
}

/** All tables with their indexes, after VACUUM. */
async function bytesPerMessage({ sql }: Installation): Promise<number> {
  await sql.unsafe('VACUUM')
  const [row] = await sql<{ bytes: number }[]>`
    SELECT sum(pg_total_relation_size(c.oid))::float8 / (SELECT count(*) FROM lastword.messages) AS bytes
    FROM pg_class c WHERE c.relnamespace = 'lastword'::regnamespace AND c.relkind = 'r'`
  return row?.bytes ?? Number.NaN
}

/** Settles new messages in an installation that may hold others, none of which is due. */
export async function settleIn(
  { services, counts }: Bench,
  installation: Installation,
  count: number,
): Promise<Settled> {
  const sandbox = await openSandbox()
  const worker = await startService('worker', { services, installation, sandbox })
  const add = (messageIds: string[], dueAt: Date) =>
    trackDueAt(installation, accountOf(sandbox), messageIds, { sentAt: anHourAgo(), dueAt })
  const lots = [Math.ceil(count * counts.settleWarmUp), count]
  try {
    const rate = await settleLots({
      sandbox,
      lots,
      add,
      addedPerMs: ADDED_PER_MS.ours,
      cpu: cpuOf(services, [worker.pid]),
      isDone: () => isSettled(installation),
    })
    return { ...rate, ...(await judge(sandbox, await findStatuses(installation))) }
  } finally {
    await Promise.all([worker.stop(), sandbox.close()])
  }
}

async function settleWith({ services, counts }: Bench, name: AlternativeName, count: number): Promise<Settled> {
  await services.clearRedis()
  const sandbox = await openSandbox()
  const databaseUrl = await services.createDatabase('empty')
  const { url, apiKey } = sandbox
  const provider = { url, apiKey }
  const site: Site = { databaseUrl, redisUrl: services.redisUrl, provider, polling: BACKOFF }
  await createTable(databaseUrl)
  await alternatives[name].prepare?.(site)
  const args = [name, JSON.stringify(site)]
  const worker = await startProcess(benchFile('alternatives/worker-process.js'), { args, ready: /working/ })
  const scheduler = await alternatives[name].openScheduler(site)
  const sql = postgres(databaseUrl, { max: 1 })
  const add = async (messageIds: string[], dueAt: Date) => {
    const messages = messageIds.map((messageId) => ({ messageId, dueAt }))
    await addRows(sql, messages)
    for (const body of cut(messages, BODY)) await scheduler.add(body)
  }
  const isDone = async () => (await sql`SELECT FROM messages WHERE NOT final LIMIT 1`).length === 0
  const lots = [Math.ceil(count * counts.settleWarmUp), count]
  try {
    const cpu = cpuOf(services, [worker.pid])
    const rate = await settleLots({ sandbox, lots, add, addedPerMs: ADDED_PER_MS.others, cpu, isDone })
    const rows = await sql<{ id: string; status: null }[]>`
      SELECT message_id AS id, CASE WHEN final THEN status END AS status FROM messages`
    return { ...rate, ...(await judge(sandbox, rows)) }
  } finally {
    await Promise.all([worker.stop(), sandbox.close(), scheduler.close(), sql.end()])
    await services.dropDatabase(databaseUrl)
    await services.clearRedis()
  }
}

interface Lots {
  sandbox: Sandbox
  lots: readonly number[]
  add(messageIds: string[], dueAt: Date): Promise<void>
  addedPerMs: number
  cpu: CpuMeter
  isDone(): Promise<boolean>
}

/** Settles lot after lot, and returns what the last one took. */
async function settleLots({ sandbox, lots, add, addedPerMs, cpu, isDone }: Lots) {
  let rate = { perSecond: Number.NaN, cpuUs: Number.NaN }
  for (const size of lots.filter((lot) => lot > 0)) {
    const dueAt = new Date(Date.now() + ADDED_WITHIN_MS + size / addedPerMs)
    await add(await sandbox.send(size, anHourAgo()), dueAt)
    if (dueAt.getTime() < Date.now()) throw new Error(`${size} messages were due before all of them had been added.`)
    const { result, cpuUs } = await microsecondsEach(cpu, size, () => rateFrom(dueAt, size, isDone))
    rate = { perSecond: result, cpuUs }
  }
  return rate
}

const BARE_BATCH = 100
const BARE_AT_ONCE = 4

/** Messages a second that bare statements make final, with reports and changes, a batch each. */
async function writeBare({ services }: Bench, count: number): Promise<number> {
  const installation = await openInstallation(services)
  const { sql } = installation
  const messageIds = Array.from({ length: count }, (_, index) => String(50_000_000_000 + index))
  const account = accountOf({ url: 'http://127.0.0.1:9/api', apiKey: 'none' })
  const later = new Date(Date.now() + 3_600_000)
  try {
    await trackDueAt(installation, account, messageIds, { sentAt: anHourAgo(), dueAt: later })
    const write = (ids: string[]) => sql`
      WITH final AS (
        UPDATE lastword.messages SET status = 'delivered', final = true, status_at = now(), status_rank = 1, due_at = NULL,
          settled_by = 'poll', changed_at = now(), polls = 1, asked_at = now()
        WHERE account = ${account.name} AND message_id = ANY(${ids}) AND recipient_key = ''
        RETURNING id
      ), reports AS (
        INSERT INTO lastword.status_reports (message, status, raw_status, source, occurred_at)
        SELECT id, 'delivered', 'DELIVERED', 'poll', now() FROM final
      )
      INSERT INTO lastword.changes (position, message, status, source, occurred_at, changed_at)
      SELECT nextval('lastword.change_positions'), id, 'delivered', 'poll', now(), now() FROM final`
    return count / (await timed(() => runAll(cut(messageIds, BARE_BATCH), BARE_AT_ONCE, write)))
  } finally {
    await installation.close()
  }
}

/** Messages a second from `dueAt` until `isDone`. */
export async function rateFrom(dueAt: Date, count: number, isDone: () => Promise<boolean>): Promise<number> {
  await delay(Math.max(0, dueAt.getTime() - Date.now()))
  while (!(await isDone())) await delay(LOOK_EVERY_MS)
  return (count * 1000) / (Date.now() - dueAt.getTime())
}

async function judge(sandbox: Sandbox, rows: Parameters<typeof countWrong>[1]) {
  return { requests: await sandbox.requests(), wrong: countWrong(await sandbox.truths(), rows) }
}

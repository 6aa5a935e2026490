/**
 * Settling by polling: messages a second from the moment all of them come due until the last is final, by one worker
 * process, against each alternative. Every variant asks a sandbox process of its own over HTTP, and its rows are compared
 * with that sandbox's truth at the end.
 *
 * Ours writes more than theirs: beside the message's row, its report, and its change for the app.
 */
import { setTimeout as delay } from 'node:timers/promises'
import postgres from 'postgres'
import { addRows, createTable, type Site } from '../alternatives/alternative.ts'
import { type AlternativeName, alternatives } from '../alternatives/registry.ts'
import { type Bench, cut, type Row } from '../bench.ts'
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

const BODY = 1000
const LOOK_EVERY_MS = 50
/** All are added by the time they come due: ours adds at least this many in a millisecond, the slowest other this many. */
const ADDED_PER_MS = { ours: 6, others: 1.5 }
const ADDED_WITHIN_MS = 300

export interface Settled {
  perSecond: number
  /** Of Postgres, for a settled message with its report and its change; only for ours. */
  bytes?: number
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
  const wrong = [ours, ...results.values()].reduce((sum, settled) => sum + settled.wrong, 0)
  return [
    ...rows,
    against('naive BullMQ', 6.5),
    against('cron, a tick a second', 20),
    against('cron without pause'),
    against('graphile-worker'),
    against('pg-boss'),
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
    const perSecond = await settleLots({
      sandbox,
      lots,
      add,
      addedPerMs: ADDED_PER_MS.ours,
      isDone: () => isSettled(installation),
    })
    return { perSecond, ...(await judge(sandbox, await findStatuses(installation))) }
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
  const site: Site = { databaseUrl, redisUrl: services.redisUrl, provider, polling: accountOf(sandbox).polling }
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
    const perSecond = await settleLots({ sandbox, lots, add, addedPerMs: ADDED_PER_MS.others, isDone })
    const rows = await sql<{ id: string; status: null }[]>`
      SELECT message_id AS id, CASE WHEN final THEN status END AS status FROM messages`
    return { perSecond, ...(await judge(sandbox, rows)) }
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
  isDone(): Promise<boolean>
}

/** Settles lot after lot, and returns the messages a second of the last one. */
async function settleLots({ sandbox, lots, add, addedPerMs, isDone }: Lots): Promise<number> {
  let perSecond = Number.NaN
  for (const size of lots.filter((lot) => lot > 0)) {
    const dueAt = new Date(Date.now() + ADDED_WITHIN_MS + size / addedPerMs)
    await add(await sandbox.send(size, anHourAgo()), dueAt)
    if (dueAt.getTime() < Date.now()) throw new Error(`${size} messages were due before all of them had been added.`)
    perSecond = await rateFrom(dueAt, size, isDone)
  }
  return perSecond
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

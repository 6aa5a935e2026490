/**
 * Webhooks: requests a second with 64 kept-alive connections, one receipt in each, and how long the slowest hundredth
 * takes; against a bare route that stores nothing and one that runs a statement a request. The receipts are the true
 * ones of a sandbox, and the rows that ours and one-statement have made of them are compared with its truth.
 */
import postgres from 'postgres'
import { addRows, createTable } from '../alternatives/alternative.ts'
import type { Bench, Row } from '../bench.ts'
import {
  accountOf,
  findStatuses,
  type Installation,
  openInstallation,
  startService,
  trackDueAt,
} from '../installation.ts'
import { benchFile, startProcess } from '../processes.ts'
import { anHourAgo, countWrong, openSandbox, type Sandbox } from '../sandbox.ts'
import { cpuOf, microsecondsEach } from '../usage.ts'

const CONNECTIONS = 64
const RECEIVER = benchFile('webhook-receiver-process.js')
const receiving = /receiving at (\S+) /

interface Load {
  perSecond: number
  p50Ms: number
  p99Ms: number
  refused: number
  wrong: number
  /** CPU microseconds of the API, Postgres and Redis for a receipt; only for ours. */
  cpuUs?: number
}

export async function measureWebhooks(bench: Bench): Promise<Row[]> {
  const { services, counts } = bench
  const bare = await loadBare(counts.webhooks)
  bench.say('webhooks: one statement a request')
  const oneStatement = await loadOneStatement(bench, counts.webhooksOneStatement)
  bench.say('webhooks: Lastword')
  const installation = await openInstallation(services)
  const ours = await receiveIn(bench, installation, counts.webhooks).finally(installation.close)
  const wrong = ours.wrong + oneStatement.wrong + bare.refused + oneStatement.refused + ours.refused
  return [
    figureOf('Lastword', ours),
    figureOf('bare route', bare),
    figureOf('one statement a request', oneStatement),
    against('bare route', (100 * ours.perSecond) / bare.perSecond, '%', { atLeast: 40 }),
    against('one statement a request', ours.perSecond / oneStatement.perSecond, '×', { atLeast: 1.6 }),
    against("bare route's p99", ours.p99Ms / bare.p99Ms, '×', { atMost: 3 }),
    {
      measure: 'webhooks: CPU time of all processes',
      value: ours.cpuUs ?? Number.NaN,
      unit: 'µs/receipt',
    },
    { measure: 'webhooks: refused requests and wrong rows', value: wrong, unit: 'rows', goal: { atMost: 0 } },
  ]
}

function figureOf(name: string, { perSecond, p50Ms, p99Ms }: Load): Row {
  return { measure: `webhooks: ${name}`, value: perSecond, unit: 'requests/s', details: { p50Ms, p99Ms } }
}

function against(name: string, value: number, unit: string, goal: NonNullable<Row['goal']>): Row {
  return { measure: `webhooks: against ${name}`, value, unit, goal }
}

/** Sends receipts of new messages to an installation that may hold others. */
export async function receiveIn({ services }: Bench, installation: Installation, count: number): Promise<Load> {
  const sandbox = await openSandbox()
  const api = await startService('api', { services, installation, sandbox })
  try {
    const messageIds = await sandbox.send(count, anHourAgo())
    const dueAt = new Date(Date.now() + 2 * 3_600_000)
    await trackDueAt(installation, accountOf(sandbox), messageIds, { sentAt: anHourAgo(), dueAt })
    const { result, cpuUs } = await microsecondsEach(cpuOf(services, [api.pid]), count, () =>
      sendTo(sandbox, `${api.url}/webhooks/seven`),
    )
    return { ...result, cpuUs, wrong: countWrong(await sandbox.truths(), await findStatuses(installation)) }
  } finally {
    await Promise.all([api.stop(), sandbox.close()])
  }
}

async function loadBare(count: number): Promise<Load> {
  const sandbox = await openSandbox()
  const receiver = await startProcess(RECEIVER, { args: ['bare'], ready: receiving })
  try {
    await sandbox.send(count, anHourAgo())
    return { ...(await sendTo(sandbox, `${receiver.ready[1]}/webhooks/seven`)), wrong: 0 }
  } finally {
    await Promise.all([receiver.stop(), sandbox.close()])
  }
}

async function loadOneStatement({ services }: Bench, count: number): Promise<Load> {
  const sandbox = await openSandbox()
  const databaseUrl = await services.createDatabase('empty')
  await createTable(databaseUrl)
  const sql = postgres(databaseUrl, { max: 1 })
  const receiver = await startProcess(RECEIVER, { args: ['one-statement', databaseUrl], ready: receiving })
  try {
    const dueAt = new Date(Date.now() + 3_600_000)
    const messageIds = await sandbox.send(count, anHourAgo())
    await addRows(
      sql,
      messageIds.map((messageId) => ({ messageId, dueAt })),
    )
    const load = await sendTo(sandbox, `${receiver.ready[1]}/webhooks/seven`)
    const rows = await sql<{ id: string; status: null }[]>`SELECT message_id AS id, status FROM messages`
    return { ...load, wrong: countWrong(await sandbox.truths(), rows) }
  } finally {
    await sql.end()
    await Promise.all([receiver.stop(), sandbox.close()])
    await services.dropDatabase(databaseUrl)
  }
}

async function sendTo(sandbox: Sandbox, target: string): Promise<Omit<Load, 'wrong'>> {
  const args = [sandbox.url, target, String(CONNECTIONS)]
  const { ended } = await startProcess(benchFile('webhook-load-process.js'), { args, ready: /perSecond/ })
  return JSON.parse(await ended)
}

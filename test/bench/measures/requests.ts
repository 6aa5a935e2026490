/**
 * Requests to the provider for each message that settles, against naive BullMQ: the same messages with the same fates,
 * the same schedule, at the same time, each asking a sandbox of its own. The detection delay, from the moment a message
 * becomes final until the provider first says so in an answer, is measured too, since fewer requests are worth nothing
 * if they come later.
 */
import { setTimeout as delay } from 'node:timers/promises'
import postgres from 'postgres'
import { type ExponentialPolicy, nextPollAt, windowOf } from '../../../src/core/polling.ts'
import type { Law } from '../../../src/sandbox/law.ts'
import { track } from '../../../src/tracking.ts'
import { readOrder } from '../../../src/tracking-order.ts'
import { addRows, createTable, type Site } from '../alternatives/alternative.ts'
import { naiveBullmq } from '../alternatives/naive-bullmq.ts'
import { type Bench, mean, type Row } from '../bench.ts'
import { ACCOUNT, accountOf, type Installation, isSettled, openInstallation, startService } from '../installation.ts'
import { benchFile, startProcess } from '../processes.ts'
import { openSandbox, type Sandbox } from '../sandbox.ts'

const LOTS_PER_S = 4
const SEED = 5
const LOOK_EVERY_MS = 250

interface Asked {
  perMessage: number
  delayMs: number
}

export async function measureRequests(bench: Bench): Promise<Row[]> {
  const installation = await openInstallation(bench.services)
  const both = Promise.all([askWithLastword(bench, installation), askWithNaive(bench)])
  const [ours, naive] = await both.finally(installation.close)
  const ratio = naive.perMessage / ours.perMessage
  return [
    figureOf('Lastword', ours),
    figureOf('naive BullMQ', naive),
    { measure: "requests: naive's for one of ours", value: ratio, unit: '×', goal: { atLeast: 50 } },
    { measure: 'requests: detection delay against naive', value: ours.delayMs / naive.delayMs, unit: '×' },
  ]
}

function figureOf(name: string, { perMessage, delayMs }: Asked): Row {
  return { measure: `requests: ${name}`, value: perMessage, unit: 'a message', details: { detectionDelayMs: delayMs } }
}

function lawOf(scale: number): Partial<Law> {
  return {
    components: [{ share: 1, medianMs: 1_000 * scale, sigma: 0.6 }],
    expiredShare: 0.02,
    neverShare: 0,
    failureShare: 0.1,
    validityMs: 4_000 * scale,
  }
}

function backoffOf(scale: number): ExponentialPolicy {
  return {
    policy: 'exponential',
    firstAfterMs: 1_000 * scale,
    factor: 1.5,
    maxIntervalMs: 2_000 * scale,
    windowMs: 3_600_000,
  }
}

/** The same as an account's setting. */
function pollingOf(scale: number): object {
  const { firstAfterMs, factor, maxIntervalMs } = backoffOf(scale)
  return { firstAfter: `${firstAfterMs}ms`, factor, maxInterval: `${maxIntervalMs}ms`, window: '1h' }
}

async function askWithLastword({ services, counts }: Bench, installation: Installation): Promise<Asked> {
  const sandbox = await openSandbox(lawOf(counts.requestsScale), SEED)
  const settings = { polling: pollingOf(counts.requestsScale) }
  const account = accountOf(sandbox, settings)
  const worker = await startService('worker', { services, installation, sandbox, account: settings })
  try {
    await sendLots({ counts }, sandbox, async (messageIds, sentAt) => {
      const messages = messageIds.map((messageId) => ({ messageId, sentAt: sentAt.toISOString() }))
      const order = readOrder({ account: ACCOUNT, messages }, 'order')
      await track(installation.database.db, new Map([[ACCOUNT, account]]), order)
    })
    while (!(await isSettled(installation))) await delay(LOOK_EVERY_MS)
    return await judge(sandbox)
  } finally {
    await Promise.all([worker.stop(), sandbox.close()])
  }
}

async function askWithNaive({ services, counts }: Bench): Promise<Asked> {
  const sandbox = await openSandbox(lawOf(counts.requestsScale), SEED)
  const databaseUrl = await services.createDatabase('empty')
  await createTable(databaseUrl)
  const { url, apiKey } = sandbox
  const polling = backoffOf(counts.requestsScale)
  const site: Site = { databaseUrl, redisUrl: services.redisUrl, provider: { url, apiKey }, polling }
  const sql = postgres(databaseUrl, { max: 1 })
  const args = ['naive BullMQ', JSON.stringify(site)]
  const worker = await startProcess(benchFile('alternatives/worker-process.js'), { args, ready: /working/ })
  const scheduler = await naiveBullmq.openScheduler(site)
  try {
    await sendLots({ counts }, sandbox, async (messageIds, sentAt) => {
      const moment = { ...windowOf(polling, sentAt.getTime()), now: Date.now(), polls: 0 }
      const messages = messageIds.map((messageId) => ({
        messageId,
        dueAt: new Date(nextPollAt(polling, { ...moment, random: Math.random() })),
      }))
      await addRows(sql, messages)
      await scheduler.add(messages)
    })
    while ((await sql`SELECT FROM messages WHERE NOT final LIMIT 1`).length > 0) await delay(LOOK_EVERY_MS)
    return await judge(sandbox)
  } finally {
    await Promise.all([worker.stop(), sandbox.close(), scheduler.close(), sql.end()])
    await services.dropDatabase(databaseUrl)
  }
}

/** Sends messages evenly over the time of the measure, and hands each lot over as an app would. */
async function sendLots(
  { counts }: Pick<Bench, 'counts'>,
  sandbox: Sandbox,
  handOver: (messageIds: string[], sentAt: Date) => Promise<void>,
): Promise<void> {
  const lots = counts.requestsOverS * LOTS_PER_S
  const begun = Date.now()
  for (let lot = 0; lot < lots; lot += 1) {
    const sentAt = new Date()
    await handOver(await sandbox.send(Math.ceil(counts.requests / lots), sentAt), sentAt)
    await delay(begun + ((lot + 1) * 1000) / LOTS_PER_S - Date.now())
  }
}

async function judge(sandbox: Sandbox): Promise<Asked> {
  const truths = await sandbox.truths()
  const delays = truths.flatMap(({ finalAt, toldFinalAt }) =>
    finalAt && toldFinalAt ? [Date.parse(toldFinalAt) - Date.parse(finalAt)] : [],
  )
  return { perMessage: (await sandbox.requests()) / delays.length, delayMs: mean(delays) }
}

/**
 * Two workers against one when the provider is the slow part: it takes its time for an answer, and gets ten IDs a request.
 * One worker has at most a hundred requests of an account under way, which is what limits it here: an account's rate holds
 * for all workers together and cannot be the bound.
 */
import type { Bench, Row } from '../bench.ts'
import { accountOf, findStatuses, isSettled, openInstallation, startService, trackDueAt } from '../installation.ts'
import { anHourAgo, countWrong, openSandbox } from '../sandbox.ts'
import { rateFrom } from './settle.ts'

const SETTINGS = { batchSize: 10, timeout: '5s' }
const ADDED_WITHIN_MS = 1_000

export async function measureTwoWorkers(bench: Bench): Promise<Row[]> {
  const one = await settleWithWorkers(bench, 1)
  const two = await settleWithWorkers(bench, 2)
  return [
    { measure: 'workers: one, slow provider', value: one, unit: 'messages/s' },
    { measure: 'workers: two, slow provider', value: two, unit: 'messages/s' },
    { measure: 'workers: two against one', value: two / one, unit: '×', goal: { atLeast: 1.8 } },
  ]
}

async function settleWithWorkers({ services, counts }: Bench, workers: number): Promise<number> {
  const installation = await openInstallation(services)
  const sandbox = await openSandbox()
  await sandbox.turn({ latencyMs: counts.slowAnswerMs })
  const options = { services, installation, sandbox, account: SETTINGS }
  const running = await Promise.all(Array.from({ length: workers }, () => startService('worker', options)))
  try {
    const messageIds = await sandbox.send(counts.twoWorkers, anHourAgo())
    const dueAt = new Date(Date.now() + ADDED_WITHIN_MS)
    await trackDueAt(installation, accountOf(sandbox, SETTINGS), messageIds, { sentAt: anHourAgo(), dueAt })
    const rate = await rateFrom(dueAt, counts.twoWorkers, () => isSettled(installation))
    const wrong = countWrong(await sandbox.truths(), await findStatuses(installation))
    if (wrong > 0) throw new Error(`${wrong} rows disagree with the truth.`)
    return rate
  } finally {
    await Promise.all(running.map(({ stop }) => stop()))
    await sandbox.close()
    await installation.close()
  }
}

/**
 * Neighbours: whether an account with very many due messages, whose provider is down and then comes back, holds up another
 * account of the same worker, and whether its provider is stormed afterwards.
 *
 * The crowd is due all at once; its provider knows none of the messages, so that they stay outstanding and are asked about
 * again. The neighbour's messages are final at once, and come due when the measure says.
 */
import { setTimeout as delay } from 'node:timers/promises'
import type { Bench, Row } from '../bench.ts'
import {
  accountOf,
  fillOutstanding,
  type Installation,
  makeDue,
  openInstallation,
  startService,
  trackDueAt,
} from '../installation.ts'
import { anHourAgo, countWrong, openSandbox, type Sandbox } from '../sandbox.ts'

const NEIGHBOUR = 'neighbour'
/** The crowd's budget, in requests a second. */
const BUDGET = 20
const LOOK_EVERY_MS = 50
const ADDED_WITHIN_MS = 500

export async function measureNeighbours(bench: Bench): Promise<Row[]> {
  const { services, counts, say } = bench
  const installation = await openInstallation(services)
  const [crowd, neighbour] = [await openSandbox(), await openSandbox()]
  const worker = await startService('worker', {
    services,
    installation,
    sandbox: crowd,
    account: { requestsPerSecond: BUDGET },
    others: [accountSettings(neighbour)],
  })
  try {
    const settle = () => settleNeighbour(installation, neighbour, counts.neighbours)
    await settle()
    const alone = await settle()
    say(`neighbours: filling ${counts.crowd}`)
    await fillOutstanding(installation, counts.crowd)
    await crowd.turn({ serverErrors: 1 })
    await makeDue(installation, { share: 1, withinS: 0 })
    await delay(counts.downMs)
    const asked = await crowd.requests()
    const down = await settle()
    await crowd.turn({ serverErrors: 0 })
    say('neighbours: the provider is back')
    const seconds = await requestsBySecond(crowd, counts.afterwardsS)
    const afterwards = await settle()
    const wrong = countWrong(await neighbour.truths(), await statusesOf(installation))
    return [
      { measure: `neighbours: ${counts.neighbours} messages alone`, value: alone, unit: 's' },
      againstAlone(`${counts.crowd} due at a provider that is down`, down, alone),
      againstAlone(`${counts.crowd} due at a provider that is back`, afterwards, alone),
      {
        measure: 'neighbours: requests a second to the provider that is down',
        value: asked / (counts.downMs / 1000),
        unit: 'requests/s',
        // One more second's budget may begin within that time than there are seconds in it.
        goal: { atMost: BUDGET * (1 + 1000 / counts.downMs) },
      },
      {
        measure: 'neighbours: requests in the fullest second afterwards against the budget',
        value: Math.max(...seconds) / BUDGET,
        unit: '×',
        // A second of ours may begin within one of the provider's.
        goal: { atMost: 2 },
        details: Object.fromEntries(seconds.map((requests, second) => [`second ${second + 1}`, requests])),
      },
      {
        measure: "neighbours: rows that disagree with the sandbox's truth",
        value: wrong,
        unit: 'rows',
        goal: { atMost: 0 },
      },
    ]
  } finally {
    await worker.stop()
    await Promise.all([crowd.close(), neighbour.close()])
    await installation.close()
  }
}

function againstAlone(beside: string, seconds: number, alone: number): Row {
  return {
    measure: `neighbours: beside ${beside}, against alone`,
    value: seconds / alone,
    unit: '×',
    goal: { atMost: 1.5 },
  }
}

function accountSettings({ url: baseUrl, apiKey }: Sandbox) {
  return { name: NEIGHBOUR, provider: 'seven', apiKey, baseUrl, requestsPerSecond: 1000, timeout: '3s' }
}

/** Seconds from the moment so many messages come due until the last of them is final. */
async function settleNeighbour(installation: Installation, sandbox: Sandbox, count: number): Promise<number> {
  const messageIds = await sandbox.send(count, anHourAgo())
  const dueAt = new Date(Date.now() + ADDED_WITHIN_MS)
  const account = { ...accountOf(sandbox), name: NEIGHBOUR }
  await trackDueAt(installation, account, messageIds, { sentAt: anHourAgo(), dueAt })
  while ((await statusesOf(installation)).some(({ status }) => status === null)) await delay(LOOK_EVERY_MS)
  return (Date.now() - dueAt.getTime()) / 1000
}

function statusesOf({ sql }: Installation) {
  return sql<{ id: string; status: 'delivered' | null }[]>`
    SELECT message_id AS id, CASE WHEN final THEN status END AS status FROM lastword.messages WHERE account = ${NEIGHBOUR}`
}

async function requestsBySecond(sandbox: Sandbox, seconds: number): Promise<number[]> {
  const counts = [await sandbox.requests()]
  while (counts.length <= seconds) {
    await delay(1_000)
    counts.push(await sandbox.requests())
  }
  return counts.slice(1).map((count, index) => count - (counts[index] ?? 0))
}

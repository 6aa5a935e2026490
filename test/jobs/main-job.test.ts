/** The main job: ten thousand messages, webhooks for half of them, and every one ends with its true status. */
import { afterEach, describe, expect, it } from 'vitest'
import type { BatchJob } from '../../src/jobs/status-query-jobs.ts'
import {
  allSettled,
  BACKENDS,
  closeAll,
  messageStates,
  openSandbox,
  type Service,
  sevenAccount,
  startService,
  statusesOf,
  trackOver,
  truthsOf,
  until,
} from '../support/service.ts'

afterEach(closeAll)

const MESSAGES = 10_000
const BODY = 1_000
const BATCH = 100
/** Most messages are final after four to thirteen seconds, so that their receipts do not all come at once. */
const LAW = {
  components: [{ share: 0.96, medianMs: 8_000, sigma: 0.4 }],
  expiredShare: 0.02,
  neverShare: 0.02,
  validityMs: 13_000,
}
const POLLING = { firstAfter: '11s', factor: 1, maxInterval: '3s', window: '22s' }
describe.each(BACKENDS)('with the queues in %s', (backend) => {
  it('finds the true status of 10,000 messages, webhooks or not', { timeout: 90_000 }, async () => {
    const sandbox = await openSandbox({ seed: 11, law: LAW, knobs: { webhookLossPerMessage: 0.5 } })
    const account = sevenAccount(sandbox, { requestsPerSecond: 50, polling: POLLING })
    const service = await startService({ backend, accounts: [account] })
    for (let sent = 0; sent < MESSAGES; sent += BODY) await trackOver(service.url, sandbox.send(BODY))
    // Most of the receipts from here on are final ones: those before them have come due without a URL.
    await until(() => {
      const accepted = sandbox.truths().filter(({ status }) => status === 'accepted')
      expect(accepted.length).toBeLessThan(MESSAGES / 100)
    })
    sandbox.set({ webhookUrl: `${service.url}/webhooks/seven` })

    await allSettled(service, 'seven', 60_000)
    expect(await statusesOf(service)).toEqual(truthsOf(sandbox))
    const { requests, idsAsked, idsPerRequest, wrongKeys, unknownIdsAsked } = sandbox.stats()
    const full = idsPerRequest[BATCH] ?? 0
    console.log(
      `${backend}: ${requests} requests asked ${idsAsked} times about ${MESSAGES} messages, ` +
        `${(idsAsked / requests).toFixed(1)} IDs a request, ${full} of them full`,
    )
    expect({ wrongKeys, unknownIdsAsked }).toEqual({ wrongKeys: 0, unknownIdsAsked: 0 })

    const settledBy = groupBy(await messageStates(service), (state) => state.settledBy)
    expect([...settledBy.keys()].sort()).toEqual(['poll', 'webhook', 'window'])
    // How many a webhook settles first is a matter of the machine's speed, but none is lost that was to come.
    expect(settledBy.get('webhook')?.length).toBeGreaterThan(MESSAGES / 100)
    expect(sandbox.truths().filter(({ receipts }) => receipts.length > 0).length).toBeGreaterThan(MESSAGES * 0.3)
    expect(settledBy.get('poll')?.length).toBeGreaterThan(MESSAGES / 4)

    const batches = await runBatches(service)
    expect(askedInVain(sandbox.truths(), batches)).toEqual([])
    expectFullBatches(batches)
    expect(Math.max(...Object.keys(idsPerRequest).map(Number))).toBe(BATCH)
    await expectNothingLeft(service)
  })
})

function groupBy<T, K>(items: readonly T[], keyOf: (item: T) => K): Map<K, T[]> {
  const groups = new Map<K, T[]>()
  for (const item of items) groups.set(keyOf(item), [...(groups.get(keyOf(item)) ?? []), item])
  return groups
}

type Truths = Awaited<ReturnType<typeof openSandbox>>['truths']

/** A batch that was asked about, and when its job began and ended. */
interface RunBatch extends Pick<BatchJob, 'messageIds'> {
  begun: number
  ended: number
}

async function runBatches({ queue }: Service): Promise<RunBatch[]> {
  const jobs = await queue('status-query.seven').getCompleted(0, -1)
  return jobs.map(({ data, processedOn: begun = Number.NaN, finishedOn: ended = Number.NaN }) => {
    const { messageIds } = data as BatchJob
    return { messageIds, begun, ended }
  })
}

/**
 * The messages that were asked about although a webhook, or the answer to a poll, had settled them before the job began.
 * A job looks again just before it asks, so that only what settles after that can be asked about in vain.
 */
function askedInVain(truths: ReturnType<Truths>, batches: readonly RunBatch[]) {
  const ofMessage = groupBy(
    batches.flatMap(({ messageIds, ...times }) => messageIds.map((messageId) => ({ messageId, ...times }))),
    ({ messageId }) => messageId,
  )
  return truths.flatMap(({ messageId, history, receipts, askedAt, toldFinalAt, finalStatus }) => {
    const own = ofMessage.get(messageId) ?? []
    const askedBy = ({ begun, ended }: (typeof own)[number], at: Date) => +at >= begun && +at <= ended
    const final = finalStatus && history.at(-1)?.status
    const byWebhook = receipts.find(({ status }) => status === final)?.acknowledgedAt?.getTime() ?? Infinity
    const byPoll = toldFinalAt ? (own.find((batch) => askedBy(batch, toldFinalAt))?.ended ?? Infinity) : Infinity
    const settledAt = Math.min(byWebhook, byPoll)
    const late = own.filter((batch) => batch.begun > settledAt && askedAt.some((at) => askedBy(batch, at)))
    return late.length > 0 ? [{ messageId, lateBy: late.map(({ begun }) => begun - settledAt) }] : []
  })
}

/** Every claim may leave one batch that is not full; most IDs are asked about in full ones. */
function expectFullBatches(batches: readonly RunBatch[]) {
  const claimed = batches.reduce((sum, { messageIds }) => sum + messageIds.length, 0)
  const inFull = batches.filter(({ messageIds }) => messageIds.length === BATCH).length * BATCH
  expect(inFull / claimed).toBeGreaterThan(0.8)
  for (const { messageIds } of batches) expect(new Set(messageIds).size).toBe(messageIds.length)
}

async function expectNothingLeft({ sql, queue }: Service) {
  const counts = (name: string) => queue(name).getJobCounts('waiting', 'active', 'delayed', 'prioritized', 'failed')
  const none = { waiting: 0, active: 0, delayed: 0, prioritized: 0, failed: 0 }
  await until(async () => expect(await counts('status-query.seven')).toEqual(none))
  expect(await counts('track')).toEqual(none)
  for (const name of ['dispatch', 'expire']) {
    await until(async () => expect(await counts(name)).toEqual({ ...none, delayed: 1 }))
  }
  const [left] = await sql`
    SELECT count(*) FILTER (WHERE due_at IS NOT NULL)::int AS due, count(*)::int AS all,
      (SELECT count(*)::int FROM lastword.batches) AS batches
    FROM lastword.messages`
  expect(left).toEqual({ due: 0, all: MESSAGES, batches: 0 })
}

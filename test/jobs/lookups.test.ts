/** The look-ups: a bad ID found by halving, an account that is refused, a status query switched off, sweeps by window. */
import { afterEach, describe, expect, it } from 'vitest'
import { makeDue } from '../support/schedule.ts'
import {
  allSettled,
  closeAll,
  messageStates,
  minutesAgo,
  ONE_MINUTE,
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

async function accountHealth({ url }: Service): Promise<Record<string, unknown> | undefined> {
  const { accounts } = (await (await fetch(`${url}/v1/accounts`)).json()) as { accounts: Record<string, unknown>[] }
  return accounts[0]
}

describe('the look-ups of an account', () => {
  it('finds the one bad ID of a batch by halving, and asks about it alone from then on', async () => {
    const sandbox = await openSandbox({ law: ONE_MINUTE })
    const sentAt = minutesAgo(10)
    const messageIds = sandbox.send(100, { sentAt })
    const bad = messageIds[37] ?? ''
    sandbox.set({ poisonIds: [bad] })
    const service = await startService({ accounts: [sevenAccount(sandbox, { requestsPerSecond: 100 })] })
    await trackOver(service.url, messageIds, { sentAt })

    await until(async () => {
      const states = await messageStates(service)
      expect(states.filter(({ final }) => final)).toHaveLength(99)
      expect(states.find(({ messageId }) => messageId === bad)).toMatchObject({ polls: 1, batch: null, final: false })
    })
    // One for the whole, then two for each halving, of which seven lead from 100 to 1.
    expect(sandbox.stats().requests).toBeLessThanOrEqual(1 + 2 * 7)
    const answer = await fetch(`${service.url}/v1/messages/seven/${bad}`)
    expect(await answer.json()).toMatchObject({ status: null, queryError: expect.stringContaining('600') })

    const others = sandbox.send(50, { sentAt })
    await makeDue(service.sql, [bad])
    await trackOver(service.url, others, { sentAt })
    await until(async () => {
      const states = await messageStates(service)
      expect(states.filter(({ final }) => final)).toHaveLength(149)
      expect(states.find(({ messageId }) => messageId === bad)).toMatchObject({ polls: 2 })
    })
    expect(sandbox.stats().idsPerRequest).toMatchObject({ 50: expect.any(Number) })

    sandbox.set({ poisonIds: [] })
    await makeDue(service.sql, [bad])
    await allSettled(service)
    expect(await statusesOf(service)).toEqual(truthsOf(sandbox))
  })

  it('stops asking for a refused account, says so, tries again with one job, and loses nothing', async () => {
    const sandbox = await openSandbox({ law: ONE_MINUTE, knobs: { errorCode: { share: 1, code: 900 } } })
    const sentAt = minutesAgo(10)
    const messageIds = sandbox.send(600, { sentAt })
    const account = sevenAccount(sandbox, { requestsPerSecond: 1, timeout: '2s' })
    const service = await startService({ accounts: [account] })
    await trackOver(service.url, messageIds, { sentAt })
    await until(async () => expect(await accountHealth(service)).toMatchObject({ status: 'refused' }))
    expect(await accountHealth(service)).toEqual({
      account: 'seven',
      provider: 'seven',
      query: 'auto',
      lookup: 'status',
      status: 'refused',
      trouble: expect.stringContaining('the API key is wrong'),
      troubleSince: expect.any(String),
      pausedUntil: expect.any(String),
      lastGoodAnswer: null,
      noGoodAnswerSince: expect.any(String),
      lastError: expect.stringContaining('the API key is wrong'),
      pausedQueues: [],
      requestsPerSecond: 1,
      requestsLastMinute: expect.any(Number),
      webhookRoute: { state: 'unproved', since: expect.any(String), lost: 0, lagP95: null },
      schedule: { policy: 'learned', price: 300, webhookLoss: 1, finalsSeen: 0 },
    })
    const refused = sandbox.stats().requests
    expect(refused).toBeLessThanOrEqual(2)
    expect((await messageStates(service)).filter(({ final }) => final)).toEqual([])

    sandbox.set({ errorCode: { share: 0 } })
    expect((await fetch(`${service.url}/v1/messages/seven/${messageIds[500]}/poll`, { method: 'POST' })).status).toBe(
      202,
    )
    await allSettled(service, 'seven', 25_000)
    expect(await statusesOf(service)).toEqual(truthsOf(sandbox))
    expect(await accountHealth(service)).toMatchObject({ status: 'ok', trouble: null, pausedUntil: null })
  })

  it('moves to the logbook when the status query is switched off in mid-run, and every message ends true', async () => {
    const law = {
      components: [{ share: 0.97, medianMs: 3_000, sigma: 0.5 }],
      expiredShare: 0.03,
      neverShare: 0,
      validityMs: 9_000,
    }
    const sandbox = await openSandbox({ seed: 5, law })
    const polling = { firstAfter: '2s', factor: 1.2, maxInterval: '4s', window: '60s' }
    const account = sevenAccount(sandbox, { requestsPerSecond: 50, polling })
    const service = await startService({ accounts: [account] })
    for (let body = 0; body < 3; body++) await trackOver(service.url, sandbox.send(250))
    await until(async () => expect(sandbox.stats().answered).toBeGreaterThan(0))
    sandbox.set({ statusQuery: 'gone410' })
    await trackOver(service.url, sandbox.send(250))

    await allSettled(service, 'seven', 25_000)
    expect(await statusesOf(service)).toEqual(truthsOf(sandbox))
    expect(await accountHealth(service)).toMatchObject({ query: 'auto', lookup: 'logbook', status: 'ok' })
    expect(sandbox.stats().logbook.requests).toBeGreaterThan(0)
    // Each ID alone would have taken hundreds of requests for every round of polling.
    expect(sandbox.stats().logbook.requests).toBeLessThan(500)
  })
})

it('finds many IDs at fault beside each other, and settles all the others', { timeout: 60_000 }, async () => {
  const sandbox = await openSandbox({ law: ONE_MINUTE })
  const sentAt = minutesAgo(10)
  const messageIds = sandbox.send(400, { sentAt })
  const poisonIds = messageIds.filter((_id, index) => index % 10 === 3)
  sandbox.set({ poisonIds })
  const service = await startService({ accounts: [sevenAccount(sandbox, { requestsPerSecond: 100 })] })
  await trackOver(service.url, messageIds, { sentAt })
  await until(async () => {
    const [row] = await service.sql`
      SELECT count(*) FILTER (WHERE final)::int AS final, count(query_error)::int AS blamed FROM lastword.messages`
    expect(row).toEqual({ final: 360, blamed: 40 })
  }, 50_000)
  sandbox.set({ poisonIds: [] })
  await makeDue(service.sql)
  await allSettled(service)
  expect(await statusesOf(service)).toEqual(truthsOf(sandbox))
})

it('tries the first look-up once a day while another is in use, and goes back to it', { timeout: 60_000 }, async () => {
  const sandbox = await openSandbox({ law: ONE_MINUTE, knobs: { statusQuery: 'gone410' } })
  const sentAt = minutesAgo(10)
  const polling = { firstAfter: '1s', factor: 1, maxInterval: '1s' }
  const service = await startService({ accounts: [sevenAccount(sandbox, { requestsPerSecond: 50, polling })] })
  await trackOver(service.url, sandbox.send(20, { sentAt }), { sentAt })
  await allSettled(service, 'seven', 30_000)
  expect(await accountHealth(service)).toMatchObject({ lookup: 'logbook', status: 'ok' })

  const tryAgain = () => service.sql`UPDATE lastword.account_states SET health = health || '{"firstTriedAt":0}'`
  const { requests } = sandbox.stats()
  await tryAgain()
  await trackOver(service.url, sandbox.send(20, { sentAt }), { sentAt })
  await allSettled(service, 'seven', 30_000)
  // One message by the first look-up, in vain.
  expect(sandbox.stats().requests - requests).toBe(1)
  expect(await accountHealth(service)).toMatchObject({ lookup: 'logbook' })

  sandbox.set({ statusQuery: 'on' })
  await tryAgain()
  await trackOver(service.url, sandbox.send(20, { sentAt }), { sentAt })
  await allSettled(service, 'seven', 30_000)
  // A job notes a good answer after it has written what it said.
  await until(async () => expect(await accountHealth(service)).toMatchObject({ lookup: 'status', status: 'ok' }))
  expect(await statusesOf(service)).toEqual(truthsOf(sandbox))
})

/** Asking when it pays, as it runs: full requests, a webhook route that is watched, plans that change, and ask now. */
import { afterEach, expect, it } from 'vitest'
import { createClient } from '../../src/client/client.ts'
import {
  allSettled,
  closeAll,
  createInstallation,
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

const QUICK = {
  components: [{ share: 1, medianMs: 700, sigma: 0.3 }],
  expiredShare: 0,
  neverShare: 0,
  failureShare: 0,
}

async function accountOf({ url }: Service) {
  const { accounts } = (await (await fetch(`${url}/v1/accounts`)).json()) as {
    accounts: { webhookRoute: { state: string; since: string; lost: number; lagP95: number | null } }[]
  }
  return accounts[0]
}

it('asks in full requests, whatever the messages are worth alone, and learns from the answers', async () => {
  const sandbox = await openSandbox({ law: QUICK })
  const account = sevenAccount(sandbox, { requestsPerSecond: 50, polling: { price: '10s' } })
  const service = await startService({ accounts: [account] })
  for (let lot = 0; lot < 12; lot++) {
    const sentAt = new Date()
    await trackOver(service.url, sandbox.send(20, { sentAt }), { sentAt })
    await new Promise((resolve) => setTimeout(resolve, 250))
  }
  await allSettled(service)
  expect(await statusesOf(service)).toEqual(truthsOf(sandbox))
  // Each message alone, by any backoff, would have been a request or more; two hundred and forty share a few.
  expect(sandbox.stats().requests).toBeLessThan(30)
  const client = createClient({ url: service.url })
  await until(async () => {
    const schedule = await client.schedule('seven')
    expect(schedule).toMatchObject({
      account: 'seven',
      policy: 'learned',
      price: 10,
      webhookLoss: 1,
      finalsSeen: 240,
    })
    const byTwoSeconds = schedule.curve.filter(([age]) => age <= 3).at(-1)?.[1] ?? 0
    // The prior has a fifth by then.
    expect(byTwoSeconds).toBeGreaterThan(0.8)
    expect(schedule.alone.length).toBeLessThan(schedule.shared.length)
  })
})

it('notices that receipts stay away, says so once, polls instead, and steps back when they return', {
  timeout: 90_000,
}, async () => {
  const sandbox = await openSandbox({ law: QUICK })
  const account = sevenAccount(sandbox, { requestsPerSecond: 50, polling: { price: '1s' } })
  const service = await startService({ accounts: [account] })
  sandbox.set({ webhookUrl: `${service.url}/webhooks/seven` })
  const send = async (count: number) => {
    const sentAt = new Date()
    await trackOver(service.url, sandbox.send(count, { sentAt }), { sentAt })
  }
  expect((await accountOf(service))?.webhookRoute).toMatchObject({ state: 'unproved', lagP95: null })
  await send(100)
  await until(async () => {
    expect((await accountOf(service))?.webhookRoute).toMatchObject({ state: 'ok', lost: 0, lagP95: expect.any(Number) })
  })
  const metrics = async () => (await fetch(`${service.url}/metrics`)).text()
  expect(await metrics()).toContain('lastword_webhook_route_silent{account="seven"} 0')

  // A receipt that is still under way would come after later messages became final, and those would not count as lost.
  await until(() => {
    const under = sandbox.truths().filter(({ history, receipts }) => receipts.length < history.length)
    expect(under).toEqual([])
  })
  sandbox.set({ webhookUrl: null })
  await send(60)
  const silent = await until(async () => {
    const route = (await accountOf(service))?.webhookRoute
    expect(route?.state).toBe('silent')
    return route
  }, 60_000)
  expect(silent?.lost).toBeGreaterThanOrEqual(5)
  expect(await metrics()).toContain('lastword_webhook_route_silent{account="seven"} 1')
  await allSettled(service)
  expect(await statusesOf(service)).toEqual(truthsOf(sandbox))

  sandbox.set({ webhookUrl: `${service.url}/webhooks/seven` })
  await send(20)
  await until(async () => {
    expect((await accountOf(service))?.webhookRoute).toMatchObject({ state: 'ok', lost: 0 })
  })
})

it('asks CM.com by window when that pays: a sweep for many messages, none for each', async () => {
  const sandbox = await openSandbox({ law: QUICK })
  const account = {
    name: 'cm',
    provider: 'cm',
    productToken: sandbox.cm.productToken,
    baseUrl: sandbox.cm.url,
    requestsPerSecond: 5,
    timeout: '2s',
    polling: { price: '20s' },
  }
  const service = await startService({ accounts: [account] })
  for (let lot = 0; lot < 10; lot++) {
    const sentAt = new Date()
    const keys = sandbox.cm.send(
      Array.from({ length: 10 }, (_, index) => ({ recipients: [`44794600000${lot}${index}`] })),
    )
    await trackOver(
      service.url,
      keys.map(({ messageId }) => messageId),
      { account: 'cm', sentAt },
    )
    await new Promise((resolve) => setTimeout(resolve, 300))
  }
  await allSettled(service, 'cm')
  expect(sandbox.stats().cm.requests).toBeLessThan(10)
  const { webhookRoute } = (await accountOf(service)) ?? {}
  expect(webhookRoute).toMatchObject({ state: 'unproved' })
})

it('asks now at any price when somebody wants it, and fills the request', async () => {
  const sandbox = await openSandbox({ law: QUICK })
  const account = sevenAccount(sandbox, { polling: { price: '30d' } })
  const service = await startService({ accounts: [account] })
  const sentAt = new Date(Date.now() - 60_000)
  const messageIds = sandbox.send(5, { sentAt })
  await trackOver(service.url, messageIds, { sentAt })
  await new Promise((resolve) => setTimeout(resolve, 3_000))
  expect(sandbox.stats().requests).toBe(0)
  await createClient({ url: service.url }).poll('seven', messageIds[2] ?? '')
  await allSettled(service)
  expect(sandbox.stats()).toMatchObject({ requests: 1, idsPerRequest: { 5: 1 } })
})

it('brings outstanding messages forward when asking becomes cheaper', async () => {
  const installation = await createInstallation('redis')
  const sandbox = await openSandbox({ law: QUICK })
  const accountAt = (price: string) => sevenAccount(sandbox, { polling: { price } })
  const dear = await startService({ installation, accounts: [accountAt('30d')] })
  const sentAt = new Date()
  await trackOver(dear.url, sandbox.send(10, { sentAt }), { sentAt })
  const dueWithin = async (ms: number) => {
    const [row] = await installation.sql<{ due: number }[]>`
      SELECT count(*)::int AS due FROM lastword.due WHERE due_at < now() + ${ms} * interval '1 millisecond'`
    return row?.due
  }
  expect(await dueWithin(600_000)).toBe(0)
  await dear.close()
  const cheap = await startService({ installation, accounts: [accountAt('1s')] })
  await allSettled({ ...cheap })
  expect(await statusesOf(cheap)).toEqual(truthsOf(sandbox))
})

it('asks of messages that were tracked with a longer window as often as before', async () => {
  const installation = await createInstallation('redis')
  const sandbox = await openSandbox({ law: { ...QUICK, neverShare: 1 } })
  const accountAt = (window: string) => sevenAccount(sandbox, { polling: { window } })
  const before = await startService({ installation, accounts: [accountAt('30d')] })
  const sentAt = new Date(Date.now() - 5 * 86_400_000)
  await trackOver(before.url, sandbox.send(10, { sentAt }), { sentAt })
  await until(() => expect(sandbox.stats().requests).toBe(1))
  await before.close()
  await startService({ installation, accounts: [accountAt('3d')] })
  await new Promise((resolve) => setTimeout(resolve, 4_000))
  expect(sandbox.stats().requests).toBe(1)
})

it('brings messages forward that were tracked while nothing was asked, by the exponential policy, too', async () => {
  const installation = await createInstallation('redis')
  const sandbox = await openSandbox({ law: QUICK })
  const accountAt = (query: string) => sevenAccount(sandbox, { query, polling: { firstAfter: '1s' } })
  const silent = await startService({ installation, accounts: [accountAt('off')] })
  const sentAt = new Date(Date.now() - 60_000)
  await trackOver(silent.url, sandbox.send(10, { sentAt }), { sentAt })
  await silent.close()
  const service = await startService({ installation, accounts: [accountAt('auto')] })
  await allSettled({ ...service })
  expect(await statusesOf(service)).toEqual(truthsOf(sandbox))
})

/** Polling by time window: CM.com, and an invented provider that hands each report out once. */
import { once } from 'node:events'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { afterAll, afterEach, describe, expect, it } from 'vitest'
import type { Provider } from '../../src/providers/provider.ts'
import { providers } from '../../src/providers/registry.ts'
import type { CmKey } from '../../src/sandbox/cm/messages.ts'
import { pollsAndForgets, pollsAndForgetsFixture } from '../support/polls-and-forgets.ts'
import { openProxy } from '../support/proxy.ts'
import {
  allSettled,
  closeAll,
  closeLater,
  createInstallation,
  messageStates,
  minutesAgo,
  openSandbox,
  startService,
  trackOver,
  until,
} from '../support/service.ts'

afterEach(closeAll)

const registry = providers as Provider<never>[]
registry.push(pollsAndForgets as Provider<never>)
// Other files of this worker have the registry, too.
afterAll(() => void registry.pop())

const LAW = {
  components: [{ share: 0.98, medianMs: 3_000, sigma: 0.5 }],
  expiredShare: 0.02,
  neverShare: 0,
  validityMs: 9_000,
}
const POLLING = { firstAfter: '3s', factor: 1.2, maxInterval: '4s', window: '90s' }

async function trackCm(url: string, keys: readonly CmKey[]): Promise<void> {
  const severalRecipients = new Set(keys.map(({ messageId }) => messageId)).size < keys.length
  const messages = keys.map(({ messageId, recipient }) =>
    severalRecipients ? { messageId, recipient } : { messageId },
  )
  const response = await fetch(`${url}/v1/messages`, {
    method: 'POST',
    headers: { 'content-type': 'application/json' },
    body: JSON.stringify({ account: 'cm', messages }),
  })
  expect([response.status, await response.json()]).toEqual([202, { tracked: keys.length, alreadyTracked: 0 }])
}

it('settles 5,000 CM.com messages, 30 % of whose webhooks are lost, by sweeps', { timeout: 90_000 }, async () => {
  const sandbox = await openSandbox({
    seed: 8,
    law: LAW,
    knobs: { webhookLossPerMessage: 0.3, cmWebhookForm: 'xml' },
  })
  const account = {
    name: 'cm',
    provider: 'cm',
    productToken: sandbox.cm.productToken,
    webhookToken: 'a-token',
    baseUrl: sandbox.cm.url,
    requestsPerSecond: 5,
    timeout: '5s',
    polling: POLLING,
  }
  const service = await startService({ accounts: [account] })
  sandbox.set({ cmWebhookUrl: `${service.url}/webhooks/cm/a-token` })
  // Single recipients are tracked without naming them, the others by recipient.
  const single = Array.from({ length: 3_000 }, (_, index) => ({
    recipients: [`4479460${String(index).padStart(5, '0')}`],
  }))
  for (let sent = 0; sent < single.length; sent += 1_000) {
    await trackCm(service.url, sandbox.cm.send(single.slice(sent, sent + 1_000)))
  }
  let left = 2_000
  while (left > 0) {
    const recipients = ['31612345601', '31612345602']
    const keys = sandbox.cm.send(Array.from({ length: Math.min(left, 1_000) / 2 }, () => ({ recipients })))
    await trackCm(service.url, keys)
    left -= keys.length
  }

  await allSettled(service, 'cm', 60_000)
  const rows = await service.sql<{ messageId: string; recipient: string; status: string; settledBy: string }[]>`
    SELECT message_id AS "messageId", recipient_key AS recipient, status, settled_by AS "settledBy" FROM lastword.messages`
  expect(rows).toHaveLength(5_000)
  const wrong = rows.filter(({ messageId, recipient, status }) => {
    const truth = sandbox.cm.truth(messageId, recipient)
    return !truth?.finalStatuses.some((final) => final === status)
  })
  expect(wrong).toEqual([])
  const polled = rows.filter(({ settledBy }) => settledBy === 'poll').length
  expect(polled).toBeGreaterThan(1_000)
  const { requests, pages } = sandbox.stats().cm
  const polls = (await messageStates(service, 'cm')).reduce((sum, state) => sum + state.polls, 0)
  console.log(`${requests} requests (${pages} pages) for ${polls} polls; one request a poll would be ${polls}`)
  expect(requests).toBeLessThan(polls / 20)
})

describe('a provider of another kind', () => {
  /** Answers by path, and notes what it was asked for. */
  async function openThird(query: string, answer: (url: URL) => { status?: number; body: unknown }) {
    const asked: string[] = []
    const provider = createServer((request, response) => {
      const url = new URL(request.url ?? '', 'http://localhost')
      asked.push(url.pathname + (url.searchParams.has('day') ? url.search : (url.searchParams.get('cursor') ?? '')))
      const { status = 200, body } = answer(url)
      response.writeHead(status).end(JSON.stringify(body))
    }).listen(0, '127.0.0.1')
    await once(provider, 'listening')
    closeLater(async () => provider.close())
    const baseUrl = `http://127.0.0.1:${(provider.address() as AddressInfo).port}`
    const polling = { firstAfter: '6m', factor: 10, maxInterval: '1h' }
    const accounts = [
      { ...pollsAndForgetsFixture.entry, name: 'third', baseUrl, query, polling, requestsPerSecond: 100 },
    ]
    const service = await startService({ accounts, environment: { PUBLIC_URL: 'https://example.com' } })
    return { asked, service }
  }

  it('is asked page by page, as it names them', async () => {
    const ids = Array.from({ length: 30 }, (_, index) => `m-${index}`)
    const { asked, service } = await openThird('pages', (url) => {
      const start = Number(Buffer.from(url.searchParams.get('cursor') ?? '', 'base64').toString() || 0)
      const reports = ids.slice(start, start + 10).map((id) => ({ id, state: 'arrived', at: Date.now() }))
      const next = start + 10 < ids.length ? { next: Buffer.from(String(start + 10)).toString('base64') } : {}
      return { body: { reports, waiting: 0, ...next } }
    })
    await trackOver(service.url, ids, { account: 'third', sentAt: minutesAgo(10) })
    await allSettled(service, 'third')
    expect(asked).toEqual(['/pages', '/pagesMTA=', '/pagesMjA='])
  })

  it('is asked by one ID and its day, and may know one not, and blame another', async () => {
    const sentAt = minutesAgo(10)
    const { asked, service } = await openThird('single', ({ pathname }) => {
      const id = pathname.split('/')[2]
      if (id === 'm-2') return { status: 404, body: {} }
      if (id === 'm-3') return { status: 422, body: { parameter: 'id' } }
      return { body: { reports: [{ id, state: 'arrived', at: Date.now() }], waiting: 0 } }
    })
    await trackOver(service.url, ['m-1', 'm-2', 'm-3', 'm-4'], { account: 'third', sentAt })
    const expectPolled = (...expected: [string | null, number][]) =>
      until(async () => {
        const states = await messageStates(service, 'third')
        expect(states.map(({ status, polls }) => [status, polls])).toEqual(expected)
      })
    await expectPolled(['delivered', 1], [null, 1], [null, 0], ['delivered', 1])
    // Only an answer about another message says whose fault it is.
    await trackOver(service.url, ['m-5'], { account: 'third', sentAt })
    await expectPolled(['delivered', 1], [null, 1], [null, 1], ['delivered', 1], ['delivered', 1])
    expect(asked).toContain(`/messages/m-2?day=${sentAt.toISOString().slice(0, 10)}`)
    const blamed = await (await fetch(`${service.url}/v1/messages/third/m-3`)).json()
    expect(blamed).toMatchObject({ queryError: 'the provider refuses the parameter id' })
    const { accounts } = (await (await fetch(`${service.url}/v1/accounts`)).json()) as { accounts: object[] }
    expect(accounts).toMatchObject([{ status: 'ok', lookup: 'single' }])
  })
})

it('loses nothing that is handed out only once, though the database goes away with the answer in hand', async () => {
  const installation = await createInstallation('redis')
  const databaseUrl = new URL(installation.databaseUrl)
  const proxy = await openProxy({ host: databaseUrl.hostname, port: Number(databaseUrl.port) })
  closeLater(() => proxy.close())
  databaseUrl.port = String(proxy.port)
  const inbox = [
    { id: 'm-1', state: 'arrived', at: Date.now() },
    { id: 'm-2', state: 'lost', at: Date.now() },
  ]
  let handedOut = 0
  const provider = createServer((_request, response) => {
    const reports = inbox.splice(0)
    if (reports.length > 0) {
      handedOut++
      void proxy.cut().then(() => response.end(JSON.stringify({ reports, waiting: 0 })))
    } else {
      response.end(JSON.stringify({ reports, waiting: 0 }))
    }
  }).listen(0, '127.0.0.1')
  await once(provider, 'listening')
  closeLater(async () => provider.close())
  const { port } = provider.address() as AddressInfo

  const account = { ...pollsAndForgetsFixture.entry, name: 'third', baseUrl: `http://127.0.0.1:${port}` }
  const environment = { DATABASE_URL: databaseUrl.href, PUBLIC_URL: 'https://example.com' }
  const service = await startService({ installation, accounts: [account], environment })
  await trackOver(service.url, ['m-1', 'm-3'], { account: 'third', sentAt: minutesAgo(10) })
  await until(() => expect(handedOut).toBe(1))
  // The job has met the outage, and is tried again.
  const jobs = () => service.queue('status-query.third').getJobs(['active', 'waiting', 'prioritized'])
  await until(async () => expect((await jobs())[0]?.attemptsStarted).toBeGreaterThan(1))
  await proxy.restore()
  await until(async () => {
    const states = await messageStates(service, 'third')
    expect(states.map(({ messageId, status }) => [messageId, status])).toEqual([
      ['m-1', 'delivered'],
      ['m-2', 'undelivered'],
      ['m-3', null],
    ])
  })
  // The second message was not tracked yet: its report is kept for when it is.
  const late = await fetch(`${service.url}/v1/messages/third/m-2`)
  expect(late.status).toBe(404)
})

/** Accounts that get no good answer: the messages are kept, nobody is blamed for it, and everything goes on afterwards. */
import { once } from 'node:events'
import { createServer, type ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import {
  allSettled,
  closeAll,
  closeLater,
  minutesAgo,
  type Service,
  startService,
  trackOver,
  until,
} from '../support/service.ts'

const DELIVERED_AT = '2026-01-31 12:00:00.000'

/** A provider that answers as it is told to, and notes when it was asked about which IDs. */
interface Scripted {
  url: string
  asked: { at: number; ids: string[]; key: string }[]
  /** How it answers; without, every message is delivered. */
  answer: ((response: ServerResponse, ids: string[], key: string) => void) | undefined
}

async function openScripted(): Promise<Scripted> {
  const scripted: Scripted = { url: '', asked: [], answer: undefined }
  const server = createServer((request, response) => {
    const ids = new URL(request.url ?? '', 'http://localhost').searchParams.get('msg_id')?.split(',') ?? []
    const key = String(request.headers['x-api-key'])
    scripted.asked.push({ at: Date.now(), ids, key })
    if (scripted.answer) scripted.answer(response, ids, key)
    else response.end(JSON.stringify(ids.map((id) => ({ id, status: 'DELIVERED', status_time: DELIVERED_AT }))))
  }).listen(0, '127.0.0.1')
  await once(server, 'listening')
  closeLater(async () => {
    server.closeAllConnections()
    await new Promise((closed) => server.close(closed))
  })
  scripted.url = `http://127.0.0.1:${(server.address() as AddressInfo).port}/api`
  return scripted
}

const CASES = ['gone', 'moody400', 'moody422', 'refused', 'limited', 'coded', 'unreachable', 'moved'] as const
type Case = (typeof CASES)[number]

interface Stage {
  service: Service
  accounts: { name: string }[]
  providers: Record<Case, Scripted>
}

let stage: Stage

const accountOf = (name: string, { url: baseUrl }: Pick<Scripted, 'url'>, more: object = {}) => ({
  name,
  provider: 'seven',
  apiKey: 'first-key',
  baseUrl,
  timeout: '2s',
  requestsPerSecond: 50,
  ...more,
})

beforeAll(async () => {
  const opened = await Promise.all(CASES.map(async (name) => [name, await openScripted()] as const))
  const providers = Object.fromEntries(opened) as Record<Case, Scripted>
  const accounts = CASES.map((name) =>
    accountOf(name, name === 'unreachable' ? { url: 'http://127.0.0.1:9/api' } : providers[name]),
  )
  stage = { service: await startService({ accounts }), accounts, providers }
})
afterAll(closeAll)

const idsFrom = (first: number, count: number) => Array.from({ length: count }, (_, index) => String(first + index))
const track = ({ service }: Stage, account: Case, ids: string[]) =>
  trackOver(service.url, ids, { account, sentAt: minutesAgo(5) })

async function healthOf({ service }: Pick<Stage, 'service'>, name: string): Promise<Record<string, unknown>> {
  const answer = await fetch(`${service.url}/v1/accounts`)
  const { accounts } = (await answer.json()) as { accounts: Record<string, unknown>[] }
  return accounts.find(({ account }) => account === name) ?? {}
}

async function expectNobodyBlamed({ service }: Stage, account: Case) {
  const [row] = await service.sql`
    SELECT count(*)::int AS blamed FROM lastword.messages WHERE account = ${account} AND query_error IS NOT NULL`
  expect(row?.blamed).toBe(0)
}

describe.concurrent('an account', () => {
  it('stays with the status query after one 404', { timeout: 40_000 }, async () => {
    const { gone } = stage.providers
    gone.answer = (response) => {
      gone.answer = undefined
      response.writeHead(404).end()
    }
    await track(stage, 'gone', idsFrom(1, 20))
    await until(async () => expect(await healthOf(stage, 'gone')).toMatchObject({ pausedUntil: expect.any(String) }))
    await allSettled(stage.service, 'gone', 30_000)
    expect(await healthOf(stage, 'gone')).toMatchObject({ lookup: 'status', status: 'ok', noGoodAnswerSince: null })
    const [first, second, third] = gone.asked
    expect((second?.at ?? 0) - (first?.at ?? 0)).toBeGreaterThan(9_900)
    expect([second?.ids.length, third?.ids.length]).toEqual([1, 19])
  })

  it.each([
    ['moody400', 400],
    ['moody422', 422],
  ] as const)(
    'takes it for its own trouble when every batch is refused: %s',
    { timeout: 60_000 },
    async (name, status) => {
      const provider = stage.providers[name]
      provider.answer = (response) => response.writeHead(status).end('no')
      await track(stage, name, idsFrom(1, 300))
      await until(async () => expect(await healthOf(stage, name)).toMatchObject({ status: 'failing' }))
      // Probes of one message each.
      await until(() => expect(provider.asked.slice(-2).map(({ ids }) => ids.length)).toEqual([1, 1]))
      const { length } = provider.asked
      provider.answer = undefined
      expect(length).toBeLessThan(20)
      await expectNobodyBlamed(stage, name)
      await allSettled(stage.service, name, 40_000)
      await expectNobodyBlamed(stage, name)
      expect(await healthOf(stage, name)).toMatchObject({ status: 'ok', trouble: null, lastError: null })
    },
  )

  it('asks at once with other credentials, or when a person says so, and says that it was paused', {
    timeout: 60_000,
  }, async () => {
    const { service, providers } = stage
    const { refused } = providers
    refused.answer = (response) => response.writeHead(401).end()
    await track(stage, 'refused', idsFrom(1, 200))
    await until(async () => expect(await healthOf(stage, 'refused')).toMatchObject({ status: 'refused' }))
    const { pausedUntil, trouble, troubleSince } = await healthOf(stage, 'refused')
    expect(trouble).toBe('the provider answered HTTP 401: the credentials are refused')
    expect(Date.parse(String(pausedUntil)) - Date.parse(String(troubleSince))).toBeGreaterThan(599_000)
    const before = refused.asked.length
    expect(before).toBeLessThanOrEqual(3)

    const polled = await fetch(`${service.url}/v1/messages/refused/150/poll`, { method: 'POST' })
    expect(polled.status).toBe(202)
    expect(await polled.json()).toMatchObject({ paused: { since: troubleSince, until: pausedUntil, trouble } })
    await until(() => expect(refused.asked.slice(before).map(({ ids }) => ids)).toEqual([['150']]))
    await until(async () => expect(await healthOf(stage, 'refused')).toMatchObject({ pausedUntil: expect.any(String) }))

    // Another process starts with the right key, as after a restart.
    refused.answer = undefined
    const accounts = stage.accounts.map((account) =>
      account.name === 'refused' ? { ...account, apiKey: 'second-key' } : account,
    )
    const parts = { api: false, workers: true }
    await startService({ installation: service, accounts, parts })
    await allSettled(service, 'refused', 20_000)
    expect(await healthOf(stage, 'refused')).toMatchObject({ status: 'ok', pausedUntil: null })
  })

  it.each([
    ['limited', (response: ServerResponse) => response.writeHead(403).end('busy')],
    ['coded', (response: ServerResponse) => response.writeHead(400).end('{"code":403}')],
  ] as const)('waits for seconds when a limit is reached: %s', { timeout: 40_000 }, async (name, answer) => {
    const provider = stage.providers[name]
    provider.answer = (response) => {
      provider.answer = undefined
      answer(response)
    }
    await track(stage, name, idsFrom(1, 20))
    await allSettled(stage.service, name, 20_000)
    expect(provider.asked).toHaveLength(2)
    await expectNobodyBlamed(stage, name)
  })

  it('says since when nobody answers, and why', async () => {
    await track(stage, 'unreachable', idsFrom(1, 5))
    await until(async () => {
      const health = await healthOf(stage, 'unreachable')
      expect(health).toMatchObject({
        noGoodAnswerSince: expect.any(String),
        lastError: 'the provider did not answer: ECONNREFUSED',
      })
    })
    // The first bad answer, moved to a while ago.
    await stage.service.sql`
      UPDATE lastword.account_states
      SET health = jsonb_set(health, '{bad,since}', to_jsonb((health->'bad'->>'since')::float8 - 120000))
      WHERE account = 'unreachable'`
    await until(async () => expect(await healthOf(stage, 'unreachable')).toMatchObject({ status: 'unreachable' }))
    const metrics = await (await fetch(`${stage.service.url}/metrics`)).text()
    const [, seconds] = /good_answer_seconds\{account="unreachable"\} (\S+)/.exec(metrics) ?? []
    expect(Number(seconds)).toBeGreaterThan(120)
  })

  it('names the new address when the provider has moved', async () => {
    const { moved } = stage.providers
    moved.answer = (response) => response.writeHead(301, { location: 'https://example.com/v2/status' }).end()
    await track(stage, 'moved', idsFrom(1, 5))
    await until(async () => {
      const health = await healthOf(stage, 'moved')
      expect(health).toMatchObject({
        status: 'refused',
        trouble: expect.stringContaining('https://example.com/v2/status'),
      })
    })
    moved.answer = undefined
  })
})

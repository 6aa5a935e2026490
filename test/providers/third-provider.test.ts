/** A provider is added with its own file and a line in the registry: this one has its line here. */
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { readConfig } from '../../src/config.ts'
import type { Provider } from '../../src/providers/provider.ts'
import { findProvider, providers } from '../../src/providers/registry.ts'
import { type Api, anyTime, startApi } from '../support/api.ts'
import { pollsAndForgets, pollsAndForgetsFixture, signBody } from '../support/polls-and-forgets.ts'
import { describeProvider } from '../support/provider-conformance.ts'

const registry = providers as Provider<never>[]
registry.push(pollsAndForgets as Provider<never>)
// Other files of this worker have the registry, too.
afterAll(() => void registry.pop())

describeProvider(pollsAndForgetsFixture)

const { entry } = pollsAndForgetsFixture
const signingKey = String(entry.signingKey)

describe('a third provider', () => {
  let api: Api

  beforeAll(async () => {
    api = await startApi({ ACCOUNTS: JSON.stringify([entry]), PUBLIC_URL: 'https://example.com' })
  })
  afterAll(() => api?.close())

  const track = (...messageIds: string[]) =>
    api.post('/v1/messages', { account: 'third', messages: messageIds.map((messageId) => ({ messageId })) })
  const statusOf = async (messageId: string) => (await api.get(`/v1/messages/third/${messageId}`)).body
  const send = (body: string, signature = signBody(signingKey, body)) =>
    api.post('/webhooks/third', body, { headers: { 'x-signature': signature } })

  it('is found, and named among the known ones', () => {
    expect(findProvider('polls-and-forgets')).toBe(pollsAndForgets)
    const unknown = JSON.stringify([{ name: 'x', provider: 'nobody' }])
    expect(() => readConfig({ ACCOUNTS: unknown })).toThrow(/expected one of seven, cm, polls-and-forgets\.$/)
  })

  it('has its own rule for message IDs', async () => {
    const answer = await track('4711')
    expect(answer).toMatchObject({ status: 400 })
    expect(JSON.stringify(answer.body)).toContain(JSON.stringify(pollsAndForgets.messageIdRule).slice(1, -1))
  })

  it('settles several messages with one webhook, in their own normal form', async () => {
    expect(await track('m-1', 'M-2', 'm-3', 'm-4')).toMatchObject({ status: 202, body: { tracked: 4 } })
    // A time that is ahead by the database's clock would count as that of the arrival.
    const at = Date.now() - 1_000
    const body = JSON.stringify([
      { id: 'm-1', state: 'arrived', at },
      { id: 'm-2', state: 'lost', at },
      { id: 'm-3', state: 'sent', at },
      { id: 'm-9', state: 'arrived', at },
    ])
    // In the word that this provider wants to see.
    expect(await send(body)).toMatchObject({ status: 200, type: 'text/plain', body: 'OK' })

    const statusAt = new Date(at).toISOString()
    expect(await statusOf('m-1')).toMatchObject({ status: 'delivered', final: true, settledBy: 'webhook', statusAt })
    expect(await statusOf('m-2')).toMatchObject({ status: 'undelivered', final: true, settledBy: 'webhook', statusAt })
    expect(await statusOf('m-3')).toMatchObject({ status: 'transmitted', final: false, nextPollAt: anyTime })
    expect(await statusOf('m-4')).toMatchObject({ status: null, final: false })
  })

  it('keeps the report that came before its message', async () => {
    expect(await track('m-9')).toMatchObject({ status: 202 })
    expect(await statusOf('m-9')).toMatchObject({ status: 'delivered', final: true, settledBy: 'webhook' })
  })

  it('refuses what is not signed with its key, and applies nothing of it', async () => {
    const body = JSON.stringify([{ id: 'm-4', state: 'arrived', at: Date.now() }])
    expect(await send(body, signBody('another-key', body))).toMatchObject({ status: 401 })
    expect(await send(body, '')).toMatchObject({ status: 401 })
    expect(await statusOf('m-4')).toMatchObject({ status: null })
  })
})

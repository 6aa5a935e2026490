/** The vendor's own client works against the sandbox as it does against seven.io. */
import { Client, HooksResource, JournalResource, SmsResource, StatusResource } from '@seven.io/client'
import { afterAll, beforeAll, describe, expect, it, vi } from 'vitest'
import { closeAll, ONE_MINUTE, openSandbox } from '../../support/service.ts'

let client: Client
const baseUrl = Client.BASE_URL

beforeAll(async () => {
  const sandbox = await openSandbox({ law: { ...ONE_MINUTE, components: [{ share: 1, medianMs: 1, sigma: 0 }] } })
  Object.assign(Client, { BASE_URL: sandbox.url })
  client = new Client({ apiKey: sandbox.apiKey })
  // The client prints what it has got.
  vi.spyOn(console, 'log').mockImplementation(() => {})
})
afterAll(async () => {
  Object.assign(Client, { BASE_URL: baseUrl })
  vi.restoreAllMocks()
  await closeAll()
})

describe('@seven.io/client', () => {
  it('sends, asks, and finds what it sent in the logbook', async () => {
    const sent = await new SmsResource(client).dispatch({ to: ['491701234567', '491707654321'], text: 'Hello' })
    if (typeof sent !== 'object') return expect.fail(`Expected an answer with messages, got ${sent}`)
    expect(sent).toMatchObject({ success: '100', messages: [{ success: true }, { success: true }] })
    const ids = sent.messages.map(({ id }) => String(id))
    await vi.waitFor(async () => {
      const statuses = await new StatusResource(client).get(ids.map(Number))
      expect(statuses.map(({ id, status }) => [String(id), status])).toEqual(ids.map((id) => [id, 'DELIVERED']))
    })
    const rows = await new JournalResource(client).outbound({ limit: 10 })
    expect(rows.map(({ id, dlr }) => [String(id), dlr]).toSorted()).toEqual(ids.map((id) => [id, 'DELIVERED']))
  })

  it('subscribes, lists and unsubscribes', async () => {
    const hooks = new HooksResource(client)
    const hook = { eventType: 'dlr', requestMethod: 'JSON', targetUrl: 'https://example.com/webhooks/seven' } as const
    expect(await hooks.read()).toEqual({ success: true, hooks: [] })
    const first = await hooks.subscribe(hook)
    const second = await hooks.subscribe({ ...hook, targetUrl: 'https://example.com/other' })
    expect([first, second]).toMatchObject([{ success: true }, { success: true }])
    expect(await hooks.unsubscribe(Number(first.id))).toEqual({ success: true })
    expect(await hooks.read()).toMatchObject({
      success: true,
      hooks: [{ id: String(second.id), target_url: 'https://example.com/other', enabled: true }],
    })
    expect(await hooks.unsubscribe(4711)).toEqual({ success: false })
  })
})

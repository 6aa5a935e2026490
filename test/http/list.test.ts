/** Finding messages over HTTP: filters, what is wrong with them, and asking about all that match. */
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest'
import type { StatusReport } from '../../src/core/status.ts'
import { applyReports } from '../../src/db/reports.ts'
import { batches, due, failures, messageMetadata, messages, statusReports } from '../../src/db/schema.ts'
import { type Api, startApi } from '../support/api.ts'

const ACCOUNTS = JSON.stringify([
  { name: 'seven', provider: 'seven', apiKey: 'key' },
  { name: 'dutch', provider: 'cm', productToken: 'token', defaultCountry: 'NL', baseUrl: 'http://127.0.0.1:1' },
  { name: 'silent', provider: 'seven', apiKey: 'key', query: 'off' },
  { name: 'italian', provider: 'seven', apiKey: 'key', defaultCountry: 'IT' },
])

let api: Api
beforeAll(async () => {
  api = await startApi({ ACCOUNTS })
})
afterAll(() => api.close())
beforeEach(async () => {
  for (const table of [messages, statusReports, due, batches, failures, messageMetadata]) await api.db.delete(table)
})

const HOUR = 3_600_000
const ago = (hours: number) => new Date(Date.now() - hours * HOUR).toISOString()

async function track(account: string, ...given: object[]): Promise<void> {
  expect((await api.post('/v1/messages', { account, messages: given })).status).toBe(202)
}
const report = (messageId: string, more: Partial<StatusReport> = {}) =>
  applyReports(api.db, [
    {
      account: 'seven',
      messageId,
      status: 'failed',
      rawStatus: 'FAILED',
      occurredAt: new Date(),
      source: 'webhook',
      ...more,
    },
  ])

async function list(query: string): Promise<string[]> {
  const { status, body } = await api.get(`/v1/messages?${query}`)
  expect(status).toBe(200)
  return (body as { messages: { messageId: string }[] }).messages.map(({ messageId }) => messageId)
}

describe('GET /v1/messages', () => {
  it('finds by number in any form, of whatever account', async () => {
    await track('seven', { messageId: '1', recipient: '0049 170 1234567' }, { messageId: '2', recipient: '+49 171 1' })
    await track(
      'dutch',
      { messageId: 'ref-1', recipient: '06 12345678' },
      { messageId: 'ref-2', recipient: '+31612345679' },
    )
    for (const number of ['+491701234567', '49 (0)170 1234567', '0049170-1234567']) {
      expect(await list(`recipient=${encodeURIComponent(number)}`)).toEqual(['1'])
    }
    for (const number of ['0612345678', '+31 6 12345678', '31612345678']) {
      expect(await list(`recipient=${encodeURIComponent(number)}`)).toEqual(['ref-1'])
    }
    expect(await list('recipient=31612345679&account=seven')).toEqual([])
    expect(await list('recipient=4917')).toEqual([])
    // Of a number without a country code nobody knows whose it is.
    await track('seven', { messageId: '3', recipient: '0151 23456789' })
    expect(await list('recipient=%2B15123456789')).toEqual([])
    expect(await list('recipient=0151%2F23456789')).toEqual(['3'])
  })

  it('erases by digits that are a number of several countries only with the country code', async () => {
    await track('italian', { messageId: '4', recipient: '328 123 4567' })
    await track('seven', { messageId: '5', recipient: '+3281234567' })
    const erase = (number: string) => fetch(`${api.url}/v1/recipients/${number}`, { method: 'DELETE' })
    expect((await erase('3281234567')).status).toBe(400)
    expect((await erase('0612345678')).status).toBe(400)
    expect(await (await erase('%2B3281234567')).json()).toEqual({ erased: 1 })
    expect(await list('recipient=%2B393281234567')).toEqual(['4'])
    expect(await (await erase('00393281234567')).json()).toEqual({ erased: 1 })
  })

  it('finds the number that a report has told of', async () => {
    await track('dutch', { messageId: 'ref-3' })
    await report('ref-3', { account: 'dutch', recipient: '31612345670', status: 'delivered' })
    expect(await list('recipient=0612345670')).toEqual(['ref-3'])
  })

  it('finds by ID, metadata, error, who settled it, and times of sending', async () => {
    await track(
      'seven',
      { messageId: '77000000001', metadata: { order: 4711, vip: true, note: 'a=b&c' }, sentAt: ago(3) },
      { messageId: '77000000002', metadata: { order: 4712, nested: { order: 4711 } }, sentAt: ago(2) },
      { messageId: '77000000003', sentAt: ago(1) },
    )
    await track('dutch', { messageId: '77000000001', sentAt: ago(4) })
    await report('77000000002', { error: { code: '202', description: 'absent' } })
    await report('77000000003', { status: 'delivered', source: 'poll' })
    expect(await list('messageId=77000000001')).toEqual(['77000000001', '77000000001'])
    expect(await list('messageId=%2077000000001&account=seven')).toEqual(['77000000001'])
    expect(await list('metadata.order=4711')).toEqual(['77000000001'])
    expect(await list('metadata.order=4711&metadata.vip=true&metadata.note=a%3Db%26c')).toEqual(['77000000001'])
    expect(await list('metadata.order=4711&metadata.vip=false')).toEqual([])
    expect(await list('error=202')).toEqual(['77000000002'])
    expect(await list('error=202&status=undelivered')).toEqual([])
    expect(await list('settledBy=poll')).toEqual(['77000000003'])
    expect(await list('settledBy=webhook')).toEqual(['77000000002'])
    expect(await list(`sentAfter=${ago(2.5)}&sentBefore=${ago(1.5)}`)).toEqual(['77000000002'])
    expect(await list(`sentAfter=${ago(2.5)}`)).toEqual(['77000000003', '77000000002'])
    expect(await list(`sentBefore=${ago(2.5)}`)).toEqual(['77000000001', '77000000001'])
    expect(await list(`sentAfter=${ago(5)}&sentBefore=${ago(0)}&limit=2`)).toEqual(['77000000003', '77000000002'])
    // A failure that was corrected is none any more.
    await report('77000000002', { status: 'delivered', occurredAt: new Date(Date.now() + 1000) })
    expect(await list('error=202')).toEqual([])
    expect(await list('status=failed')).toEqual([])
  })

  it.each([
    ['sentAfter=2026-01-31T10:00:00Z&sentBefore=2026-01-31T10:00:00Z', 'sentBefore', 'a time after sentAfter'],
    ['sentAfter=yesterday&sentBefore=today', 'sentAfter', 'a time like 2026-01-31T10:00:00Z'],
    ['sentAfter=0000-01-01T00:00:00Z&sentBefore=2026-01-31T10:00:00Z', 'sentAfter', 'a time like'],
    ['sentAfter=0001-01-01T00:00:00%2B23:59&sentBefore=2026-01-31T10:00:00Z', 'sentAfter', 'a time like'],
    ['sentAfter=2026-01-31T10:00:00Z&sentBefore=9999-12-31T23:59:59-23:59', 'sentBefore', 'a time like'],
    ['recipient=nobody', 'recipient', 'a phone number'],
    ['settledBy=me', 'settledBy', ''],
    ['metadata.order=1&metadata.order=2', 'metadata', 'one text, number or boolean'],
    ['metadata.a=1&metadata.b=1&metadata.c=1&metadata.d=1&metadata.e=1&metadata.f=1', 'metadata', 'at most 5 keys'],
    ['metadata=1', 'metadata', ''],
    ['order=1', 'order', ''],
  ])('refuses ?%s', async (query, place, expected) => {
    const { status, body } = await api.get(`/v1/messages?${query}`)
    expect([status, (body as { code: string }).code]).toEqual([400, 'INPUT_INVALID'])
    const { detail } = body as { detail: string }
    expect(detail).toContain(place)
    expect(detail).toContain(expected)
  })

  it('refuses a key and a value that are too long', async () => {
    for (const [query, expected] of [
      [`metadata.${'k'.repeat(101)}=1`, 'expected keys of at most 100 characters'],
      [`metadata.order=${'v'.repeat(1001)}`, '<=1000 characters'],
    ]) {
      const { status, body } = await api.get(`/v1/messages?${query}`)
      expect(status).toBe(400)
      expect((body as { detail: string }).detail).toContain(expected)
    }
  })

  it('refuses the cursor of another query', async () => {
    await track('seven', ...['1', '2', '3'].map((messageId) => ({ messageId, metadata: { campaign: 'c' } })))
    const { body } = await api.get('/v1/messages?limit=1&metadata.campaign=c')
    const { nextCursor } = body as { nextCursor: string }
    expect(await list(`limit=2&cursor=${nextCursor}&metadata.campaign=c`)).toEqual(['2', '1'])
    for (const other of ['', '&metadata.campaign=d', '&metadata.campaign=c&account=seven']) {
      const { status, body: problem } = await api.get(`/v1/messages?limit=1&cursor=${nextCursor}${other}`)
      expect(status).toBe(400)
      expect((problem as { detail: string }).detail).toContain('the same query, found that of another')
    }
  })
})

describe('GET /v1/messages/count', () => {
  it('counts what a list would have, and takes its filters alone', async () => {
    const count = async (query: string) =>
      (await api.get(`/v1/messages/count?${query}`)).body as { messages: number; isWhole: boolean }
    const before = await count('outstanding=true&account=seven')
    await track('seven', { messageId: '1', metadata: { run: 7 } }, { messageId: '2', metadata: { run: 7 } })
    await track('dutch', { messageId: 'ref', metadata: { run: 7 } })
    await report('2')
    expect(await count('metadata.run=7')).toEqual({ messages: 3, isWhole: true })
    expect(await count('metadata.run=7&outstanding=true&account=seven')).toEqual({ messages: 1, isWhole: true })
    // Counted by the hour, not message by message.
    expect(await count('outstanding=true&account=seven')).toEqual({ messages: before.messages + 1, isWhole: true })
    for (const query of ['limit=5', 'cursor=m1.1.00000000', 'status=lost']) {
      expect([query, (await api.get(`/v1/messages/count?${query}`)).status]).toEqual([query, 400])
    }
  })
})

describe('POST /v1/messages/poll', () => {
  const dueIds = async () => {
    const rows = await api.db.select().from(messages)
    return rows.flatMap(({ messageId, dueAt }) => (dueAt && dueAt <= new Date() ? [messageId] : [])).sort()
  }

  it('makes all that match due, and says how many', async () => {
    await track('seven', ...['1', '2', '3'].map((messageId) => ({ messageId, metadata: { campaign: 'c' } })))
    await track('seven', { messageId: '4' })
    await track('silent', { messageId: '5', metadata: { campaign: 'c' } })
    await report('2')
    expect(await dueIds()).toEqual([])
    const answer = await api.post('/v1/messages/poll', { metadata: { campaign: 'c' } })
    expect([answer.status, answer.body]).toMatchObject([
      202,
      { polled: 2, nextCursor: null, blockedBy: [{ cause: 'no-worker' }] },
    ])
    expect(await dueIds()).toEqual(['1', '3'])
    expect((await api.post('/v1/messages/poll', { account: 'nobody' })).body).toEqual({
      polled: 0,
      nextCursor: null,
      blockedBy: [],
    })
    expect((await api.post('/v1/messages/poll')).body).toMatchObject({ polled: 3, nextCursor: null })
    expect(await dueIds()).toEqual(['1', '3', '4'])
  })

  it.each([
    [{ colour: 'red' }, 'colour'],
    [{ status: 'lost' }, 'status'],
    [{ sentAfter: '2026-01-31T10:00:00Z', sentBefore: '2026-01-31T09:00:00Z' }, 'sentBefore'],
    [{ metadata: { order: ['1'] } }, 'metadata'],
    [[], 'object'],
    [{ cursor: 'm1.1.00000000' }, 'cursor'],
  ])('refuses %j', async (body, place) => {
    const answer = await api.post('/v1/messages/poll', body)
    expect(answer.status).toBe(400)
    expect((answer.body as { detail: string }).detail).toContain(place)
  })
})

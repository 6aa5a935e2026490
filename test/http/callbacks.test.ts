import { sql } from 'drizzle-orm'
import { afterAll, beforeAll, expect, it } from 'vitest'
import { addCallbacks } from '../../src/db/callbacks.ts'
import { type Api, anyTime, expectProblem, startApi } from '../support/api.ts'

let api: Api
beforeAll(async () => {
  api = await startApi()
})
afterAll(() => api.close())

it('lists the callbacks that were not taken page by page, each once and the latest first', async () => {
  const body = {
    type: 'message.status',
    timestamp: '2026-01-31T10:00:00.000Z',
    data: { messageId: '1', status: 'read' },
  }
  const url = 'https://example.com/hook?secret=word'
  await addCallbacks(
    api.db,
    [1, 2, 3, 4, 5].map((change) => ({ change, message: change, account: 'seven', url, body })),
  )
  await api.db.execute(sql`UPDATE lastword.callbacks SET next_attempt_at = NULL, attempts = 1 WHERE change <> 3`)
  await api.db.execute(sql`
    UPDATE lastword.callbacks SET next_attempt_at = '2026-01-31T10:01:00Z', last_error = 'the receiver answered HTTP 500'
    WHERE change IN (1, 2)`)
  await api.db.execute(sql`UPDATE lastword.callbacks SET claim = gen_random_uuid() WHERE change = 1`)
  const pages: number[][] = []
  for (let cursor: string | null = ''; cursor !== null; ) {
    const answer = await api.get(`/v1/callbacks?limit=2${cursor && `&cursor=${cursor}`}`)
    const page = answer.body as { callbacks: { change: number }[]; nextCursor: string | null }
    pages.push(page.callbacks.map(({ change }) => change))
    cursor = page.nextCursor
    expect(JSON.stringify(page)).not.toContain('word')
  }
  expect(pages).toEqual([[5, 4], [2, 1], []])
  const whole = (await api.get('/v1/callbacks')).body as { callbacks: object[] }
  const waiting = { receiver: 'https://example.com', lastError: 'the receiver answered HTTP 500' }
  expect(whole.callbacks).toMatchObject([
    { change: 5, messageId: '1', status: 'read', state: 'failed', attempts: 1, nextAttemptAt: null, lastAttempts: [] },
    { change: 4, state: 'failed' },
    { change: 2, state: 'waiting', nextAttemptAt: '2026-01-31T10:01:00.000Z', ...waiting },
    { change: 1, state: 'calling', nextAttemptAt: null, ...waiting },
  ])
  expectProblem(await api.get('/v1/callbacks?cursor=x'), {
    status: 400,
    title: 'Invalid request',
    code: 'INPUT_INVALID',
    detail: expect.stringMatching(/cursor: expected the "nextCursor"/),
    errors: expect.any(Array),
  })
})

it('says who does not take callbacks, and why', async () => {
  const receiver = 'https://example.com'
  const { reasons } = (await api.get('/v1/callbacks/summary')).body as { reasons: object[] }
  expect(reasons).toEqual([
    { receiver, error: 'the receiver answered HTTP 500', callbacks: 2, failed: 0, since: anyTime },
    { receiver, error: null, callbacks: 2, failed: 2, since: anyTime },
  ])
})

it('counts the callbacks that match, and replays those and no others', async () => {
  const countOf = async (query: string) =>
    ((await api.get(`/v1/callbacks/count?${query}`)).body as { callbacks: number }).callbacks
  // The first is in an attempt just now, and the third has never been tried.
  expect(await countOf('')).toBe(3)
  const long = '2026-01-31T10:00:00Z'
  for (const [query, count] of [
    ['error=http+500', 1],
    ['receiver=EXAMPLE.com', 3],
    ['receiver=https%3A%2F%2Fexample.com%2Felsewhere', 3],
    ['receiver=example.org', 0],
    ['account=seven', 3],
    ['account=dutch', 0],
    [`dueAfter=${long}`, 3],
    [`dueBefore=${long}`, 0],
  ] as const) {
    expect([query, await countOf(query)]).toEqual([query, count])
  }
  const listed = (await api.get('/v1/callbacks?error=HTTP')).body as { callbacks: { change: number }[] }
  expect(listed.callbacks.map(({ change }) => change)).toEqual([2, 1])
  for (const query of ['error=%00', 'dueAfter=yesterday', 'receiver=', 'limit=1', 'host=x']) {
    expect([query, (await api.get(`/v1/callbacks/count?${query}`)).status]).toEqual([query, 400])
  }

  const replayed = { status: 202, body: { replayed: 1 } }
  expect(await api.post('/v1/callbacks/replay', { error: 'HTTP 500', account: 'seven' })).toMatchObject(replayed)
  expect(await countOf('error=500')).toBe(1)
  expect(await api.post('/v1/callbacks/replay', { changes: [4, 5], receiver: 'example.org' })).toMatchObject({
    body: { replayed: 0 },
  })
  expect(await api.post('/v1/callbacks/replay', { changes: [4], dueAfter: long })).toMatchObject(replayed)
  const { acts } = (await api.get('/v1/acts?kind=replay')).body as { acts: object[] }
  expect(acts).toMatchObject([{ count: 1 }, { count: 0 }, { count: 1, account: 'seven', outcome: 'done' }])
})

it('takes receipts whatever the number of slashes in their URL', async () => {
  const receipt = { webhook_event: 'dlr', data: { msg_id: '77000000001', status: 'DELIVERED' } }
  for (const path of ['//webhooks/seven', '/webhooks//seven', '/webhooks/seven//']) {
    expect(await api.post(path, receipt)).toMatchObject({ status: 200 })
  }
})

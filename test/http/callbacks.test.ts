import { sql } from 'drizzle-orm'
import { afterAll, beforeAll, expect, it } from 'vitest'
import { addCallbacks } from '../../src/db/callbacks.ts'
import { type Api, expectProblem, startApi } from '../support/api.ts'

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

it('takes receipts whatever the number of slashes in their URL', async () => {
  const receipt = { webhook_event: 'dlr', data: { msg_id: '77000000001', status: 'DELIVERED' } }
  for (const path of ['//webhooks/seven', '/webhooks//seven', '/webhooks/seven//']) {
    expect(await api.post(path, receipt)).toMatchObject({ status: 200 })
  }
})

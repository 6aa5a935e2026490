import { eq } from 'drizzle-orm'
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest'
import type { StatusReport } from '../../src/core/status.ts'
import { releaseBatch } from '../../src/db/batches.ts'
import { applyReports } from '../../src/db/reports.ts'
import { claimDue } from '../../src/db/schedule.ts'
import { due, messages } from '../../src/db/schema.ts'
import { noteFailedQuery } from '../../src/db/status-queries.ts'
import { type Api, anyTime, expectProblem, startApi } from '../support/api.ts'

const accounts = [
  { name: 'seven', provider: 'seven', apiKey: 'seven-api-key', webhookToken: 'seven-webhook-token' },
  { name: 'second', provider: 'seven', apiKey: 'second-api-key' },
  { name: 'silent', provider: 'seven', apiKey: 'silent-api-key', query: 'off', polling: { window: '2d' } },
]

let api: Api
beforeAll(async () => {
  api = await startApi({ ACCOUNTS: JSON.stringify(accounts) })
})
afterAll(() => api.close())
beforeEach(async () => {
  await api.db.delete(messages)
  // Places of the ten thousand messages of one test, due by now, would hide the one message of another from a claim.
  await api.db.delete(due)
})

const HOUR = 3_600_000
const DAY = 24 * HOUR
const fromNow = (ms: number) => new Date(Date.now() + ms).toISOString()
const order = (list: unknown[], account: unknown = 'seven') => ({ account, messages: list })
const track = async (...list: unknown[]) => {
  const { status, body } = await api.post('/v1/messages', order(list))
  expect([status, body]).toEqual([202, { tracked: list.length, alreadyTracked: 0 }])
}

function report(messageId: string, more: Partial<StatusReport> = {}): StatusReport {
  const occurredAt = new Date('2026-03-01T12:00:00Z')
  return {
    account: 'seven',
    messageId,
    status: 'delivered',
    rawStatus: 'DELIVERED',
    occurredAt,
    source: 'poll',
    ...more,
  }
}

const heldIds = async () => (await api.db.select().from(messages)).map(({ messageId }) => messageId).sort()

const anyText = (message: unknown): string | null =>
  typeof message === 'object' && message !== null && 'messageId' in message
    ? (message.messageId as string | null)
    : null

describe('POST /v1/messages', () => {
  it('tracks messages, and once is enough', async () => {
    const list = [{ messageId: '1' }, { messageId: '2', recipient: '+49 170 1234567', metadata: { order: 7 } }]
    const first = await api.post('/v1/messages', order(list))
    expect([first.status, first.body]).toEqual([202, { tracked: 2, alreadyTracked: 0 }])
    expect(first.type).toBe('application/json')
    const again = await api.post('/v1/messages', order([...list, { messageId: '3' }]))
    expect([again.status, again.body]).toEqual([202, { tracked: 1, alreadyTracked: 2 }])
    expect(await heldIds()).toEqual(['1', '2', '3'])
  })

  it('takes 10,000 messages, and IDs as numbers or with spaces around them', async () => {
    const list = Array.from({ length: 10_000 }, (_, index) => ({ messageId: 77_232_000_000 + index }))
    expect((await api.post('/v1/messages', order(list))).body).toEqual({ tracked: 10_000, alreadyTracked: 0 })
    const same = await api.post('/v1/messages', order([{ messageId: ' 77232000007 ' }]))
    expect(same.body).toEqual({ tracked: 0, alreadyTracked: 1 })
  })

  it('keeps metadata with any text in it', async () => {
    const metadata = { 'a "key" \\ {}': ['NULL', null, 1.5, { deep: '👩‍👧 \\u0041 \\\\' }], half: 'x\ud83dy' }
    await track({ messageId: '1', metadata })
    const { body } = await api.get('/v1/messages/seven/1')
    expect(body).toMatchObject({ metadata: { ...metadata, half: 'x\ufffdy' } })
  })

  describe('refuses an order that is wrong in one place, says where, and tracks nothing of it:', () => {
    beforeEach(() => track({ messageId: '90' }))

    it('by a problem that names the place', async () => {
      const rule =
        'expected a message ID, found null: the provider gave no ID for this one; with "partial": true the others are tracked'
      expectProblem(await api.post('/v1/messages', order([{ messageId: '1' }, { messageId: null }])), {
        status: 400,
        title: 'Invalid request',
        detail: `The body is not valid. messages[1].messageId: ${rule}.`,
        code: 'INPUT_INVALID',
        errors: [{ path: 'messages[1].messageId', message: rule }],
      })
      expect(await heldIds()).toEqual(['90'])
    })

    it('and for what the account or the time does not allow', async () => {
      const answer = await api.post(
        '/v1/messages',
        order([{ messageId: '?' }, { messageId: '1', sentAt: fromNow(-3 * DAY) }], 'silent'),
      )
      expect(answer).toMatchObject({
        status: 400,
        body: { errors: [{ path: 'messages[0].messageId' }, { path: 'messages[1].sentAt' }] },
      })
      expect(await heldIds()).toEqual(['90'])
    })

    it('and only that when it may be tracked in part', async () => {
      const list = [
        { messageId: '11' },
        { messageId: null },
        { messageId: ' 11 ' },
        { messageId: '' },
        { messageId: '12', sentAt: 'soon' },
        { messageId: '90' },
        'c',
      ]
      const answers = [
        await api.post('/v1/messages?partial=true', order(list)),
        await api.post('/v1/messages', { ...order(list), partial: true }),
      ]
      const refused = [1, 3, 4, 6].map((index) => ({
        index,
        messageId: anyText(list[index]),
        reason: expect.any(String),
      }))
      expect(answers.map(({ status, body }) => [status, body])).toEqual([
        [202, { tracked: 1, alreadyTracked: 2, refused }],
        [202, { tracked: 0, alreadyTracked: 3, refused }],
      ])
      expect((await heldIds()).sort()).toEqual(['11', '90'])
      const none = await api.post('/v1/messages?partial=true', order([{ messageId: null }]))
      expect(none).toMatchObject({ status: 202, body: { tracked: 0, alreadyTracked: 0, refused: [{ index: 0 }] } })
      expect((await api.post('/v1/messages?partial=perhaps', order([{ messageId: 'd' }]))).status).toBe(400)
    })

    it('an unknown account', async () => {
      expectProblem(await api.post('/v1/messages', order([{ messageId: '1' }], 'third')), {
        status: 404,
        title: 'Not found',
        detail: 'No account named "third" is configured; known are: seven, second, silent.',
        code: 'NOT_FOUND',
      })
      expect(await heldIds()).toEqual(['90'])
    })

    it.each<[string, string | Uint8Array | undefined, Record<string, string>, number, string]>([
      ['text that is not JSON', '{"account":"seven",', {}, 400, 'Expected a JSON body, found text that is not JSON.'],
      ['an empty body', '', {}, 400, 'Expected a JSON body, found an empty one.'],
      [
        'another content type',
        '<xml/>',
        { 'content-type': 'application/xml' },
        415,
        'Expected a body of type application/json.',
      ],
      [
        'a body of 17 MiB',
        new Uint8Array(17 * 1024 * 1024).fill(0x20),
        {},
        413,
        'The body is too large; send it in several requests.',
      ],
    ])('%s', async (_name, body, headers, status, detail) => {
      const answer = await api.post('/v1/messages', body, { headers })
      expectProblem(answer, { status, title: 'Invalid request', detail, code: 'INPUT_INVALID' })
      expect(await heldIds()).toEqual(['90'])
    })

    it('no body at all', async () => {
      const answer = await api.post('/v1/messages')
      expect([answer.status, answer.type]).toEqual([400, 'application/problem+json'])
      expect(answer.body).toMatchObject({ code: 'INPUT_INVALID', detail: expect.stringContaining('body') })
    })
  })

  it('is told nothing by the type of a body that is not there, where none is needed', async () => {
    await track({ messageId: '1' })
    const init = { body: '', headers: { 'content-type': 'application/json' } }
    expect((await api.post('/v1/messages/seven/1/poll', '')).status).toBe(202)
    expect((await api.post('/v1/messages/poll', '')).status).toBe(202)
    expect((await api.get('/v1/messages/seven/1', { ...init, method: 'DELETE' })).status).toBe(204)
  })

  it('never repeats a phone number or a secret in an error', async () => {
    const secrets = ['4917012345678', 'seven-api-key', 'seven-webhook-token']
    const recipient = `+${secrets[0]}`
    const answers = await Promise.all([
      api.post('/v1/messages', order([{ messageId: '1', recipient: `${recipient} x` }])),
      api.post('/v1/messages', order([{ messageId: '?', recipient }])),
      api.post('/v1/messages', order([{ messageId: '1', recipient }], 'third')),
      api.post('/v1/messages', order([{ messageId: '1', recipient, sentAt: recipient }])),
      api.post('/v1/messages', `{"recipient":"${recipient}"`),
      api.post('/v1/messages', JSON.stringify(order([{ messageId: '1', recipient }])).replace('"1"', '"1')),
      api.get(`/v1/messages/seven/${secrets[0]}`),
      api.get(`/v1/messages?cursor=${secrets[0]}`),
      api.get(`/v1/messages/seven/1?recipient=${secrets[0]}`),
    ])
    for (const { status, body } of answers) {
      expect(status).toBeGreaterThanOrEqual(400)
      for (const secret of secrets) expect(JSON.stringify(body)).not.toContain(secret)
    }
  })
})

const NO_WORKER = { cause: 'no-worker', account: null, since: null, until: null, message: 'no worker has run yet' }

describe('GET /v1/messages/{account}/{messageId}', () => {
  it('shows a message that has no report yet', async () => {
    const sentAt = fromNow(-HOUR)
    await track({ messageId: '1', sentAt, recipient: '+49 170 1234567', metadata: { order: 7 } })
    const answer = await api.get('/v1/messages/seven/1')
    expect(answer.status).toBe(200)
    expect(answer.type).toBe('application/json')
    expect(answer.body).toEqual({
      account: 'seven',
      messageId: '1',
      recipient: '+49 170 1234567',
      status: null,
      final: false,
      statusAt: null,
      settledBy: null,
      sentAt,
      polls: 0,
      nextPollAt: anyTime,
      windowEndsAt: new Date(Date.parse(sentAt) + 30 * DAY).toISOString(),
      metadata: { order: 7 },
      trackedAt: anyTime,
      asking: 'due',
      failedPolls: 0,
      lastAttempt: null,
      blockedBy: [NO_WORKER],
      reports: [],
      queries: [],
      callbacks: [],
    })
  })

  it('shows every report with what it did', async () => {
    await track({ messageId: '1' })
    const at = (second: number) => new Date(`2026-03-01T12:00:0${second}Z`)
    const error = { code: '27', description: 'absent subscriber' }
    const arriving = [
      report('1', { status: 'transmitted', rawStatus: 'TRANSMITTED', occurredAt: at(2) }),
      report('1', { status: 'accepted', rawStatus: 'ACCEPTED', occurredAt: at(1) }),
      report('1', { status: 'delivered', occurredAt: at(4), source: 'webhook' }),
      report('1', { status: 'delivered', occurredAt: at(4), source: 'webhook' }),
      report('1', { status: 'undelivered', rawStatus: 'NOTDELIVERED', occurredAt: at(3), source: 'webhook', error }),
    ]
    for (const one of arriving) await applyReports(api.db, [one])
    const { body } = await api.get('/v1/messages/seven/1')
    expect(body).toEqual({
      account: 'seven',
      messageId: '1',
      recipient: null,
      status: 'delivered',
      final: true,
      statusAt: at(4).toISOString(),
      settledBy: 'webhook',
      sentAt: anyTime,
      polls: 0,
      nextPollAt: null,
      windowEndsAt: anyTime,
      metadata: null,
      trackedAt: anyTime,
      asking: 'never',
      failedPolls: 0,
      lastAttempt: null,
      blockedBy: [],
      reports: arriving.map(({ status, rawStatus, source, occurredAt }, index) => ({
        status,
        rawStatus,
        source,
        occurredAt: occurredAt.toISOString(),
        receivedAt: anyTime,
        outcome: ['applied', 'stale', 'applied', 'duplicate', 'contradicting'][index],
        error: index === 4 ? error : null,
      })),
      queries: [],
      callbacks: [],
    })
  })

  it('shows how asking about it stands: due, being asked about, failed, answered', async () => {
    await track({ messageId: '1', sentAt: fromNow(-HOUR) })
    const look = async () => (await api.get('/v1/messages/seven/1')).body
    await api.post('/v1/messages/seven/1/poll')
    expect(await look()).toMatchObject({ asking: 'due', lastAttempt: null })
    const claim = () => claimDue(api.db, { account: 'seven', limit: 1, leaseMs: HOUR }, ({ due }) => [due])
    const { id: batch = '' } = (await claim()).batches[0] ?? {}
    expect(await look()).toMatchObject({ asking: 'under-way' })
    await noteFailedQuery(api.db, { account: 'seven', lookup: 'status', batch, job: '1' }, 'HTTP 500')
    const failed = { failedPolls: 1, lastAttempt: { at: anyTime, outcome: 'failed', error: 'HTTP 500' }, polls: 0 }
    expect(await look()).toMatchObject(failed)
    await releaseBatch(api.db, { batch, delayMs: 0 })
    expect(await look()).toMatchObject({ ...failed, asking: 'due' })
    const { id: next = '', messages: held = [] } = (await claim()).batches[0] ?? {}
    const dueAt = new Date(Date.now() + HOUR)
    const answeredMessages = held.map(({ id }) => ({ id, askedAt: undefined, word: undefined, isMissing: false }))
    const query = { account: 'seven', lookup: 'status', batch: next, job: '2', ids: 1, messages: answeredMessages }
    const answered = { batch: next, messages: held.map(({ id }) => ({ id, dueAt })), query }
    await applyReports(api.db, [], { answered })
    const lastAttempt = { at: anyTime, outcome: 'noStatusYet', error: null }
    expect(await look()).toMatchObject({ asking: 'later', failedPolls: 1, lastAttempt, polls: 1 })
  })

  it('finds an ID in any form of it', async () => {
    await track({ messageId: '1' })
    expect(await api.get('/v1/messages/seven/%201%20')).toMatchObject({ status: 200, body: { messageId: '1' } })
  })

  it('finds the messages of an account that is not configured any more', async () => {
    await track({ messageId: '1' })
    await api.db.update(messages).set({ account: 'former' })
    expect(await api.get('/v1/messages/former/1')).toMatchObject({ status: 200, body: { account: 'former' } })
  })

  const notFound = {
    status: 404,
    title: 'Not found',
    detail: 'No such message is tracked; check the account and the message ID.',
    code: 'NOT_FOUND',
  }

  it.each(['/v1/messages/seven/2', '/v1/messages/second/1', '/v1/messages/nobody/1', '/v1/messages/seven/a%2Cb'])(
    'answers 404 to %s',
    async (path) => {
      await track({ messageId: '1' })
      expectProblem(await api.get(path), notFound)
      expectProblem(await api.post(`${path}/poll`), notFound)
    },
  )

  it('answers 404 for a message that only reports told of', async () => {
    await applyReports(api.db, [report('1')])
    expectProblem(await api.get('/v1/messages/seven/1'), notFound)
    expectProblem(await api.post('/v1/messages/seven/1/poll'), notFound)
  })

  it.each(['/v1/messages/seven/%00', '/v1/messages/%00/1', '/v1/messages/nobody/a%00b', '/v1/messages?account=%00'])(
    'answers %s, which no database can look for, with an error of the caller',
    async (path) => {
      const answer = await api.get(path)
      expect([answer.status, answer.type]).toEqual([400, 'application/problem+json'])
      expect(answer.body).toMatchObject({ code: 'INPUT_INVALID', detail: expect.stringContaining('NUL') })
    },
  )

  it('answers a path that is no URL with a problem document', async () => {
    const answer = await api.get('/v1/messages/seven/%zz')
    expect([answer.status, answer.type]).toEqual([400, 'application/problem+json'])
  })

  it('lists the recipients where the ID has several', async () => {
    await track({ messageId: '1', recipient: '+49 170 1' })
    const [row] = await api.db.select().from(messages)
    if (!row) throw new Error('no row')
    const { id: _, ...copy } = row
    await api.db.insert(messages).values({ ...copy, recipientKey: '491702', recipient: '+49 170 2' })
    const several = {
      status: 409,
      title: 'Several recipients',
      detail: 'The message ID covers 2 recipients; add ?recipient= with one of them.',
      code: 'AMBIGUOUS',
      recipients: ['+49 170 1', '+49 170 2'],
    }
    expectProblem(await api.get('/v1/messages/seven/1'), several)
    expectProblem(await api.post('/v1/messages/seven/1/poll'), several)
  })

  it('shows and erases one of several recipients of an account that is configured no more', async () => {
    await track({ messageId: '1', recipient: '+49 170 1' })
    const [row] = await api.db.select().from(messages)
    if (!row) throw new Error('no row')
    const { id: _, ...copy } = row
    const other = { ...copy, account: 'former', recipientKey: '491702', recipient: '+49 170 2' }
    await api.db.insert(messages).values([other, { ...other, recipientKey: '491703', recipient: null }])
    expect((await api.get('/v1/messages/former/1')).status).toBe(409)
    expect((await api.get('/v1/messages/former/1?recipient=%2B491703')).body).toMatchObject({ recipient: '491703' })
    const erased = await fetch(`${api.url}/v1/messages/former/1?recipient=00491702`, { method: 'DELETE' })
    expect(erased.status).toBe(204)
    expect((await api.get('/v1/messages/former/1')).body).toMatchObject({ recipient: '491703' })
  })

  it('answers 404 with a problem document where there is nothing', async () => {
    for (const path of ['/nothing', '/v1', '/v1/message', '/v1/messages/seven/1/2']) {
      expectProblem(await api.get(path), {
        status: 404,
        title: 'Not found',
        detail: 'There is nothing at this URL.',
        code: 'NOT_FOUND',
      })
    }
  })
})

describe('GET /v1/messages', () => {
  interface Page {
    messages: { messageId: string }[]
    nextCursor: string | null
  }
  const list = async (query: string) => {
    const { status, body } = await api.get(`/v1/messages${query}`)
    expect(status).toBe(200)
    const page = body as Page
    return { ids: page.messages.map(({ messageId }) => messageId), nextCursor: page.nextCursor }
  }

  it('lists whole messages, without their reports', async () => {
    await track({ messageId: '1', metadata: { order: 7 } })
    const one = await api.get('/v1/messages/seven/1')
    const { body } = await api.get('/v1/messages')
    expect(body).toEqual({
      messages: [expect.objectContaining({ messageId: '1', metadata: { order: 7 } })],
      nextCursor: null,
    })
    expect(one.body).toMatchObject((body as { messages: object[] }).messages[0] ?? {})
  })

  it('lists nothing where there is nothing', async () => {
    expect((await api.get('/v1/messages')).body).toEqual({ messages: [], nextCursor: null })
  })

  it('goes from page to page, newest first, each message once', async () => {
    for (const id of ['1', '2', '3', '4', '5']) await track({ messageId: id })
    const first = await list('?limit=2')
    expect(first).toEqual({ ids: ['5', '4'], nextCursor: expect.any(String) })
    await track({ messageId: '6' })
    const second = await list(`?limit=2&cursor=${first.nextCursor}`)
    expect(second).toEqual({ ids: ['3', '2'], nextCursor: expect.any(String) })
    expect(await list(`?limit=2&cursor=${second.nextCursor}`)).toEqual({ ids: ['1'], nextCursor: null })
  })

  it('has no further page when the last one is just full', async () => {
    await track({ messageId: '1' }, { messageId: '2' })
    expect(await list('?limit=2')).toEqual({ ids: ['2', '1'], nextCursor: null })
  })

  it('filters by account, status, and whether a message is outstanding', async () => {
    await track({ messageId: '1' })
    await track({ messageId: '2' })
    await api.post('/v1/messages', order([{ messageId: '3' }], 'second'))
    await applyReports(api.db, [report('2'), report('untracked')])
    expect((await list('')).ids).toEqual(['3', '2', '1'])
    expect((await list('?account=seven')).ids).toEqual(['2', '1'])
    expect((await list('?account=nobody')).ids).toEqual([])
    expect((await list('?status=delivered')).ids).toEqual(['2'])
    expect((await list('?outstanding=true')).ids).toEqual(['3', '1'])
    expect((await list('?outstanding=false')).ids).toEqual(['2'])
    expect((await list('?outstanding=true&account=seven&limit=1')).ids).toEqual(['1'])
  })

  it.each([
    ['cursor=7', 'cursor'],
    ['cursor=m', 'cursor'],
    ['cursor=m1234567890123456', 'cursor'],
    ['cursor=m1;DROP', 'cursor'],
    ['limit=0', 'limit'],
    ['limit=1001', 'limit'],
    ['limit=many', 'limit'],
    ['limit=1&limit=2', 'limit'],
    ['status=lost', 'status'],
    ['outstanding=yes', 'outstanding'],
    ['colour=red', 'colour'],
  ])('refuses ?%s and names the place', async (query, place) => {
    const answer = await api.get(`/v1/messages?${query}`)
    expect([answer.status, answer.type]).toEqual([400, 'application/problem+json'])
    expect(answer.body).toMatchObject({
      code: 'INPUT_INVALID',
      title: 'Invalid request',
      detail: expect.stringMatching(new RegExp(`^The query is not valid\\. .*${place}`)),
      errors: [{ path: place === 'colour' ? '' : place, message: expect.any(String) }],
    })
  })
})

describe('POST /v1/messages/{account}/{messageId}/poll', () => {
  const conflict = (detail: string) => ({ status: 409, title: 'Conflict', detail, code: 'CONFLICT' })

  it('makes a message due now', async () => {
    await track({ messageId: '1' })
    const before = Date.now()
    const answer = await api.post('/v1/messages/seven/1/poll')
    expect(answer.status).toBe(202)
    expect(answer.body).toEqual({
      account: 'seven',
      messageId: '1',
      recipient: null,
      status: null,
      final: false,
      statusAt: null,
      settledBy: null,
      sentAt: anyTime,
      polls: 0,
      nextPollAt: anyTime,
      windowEndsAt: anyTime,
      metadata: null,
      asking: 'due',
      failedPolls: 0,
      lastAttempt: null,
      blockedBy: [NO_WORKER],
    })
    const { nextPollAt } = answer.body as { nextPollAt: string }
    expect(Math.abs(Date.parse(nextPollAt) - before)).toBeLessThan(5_000)
  })

  it('leaves a message to the batch that is asking about it', async () => {
    await track({ messageId: '1', sentAt: fromNow(-HOUR) })
    await claimDue(api.db, { account: 'seven', limit: 100, leaseMs: HOUR }, ({ due }) => [due])
    const [before] = await api.db.select().from(messages)
    expect((await api.post('/v1/messages/seven/1/poll')).status).toBe(202)
    expect(await api.db.select().from(messages)).toEqual([before])
  })

  it('refuses a message that is final', async () => {
    await track({ messageId: '1' })
    await applyReports(api.db, [report('1')])
    const answer = await api.post('/v1/messages/seven/1/poll')
    expectProblem(answer, conflict('The message is not asked about any more: it is delivered.'))
  })

  it('refuses a message whose window has closed', async () => {
    await track({ messageId: '1' })
    await api.db
      .update(messages)
      .set({ windowEndsAt: new Date(Date.now() - 1000) })
      .where(eq(messages.messageId, '1'))
    const answer = await api.post('/v1/messages/seven/1/poll')
    expectProblem(answer, conflict('The message is not asked about any more: its look-up window has closed.'))
  })

  it('refuses a message whose account is never asked, or not configured any more', async () => {
    await api.post('/v1/messages', order([{ messageId: '1' }], 'silent'))
    const silent = await api.post('/v1/messages/silent/1/poll')
    const cannot = 'The message cannot be asked about: its account'
    expectProblem(silent, conflict(`${cannot} "silent" is set to query "off".`))
    await api.db.update(messages).set({ account: 'former' })
    const former = await api.post('/v1/messages/former/1/poll')
    expectProblem(former, conflict(`${cannot} "former" is not configured any more.`))
  })
})

import { request as httpRequest } from 'node:http'
import { text } from 'node:stream/consumers'
import { brotliCompressSync, deflateRawSync, gzipSync } from 'node:zlib'
import { eq } from 'drizzle-orm'
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest'
import { messages } from '../../src/db/schema.ts'
import { type Api, anyTime, expectProblem, startApi } from '../support/api.ts'

const TOKEN = 'a-long-webhook-token'
const NO_FIELD = 'the request has no field of a delivery receipt'
const accounts = JSON.stringify([
  { name: 'seven', provider: 'seven', apiKey: 'seven-api-key' },
  { name: 'guarded', provider: 'seven', apiKey: 'guarded-api-key', webhookToken: ['the-next-webhook-token', TOKEN] },
  { name: 'cm', provider: 'cm', productToken: 'cm-product-token' },
])

let api: Api
let open: Api
beforeAll(async () => {
  api = await startApi({ ACCOUNTS: accounts })
  open = await startApi({ ACCOUNTS: accounts, HOST: '0.0.0.0', API_KEYS: 'a-key-of-sixteen-or-more' })
})
afterAll(() => Promise.all([api.close(), open.close()]))
beforeEach(async () => {
  await api.db.delete(messages)
})

const receipt = (data: object = {}, event: object = {}) => ({
  data: { msg_id: '77232007287', status: 'DELIVERED', timestamp: '2026-03-01 13:00:05', ...data },
  webhook_event: 'dlr',
  webhook_timestamp: '2026-03-01 13:00:06',
  ...event,
})
const track = (messageId = '77232007287') =>
  api.post('/v1/messages', { account: 'seven', messages: [{ messageId, recipient: '+491701234567' }] })
const look = async (account = 'seven', messageId = '77232007287') =>
  (await api.get(`/v1/messages/${account}/${messageId}`)).body
/** A request with exactly these headers. */
function rawRequest(
  path: string,
  { method = 'POST', headers, body }: { method?: string; headers: string[][]; body: string },
) {
  return new Promise<{ status: number | undefined; body: string }>((resolve, reject) => {
    const length = ['host', new URL(api.url).host, 'content-length', String(Buffer.byteLength(body))]
    const sent = httpRequest(api.url + path, { method, headers: [...headers, length].flat() }, (answer) => {
      text(answer).then((body) => resolve({ status: answer.statusCode, body }), reject)
    })
    sent.on('error', reject)
    sent.end(body)
  })
}
const stored = async () => (await api.db.select().from(messages)).length

describe('a delivery receipt', () => {
  it('is stored and shown', async () => {
    await track()
    const answer = await api.post('/webhooks/seven', receipt())
    expect([answer.status, answer.type, answer.body]).toEqual([200, 'application/json', { reports: 1 }])
    expect(await look()).toEqual({
      account: 'seven',
      messageId: '77232007287',
      recipient: '+491701234567',
      status: 'delivered',
      final: true,
      statusAt: '2026-03-01T12:00:05.000Z',
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
      reports: [
        {
          status: 'delivered',
          rawStatus: 'DELIVERED',
          source: 'webhook',
          occurredAt: '2026-03-01T12:00:05.000Z',
          receivedAt: anyTime,
          outcome: 'applied',
          error: null,
        },
      ],
      queries: [],
      callbacks: [],
    })
  })

  it('that comes before its message is tracked is kept, and counts at tracking', async () => {
    expect((await api.post('/webhooks/seven', receipt())).status).toBe(200)
    expect((await api.get('/v1/messages/seven/77232007287')).status).toBe(404)
    expect((await api.get('/v1/messages')).body).toEqual({ messages: [], nextCursor: null })
    expect((await track()).body).toEqual({ tracked: 1, alreadyTracked: 0 })
    expect(await look()).toMatchObject({
      status: 'delivered',
      final: true,
      settledBy: 'webhook',
      nextPollAt: null,
      reports: [{ outcome: 'applied' }],
    })
  })

  it('that comes twice, late or against a final one is kept, and says so', async () => {
    await track()
    const late = { status: 'TRANSMITTED', timestamp: '2026-03-01 13:00:01' }
    const earlierFailure = { status: 'FAILED', timestamp: '2026-03-01 13:00:02' }
    for (const data of [{}, {}, late, earlierFailure]) {
      expect((await api.post('/webhooks/seven', receipt(data))).body).toEqual({ reports: 1 })
    }
    expect(await look()).toMatchObject({
      status: 'delivered',
      reports: [{ outcome: 'applied' }, { outcome: 'duplicate' }, { outcome: 'stale' }, { outcome: 'contradicting' }],
    })
  })

  it('of a status that nobody knows is kept as it came, and leaves the message outstanding', async () => {
    await track()
    expect((await api.post('/webhooks/seven', receipt({ status: 'TELEPORTED \0 "{' }))).status).toBe(200)
    expect(await look()).toMatchObject({
      status: 'accepted',
      final: false,
      nextPollAt: anyTime,
      reports: [{ rawStatus: 'TELEPORTED \ufffd "{' }],
    })
    const metrics = await api.get('/metrics')
    expect(metrics.body).toMatch(/lastword_unmapped_statuses_total\{account="seven"\} 1/)
  })

  it.each([
    ['application/json,application/json'],
    ['json'],
    ['/'],
    [''],
    ['application/json; charset=utf-8'],
    ['multipart/form-data'],
    [undefined],
  ])('is taken with the content type %j', async (type) => {
    const headers = type === undefined ? [] : [['content-type', type]]
    const body = JSON.stringify(receipt())
    expect(await rawRequest('/webhooks/seven', { headers, body })).toEqual({ status: 200, body: '{"reports":1}' })
  })

  it.each([
    ['gzip', gzipSync],
    ['deflate', deflateRawSync],
    ['br', brotliCompressSync],
  ])('is taken when it is compressed by %s', async (encoding, compress) => {
    const headers = { 'content-encoding': encoding }
    const body = new Uint8Array(compress(JSON.stringify(receipt())))
    expect(await api.post('/webhooks/seven', body, { headers })).toMatchObject({ status: 200, body: { reports: 1 } })
  })

  it('is taken as a multipart form, and as a form that is called something else', async () => {
    const fields = { webhook_event: 'dlr', msg_id: '77232007287', status: 'DELIVERED' }
    const form = new FormData()
    for (const [name, value] of Object.entries(fields)) form.append(name, value)
    const answers = await Promise.all([
      fetch(`${api.url}/webhooks/seven`, { method: 'POST', body: form }),
      fetch(`${api.url}/webhooks/seven`, { method: 'POST', body: String(new URLSearchParams(fields)) }),
      fetch(`${api.url}/webhooks/seven?${new URLSearchParams(fields)}`, { method: 'POST' }),
      fetch(`${api.url}/webhooks/seven?${new URLSearchParams(fields)}`),
    ])
    expect(await Promise.all(answers.map((answer) => answer.json()))).toEqual(answers.map(() => ({ reports: 1 })))
  })

  it('is taken from the body of a GET', async () => {
    const body = JSON.stringify(receipt())
    const headers = [['content-type', 'application/json']]
    expect(await rawRequest('/webhooks/seven', { method: 'GET', headers, body })).toMatchObject({
      body: '{"reports":1}',
    })
  })

  it('by an ID of any printable text settles a message of CM.com', async () => {
    for (const messageId of ['gid://shop/Sms/1c', 'n/a', '0d4e8a54-2b3f-4c5d-9e6f-7a8b9c0d1e2f', 'ü'.repeat(255)]) {
      const order = { account: 'cm', messages: [{ messageId, recipient: '+31612345678' }] }
      expect(await api.post('/v1/messages', order)).toMatchObject({ status: 202 })
      const query = new URLSearchParams({ REFERENCE: messageId, STATUS: '2', RECIPIENT: '+31 6 12345678' })
      expect(await api.get(`/webhooks/cm?${query}`)).toMatchObject({ status: 200, body: { reports: 1 } })
      expect(await look('cm', encodeURIComponent(messageId))).toMatchObject({ messageId, status: 'delivered' })
    }
  })

  it('of a CM.com reference that failed on one channel and was delivered by the next is delivered', async () => {
    await api.post('/v1/messages', { account: 'cm', messages: [{ messageId: 'order-1' }] })
    const reports = [
      'statuscode=2&received=2026-03-01T13:05:00&channel=SMS',
      'statuscode=3&received=2026-03-01T13:01:00&channel=WhatsApp',
    ]
    for (const report of reports) await api.get(`/webhooks/cm?reference=order-1&${report}`)
    const { status, reports: shown } = (await look('cm', 'order-1')) as { status: string; reports: unknown }
    expect(status).toBe('delivered')
    expect(shown).toMatchObject([{ details: { channel: 'SMS' } }, { details: { channel: 'WhatsApp' } }])
  })

  it('changes nothing by HEAD, and other methods are told which would do', async () => {
    await track()
    const query = '?webhook_event=dlr&msg_id=77232007287&status=DELIVERED'
    const head = await fetch(`${api.url}/webhooks/seven${query}`, { method: 'HEAD' })
    expect(head.status).toBe(200)
    for (const method of ['PUT', 'DELETE', 'PATCH', 'OPTIONS']) {
      for (const path of [`/webhooks/seven${query}`, `/webhooks/guarded/${TOKEN}/`]) {
        const { status, headers } = await fetch(api.url + path, { method })
        expect([method, status, headers.get('allow')]).toEqual([method, 405, 'GET, HEAD, POST'])
      }
    }
    expect(await look()).toMatchObject({ status: null })
  })

  it('of the status UNKNOWN is final, and a later real one corrects it', async () => {
    await track()
    await api.post('/webhooks/seven', receipt({ status: 'UNKNOWN', timestamp: '2026-03-01 14:00:00' }))
    expect(await look()).toMatchObject({ status: 'unknown', final: true, settledBy: 'webhook' })
    await api.post('/webhooks/seven', receipt())
    expect(await look()).toMatchObject({ status: 'delivered', final: true })
  })

  it.each(['0000-01-01 00:00:00', '9999-12-31 23:59:59', 'yesterday', '-1', '1970-01-01 00:00:00'])(
    'of the time %s is not refused for it',
    async (timestamp) => {
      await track()
      expect(await api.post('/webhooks/seven', receipt({ timestamp }))).toMatchObject({ status: 200 })
      expect(await look()).toMatchObject({ status: 'delivered', statusAt: anyTime })
    },
  )

  it('is answered one by one when many come at once, each after it is stored', async () => {
    const ids = Array.from({ length: 200 }, (_, index) => String(77_232_000_000 + index))
    const answers = await Promise.all(
      ids.map(async (msg_id) => {
        const { status } = await api.post('/webhooks/seven', receipt({ msg_id }))
        const rows = await api.db.select().from(messages).where(eq(messages.messageId, msg_id))
        return [status, rows.length]
      }),
    )
    expect(answers).toEqual(ids.map(() => [200, 1]))
  })
})

describe('what is no delivery receipt', () => {
  it.each([
    ['another event', receipt({}, { webhook_event: 'sms_mo' }), 'the event is not about the delivery of a message'],
    ['an empty body', '', 'the request is empty'],
    ['no body', undefined, 'the request is empty'],
    ['a number', '5', NO_FIELD],
    ['null', 'null', NO_FIELD],
    ['a list', '[]', NO_FIELD],
    ['a template that was not filled', 'msg_id={id}&status={status}', 'placeholders were not filled: msg_id, status'],
  ])('%s is accepted and ignored', async (_name, body, ignored) => {
    const answer = await api.post('/webhooks/seven', body)
    expect([answer.status, answer.body]).toEqual([200, { reports: 0, ignored }])
    expect(await stored()).toBe(0)
  })

  it('a test call by GET is accepted and ignored', async () => {
    expect(await api.get('/webhooks/seven?test=1')).toMatchObject({ status: 200, body: { reports: 0 } })
  })

  it.each([
    ['text that is neither JSON, XML nor a form', 'DELIVERED'],
    ['bytes that are not text', new Uint8Array([0xff, 0xfe, 0, 0x7b])],
    ['a receipt without data', receipt({}, { data: undefined })],
    ['a receipt without an ID', receipt({ msg_id: undefined })],
    ['a receipt of an impossible ID', receipt({ msg_id: 'a b\0' })],
    ['a receipt without a status', receipt({ status: '' })],
    ['a status that is no text', receipt({ status: { is: 'DELIVERED' } })],
  ])('%s is an error of the sender', async (_name, body) => {
    const answer = await api.post('/webhooks/seven', body)
    expect([answer.status, answer.type]).toEqual([400, 'application/problem+json'])
    expect(answer.body).toMatchObject({ code: 'INPUT_INVALID', detail: expect.stringMatching(/^Expected /) })
    expect(await stored()).toBe(0)
  })

  it('names the place that is wrong', async () => {
    expectProblem(await api.post('/webhooks/seven', receipt({ msg_id: 'a b' })), {
      status: 400,
      title: 'Invalid request',
      detail: 'Expected a delivery receipt, found one that says too little.',
      code: 'INPUT_INVALID',
      errors: [{ path: 'data.msg_id', message: 'expected a message ID' }],
    })
  })

  it('a body of 2 MiB is too large', async () => {
    const answer = await api.post('/webhooks/seven', new Uint8Array(2 * 1024 * 1024))
    expectProblem(answer, {
      status: 413,
      title: 'Invalid request',
      detail: 'The body is too large; send it in several requests.',
      code: 'INPUT_INVALID',
    })
  })

  it('never comes back in the error, nor do secrets', async () => {
    const secret = '+491701234567'
    const answers = await Promise.all([
      api.post('/webhooks/seven', `{"msg_id":"${secret}`),
      api.post('/webhooks/seven', receipt({ msg_id: `${secret} x` })),
      api.post('/webhooks/seven', receipt({ status: { is: secret } })),
      api.post(`/webhooks/guarded/${secret}`, receipt()),
      api.post(`/webhooks/${secret}`, receipt()),
      api.post(`/webhooks/seven/%zz${secret}`, receipt()),
    ])
    for (const { status, body } of answers) {
      expect(status).toBeGreaterThanOrEqual(400)
      for (const hidden of [secret, '491701234567', TOKEN, 'api-key']) {
        expect(JSON.stringify(body)).not.toContain(hidden)
      }
    }
  })
})

describe('who may call a webhook', () => {
  const unauthorized = {
    status: 401,
    title: 'Unauthorized',
    detail: 'Expected the webhook token of this account at the end of the URL.',
    code: 'UNAUTHORIZED',
  }

  it('whoever knows the token of the account', async () => {
    expect((await api.post(`/webhooks/guarded/${TOKEN}`, receipt())).body).toEqual({ reports: 1 })
    expect((await open.post(`/webhooks/guarded/${TOKEN}`, receipt())).body).toEqual({ reports: 1 })
    expect((await open.post('/webhooks/guarded/the-next-webhook-token', receipt())).body).toEqual({ reports: 1 })
  })

  it.each([
    ['a wrong token', '/webhooks/guarded/another-token'],
    ['half a token', `/webhooks/guarded/${TOKEN.slice(0, -1)}`],
    ['no token', '/webhooks/guarded'],
    ['an empty token', '/webhooks/guarded/'],
    ['the token in the query', `/webhooks/guarded?token=${TOKEN}`],
  ])('not with %s', async (_name, path) => {
    expectProblem(await api.post(path, receipt()), unauthorized)
    expectProblem(await api.get(path), unauthorized)
    expect(await stored()).toBe(0)
  })

  it('an API key is no webhook token', async () => {
    const headers = { authorization: 'Bearer a-key-of-sixteen-or-more' }
    expectProblem(await open.post('/webhooks/guarded', receipt(), { headers }), unauthorized)
  })

  it('only this machine, for an account with neither token nor signing key', async () => {
    expectProblem(await open.post('/webhooks/seven', receipt()), {
      status: 403,
      title: 'Forbidden',
      detail:
        'Account "seven" has neither a signingKey nor a webhookToken, so it takes webhooks on a loopback HOST only.',
      code: 'FORBIDDEN',
    })
    expect((await open.post('/webhooks/seven', 'garbage')).status).toBe(403)
    expect(await open.db.select().from(messages).where(eq(messages.account, 'seven'))).toEqual([])
  })

  it.each(['/webhooks/nobody', `/webhooks/nobody/${TOKEN}`, '/webhooks/__proto__', '/webhooks/SEVEN'])(
    'nobody at %s, where no account is',
    async (path) => {
      expectProblem(await api.post(path, receipt()), {
        status: 404,
        title: 'Not found',
        detail: 'No such account is configured here; correct the webhook URL.',
        code: 'NOT_FOUND',
      })
    },
  )

  it('is counted, by account and result', async () => {
    const { body } = await api.get('/metrics')
    expect(body).toMatch(/lastword_webhooks_total\{account="seven",result="accepted"\} \d+/)
    expect(body).toMatch(/lastword_webhooks_total\{account="seven",result="ignored"\} \d+/)
    expect(body).toMatch(/lastword_webhooks_total\{account="seven",result="input_invalid"\} \d+/)
    expect(body).toMatch(/lastword_webhooks_total\{account="guarded",result="unauthorized"\} \d+/)
  })
})

/** Cases from the field, over real HTTP: receipts in odd shapes, and orders as apps really send them. */
import { once } from 'node:events'
import { request as httpRequest, type IncomingMessage } from 'node:http'
import { text } from 'node:stream/consumers'
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest'
import { messages, statusReports } from '../../src/db/schema.ts'
import { type Api, startApi } from '../support/api.ts'

let api: Api
beforeAll(async () => {
  const accounts = [
    { name: 'seven', provider: 'seven', apiKey: 'seven-api-key' },
    { name: 'cm', provider: 'cm', productToken: 'cm-product-token' },
    { name: 'dutch', provider: 'cm', productToken: 'cm-product-token', defaultCountry: 'NL' },
  ]
  api = await startApi({ ACCOUNTS: JSON.stringify(accounts) })
})
afterAll(() => api?.close())
beforeEach(async () => {
  await api.db.delete(messages)
  await api.db.delete(statusReports)
})

const ID = '77232007287'
const NUMBER = '31612345678'

interface Sent {
  method?: string
  query?: string
  type?: string | null
  body?: string | Buffer
}

/** Sends exactly this. */
async function send(account: string, { method = 'POST', query = '', type = null, body = '' }: Sent) {
  const bytes = Buffer.from(body)
  const headers = {
    ...(type === null ? {} : { 'content-type': type }),
    'content-length': String(bytes.length),
  }
  const sending = httpRequest(`${api.url}/webhooks/${account}${query}`, { method, headers }).end(bytes)
  const [answer] = (await once(sending, 'response')) as [IncomingMessage]
  return { status: answer.statusCode, headers: answer.headers, text: await text(answer) }
}

const sevenJson = (data: object = {}, more: object = {}) =>
  JSON.stringify({ webhook_event: 'dlr', data: { msg_id: ID, status: 'DELIVERED', ...data }, ...more })
const FIELDS = `webhook_event=dlr&msg_id=${ID}&status=DELIVERED`
const PARTS = ['webhook_event=dlr', `data[msg_id]=${ID}`, 'data[status]=DELIVERED'].map((field) => field.split('='))
const multipart = (fields: string[][]) =>
  `${fields.map(([name, value]) => `--x\r\nContent-Disposition: form-data; name="${name}"\r\n\r\n${value}\r\n`).join('')}--x--\r\n`
const cmXml = (inner = '', code = '2') =>
  `<MESSAGES><MSG RECEIVED="2026-01-31T11:00:05"><TO>00${NUMBER}</TO><REFERENCE>order-1</REFERENCE><STATUS><CODE>${code}</CODE>${inner}</STATUS></MSG></MESSAGES>`
const cmJson = (msg: object) => JSON.stringify({ messages: { msg } })
const described = (words: string) => cmXml(`<ERRORCODE>5</ERRORCODE><ERRORDESCRIPTION>${words}</ERRORDESCRIPTION>`, '3')

const JSON_TYPE = 'application/json'

describe('a receipt of seven.io', () => {
  const cases: [string, Sent, string][] = [
    [
      'of the older call-back, which names no event',
      { method: 'GET', query: `?msg_id=${ID}&status=DELIVERED` },
      'delivered',
    ],
    ['of RCS', { type: JSON_TYPE, body: sevenJson({}, { webhook_event: 'rcs' }) }, 'delivered'],
    [
      'of RCS, failed',
      { type: JSON_TYPE, body: sevenJson({ status: 'FAILED' }, { webhook_event: 'rcs_dlr' }) },
      'failed',
    ],
    ['that was read', { type: JSON_TYPE, body: sevenJson({ status: 'READ' }) }, 'read'],
    ['of an unknown fate', { type: JSON_TYPE, body: sevenJson({ status: 'UNKNOWN' }) }, 'unknown'],
    ['in parts', { type: 'multipart/form-data; boundary=x', body: multipart(PARTS) }, 'delivered'],
    ['before the rest of another', { type: JSON_TYPE, body: `${sevenJson()}ta"` }, 'delivered'],
    ['as a form behind broken JSON', { body: `%7B%22a%22:%22b&${FIELDS}` }, 'delivered'],
    ['as a form behind broken XML', { body: `<a b&${FIELDS}` }, 'delivered'],
    ['as a form that is called text', { type: 'text/plain', body: FIELDS }, 'delivered'],
    ['as a form that is called bytes', { type: 'application/octet-stream', body: FIELDS }, 'delivered'],
    ['in a list', { type: JSON_TYPE, body: `[${sevenJson()},${sevenJson({ msg_id: '1' })}]` }, 'delivered'],
    [
      'with a list of data',
      { type: JSON_TYPE, body: JSON.stringify({ webhook_event: 'dlr', data: [{ msg_id: ID, status: 'DELIVERED' }] }) },
      'delivered',
    ],
    ['with its fields in the query of a POST', { query: `?${FIELDS}` }, 'delivered'],
    ['whose event is written large', { type: JSON_TYPE, body: sevenJson({}, { webhook_event: 'DLR' }) }, 'delivered'],
    [
      'without data',
      { type: JSON_TYPE, body: JSON.stringify({ webhook_event: 'dlr', msg_id: Number(ID), status: 'DELIVERED' }) },
      'delivered',
    ],
  ]

  it.each(cases)('%s is stored', async (_name, sent, status) => {
    await api.post('/v1/messages', { account: 'seven', messages: [{ messageId: ID }] })
    expect(await send('seven', sent)).toMatchObject({ status: 200 })
    expect((await api.get(`/v1/messages/seven/${ID}`)).body).toMatchObject({ status })
  })

  it.each([
    ['typing', sevenJson({ status: 'IS_TYPING' }, { webhook_event: 'rcs' })],
    ['a message from WhatsApp', '{"event":"wa_mo","data":{"id":"1","text":"hi"}}'],
    ['nothing', ''],
  ])('is not made of %s, which is accepted', async (_name, body) => {
    expect(await send('seven', { type: JSON_TYPE, body })).toMatchObject({ status: 200 })
    expect(await api.db.select().from(statusReports)).toEqual([])
  })
})

describe('a receipt of CM.com', () => {
  const track = (messageId = 'order-1') =>
    api.post('/v1/messages', { account: 'cm', messages: [{ messageId, recipient: `+${NUMBER}` }] })
  const find = async (messageId = 'order-1') =>
    (await api.get(`/v1/messages/cm/${encodeURIComponent(messageId)}`)).body as { status: string; reports: object[] }

  it.each<[string, Sent]>([
    ...[{ reference: '' }, { reference: null }, {}].map((msg): [string, Sent] => [
      JSON.stringify(msg),
      { type: JSON_TYPE, body: cmJson({ ...msg, to: `00${NUMBER}`, status: { code: '2' } }) },
    ]),
    ...[
      '?reference=[REFERENCE]&statuscode=[STATUS]&to=[GSM]',
      '?DATETIME_S=&ID=&STATUSISSUCCESS=&REFERENCE=&STATUS=&GSM=',
      '?test=1',
      '?reference=order-1&statuscode=[STATUS]&to=[GSM]',
    ].map((query): [string, Sent] => [query, { method: 'GET', query: query.replace(/[[\]]/g, encodeURIComponent) }]),
  ])('is not made of %s, which is accepted', async (_name, sent) => {
    await track()
    expect(await send('cm', sent)).toMatchObject({ status: 200 })
    expect(await find()).toMatchObject({ status: null, reports: [] })
  })

  it.each<[string, Sent, string, string | undefined]>([
    [
      'in UTF-16',
      { type: 'application/xml', body: Buffer.from(`\ufeff${cmXml()}`, 'utf16le') },
      'delivered',
      undefined,
    ],
    [
      'in Latin-1',
      { type: 'application/xml; charset=ISO-8859-1', body: Buffer.from(described('Empfänger'), 'latin1') },
      'failed',
      'Empfänger',
    ],
    ['with the rest of another behind it', { type: 'text/xml', body: `${cmXml()}AGES>` }, 'delivered', undefined],
    ['with a bare ampersand', { type: 'text/xml', body: described('AT&T blocked') }, 'failed', 'AT&T blocked'],
    ['with an entity of HTML', { type: 'text/xml', body: described('caf&eacute;') }, 'failed', 'café'],
    [
      'in parts',
      {
        type: 'multipart/form-data; boundary=x',
        body: multipart([
          ['reference', 'order-1'],
          ['statuscode', '2'],
          ['to', `00${NUMBER}`],
        ]),
      },
      'delivered',
      undefined,
    ],
  ])('is read %s', async (_name, sent, status, description) => {
    await track()
    expect(await send('cm', sent)).toMatchObject({ status: 200 })
    const error = description === undefined ? null : { code: '5', description }
    expect(await find()).toMatchObject({ status, reports: [{ error }] })
  })

  it('settles the one of its number, in the oldest words', async () => {
    const recipients = ['+44111223341', `+${NUMBER}`]
    const order = recipients.map((recipient) => ({ messageId: 'two', recipient }))
    await api.post('/v1/messages', { account: 'cm', messages: order })
    const query = '?REFERENCE=two&STATUS=2&RECIPIENT=%2B44+111+22+33+41'
    expect(await send('cm', { method: 'GET', query })).toMatchObject({ status: 200 })
    const statusOf = async (recipient = '') =>
      ((await api.get(`/v1/messages/cm/two?recipient=${encodeURIComponent(recipient)}`)).body as { status: string })
        .status
    expect([await statusOf(recipients[0]), await statusOf(recipients[1])]).toEqual(['delivered', null])
  })
})

describe('an order', () => {
  it.each([
    ['null', null],
    ['an empty ID', ''],
    ['a blank ID', ' '],
  ])('with %s among others is tracked in part where that is asked for', async (_name, bad) => {
    const order = { account: 'seven', messages: [{ messageId: '1' }, { messageId: bad }, { messageId: '2' }] }
    const refused = await api.post('/v1/messages', order)
    expect(refused).toMatchObject({ status: 400 })
    expect(await api.db.select().from(messages)).toEqual([])
    const partial = await api.post('/v1/messages?partial=true', order)
    expect(partial).toMatchObject({
      status: 202,
      body: { tracked: 2, alreadyTracked: 0, refused: [{ index: 1, messageId: bad, reason: expect.any(String) }] },
    })
  })

  it('with an ID twice counts it once', async () => {
    const order = { account: 'seven', messages: [{ messageId: '1' }, { messageId: 1 }] }
    expect((await api.post('/v1/messages', order)).body).toEqual({ tracked: 1, alreadyTracked: 1 })
  })

  it.each([2 / 24, 10, 360])('of a message that is sent in %d days is asked about from then on', async (days) => {
    const sentAt = new Date(Date.now() + days * 86_400_000)
    expect(await api.post('/v1/messages', { account: 'seven', messages: [{ messageId: '1', sentAt }] })).toMatchObject({
      status: 202,
    })
    const { nextPollAt, windowEndsAt } = (await api.get('/v1/messages/seven/1')).body as Record<string, string>
    expect(Date.parse(nextPollAt ?? '')).toBeGreaterThanOrEqual(sentAt.getTime())
    expect(Date.parse(windowEndsAt ?? '')).toBe(sentAt.getTime() + 30 * 86_400_000)
  })

  it.each([
    '+31 (0)6 12345678',
    '\u202A+31612345678\u202C',
    '+31 6\u201312345678',
    'tel:+31612345678',
    '\t+31612345678',
  ])('for the number %j meets its receipt', async (recipient) => {
    const order = { account: 'cm', messages: [{ messageId: 'order-1', recipient }] }
    expect(await api.post('/v1/messages', order)).toMatchObject({ status: 202 })
    await send('cm', { type: 'application/xml', body: cmXml() })
    expect((await api.get('/v1/messages/cm/order-1')).body).toMatchObject({ status: 'delivered' })
  })

  it('for a number without its country is refused, unless the account names one', async () => {
    const order = (account: string) => ({ account, messages: [{ messageId: 'order-1', recipient: '0612345678' }] })
    const refused = await api.post('/v1/messages', order('cm'))
    expect([refused.status, JSON.stringify(refused.body)]).toEqual([400, expect.stringContaining('country code')])
    expect(await api.post('/v1/messages', order('dutch'))).toMatchObject({ status: 202 })
    await send('dutch', { type: 'application/xml', body: cmXml() })
    expect((await api.get('/v1/messages/dutch/order-1')).body).toMatchObject({ status: 'delivered' })
  })

  it('with a number that JSON cannot carry exactly is refused, and says what to do', async () => {
    const body = '{"account":"seven","messages":[{"messageId":"1","metadata":{"order":1546130668394913822}}]}'
    const answer = await api.post('/v1/messages', body)
    expect([answer.status, JSON.stringify(answer.body)]).toEqual([400, expect.stringContaining('send it as text')])
  })
})

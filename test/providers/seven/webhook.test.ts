import { unescape as decode, stringify } from 'node:querystring'
import { gzipSync } from 'node:zlib'
import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { LastwordError } from '../../../src/core/errors.ts'
import type { StatusReport } from '../../../src/core/status.ts'
import type { Provider, WebhookRequest } from '../../../src/providers/provider.ts'
import { readWebhook } from '../../../src/providers/receipt.ts'
import type { SevenAccount } from '../../../src/providers/seven/account.ts'
import { seven } from '../../../src/providers/seven/seven.ts'

const GIVEN = { name: 'main', provider: 'seven', apiKey: 'sEcReT-api-key' }
const account: SevenAccount = seven.accountSchema.parse(GIVEN)
const RECEIVED_AT = new Date('2026-01-31T10:00:00.000Z')
const FORM = 'application/x-www-form-urlencoded'

const OTHER = 'the event is not about the delivery of a message'
const EMPTY = 'the fields of the receipt are empty'
const NO_FIELD = 'the request has no field of a delivery receipt'
const TOO_LITTLE = 'Expected a delivery receipt, found one that says too little.'

/** Words that are members of every object: a table must not find them. */
const MEMBERS = ['constructor', 'toString', 'valueOf', 'hasOwnProperty', '__proto__']

function request(changes: Partial<WebhookRequest>): WebhookRequest {
  return {
    method: 'POST',
    publicUrl: undefined,
    path: '/webhooks/main',
    headers: {},
    body: Buffer.alloc(0),
    receivedAt: RECEIVED_AT,
    ...changes,
  }
}

const byJson = (body: unknown, type = 'application/json') =>
  request({
    headers: { 'content-type': type },
    body: Buffer.from(typeof body === 'string' ? body : JSON.stringify(body)),
  })
const byForm = (body: string, type = FORM) => request({ headers: { 'content-type': type }, body: Buffer.from(body) })
const byGet = (query: Record<string, string | string[]>) =>
  request({ method: 'GET', path: `/webhooks/main?${stringify(query)}` })

const readAs = (of: SevenAccount, asked: WebhookRequest) => readWebhook(seven as Provider<never> as Provider, of, asked)

const transmitted = (changes: Partial<StatusReport> = {}): StatusReport => ({
  account: 'main',
  messageId: '77149843739',
  status: 'transmitted',
  rawStatus: 'TRANSMITTED',
  occurredAt: new Date('2021-08-24T06:08:00.000Z'),
  source: 'webhook',
  ...changes,
})

async function thrownBy(action: () => unknown): Promise<unknown> {
  try {
    await action()
  } catch (error) {
    return error
  }
  throw new Error('Expected an error, got none')
}

describe('a delivery receipt as JSON', () => {
  const read = (body: unknown) => readAs(account, byJson(body))

  const receipt = (data: object = {}, envelope: object = {}) => ({
    data: { msg_id: '77149843739', status: 'TRANSMITTED', timestamp: '2021-08-24 08:08:00.000000', ...data },
    webhook_event: 'dlr',
    webhook_timestamp: '2021-08-24T08:08:02+02:00',
    ...envelope,
  })

  it.each<[string, object, Partial<StatusReport>]>([
    ['as the documents have it', receipt(), {}],
    ['with a foreign_id', receipt({ foreign_id: 'order-7' }), { details: { foreignId: 'order-7' } }],
    ['with a number as foreign_id', receipt({ foreign_id: 7 }), { details: { foreignId: '7' } }],
    ['with null as foreign_id', receipt({ foreign_id: null }), {}],
    ['with an empty foreign_id', receipt({ foreign_id: '' }), {}],
    ['with an object as foreign_id', receipt({ foreign_id: {} }), {}],
    ['with a number as ID', receipt({ msg_id: 77_149_843_739 }), {}],
    ['with spaces around the ID', receipt({ msg_id: ' 77149843739 ' }), {}],
    ['with further fields', receipt({ label: 'x' }, { webhook_id: 3 }), {}],
    ['in odd case', receipt({ status: 'Delivered' }), { status: 'delivered', rawStatus: 'Delivered' }],
    [
      'with an unknown word',
      receipt({ status: 'ENROUTE' }),
      { status: 'accepted', rawStatus: 'ENROUTE', unmapped: true },
    ],
    [
      'with 63 seconds',
      receipt({ timestamp: '2021-08-24 08:08:63.5' }),
      { occurredAt: new Date('2021-08-24T06:09:03.500Z') },
    ],
    ['without a time', receipt({ timestamp: undefined }), { occurredAt: new Date('2021-08-24T06:08:02.000Z') }],
    ['with null as time', receipt({ timestamp: null }), { occurredAt: new Date('2021-08-24T06:08:02.000Z') }],
    ['with garbage as time', receipt({ timestamp: 'soon' }), { occurredAt: new Date('2021-08-24T06:08:02.000Z') }],
    ['with Unix seconds as time', receipt({ timestamp: 1_629_785_280 }), {}],
    ['without the envelope’s time', receipt({}, { webhook_timestamp: undefined }), {}],
    ['with a number as the envelope’s time', receipt({}, { webhook_timestamp: 1_629_785_282 }), {}],
    ['without any time', receipt({ timestamp: null }, { webhook_timestamp: null }), { occurredAt: RECEIVED_AT }],
    [
      'in the doubled hour, announced in the first',
      receipt({ timestamp: '2026-10-25 02:30:00.000' }, { webhook_timestamp: '2026-10-25T02:30:05+02:00' }),
      { occurredAt: new Date('2026-10-25T00:30:00.000Z') },
    ],
    [
      'in the doubled hour, announced in the second',
      receipt({ timestamp: '2026-10-25 02:30:00.000' }, { webhook_timestamp: '2026-10-25T02:30:05+01:00' }),
      { occurredAt: new Date('2026-10-25T01:30:00.000Z') },
    ],
  ])('is read %s', async (_, body, changes) => {
    expect(await read(body)).toEqual({ reports: [transmitted(changes)] })
  })

  it('is read with an ID that a number could not carry', async () => {
    const body = '{"webhook_event":"dlr","data":{"msg_id":90071992547409931234,"status":"DELIVERED"}}'
    const { reports } = await read(body)
    expect(reports).toMatchObject([{ messageId: '90071992547409931234', status: 'delivered' }])
  })

  it('is read after a byte order mark with a byte that UTF-8 does not know', async () => {
    const [before = '', after = ''] = JSON.stringify(receipt({ label: '|' })).split('|')
    const body = Buffer.concat([Buffer.from(`\uFEFF${before}`), Buffer.from([0xe4]), Buffer.from(after)])
    expect(await readAs(account, request({ body }))).toEqual({ reports: [transmitted()] })
  })

  it('is read from texts in texts, as gateways pass them on', async () => {
    let body: unknown = receipt()
    for (const name of ['a', 'b', 'c', 'd']) body = { [name]: JSON.stringify(body) }
    expect(await read(body)).toEqual({ reports: [transmitted()] })
  })

  it('is read after a byte order mark', async () => {
    expect(await read(`\uFEFF${JSON.stringify(receipt())}`)).toEqual({ reports: [transmitted()] })
  })

  it.each<[string, unknown, string]>([
    ['an empty body', '', 'the request is empty'],
    ['another event', receipt({}, { webhook_event: 'sms_mo' }), OTHER],
    ['another event with other data', { webhook_event: 'voice_status', data: [] }, OTHER],
    ['WhatsApp’s envelope', { event: 'wa_mo', data: { msg_id: '1', status: 'x' } }, OTHER],
    [
      'who is typing',
      receipt({ status: 'IS_TYPING' }, { webhook_event: 'rcs' }),
      'the status says that somebody is typing',
    ],
    ['null', 'null', NO_FIELD],
    ['HTML', '<html></html>', NO_FIELD],
    ['blanks', '  ', 'the request is empty'],
    ['another event without data', { webhook_event: 'all' }, 'the event is not dlr'],
    [
      'an RCS message that came in',
      { webhook_event: 'rcs', data: { msg_id: '1', text: 'hi' } },
      'the event is not dlr',
    ],
  ])('ignores %s', async (_, body, ignored) => {
    expect(await read(body)).toEqual({ reports: [], ignored })
  })

  it.each<[string, unknown, string[]]>([
    ['no message ID', receipt({ msg_id: undefined }), ['data.msg_id']],
    ['null as message ID', receipt({ msg_id: null }), ['data.msg_id']],
    ['an empty message ID', receipt({ msg_id: '' }), ['data.msg_id']],
    ['a number below zero as message ID', receipt({ msg_id: -1 }), ['data.msg_id']],
    ['a fraction as message ID', receipt({ msg_id: 1.5 }), ['data.msg_id']],
    ['two message IDs', receipt({ msg_id: ['1', '2'] }), ['data.msg_id']],
    ['a message ID that cannot be one', receipt({ msg_id: '1\u0000' }), ['data.msg_id']],
    ['no status', receipt({ status: undefined }), ['data.status']],
    ['an empty status', receipt({ status: '' }), ['data.status']],
    ['no data', { webhook_event: 'dlr' }, ['msg_id', 'status']],
    ['data that is a text', { webhook_event: 'dlr', data: 'DELIVERED' }, ['msg_id', 'status']],
  ])('refuses %s and names the place', async (_, body, paths) => {
    const error = await thrownBy(() => read(body))
    expect(error).toBeInstanceOf(LastwordError)
    expect(error).toMatchObject({
      code: 'INPUT_INVALID',
      message: TOO_LITTLE,
      issues: paths.map((path) => ({ path, message: expect.stringMatching(/^expected /) })),
    })
  })

  it.each<[string, unknown]>([
    ['without an event', receipt({}, { webhook_event: undefined })],
    ['with its event in another case', receipt({}, { webhook_event: 'Dlr ' })],
    ['without data around it', { webhook_event: 'dlr', ...receipt().data }],
    ['in a list', [receipt()]],
    ['in a list as data', { webhook_event: 'dlr', data: [receipt().data] }],
    ['as a text in data', { webhook_event: 'dlr', data: JSON.stringify(receipt().data) }],
    [
      'on a line of its own',
      `${JSON.stringify(receipt({}, { webhook_event: 'tracking' }))}\n${JSON.stringify(receipt())}`,
    ],
    ['by an event nobody has documented', receipt({}, { webhook_event: 'sms_dlr' })],
  ])('is read %s', async (_, body) => {
    expect(await read(body)).toMatchObject({ reports: [transmitted()] })
  })

  it('is read beside others, and beside one that cannot be read', async () => {
    const reading = await read([receipt(), receipt({ msg_id: '' }), receipt({ msg_id: '8', status: 'READ' })])
    expect(reading.reports).toEqual([transmitted(), transmitted({ messageId: '8', status: 'read', rawStatus: 'READ' })])
    expect(reading.skipped).toEqual([{ path: '[1].data.msg_id', message: 'expected a message ID' }])
  })

  it.each(['rcs', 'rcs_dlr'])('is read of RCS, with what it says about the sender: %s', async (webhook_event) => {
    const { reports } = await read(
      receipt({ agent_id: 'shop', sender: 'Shop', status: 'DELIVERED' }, { webhook_event }),
    )
    const details = { channel: 'RCS', agentId: 'shop' }
    expect(reports).toEqual([transmitted({ status: 'delivered', rawStatus: 'DELIVERED', details })])
  })

  it.each([
    ['text', 'DELIVERED', 'text that is neither JSON, XML nor a form'],
    ['cut-off JSON', '{"data":{"msg_id":"7714', 'JSON with a mistake at line 1, column 24'],
    ['JSON without its last brace', '{"data":\n{"msg_id":"1"}', 'JSON with a mistake at line 2, column 15'],
    ['cut-off XML', '<receipt><msg_id>1', 'XML with a mistake at line 1, column 1'],
    ['a cut-off part', '--b\nContent-Disposition: form-data; na', 'a multipart form whose parts cannot be told apart'],
  ])('refuses a body that cannot be read, and says why: %s', async (_, body, found) => {
    const error = await thrownBy(() => read(body))
    expect(error).toBeInstanceOf(LastwordError)
    expect(error).toMatchObject({ code: 'INPUT_INVALID', message: `Expected a delivery receipt, found ${found}.` })
  })
})

describe('a delivery receipt as a form or in a query', () => {
  const FLAT = {
    webhook_event: 'dlr',
    webhook_timestamp: '2021-08-24T08:08:02+02:00',
    msg_id: '77149843739',
    status: 'TRANSMITTED',
    timestamp: '2021-08-24 08:08:00.000000',
  }
  const { webhook_event, webhook_timestamp, ...data } = FLAT
  const NESTED = {
    webhook_event,
    webhook_timestamp,
    ...Object.fromEntries(Object.entries(data).map(([name, value]) => [`data[${name}]`, value])),
  }
  type Fields = Record<string, string>
  const without = (fields: Fields, ...names: string[]) =>
    Object.fromEntries(Object.entries(fields).filter(([name]) => !names.includes(name)))

  /** One set of fields in every form it can arrive in. */
  const formsOf = (fields: Fields): [string, WebhookRequest][] => {
    const encoded = new URLSearchParams(fields).toString()
    return [
      ['GET', byGet(fields)],
      ['form', byForm(encoded)],
      ['form with a charset', byForm(encoded, 'Application/X-WWW-Form-Urlencoded; charset=UTF-8')],
      ['form with bare brackets', byForm(encoded.replaceAll('%5B', '[').replaceAll('%5D', ']'))],
    ]
  }

  const cases: [string, Fields, Partial<StatusReport>][] = [
    ['flat', FLAT, {}],
    ['nested', NESTED, {}],
    ['flat, with a foreign_id', { ...FLAT, foreign_id: 'order 7+ä' }, { details: { foreignId: 'order 7+ä' } }],
    ['nested, with a foreign_id', { ...NESTED, 'data[foreign_id]': '7' }, { details: { foreignId: '7' } }],
    ['flat, with an empty foreign_id', { ...FLAT, foreign_id: '' }, {}],
    ['flat, without times', without(FLAT, 'webhook_timestamp', 'timestamp'), { occurredAt: RECEIVED_AT }],
    [
      'nested, without its own time',
      without(NESTED, 'data[timestamp]'),
      { occurredAt: new Date('2021-08-24T06:08:02.000Z') },
    ],
    ['flat, with an empty time', { ...FLAT, timestamp: '' }, { occurredAt: new Date('2021-08-24T06:08:02.000Z') }],
    [
      'flat, with an unknown word',
      { ...FLAT, status: 'ENROUTE' },
      { status: 'accepted', rawStatus: 'ENROUTE', unmapped: true },
    ],
    ['flat, with spaces around the ID', { ...FLAT, msg_id: ' 77149843739 ' }, {}],
    ['flat, with further fields', { ...FLAT, utm: 'x' }, {}],
  ]
  const readable = cases.flatMap(([name, fields, changes]) =>
    formsOf(fields).map(([form, asked]) => [form, name, asked, changes] as const),
  )

  it.each(readable)('%s, %s, is read', async (_form, _name, asked, changes) => {
    expect(await readAs(account, asked)).toEqual({ reports: [transmitted(changes)] })
  })

  const part = (name: string, value: string) => `Content-Disposition: form-data; ${name}\r\n\r\n${value}\r\n`
  const multipart = (boundary: string, parts: string[], end = `--${boundary}--`) =>
    parts.map((text) => `--${boundary}\r\n${text}`).join('') + end
  const MESSAGE_ID = part('name="msg_id"', '77149843739')
  const STATUS = part('name="status"', 'TRANSMITTED')

  it.each([
    ['a boundary that stands in values', multipart('7', [MESSAGE_ID, STATUS])],
    ['a boundary of all signs', multipart("a'()+_,-./:=?", [MESSAGE_ID, STATUS])],
    ['no last boundary', multipart('b', [MESSAGE_ID, STATUS], '')],
    ['text before and after', `A message.\r\n${multipart('b', [MESSAGE_ID, STATUS])}\r\nThe end.`],
    [
      'names without quotes',
      multipart('b', [part('name=msg_id', '77149843739'), part("name='status'", 'TRANSMITTED')]),
    ],
    ['files', multipart('b', [part('filename="a"; name="msg_id"', '77149843739'), STATUS])],
    [
      'base64',
      multipart('b', [MESSAGE_ID, `Content-Transfer-Encoding: base64\r\n${part('name="status"', 'VFJBTlNNSVRURUQ=')}`]),
    ],
    [
      'one part without a name',
      multipart('b', [`Content-Type: application/json\r\n\r\n{"msg_id":"77149843739","status":"TRANSMITTED"}\r\n`]),
    ],
    ['lines after the blank one', multipart('b', [MESSAGE_ID, STATUS, part('name="note"', '\r\na: b\r\n\r\nc')])],
  ])('in parts is read with %s', async (_, body) => {
    expect(await readAs(account, byForm(body))).toEqual({ reports: [transmitted({ occurredAt: RECEIVED_AT })] })
  })

  it('is read as plain text, a field a line', async () => {
    const text = 'webhook_event=dlr\r\nmsg_id=77149843739\r\nstatus=TRANSMITTED\r\n'
    const reading = await readAs(account, { ...byForm(text), headers: { 'content-type': 'text/plain' } })
    expect(reading).toEqual({ reports: [transmitted({ occurredAt: RECEIVED_AT })] })
  })

  it('is read from JSON with a line break in a text, and a comma that nothing follows', async () => {
    const text = '{"data":{"msg_id":"77149843739","status":"TRANSMITTED","foreign_id":"a\nb",},"webhook_event":"dlr"}'
    const reading = await readAs(account, { ...byForm(text), headers: { 'content-type': 'application/json' } })
    expect(reading).toEqual({ reports: [transmitted({ occurredAt: RECEIVED_AT, details: { foreignId: 'a b' } })] })
  })

  it('is refused by the name of its encoding where that cannot be undone', async () => {
    const cut = gzipSync('msg_id=77149843739&status=TRANSMITTED').subarray(0, -12)
    const request = { ...byForm(''), body: cut, headers: { 'content-type': FORM, 'content-encoding': 'gzip' } }
    await expect(readAs(account, request)).rejects.toMatchObject({
      code: 'INPUT_INVALID',
      message: 'Expected a delivery receipt, found a body in "gzip" that cannot be inflated.',
    })
  })

  it('is read for each of a list in brackets, and with &amp; between its fields', async () => {
    const two = 'data[][msg_id]=1&data[][status]=DELIVERED&data[][msg_id]=2&data[][status]=FAILED'
    for (const form of [two, two.replaceAll('&', '&amp;')]) {
      const { reports } = await readAs(account, byForm(form))
      expect(reports.map(({ messageId, status }) => [messageId, status])).toEqual([
        ['1', 'delivered'],
        ['2', 'failed'],
      ])
    }
    const { reports } = await readAs(account, byForm('msg_id[]=1&status[]=DELIVERED'))
    expect(reports).toMatchObject([{ messageId: '1', status: 'delivered' }])
  })

  it('in tens of thousands of parts is read in time', async () => {
    const begun = performance.now()
    const body = multipart('b', [...Array.from({ length: 19_000 }, () => part('name="a"', '1')), MESSAGE_ID, STATUS])
    expect((await readAs(account, byForm(body))).reports).toHaveLength(1)
    expect(performance.now() - begun).toBeLessThan(3_000)
  })

  it('is read as JSON when its sender calls JSON a form', async () => {
    const asked = byJson({ webhook_event, webhook_timestamp, data }, FORM)
    expect(await readAs(account, asked)).toEqual({ reports: [transmitted()] })
  })

  it.each<[string, WebhookRequest, string]>([
    ['a GET without a query', request({ method: 'GET' }), 'the request is empty'],
    ['a GET with fields of its own', byGet({ test: '1' }), NO_FIELD],
    ['an empty form', byForm(''), 'the request is empty'],
    ['fields without values by GET', byGet({ webhook_event: '', msg_id: '', status: '', timestamp: '' }), EMPTY],
    ['fields without values by form', byForm('msg_id=&status=&timestamp='), EMPTY],
    [
      'fields without values in JSON',
      byJson({ webhook_event: 'dlr', data: { msg_id: '', status: null, timestamp: '' } }),
      EMPTY,
    ],
    ['another event by GET', byGet({ webhook_event: 'sms_mo', id: '7' }), OTHER],
    ['another event by form', byForm('webhook_event=voice_status&status=x'), OTHER],
    [
      'a template that was not filled',
      byGet({ msg_id: '{msg_id}', status: '{status}' }),
      'placeholders were not filled: msg_id, status',
    ],
  ])('is not there, and ignored, with a signing key too: %s', async (_, asked, ignored) => {
    expect(await readAs(account, asked)).toEqual({ reports: [], ignored })
    expect(await readAs({ ...account, signingKey: ['k'] }, asked)).toEqual({ reports: [], ignored })
  })

  const unreadable: [string, Fields, string][] = [
    ['no message ID', without(FLAT, 'msg_id'), 'msg_id'],
    ['no message ID, nested', without(NESTED, 'data[msg_id]'), 'data.msg_id'],
    ['an empty message ID', { ...FLAT, msg_id: '' }, 'msg_id'],
    ['a message ID that cannot be one', { ...FLAT, msg_id: '1,2' }, 'msg_id'],
    ['no status', without(FLAT, 'status'), 'status'],
    ['an empty status, nested', { ...NESTED, 'data[status]': '' }, 'data.status'],
  ]
  const refused = unreadable.flatMap(([name, fields, path]) =>
    formsOf(fields).map(([form, asked]) => [form, name, asked, path] as const),
  )

  it.each([
    ...refused,
    ['GET', 'a repeated message ID', byGet({ ...FLAT, msg_id: ['1', '2'] }), 'msg_id'] as const,
    ['form', 'a repeated message ID', byForm('webhook_event=dlr&msg_id=1&msg_id=2&status=READ'), 'msg_id'] as const,
  ])('%s, %s, is refused with its place', async (_form, _name, asked, path) => {
    const error = await thrownBy(() => readAs(account, asked))
    expect(error).toBeInstanceOf(LastwordError)
    expect(error).toMatchObject({
      code: 'INPUT_INVALID',
      message: TOO_LITTLE,
      issues: [{ path, message: expect.stringMatching(/./) }],
    })
  })
})

describe('whatever comes', () => {
  const TRUE_ID = '77149843739'
  const value = fc.oneof(fc.jsonValue(), fc.string(), fc.constantFrom('DELIVERED', TRUE_ID, ...MEMBERS))
  const fields = { msg_id: value, status: value, timestamp: value, foreign_id: value }
  const data = fc.record(fields, { requiredKeys: [] })
  const event = fc.oneof(fc.constant('dlr'), value)
  const envelope = fc.record(
    { ...fields, webhook_event: event, webhook_timestamp: value, data: fc.oneof(data, value) },
    { requiredKeys: [] },
  )
  const formFields = fc.dictionary(
    fc.constantFrom('webhook_event', 'msg_id', 'status', 'timestamp', 'data[msg_id]', 'data[status]', 'data'),
    fc.oneof(fc.string(), fc.constantFrom('dlr', 'DELIVERED', TRUE_ID)),
  )
  const body = fc.oneof(
    fc.string(),
    fc.json(),
    envelope.map((object) => JSON.stringify(object)),
    formFields.map((form) => new URLSearchParams(form).toString()),
  )
  const asked = fc.oneof(
    fc.tuple(body, fc.constantFrom('application/json', FORM, '')).map(([text, type]) => byForm(text, type)),
    fc.uint8Array().map((bytes) => request({ body: Buffer.from(bytes) })),
    formFields.map((query) => byGet(query)),
  )

  it('throws nothing but INPUT_INVALID, and reports only on an ID that stands in the request', async () => {
    await fc.assert(
      fc.asyncProperty(asked, async (anything) => {
        const outcome = await orError(() => readAs(account, anything))
        if (outcome instanceof Error) {
          expect(outcome).toBeInstanceOf(LastwordError)
          expect(outcome).toMatchObject({ code: 'INPUT_INVALID' })
          expect(JSON.stringify([outcome, outcome.message])).not.toContain('sEcReT')
          return
        }
        const bodyText = anything.body.toString()
        const text = decode(anything.path) + bodyText + decode(bodyText)
        for (const { messageId, occurredAt } of outcome.reports) {
          expect(seven.normalizeMessageId(messageId)).toBe(messageId)
          expect(text).toContain(messageId)
          expect(occurredAt.getTime()).not.toBeNaN()
        }
      }),
      { numRuns: 500 },
    )
  })

  it('keeps the true ID of a receipt, whatever stands around it', async () => {
    const receipt = fc.tuple(data, fc.dictionary(fc.string(), value)).map(([odd, further]) => ({
      ...further,
      webhook_event: 'dlr',
      data: { ...odd, msg_id: TRUE_ID, status: 'DELIVERED' },
    }))
    await fc.assert(
      fc.asyncProperty(receipt, async (object) => {
        const { reports } = await readAs(account, byJson(object))
        expect(reports).toMatchObject([{ messageId: TRUE_ID, status: 'delivered', rawStatus: 'DELIVERED' }])
      }),
    )
  })
})

async function orError<T>(action: () => Promise<T>): Promise<T | Error> {
  try {
    return await action()
  } catch (error) {
    return error instanceof Error ? error : new Error(String(error))
  }
}

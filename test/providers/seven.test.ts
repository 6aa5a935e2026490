import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { LastwordError, ProviderError } from '../../src/core/errors.ts'
import type { Status, StatusReport } from '../../src/core/status.ts'
import type { ProviderHttp } from '../../src/providers/http.ts'
import type { WebhookRequest } from '../../src/providers/provider.ts'
import { parseStatusAnswer, type SevenAccount, seven } from '../../src/providers/seven.ts'

const account: SevenAccount = seven.accountSchema.parse({ name: 'main', provider: 'seven', apiKey: 'key-of-main' })
const RECEIVED_AT = new Date('2026-01-31T10:00:00.000Z')

const VOCABULARY: [string, Status][] = [
  ['ACCEPTED', 'accepted'],
  ['TRANSMITTED', 'transmitted'],
  ['BUFFERED', 'buffered'],
  ['UNKNOWN', 'accepted'],
  ['DELIVERED', 'delivered'],
  ['NOTDELIVERED', 'undelivered'],
  ['EXPIRED', 'expired'],
  ['REJECTED', 'rejected'],
  ['FAILED', 'failed'],
]

/** Words that are members of every object: a table must not find them. */
const MEMBERS = ['constructor', 'toString', 'valueOf', 'hasOwnProperty', '__proto__']

function thrownBy(action: () => unknown): unknown {
  try {
    action()
  } catch (error) {
    return error
  }
  throw new Error('Expected an error, got none')
}

describe('the answer to a status query', () => {
  const parse = (ids: string[], answer: unknown) =>
    parseStatusAnswer('main', ids, typeof answer === 'string' ? answer : JSON.stringify(answer), RECEIVED_AT)

  function delivered(messageId: string, changes: Partial<StatusReport> = {}): StatusReport {
    return {
      account: 'main',
      messageId,
      status: 'delivered',
      rawStatus: 'DELIVERED',
      occurredAt: new Date('2024-02-16T14:43:16.905Z'),
      source: 'poll',
      ...changes,
    }
  }
  const row = (id: unknown, changes: object = {}) => ({
    id,
    status: 'DELIVERED',
    status_time: '2024-02-16 15:43:16.905',
    ...changes,
  })
  const noStatus = { status: null, status_time: null }
  const expired = { status: 'expired', rawStatus: 'EXPIRED' } as const

  it.each<[string, string[], unknown, { reports: StatusReport[]; missing: string[] }]>([
    ['one row', ['1'], [row('1')], { reports: [delivered('1')], missing: [] }],
    [
      'many rows, in their order',
      ['1', '2'],
      [row('2', { status: 'EXPIRED' }), row('1')],
      { reports: [delivered('2', expired), delivered('1')], missing: [] },
    ],
    [
      'a row without a status yet',
      ['1', '2'],
      [row('1', noStatus), row('2')],
      { reports: [delivered('2')], missing: [] },
    ],
    ['a row with nothing but an ID', ['1'], [{ id: '1' }], { reports: [], missing: [] }],
    ['an empty status', ['1'], [row('1', { status: '' })], { reports: [], missing: [] }],
    ['a missing row', ['1', '2'], [row('2')], { reports: [delivered('2')], missing: ['1'] }],
    ['no rows', ['1', '2'], [], { reports: [], missing: ['1', '2'] }],
    ['null in place of a row', ['1', '2'], [null, row('2')], { reports: [delivered('2')], missing: ['1'] }],
    ['null in place of the only row', ['1'], [null], { reports: [], missing: ['1'] }],
    ['repeated rows', ['1'], [row('1'), row('1')], { reports: [delivered('1')], missing: [] }],
    ['repeated rows of a repeated ID', ['1', '1'], [row('1'), row('1')], { reports: [delivered('1')], missing: [] }],
    ['a repeated ID that is missing', ['1', '1'], [], { reports: [], missing: ['1'] }],
    ['rows nobody asked for', ['1'], [row('9'), row('1')], { reports: [delivered('1')], missing: [] }],
    ['number IDs', ['77232007287'], [row(77_232_007_287)], { reports: [delivered('77232007287')], missing: [] }],
    ['IDs with spaces', ['1'], [row(' 1 ')], { reports: [delivered('1')], missing: [] }],
    ['further fields', ['1'], [row('1', { price: 1 })], { reports: [delivered('1')], missing: [] }],
    [
      'a row that cannot be read among others',
      ['1', '2', '3'],
      [row(null), 'x', row('2'), { id: {} }],
      { reports: [delivered('2')], missing: ['1', '3'] },
    ],
    [
      'a number in place of a status',
      ['1'],
      [row('1', { status: 600 })],
      { reports: [delivered('1', { status: 'accepted', rawStatus: '600', unmapped: true })], missing: [] },
    ],
  ])('reads %s', (_, ids, answer, expected) => {
    expect(parse(ids, answer)).toEqual(expected)
  })

  it.each(VOCABULARY)('reads the status %s as %s', (rawStatus, status) => {
    const expected = { reports: [delivered('1', { status, rawStatus })], missing: [] }
    expect(parse(['1'], [row('1', { status: rawStatus })])).toEqual(expected)
  })

  it.each<[string, Partial<StatusReport>]>([
    ['delivered', { status: 'delivered' }],
    ['NotDelivered', { status: 'undelivered' }],
    [' DELIVERED ', { status: 'delivered' }],
    ['ENROUTE', { status: 'accepted', unmapped: true }],
    ['900', { status: 'accepted', unmapped: true }],
    ...MEMBERS.map((word): [string, Partial<StatusReport>] => [word, { status: 'accepted', unmapped: true }]),
  ])('keeps the status %j as it came', (rawStatus, changes) => {
    const expected = { reports: [delivered('1', { rawStatus, ...changes })], missing: [] }
    expect(parse(['1'], [row('1', { status: rawStatus })])).toEqual(expected)
  })

  it.each<[string, unknown, string]>([
    ['three decimals', '2024-02-16 15:43:16.905', '2024-02-16T14:43:16.905Z'],
    ['six decimals', '2024-02-16 15:43:16.905000', '2024-02-16T14:43:16.905Z'],
    ['no decimals', '2024-07-16 15:43:16', '2024-07-16T13:43:16.000Z'],
    ['63 seconds', '2024-02-13 05:50:63.102', '2024-02-13T04:51:03.102Z'],
    ['null', null, RECEIVED_AT.toISOString()],
    ['no time', undefined, RECEIVED_AT.toISOString()],
    ['an empty time', '', RECEIVED_AT.toISOString()],
    ['garbage', 'yesterday', RECEIVED_AT.toISOString()],
    ['zeros', '0000-00-00 00:00:00', RECEIVED_AT.toISOString()],
    ['a number', 1_708_094_596, RECEIVED_AT.toISOString()],
    ['an object', {}, RECEIVED_AT.toISOString()],
  ])('never drops a report for its time: %s', (_, status_time, occurredAt) => {
    const expected = { reports: [delivered('1', { occurredAt: new Date(occurredAt) })], missing: [] }
    expect(parse(['1'], [row('1', { status_time })])).toEqual(expected)
  })

  it.each<[string, string, ProviderError['kind'], string]>([
    ['900, bare', '900', 'account', 'the provider answered with code 900: the API key is wrong'],
    ['900, quoted', '"900"', 'account', 'the provider answered with code 900: the API key is wrong'],
    ['900, in code', '{"code":"900"}', 'account', 'the provider answered with code 900: the API key is wrong'],
    ['900, a number in code', '{"code":900}', 'account', 'the provider answered with code 900: the API key is wrong'],
    [
      '900, in error_code',
      '{"error_code":"900"}',
      'account',
      'the provider answered with code 900: the API key is wrong',
    ],
    ['900, with spaces', ' 900\n', 'account', 'the provider answered with code 900: the API key is wrong'],
    [
      '600',
      '600',
      'request',
      'the provider answered with code 600: carrier or sending error, or an unknown message ID',
    ],
    ['901', '{"code":901}', 'request', 'the provider answered with code 901: a message ID is wrong'],
    ['902', '902', 'account', 'the provider answered with code 902: the API key lacks the right to use this interface'],
    ['903', '"903"', 'account', 'the provider answered with code 903: the IP address is not allowed'],
    ['403', '403', 'account', 'the provider answered with code 403: the limit of the account is reached'],
    [
      'a code of no known meaning',
      '777',
      'transient',
      'the provider answered with code 777: an error without a known meaning',
    ],
    ...MEMBERS.map((word): [string, string, ProviderError['kind'], string] => [
      `the code ${word}`,
      JSON.stringify({ code: word }),
      'transient',
      `the provider answered with code ${word}: an error without a known meaning`,
    ]),
    ['an empty body', '', 'transient', 'the provider sent an empty body'],
    ['a blank body', ' \r\n', 'transient', 'the provider sent an empty body'],
    ['cut-off JSON', '[{"id":"1","sta', 'transient', 'the provider sent 15 characters that are not JSON'],
    ['HTML', '<html></html>', 'transient', 'the provider sent 13 characters that are not JSON'],
    ['plain text', 'DELIVERED\n2024-02-16', 'transient', 'the provider sent 20 characters that are not JSON'],
    ...['null', 'true', '{}', '{"id":"1"}', '[1]', '[[]]', '["1"]', '[{"id":null}]'].map(
      (answer): [string, string, ProviderError['kind'], string] => [
        answer,
        answer,
        'transient',
        'the provider sent an answer that is not a list of {id, status, status_time}',
      ],
    ),
  ])('refuses %s', (_, answer, kind, message) => {
    const error = thrownBy(() => parse(['1'], answer))
    expect(error).toBeInstanceOf(ProviderError)
    expect(error).toMatchObject({ kind, message, retryAfterMs: undefined })
  })

  it('throws nothing but a ProviderError and reports on nothing but what was asked, whatever comes', () => {
    const word = fc.oneof(fc.string(), fc.constantFrom(...VOCABULARY.map(([raw]) => raw), ...MEMBERS))
    const value = fc.oneof(fc.jsonValue(), word, fc.constantFrom('1', '2', '3', 1, 2, 3))
    const looseRow = fc.record({ id: value, status: value, status_time: value }, { requiredKeys: [] })
    const answer = fc.oneof(
      fc.string(),
      fc.json(),
      fc.array(fc.oneof(looseRow, value)).map((rows) => JSON.stringify(rows)),
      fc.record({ code: value, error_code: value }, { requiredKeys: [] }).map((object) => JSON.stringify(object)),
    )
    fc.assert(
      fc.property(fc.uniqueArray(fc.constantFrom('1', '2', '3', 'x')), answer, (ids, text) => {
        const outcome = orError(() => parseStatusAnswer('main', ids, text, RECEIVED_AT))
        if (outcome instanceof Error) {
          expect(outcome).toBeInstanceOf(ProviderError)
          return
        }
        const reported = outcome.reports.map(({ messageId }) => messageId)
        expect(new Set(reported).size).toBe(reported.length)
        for (const id of [...reported, ...outcome.missing]) expect(ids).toContain(id)
        for (const id of outcome.missing) expect(reported).not.toContain(id)
        for (const { occurredAt } of outcome.reports) expect(occurredAt.getTime()).not.toBeNaN()
      }),
      { numRuns: 1000 },
    )
  })
})

describe('the status query', () => {
  it('asks for all IDs in one request, with the key in a header', async () => {
    const asked: unknown[] = []
    const text = '[{"id":"2","status":"DELIVERED","status_time":"2024-02-16 15:43:16.905"}]'
    const http: ProviderHttp = {
      get: async (path, headers) => {
        asked.push({ path, headers })
        return { status: 200, headers: {}, text }
      },
      close: async () => {},
    }
    const answer = await seven.lookup(account)?.ask(http, ['1', '2'], new AbortController().signal)
    expect(asked).toEqual([
      { path: '/status?msg_id=1,2', headers: { 'X-Api-Key': 'key-of-main', Accept: 'application/json' } },
    ])
    expect(answer).toEqual({
      reports: [
        {
          account: 'main',
          messageId: '2',
          status: 'delivered',
          rawStatus: 'DELIVERED',
          occurredAt: new Date('2024-02-16T14:43:16.905Z'),
          source: 'poll',
        },
      ],
      missing: ['1'],
    })
  })

  it('keeps the whole URL under 4,000 characters and the batch at its size', () => {
    const limits = seven.lookup({ ...account, batchSize: 50 })?.limits
    expect(limits?.maxIds).toBe(50)
    expect(limits?.maxChars).toBeLessThan(4000 - `${account.baseUrl}/status?msg_id=`.length)
  })

  it('is not asked when the account says off', () => {
    expect(seven.lookup({ ...account, query: 'off' })).toBeUndefined()
  })
})

describe('message IDs', () => {
  it.each([
    ['77232007287', '77232007287'],
    [' 77232007287\n', '77232007287'],
    ['a.b-c_D9', 'a.b-c_D9'],
    ['x'.repeat(64), 'x'.repeat(64)],
    ['x'.repeat(65), undefined],
    ['', undefined],
    ['  ', undefined],
    ['1,2', undefined],
    ['1 2', undefined],
    ['1&x=2', undefined],
    ['ä', undefined],
    ['1\u0000', undefined],
  ])('normalizes %j to %j', (id, expected) => {
    expect(seven.normalizeMessageId(id)).toBe(expected)
  })
})

describe('a delivery receipt', () => {
  function request(body: unknown): WebhookRequest {
    return {
      method: 'POST',
      publicUrl: undefined,
      path: '/webhooks/main',
      query: {},
      headers: { 'content-type': 'application/json' },
      body: Buffer.from(typeof body === 'string' ? body : JSON.stringify(body)),
      receivedAt: RECEIVED_AT,
    }
  }
  const read = (body: unknown) => seven.readWebhook(account, request(body))

  const receipt = (data: object = {}, envelope: object = {}) => ({
    data: { msg_id: '77149843739', status: 'TRANSMITTED', timestamp: '2021-08-24 08:08:00.000000', ...data },
    webhook_event: 'dlr',
    webhook_timestamp: '2021-08-24T08:08:02+02:00',
    ...envelope,
  })
  const transmitted = (changes: Partial<StatusReport> = {}): StatusReport => ({
    account: 'main',
    messageId: '77149843739',
    status: 'transmitted',
    rawStatus: 'TRANSMITTED',
    occurredAt: new Date('2021-08-24T06:08:00.000Z'),
    source: 'webhook',
    ...changes,
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
    [
      'with a number as time',
      receipt({ timestamp: 1_629_785_280 }),
      { occurredAt: new Date('2021-08-24T06:08:02.000Z') },
    ],
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
  ])('is read %s', (_, body, changes) => {
    expect(read(body)).toEqual({ reports: [transmitted(changes)] })
  })

  it.each(VOCABULARY)('is read with the status %s as %s', (rawStatus, status) => {
    expect(read(receipt({ status: rawStatus }))).toEqual({ reports: [transmitted({ status, rawStatus })] })
  })

  it.each<[string, unknown, string]>([
    ['an empty body', '', 'the body is empty'],
    ['another event', receipt({}, { webhook_event: 'sms_mo' }), 'the event is not dlr'],
    ['another event with other data', { webhook_event: 'voice_status', data: [] }, 'the event is not dlr'],
    ['another event without data', { webhook_event: 'all' }, 'the event is not dlr'],
  ])('ignores %s', (_, body, ignored) => {
    expect(read(body)).toEqual({ reports: [], ignored })
  })

  it.each<[string, unknown, string]>([
    ['no message ID', receipt({ msg_id: undefined }), 'data.msg_id'],
    ['null as message ID', receipt({ msg_id: null }), 'data.msg_id'],
    ['an empty message ID', receipt({ msg_id: '' }), 'data.msg_id'],
    ['a message ID that cannot be one', receipt({ msg_id: '1\u0000' }), 'data.msg_id'],
    ['no status', receipt({ status: undefined }), 'data.status'],
    ['an empty status', receipt({ status: '' }), 'data.status'],
    ['a number as status', receipt({ status: 2 }), 'data.status'],
    ['no data', { webhook_event: 'dlr' }, 'data'],
    ['data that is a text', receipt({}, { data: 'DELIVERED' }), 'data'],
    ['no event', receipt({}, { webhook_event: undefined }), 'webhook_event'],
    ['a list', [receipt()], ''],
    ['null', 'null', ''],
  ])('refuses %s and names the place', (_, body, path) => {
    const error = thrownBy(() => read(body))
    expect(error).toBeInstanceOf(LastwordError)
    expect(error).toMatchObject({
      code: 'INPUT_INVALID',
      message: 'Expected a delivery receipt {"webhook_event":"dlr","data":{"msg_id","status","timestamp"}}.',
      issues: [{ path, message: expect.stringMatching(/./) }],
    })
  })

  it.each([
    ['text', 'DELIVERED', 9],
    ['cut-off JSON', '{"data":{"msg_id":"7714', 23],
    ['HTML', '<html></html>', 13],
    ['blanks', '  ', 2],
  ])('refuses a body that is not JSON: %s', (_, body, bytes) => {
    const error = thrownBy(() => read(body))
    expect(error).toBeInstanceOf(LastwordError)
    expect(error).toMatchObject({
      code: 'INPUT_INVALID',
      message: `Expected a JSON delivery receipt, found ${bytes} bytes that are not JSON.`,
    })
  })

  it('throws nothing but INPUT_INVALID and reports only on IDs in normal form, whatever comes', () => {
    const value = fc.oneof(fc.jsonValue(), fc.string(), fc.constantFrom('DELIVERED', '1', ...MEMBERS))
    const data = fc.record({ msg_id: value, status: value, timestamp: value, foreign_id: value }, { requiredKeys: [] })
    const body = fc.oneof(
      fc.string(),
      fc.json(),
      fc
        .record({
          webhook_event: fc.oneof(fc.constant('dlr'), value),
          data: fc.oneof(data, value),
          webhook_timestamp: value,
        })
        .map((object) => JSON.stringify(object)),
    )
    fc.assert(
      fc.property(body, (text) => {
        const outcome = orError(() => read(text))
        if (outcome instanceof Error) {
          expect(outcome).toBeInstanceOf(LastwordError)
          expect(outcome).toMatchObject({ code: 'INPUT_INVALID' })
          return
        }
        for (const { messageId, occurredAt } of outcome.reports) {
          expect(seven.normalizeMessageId(messageId)).toBe(messageId)
          expect(occurredAt.getTime()).not.toBeNaN()
        }
      }),
      { numRuns: 1000 },
    )
  })
})

function orError<T>(action: () => T): T | Error {
  try {
    return action()
  } catch (error) {
    return error instanceof Error ? error : new Error(String(error))
  }
}

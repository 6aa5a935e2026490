import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { ProviderError } from '../../../src/core/errors.ts'
import { kindOfStatus } from '../../../src/core/provider-failure.ts'
import type { StatusReport } from '../../../src/core/status.ts'
import type { ProviderHttp } from '../../../src/providers/http.ts'
import type { SevenAccount } from '../../../src/providers/seven/account.ts'
import { seven } from '../../../src/providers/seven/seven.ts'
import { parseStatusAnswer } from '../../../src/providers/seven/status-query.ts'

const GIVEN = { name: 'main', provider: 'seven', apiKey: 'key-of-main' }
const account: SevenAccount = seven.accountSchema.parse(GIVEN)
const RECEIVED_AT = new Date('2026-01-31T10:00:00.000Z')

/** Words that are members of every object: a table must not find them. */
const MEMBERS = ['constructor', 'toString', 'valueOf', 'hasOwnProperty', '__proto__']

/** Answers with HTTP 200 that say the interface has ended. */
const GONE = [
  '{"error":"This endpoint is deprecated and has been removed."}',
  '{"success":false,"message":"The status endpoint is no longer available, use /journal/outbound"}',
  '{"code":"1410","message":"Gone"}',
  '"endpoint removed"',
  'This endpoint has been discontinued.',
  '<html><body>410 Gone</body></html>',
  '\n The status interface was switched off',
]

const ENDED = '{"error":"This endpoint is deprecated and has been removed. Use /journal/outbound."}'

/** Answers that only sound like it. */
const NOT_GONE: [string, string][] = [
  ['[{"id":"1","status":"deprecated', 'the provider sent 31 characters that are not JSON'],
  ['The service is temporarily gone, try again later', 'the provider sent 48 characters that are not JSON'],
  ['down for maintenance, no longer than an hour', 'the provider sent 44 characters that are not JSON'],
  ['undergone', 'the provider sent 9 characters that are not JSON'],
  [`<p>gone</p>${' '.repeat(1000)}`, 'the provider sent 1011 characters that are not JSON'],
]

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
    [
      'a number that was not exact, and its neighbour',
      ['9007199254740992'],
      '[{"id":9007199254740993,"status":"DELIVERED"},{"id":"x"}]',
      { reports: [], missing: ['9007199254740992'] },
    ],
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
    ['403', '403', 'throttled', 'the provider answered with code 403: the limit of the account is reached'],
    ['429', '{"code":"429"}', 'throttled', 'the provider answered with code 429: too many requests'],
    ['300', '{"code":300}', 'account', 'the provider answered with code 300: the API key is missing'],
    ['404', '{"code":404}', 'gone', 'the provider answered with code 404: the look-up does not exist there'],
    ['410', '"410"', 'gone', 'the provider answered with code 410: the look-up does not exist there'],
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
    ...GONE.map((answer): [string, string, ProviderError['kind'], string] => [
      answer,
      answer,
      'gone',
      'the provider answered that the status query is no longer available',
    ]),
    [
      'a known code, whatever its text says',
      '{"code":"902","message":"this endpoint is no longer available to you"}',
      'account',
      'the provider answered with code 902: the API key lacks the right to use this interface',
    ],
    ...NOT_GONE.map(([answer, message]): [string, string, ProviderError['kind'], string] => [
      answer.slice(0, 60),
      answer,
      'transient',
      message,
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
    const word = fc.oneof(fc.string(), fc.constantFrom('DELIVERED', 'EXPIRED', 'BUFFERED', ...MEMBERS))
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
      { numRuns: 300 },
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
      post: () => expect.fail('Expected no POST'),
      delete: () => expect.fail('Expected no DELETE'),
      close: async () => {},
    }
    const answer = await seven.lookups(account)[0]?.byIds?.ask(
      http,
      [
        { messageId: '1', sentAt: RECEIVED_AT },
        { messageId: '2', sentAt: RECEIVED_AT },
      ],
      new AbortController().signal,
    )
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

  it.each<[number, string, ProviderError['kind']]>([
    [400, ENDED, 'gone'],
    [403, ENDED, 'gone'],
    [405, ENDED, 'gone'],
    [501, ENDED, 'gone'],
    [404, '', 'gone'],
    [400, '{"code":410}', 'gone'],
    [401, ENDED, 'account'],
    [400, '{"code":"902","error":"This endpoint is no longer available to you"}', 'account'],
    [400, '{"error":"The message was removed"}', 'request'],
    [503, 'This service is temporarily gone, try again later', 'transient'],
    [500, '', 'transient'],
  ])('has ended where the answer says so: HTTP %i %s', async (status, text, kind) => {
    const response = { status, headers: {}, text }
    const http: ProviderHttp = {
      get: () => Promise.reject(new ProviderError(kindOfStatus(status, undefined), 'no success', { response })),
      post: () => expect.fail('Expected no POST'),
      delete: () => expect.fail('Expected no DELETE'),
      close: async () => {},
    }
    const question = seven
      .lookups(account)[0]
      ?.byIds?.ask(http, [{ messageId: '1', sentAt: RECEIVED_AT }], new AbortController().signal)
    await expect(question).rejects.toMatchObject({ name: 'ProviderError', kind })
  })

  it('says how long to wait where a success holds the code of a limit', async () => {
    const refuse = () => expect.fail('Expected no other request')
    const http: ProviderHttp = {
      get: async () => ({ status: 200, headers: { 'retry-after': '3600' }, text: '{"code":403}' }),
      post: refuse,
      delete: refuse,
      close: async () => {},
    }
    const question = seven
      .lookups(account)[0]
      ?.byIds?.ask(http, [{ messageId: '1', sentAt: RECEIVED_AT }], new AbortController().signal)
    await expect(question).rejects.toMatchObject({ kind: 'throttled', retryAfterMs: 3_600_000 })
  })

  it('keeps the whole URL under 4,000 characters and the batch at its size', () => {
    const [lookup] = seven.lookups({ ...account, batchSize: 50 })
    expect(lookup?.byIds?.limits.maxIds).toBe(50)
    expect(lookup?.byIds?.limits.maxChars).toBeLessThan(4000 - `${account.baseUrl}/status?msg_id=`.length)
  })
})

describe('an account', () => {
  it.each<[SevenAccount['query'], string[]]>([
    ['auto', ['status', 'logbook']],
    ['status', ['status']],
    ['logbook', ['logbook']],
    ['off', []],
  ])('with query %s is asked through %j', (query, names) => {
    expect(seven.lookups({ ...account, query }).map(({ name }) => name)).toEqual(names)
  })

  it('has a default for everything but its name, its provider and its key', () => {
    expect(account).toEqual({
      name: 'main',
      provider: 'seven',
      apiKey: 'key-of-main',
      signatureFreshnessMs: 3_600_000,
      baseUrl: 'https://gateway.seven.io/api',
      query: 'auto',
      batchSize: 100,
      requestsPerSecond: 5,
      timeoutMs: 10_000,
      polling: { policy: 'learned', priceMs: 300_000, windowMs: 2_592_000_000 },
    })
  })

  it('takes a signing key and how fresh a signature must be', () => {
    const given = { ...GIVEN, signingKey: 'key-of-signatures', signatureFreshness: '30s' }
    expect(seven.accountSchema.parse(given)).toEqual({
      ...account,
      signingKey: ['key-of-signatures'],
      signatureFreshnessMs: 30_000,
    })
  })

  it.each([
    ['signingKey', ''],
    ['signingKey', 'two words'],
    ['signatureFreshness', 300],
    ['signatureFreshness', '0s'],
    ['signatureFreshness', 'soon'],
    ['query', 'journal'],
  ])('does not take %s %j', (field, value) => {
    const result = seven.accountSchema.safeParse({ ...GIVEN, [field]: value })
    expect(result.error?.issues.map(({ path }) => path)).toEqual([[field]])
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

function orError<T>(action: () => T): T | Error {
  try {
    return action()
  } catch (error) {
    return error instanceof Error ? error : new Error(String(error))
  }
}

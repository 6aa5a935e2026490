import fc from 'fast-check'
import { describe, expect, it, vi } from 'vitest'
import { ProviderError } from '../../../src/core/errors.ts'
import type { StatusReport } from '../../../src/core/status.ts'
import type { ProviderHttp } from '../../../src/providers/http.ts'
import type { StatusAnswer, StatusLookup, WindowAnswer } from '../../../src/providers/provider.ts'
import type { SevenAccount } from '../../../src/providers/seven/account.ts'
import { parseLogbookEntry, parseLogbookPage } from '../../../src/providers/seven/logbook.ts'
import { seven } from '../../../src/providers/seven/seven.ts'

const GIVEN = { name: 'main', provider: 'seven', apiKey: 'sEcReT-api-key', query: 'logbook' }
const account: SevenAccount = seven.accountSchema.parse(GIVEN)
const RECEIVED_AT = new Date('2026-01-31T10:00:00.000Z')
const NEVER = new AbortController().signal

/** A row with all that the vendor sends. */
const row = (id: unknown, changes: object = {}) => ({
  id,
  to: '49176123456789',
  from: 'seven',
  text: 'HI2U!',
  timestamp: '2024-02-16 15:43:10.000',
  price: '0.075',
  dlr: 'DELIVERED',
  dlr_timestamp: '2024-02-16 15:43:16.905',
  mccmnc: '26207',
  latency: '6.905',
  type: 'direct',
  channel: 'sms',
  connection: 'http',
  label: null,
  foreign_id: null,
  ...changes,
})
const noReport = { dlr: null, dlr_timestamp: null, mccmnc: null, latency: null }

const delivered = (messageId: string, changes: Partial<StatusReport> = {}): StatusReport => ({
  account: 'main',
  messageId,
  status: 'delivered',
  rawStatus: 'DELIVERED',
  occurredAt: new Date('2024-02-16T14:43:16.905Z'),
  source: 'poll',
  ...changes,
})

const textOf = (answer: unknown) => (typeof answer === 'string' ? answer : JSON.stringify(answer))
const parseEntry = (ids: string[], answer: unknown) => parseLogbookEntry('main', ids, textOf(answer), RECEIVED_AT)
const parsePage = (answer: unknown) => parseLogbookPage('main', textOf(answer), RECEIVED_AT)

/** The content of every row, however it was asked for. */
const rows: [string, object, Partial<StatusReport>][] = [
  ['all that the vendor sends', {}, {}],
  ['a foreign_id', { foreign_id: 'order-7' }, { details: { foreignId: 'order-7' } }],
  ['a foreign_id that is a number', { foreign_id: 7 }, { details: { foreignId: '7' } }],
  ['an odd foreign_id', { foreign_id: {} }, {}],
  ['a status in lower case', { dlr: 'expired' }, { status: 'expired', rawStatus: 'expired' }],
  ['NOTDELIVERED', { dlr: 'NOTDELIVERED' }, { status: 'undelivered', rawStatus: 'NOTDELIVERED' }],
  ['TRANSMITTED', { dlr: 'TRANSMITTED' }, { status: 'transmitted', rawStatus: 'TRANSMITTED' }],
  ['a status of no known meaning', { dlr: 'LOST' }, { status: 'accepted', rawStatus: 'LOST', unmapped: true }],
  ['a status that is a number', { dlr: 7 }, { status: 'accepted', rawStatus: '7', unmapped: true }],
  ['63 seconds', { dlr_timestamp: '2024-02-13 05:50:63.102' }, { occurredAt: new Date('2024-02-13T04:51:03.102Z') }],
  [
    'six decimals in summer',
    { dlr_timestamp: '2024-07-16 15:43:16.905000' },
    { occurredAt: new Date('2024-07-16T13:43:16.905Z') },
  ],
  ['no time', { dlr_timestamp: null }, { occurredAt: RECEIVED_AT }],
  ['a time in no clock', { dlr_timestamp: 'later' }, { occurredAt: RECEIVED_AT }],
  ['a time that is an object', { dlr_timestamp: {} }, { occurredAt: RECEIVED_AT }],
]

/** Rows of messages without a report. */
const silent: [string, object][] = [
  ['null', noReport],
  ['an empty text', { dlr: '', dlr_timestamp: '' }],
  ['nothing', { dlr: undefined, dlr_timestamp: undefined }],
]

describe('the logbook entry of one message', () => {
  it.each(rows)('is read with %s', (_, changes, expected) => {
    const answer: StatusAnswer = { reports: [delivered('1', expected)], missing: [] }
    expect(parseEntry(['1'], [row('1', changes)])).toEqual(answer)
  })

  it.each(silent)('has no report yet where dlr is %s', (_, changes) => {
    expect(parseEntry(['1'], [row('1', changes)])).toEqual({ reports: [], missing: [] })
  })

  it.each<[string, unknown, StatusAnswer]>([
    ['is missing from an empty list', [], { reports: [], missing: ['1'] }],
    ['is missing where its row is null', [null], { reports: [], missing: ['1'] }],
    ['is missing among rows nobody asked for', [row('9'), row('11')], { reports: [], missing: ['1'] }],
    ['is found among rows nobody asked for', [row('9'), row('1')], { reports: [delivered('1')], missing: [] }],
    ['is found by a number', [row(1)], { reports: [delivered('1')], missing: [] }],
    ['is found among rows that cannot be read', ['x', row({}), row('1')], { reports: [delivered('1')], missing: [] }],
    [
      'is read from a row with the least',
      [{ id: '1', dlr: 'DELIVERED' }],
      {
        reports: [delivered('1', { occurredAt: RECEIVED_AT })],
        missing: [],
      },
    ],
    [
      'may have several rows',
      [row('1', noReport), row('1', { dlr: 'TRANSMITTED' }), row('1')],
      { reports: [delivered('1', { status: 'transmitted', rawStatus: 'TRANSMITTED' }), delivered('1')], missing: [] },
    ],
  ])('%s', (_, answer, expected) => {
    expect(parseEntry(['1'], answer)).toEqual(expected)
  })

  it('is not taken for that of its neighbour where a number could not carry its ID', () => {
    const text = '[{"id":9007199254740993,"dlr":"DELIVERED","dlr_timestamp":"2024-02-16 15:43:16.905"}]'
    expect(parseEntry(['9007199254740992'], text)).toEqual({ reports: [], missing: ['9007199254740992'] })
    expect(parseEntry(['9007199254740993'], text)).toEqual({ reports: [delivered('9007199254740993')], missing: [] })
  })
})

describe('a page of the logbook', () => {
  const full = Array.from({ length: 100 }, (_, index) => row(String(index + 1)))
  const reportsOfFull = full.map(({ id }) => delivered(String(id)))

  it.each(rows)('is read with %s', (_, changes, expected) => {
    const answer: WindowAnswer = { reports: [delivered('1', expected)], noStatusYet: [], hasMore: false }
    expect(parsePage([row('1', changes)])).toEqual(answer)
  })

  it.each(silent)('tells that a message has no report yet where dlr is %s', (_, changes) => {
    expect(parsePage([row('1', changes), row('2')])).toEqual({
      reports: [delivered('2')],
      noStatusYet: ['1'],
      hasMore: false,
    })
  })

  it.each<[string, unknown, WindowAnswer]>([
    ['is the last when it is empty', [], { reports: [], noStatusYet: [], hasMore: false }],
    [
      'is the last when it is not full',
      full.slice(1),
      { reports: reportsOfFull.slice(1), noStatusYet: [], hasMore: false },
    ],
    ['has another after it when it is full', full, { reports: reportsOfFull, noStatusYet: [], hasMore: true }],
    [
      'is full by all its rows, read or not',
      [null, 'x', ...full.slice(2)],
      { reports: reportsOfFull.slice(2), noStatusYet: [], hasMore: true },
    ],
    [
      'passes over an ID that cannot be one',
      [row('1,2'), row(''), row(null), row('3')],
      { reports: [delivered('3')], noStatusYet: [], hasMore: false },
    ],
    [
      'may repeat a message, with and without a report',
      [row('1', noReport), row('1'), row('2', noReport), row('2', noReport)],
      { reports: [delivered('1')], noStatusYet: ['2'], hasMore: false },
    ],
  ])('%s', (_, answer, expected) => {
    expect(parsePage(answer)).toEqual(expected)
  })
})

describe('an answer of the logbook that is none', () => {
  const NO_LIST = 'the provider sent an answer that is not a list of {id, dlr, dlr_timestamp}'

  it.each<[string, string, ProviderError['kind'], string]>([
    ['900, bare', '900', 'account', 'the provider answered with code 900: the API key is wrong'],
    ['900, quoted', '"900"', 'account', 'the provider answered with code 900: the API key is wrong'],
    ['900, in code', '{"code":"900"}', 'account', 'the provider answered with code 900: the API key is wrong'],
    [
      '902, in error_code',
      '{"error_code":902}',
      'account',
      'the provider answered with code 902: the API key lacks the right to use this interface',
    ],
    ['903', '903', 'account', 'the provider answered with code 903: the IP address is not allowed'],
    [
      '600',
      '600',
      'request',
      'the provider answered with code 600: carrier or sending error, or an unknown message ID',
    ],
    ['777', '777', 'transient', 'the provider answered with code 777: an error without a known meaning'],
    ['nothing', '', 'transient', 'the provider sent an empty body'],
    ['cut-off JSON', '[{"id":"1","dlr":"DELI', 'transient', 'the provider sent 22 characters that are not JSON'],
    ['HTML', '<html></html>', 'transient', 'the provider sent 13 characters that are not JSON'],
    ['an object', '{}', 'transient', NO_LIST],
    ['a row without a list', '{"id":"1","dlr":"DELIVERED"}', 'transient', NO_LIST],
    ['null', 'null', 'transient', NO_LIST],
    ['rows of which none can be read', '[1,[],{"dlr":"DELIVERED"}]', 'transient', NO_LIST],
    ['a notice, which ends the status query only', '{"error":"deprecated"}', 'transient', NO_LIST],
  ])('is refused: %s', (_, text, kind, message) => {
    for (const parse of [() => parseEntry(['1'], text), () => parsePage(text)]) {
      const error = orError<unknown>(parse)
      expect(error).toBeInstanceOf(ProviderError)
      expect(error).toMatchObject({ kind, message })
    }
  })

  it('throws nothing but a ProviderError and reports on nothing but what stands there, whatever comes', () => {
    const value = fc.oneof(fc.jsonValue(), fc.string(), fc.constantFrom('1', '2', 1, 2, 'DELIVERED', 'constructor'))
    const looseRow = fc.record({ id: value, dlr: value, dlr_timestamp: value, foreign_id: value }, { requiredKeys: [] })
    const answer = fc.oneof(
      fc.string(),
      fc.json(),
      fc.array(fc.oneof(looseRow, value)).map((list) => JSON.stringify(list)),
    )
    fc.assert(
      fc.property(fc.uniqueArray(fc.constantFrom('1', '2', 'x')), answer, (ids, text) => {
        const entry = orError(() => parseEntry(ids, text))
        const page = orError(() => parsePage(text))
        for (const outcome of [entry, page]) if (outcome instanceof Error) expect(outcome).toBeInstanceOf(ProviderError)
        if (entry instanceof Error || page instanceof Error) return
        for (const id of [...entry.reports.map(({ messageId }) => messageId), ...entry.missing])
          expect(ids).toContain(id)
        for (const { messageId, occurredAt } of page.reports) {
          expect(seven.normalizeMessageId(messageId)).toBe(messageId)
          expect(text).toContain(messageId)
          expect(occurredAt.getTime()).not.toBeNaN()
          expect(page.noStatusYet).not.toContain(messageId)
        }
      }),
      { numRuns: 300 },
    )
  })
})

describe('asking the logbook', () => {
  const asked: unknown[] = []
  const http: ProviderHttp = {
    get: async (path, headers) => {
      asked.push({ path, headers })
      return { status: 200, headers: {}, text: JSON.stringify([row('1'), row('2', noReport)]) }
    },
    post: () => expect.fail('Expected no POST'),
    delete: () => expect.fail('Expected no DELETE'),
    close: async () => {},
  }
  const headers = { 'X-Api-Key': 'sEcReT-api-key', Accept: 'application/json' }
  const [logbook] = seven.lookups(account) as [StatusLookup]

  it.each<[string, string, string]>([
    ['sent just now', '2026-03-01T10:00:00Z', 'date_from=2026-01-30&date_to=2026-03-01'],
    ['sent 30 days ago', '2026-01-30T10:00:00Z', 'date_from=2026-01-29&date_to=2026-03-01'],
    ['sent long ago, where the window is longer', '2025-12-31T23:30:00Z', 'date_from=2025-12-31&date_to=2026-03-01'],
    ['whose app is ahead by a clock', '2026-03-01T23:03:00Z', 'date_from=2026-01-30&date_to=2026-03-02'],
  ])('for one message gives its ID and the days of its window: %s', async (_, sentAt, days) => {
    vi.useFakeTimers({ toFake: ['Date'], now: new Date('2026-03-01T10:00:00Z') })
    const answer = await logbook.byIds?.ask(http, [{ messageId: '1', sentAt: new Date(sentAt) }], NEVER)
    vi.useRealTimers()
    expect(asked.splice(0)).toEqual([{ path: `/journal/outbound?id=1&${days}&limit=100`, headers }])
    expect(answer).toEqual({ reports: [delivered('1')], missing: [] })
  })

  it('takes one ID at a time, and a day at a time', () => {
    expect(logbook).toMatchObject({
      name: 'logbook',
      byIds: { limits: { maxIds: 1 } },
      byWindow: { maxSpanMs: 86_400_000, slackMs: 3_600_000, pageSize: 100 },
    })
  })

  it.each<[string, string, string, number, string]>([
    ['a time of day', '2026-01-31T10:00:00Z', '2026-01-31T11:00:00Z', 0, 'date_from=2026-01-31&date_to=2026-01-31'],
    ['the third page', '2026-01-31T10:00:00Z', '2026-01-31T11:00:00Z', 2, 'date_from=2026-01-31&date_to=2026-01-31'],
    ['a night in winter', '2026-01-30T22:59:59Z', '2026-01-30T23:00:00Z', 0, 'date_from=2026-01-30&date_to=2026-01-31'],
    ['a night in summer', '2026-07-30T21:59:59Z', '2026-07-30T22:00:00Z', 0, 'date_from=2026-07-30&date_to=2026-07-31'],
    [
      'the night of spring',
      '2026-03-28T23:30:00Z',
      '2026-03-29T21:59:59Z',
      0,
      'date_from=2026-03-29&date_to=2026-03-29',
    ],
    [
      'the night of autumn',
      '2026-10-24T22:00:00Z',
      '2026-10-25T22:59:59Z',
      0,
      'date_from=2026-10-25&date_to=2026-10-25',
    ],
    [
      'the turn of the year',
      '2025-12-31T22:00:00Z',
      '2026-01-01T10:00:00Z',
      0,
      'date_from=2025-12-31&date_to=2026-01-01',
    ],
  ])('for a window gives the days of Berlin: %s', async (_, from, to, page, days) => {
    const window = { from: new Date(from), to: new Date(to), page }
    const answer = await logbook.byWindow?.ask(http, window, NEVER)
    expect(asked.splice(0)).toEqual([{ path: `/journal/outbound?${days}&limit=100&offset=${page * 100}`, headers }])
    expect(answer).toEqual({ reports: [delivered('1')], noStatusYet: ['2'], hasMore: false })
  })
})

function orError<T>(action: () => T): T | Error {
  try {
    return action()
  } catch (error) {
    return error instanceof Error ? error : new Error(String(error))
  }
}

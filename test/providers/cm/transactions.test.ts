import { once } from 'node:events'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { ProviderError } from '../../../src/core/errors.ts'
import type { StatusReport } from '../../../src/core/status.ts'
import type { CmAccount } from '../../../src/providers/cm/account.ts'
import { cm } from '../../../src/providers/cm/cm.ts'
import { parseTransactions } from '../../../src/providers/cm/transactions.ts'
import { createProviderHttp, type ProviderHttp } from '../../../src/providers/http.ts'

const account: CmAccount = cm.accountSchema.parse({
  name: 'cm',
  provider: 'cm',
  productToken: 'token-of-cm',
  pageSize: 2,
})
const PAGE = { from: new Date('2017-02-01T00:00:00Z'), to: new Date('2017-02-02T00:00:00Z'), page: 0 }

const parse = (answer: unknown, page = 0) =>
  parseTransactions(account, { ...PAGE, page }, typeof answer === 'string' ? answer : JSON.stringify(answer))

const row = (changes: object = {}) => ({
  recipient: '0031612345678',
  reference: 'order-4711',
  status: 20,
  statusdescription: 'Delivered',
  standarderror: null,
  errordescription: '',
  created: '2017-02-01T23:58:25+01:00',
  price: 0.07,
  ...changes,
})
const answerOf = (result: unknown, changes: object = {}) => ({
  status: 1,
  message: 'Ok',
  summary: {},
  result,
  ...changes,
})

const delivered = (changes: Partial<StatusReport> = {}): StatusReport => ({
  account: 'cm',
  messageId: 'order-4711',
  recipient: '31612345678',
  status: 'delivered',
  rawStatus: '20',
  occurredAt: new Date('2017-02-01T22:58:25.000Z'),
  source: 'poll',
  details: { statusdescription: 'Delivered' },
  ...changes,
})

function thrownBy(action: () => unknown): unknown {
  try {
    action()
  } catch (error) {
    return error
  }
  throw new Error('Expected an error, got none')
}

describe('a page of transactions', () => {
  it.each<[string, unknown, StatusReport[], string[]]>([
    ['one row', [row()], [delivered()], []],
    [
      'one reference with several recipients',
      [row(), row({ recipient: '+31687654321', status: 21 })],
      [delivered(), delivered({ recipient: '31687654321', status: 'failed', rawStatus: '21' })],
      [],
    ],
    ['texts as numbers', [row({ status: '20', reference: 4711 })], [delivered({ messageId: '4711' })], []],
    [
      'a row without a status yet',
      [row({ status: null }), row({ reference: 'b', status: '' })],
      [],
      ['order-4711', 'b'],
    ],
    ['rows sent without a reference', [row({ reference: '' }), row({ reference: null }), row()], [delivered()], []],
    ['a reference that none of ours can have', [row({ reference: 'a\u0007b' })], [], []],
    ['no recipient', [row({ recipient: null })], [delivered({ recipient: '' })], []],
    ['rows that are none', [null, 7, {}, row()], [delivered()], []],
    [
      'both texts of a failure',
      [row({ status: 21, statusdescription: 'Failed', standarderror: 5, errordescription: 'Absent subscriber' })],
      [
        delivered({
          status: 'failed',
          rawStatus: '21',
          error: { code: '5', description: 'Absent subscriber' },
          details: { statusdescription: 'Failed' },
        }),
      ],
      [],
    ],
    [
      'an error on a message that arrived, which would mislead',
      [row({ standarderror: '0', errordescription: 'No error' })],
      [delivered()],
      [],
    ],
    [
      'a number without a known meaning',
      [row({ status: 99, errordescription: 'Odd' })],
      [delivered({ status: 'accepted', rawStatus: '99', unmapped: true, error: { description: 'Odd' } })],
      [],
    ],
    [
      'the time of the status, where there is one',
      [row({ statusdate: '2017-02-02T08:00:00' })],
      [delivered({ occurredAt: new Date('2017-02-02T07:00:00.000Z') })],
      [],
    ],
    ...[37, '37', 37.5].map((deliverytime): [string, object[], StatusReport[], string[]] => [
      `the seconds from sending to delivery, ${JSON.stringify(deliverytime)}`,
      [row({ deliverytime })],
      [delivered({ occurredAt: new Date(Date.parse('2017-02-01T22:58:25.000Z') + Number(deliverytime) * 1000) })],
      [],
    ]),
    ...[null, '', 'soon', -1, 1e9].map((deliverytime): [string, object[], StatusReport[], string[]] => [
      `seconds that are none, ${JSON.stringify(deliverytime)}`,
      [row({ deliverytime })],
      [delivered()],
      [],
    ]),
    [
      'no time, so that any webhook is later news',
      [row({ created: 'soon' })],
      [delivered({ occurredAt: PAGE.from })],
      [],
    ],
  ])('is read with %s', (_, result, reports, noStatusYet) => {
    expect(parse(answerOf(result, { pagination: { currentPage: 1, totalPages: 1, pageSize: 2 } }))).toEqual({
      reports,
      noStatusYet,
      hasMore: false,
    })
  })

  it.each<[string, unknown]>([
    ['an empty result', answerOf([])],
    ['a sentence', { status: 1, message: 'There are no transactions available with these parameters' }],
    ['a sentence with another status', { status: 0, message: 'There are no transactions available', result: null }],
  ])('may be empty: %s', (_, answer) => {
    expect(parse(answer)).toEqual({ reports: [], noStatusYet: [], hasMore: false })
  })

  it.each<[string, number, number, object | undefined, boolean]>([
    ['the first of three', 0, 2, { currentPage: 1, totalPages: 3 }, true],
    ['the last of three', 2, 2, { currentPage: 3, totalPages: 3 }, false],
    ['texts as numbers', 0, 2, { currentPage: '1', totalPages: '2' }, true],
    ['an empty page that promises more', 1, 0, { currentPage: 2, totalPages: 9 }, false],
    ['a full page without pagination', 0, 2, undefined, true],
    ['a page that is not full, without pagination', 0, 1, undefined, false],
    ['a full page of the provider’s own size', 0, 1, { pageSize: 1 }, true],
    ['pagination without numbers', 0, 2, { currentPage: {}, totalPages: 'x', pageSize: null }, true],
  ])('tells whether there are more: %s', (_, page, rows, pagination, hasMore) => {
    const result = Array.from({ length: rows }, (__, index) => row({ reference: `r${index}` }))
    expect(parse(answerOf(result, { pagination }), page).hasMore).toBe(hasMore)
  })

  it.each<[string, unknown, ProviderError['kind'], string]>([
    ['an empty body', '', 'transient', 'the provider sent an empty body'],
    ['a body that is cut off', '{"status":1,"res', 'transient', 'the provider sent 16 characters that are not JSON'],
    ['HTML', '<html></html>', 'transient', 'the provider sent 13 characters that are not JSON'],
    ['a list', [], 'transient', 'the provider sent an answer that is not {status,message,result}'],
    ['null', 'null', 'transient', 'the provider sent an answer that is not {status,message,result}'],
    ['no result', { status: 1 }, 'transient', 'the provider sent an answer whose result is not a list of transactions'],
    [
      'rows that are none',
      answerOf([7, {}]),
      'transient',
      'the provider sent an answer whose result is not a list of transactions',
    ],
    [
      'a refused token',
      { status: 3, message: 'Product token 1234 is invalid' },
      'account',
      'the provider answered with status 3: the product token is refused',
    ],
    [
      'a refused window',
      { status: 2, message: 'The date range is too long' },
      'request',
      'the provider answered with status 2: the window or the page is refused',
    ],
    [
      'impatience',
      { status: 4, message: 'Too many requests' },
      'throttled',
      'the provider answered with status 4: too many requests',
    ],
    [
      'impatience with an account',
      { status: 4, message: 'Rate limit exceeded for this account' },
      'throttled',
      'the provider answered with status 4: too many requests',
    ],
    [
      'a window longer than the limit',
      { status: 2, message: 'The date range exceeds the limit' },
      'request',
      'the provider answered with status 2: the window or the page is refused',
    ],
    [
      'a limit of another kind',
      { status: 2, message: 'Limit reached' },
      'throttled',
      'the provider answered with status 2: too many requests',
    ],
    [
      'no access',
      { status: 3, message: 'You do not have access to this service' },
      'account',
      'the provider answered with status 3: the product token is refused',
    ],
    [
      'trouble of its own',
      { status: 0, message: 'Could not access the database' },
      'transient',
      'the provider answered with status 0',
    ],
    ['another status', { status: 9, message: 'Oops' }, 'transient', 'the provider answered with status 9'],
    [
      'a word as status',
      { status: 'Error', message: 'Oops' },
      'transient',
      'the provider answered with status other than 1',
    ],
  ])('is refused: %s', (_, answer, kind, sentence) => {
    const error = thrownBy(() => parse(answer))
    expect(error).toBeInstanceOf(ProviderError)
    expect(error).toMatchObject({ kind, message: sentence })
  })

  it('ends when the provider does not turn the page', () => {
    const stuck = answerOf([row(), row()], { pagination: { currentPage: 1, totalPages: 5 } })
    expect(parse(stuck, 1).hasMore).toBe(true)
    expect(thrownBy(() => parse(stuck, 2))).toMatchObject({
      kind: 'request',
      message: 'the provider answered with page 1 when asked for page 3',
    })
  })

  it('throws nothing but a ProviderError and reports only in normal form, whatever comes', () => {
    const value = fc.oneof(fc.jsonValue(), fc.constantFrom('a', 20, '21', null, '__proto__', 'constructor'))
    const names = Object.keys(row())
    const rows = fc.array(fc.oneof(value, fc.dictionary(fc.constantFrom(...names), value)))
    const answer = fc.oneof(
      fc.string(),
      fc.json(),
      fc.record(
        { status: value, message: value, pagination: value, result: fc.oneof(rows, value) },
        { requiredKeys: [] },
      ),
      rows.map((result) => answerOf(result)),
    )
    fc.assert(
      fc.property(answer, fc.nat(5), (text, page) => {
        try {
          for (const { messageId, recipient, occurredAt } of parse(text, page).reports) {
            expect(cm.normalizeMessageId(messageId)).toBe(messageId)
            expect(recipient).toMatch(/^(?:[1-9]\d*)?$/)
            expect(occurredAt.getTime()).not.toBeNaN()
          }
        } catch (error) {
          expect(error).toBeInstanceOf(ProviderError)
        }
      }),
      { numRuns: 300 },
    )
  })
})

describe('the request for a page', () => {
  async function askedFor(from: string, to: string, page = 0): Promise<unknown> {
    const asked: unknown[] = []
    const http: ProviderHttp = {
      async get(path, headers) {
        asked.push({ path, headers })
        return { status: 200, headers: {}, text: JSON.stringify(answerOf([row()])) }
      },
      post: () => Promise.reject(new Error('Expected a GET')),
      delete: () => Promise.reject(new Error('Expected a GET')),
      close: async () => {},
    }
    const [lookup] = cm.lookups(account)
    const window = { from: new Date(from), to: new Date(to), page }
    const answer = await lookup?.byWindow?.ask(http, window, new AbortController().signal)
    expect(answer).toEqual({ reports: [delivered()], noStatusYet: [], hasMore: false })
    return asked[0]
  }

  it.each([
    [404, '{"status":-1,"message":"No transactions found"}', { reports: [], noStatusYet: [], hasMore: false }],
    [400, '{"status":-5,"message":"Invalid product token"}', 'account'],
    [403, '{"status":-5,"message":"Too many requests"}', 'throttled'],
    [404, '{"message":"Invalid date"}', 'request'],
    [404, '<html>Not found</html>', 'gone'],
    [500, '{"status":-1,"message":"Invalid token"}', 'transient'],
  ])('reads in the body of HTTP %d what it says: %s', async (status, text, expected) => {
    const server = createServer((_request, response) => response.writeHead(status).end(text)).listen(0, '127.0.0.1')
    await once(server, 'listening')
    const baseUrl = `http://127.0.0.1:${(server.address() as AddressInfo).port}`
    const http = createProviderHttp({ baseUrl, timeoutMs: 5_000, connections: 1 })
    const [lookup] = cm.lookups(account)
    const answer = await lookup?.byWindow
      ?.ask(http, PAGE, new AbortController().signal)
      .catch((error: ProviderError) => error.kind)
    expect(answer).toEqual(expected)
    await http.close()
    server.close()
  })

  it('names the window in local time, the page from 1, and the token in a header', async () => {
    expect(await askedFor('2017-02-01T00:00:00Z', '2017-02-02T00:00:00Z', 2)).toEqual({
      path: '/transactions/?startdate=2017-02-01T01%3A00%3A00&enddate=2017-02-02T01%3A00%3A00&channel=SMS&direction=out&pagesize=2&page=3',
      headers: { 'X-CM-PRODUCTTOKEN': 'token-of-cm', Accept: 'application/json' },
    })
  })

  it.each([
    ['summer', '2026-07-01T10:00:00Z', '2026-07-01T11:00:00Z', '2026-07-01T12:00:00', '2026-07-01T13:00:00'],
    [
      'milliseconds',
      '2026-07-01T10:00:00.900Z',
      '2026-07-01T11:00:00.100Z',
      '2026-07-01T12:00:00',
      '2026-07-01T13:00:01',
    ],
    ['the doubled hour', '2026-10-25T00:30:00Z', '2026-10-25T01:40:00Z', '2026-10-25T01:30:00', '2026-10-25T03:40:00'],
    ['the missing hour', '2026-03-29T00:59:00Z', '2026-03-29T01:01:00Z', '2026-03-29T01:59:00', '2026-03-29T03:01:00'],
  ])('covers the window in %s', async (_, from, to, startdate, enddate) => {
    const { path } = (await askedFor(from, to)) as { path: string }
    const parameters = new URLSearchParams(path.split('?')[1])
    expect([parameters.get('startdate'), parameters.get('enddate')]).toEqual([startdate, enddate])
  })

  it('is limited as the account says, and not made when the account says off', () => {
    const [lookup] = cm.lookups({ ...account, maxWindowMs: 1000, clockSlackMs: 10 })
    expect(lookup).toMatchObject({ name: 'transactions', byWindow: { maxSpanMs: 1000, slackMs: 10, pageSize: 2 } })
    expect(lookup).not.toHaveProperty('byIds')
    expect(cm.lookups({ ...account, query: 'off' })).toEqual([])
  })
})

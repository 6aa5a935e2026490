/** The fuzz in short, from a fixed seed so that the suite is repeatable; and that it would see each kind of fault. */
import postgres from 'postgres'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { createDatabase } from '../support/services.ts'
import { type ApiProcess, startApiProcess } from './api-process.ts'
import { differenceOf, FUZZ_ACCOUNTS, faultOf, fuzz, MOST_GROWTH_BYTES, makeCase, type Summary } from './fuzz.ts'
import { look } from './oracle.ts'
import { hasGrown, printFaults, printSummary } from './print.ts'
import type { FuzzRequest, Wrapped } from './wrap.ts'

const SEED = 20_261_125
const COUNT = 1_000

let database: Awaited<ReturnType<typeof createDatabase>>
let sql: postgres.Sql
let api: ApiProcess
beforeAll(async () => {
  database = await createDatabase()
  api = await startApiProcess(database.url, FUZZ_ACCOUNTS)
  sql = postgres(database.url, { max: 1, onnotice: () => {} })
})
afterAll(async () => {
  await sql.end()
  await api.close()
  await database.drop()
})

it('finds no fault, and every wrapped receipt in the database as it was', { timeout: 120_000 }, async () => {
  const summary = await fuzz({ api, sql, seed: SEED, count: COUNT })
  expect(printFaults(summary)).toBe('')
  expect(api.errors()).toEqual([])
  expect(hasGrown(summary)).toBe(false)
  expect(summary.receipts).toBeGreaterThan(COUNT / 2)
  expect(summary.answers['wrapped: 200']).toBe(COUNT / 2)
  for (const answer of ['damaged: 200', 'damaged: 200 without a report', 'damaged: 400']) {
    expect(summary.answers[answer]).toBeGreaterThan(COUNT / 20)
  }
})

const request = (changes: Partial<FuzzRequest> | { text: string } = {}): FuzzRequest => ({
  account: 'seven',
  method: 'POST',
  query: '',
  headers: [],
  body: Buffer.from('text' in changes ? changes.text : ''),
  isChunked: false,
  name: [],
  ...changes,
})

describe('the fuzz', () => {
  it('sends the same for a seed, and something else for another', () => {
    for (const index of [0, 1, 2, 3]) expect(makeCase(7, index)).toEqual(makeCase(7, index))
    expect(makeCase(7, 0)).not.toEqual(makeCase(8, 0))
  })

  const expected = { account: 'seven', messageId: '1', recipientKey: '', status: 'read' } as const
  const wrapped: Wrapped = { ...request(), expected: [expected] }
  const readable = request({ text: '{"a":[{"msg_id":"1","status":"READ"}]}' })
  const garbage = request({ text: '{"a":[{"msg_id":"1"' })
  it.each<[string | undefined, FuzzRequest, number, number]>([
    [undefined, wrapped, 200, 1],
    ['another number of receipts', wrapped, 200, 2],
    ['another number of receipts', wrapped, 200, 0],
    ['a receipt refused', wrapped, 400, 0],
    ['a failure', wrapped, 503, 0],
    ['no answer', wrapped, 0, 0],
    [undefined, readable, 200, 1],
    ['a receipt refused', readable, 400, 0],
    ['a receipt refused', readable, 413, 0],
    ['a receipt passed over', readable, 200, 0],
    [undefined, garbage, 400, 0],
    [undefined, garbage, 200, 0],
    ['a failure', garbage, 500, 0],
    ['no answer', garbage, 0, 0],
    ['an answer of another kind', garbage, 415, 0],
    [undefined, request({ text: 'x'.repeat(1_100_000) }), 413, 0],
  ])('sees %s', (fault, sent, status, reports) => {
    expect(faultOf(sent, status, reports)).toBe(fault)
  })

  const at = new Date('2026-06-15T10:00:00Z')
  const row = { status: 'read', occurredAt: at, receivedAt: new Date() }
  it.each([
    [undefined, [row]],
    ['a receipt not in the database', []],
    ['a receipt twice in the database', [row, row]],
    ['another status in the database', [{ ...row, status: 'failed' }]],
    ['another time in the database', [{ ...row, occurredAt: new Date(at.getTime() + 1) }]],
  ])('sees %s', (difference, rows) => {
    expect(differenceOf({ ...expected, occurredAt: at }, rows)).toBe(difference)
  })

  it('sees a time that was made up, where the receipt has none', () => {
    expect(differenceOf(expected, [{ ...row, occurredAt: row.receivedAt }])).toBeUndefined()
    expect(differenceOf(expected, [row])).toBe('another time in the database')
  })

  it('sees growth', () => {
    const grownBy = (bytes: number) => hasGrown({ held: { quarter: 5, end: 5 + bytes } } as Summary)
    expect([grownBy(MOST_GROWTH_BYTES), grownBy(MOST_GROWTH_BYTES + 1)]).toEqual([false, true])
  })

  it('prints each fault with what repeats it', () => {
    const faults = [{ index: 4711, kind: 'a failure', request: readable, answer: '500 {}' }]
    const summary: Summary = {
      seed: 7,
      count: 9,
      seconds: 3,
      slowestMs: 5,
      answers: {},
      receipts: 1,
      held: { quarter: 2e6, end: 3e6 },
      faults,
    }
    expect(printFaults(summary)).toMatch(/^1 × a failure:\n {2}--only 4711: .*\n.*\n.*msg_id.*\n {4}500 \{\}$/)
    expect(printSummary(summary)).toMatch(/seed 7: 9 requests in 3 s, 3 a second[\s\S]*ratio 1\.50[\s\S]*1 faults/)
  })
})

describe('the oracle', () => {
  const xml = '<a><m><REFERENCE>x-1</REFERENCE><STATUS>2</STATUS></m></a>'
  it.each<[string, FuzzRequest]>([
    ['JSON', request({ text: '\ufeff [{"data":{"MSG_ID":7,"status":"READ"}}]\n' })],
    ['a form', request({ text: 'a=1&status=READ&msg_id=7' })],
    ['a query', request({ query: 'msg_id=7&status=READ' })],
    ['XML', request({ account: 'cm', body: Buffer.from(xml) })],
    ['UTF-16', request({ account: 'cm', body: Buffer.from(`\ufeff${xml}`, 'utf16le') })],
  ])('reads a receipt in %s', (_, sent) => {
    expect(look(sent)).toBe('a receipt')
  })

  it.each<[string, FuzzRequest]>([
    ['without a status', request({ text: 'msg_id=7' })],
    ['with two IDs', request({ text: 'msg_id=7&msg_id=8&status=READ' })],
    ['of another event', request({ text: '{"webhook_event":"sms_mo","data":{},"msg_id":"7","status":"READ"}' })],
    ['with a placeholder', request({ text: 'msg_id=7&status=[STATUS]' })],
    ['in XML that is not closed', request({ account: 'cm', text: xml.slice(0, -4) })],
    ['of the other provider', request({ account: 'seven', text: xml })],
  ])('reads none %s', (_, sent) => {
    expect(look(sent)).toBe('nothing')
  })
})

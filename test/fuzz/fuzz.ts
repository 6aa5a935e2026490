/**
 * The fuzz: requests from a seed, half of them receipts in a wrapping, half of them damaged, over HTTP to the API; then
 * the database is compared with what was wrapped.
 *
 * Faults are: an answer of 5xx, none in time, a 4xx for a body in which a receipt can be read, a receipt that was
 * answered 2xx and is not in the database as it was, and memory that grows with the count.
 */
import { Agent, request as httpRequest } from 'node:http'
import type postgres from 'postgres'
import type { ApiProcess } from './api-process.ts'
import { makeMutated } from './mutate.ts'
import { look } from './oracle.ts'
import { createRandom } from './random.ts'
import type { ExpectedReport } from './receipts.ts'
import { type FuzzRequest, makeWrapped, type Wrapped } from './wrap.ts'

export interface Fault {
  index: number
  kind: string
  request: FuzzRequest
  answer: string
}

export interface Summary {
  seed: number
  count: number
  seconds: number
  slowestMs: number
  /** How often each answer came, by "wrapped: 200" and the like. */
  answers: Record<string, number>
  /** Receipts that were wrapped and found in the database. */
  receipts: number
  /** Bytes held after a garbage collection, at a quarter of the requests and at the end. */
  held: { quarter: number; end: number }
  faults: Fault[]
}

export interface FuzzOptions {
  api: Pick<ApiProcess, 'url' | 'heldBytes'>
  sql: postgres.Sql
  seed: number
  count: number
  first?: number
  say?(text: string): void
}

export const FUZZ_ACCOUNTS = [
  { name: 'seven', provider: 'seven', apiKey: 'seven-api-key', messageIds: 'any' },
  { name: 'cm', provider: 'cm', productToken: 'cm-product-token' },
]

/** More than this is growth, however many requests there were. */
export const MOST_GROWTH_BYTES = 8_000_000
const ANSWER_WITHIN_MS = 15_000
const REQUESTS_A_ROUND = 1_000
const AT_ONCE = 24
const MOST_FAULTS = 500

interface Answer {
  status: number
  text: string
}

interface Case {
  index: number
  request: FuzzRequest | Wrapped
  answer?: Answer
}

export async function fuzz({ api, sql, seed, count, first = 0, say = () => {} }: FuzzOptions): Promise<Summary> {
  const agent = new Agent({ keepAlive: true, maxSockets: AT_ONCE })
  const summary: Summary = {
    seed,
    count,
    seconds: 0,
    slowestMs: 0,
    answers: {},
    receipts: 0,
    held: { quarter: 0, end: 0 },
    faults: [],
  }
  const begun = performance.now()
  for (let done = 0; done < count && summary.faults.length < MOST_FAULTS; ) {
    const size = Math.min(REQUESTS_A_ROUND, count - done)
    const cases = Array.from({ length: size }, (_, offset) => makeCase(seed, first + done + offset))
    await sendAll(api.url, agent, cases, summary)
    for (const one of cases) judge(one, summary)
    await compare(sql, cases, summary)
    done += size
    if (summary.held.quarter === 0 && done >= count / 4) summary.held.quarter = await api.heldBytes()
    if (done % 10_000 === 0) say(`${done} sent, ${summary.faults.length} faults`)
  }
  agent.destroy()
  summary.seconds = (performance.now() - begun) / 1000
  summary.held.end = await api.heldBytes()
  return summary
}

/** Every second request is a wrapped one. */
export function makeCase(seed: number, index: number): Case {
  const random = createRandom(seed, index)
  // A damaged digit must not make one of those receipts that are compared: far more than one digit lies between them.
  const id = (first: number) => String(first + index)
  return {
    index,
    request: index % 2 === 0 ? makeWrapped(random, id(7_000_000_000)) : makeMutated(random, id(8_989_898_989)),
  }
}

async function sendAll(url: string, agent: Agent, cases: readonly Case[], summary: Summary): Promise<void> {
  const left = [...cases].reverse()
  const sendOn = async () => {
    for (let one = left.pop(); one; one = left.pop()) {
      const begun = performance.now()
      one.answer = await send(url, agent, one.request).catch((error: Error) => ({ status: 0, text: String(error) }))
      summary.slowestMs = Math.max(summary.slowestMs, performance.now() - begun)
    }
  }
  await Promise.all(Array.from({ length: AT_ONCE }, sendOn))
}

function send(
  url: string,
  agent: Agent,
  { account, method, query, headers, body, isChunked }: FuzzRequest,
): Promise<Answer> {
  return new Promise((resolve, reject) => {
    const length = isChunked ? ['Transfer-Encoding', 'chunked'] : ['Content-Length', String(body.length)]
    const { host } = new URL(url)
    const path = `/webhooks/${account}${query === '' ? '' : `?${query}`}`
    const sent = httpRequest(
      url + path,
      {
        method,
        agent,
        headers: ['Host', host, ...headers.flat(), ...length],
        signal: AbortSignal.timeout(ANSWER_WITHIN_MS),
      },
      (response) => {
        let text = ''
        response.setEncoding('utf8')
        response.on('data', (chunk: string) => {
          text += chunk
        })
        response.on('end', () => resolve({ status: response.statusCode ?? 0, text }))
        response.on('error', reject)
      },
    )
    sent.on('error', reject)
    sent.end(body)
  })
}

/** Judges an answer by itself; the receipts are looked up afterwards. */
function judge({ index, request, answer = { status: 0, text: '' } }: Case, summary: Summary): void {
  const isWrapped = 'expected' in request
  const reports = Number(/"reports":(\d+)/.exec(answer.text)?.[1] ?? 0)
  const kept = answer.status === 200 && reports === 0 ? 'without a report' : ''
  const name = `${isWrapped ? 'wrapped' : 'damaged'}: ${answer.status || 'none'} ${kept}`.trim()
  summary.answers[name] = (summary.answers[name] ?? 0) + 1
  const kind = faultOf(request, answer.status, reports)
  if (kind !== undefined) summary.faults.push({ index, kind, request, answer: `${answer.status} ${answer.text}` })
}

export function faultOf(request: FuzzRequest | Wrapped, status: number, reports: number): string | undefined {
  if (status === 0) return 'no answer'
  if (status >= 500) return 'a failure'
  if ('expected' in request) {
    if (status !== 200) return 'a receipt refused'
    return reports === request.expected.length ? undefined : 'another number of receipts'
  }
  if (reports > 0) return undefined
  const verdict = look(request)
  if (verdict === 'too large') return undefined
  if (verdict === 'a receipt') return status === 200 ? 'a receipt passed over' : 'a receipt refused'
  return status === 200 || status === 400 ? undefined : 'an answer of another kind'
}

interface Row {
  key: string
  status: string
  occurredAt: Date
  receivedAt: Date
}

/** Compares the wrapped receipts with the reports of this round, and empties the tables for the next. */
async function compare(sql: postgres.Sql, cases: readonly Case[], summary: Summary): Promise<void> {
  const rows = await sql<Row[]>`
    SELECT m.account || ' ' || m.message_id || ' ' || m.recipient_key AS key, r.status, r.occurred_at AS "occurredAt",
      r.received_at AS "receivedAt"
    FROM lastword.status_reports r JOIN lastword.messages m ON m.id = r.message`
  const found = groupBy(rows, ({ key }) => key)
  for (const { index, request, answer } of cases) {
    if (!('expected' in request) || answer?.status !== 200) continue
    for (const expected of request.expected) {
      const { account, messageId, recipientKey } = expected
      const difference = differenceOf(expected, found.get(`${account} ${messageId} ${recipientKey}`) ?? [])
      if (difference === undefined) summary.receipts++
      else summary.faults.push({ index, kind: difference, request, answer: JSON.stringify(expected) })
    }
  }
  await sql`TRUNCATE lastword.messages, lastword.status_reports, lastword.changes`
}

const SOON_MS = 60_000

export function differenceOf(expected: ExpectedReport, rows: readonly Omit<Row, 'key'>[]): string | undefined {
  const [row] = rows
  if (!row) return 'a receipt not in the database'
  if (rows.length > 1) return 'a receipt twice in the database'
  if (row.status !== expected.status) return 'another status in the database'
  const time = (expected.occurredAt ?? row.receivedAt).getTime()
  const difference = Math.abs(row.occurredAt.getTime() - time)
  return difference > (expected.occurredAt ? 0 : SOON_MS) ? 'another time in the database' : undefined
}

export function groupBy<T>(items: readonly T[], keyOf: (item: T) => string): Map<string, T[]> {
  const groups = new Map<string, T[]>()
  for (const item of items) groups.set(keyOf(item), [...(groups.get(keyOf(item)) ?? []), item])
  return groups
}

/** The spans of a service, by OpenTelemetry's own SDK: one trace from tracking to the callback, and nothing secret in it. */
import { once } from 'node:events'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { context, propagation, SpanKind, SpanStatusCode, trace } from '@opentelemetry/api'
import {
  BatchSpanProcessor,
  InMemorySpanExporter,
  NodeTracerProvider,
  type ReadableSpan,
  SimpleSpanProcessor,
} from '@opentelemetry/sdk-trace-node'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import {
  closeAll,
  closeLater,
  createInstallation,
  type Installation,
  minutesAgo,
  ONE_MINUTE,
  openSandbox,
  sendReceipt,
  sevenAccount,
  startService,
  until,
} from '../support/service.ts'

const API_KEY = 'pLaNtEd-key'
const SECRET = `whsec_${Buffer.from('a planted secret of 32 bytes ...').toString('base64')}`
const NUMBER = '+491705550101'
const WORD = 'pLaNtEd-word'
const TOLD = '77000000001'
const NAMED = '77000000009'
const TRACED = { OTEL_TRACES_EXPORTER: 'otlp', CALLBACK_ALLOW_PRIVATE: 'true' }

/** A caller's span in trace `11…`, `22…` and so on. */
const callerOf = (digit: number, flags = '01') => `00-${String(digit).repeat(32)}-${String(digit).repeat(16)}-${flags}`
const FIRST = callerOf(1)
const SECOND = callerOf(2)
const UNSAMPLED = callerOf(3, '00')
const APP = callerOf(4)

const exporter = new InMemorySpanExporter()
/** Gets spans when it is told to flush them. */
const lazyExporter = new InMemorySpanExporter()
const lazy = new BatchSpanProcessor(lazyExporter, { scheduledDelayMillis: 3_600_000, maxExportBatchSize: 2048 })
/** The `traceparent` of each callback, by its message. */
const received = new Map<string, string | undefined>()
let installation: Installation
let sent: string[]
let url: string
let stopWorker: () => Promise<void>
/** How many spans there were, and messages with a trace, before tracing was on. */
let untraced: { spans: number; rows: number }

const spansOf = (name: string) => exporter.getFinishedSpans().filter((span) => span.name === name)
const idOf = (span: ReadableSpan | undefined) => span?.spanContext().spanId
const traceOf = (span: ReadableSpan | undefined) => span?.spanContext().traceId
const spanIn = (name: string, caller: string) =>
  spansOf(name).find((span) => traceOf(span) === caller.slice(3, 35)) ?? expect.fail(`Expected a span "${name}"`)
const linksOf = ({ links }: ReadableSpan) => links.map(({ context }) => context.spanId)
const headerOf = (span: ReadableSpan) => `00-${traceOf(span)}-${idOf(span)}-01`

async function openReceiver(): Promise<string> {
  const server = createServer(async (request, response) => {
    let text = ''
    for await (const piece of request) text += piece
    received.set(JSON.parse(text).data.messageId, request.headers.traceparent as string | undefined)
    response.writeHead(204).end()
  }).listen(0, '127.0.0.1')
  closeLater(async () => server.close())
  await once(server, 'listening')
  return `http://127.0.0.1:${(server.address() as AddressInfo).port}`
}

async function trackAs(url: string, traceparent: string, messageIds: readonly string[]): Promise<void> {
  const sentAt = minutesAgo(5)
  const messages = messageIds.map((messageId) => ({ messageId, sentAt, recipient: NUMBER, metadata: { word: WORD } }))
  const response = await fetch(`${url}/v1/messages`, {
    method: 'POST',
    headers: { 'content-type': 'application/json', traceparent },
    body: JSON.stringify({ account: 'seven', messages }),
  })
  expect(response.status).toBe(202)
}

const countTraces = async () => (await installation.sql`SELECT FROM lastword.message_traces`).length

beforeAll(async () => {
  new NodeTracerProvider({ spanProcessors: [new SimpleSpanProcessor(exporter), lazy] }).register()
  installation = await createInstallation('postgres')
  const sandbox = await openSandbox({ law: ONE_MINUTE, apiKey: API_KEY })
  const callback = { url: await openReceiver(), secret: SECRET }
  const accounts = [
    sevenAccount(sandbox, { polling: { firstAfter: '1s', maxInterval: '1s' }, callback }),
    sevenAccount(sandbox, { name: 'told', query: 'off', callback }),
  ]
  sent = sandbox.send(5, { sentAt: minutesAgo(5) })
  const [off = '', first = '', twin = '', second = '', unsampled = ''] = sent

  const environment = { CALLBACK_ALLOW_PRIVATE: 'true' }
  const withoutTracing = await startService({ installation, accounts, environment })
  await trackAs(withoutTracing.url, FIRST, [off])
  await until(() => expect(received.has(off)).toBe(true))
  await withoutTracing.close()
  untraced = { spans: exporter.getFinishedSpans().length, rows: await countTraces() }

  // Without a worker, so that one batch takes what three callers have tracked.
  const api = await startService({
    installation,
    accounts,
    parts: { api: true, workers: false },
    environment: TRACED,
  })
  url = api.url
  await trackAs(url, FIRST, [first, twin])
  await trackAs(url, SECOND, [second])
  await trackAs(url, UNSAMPLED, [unsampled])
  await until(async () => {
    const [row] = await installation.sql`SELECT count(*)::int AS due FROM lastword.due WHERE due_at <= now()`
    expect(row?.due).toBe(4)
  })
  const parts = { api: false, workers: true }
  stopWorker = (await startService({ installation, accounts, parts, environment: TRACED })).close

  const order = {
    v: 1,
    account: 'told',
    partial: true,
    messages: [{ messageId: TOLD }, { messageId: NAMED, recipient: WORD }],
  }
  const track = installation.queue('track')
  await track.add(`sms ${NUMBER}`, order, {
    jobId: `sms-${TOLD}`,
    telemetry: { metadata: JSON.stringify({ traceparent: APP }) },
  })
  await track.add('order', { v: 1, account: WORD, messages: [{ messageId: TOLD }] })
  await until(() => expect(spansOf('process track')).toHaveLength(2))
  expect(await sendReceipt(url, TOLD, 'DELIVERED', 'told')).toBe(200)
  await until(() => {
    expect(received.size).toBe(6)
    expect(spansOf('callback')).toHaveLength(4)
  })
}, 60_000)

afterAll(async () => {
  await closeAll()
  for (const api of [trace, context, propagation]) api.disable()
})

describe('without the variables of OpenTelemetry', () => {
  it('no span is made and no trace is kept, whatever a caller sends and whichever SDK is loaded', () => {
    expect(untraced).toEqual({ spans: 0, rows: 0 })
    expect(received.get(sent[0] ?? '')).toBeUndefined()
  })
})

describe('with them', () => {
  it('one trace goes from the caller over tracking and the batch to the callback', () => {
    const [batch, ...others] = spansOf('status query')
    expect(others).toEqual([])
    const caller = traceOf(batch) === traceOf(spanIn('track', FIRST)) ? FIRST : SECOND
    const tracked = spanIn('track', caller)
    expect(tracked).toMatchObject({
      kind: SpanKind.SERVER,
      parentSpanContext: { spanId: caller.slice(36, 52), isRemote: true },
    })
    expect(batch).toMatchObject({ kind: SpanKind.CONSUMER, parentSpanContext: { spanId: idOf(tracked) } })
    expect(spansOf('provider request')).toMatchObject([
      { kind: SpanKind.CLIENT, parentSpanContext: { spanId: idOf(batch) } },
    ])
    const callback = spanIn('callback', caller)
    expect(callback).toMatchObject({ kind: SpanKind.CLIENT, parentSpanContext: { spanId: idOf(tracked) } })
    expect(linksOf(callback)).toEqual([idOf(batch)])
  })

  it('a batch of several traces stands in one and links to the others, each once', () => {
    const [batch] = spansOf('status query')
    const trackings = [FIRST, SECOND].map((caller) => idOf(spanIn('track', caller)))
    expect([batch?.parentSpanContext?.spanId, ...(batch ? linksOf(batch) : [])].sort()).toEqual(trackings.sort())
    for (const caller of [FIRST, SECOND]) expect(linksOf(spanIn('callback', caller))).toEqual([idOf(batch)])
  })

  it('the trace of an app goes on in the queue, in the receipt and in the callback', () => {
    const job = spanIn('process track', APP)
    expect(job.parentSpanContext?.spanId).toBe(APP.slice(36, 52))
    const tracked = spanIn('track', APP)
    expect(tracked).toMatchObject({ kind: SpanKind.INTERNAL, parentSpanContext: { spanId: idOf(job) } })
    const receipt = spanIn('receipt', APP)
    expect(receipt).toMatchObject({ kind: SpanKind.SERVER, parentSpanContext: { spanId: idOf(tracked) }, links: [] })
    const callback = spanIn('callback', APP)
    expect(callback.parentSpanContext?.spanId).toBe(idOf(tracked))
    expect(linksOf(callback)).toEqual([idOf(receipt)])
  })

  it('each callback tells its own span, and none where the trace is not sampled', () => {
    const [, first = '', twin = '', second = '', unsampled = ''] = sent
    const told = spansOf('callback').map(headerOf).sort()
    expect([first, twin, second, TOLD].map((messageId) => received.get(messageId)).sort()).toEqual(told)
    expect(received.get(second)).toBe(headerOf(spanIn('callback', SECOND)))
    expect(received.has(unsampled)).toBe(true)
    expect(received.get(unsampled)).toBeUndefined()
  })

  it('only sampled messages have a row, which leaves with them', async () => {
    expect(await countTraces()).toBe(4)
    const erased = await fetch(`${url}/v1/messages/told/${TOLD}`, { method: 'DELETE' })
    expect(erased.ok).toBe(true)
    expect(await countTraces()).toBe(3)
  })

  it('a failure shows by its kind alone', () => {
    const failed = spansOf('track').filter(({ status }) => status.code === SpanStatusCode.ERROR)
    expect(failed).toMatchObject([
      { attributes: { 'error.type': 'LastwordError' }, status: { code: SpanStatusCode.ERROR } },
    ])
  })

  it('no ID, number, metadata or secret stands in any span', () => {
    const text = JSON.stringify(
      exporter.getFinishedSpans().map(({ name, attributes, events, links, status }) => ({
        name,
        attributes,
        events,
        status,
        links: links.map(({ attributes }) => attributes),
      })),
    )
    expect(text).toContain('"lastword.account":"seven"')
    for (const planted of [...sent, TOLD, NAMED, NUMBER.slice(1), WORD, API_KEY, SECRET])
      expect(text).not.toContain(planted)
  })

  it('a stop has the spans exported that the SDK still holds', async () => {
    expect(lazyExporter.getFinishedSpans()).toEqual([])
    await stopWorker()
    expect(lazyExporter.getFinishedSpans()).toHaveLength(exporter.getFinishedSpans().length)
  })
})

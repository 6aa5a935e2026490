/**
 * Tracing by the API of OpenTelemetry: the SDK that the operator loads samples the spans and exports them
 * (docs/monitoring.md). Spans hold names of accounts and look-ups, counts, and the words of this file; never message IDs,
 * numbers, metadata, URLs or the messages of errors, which may repeat them.
 */
import {
  type Attributes,
  type Context,
  context,
  createContextKey,
  isSpanContextValid,
  ProxyTracerProvider,
  ROOT_CONTEXT,
  type Span,
  type SpanContext,
  SpanKind,
  SpanStatusCode,
  TraceFlags,
  trace,
} from '@opentelemetry/api'
import type { Telemetry } from 'bullmq'
import { BullMQOtel } from 'bullmq-otel'
import { ProviderError } from './core/errors.ts'
import type { Db } from './db/client.ts'
import { findBatchTraces, findTrace, findTracesByIds, keepFinder } from './db/message-traces.ts'
import { orAborted, withDeadline } from './deadline.ts'
import type { Log } from './log.ts'
import type { Tracing } from './tracing.ts'

const FLUSH_WITHIN_MS = 2_000
/** The most that an SDK keeps of a span, unless it is told otherwise. */
const MOST_LINKS = 128
/**
 * The SDK's own key for "nothing in here": instrumentations of HTTP clients would write URLs, which hold message IDs, into
 * spans, and add a second `traceparent` to a request.
 */
const SUPPRESSED = createContextKey('OpenTelemetry SDK Context Key SUPPRESS_TRACING')

const tracer = trace.getTracer('lastword')

export function createTracing(db: Db, log: Log): Tracing {
  const provider = trace.getTracerProvider()
  if (provider instanceof ProxyTracerProvider && provider.getDelegateTracer('lastword') === undefined) {
    log.warn(
      'OTEL_… asks for traces, and no OpenTelemetry SDK is loaded that would export them; see docs/monitoring.md',
    )
  }
  return {
    trackWorker: { telemetry: withoutContents(new BullMQOtel({ tracerName: 'lastword' })) },
    track({ account, messages, caller }, work) {
      const isWithin = trace.getActiveSpan() !== undefined
      const parent = isWithin ? context.active() : within(readTraceparent(caller))
      const kind = isWithin ? SpanKind.INTERNAL : SpanKind.SERVER
      return inSpan('track', { kind, parent }, async (span) => {
        const tracked = await work(traceparentOf(span))
        // An order that is refused may name anything as its account.
        span.setAttributes({ 'lastword.account': account, 'lastword.messages': messages })
        return tracked
      })
    },
    async batch({ account, lookup, batch }, work) {
      const traces = await findBatchTraces(db, batch, MOST_LINKS)
      const attributes = { 'lastword.account': account, 'lastword.lookup': lookup, 'lastword.batch': batch }
      return fanOut('status query', { kind: SpanKind.CONSUMER, attributes }, traces, work)
    },
    async request(account, work) {
      if (trace.getActiveSpan() === undefined) return work()
      const attributes = { 'lastword.account': account }
      return inSpan('provider request', { kind: SpanKind.CLIENT, attributes, parent: context.active() }, work)
    },
    found: (messages) => keepActive(db, messages),
    async receipt(account, messageIds, work) {
      const traces = await findTracesByIds(db, account, messageIds)
      const attributes = { 'lastword.account': account, 'lastword.messages': messageIds.length }
      const spans = [...new Set(traces.map(({ tracked }) => tracked))].slice(0, MOST_LINKS)
      return fanOut('receipt', { kind: SpanKind.SERVER, attributes }, spans, async () => {
        await keepActive(
          db,
          traces.map(({ message }) => message),
        )
        return work()
      })
    },
    async callback({ account, message }, send) {
      const known = await findTrace(db, message)
      if (!known) return send(undefined)
      const attributes = { 'lastword.account': account }
      const links = [readTraceparent(known.found)]
      const parent = within(readTraceparent(known.tracked))
      return inSpan('callback', { kind: SpanKind.CLIENT, attributes, parent, links }, async (span) => {
        const sent = await send(traceparentOf(span))
        const refusal = typeof sent === 'object' ? sent.refusal : undefined
        if (refusal) span.setStatus({ code: SpanStatusCode.ERROR, message: refusal.reason })
        return sent
      })
    },
    async close() {
      const sdk = provider instanceof ProxyTracerProvider ? provider.getDelegate() : provider
      // The API has no word for it; each SDK has this one (https://opentelemetry.io/docs/specs/otel/trace/sdk/#forceflush).
      if (!('forceFlush' in sdk) || typeof sdk.forceFlush !== 'function') return
      const flushed: Promise<void> = sdk.forceFlush()
      await withDeadline(FLUSH_WITHIN_MS, undefined, (signal) => orAborted(flushed, signal)).catch((error) =>
        log.warn({ err: error }, 'spans that ended during the stop are not exported'),
      )
    },
  }
}

interface SpanSettings {
  kind: SpanKind
  attributes?: Attributes
  parent: Context
  links?: readonly (SpanContext | undefined)[]
}

async function inSpan<T>(
  name: string,
  { kind, attributes = {}, parent, links = [] }: SpanSettings,
  work: (span: Span) => Promise<T>,
): Promise<T> {
  const linked = links.flatMap((context) => (context ? [{ context }] : []))
  const span = tracer.startSpan(name, { kind, attributes, links: linked }, parent)
  const inside = trace.setSpan(parent, span)
  try {
    return await context.with(kind === SpanKind.CLIENT ? inside.setValue(SUPPRESSED, true) : inside, () => work(span))
  } catch (error) {
    span.setStatus({ code: SpanStatusCode.ERROR })
    span.setAttribute('error.type', error instanceof ProviderError ? error.kind : nameOf(error))
    throw error
  } finally {
    span.end()
  }
}

function nameOf(error: unknown): string {
  return error instanceof Error ? error.name : '_OTHER'
}

/** For several traces at once: in the first, with links to the others and to the span that is active; in none, without any. */
async function fanOut<T>(
  name: string,
  settings: Pick<SpanSettings, 'kind' | 'attributes'>,
  [first, ...others]: readonly string[],
  work: () => Promise<T>,
): Promise<T> {
  if (first === undefined) return work()
  const links = [...others.map(readTraceparent), trace.getActiveSpan()?.spanContext()]
  return inSpan(name, { ...settings, parent: within(readTraceparent(first)), links }, work)
}

async function keepActive(db: Db, messages: readonly number[]): Promise<void> {
  const span = trace.getActiveSpan()
  const traceparent = span && traceparentOf(span)
  if (traceparent !== undefined && messages.length > 0) await keepFinder(db, messages, traceparent)
}

function traceparentOf(span: Span): string | undefined {
  const { traceId, spanId, traceFlags } = span.spanContext()
  return traceFlags & TraceFlags.SAMPLED ? `00-${traceId}-${spanId}-01` : undefined
}

/** Undefined for what is none: a caller's mistake must not keep its messages from being tracked. */
function readTraceparent(text: unknown): SpanContext | undefined {
  const [, traceId = '', spanId = '', flags = ''] =
    /^(?!ff)[\da-f]{2}-([\da-f]{32})-([\da-f]{16})-([\da-f]{2})(?:-|$)/.exec(String(text)) ?? []
  const found = { traceId, spanId, traceFlags: Number.parseInt(flags, 16) & TraceFlags.SAMPLED, isRemote: true }
  return isSpanContextValid(found) ? found : undefined
}

function within(parent: SpanContext | undefined): Context {
  return parent ? trace.setSpanContext(ROOT_CONTEXT, parent) : ROOT_CONTEXT
}

const SILENT: ReturnType<Telemetry['tracer']['startSpan']> = {
  setSpanOnContext: (outer) => outer,
  setAttribute: () => {},
  setAttributes: () => {},
  addEvent: () => {},
  recordException: () => {},
  end: () => {},
}

/** BullMQ's spans of jobs alone, without the job's ID, name, result and failure, any of which may hold a message ID. */
function withoutContents({ tracer, contextManager }: Telemetry): Telemetry {
  return {
    contextManager,
    tracer: {
      startSpan(name, options, parent) {
        if (!name.startsWith('process ')) return SILENT
        const span = tracer.startSpan(name, options, parent)
        return {
          ...SILENT,
          setSpanOnContext: (outer) => span.setSpanOnContext(outer),
          setAttributes: ({ 'bullmq.queue.name': queue }) => {
            if (queue !== undefined) span.setAttribute('bullmq.queue.name', queue)
          },
          addEvent: (event) => span.addEvent(event),
          end: () => span.end(),
        }
      },
    },
  }
}

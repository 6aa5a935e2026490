/**
 * The way of a message through the service as spans of one trace: tracked, asked about or told of by a receipt, announced.
 * Off unless the operator has OpenTelemetry (opentelemetry.ts), and then nothing is read, written or imported for it.
 *
 * A span's place in its trace is told as a `traceparent` (https://www.w3.org/TR/trace-context/): undefined where the trace
 * is not sampled.
 */
import type { Telemetry } from 'bullmq'

export interface Tracing {
  /** For the worker of the queue `track`: the app's context comes with its jobs. */
  trackWorker: { telemetry?: Telemetry }
  /** `caller` is the `traceparent` of the request. `work` gets its own, to be kept with the messages. */
  track<T>(
    order: { account: string; messages: number; caller?: unknown },
    work: (traceparent: string | undefined) => Promise<T>,
  ): Promise<T>
  /** In the trace of the batch's first message, with links to those of the others. */
  batch<T>(batch: { account: string; lookup: string; batch: string }, work: () => Promise<T>): Promise<T>
  /** A request to the provider, within a batch. */
  request<T>(account: string, work: () => Promise<T>): Promise<T>
  /** To be told, within a batch, of the rows of messages before what was found about them is written. */
  found(messages: readonly number[]): Promise<void>
  /** In the trace of the first message that a receipt tells of, with links to those of the others. */
  receipt<T>(account: string, messageIds: readonly string[], work: () => Promise<T>): Promise<T>
  /** In the trace of the message, with a link to the span that found the change; `send` passes its own on. */
  callback<R extends { refusal?: { reason: string } | undefined } | string>(
    callback: { account: string; message: number },
    send: (traceparent: string | undefined) => Promise<R>,
  ): Promise<R>
  /** Has the spans exported that ended during the stop; call it when there will be no further ones. */
  close(): Promise<void>
}

export const NO_TRACING: Tracing = {
  trackWorker: {},
  track: (_order, work) => work(undefined),
  batch: (_batch, work) => work(),
  request: (_account, work) => work(),
  found: async () => {},
  receipt: (_account, _messageIds, work) => work(),
  callback: (_callback, send) => send(undefined),
  close: async () => {},
}

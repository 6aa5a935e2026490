/**
 * The counts and measures of a process for Prometheus; the gauges, read when it is scraped, stand in http/gauges.ts.
 */
import { Counter, collectDefaultMetrics, Histogram, Registry } from 'prom-client'
import { maskedStart } from './core/masked-text.ts'
import { endingOf, isFinal } from './core/status.ts'
import type { AppliedReport } from './db/reports.ts'
import type { Log } from './log.ts'

export interface Metrics {
  registry: Registry
  statusQueries: Counter<'account' | 'result'>
  /** In seconds, as every histogram here; of requests that were answered, or failed, not of those that a stop has ended. */
  statusQueryDuration: Histogram<'account' | 'result'>
  messagesTracked: Counter<'account'>
  webhooks: Counter<'account' | 'result'>
  /** One commit of all the receipts that were in hand together. */
  receiptCommitDuration: Histogram
  callbacks: Counter<'account' | 'result'>
  refusedSecrets: Counter<'secret' | 'answer'>
  callbackDuration: Histogram<'account' | 'result'>
  /**
   * Counts reports by what they did, measures how late they are at `now`, in milliseconds since 1970, and logs a status
   * outside the provider's table the first time it is seen.
   */
  observeReports(applied: readonly AppliedReport[], now: number, log: Pick<Log, 'warn'>): void
}

/** How often the delay of the event loop is sampled: prom-client's ten milliseconds cost most of what an idle process uses. */
const LOOP_DELAY_EVERY_MS = 100

const MINUTE = 60
const HOUR = 3600
const DAY = 86_400
const TIMES_TO_FINAL = [1, 3, 10, 30, MINUTE, 300, 1800, HOUR, 6 * HOUR, DAY, 3 * DAY, 7 * DAY, 30 * DAY]
const DELAYS = [0.1, 0.5, 1, 2, 5, 10, 30, MINUTE, 300, 600, 1800, HOUR, 6 * HOUR, DAY]
/** Up to the time-outs: of providers as configured, 10 s by default, and of receivers, 15 s. */
const REQUESTS = [0.01, 0.03, 0.1, 0.3, 1, 2, 5, 10, 15, 30]
const COMMITS = [0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.3, 1, 4.5]

/** With `ofProcess` also memory, garbage collection and the like, for a process that can be scraped. */
export function createMetrics({ ofProcess }: { ofProcess: boolean }): Metrics {
  const registry = new Registry()
  if (ofProcess) {
    collectDefaultMetrics({ register: registry, eventLoopMonitoringPrecision: LOOP_DELAY_EVERY_MS })
  }
  const counter = <L extends string>(name: string, help: string, labelNames: L[]) =>
    new Counter({ name: `lastword_${name}_total`, help, labelNames, registers: [registry] })
  const histogram = <L extends string>(name: string, help: string, labelNames: L[], buckets: number[]) =>
    new Histogram({ name: `lastword_${name}_seconds`, help, labelNames, buckets, registers: [registry] })
  const reports = counter('reports', 'Status reports written, by what they did', ['account', 'source', 'effect'])
  const unmapped = counter('unmapped_statuses', 'Reports whose status is not in the table', ['account'])
  const timeToFinal = histogram(
    'time_to_final',
    'From sending to the final status, by the provider, by how it ended',
    ['account', 'ending'],
    TIMES_TO_FINAL,
  )
  const detectionDelay = histogram(
    'detection_delay',
    'From a final status at the provider to its being known here, by who found it',
    ['account', 'source'],
    DELAYS,
  )
  const logged = new Set<string>()

  /** The first final status of a message; what corrects it later is neither. */
  function observeEnd({ report, status, changed, unmatched, before }: AppliedReport, now: number): void {
    if (unmatched || !changed || before.known || !isFinal(status)) return
    const { account, source, occurredAt } = report
    const at = occurredAt.getTime()
    timeToFinal.observe({ account, ending: endingOf(status) }, Math.max(0, at - before.sentAt) / 1000)
    if (source !== 'window') detectionDelay.observe({ account, source }, Math.max(0, now - at) / 1000)
  }

  return {
    registry,
    statusQueries: counter('status_queries', 'Requests to the status API of a provider', ['account', 'result']),
    statusQueryDuration: histogram(
      'status_query_duration',
      'How long a request to the status API of a provider took',
      ['account', 'result'],
      REQUESTS,
    ),
    messagesTracked: counter('messages_tracked', 'Messages tracked for the first time', ['account']),
    webhooks: counter('webhooks', 'Webhook requests received', ['account', 'result']),
    receiptCommitDuration: histogram(
      'receipt_commit_duration',
      'How long it took to commit the receipts that were in hand together',
      [],
      COMMITS,
    ),
    callbacks: counter('callbacks', 'Callbacks sent', ['account', 'result']),
    refusedSecrets: counter(
      'refused_secrets',
      'Requests with a wrong key, webhook token or signature, by how they were answered',
      ['secret', 'answer'],
    ),
    callbackDuration: histogram('callback_duration', 'How long one attempt took', ['account', 'result'], REQUESTS),
    observeReports(applied, now, log) {
      for (const one of applied) {
        const { report, changed, unmatched } = one
        const { account, source, rawStatus } = report
        reports.inc({ account, source, effect: unmatched ? 'unmatched' : changed ? 'applied' : 'no change' })
        observeEnd(one, now)
        if (!report.unmapped) continue
        unmapped.inc({ account })
        const status = maskedStart(rawStatus, 40)
        if (logged.has(`${account} ${status}`) || logged.size > 1000) continue
        logged.add(`${account} ${status}`)
        log.warn({ account, status }, 'the provider reports a status that is not in the table; taken as intermediate')
      }
    },
  }
}

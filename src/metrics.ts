/** The counters of a process for Prometheus; what is read when it is scraped stands with the routes (http/health.ts, http/accounts.ts). */
import { Counter, collectDefaultMetrics, Registry } from 'prom-client'
import type { AppliedReport } from './db/reports.ts'
import type { Log } from './log.ts'

export interface Metrics {
  registry: Registry
  statusQueries: Counter<'account' | 'result'>
  messagesTracked: Counter<'account'>
  webhooks: Counter<'account' | 'result'>
  callbacks: Counter<'account' | 'result'>
  /** Counts reports by what they did, and logs a status outside the provider's table the first time it is seen. */
  observeReports(applied: readonly AppliedReport[], log: Pick<Log, 'warn'>): void
}

/** How often the delay of the event loop is sampled: prom-client's ten milliseconds cost most of what an idle process uses. */
const LOOP_DELAY_EVERY_MS = 100

/** With `ofProcess` also memory, garbage collection and the like, for a process that can be scraped. */
export function createMetrics({ ofProcess }: { ofProcess: boolean }): Metrics {
  const registry = new Registry()
  if (ofProcess) {
    collectDefaultMetrics({ register: registry, eventLoopMonitoringPrecision: LOOP_DELAY_EVERY_MS })
  }
  const counter = <L extends string>(name: string, help: string, labelNames: L[]) =>
    new Counter({ name: `lastword_${name}_total`, help, labelNames, registers: [registry] })
  const reports = counter('reports', 'Status reports written, by what they did', ['account', 'source', 'effect'])
  const unmapped = counter('unmapped_statuses', 'Reports whose status is not in the table', ['account'])
  const logged = new Set<string>()

  return {
    registry,
    statusQueries: counter('status_queries', 'Requests to the status API of a provider', ['account', 'result']),
    messagesTracked: counter('messages_tracked', 'Messages tracked for the first time', ['account']),
    webhooks: counter('webhooks', 'Webhook requests received', ['account', 'result']),
    callbacks: counter('callbacks', 'Callbacks sent', ['account', 'result']),
    observeReports(applied, log) {
      for (const { report, changed, unmatched } of applied) {
        const { account, source, rawStatus } = report
        reports.inc({ account, source, effect: unmatched ? 'unmatched' : changed ? 'applied' : 'no change' })
        if (!report.unmapped) continue
        unmapped.inc({ account })
        const status = rawStatus.slice(0, 40)
        if (logged.has(`${account} ${status}`) || logged.size > 1000) continue
        logged.add(`${account} ${status}`)
        log.warn({ account, status }, 'the provider reports a status that is not in the table; taken as intermediate')
      }
    },
  }
}

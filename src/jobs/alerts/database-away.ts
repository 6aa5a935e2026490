/**
 * The alert that the database is away, which cannot be told through it: each process tells it for itself, in order, and
 * again with growing pauses until ALERT_URL has taken it. It is forgotten with the process.
 */
import { randomUUID } from 'node:crypto'
import { type AlertRule, type AlertState, nextAlert } from '../../core/alerts.ts'
import { createComplaint, type Log } from '../../log.ts'
import { callbackPause } from '../callbacks.ts'
import { type AlertSender, logAlert, type SentAlert } from './sender.ts'

export interface DatabaseAlertOptions {
  /** The machine's name. */
  host: string
  rule: AlertRule
  log: Log
  sender: AlertSender
}

export interface DatabaseAlert {
  /** Takes note of what keeps this process from the database, or of nothing, and tells what is to be told. */
  observe(trouble: string | undefined): void
}

export function createDatabaseAlert({ host, rule, log, sender }: DatabaseAlertOptions): DatabaseAlert {
  const complain = createComplaint(log, 'the alert that the database is away')
  const untold: SentAlert[] = []
  let state: AlertState | undefined
  let begun: SentAlert | undefined
  let isSending = false
  let attempts = 0
  let nextAttemptAt = 0

  async function send(): Promise<void> {
    for (let [alert] = untold; alert; [alert] = untold) {
      const refusal = await sender.send(alert)
      if (refusal) {
        nextAttemptAt = Date.now() + callbackPause(attempts++)
        return complain(new Error(refusal.reason))
      }
      untold.shift()
      attempts = 0
    }
  }

  return {
    observe(trouble) {
      const now = Date.now()
      const before = state
      const step = nextAlert(state, trouble === undefined ? undefined : {}, now, rule)
      state = step.state
      const at = new Date(now)
      if (step.tell === 'begun' && state) {
        const message = `The database is away for a process at ${host}: ${trouble}.`
        const name = `alert-database-away-${randomUUID()}`
        const since = new Date(state.since)
        begun = { name, tell: 'begun', at, kind: 'database-away', subject: host, message, since, until: null }
        logAlert(log, begun)
        untold.push(begun)
      }
      if (step.tell === 'ended' && begun) {
        const ended: SentAlert = { ...begun, tell: 'ended', at, until: new Date(before?.goneSince ?? now) }
        logAlert(log, ended)
        untold.push(ended)
      }
      if (isSending || untold.length === 0 || now < nextAttemptAt) return
      isSending = true
      send()
        .catch(complain)
        .finally(() => {
          isSending = false
        })
    },
  }
}

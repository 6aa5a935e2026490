/** The alerts: what lasts, and what ended of late. */
import type { JSX } from 'preact'
import type { Alert } from '../../client/answers.ts'
import { accountPath, Frame, type View } from './frame.tsx'
import { durationOf, moment, Time } from './words.tsx'

export function AlertsPage({ view, alerts }: { view: View; alerts: readonly Alert[] }): JSX.Element {
  const current = alerts.filter(({ until }) => until === null)
  const ended = alerts.filter(({ until }) => until !== null)
  return (
    <Frame view={view} title="Alerts" path="/alerts">
      <h1>Alerts</h1>
      {current.length === 0 && <p>Nothing is wrong at present.</p>}
      <CurrentAlerts alerts={current} view={view} />
      {ended.length > 0 && <h2>Over within the last 30 days</h2>}
      {ended.length > 0 && <EndedAlerts alerts={ended} />}
    </Frame>
  )
}

/** Alerts that last, each with the way to its subject. Of many of a kind one is shown, and the others fold. */
export function CurrentAlerts({ alerts, view }: { alerts: readonly Alert[]; view: View }): JSX.Element {
  const kinds = [...new Set(alerts.map(({ kind }) => kind))]
  return (
    <>
      {kinds.map((kind) => {
        const ofKind = alerts.filter((alert) => alert.kind === kind)
        const folded = ofKind.length > MOST_OF_A_KIND ? ofKind.slice(1) : []
        return ofKind.slice(0, ofKind.length - folded.length).map((alert) => (
          <div class="box bad">
            <Words alert={alert} view={view} />
            {folded.length > 0 && (
              <details id={`alerts-${kind}`}>
                <summary>{folded.length} more of this kind</summary>
                {folded.map((other) => (
                  <p>
                    <Words alert={other} view={view} />
                  </p>
                ))}
              </details>
            )}
          </div>
        ))
      })}
    </>
  )
}

const MOST_OF_A_KIND = 3

function Words({ alert, view }: { alert: Alert; view: View }): JSX.Element {
  const { message, since } = alert
  const path = pathOf(alert)
  return (
    <>
      {message}{' '}
      <span class="dim">
        since <Time at={since} now={view.now} />
      </span>{' '}
      {path && <a href={view.prefix + path}>Look</a>}
    </>
  )
}

const OF_ACCOUNTS = ['account-refused', 'account-unanswered', 'webhooks-silent', 'webhooks-refused', 'dispatch-overdue']
const OF_QUEUES = ['queue-paused', 'changes-unread', 'tracking-failing']

/** The page on which an alert's subject is to be seen; undefined where there is none. */
function pathOf({ kind, subject }: Alert): string | undefined {
  if (OF_ACCOUNTS.includes(kind)) return accountPath(subject)
  if (OF_QUEUES.includes(kind)) return `/queues/queue/${encodeURIComponent(subject)}`
  if (kind === 'receiver-failing') return `/callbacks?${new URLSearchParams({ receiver: subject })}`
  const isOfCallbacks = kind === 'callbacks-disabled' || kind === 'callbacks-given-up'
  return isOfCallbacks ? `/callbacks?${new URLSearchParams({ account: subject })}` : undefined
}

/** Alerts that are over. */
export function EndedAlerts({ alerts }: { alerts: readonly Alert[] }): JSX.Element {
  return (
    <table class="stacks">
      <thead>
        <tr>
          <th>From</th>
          <th>For</th>
          <th>Kind</th>
          <th>Subject</th>
          <th>Words</th>
        </tr>
      </thead>
      <tbody>
        {alerts.map(({ kind, subject, message, since, until }) => (
          <tr>
            <td>{moment(since)}</td>
            <td data-label="For">{until ? durationOf((Date.parse(until) - Date.parse(since)) / 1000) : '–'}</td>
            <td data-label="Kind">{kind}</td>
            <td data-label="Subject">{subject}</td>
            <td>{message}</td>
          </tr>
        ))}
      </tbody>
    </table>
  )
}

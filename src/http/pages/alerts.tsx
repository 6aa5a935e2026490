/** The alerts: what lasts, and what ended of late. */
import type { JSX } from 'preact'
import { Frame, type View } from './frame.tsx'
import { durationOf, moment, Time } from './words.tsx'

/** As `GET /v1/alerts` has it. */
export interface Alert {
  id: number
  kind: string
  subject: string
  message: string
  since: string
  until: string | null
}

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

/** Alerts that last, each with the way to its subject. */
export function CurrentAlerts({ alerts, view }: { alerts: readonly Alert[]; view: View }): JSX.Element {
  return (
    <>
      {alerts.map(({ message, since }) => (
        <div class="box bad">
          {message}{' '}
          <span class="dim">
            since <Time at={since} now={view.now} />
          </span>
        </div>
      ))}
    </>
  )
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

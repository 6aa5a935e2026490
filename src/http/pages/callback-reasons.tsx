/** The receivers that do not take their callbacks, and why. */
import type { JSX } from 'preact'
import type { View } from './frame.tsx'
import { countOf, Time } from './words.tsx'

/** As `GET /v1/callbacks/summary` has it. */
export interface Reason {
  receiver: string
  error: string | null
  callbacks: number
  failed: number
  since: string
}

export function Reasons({ reasons, view }: { reasons: readonly Reason[]; view: View }): JSX.Element {
  return (
    <table class="stacks">
      <thead>
        <tr>
          <th>Receiver</th>
          <th>Reason</th>
          <th>Since</th>
          <th class="number">Not taken</th>
          <th class="number">Given up</th>
        </tr>
      </thead>
      <tbody>
        {reasons.map((reason) => (
          <tr>
            <td>{reason.receiver}</td>
            <td data-label="Reason" class="bad-text">
              {reason.error ?? '–'}
            </td>
            <td data-label="Since">
              <Time at={reason.since} now={view.now} />
            </td>
            <td data-label="Not taken" class="number">
              <a href={pathOf(reason, view)}>{countOf(reason.callbacks)}</a>
            </td>
            <td data-label="Given up" class="number">
              {countOf(reason.failed)}
            </td>
          </tr>
        ))}
      </tbody>
    </table>
  )
}

function pathOf({ receiver, error }: Reason, { prefix }: View): string {
  return `${prefix}/callbacks?${new URLSearchParams({ receiver, ...(error === null ? {} : { error }) })}`
}

/** A message from its sending on: each report, each callback with its attempts, and what comes next. */
import type { JSX } from 'preact'
import type { MessageCallback, MessageReport, MessageWithReports } from '../../client/answers.ts'
import { Attempts } from './attempts.tsx'
import type { View } from './frame.tsx'
import { durationOf, moment, Status, Time } from './words.tsx'

export function Timeline({ message, view }: { message: MessageWithReports; view: View }): JSX.Element {
  const { sentAt, final, nextPollAt, windowEndsAt } = message
  return (
    <ol class="timeline">
      <li>
        <b>Sent</b> <span class="dim">{moment(sentAt)}</span>
      </li>
      {eventsOf(message, view)}
      {!final && nextPollAt && (
        <li class="next">
          <b>Asked next</b> <Next at={nextPollAt} now={view.now} />
        </li>
      )}
      {!final && (
        <li class="next">
          <b>The window closes</b> <span class="dim">{moment(windowEndsAt)}</span>
        </li>
      )}
    </ol>
  )
}

/** All that happened to the message, in the order in which it happened here. */
function eventsOf({ sentAt, reports, callbacks }: MessageWithReports, view: View): JSX.Element[] {
  const events = [
    ...reports.map((report) => ({ at: report.receivedAt, shown: <Report report={report} sentAt={sentAt} /> })),
    ...callbacks.map((callback) => ({
      at: callback.lastAttempts[0]?.at ?? NOT_YET,
      shown: <Callback callback={callback} view={view} />,
    })),
  ]
  return events.sort((a, b) => (a.at < b.at ? -1 : a.at > b.at ? 1 : 0)).map(({ shown }) => shown)
}

/** Later than every time. */
const NOT_YET = '~'

const OUTCOMES: Readonly<Record<MessageReport['outcome'], string>> = {
  applied: 'set the status',
  stale: 'came too late to count',
  duplicate: 'said it again',
  contradicting: 'denied a final status',
}

function Report({ report, sentAt }: { report: MessageReport; sentAt: string }): JSX.Element {
  const { status, rawStatus, source, occurredAt, receivedAt, outcome, error, details } = report
  const isGood = status === 'delivered' || status === 'read'
  const isFailure = ['undelivered', 'expired', 'rejected', 'failed'].includes(status)
  const late = (Date.parse(receivedAt) - Date.parse(occurredAt)) / 1000
  const age = (Date.parse(occurredAt) - Date.parse(sentAt)) / 1000
  return (
    <li class={outcome !== 'applied' ? undefined : isGood ? 'good' : isFailure ? 'bad' : undefined}>
      <Status status={status} /> <b>{OUTCOMES[outcome]}</b>
      <div>
        {source === 'window'
          ? 'The window closed without an answer.'
          : `${source === 'webhook' ? 'Told by webhook' : 'Found by asking'} as `}
        {source !== 'window' && <code>{rawStatus}</code>}
      </div>
      {error && <div class="bad-text">{[error.code, error.description].filter(Boolean).join(': ')}</div>}
      <div class="dim">
        {moment(occurredAt)}
        {age > 0 && `, ${durationOf(age)} after sending`}
        {late >= 1 ? `; known ${durationOf(late)} later` : '; known at once'}
      </div>
      {details && (
        <details>
          <summary>Details</summary>
          <dl class="facts">
            {Object.entries(details).map(([name, value]) => (
              <>
                <dt>{name}</dt>
                <dd>{typeof value === 'string' ? value : JSON.stringify(value)}</dd>
              </>
            ))}
          </dl>
        </details>
      )}
    </li>
  )
}

const CALLBACK_STATES: Readonly<Record<MessageCallback['state'], string>> = {
  taken: 'announced',
  waiting: 'not announced yet',
  calling: 'being announced',
  failed: 'not announced: given up',
}

function Callback({ callback, view }: { callback: MessageCallback; view: View }): JSX.Element {
  const { status, receiver, state, nextAttemptAt, lastAttempts } = callback
  return (
    <li class={state === 'failed' ? 'bad' : undefined}>
      {status && <Status status={status} />} <b>{CALLBACK_STATES[state]}</b> to {receiver}
      {lastAttempts.length > 0 && <Attempts attempts={lastAttempts} view={view} />}
      {nextAttemptAt && (
        <div class="dim">
          {lastAttempts.length > 0 ? 'tried again' : 'tried'} <Next at={nextAttemptAt} now={view.now} />
        </div>
      )}
    </li>
  )
}

export function Next({ at, now }: { at: string | null; now: number }): JSX.Element {
  if (at === null) return <>never again</>
  if (Date.parse(at) <= now) return <>due now</>
  return <Time at={at} now={now} />
}

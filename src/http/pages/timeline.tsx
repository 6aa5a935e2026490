/** A message from its sending on: each question, each report, each callback with its attempts, and what comes next. */
import type { ComponentChildren, JSX } from 'preact'
import type { MessageCallback, MessageQuery, MessageReport, MessageWithReports } from '../../client/answers.ts'
import { Attempts } from './attempts.tsx'
import type { View } from './frame.tsx'
import { durationOf, moment, plural, reasonOf, Status, Time, wordsOf } from './words.tsx'

export function Timeline({ message, view }: { message: MessageWithReports; view: View }): JSX.Element {
  const { sentAt, final, asking, windowEndsAt } = message
  return (
    <ol class="timeline">
      <li>
        <b>Sent</b> <span class="dim">{moment(sentAt)}</span>
      </li>
      {eventsOf(message, view)}
      {!final && asking !== 'never' && (
        <li class="next">
          <b>Asked next</b> <Next message={message} now={view.now} />
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
function eventsOf(
  { account, sentAt, trackedAt, reports, queries, callbacks }: MessageWithReports,
  view: View,
): JSX.Element[] {
  const answers = new Map(queries.map((query) => [query.at, query]))
  const found = new Set(reports.filter(({ source }) => source === 'poll').map(({ receivedAt }) => receivedAt))
  const batchOf = (query: MessageQuery | undefined) => query && <Batch account={account} query={query} view={view} />
  const events = [
    {
      at: trackedAt,
      shown: (
        <li>
          <b>Tracked</b> <span class="dim">{moment(trackedAt)}</span>
        </li>
      ),
    },
    ...reports.map((report) => ({
      at: report.receivedAt,
      shown: (
        <Report report={report} sentAt={sentAt} view={view}>
          {report.source === 'poll' && batchOf(answers.get(report.receivedAt))}
        </Report>
      ),
    })),
    // A question whose answer was news stands with the report that came of it.
    ...queries
      .filter(({ at, outcome }) => outcome !== 'answered' || !found.has(at))
      .map((query) => ({ at: query.at, shown: <Question query={query}>{batchOf(query)}</Question> })),
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

interface ReportProps {
  report: MessageReport
  sentAt: string
  view: View
  children: ComponentChildren
}

function Report({ report, sentAt, view, children }: ReportProps): JSX.Element {
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
        {source !== 'window' && <code>{wordsOf(rawStatus)}</code>}
        {children}
      </div>
      {error && <div class="bad-text">{reasonOf(error)}</div>}
      <div class="dim">
        {moment(occurredAt)}
        {age > 0 && `, ${durationOf(age)} after sending`}
        {late >= 1 ? `; known ${durationOf(late)} later` : '; known at once'}
      </div>
      {details && (
        <details>
          <summary>Details</summary>
          <dl class="facts">
            {Object.entries(details).map(([name, value]) => {
              const text = typeof value === 'string' ? value : JSON.stringify(value)
              return (
                <>
                  <dt>{view.mayChange ? name : wordsOf(name)}</dt>
                  <dd>{view.mayChange ? text : wordsOf(text)}</dd>
                </>
              )
            })}
          </dl>
        </details>
      )}
    </li>
  )
}

const ANSWERS: Readonly<Record<MessageQuery['outcome'], string>> = {
  answered: 'nothing new',
  noStatusYet: 'no status yet',
  missing: 'the answer does not mention the message',
  failed: 'no good answer',
}

function Question({ query, children }: { query: MessageQuery; children: ComponentChildren }): JSX.Element {
  const { at, outcome, rawStatus, error } = query
  return (
    <li>
      <b>Asked:</b> {ANSWERS[outcome]}
      {rawStatus !== null && (
        <>
          , still <code>{wordsOf(rawStatus)}</code>
        </>
      )}
      {children}
      {error && <div class="bad-text">{error}</div>}
      <div class="dim">{moment(at)}</div>
    </li>
  )
}

interface BatchProps {
  account: string
  query: MessageQuery
  view: View
}

/** The ways to the other messages of a batch, and to its job. */
function Batch({ account, query: { batch, job, ids, lookup }, view: { prefix } }: BatchProps): JSX.Element {
  const others = ids !== null && ids > 1 ? `with ${plural(ids - 1, 'other')}` : 'alone'
  const queue = `${prefix}/queues/queue/${encodeURIComponent(`status-query.${account}`)}`
  return (
    <span class="dim">
      {' '}
      · look-up {lookup}, <a href={`${prefix}/messages?${new URLSearchParams({ account, batch })}`}>{others}</a>
      {job && (
        <>
          , <a href={`${queue}/${encodeURIComponent(job)}`}>job</a>
        </>
      )}
    </span>
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
          {lastAttempts.length > 0 ? 'tried again' : 'tried'}{' '}
          {Date.parse(nextAttemptAt) <= view.now ? 'now' : <Time at={nextAttemptAt} now={view.now} />}
        </div>
      )}
    </li>
  )
}

export function Next({ message, now }: { message: MessageWithReports; now: number }): JSX.Element {
  const { asking, nextPollAt, blockedBy } = message
  const but = blockedBy.map((block) => block.message).join('; and ')
  if (asking === 'never') return <>never again{but && `: ${but}`}</>
  return (
    <>
      {asking === 'later' ? <Time at={nextPollAt} now={now} /> : asking === 'due' ? 'due now' : 'being asked now'}
      {but && <span class="bad-text">, but {but}</span>}
    </>
  )
}

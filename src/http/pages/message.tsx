/** One message: the facts, what happened to it from its sending on, and what can be done about it. */
import type { JSX } from 'preact'
import type { MessageReport, MessageWithReports } from '../../client/answers.ts'
import { accountPath, Frame, messagePath, type Problem, type View } from './frame.tsx'
import { durationOf, masked, moment, plural, Status, Time } from './words.tsx'

export interface MessageProps {
  view: View
  message: MessageWithReports
  /** The page asks whether the message is to be erased. */
  isErasing: boolean
  problem?: Problem | undefined
  notice?: string | undefined
}

export function MessagePage({ view, message, isErasing, problem, notice }: MessageProps): JSX.Element {
  const { account, messageId } = message
  const path = messagePath(account, messageId)
  return (
    <Frame view={view} title={messageId} path={path} problem={problem} notice={notice}>
      <h1>
        {messageId} <Status status={message.status} />
      </h1>
      <Facts message={message} view={view} />
      <Acts message={message} view={view} isErasing={isErasing} />
      <h2>What happened</h2>
      <Timeline message={message} view={view} />
    </Frame>
  )
}

function Facts({ message, view }: { message: MessageWithReports; view: View }): JSX.Element {
  const { account, recipient, metadata, sentAt, nextPollAt, windowEndsAt, polls, settledBy, queryError } = message
  const error = message.reports.findLast((report) => report.status === message.status && report.error)?.error
  return (
    <dl class="facts">
      <dt>Account</dt>
      <dd>
        <a href={view.prefix + accountPath(account)}>{account}</a>
      </dd>
      <dt>To</dt>
      <dd>{recipient ? (view.mayChange ? recipient : masked(recipient)) : '–'}</dd>
      {error && (
        <>
          <dt>Why</dt>
          <dd class="bad-text">{[error.code, error.description].filter(Boolean).join(': ')}</dd>
        </>
      )}
      <dt>Sent</dt>
      <dd>
        {moment(sentAt)}, <Time at={sentAt} now={view.now} />
      </dd>
      <dt>Found by</dt>
      <dd>{settledBy ?? 'nobody yet'}</dd>
      <dt>Asked</dt>
      <dd>{plural(polls, 'time')}</dd>
      {!message.final && (
        <>
          <dt>Asked next</dt>
          <dd>
            <Next at={nextPollAt} now={view.now} />
          </dd>
          <dt>Window</dt>
          <dd>
            closes <Time at={windowEndsAt} now={view.now} />
          </dd>
        </>
      )}
      {queryError && (
        <>
          <dt>Refused</dt>
          <dd class="bad-text">{queryError}</dd>
        </>
      )}
      <dt>Metadata</dt>
      <dd>
        <Metadata metadata={metadata} mayChange={view.mayChange} />
      </dd>
    </dl>
  )
}

function Next({ at, now }: { at: string | null; now: number }): JSX.Element {
  if (at === null) return <>never again</>
  if (Date.parse(at) <= now) return <>due now</>
  return <Time at={at} now={now} />
}

/** It is the app's own, and may hold what concerns a person. */
function Metadata({ metadata, mayChange }: { metadata: object | null; mayChange: boolean }): JSX.Element {
  if (metadata === null) return <span class="none">–</span>
  if (!mayChange) return <span class="dim">not shown to a key that may only look</span>
  return <pre>{JSON.stringify(metadata, null, 1)}</pre>
}

function Acts({ message, view, isErasing }: { message: MessageWithReports; view: View; isErasing: boolean }) {
  if (!view.mayChange) return null
  const { account, messageId, recipient, final } = message
  const [path, query = ''] = (view.prefix + messagePath(account, messageId, recipient)).split('?')
  const suffix = query && `?${query}`
  if (isErasing) {
    return (
      <form method="post" action={`${path}/erase${suffix}`} class="box bad">
        <p>The message goes, with its reports, changes and callbacks. Nothing brings it back.</p>
        <button type="submit" class="danger">
          Erase it
        </button>
        <a class="button" href={path + suffix}>
          Keep it
        </a>
      </form>
    )
  }
  return (
    <div class="acts">
      {!final && (
        <form method="post" action={`${path}/poll${suffix}`}>
          <button type="submit" class="main">
            Ask now
          </button>
        </form>
      )}
      <a class="button" href={`${path}?${query ? `${query}&` : ''}confirm=erase`}>
        Erase…
      </a>
    </div>
  )
}

function Timeline({ message, view }: { message: MessageWithReports; view: View }): JSX.Element {
  const { sentAt, reports, final, nextPollAt, windowEndsAt } = message
  return (
    <ol class="timeline">
      <li>
        <b>Sent</b> <span class="dim">{moment(sentAt)}</span>
      </li>
      {reports.map((report) => (
        <Report report={report} sentAt={sentAt} />
      ))}
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

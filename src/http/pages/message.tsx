/** One message: the facts, what happened to it from its sending on, and what can be done about it. */
import type { JSX } from 'preact'
import type { MessageWithReports } from '../../client/answers.ts'
import { accountPath, Frame, messagePath, type Problem, type View } from './frame.tsx'
import { Next, Timeline } from './timeline.tsx'
import { masked, moment, plural, reasonOf, Status, Time } from './words.tsx'

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
  const { account, recipient, metadata, sentAt, windowEndsAt, polls, failedPolls, settledBy, queryError } = message
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
          <dd class="bad-text">{reasonOf(error)}</dd>
        </>
      )}
      <dt>Sent</dt>
      <dd>
        {moment(sentAt)}, <Time at={sentAt} now={view.now} />
      </dd>
      <dt>Found by</dt>
      <dd>{settledBy ?? 'nobody yet'}</dd>
      <dt>Asked</dt>
      <dd>
        {plural(polls, 'time')}
        {failedPolls > 0 && `, and ${plural(failedPolls, 'time')} of late without a good answer`}
      </dd>
      {!message.final && (
        <>
          <dt>Asked next</dt>
          <dd>
            <Next message={message} now={view.now} />
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

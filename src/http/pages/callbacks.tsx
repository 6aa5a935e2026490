/** The callbacks that receivers have not taken, by receiver, and trying them again. */
import type { JSX } from 'preact'
import type { CallbackAttempt } from '../../client/answers.ts'
import { Attempts } from './attempts.tsx'
import { accountPath, Frame, messagePath, type Problem, type View } from './frame.tsx'
import { plural, Status, Time } from './words.tsx'

/** As `GET /v1/callbacks` has it. */
interface Callback {
  change: number
  account: string
  messageId: string
  status: string
  receiver: string
  state: 'waiting' | 'calling' | 'failed'
  attempts: number
  firstDueAt: string
  nextAttemptAt: string | null
  lastError: string | null
  lastAttempts: CallbackAttempt[]
}

export interface CallbackPage {
  callbacks: Callback[]
  nextCursor: string | null
}

export interface CallbacksProps {
  view: View
  page: CallbackPage
  problem?: Problem | undefined
  notice?: string | undefined
}

export function CallbacksPage({ view, page, problem, notice }: CallbacksProps): JSX.Element {
  const { prefix } = view
  return (
    <Frame view={view} title="Callbacks" path="/callbacks" problem={problem} notice={notice}>
      <h1>Callbacks</h1>
      {page.callbacks.length === 0 && (
        <p>Every callback was taken: none waits for another attempt, and none has failed for good.</p>
      )}
      {page.callbacks.length > 0 && <List view={view} callbacks={page.callbacks} />}
      {page.nextCursor !== null && (
        <p class="acts">
          <a class="button" href={`${prefix}/callbacks?cursor=${encodeURIComponent(page.nextCursor)}`}>
            Earlier ones
          </a>
        </p>
      )}
    </Frame>
  )
}

function List({ view, callbacks }: { view: View; callbacks: readonly Callback[] }): JSX.Element {
  return (
    <>
      {view.mayChange && (
        <form method="post" action={`${view.prefix}/callbacks/replay`} class="acts">
          <button type="submit">Try all of them again</button>
        </form>
      )}
      <table class="stacks">
        <thead>
          <tr>
            <th>Message</th>
            <th>Account</th>
            <th>Status</th>
            <th>Receiver</th>
            <th>Due first</th>
            <th>Tried</th>
            <th>Last answer</th>
            <th>Next</th>
            <th />
          </tr>
        </thead>
        <tbody>
          {callbacks.map((callback) => (
            <Row callback={callback} view={view} />
          ))}
        </tbody>
      </table>
    </>
  )
}

function Row({ callback, view }: { callback: Callback; view: View }): JSX.Element {
  const { change, account, messageId, status, receiver, state } = callback
  const { attempts, firstDueAt, nextAttemptAt, lastError, lastAttempts } = callback
  return (
    <tr>
      <td class="id">
        <a href={view.prefix + messagePath(account, messageId)}>{messageId}</a>
      </td>
      <td data-label="Account">
        <a href={view.prefix + accountPath(account)}>{account}</a>
      </td>
      <td data-label="Status">
        <Status status={status} />
      </td>
      <td data-label="Receiver">{receiver}</td>
      <td data-label="Due first">
        <Time at={firstDueAt} now={view.now} />
      </td>
      <td data-label="Tried">{plural(attempts, 'time')}</td>
      <td data-label="Last answer">
        <span class="bad-text">{lastError ?? '–'}</span>
        {lastAttempts.length > 0 && (
          <details id={`attempts-${change}`}>
            <summary>{plural(lastAttempts.length, 'attempt')}</summary>
            <Attempts attempts={lastAttempts} view={view} />
          </details>
        )}
      </td>
      <td data-label="Next">
        {state === 'failed' && <span class="bad-text">given up</span>}
        {state === 'calling' && 'now'}
        {state === 'waiting' && <Time at={nextAttemptAt} now={view.now} />}
      </td>
      <td>
        {view.mayChange && (
          <form method="post" action={`${view.prefix}/callbacks/replay`}>
            <input type="hidden" name="change" value={change} />
            <button type="submit">Again</button>
          </form>
        )}
      </td>
    </tr>
  )
}

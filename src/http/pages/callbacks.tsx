/** The callbacks that receivers have not taken, by receiver, and trying them again. */
import type { JSX } from 'preact'
import { accountPath, Frame, type Problem, type View } from './frame.tsx'
import { plural, Time } from './words.tsx'

/** As `GET /v1/callbacks` has it. */
interface Callback {
  change: number
  account: string
  receiver: string
  state: 'waiting' | 'calling' | 'failed'
  attempts: number
  firstDueAt: string
  nextAttemptAt: string | null
  lastError: string | null
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
            <th>Change</th>
            <th>Receiver</th>
            <th>Account</th>
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
  const { change, account, receiver, state, attempts, firstDueAt, nextAttemptAt, lastError } = callback
  return (
    <tr>
      <td class="id">{change}</td>
      <td data-label="Receiver">{receiver}</td>
      <td data-label="Account">
        <a href={view.prefix + accountPath(account)}>{account}</a>
      </td>
      <td data-label="Due first">
        <Time at={firstDueAt} now={view.now} />
      </td>
      <td data-label="Tried">{plural(attempts, 'time')}</td>
      <td data-label="Last answer" class="bad-text">
        {lastError ?? '–'}
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

/** The callbacks that receivers have not taken, by receiver, and trying them again. */
import type { JSX } from 'preact'
import type { CallbackAttempt } from '../../client/answers.ts'
import { Attempts } from './attempts.tsx'
import { type Reason, Reasons } from './callback-reasons.tsx'
import { Choice, FilterForm, Hidden, Moment, Text } from './fields.tsx'
import { accountPath, Frame, messagePath, type Problem, type View } from './frame.tsx'
import { filledIn, type Texts } from './page-context.tsx'
import { countOf, plural, Status, Time } from './words.tsx'

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

/** The names of the filters, in the order of the form. */
export const CALLBACK_FILTERS = ['account', 'receiver', 'error', 'dueAfter', 'dueBefore']

export interface CallbacksProps {
  view: View
  given: Texts
  accounts: readonly string[]
  reasons: readonly Reason[]
  page: CallbackPage
  /** How many would be tried again, where somebody is about to have them tried. */
  count: number | undefined
  problem?: Problem | undefined
  notice?: string | undefined
}

export function CallbacksPage(props: CallbacksProps): JSX.Element {
  const { view, given, reasons, page, count, problem, notice } = props
  const filters = filtersOf(given)
  const isFiltered = Object.keys(filters).length > 0
  const isEmpty = page.callbacks.length === 0
  return (
    <Frame view={view} title="Callbacks" path="/callbacks" problem={problem} notice={notice}>
      <h1>Callbacks that were not taken</h1>
      {!isFiltered && reasons.length > 0 && <Reasons reasons={reasons} view={view} />}
      {!isFiltered && !isEmpty && <h2>One by one</h2>}
      {(!isEmpty || isFiltered) && <Filters {...props} isFiltered={isFiltered} />}
      {isEmpty && !problem && (
        <p>
          {isFiltered
            ? 'No callback matches here.'
            : 'Every callback was taken: none waits for another attempt, and none has failed for good.'}
        </p>
      )}
      {count !== undefined && <Replay view={view} filters={filters} count={count} />}
      {!isEmpty && count === undefined && view.mayChange && (
        <p class="acts">
          <a class="button" href={pathOf(view, { ...filters, confirm: 'replay' })}>
            {isFiltered ? 'Try all that match again…' : 'Try all of them again…'}
          </a>
        </p>
      )}
      {!isEmpty && <List view={view} callbacks={page.callbacks} filters={filters} />}
      {page.nextCursor !== null && (
        <p class="acts">
          <a class="button" href={pathOf(view, { ...filters, cursor: page.nextCursor })}>
            Earlier ones
          </a>
        </p>
      )}
    </Frame>
  )
}

function filtersOf(given: Texts): Record<string, string> {
  return Object.fromEntries(Object.entries(filledIn(given)).filter(([name]) => CALLBACK_FILTERS.includes(name)))
}

function pathOf(view: View, query: Readonly<Record<string, string>>): string {
  return `${view.prefix}/callbacks?${new URLSearchParams(query)}`
}

function Filters({ view, given, accounts, isFiltered }: CallbacksProps & { isFiltered: boolean }): JSX.Element {
  const action = `${view.prefix}/callbacks`
  return (
    <FilterForm action={action} isFiltered={isFiltered}>
      <Choice name="account" label="Account" values={accounts} given={given} />
      <Text name="receiver" label="Receiver" given={given} placeholder="URL or host" />
      <Text name="error" label="Reason" given={given} placeholder="HTTP 500" />
      <Moment name="dueAfter" label="Due first from (UTC)" given={given} />
      <Moment name="dueBefore" label="Due first before (UTC)" given={given} />
    </FilterForm>
  )
}

interface ReplayProps {
  view: View
  filters: Readonly<Record<string, string>>
  count: number
}

/** Says how many it is about before anything is sent. */
function Replay({ view, filters, count }: ReplayProps): JSX.Element {
  return (
    <form method="post" action={`${view.prefix}/callbacks/replay`} class="box">
      <p>
        {count === 0
          ? 'None of these waits for another attempt or has failed for good.'
          : `${plural(count, 'callback')} will be sent again now, also to receivers that asked for a pause or said that they are gone.`}
      </p>
      <Hidden fields={filters} />
      {count > 0 && (
        <button type="submit" class="main">
          Send {count === 1 ? 'it' : `all ${countOf(count)}`} again
        </button>
      )}
      <a class="button" href={pathOf(view, filters)}>
        Leave {count === 1 ? 'it' : 'them'}
      </a>
    </form>
  )
}

interface ListProps {
  view: View
  callbacks: readonly Callback[]
  filters: Readonly<Record<string, string>>
}

function List({ view, callbacks, filters }: ListProps): JSX.Element {
  return (
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
          <Row callback={callback} view={view} filters={filters} />
        ))}
      </tbody>
    </table>
  )
}

interface RowProps {
  callback: Callback
  view: View
  filters: Readonly<Record<string, string>>
}

function Row({ callback, view, filters }: RowProps): JSX.Element {
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
      <td data-label="Receiver">
        <a href={pathOf(view, { receiver })}>{receiver}</a>
      </td>
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
            <Hidden fields={{ ...filters, change: String(change) }} />
            <button type="submit">Again</button>
          </form>
        )}
      </td>
    </tr>
  )
}

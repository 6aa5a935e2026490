/** The messages: one box for an ID, a number or a value of the metadata, and the filters of the list. */
import type { JSX } from 'preact'
import type { Message, MessagePage } from '../../client/answers.ts'
import { SOURCES, STATUSES } from '../../core/status.ts'
import { Frame, messagePath, type Problem, type View } from './frame.tsx'
import { masked, Status, Time } from './words.tsx'

/** As the form sends them: what is left empty is an empty text. */
export type MessagesQuery = Readonly<Record<string, string | undefined>>

/** Messages that were found in one way. */
export interface Found {
  /** The way, in words; undefined for a list by filters alone. */
  by: string | undefined
  page: MessagePage
  /** The query of the list, to go on with. */
  query: MessagesQuery
}

export interface MessagesProps {
  view: View
  given: MessagesQuery
  accounts: readonly string[]
  found: readonly Found[]
  problem?: Problem | undefined
  notice?: string | undefined
}

const FILTERS = [
  'messageId',
  'recipient',
  'account',
  'status',
  'settledBy',
  'error',
  'outstanding',
  'metadata',
  'batch',
]
const RANGE = ['sentAfter', 'sentBefore']
const MESSAGES_A_PAGE = 50

/** How a text in the search box may be meant: each is a query of the list, and what it looks for in words. */
export function readingsOf(text: string): { by: string; query: MessagesQuery }[] {
  const pair = /^\s*([^=\s][^=]*?)\s*=\s*(.*?)\s*$/s.exec(text)
  const isNumber = /\d/.test(text) && /^[+\d\s()./-]{4,}$/.test(text.trim())
  return [
    { by: 'With this ID', query: { messageId: text.trim() } },
    ...(isNumber ? [{ by: 'To this number', query: { recipient: text.trim() } }] : []),
    ...(pair ? [{ by: `With ${pair[1]} = ${pair[2]}`, query: { metadata: `${pair[1]}=${pair[2]}` } }] : []),
  ]
}

/** The query of `GET /v1/messages` that the page's filters mean. */
export function listQueryOf(given: MessagesQuery, now: number): Record<string, string> {
  const filled = Object.entries(given).flatMap(([name, value]) =>
    value === undefined || value === '' ? [] : [[name, value]],
  )
  const { metadata, sentAfter, sentBefore, q, notice, confirm, ...query } = Object.fromEntries(filled)
  const [key, ...value] = metadata?.split('=') ?? []
  return {
    ...query,
    ...(key === undefined ? {} : { [`metadata.${key.trim()}`]: value.join('=').trim() }),
    ...rangeOf(sentAfter, sentBefore, now),
    limit: String(MESSAGES_A_PAGE),
  }
}

/** A form's times are without a zone: they are taken for UTC. An end that is left open is that of all there is. */
function rangeOf(after: string | undefined, before: string | undefined, now: number): Record<string, string> {
  if (after === undefined && before === undefined) return {}
  const from = after === undefined ? new Date(0).toISOString() : inUtc(after)
  const to = before === undefined ? new Date(now + 86_400_000).toISOString() : inUtc(before)
  return { sentAfter: from, sentBefore: to }
}

function inUtc(text: string): string {
  const [, minutes, seconds = ':00'] = /^(\d{4}-\d\d-\d\dT\d\d:\d\d)(:\d\d)?$/.exec(text) ?? []
  return minutes === undefined ? text : `${minutes}${seconds}Z`
}

export function MessagesPage({ view, given, accounts, found, problem, notice }: MessagesProps): JSX.Element {
  const { prefix } = view
  const search = given.q || undefined
  const total = found.reduce((sum, { page }) => sum + page.messages.length, 0)
  return (
    <Frame view={view} title="Messages" path="/messages" search={search} problem={problem} notice={notice}>
      <h1>Messages</h1>
      <Filters given={given} accounts={accounts} action={`${prefix}/messages`} />
      {search !== undefined && total === 0 && !problem && (
        <p>
          Nothing is known of <b>{search}</b>, neither as an ID, as a number, nor as key=value of the metadata.
        </p>
      )}
      {found
        .filter(({ page, by }) => by === undefined || page.messages.length > 0)
        .map((one) => (
          <section>
            {one.by && <h2>{one.by}</h2>}
            <List messages={one.page.messages} view={view} />
            <More found={one} prefix={prefix} />
            <EraseNumber found={one} view={view} confirm={given.confirm} />
          </section>
        ))}
    </Frame>
  )
}

interface FiltersProps {
  given: MessagesQuery
  accounts: readonly string[]
  action: string
}

function Filters({ given, accounts, action }: FiltersProps): JSX.Element {
  const isFiltered = [...FILTERS, ...RANGE].some((name) => given[name])
  return (
    <details id="filters" open={isFiltered}>
      <summary>Filters</summary>
      <form action={action} class="filters">
        <Choice name="account" label="Account" values={accounts} given={given} />
        <Choice name="status" label="Status" values={STATUSES} given={given} />
        <Choice name="outstanding" label="Ended" values={['true', 'false']} names={['not yet', 'yes']} given={given} />
        <Choice name="settledBy" label="Found by" values={SOURCES} given={given} />
        <Text name="error" label="Error code" given={given} />
        <Text name="metadata" label="Metadata" given={given} placeholder="key=value" />
        <Moment name="sentAfter" label="Sent from (UTC)" given={given} />
        <Moment name="sentBefore" label="Sent before (UTC)" given={given} />
        {given.messageId && <Text name="messageId" label="Message ID" given={given} />}
        {given.batch && <Text name="batch" label="Batch" given={given} />}
        {given.recipient && <Text name="recipient" label="Number" given={given} />}
        <button type="submit">Filter</button>
        {isFiltered && (
          <a class="button" href={action}>
            All
          </a>
        )}
      </form>
    </details>
  )
}

interface ChoiceProps {
  name: string
  label: string
  values: readonly string[]
  names?: readonly string[]
  given: MessagesQuery
}

function Choice({ name, label, values, names = values, given }: ChoiceProps): JSX.Element {
  return (
    <label>
      {label}
      <select name={name}>
        <option value="">any</option>
        {values.map((value, index) => (
          <option value={value} selected={given[name] === value}>
            {names[index]}
          </option>
        ))}
      </select>
    </label>
  )
}

interface TextProps {
  name: string
  label: string
  given: MessagesQuery
  placeholder?: string
}

function Text({ name, label, given, placeholder }: TextProps): JSX.Element {
  return (
    <label>
      {label}
      <input type="text" name={name} value={given[name]} placeholder={placeholder} size={12} />
    </label>
  )
}

function Moment({ name, label, given }: TextProps): JSX.Element {
  return (
    <label>
      {label}
      <input type="datetime-local" name={name} value={given[name]} />
    </label>
  )
}

function List({ messages, view }: { messages: readonly Message[]; view: View }): JSX.Element {
  if (messages.length === 0) return <p class="dim">No message matches here.</p>
  return (
    <table class="stacks">
      <thead>
        <tr>
          <th>Message ID</th>
          <th>Account</th>
          <th>To</th>
          <th>Status</th>
          <th>Sent</th>
          <th>Known</th>
          <th>Found by</th>
          <th class="number">Asked</th>
        </tr>
      </thead>
      <tbody>
        {messages.map((message) => (
          <tr>
            <td class="id">
              <a href={view.prefix + messagePath(message.account, message.messageId, message.recipient)}>
                {message.messageId}
              </a>
            </td>
            <td data-label="Account">{message.account}</td>
            <td data-label="To">{message.recipient ? masked(message.recipient) : '–'}</td>
            <td data-label="Status">
              <Status status={message.status} />
            </td>
            <td data-label="Sent">
              <Time at={message.sentAt} now={view.now} />
            </td>
            <td data-label="Since">
              <Time at={message.statusAt} now={view.now} />
            </td>
            <td data-label="Found by">{message.settledBy ?? '–'}</td>
            <td class="number" data-label="Asked">
              {message.polls}
            </td>
          </tr>
        ))}
      </tbody>
    </table>
  )
}

function More({ found: { page, query }, prefix }: { found: Found; prefix: string }): JSX.Element | null {
  if (page.nextCursor === null) return null
  const next = new URLSearchParams(filled({ ...query, cursor: page.nextCursor }))
  return (
    <p class="acts">
      <a class="button" href={`${prefix}/messages?${next}`}>
        Earlier messages
      </a>
    </p>
  )
}

function filled(query: MessagesQuery): [string, string][] {
  return Object.entries(query).flatMap(([name, value]) => (value ? [[name, value]] : []))
}

interface EraseNumberProps {
  found: Found
  view: View
  confirm: string | undefined
}

/** Everything of a number is erased in two steps. */
function EraseNumber({ found: { page, query }, view, confirm }: EraseNumberProps): JSX.Element | null {
  const { recipient } = query
  if (!view.mayChange || !recipient || page.messages.length === 0) return null
  const { prefix } = view
  if (confirm !== 'erase') {
    const again = new URLSearchParams(filled({ ...query, confirm: 'erase' }))
    return (
      <p class="acts">
        <a class="button" href={`${prefix}/messages?${again}`}>
          Erase everything of this number…
        </a>
      </p>
    )
  }
  return (
    <form method="post" action={`${prefix}/messages/erase`} class="box bad">
      <input type="hidden" name="recipient" value={recipient} />
      <p>Every message to this number goes, with its reports, changes and callbacks. Nothing brings it back.</p>
      <button type="submit" class="danger">
        Erase all of it
      </button>
      <a class="button" href={`${prefix}/messages?${new URLSearchParams(filled(query))}`}>
        Keep it
      </a>
    </form>
  )
}

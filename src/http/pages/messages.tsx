/** The messages: one box for an ID, a number or a value of the metadata, and the filters of the list. */
import type { JSX } from 'preact'
import type { Message } from '../../client/answers.ts'
import { SOURCES, STATUSES } from '../../core/status.ts'
import { Choice, FilterForm, Moment, Text } from './fields.tsx'
import { Frame, messagePath, type Problem, type View } from './frame.tsx'
import { type MessageCount, MessagesActs } from './messages-acts.tsx'
import { FILTERS, type Found } from './messages-query.ts'
import { filledIn, type Texts } from './page-context.tsx'
import { masked, Status, Time } from './words.tsx'

export interface MessagesProps {
  view: View
  given: Texts
  accounts: readonly string[]
  found: readonly Found[]
  /** How many outstanding messages match, where somebody is about to ask about all of them. */
  outstanding: MessageCount | undefined
  problem?: Problem | undefined
  notice?: string | undefined
}

export function MessagesPage(props: MessagesProps): JSX.Element {
  const { view, given, accounts, found, outstanding, problem, notice } = props
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
            <MessagesActs found={one} view={view} given={given} outstanding={outstanding} />
            <List messages={one.page.messages} view={view} />
            <More found={one} prefix={prefix} />
          </section>
        ))}
    </Frame>
  )
}

interface FiltersProps {
  given: Texts
  accounts: readonly string[]
  action: string
}

function Filters({ given, accounts, action }: FiltersProps): JSX.Element {
  const isFiltered = FILTERS.some((name) => given[name])
  return (
    <FilterForm action={action} isFiltered={isFiltered}>
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
    </FilterForm>
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
            <td data-label="To" class="short">
              {message.recipient ? masked(message.recipient) : '–'}
            </td>
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
  const next = new URLSearchParams(filledIn({ ...query, cursor: page.nextCursor }))
  return (
    <p class="acts">
      <a class="button" href={`${prefix}/messages?${next}`}>
        Earlier messages
      </a>
    </p>
  )
}

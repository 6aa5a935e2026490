/** Acts on all messages of a list: each says first how many it is about. */
import type { JSX } from 'preact'
import { Hidden } from './fields.tsx'
import type { View } from './frame.tsx'
import type { Found } from './messages-query.ts'
import { filledIn, type Texts } from './page-context.tsx'
import { countOf } from './words.tsx'

/** The answer of `GET /v1/messages/count`. */
export interface MessageCount {
  messages: number
  isWhole: boolean
}

interface ActsProps {
  found: Found
  view: View
  given: Texts
  /** How many outstanding messages match, where somebody is about to ask about all of them. */
  outstanding: MessageCount | undefined
}

export function MessagesActs(props: ActsProps): JSX.Element | null {
  const { found, view, given, outstanding } = props
  const { page, query } = found
  if (!view.mayChange || page.messages.length === 0) return null
  if (given.confirm === 'poll' && outstanding) return <AskAll {...props} outstanding={outstanding} />
  if (given.confirm === 'erase' && query.recipient) return <EraseNumber {...props} />
  const mayAsk =
    query.outstanding !== 'false' && (page.nextCursor !== null || page.messages.some(({ final }) => !final))
  return (
    <p class="acts">
      {mayAsk && (
        <a class="button" href={pathOf(props, { confirm: 'poll' })}>
          Ask now about all that match…
        </a>
      )}
      {query.recipient && (
        <a class="button" href={pathOf(props, { confirm: 'erase' })}>
          Erase everything of this number…
        </a>
      )}
    </p>
  )
}

function pathOf({ found, view }: ActsProps, more: Readonly<Record<string, string>> = {}): string {
  const query = new URLSearchParams({ ...filledIn({ ...found.query, cursor: undefined }), ...more })
  return `${view.prefix}/messages?${query}`
}

function AskAll(props: ActsProps & { outstanding: MessageCount }): JSX.Element {
  const { found, view, given, outstanding } = props
  const { messages, isWhole } = outstanding
  const number = countOf(messages)
  const goesOn = Boolean(given.from)
  const fields = filledIn({ ...found.query, cursor: undefined, from: given.from })
  return (
    <form method="post" action={`${view.prefix}/messages/poll`} class="box">
      <p>
        {goesOn
          ? 'There are more, which have not been asked for yet.'
          : `${isWhole ? number : `At least ${number}`} outstanding ${messages === 1 ? 'message matches' : 'messages match'}. All of them are asked about as soon as the budgets of their accounts allow, and pauses of these accounts end.`}
      </p>
      <Hidden fields={fields} />
      {(messages > 0 || goesOn) && (
        <button type="submit" class="main">
          {goesOn ? 'Go on' : `Ask about ${isWhole && messages === 1 ? 'it' : 'all of them'}`}
        </button>
      )}
      <a class="button" href={pathOf(props)}>
        Leave it
      </a>
    </form>
  )
}

/** Everything of a number is erased in two steps. */
function EraseNumber(props: ActsProps): JSX.Element {
  const { found, view } = props
  return (
    <form method="post" action={`${view.prefix}/messages/erase`} class="box bad">
      <Hidden fields={filledIn({ recipient: found.query.recipient })} />
      <p>Every message to this number goes, with its reports, changes and callbacks. Nothing brings it back.</p>
      <button type="submit" class="danger">
        Erase all of it
      </button>
      <a class="button" href={pathOf(props)}>
        Keep it
      </a>
    </form>
  )
}

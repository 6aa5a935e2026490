/** The recipients of one reference, each of them a message of its own. */
import type { JSX } from 'preact'
import { Frame, messagePath, type View } from './frame.tsx'
import { masked } from './words.tsx'

export interface RecipientsProps {
  view: View
  account: string
  messageId: string
  /** `null` for a message that was tracked without its recipient. */
  recipients: readonly (string | null)[]
}

export function RecipientsPage({ view, account, messageId, recipients }: RecipientsProps): JSX.Element {
  return (
    <Frame view={view} title={messageId} path={messagePath(account, messageId)}>
      <h1>{messageId}</h1>
      <p>The reference covers {recipients.length} recipients:</p>
      <ul>
        {recipients.map((recipient) => (
          <li>
            <a href={view.prefix + messagePath(account, messageId, recipient ?? '')}>
              {recipient === null ? 'no number' : masked(recipient)}
            </a>
          </li>
        ))}
      </ul>
    </Frame>
  )
}

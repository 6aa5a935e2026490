/** The accounts, a row each: how they do at their providers, how their receipts come, and what asking costs. */
import type { JSX } from 'preact'
import type { AccountHealth, Statistics as Counted } from '../../client/answers.ts'
import { accountPath, type View } from './frame.tsx'
import { countOf, durationOf, Time } from './words.tsx'

interface AccountsProps {
  view: View
  accounts: readonly AccountHealth[]
  counted: Counted
}

export function Accounts({ view, accounts, counted }: AccountsProps): JSX.Element {
  const totals = new Map(counted.accounts.map((total) => [total.account, total]))
  return (
    <table class="stacks">
      <thead>
        <tr>
          <th>Account</th>
          <th>Provider</th>
          <th>Receipts</th>
          <th>Last good answer</th>
          <th class="number">Outstanding</th>
          <th class="number">Due for</th>
          <th class="number">Requests, 24 h</th>
          <th class="number">IDs each</th>
          <th class="number">Polls saved</th>
        </tr>
      </thead>
      <tbody>
        {accounts.map((account) => (
          <AccountRow account={account} total={totals.get(account.account)} view={view} />
        ))}
      </tbody>
    </table>
  )
}

interface AccountRowProps {
  account: AccountHealth
  total: Counted['accounts'][number] | undefined
  view: View
}

function AccountRow({ account, total, view }: AccountRowProps): JSX.Element {
  const { account: name, status, trouble, webhookRoute, lastGoodAnswer } = account
  const { requests = 0, ids = 0, pollsSaved = 0, outstanding = 0, oldestDue = 0 } = total ?? {}
  return (
    <tr>
      <td>
        <a href={view.prefix + accountPath(name)}>{name}</a>
      </td>
      <td data-label="Provider" class={status === 'ok' ? undefined : 'bad-text'}>
        {trouble ?? status}
      </td>
      <td data-label="Receipts" class={webhookRoute.state === 'silent' ? 'bad-text' : undefined}>
        {webhookRoute.state}
      </td>
      <td data-label="Last good answer">
        <Time at={lastGoodAnswer} now={view.now} />
      </td>
      <td data-label="Outstanding" class="number">
        {countOf(outstanding)}
      </td>
      <td data-label="Due for" class="number">
        {oldestDue === 0 ? '–' : durationOf(oldestDue)}
      </td>
      <td data-label="Requests, 24 h" class="number">
        {countOf(requests)}
      </td>
      <td data-label="IDs each" class="number">
        {requests === 0 ? '–' : Number((ids / requests).toFixed(1))}
      </td>
      <td data-label="Polls saved" class="number">
        {countOf(pollsSaved)}
      </td>
    </tr>
  )
}

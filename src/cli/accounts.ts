/** `lastword accounts`: how the accounts are doing at their providers. */
import type { AccountHealth } from '../client/answers.ts'
import { createClient } from '../client/client.ts'
import { readServiceLocation } from '../config.ts'
import { formatTable } from './table.ts'

export async function runAccounts(flags: { json: boolean; url?: string; apiKey?: string }): Promise<void> {
  const accounts = await createClient(readServiceLocation(flags)).accounts()
  if (flags.json) for (const account of accounts) console.log(JSON.stringify(account))
  else if (accounts.length === 0) console.log('No accounts are configured.')
  else console.log(formatTable([HEAD, ...accounts.map(describe)]))
}

const HEAD = ['account', 'provider', 'asks by', 'answers', 'last good answer', 'receipts']

function describe(account: AccountHealth): string[] {
  const { provider, lookup, status, trouble, troubleSince, pausedUntil, lastGoodAnswer, pausedQueues, webhookRoute } =
    account
  const held = pausedQueues?.length ? `, queues paused: ${pausedQueues.join(', ')}` : ''
  const paused = `${pausedUntil ? `, paused until ${pausedUntil}` : ''}${held}`
  const answers = status === 'ok' ? `ok${paused}` : `${status} since ${troubleSince}${paused}: ${trouble}`
  const { state, since, lost } = webhookRoute
  const receipts = state === 'silent' ? `silent since ${since}, ${lost} lost` : state
  return [account.account, provider, lookup ?? 'nothing', answers, lastGoodAnswer ?? 'none yet', receipts]
}

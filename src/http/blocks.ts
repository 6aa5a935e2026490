/** Looks for what keeps the provider from being asked (core/blocks.ts). */
import { type Block, findBlocks } from '../core/blocks.ts'
import { accountQueueName } from '../core/queue-table.ts'
import { findHealth } from '../db/accounts.ts'
import type { Db } from '../db/client.ts'
import { findInstallation } from '../db/installation.ts'
import type { Queues } from '../jobs/queues.ts'
import { providerOf } from '../providers/registry.ts'
import type { Accounts } from '../tracking.ts'
import { inTime, summaryOf } from './health.ts'

export interface BlocksOptions {
  db: Db
  accounts: Accounts
  queues: Queues
  /** Rejects when the queues take no writes. */
  checkQueues(): Promise<void>
}

export type FindBlocks = (account: string) => Promise<Block[]>

export function createBlockFinder({ db, accounts, queues, checkQueues }: BlocksOptions): FindBlocks {
  return async (name) => {
    const neverAsked = whyNeverAsked(accounts, name)
    const names = neverAsked ? [] : ['dispatch', accountQueueName('status-query', name)]
    const [{ health, now }, { workerSeenMsAgo }, found] = await Promise.all([
      findHealth(db, name),
      findInstallation(db),
      lookAtQueues(names),
    ])
    return findBlocks({ account: name, neverAsked, health, now, workerSeenMsAgo, ...found })
  }

  async function lookAtQueues(names: readonly string[]) {
    try {
      return await inTime(async () => {
        const [pausedQueues] = await Promise.all([queues.findPaused(names), checkQueues()])
        return { pausedQueues }
      })
    } catch (error) {
      return { pausedQueues: [], queueTrouble: summaryOf(error) }
    }
  }
}

/** Why nobody ever asks about an account's messages; undefined where somebody does. */
export function whyNeverAsked(accounts: Accounts, name: string): 'not-configured' | 'query-off' | undefined {
  const account = accounts.get(name)
  if (!account) return 'not-configured'
  return providerOf(account).lookups(account).length > 0 ? undefined : 'query-off'
}

/** As the API tells of it. */
export function toBlock({ cause, account, since, until, message }: Block) {
  const timeOf = (ms: number | undefined) => (ms === undefined ? null : new Date(ms))
  return { cause, account: account ?? null, since: timeOf(since), until: timeOf(until), message }
}

/** Looks for what keeps the provider from being asked (core/blocks.ts), and how asking about a message stands. */
import { askingOf, type Block, findBlocks } from '../core/blocks.ts'
import { accountQueueName } from '../core/queue-table.ts'
import { findHealth } from '../db/accounts.ts'
import { findHolder } from '../db/batches.ts'
import type { Db } from '../db/client.ts'
import { findInstallation } from '../db/installation.ts'
import type { MessageRow } from '../db/messages.ts'
import type { AskedQuestion } from '../db/status-queries.ts'
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

/** When a message is asked about next; null where it is due only to be closed, at the end of its window. */
export function nextPollOf({ dueAt, windowEndsAt }: MessageRow): Date | null {
  return dueAt !== null && dueAt < windowEndsAt ? dueAt : null
}

/** How asking about a message stands, as the API tells of it, by the questions about it that are kept. */
export async function describeAsking(db: Db, row: MessageRow, questions: readonly AskedQuestion[]) {
  const { final, askedAt } = row
  const { isInBatch, now } = await findHolder(db, row)
  const last = questions.at(-1) ?? (askedAt ? ({ at: askedAt, outcome: 'answered', error: null } as const) : undefined)
  return {
    asking: askingOf({ final, dueAt: nextPollOf(row)?.getTime(), isInBatch }, now),
    failedPolls: questions.filter(({ outcome }) => outcome === 'failed').length,
    lastAttempt: last ? { at: last.at, outcome: last.outcome, error: last.error } : null,
  }
}

/**
 * The causes that keep the provider from being asked about messages which are due: the account is in trouble or must wait,
 * or the hands are tied (a paused queue, a queue that is away, no worker). Receipts are taken all the same.
 */
import { type AccountHealth, isPaused, needsProbe } from './account-health.ts'
import type { Trouble } from './provider-failure.ts'

export const BLOCK_CAUSES = [
  'not-configured',
  'query-off',
  'refused',
  'unreachable',
  'failing',
  /** The provider has asked to be left alone for a while, or its look-up may have ended. */
  'waiting',
  'queue-paused',
  'queue-away',
  'no-worker',
] as const
type BlockCause = (typeof BLOCK_CAUSES)[number]

/** A worker says every five seconds that it runs. */
export const WORKER_SEEN_WITHIN_MS = 30_000

/** All times are milliseconds since 1970. */
export interface Block {
  cause: BlockCause
  /** The account; undefined where nobody is asked. */
  account?: string | undefined
  since?: number | undefined
  /** When it ends by itself, where that is known. */
  until?: number | undefined
  /** For people, to follow a "but". */
  message: string
}

export const ASKING_STATES = ['later', 'due', 'under-way', 'never'] as const
type Asking = (typeof ASKING_STATES)[number]

interface MessageState {
  final: boolean
  dueAt: number | undefined
  /** A batch holds it. */
  isInBatch: boolean
}

/** When a message is asked about: `due` is now, as soon as nothing keeps the provider from being asked. */
export function askingOf({ final, dueAt, isInBatch }: MessageState, now: number): Asking {
  if (final) return 'never'
  if (isInBatch) return 'under-way'
  if (dueAt === undefined) return 'never'
  return dueAt <= now ? 'due' : 'later'
}

export interface AskingState {
  account: string
  /** Undefined for an account that is asked. */
  neverAsked?: 'not-configured' | 'query-off' | undefined
  health: AccountHealth
  now: number
  /** The paused queues among those that asking goes through. */
  pausedQueues: readonly string[]
  /** Why the queues take no writes, in a few words. */
  queueTrouble?: string | undefined
  /** For how long no worker has been seen; null when none ever was. */
  workerSeenMsAgo: number | null
}

/** Every cause that holds; none when a due message is asked about at once. */
export function findBlocks(state: AskingState): Block[] {
  const { account, neverAsked, pausedQueues, queueTrouble } = state
  if (neverAsked === 'not-configured')
    return [{ cause: neverAsked, account, message: `account "${account}" is not configured any more` }]
  if (neverAsked === 'query-off')
    return [{ cause: neverAsked, account, message: `account "${account}" is set to query "off"` }]
  const away: Block[] =
    queueTrouble === undefined ? [] : [{ cause: 'queue-away', message: `the queue is away (${queueTrouble})` }]
  const paused = pausedQueues.map((queue): Block => ({ cause: 'queue-paused', message: `queue "${queue}" is paused` }))
  return [...blocksOfHealth(state), ...paused, ...away, ...lackOfWorkers(state)]
}

const TROUBLES: Readonly<Record<Trouble, string>> = {
  refused: 'is refused',
  unreachable: 'does not reach its provider',
  failing: 'gets no good answer',
}

/** The causes that the account's health alone tells of: one, or none. */
export function blocksOfHealth({ account, health, now }: Pick<AskingState, 'account' | 'health' | 'now'>): Block[] {
  const { trouble, bad } = health
  if (!needsProbe(health) && !isPaused(health, now)) return []
  const until = isPaused(health, now) ? health.pausedUntil : undefined
  const wait =
    until === undefined
      ? 'only one message at a time is asked about'
      : `nobody asks until ${new Date(until).toISOString()}`
  const why = `${wait}: ${bad?.reason ?? 'the provider wants to be left alone'}`
  const message =
    trouble === undefined ? `for account "${account}" ${why}` : `account "${account}" ${TROUBLES[trouble]}, and ${why}`
  return [{ cause: trouble ?? 'waiting', account, since: bad?.since, until, message }]
}

function lackOfWorkers({ workerSeenMsAgo, now }: AskingState): Block[] {
  if (workerSeenMsAgo === null) return [{ cause: 'no-worker', message: 'no worker has run yet' }]
  if (workerSeenMsAgo <= WORKER_SEEN_WITHIN_MS) return []
  const since = now - workerSeenMsAgo
  return [{ cause: 'no-worker', since, message: `no worker has run since ${new Date(since).toISOString()}` }]
}

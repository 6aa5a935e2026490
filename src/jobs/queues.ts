/**
 * The queues of core/queue-table.ts, opened; what their jobs carry, and how long finished jobs are kept. Every payload
 * carries a version; a worker refuses a version it does not know, visibly, and leaves the job where a newer worker can
 * retry it.
 */
import { setTimeout as delay } from 'node:timers/promises'
import { type Job, type Queue, UnrecoverableError, WaitingError } from 'bullmq'
import { z } from 'zod'
import { LastwordError } from '../core/errors.ts'
import {
  type AccountQueue,
  accountQueueName,
  findQueueRow,
  queueNamesOf,
  SINGLE_QUEUES,
  type SingleQueue,
} from '../core/queue-table.ts'
import type { KnownAccount } from '../db/accounts.ts'
import type { ClaimedCallback } from '../db/callback-claim.ts'
import { type Change, describeChange, nameOfChange } from '../db/changes.ts'
import type { Account } from '../providers/account.ts'
import { isNationalNumber } from '../providers/phone-number.ts'
import { providerOf } from '../providers/registry.ts'
import { type Erased, forgetInJobs, type NormalOf } from './forget.ts'
import type { Kept, KeptOptions, QueueBackend } from './queue-backend.ts'

export const JOB_VERSION = 1

const HOUR_S = 3600
const DAY_S = 24 * HOUR_S
const ENDED_WELL = { age: DAY_S, count: 1_000 }
const TICKS = { age: HOUR_S, count: 60 }
/** Tracking orders are the app's: failed ones stay until somebody looks. */
export const KEPT: Record<SingleQueue | AccountQueue, Kept> = {
  track: { completed: ENDED_WELL },
  dispatch: { completed: TICKS, failed: TICKS },
  expire: { completed: TICKS, failed: TICKS },
  callbacks: { completed: ENDED_WELL, failed: { age: 30 * DAY_S, count: 10_000 } },
  'status-query': { completed: ENDED_WELL, failed: { age: 7 * DAY_S, count: 5_000 } },
}
/**
 * In the queue that an app reads changes from, so that it does not grow for ever; the app's worker may say otherwise. At least
 * two lots of the feeder, so that a lot that is added again is known.
 */
export const KEPT_CHANGES: Kept = { completed: { age: HOUR_S, count: 1_000 } }

/** While so many changes wait in a queue, further ones wait in Postgres: a queue that nobody reads would fill Redis. */
export const MOST_UNREAD_CHANGES = 100_000

/** A callback that is due. Its body stays in Postgres: it may hold a phone number. */
export const callbackJobSchema = z.object({
  v: z.literal(JOB_VERSION),
  account: z.string(),
  change: z.int(),
  claim: z.uuid(),
})

export function callbackJobs(claim: string, claimed: readonly ClaimedCallback[]) {
  return claimed.map(({ change, account }) => {
    const data: z.infer<typeof callbackJobSchema> = { v: JOB_VERSION, account, change, claim }
    return { name: `change ${change}`, data }
  })
}

/** Jobs for the sending app, one a change; adding a change again adds nothing while its job is there. */
export function changeJobs(installation: string, changes: readonly Change[], kept: KeptOptions) {
  return changes.map((change) => {
    const data = { v: JOB_VERSION, ...describeChange(change) }
    const jobId = nameOfChange(installation, change.position, change.changedAt)
    return { name: change.status, data, opts: { ...kept, jobId } }
  })
}

/** A job's payload, checked. Throws what makes BullMQ fail the job at once, with the reason in view. */
export function readJob<T>(job: Job, schema: z.ZodType<T>, expected = JOB_VERSION): T {
  const version: unknown = job.data?.v
  if (version !== expected) {
    const found = version === undefined ? 'no version' : `version ${JSON.stringify(version)}`
    throw new UnrecoverableError(
      `Expected a job of version ${expected}, found ${found}. Retry the job on a worker that knows it.`,
    )
  }
  const payload = schema.safeParse(job.data)
  if (payload.success) return payload.data
  const issues = payload.error.issues.map(({ path, message }) => `${path.join('.') || 'data'}: ${message}`)
  throw new UnrecoverableError(`The job is not what its version says. ${issues.slice(0, 5).join('; ')}`)
}

const DATABASE_RETRY_MS = 1_000

/**
 * While the database is away a job waits; it never fails for that. It is held here, because BullMQ would count a delay by
 * the clock of this process, which may be far from those of the others. Throws what tells BullMQ that it waits again.
 */
export async function waitForDatabase(job: Job, token: string | undefined): Promise<never> {
  await delay(DATABASE_RETRY_MS)
  await job.moveToWait(token)
  throw new WaitingError()
}

/** Every queue of this installation, for those who look into them and for those who add to them. */
export interface Queues extends Record<SingleQueue, Queue> {
  all: Queue[]
  /** Queues of accounts, and for changes, that are configured no more: their jobs grow old, and may name an erased person. */
  former: Queue[]
  /** The queue of that name that an account has named for its changes. */
  changes(name: string): Queue
  /** Throws NOT_FOUND for an account that is not configured. */
  statusQuery(account: string): Queue
  /** The names of those that are paused, of all or of these. */
  findPaused(names?: readonly string[]): Promise<string[]>
  /** Removes erased messages from every job. */
  forget(erased: Erased): Promise<void>
}

/** A number without its country code is nobody's in an account that has no country. */
function normalIn(accounts: readonly Account[]): NormalOf {
  const byName = new Map<unknown, Account>(accounts.map((account) => [account.name, account]))
  return (name, recipient) => {
    const account = byName.get(name)
    if (!account || (isNationalNumber(recipient) && !account.defaultCountry)) return undefined
    return providerOf(account).normalizeRecipient(recipient, account.defaultCountry)
  }
}

export function openQueues(
  backend: QueueBackend,
  accounts: readonly Account[],
  known: readonly KnownAccount[] = [],
): Queues {
  const opened = (names: readonly string[]) => new Map(names.map((name) => [name, backend.openQueue(name)]))
  const own = opened(queueNamesOf(accounts.map(({ name }) => name)))
  const changes = opened([...new Set(accounts.flatMap(({ changesQueue }) => changesQueue ?? []))])
  const single = Object.fromEntries(SINGLE_QUEUES.map((name) => [name, own.get(name)])) as Record<SingleQueue, Queue>
  const all = [...own.values(), ...changes.values()]
  const ever = known.flatMap(({ account, changesQueues }) => [
    accountQueueName('status-query', account),
    ...changesQueues,
  ])
  const former = [...opened([...new Set(ever)].filter((name) => !own.has(name) && !changes.has(name))).values()]
  return {
    ...single,
    all,
    former,
    changes(name) {
      const queue = changes.get(name)
      if (!queue) throw new LastwordError('NOT_FOUND', `No account names a queue "${name}" for its changes.`)
      return queue
    },
    statusQuery(account) {
      const queue = own.get(accountQueueName('status-query', account))
      if (!queue) throw new LastwordError('NOT_FOUND', `No account named "${account}" is configured.`)
      return queue
    },
    async findPaused(names) {
      const looked = names ? all.filter(({ name }) => names.includes(name)) : all
      const arePaused = await Promise.all(looked.map((queue) => queue.isPaused()))
      return looked.filter((_queue, index) => arePaused[index]).map(({ name }) => name)
    },
    forget(erased) {
      const naming = [...own].filter(([name]) => findQueueRow(name)?.namesMessages).map(([, queue]) => queue)
      return forgetInJobs(backend, [...naming, ...changes.values(), ...former], erased, normalIn(accounts))
    },
  }
}

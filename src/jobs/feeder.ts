/**
 * Feeds changes to those who are told of them: as due callbacks, and as jobs in the queues that accounts name. Each is a
 * reader of the feed with a position of its own in Postgres, moved on in the transaction that hands the changes over; so
 * a crash in between hands them over again, under the same IDs, and none is left out.
 *
 * Woken by the database at every change, and looking by itself once a second.
 */
import { randomUUID } from 'node:crypto'
import { setTimeout as delay } from 'node:timers/promises'
import type { Queue } from 'bullmq'
import { isFinal } from '../core/status.ts'
import { claimCallbacks } from '../db/callback-claim.ts'
import { addCallbacks, type NewCallback, releaseClaim } from '../db/callbacks.ts'
import type { ChangeListener } from '../db/change-listener.ts'
import { addReader, type Change, describeChange, readChanges } from '../db/changes.ts'
import type { Db } from '../db/client.ts'
import { createComplaint, type Log } from '../log.ts'
import type { Accounts } from '../tracking.ts'
import { CALLBACK_TIMEOUT_MS } from './callback-sender.ts'
import type { KeptOptions, QueueBackend } from './queue-backend.ts'
import { callbackJobs, changeJobs, KEPT_CHANGES, MOST_UNREAD_CHANGES, type Queues } from './queues.ts'

export interface FeederOptions {
  db: Db
  backend: Pick<QueueBackend, 'keep'>
  queues: Queues
  accounts: Accounts
  listener: ChangeListener
  leaseMs: number
  /** The ID of this installation, which the names of its changes carry. */
  installation: string
  /** How many changes may wait in a queue. */
  mostUnread?: number
  log: Log
}

export interface Feeder {
  /** Has it look at once. */
  wake(): void
  close(): Promise<void>
}

const LOOK_EVERY_MS = 1_000
/** Between two lots, so that what happens meanwhile makes one lot: each costs several statements, however small it is. */
const REST_MS = 50
const MOST_CHANGES = 500
const LEFT_EVERY_MS = 60_000
/** One process may send them all, so that whatever is claimed is sent at once. */
export const MOST_CALLBACKS_AT_ONCE = 500
const MOST_CALLBACKS_PER_URL = 10
/** A callback is never sent a second time while the first attempt may still be under way. */
const LEAST_LEASE_MS = 2 * CALLBACK_TIMEOUT_MS
const CALLBACKS_READER = 'callbacks'

const queueReader = (account: string) => `changes-queue.${account}`

/** The readers that these accounts ask for. */
export function readersOf(accounts: Accounts): string[] {
  const all = [...accounts.values()]
  const queues = all.flatMap(({ name, changesQueue }) => (changesQueue ? [queueReader(name)] : []))
  return all.some(({ callback }) => callback) ? [CALLBACKS_READER, ...queues] : queues
}

/** Has the readers begin, unless they have: whoever may be the first to make changes calls this before. */
export async function addReaders(db: Db, accounts: Accounts): Promise<void> {
  for (const reader of readersOf(accounts)) await addReader(db, reader)
}

export function openFeeder(options: FeederOptions): Feeder {
  const { db, accounts, listener, installation, mostUnread = MOST_UNREAD_CHANGES, log } = options
  const toldQueues = [...accounts.values()].flatMap(({ name, changesQueue }) =>
    changesQueue ? [openTold(options, name, changesQueue)] : [],
  )
  const readers = readersOf(accounts)
  const hasCallbacks = readers.includes(CALLBACKS_READER)

  const complain = createComplaint(log, 'feeding changes')
  let closed = false
  let leftAt = 0
  let wake = () => {}

  async function feedOnce(): Promise<number> {
    let fed = 0
    for (const told of toldQueues) {
      if (await isFull(told, mostUnread)) continue
      fed += await readChanges(db, { reader: told.reader, limit: MOST_CHANGES }, (_transaction, changes) =>
        addChangeJobs(told, installation, changes),
      )
    }
    if (!hasCallbacks) return fed + (await dispatchLeft())
    fed += await readChanges(db, { reader: CALLBACKS_READER, limit: MOST_CHANGES }, (transaction, changes) =>
      addCallbacks(transaction, callbacksOf(accounts, changes)),
    )
    return fed + (await dispatchCallbacks(options))
  }

  /** Callbacks of accounts that have none any more: they are tried in vain until they are given up. */
  async function dispatchLeft(): Promise<number> {
    if (performance.now() < leftAt) return 0
    leftAt = performance.now() + LEFT_EVERY_MS
    return dispatchCallbacks(options)
  }

  async function run(): Promise<void> {
    while (!closed) {
      // Waiting begins before looking, so that no change falls in between.
      const changed = listener.nextChange(LOOK_EVERY_MS)
      const woken = new Promise<void>((resolve) => {
        wake = resolve
      })
      const fed = await feedOnce().catch((error: unknown) => {
        complain(error instanceof Error ? error : new Error(String(error)))
        return 0
      })
      if (closed) return
      await (fed === 0 ? Promise.race([changed, woken]) : delay(REST_MS))
    }
  }

  const running = run()
  return {
    wake: () => wake(),
    async close() {
      closed = true
      wake()
      await running
    },
  }
}

interface ToldQueue {
  account: string
  queue: Queue
  kept: KeptOptions
  reader: string
  isFull: boolean
  lookAgainAt: number
}

function openTold({ backend, queues }: FeederOptions, account: string, name: string): ToldQueue {
  return {
    account,
    queue: queues.changes(name),
    kept: backend.keep(name, KEPT_CHANGES),
    reader: queueReader(account),
    isFull: false,
    lookAgainAt: 0,
  }
}

/** Looks once a second: counting costs more than a lot in Postgres. */
async function isFull(told: ToldQueue, most: number): Promise<boolean> {
  if (performance.now() < told.lookAgainAt) return told.isFull
  told.isFull = (await told.queue.getWaitingCount()) >= most
  told.lookAgainAt = performance.now() + LOOK_EVERY_MS
  return told.isFull
}

async function addChangeJobs(told: ToldQueue, installation: string, changes: readonly Change[]): Promise<void> {
  const own = changes.filter(({ account }) => account === told.account)
  if (own.length > 0) await told.queue.addBulk(changeJobs(installation, own, told.kept))
}

/** The callback and its URL: the message's own, else its account's. */
function callbacksOf(accounts: Accounts, changes: readonly Change[]): NewCallback[] {
  return changes.flatMap((change) => {
    const callback = accounts.get(change.account)?.callback
    const url = change.callbackUrl ?? callback?.url
    if (!callback || !url || (callback.events === 'final' && !isFinal(change.status))) return []
    const { position, messageRow: message, account } = change
    const body = { type: 'message.status', timestamp: change.changedAt.toISOString(), data: describeChange(change) }
    return [{ change: position, message, account, url, body }]
  })
}

async function dispatchCallbacks({ db, queues, leaseMs }: FeederOptions): Promise<number> {
  // A claim that is not sent comes due again, and would be added once more for each lease.
  if (await queues.callbacks.isPaused()) return 0
  const claim = randomUUID()
  const { claimed, putBack } = await claimCallbacks(db, {
    claim,
    leaseMs: Math.max(leaseMs, LEAST_LEASE_MS),
    places: MOST_CALLBACKS_AT_ONCE,
    perUrl: MOST_CALLBACKS_PER_URL,
  })
  if (claimed.length === 0) return putBack
  try {
    await queues.callbacks.addBulk(callbackJobs(claim, claimed))
  } catch (error) {
    await releaseClaim(db, claim)
    throw error
  }
  return claimed.length + putBack
}

/**
 * The conditions that operators are told of (core/alerts.ts), as they are seen: some by anybody, in the database and in the
 * queues; some by one process only.
 */
import { isPaused, needsProbe } from '../../core/account-health.ts'
import type { AlertKind, Condition } from '../../core/alerts.ts'
import { findHealths } from '../../db/accounts.ts'
import { findReported } from '../../db/alerts.ts'
import type { Db } from '../../db/client.ts'
import { freeDiskBytes } from '../../db/embedded.ts'
import { findInstallation } from '../../db/installation.ts'
import { findFailingReceivers, findGivenUp, findGoneUrls } from '../../db/receivers.ts'
import { findOverdueAccounts } from '../../db/schedule.ts'
import type { Learner } from '../../learner.ts'
import type { Metrics } from '../../metrics.ts'
import { lookupInUse } from '../../providers/registry.ts'
import type { Accounts } from '../../tracking.ts'
import { isOverdue } from '../claim.ts'
import type { QueueBackend } from '../queue-backend.ts'
import { MOST_UNREAD_CHANGES, type Queues } from '../queues.ts'

/** From where on something counts. */
export interface AlertLimits {
  /** So many refused receipts of an account within that time. */
  refusedReceipts: number
  refusedWithinMs: number
  clockMs: number
  /** A worker says every five seconds that it runs. */
  workerMs: number
  /** Messages are asked about some seconds after that pays. */
  overdueMs: number
  /** Of Redis's `maxmemory`. */
  memoryShare: number
  diskBytes: number
  /** So many changes wait in a queue. */
  unreadChanges: number
}

export const ALERT_LIMITS: AlertLimits = {
  refusedReceipts: 10,
  refusedWithinMs: 10 * 60_000,
  clockMs: 3_000,
  workerMs: 30_000,
  overdueMs: 10 * 60_000,
  memoryShare: 0.9,
  diskBytes: 1024 ** 3,
  unreadChanges: MOST_UNREAD_CHANGES,
}

/** Further receivers are told of when some of these are well again. */
const MOST_RECEIVERS = 50

export interface SharedSources {
  db: Db
  accounts: Accounts
  learner: Pick<Learner, 'learnedOf' | 'planOf'>
  queues: Queues
  backend: Pick<QueueBackend, 'memory'>
  /** Told why the queues cannot be looked into. */
  complain(error: Error): void
}

export interface Seen {
  conditions: Condition[]
  /** Alerts of kinds that cannot be seen at present are left as they are. */
  unseen: AlertKind[]
}

/** The conditions that everybody sees alike, and those that single processes report. */
export async function findConditions(sources: SharedSources, limits: AlertLimits): Promise<Seen> {
  const { db } = sources
  const inQueues = await findInQueues(sources, limits)
  const inDatabase = await Promise.all([
    findReported(db),
    findOfAccounts(sources, limits),
    findOfReceivers(db),
    findLackOfWorkers(db, limits),
  ])
  return { conditions: [...inDatabase.flat(), ...inQueues.conditions], unseen: inQueues.unseen }
}

async function findOfAccounts({ db, accounts, learner }: SharedSources, { overdueMs }: AlertLimits) {
  const names = [...accounts.keys()]
  const [{ healths, now }, gone, givenUp, longDue] = await Promise.all([
    findHealths(db),
    findGoneUrls(db),
    findGivenUp(db, names),
    findOverdueAccounts(db, names, overdueMs),
  ])
  const conditions: Condition[] = []
  for (const account of accounts.values()) {
    const { name: subject, callback } = account
    const health = healths.get(subject) ?? {}
    const { trouble, bad } = health
    const reason = bad?.reason ?? 'for no known reason'
    const since = bad?.since
    if (trouble === 'refused') {
      const message = `The provider refuses account "${subject}": ${reason}.`
      conditions.push({ kind: 'account-refused', subject, message, since })
    } else if (trouble !== undefined) {
      const message = `Account "${subject}" gets no good answer: ${reason}.`
      conditions.push({ kind: 'account-unanswered', subject, message, since })
    }
    const { route } = learner.learnedOf(subject)
    if (route.state === 'silent') {
      const message = `No receipts come for account "${subject}": polling finds final statuses whose receipts did not come.`
      conditions.push({ kind: 'webhooks-silent', subject, message, since: route.since })
    }
    const goneUrl = gone.get(subject)
    const isGone = callback?.url !== undefined && goneUrl === callback.url
    if (goneUrl && isGone) {
      const message = `${new URL(goneUrl).origin} says that the callback URL of account "${subject}" is gone (HTTP 410): nothing is sent to it until callbacks are replayed, or another URL is configured.`
      conditions.push({ kind: 'callbacks-disabled', subject, message })
    }
    const lost = givenUp.find((one) => one.account === subject)
    if (lost && !isGone) {
      const message = `Callbacks of account "${subject}" were given up, the first of them to ${lost.receiver}: ${lost.lastError}. They wait to be replayed.`
      conditions.push({ kind: 'callbacks-given-up', subject, message, since: lost.firstDueAt.getTime() })
    }
    const lookup = lookupInUse(account, health.lookup)
    const mayAsk = lookup && !needsProbe(health) && !isPaused(health, now)
    const asked = { account: subject, forMs: overdueMs }
    if (
      mayAsk &&
      longDue.includes(subject) &&
      (await isOverdue(db, { ...asked, lookup, plan: learner.planOf(account, lookup) }))
    ) {
      const message = `Messages of account "${subject}" have been due for more than ${minutes(overdueMs)} without being asked about, though a request pays.`
      conditions.push({ kind: 'dispatch-overdue', subject, message })
    }
  }
  return conditions
}

const minutes = (ms: number) => `${Math.round(ms / 60_000)} minutes`

async function findOfReceivers(db: Db): Promise<Condition[]> {
  const failing = await findFailingReceivers(db, MOST_RECEIVERS)
  return failing.map(({ receiver: subject, since, lastError }) => {
    const message = `Callbacks to ${subject} are not taken: ${lastError}.`
    return { kind: 'receiver-failing' as const, subject, message, since: since.getTime() }
  })
}

async function findLackOfWorkers(db: Db, { workerMs }: AlertLimits): Promise<Condition[]> {
  const { workerSeenAt, workerSeenMsAgo } = await findInstallation(db)
  if (workerSeenMsAgo !== null && workerSeenMsAgo <= workerMs) return []
  const message = 'No worker runs: nothing is asked, and nobody is called.'
  return [{ kind: 'no-worker', subject: 'worker', message, since: workerSeenAt?.getTime() }]
}

const OF_QUEUES: AlertKind[] = ['queue-paused', 'tracking-failing', 'memory-short', 'changes-unread']

async function findInQueues(
  { accounts, queues, backend, complain }: SharedSources,
  { memoryShare, unreadChanges }: AlertLimits,
): Promise<Seen> {
  try {
    const told = new Set([...accounts.values()].flatMap(({ changesQueue }) => changesQueue ?? []))
    const [paused, unread, failed, memory] = await Promise.all([
      Promise.all(queues.all.map((queue) => queue.isPaused())),
      Promise.all([...told].map((name) => queues.changes(name).getWaitingCount())),
      queues.track.getFailedCount(),
      backend.memory(),
    ])
    const conditions = queues.all
      .filter((_, index) => paused[index])
      .map(({ name: subject }): Condition => {
        const message = `The queue "${subject}" is paused: its jobs wait until it is resumed.`
        return { kind: 'queue-paused', subject, message }
      })
    for (const [index, subject] of [...told].entries()) {
      if ((unread[index] ?? 0) < unreadChanges) continue
      const message = `More than ${unreadChanges} changes wait in the queue "${subject}": nobody takes them, or too slowly. Further ones wait in the database.`
      conditions.push({ kind: 'changes-unread', subject, message })
    }
    if (failed > 0) {
      const message = `Jobs of the queue "${queues.track.name}" have failed: their messages are not tracked until the jobs are retried.`
      conditions.push({ kind: 'tracking-failing', subject: queues.track.name, message })
    }
    if (memory && memory.used > memory.most * memoryShare) {
      const message = `Redis uses more than ${Math.round(memoryShare * 100)} % of its maxmemory (${Math.round(memory.most / 1024 ** 2)} MiB).`
      conditions.push({ kind: 'memory-short', subject: 'redis', message })
    }
    return { conditions, unseen: [] }
  } catch (error) {
    complain(error instanceof Error ? error : new Error(String(error)))
    return { conditions: [], unseen: OF_QUEUES }
  }
}

export interface OwnSources {
  metrics: Pick<Metrics, 'webhooks'>
  /** Says why the queues take no writes, as this process sees it. */
  queueTrouble(): string | undefined
  aheadMs(): number
  /** Where an embedded database is; undefined without one. */
  dataDir: string | undefined
  /** The machine's name. */
  host: string
}

/** The conditions that only this process sees. */
export function createOwnConditions(sources: OwnSources, limits: AlertLimits) {
  const findRefusals = createRefusals(sources, limits)
  return async function findOwn(): Promise<Condition[]> {
    const { queueTrouble, aheadMs, dataDir, host } = sources
    const conditions = await findRefusals()
    const trouble = queueTrouble()
    if (trouble !== undefined) {
      conditions.push({ kind: 'queue-away', subject: 'queue', message: `The queue is away: it ${trouble}.` })
    }
    if (Math.abs(aheadMs()) > limits.clockMs) {
      const distance = `${Math.round(Math.abs(aheadMs()) / 1000)} s ${aheadMs() > 0 ? 'ahead of' : 'behind'}`
      const message = `The clock of ${host} is ${distance} the database's: times in the queue and in signatures are wrong.`
      conditions.push({ kind: 'clock-differs', subject: host, message })
    }
    if (dataDir !== undefined && (await freeDiskBytes(dataDir)) < limits.diskBytes) {
      const message = `Less than ${Math.round(limits.diskBytes / 1024 ** 2)} MiB are free on the disk of the database, at ${host}.`
      conditions.push({ kind: 'disk-short', subject: host, message })
    }
    return conditions
  }
}

const REFUSED: ReadonlySet<unknown> = new Set(['unauthorized', 'forbidden', 'input_invalid', 'too_large'])

/** How many receipts were refused since the start, by what was wrong with them. */
interface Look {
  at: number
  refused: Record<string, number>
}

/** Counts the receipts that were refused of late: by the difference to a look that lies as far back. */
function createRefusals({ metrics }: OwnSources, limits: AlertLimits) {
  /** By account, the latest last. */
  const looks = new Map<string, Look[]>()
  return async function findRefusals(): Promise<Condition[]> {
    const { refusedReceipts, refusedWithinMs } = limits
    const at = performance.now()
    const refused = new Map<string, Look['refused']>()
    for (const { labels, value } of (await metrics.webhooks.get()).values) {
      if (!REFUSED.has(labels.result)) continue
      refused.set(String(labels.account), { ...refused.get(String(labels.account)), [String(labels.result)]: value })
    }
    return [...refused].flatMap(([subject, latest]): Condition[] => {
      const known = looks.get(subject) ?? [{ at, refused: {} }]
      while (known[1] && known[1].at < at - refusedWithinMs) known.shift()
      const before = known[0]?.refused ?? {}
      looks.set(subject, [...known, { at, refused: latest }])
      const grown = Object.entries(latest).map(([why, count]) => ({ why, more: count - (before[why] ?? 0) }))
      if (grown.reduce((sum, { more }) => sum + more, 0) < refusedReceipts) return []
      const why = grown.filter(({ more }) => more > 0).map((one) => one.why.replaceAll('_', ' '))
      const message = `Webhooks for account "${subject}" are refused, ${refusedReceipts} or more within ${minutes(refusedWithinMs)}: ${why.join(', ')}.`
      return [{ kind: 'webhooks-refused', subject, message }]
    })
  }
}

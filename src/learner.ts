/**
 * Learns when messages become final and how receipts come, and plans asking by it. Observations are gathered in this
 * process, and every few seconds merged into the accounts' rows in Postgres, which all processes share; plans follow from
 * those rows. A process that is killed, or has no database, loses the observations of a few seconds, and nothing else.
 */
import { setTimeout as delay } from 'node:timers/promises'
import {
  graceOf,
  type Learned,
  learn,
  type News,
  noNews,
  nothingLearned,
  observe,
  observeUnmatched,
} from './core/learning.ts'
import type { Plan } from './core/plan.ts'
import { isFinal } from './core/status.ts'
import { hasRipened } from './core/webhook-route.ts'
import { recordFirstAges } from './db/accounts.ts'
import type { Db } from './db/client.ts'
import { type Found, findLearned, moveLearned } from './db/learning.ts'
import type { AppliedReport } from './db/reports.ts'
import { createComplaint, type Log } from './log.ts'
import { firstLookup, type Plans, planFrom } from './plans.ts'
import type { Account } from './providers/account.ts'

export interface Learner extends Plans {
  /** All that has been learned about an account, as of a few seconds ago. */
  learnedOf(account: string): Learned
  /** Takes note of reports that have been written. */
  observeReports(applied: readonly AppliedReport[]): void
  /** Takes note of messages that an answer has told of, or left out, without a report. */
  observeOpen(account: string, messages: readonly { sentAt: Date; askedAt: Date | undefined }[]): void
  /** Writes down what was noted and reads what others have. */
  refresh(): Promise<void>
  /** As `refresh`, for the last time. */
  close(): Promise<void>
}

export interface LearnerOptions {
  db: Db
  accounts: ReadonlyMap<string, Account>
  log: Log
  /** The time that all processes agree on; this process's own unless given. */
  now?: () => number
}

const REFRESH_EVERY_MS = 5_000
/** A database that says nothing keeps nobody from ending. */
const CLOSE_WITHIN_MS = 2_000

/** A learner that has read what was learned so far. */
export async function openLearner({ db, accounts, log, now: clock = Date.now }: LearnerOptions): Promise<Learner> {
  const learned = new Map<string, Learned>()
  const plans = new Map<string, Plan>()
  const graces = new Map<string, number>()
  const complain = createComplaint(log, 'learning')
  let news = new Map<string, News>()

  const nothing = nothingLearned(clock())
  const learnedOf = (account: string) => learned.get(account) ?? nothing
  const graceMsOf = (account: string) => {
    const known = graces.get(account)
    if (known !== undefined) return known
    const polling = accounts.get(account)?.polling
    const graceMs = polling ? graceOf(learnedOf(account), polling) : Number.POSITIVE_INFINITY
    graces.set(account, graceMs)
    return graceMs
  }
  const newsOf = (account: string) => {
    const known = news.get(account)
    if (known) return known
    const begun = noNews(clock())
    news.set(account, begun)
    return begun
  }

  function planFor(account: Account, lookup = firstLookup(account)): Plan {
    const key = `${account.name} ${lookup?.name ?? ''}`
    const known = plans.get(key)
    if (known) return known
    const plan = planFrom(learnedOf(account.name), account, lookup)
    plans.set(key, plan)
    return plan
  }

  function sound(account: string, found: Found | undefined, now: number): Learned {
    if (found !== 'damaged') return found ?? nothingLearned(now)
    log.warn({ account }, 'what was learned about the account cannot be read; learning begins again')
    return nothingLearned(now)
  }

  async function writeDown(account: string, told: News): Promise<void> {
    const step = await moveLearned(db, account, (found, now) =>
      learn(sound(account, found, now), told, { graceMs: graceMsOf(account), now }),
    )
    const { state, since, lost } = step.learned.route
    if (step.event === 'silent') {
      const details = { account, since: new Date(since), lost }
      log.error(details, 'the webhook route is silent: final statuses are found by polling whose receipts did not come')
    }
    if (step.event === 'returned') log.info({ account, state }, 'receipts come by the webhook route again')
  }

  async function refresh(): Promise<void> {
    const told = news
    news = new Map()
    const before = await findLearned(db)
    for (const account of learned.keys()) {
      if (!before.has(account))
        log.warn({ account }, 'what was learned about the account is gone; learning begins again')
    }
    for (const [account, known] of before) {
      if (known === 'damaged' || told.has(account)) continue
      if (hasRipened(known.route, graceMsOf(account), clock())) told.set(account, noNews(clock()))
    }
    for (const [account, one] of told) await writeDown(account, one)
    const found = told.size === 0 ? before : await findLearned(db)
    for (const stale of [plans, graces, learned]) stale.clear()
    for (const [account, one] of found) if (one !== 'damaged') learned.set(account, one)
    const ages = [...told.keys()].flatMap((name) => {
      const account = accounts.get(name)
      return account ? [{ account: name, firstAge: planFor(account).firstAge }] : []
    })
    await recordFirstAges(db, ages)
  }

  await refresh()
  const stop = new AbortController()
  const running = (async () => {
    while (!stop.signal.aborted) {
      await delay(REFRESH_EVERY_MS, undefined, { signal: stop.signal }).catch(() => {})
      // Without the database nothing is asked or received either.
      await refresh().catch(complain)
    }
  })()

  return {
    planOf: planFor,
    now: clock,
    learnedOf,
    observeReports(applied) {
      const now = clock()
      for (const { report, unmatched, before } of applied) {
        const { account, source, status, occurredAt } = report
        const told = newsOf(account)
        if (unmatched) {
          if (source === 'webhook') observeUnmatched(told, now, isFinal(status))
          continue
        }
        const finalAt = isFinal(status) ? occurredAt.getTime() : undefined
        observe(told, { now, source, finalAt, ...before }, graceMsOf(account))
      }
    },
    observeOpen(account, messages) {
      const now = clock()
      const told = newsOf(account)
      for (const { sentAt, askedAt } of messages) {
        const seen = { now, sentAt: sentAt.getTime(), askedAt: askedAt?.getTime(), source: 'poll' as const }
        observe(told, { ...seen, finalAt: undefined }, 0)
      }
    },
    refresh,
    async close() {
      stop.abort()
      await Promise.race([running, delay(CLOSE_WITHIN_MS, undefined, { ref: false })])
    },
  }
}

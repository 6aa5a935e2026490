/**
 * Brings outstanding messages forward when they are due sooner by what is known now: after a start, which may bring other
 * settings, and when the plan has become another, as when receipts stay away. Walks through the schedule of an account, so
 * many messages a tick, and moves those of them that are due much too late. Messages that are due too early are found when
 * their time comes.
 */
import { nextDueAt, type Plan } from '../core/plan.ts'
import { thresholdOf, worthOf } from '../core/worth.ts'
import type { Db } from '../db/client.ts'
import { findAhead, reschedule, type SchedulePlace } from '../db/moves.ts'
import type { Learner } from '../learner.ts'
import { firstLookup } from '../plans.ts'
import type { Account } from '../providers/account.ts'
import type { Accounts } from '../tracking.ts'

const MESSAGES_A_TICK = 4_000
/** A message is moved when it is due sooner by this share of the time that is left, and by this long. */
const LEAST_SHARE = 0.1
const LEAST_MS = 5_000
/** A plan is another when messages are worth so much more by it, or their threshold is so much lower. */
const OTHER_BY = 1.3
/** The ages, of messages never asked about and asked about half as old, at which plans are compared. */
const COMPARED_AGES_MS = [30_000, 600_000, 6 * 3_600_000]

interface Walk {
  plan: Plan
  /** Where it goes on; undefined at its beginning. */
  after: SchedulePlace | undefined
  isOver: boolean
}

export function createReplanner({ db, accounts, learner }: { db: Db; accounts: Accounts; learner: Learner }) {
  const walks = new Map<string, Walk>()

  async function step(account: Account): Promise<void> {
    const lookup = firstLookup(account)
    if (!lookup) return
    const plan = learner.planOf(account, lookup)
    const known = walks.get(account.name)
    const walk = known && !isAskingSooner(plan, known.plan) ? known : { plan, after: undefined, isOver: false }
    walks.set(account.name, walk)
    if (walk.isOver) return
    const ahead = await findAhead(db, { account: account.name, after: walk.after, limit: MESSAGES_A_TICK })
    const now = learner.now()
    const moves = ahead.flatMap((message) => {
      // By the latest that chance would make it: what is due by these settings already stays.
      const dueAt = nextDueAt(plan, message, now, 1)
      const sooner = message.dueAt - dueAt
      return sooner > LEAST_MS && sooner > LEAST_SHARE * (message.dueAt - now) ? [{ id: message.id, dueAt }] : []
    })
    await reschedule(db, account.name, moves)
    walk.after = ahead.at(-1)
    walk.isOver = ahead.length < MESSAGES_A_TICK
  }

  return async function replan(): Promise<void> {
    for (const account of accounts.values()) await step(account)
  }
}

function isAskingSooner({ economy }: Plan, { economy: before }: Plan): boolean {
  const pays = (one: Plan['economy'], age: number, asked: number) => worthOf(one, age, asked) / thresholdOf(one)
  return COMPARED_AGES_MS.some((age) =>
    [0, age / 2].some((asked) => pays(economy, age, asked) > OTHER_BY * pays(before, age, asked)),
  )
}

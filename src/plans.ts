/** The plans of accounts (core/plan.ts): what asking costs by a look-up, and what follows from what was learned. */
import { economyOf, type Learned, nothingLearned } from './core/learning.ts'
import { type Plan, planOf } from './core/plan.ts'
import type { Costs } from './core/worth.ts'
import type { Account } from './providers/account.ts'
import type { StatusLookup } from './providers/provider.ts'
import { providerOf } from './providers/registry.ts'

export interface Plans {
  /** How an account asks by a look-up, by the first of its look-ups unless another is given. */
  planOf(account: Account, lookup?: StatusLookup): Plan
  /** The time that all processes agree on, in milliseconds since 1970. */
  now(): number
}

export function firstLookup(account: Account): StatusLookup | undefined {
  return providerOf(account).lookups(account)[0]
}

export function planFrom(learned: Learned, account: Account, lookup: StatusLookup | undefined): Plan {
  return planOf(account.polling, economyOf(learned, costsOf(account, lookup)))
}

/** The plans of accounts of which nothing has been learned. */
export const priorPlans: Plans = {
  planOf: (account, lookup = firstLookup(account)) => planFrom(nothingLearned(0), account, lookup),
  now: Date.now,
}

function costsOf({ polling }: Account, lookup: StatusLookup | undefined): Costs {
  const places = (!lookup?.paidByRecord && lookup?.byWindow?.pageSize) || lookup?.byIds?.limits.maxIds || 1
  const priceMs = polling.policy === 'learned' && lookup ? polling.priceMs : 0
  // Where each record is paid for, that is what the price is for.
  return lookup?.paidByRecord ? { priceMs: 0, recordPriceMs: priceMs, places } : { priceMs, recordPriceMs: 0, places }
}

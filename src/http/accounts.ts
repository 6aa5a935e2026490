/** The health of the accounts: what asks about their messages, and whether the provider gives good answers. */
import type { FastifyInstance } from 'fastify'
import { Gauge } from 'prom-client'
import { type AccountHealth, isPaused, needsProbe } from '../core/account-health.ts'
import { findHealths } from '../db/accounts.ts'
import { type Db, isDatabaseUnavailable } from '../db/client.ts'
import type { Metrics } from '../metrics.ts'
import { lookupInUse } from '../providers/registry.ts'
import type { Accounts } from '../tracking.ts'

export interface AccountRoutesOptions {
  db: Db
  accounts: Accounts
  metrics: Metrics
}

export function registerAccountRoutes(server: FastifyInstance, { db, accounts, metrics }: AccountRoutesOptions): void {
  new Gauge({
    name: 'lastword_account_without_good_answer_seconds',
    help: 'For how long the provider has given an account no good answer; 0 while it does',
    labelNames: ['account'],
    registers: [metrics.registry],
    async collect() {
      this.reset()
      try {
        const { healths, now } = await findHealths(db)
        for (const account of accounts.keys()) {
          const since = healths.get(account)?.bad?.since
          this.set({ account }, since === undefined ? 0 : Math.max(0, (now - since) / 1000))
        }
      } catch (error) {
        // Without the database nobody knows, and the other metrics are wanted all the more.
        if (!isDatabaseUnavailable(error)) throw error
      }
    },
  })

  server.get('/v1/accounts', async () => {
    const { healths, now } = await findHealths(db)
    return {
      accounts: [...accounts.values()].map((account) => {
        const health = healths.get(account.name) ?? {}
        const { bad, trouble, pausedUntil, lastGoodAt } = health
        return {
          account: account.name,
          provider: account.provider,
          query: account.query,
          lookup: lookupInUse(account, health.lookup)?.name ?? null,
          status: trouble ?? 'ok',
          trouble: trouble ? (bad?.reason ?? trouble) : null,
          troubleSince: trouble ? timeOf(bad?.since) : null,
          pausedUntil: isPaused(health, now) ? timeOf(pausedUntil) : null,
          lastGoodAnswer: timeOf(lastGoodAt),
          noGoodAnswerSince: timeOf(bad?.since),
          lastError: bad?.reason ?? null,
        }
      }),
    }
  })
}

/** How an account waits at present; undefined when it does not. */
export function describePause(health: AccountHealth, now: number) {
  if (!needsProbe(health) && !isPaused(health, now)) return undefined
  const { bad, pausedUntil, trouble } = health
  return {
    since: timeOf(bad?.since),
    until: isPaused(health, now) ? timeOf(pausedUntil) : null,
    trouble: bad?.reason ?? trouble ?? null,
  }
}

function timeOf(ms: number | undefined): Date | null {
  return ms === undefined ? null : new Date(ms)
}

/** The health of the accounts: what asks about their messages, and whether the provider refuses them. */
import type { FastifyInstance } from 'fastify'
import { findAccountStates } from '../db/accounts.ts'
import type { Db } from '../db/client.ts'
import { lookupInUse } from '../providers/registry.ts'
import type { Accounts } from '../tracking.ts'

export function registerAccountRoutes(server: FastifyInstance, { db, accounts }: { db: Db; accounts: Accounts }): void {
  server.get('/v1/accounts', async () => {
    const states = await findAccountStates(db)
    return {
      accounts: [...accounts.values()].map((account) => {
        const state = states.get(account.name)
        return {
          account: account.name,
          provider: account.provider,
          query: account.query,
          lookup: lookupInUse(account, state?.lookup)?.name ?? null,
          status: state?.trouble ? 'refused' : 'ok',
          trouble: state?.trouble ?? null,
          troubleSince: state?.troubleSince ?? null,
          pausedUntil: state?.pausedUntil ?? null,
        }
      }),
    }
  })
}

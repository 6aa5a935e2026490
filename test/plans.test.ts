import { expect, it } from 'vitest'
import { nothingLearned } from '../src/core/learning.ts'
import { planFrom, priorPlans } from '../src/plans.ts'
import type { Account } from '../src/providers/account.ts'
import { findProvider } from '../src/providers/registry.ts'
import { pollsAndForgets, pollsAndForgetsFixture } from './support/polls-and-forgets.ts'

const accountOf = (provider: string, more: object = {}) =>
  findProvider(provider)?.accountSchema.parse({ name: 'a', provider, ...more }) as Account
const seven = (more: object = {}) => accountOf('seven', { apiKey: 'key', ...more })
const cm = (more: object = {}) => accountOf('cm', { productToken: 'token', ...more })

it.each<[string, Account, object]>([
  ['by many IDs', seven(), { priceMs: 300_000, recordPriceMs: 0, places: 100 }],
  ['by fewer IDs', seven({ batchSize: 20 }), { priceMs: 300_000, recordPriceMs: 0, places: 20 }],
  ['by window', cm({ pageSize: 500 }), { priceMs: 300_000, recordPriceMs: 0, places: 500 }],
  ['at another price', seven({ polling: { price: '90s' } }), { priceMs: 90_000, recordPriceMs: 0, places: 100 }],
  ['at growing intervals', seven({ polling: { factor: 3 } }), { priceMs: 0, recordPriceMs: 0, places: 100 }],
  ['never', seven({ query: 'off' }), { priceMs: 0, recordPriceMs: 0, places: 1 }],
])('knows what asking costs: %s', (_name, account, costs) => {
  expect(priorPlans.planOf(account).economy).toMatchObject({ ...costs, loss: 1 })
})

it('has the price for each record where records are paid for', () => {
  const account = pollsAndForgets.accountSchema.parse({
    ...pollsAndForgetsFixture.entry,
    query: 'single',
    polling: { policy: 'learned', price: '1m' },
  })
  const lookup = pollsAndForgets.lookups(account).find(({ paidByRecord }) => paidByRecord)
  expect(lookup).toBeDefined()
  expect(planFrom(nothingLearned(0), account, lookup).economy).toMatchObject({ priceMs: 0, recordPriceMs: 60_000 })
})

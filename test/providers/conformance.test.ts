import { expect, it } from 'vitest'
import { providerNames } from '../../src/providers/registry.ts'
import { describeProvider } from '../support/provider-conformance.ts'
import { fixtures } from './fixtures.ts'

it('every provider in the registry has its samples here', () => {
  expect(fixtures.map(({ provider }) => provider.name).sort()).toEqual(providerNames().sort())
})

for (const fixture of fixtures) describeProvider(fixture)

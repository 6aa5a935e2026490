/** Every provider Lastword speaks to. A new one is added here and nowhere else. */
import { accountFieldsOf } from './account-fields.ts'
import { cm } from './cm/cm.ts'
import type { Provider, ProviderAccount, StatusLookup } from './provider.ts'
import { seven } from './seven/seven.ts'

export const providers: readonly Provider<never>[] = [seven as Provider<never>, cm as Provider<never>]

/** The provider of that name, or undefined. */
export function findProvider(name: string): Provider | undefined {
  return providers.find((provider) => provider.name === name) as Provider | undefined
}

export function providerNames(): string[] {
  return providers.map(({ name }) => name)
}

/** The names of the fields in which an account of any provider holds a secret. */
export function secretFieldNames(): string[] {
  const paths = providers.flatMap(({ accountSchema }) => accountFieldsOf(accountSchema).secret)
  return [...new Set(paths.map((path) => path.slice(path.lastIndexOf('.') + 1)))]
}

/** The provider of an account that the configuration has accepted. */
export function providerOf(account: ProviderAccount): Provider {
  const provider = findProvider(account.provider)
  if (!provider) throw new TypeError(`No provider named ${account.provider}`)
  return provider
}

/** The look-up in use: the one the account has moved to, else its first. Undefined when it is never polled. */
export function lookupInUse(account: ProviderAccount, movedTo: string | null | undefined): StatusLookup | undefined {
  const lookups = providerOf(account).lookups(account)
  return lookups.find(({ name }) => name === movedTo) ?? lookups[0]
}

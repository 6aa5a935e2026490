/** The accounts of the configuration, as JSON: each checked by its provider, and every mistake told by where it stands. */
import type { z } from 'zod'
import type { LastwordError } from '../core/errors.ts'
import type { Account } from '../providers/account.ts'
import { type AccountFields, accountFieldsOf } from '../providers/account-fields.ts'
import { findProvider, providerNames } from '../providers/registry.ts'
import { type Environment, invalid, readTextOf } from './environment.ts'

/** The accounts of `ACCOUNTS`, whose mistakes are told of `ACCOUNTS_FILE` where that was given. Throws CONFIG_INVALID. */
export function readAccounts(env: Environment): Account[] {
  const variable = env.ACCOUNTS_FILE === undefined ? 'ACCOUNTS' : 'ACCOUNTS_FILE'
  const text = env.ACCOUNTS ?? '[]'
  const accounts = parseAccounts(variable, text).map((entry, index) => readAccount(env, `${variable}[${index}]`, entry))
  const names = accounts.map(({ name }) => name)
  const repeated = names.find((name, index) => names.indexOf(name) !== index)
  if (repeated !== undefined) throw invalid(variable, `two accounts named "${repeated}"`, 'a different name for each')
  return accounts
}

function parseAccounts(variable: string, text: string): unknown[] {
  let value: unknown
  try {
    value = JSON.parse(text)
  } catch {
    // The parser's message quotes the text, which holds credentials.
    throw invalid(variable, `${text.length} characters that are not JSON`, 'a JSON array of accounts')
  }
  if (!Array.isArray(value)) throw invalid(variable, 'JSON that is not an array', 'a JSON array of accounts')
  return value
}

function readAccount(env: Environment, where: string, entry: unknown): Account {
  const resolved = resolveReferences(env, where, entry)
  if (typeof resolved !== 'object' || resolved === null || Array.isArray(resolved)) {
    throw invalid(where, describe(resolved), 'an account {"name","provider",…}')
  }
  const name = valueAt(resolved, ['provider'])
  const provider = typeof name === 'string' ? findProvider(name) : undefined
  if (!provider) {
    throw invalid(`${where}.provider`, describe(name, true), `one of ${providerNames().join(', ')}`)
  }
  const account = provider.accountSchema.safeParse(resolved)
  if (account.success) return account.data
  throw invalidAccount(where, resolved, account.error.issues[0], accountFieldsOf(provider.accountSchema))
}

function invalidAccount(
  where: string,
  entry: object,
  issue: z.core.$ZodIssue | undefined,
  { printable }: AccountFields,
): LastwordError {
  const path = issue?.path.map(String) ?? []
  const at = [where, ...path].join('.')
  if (issue?.code === 'unrecognized_keys') {
    return invalid(at, `the unknown ${issue.keys.map((key) => `"${key}"`).join(', ')}`, 'known fields only')
  }
  return invalid(at, describe(valueAt(entry, path), printable.includes(path.join('.'))), expectationOf(issue))
}

/** The expectation in the library's sentences, which begin with the kind of mistake and end with the value received. */
function expectationOf(issue: z.core.$ZodIssue | undefined): string {
  if (issue?.code === 'invalid_format' && issue.format === 'url') return 'a URL that begins with http:// or https://'
  const expected = issue?.message.replace(/^(?!expected).*?: /, '').replace(/,? (received|found) .*$/, '')
  return expected?.replace(/^expected /, '') ?? 'an account'
}

function valueAt(value: unknown, [key, ...rest]: string[]): unknown {
  if (key === undefined) return value
  return typeof value === 'object' && value !== null ? valueAt(Reflect.get(value, key), rest) : undefined
}

function describe(value: unknown, mayBeShown = false): string {
  if (value === undefined) return 'nothing'
  if (Array.isArray(value)) return 'a list'
  if (typeof value === 'object' && value !== null) return 'an object'
  if (typeof value === 'boolean' || value === null || mayBeShown) return JSON.stringify(value)
  return typeof value === 'string' ? `a text of ${value.length} characters` : 'a number'
}

/** Replaces every string value `env:NAME` by the variable of that name, and `file:PATH` by the text of that file. */
function resolveReferences(env: Environment, where: string, value: unknown): unknown {
  if (typeof value === 'string' && value.startsWith('file:')) return readTextOf(where, value.slice('file:'.length))
  if (typeof value === 'string' && value.startsWith('env:')) {
    const name = value.slice('env:'.length)
    const found = env[name]
    if (found === undefined) throw invalid(where, `"${value}"`, `the environment variable ${name} to be set`)
    return found
  }
  if (Array.isArray(value)) return value.map((item) => resolveReferences(env, where, item))
  if (typeof value !== 'object' || value === null) return value
  const entries = Object.entries(value).map(([key, item]) => [key, resolveReferences(env, `${where}.${key}`, item)])
  return Object.fromEntries(entries)
}

/**
 * The keys that requests present: `API_KEYS` may do everything, `READ_KEYS` may look and change nothing, `METRICS_KEYS`
 * may read /metrics and nothing else.
 *
 * An entry is a key, or `name=key`. Keys of base64 end with `=`, so an entry has a name only where something else than
 * `=` follows the first one. No mistake is told with any part of an entry: it may be a key.
 */
import type { Account } from '../providers/account.ts'
import { type Environment, invalid } from './environment.ts'

/** From the least to the most; each includes those before it. */
const GRANTS = ['metrics', 'look', 'change'] as const
/** Reading /metrics; looking at everything; changing something. */
export type Grant = (typeof GRANTS)[number]

export interface Key {
  /** As it stands in the record of who did what; undefined for a key without a name. */
  name: string | undefined
  value: string
  grants: Grant
}

const VARIABLES = { API_KEYS: 'change', READ_KEYS: 'look', METRICS_KEYS: 'metrics' } as const satisfies Record<
  string,
  Grant
>
export const KEY_VARIABLES = Object.keys(VARIABLES) as (keyof typeof VARIABLES)[]

export function grantIncludes(grant: Grant, needed: Grant): boolean {
  return GRANTS.indexOf(grant) >= GRANTS.indexOf(needed)
}

/** The keys of all three lists, those of `API_KEYS` first. Throws CONFIG_INVALID. */
export function readKeys(env: Environment): Key[] {
  const found = new Map<string, string>()
  return Object.entries(VARIABLES).flatMap(([variable, grants]) =>
    (env[variable]?.split(',') ?? []).map((entry) => {
      const key = { ...readEntry(variable, entry.trim()), grants }
      const other = found.get(key.value)
      if (other === variable) throw invalid(variable, 'one key twice', 'each key once')
      if (other) throw invalid(variable, `a key that stands in ${other} too`, 'each key in one list')
      found.set(key.value, variable)
      return key
    }),
  )
}

const FEWEST_CHARACTERS = 16

/** Throws CONFIG_INVALID for a key or webhook token that somebody who can reach `host` could guess. */
export function checkLengths(keys: readonly Key[], accounts: readonly Account[], host: string): void {
  const found = `fewer than ${FEWEST_CHARACTERS} characters`
  const expected = `at least so many, because HOST is ${host}; \`openssl rand -hex 24\` makes good ones`
  const isShort = (secret: string) => secret.length < FEWEST_CHARACTERS
  const variable = KEY_VARIABLES.find((name) =>
    keys.some(({ grants, value }) => VARIABLES[name] === grants && isShort(value)),
  )
  if (variable !== undefined) throw invalid(variable, `a key of ${found}`, expected)
  const account = accounts.find(({ webhookToken = [] }) => webhookToken.some(isShort))
  if (account) throw invalid(`webhookToken of account "${account.name}"`, found, expected)
}

function readEntry(variable: string, entry: string): Pick<Key, 'name' | 'value'> {
  if (!/^[\x21-\x7e]+$/.test(entry)) {
    throw invalid(variable, 'a key that is empty or holds a space', 'comma-separated keys of printable characters')
  }
  if (/^[^=]+=*$/.test(entry)) return { name: undefined, value: entry }
  const [, name, value = ''] = /^([a-z0-9-]{1,40})=(.+)$/.exec(entry) ?? []
  if (name !== undefined) return { name, value }
  const found = 'a key with a = before its end, and what stands before that is no name'
  throw invalid(
    variable,
    found,
    'name=key, the name of 1 to 40 small letters, digits and dashes; or a key without such a =',
  )
}

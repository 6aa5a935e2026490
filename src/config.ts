/**
 * The configuration: read from the environment, once, here and nowhere else. A mistake throws CONFIG_INVALID with a
 * sentence that names the variable, what was found and what is expected; secrets are never part of it.
 */
import { readFileSync } from 'node:fs'
import { isIP } from 'node:net'
import type { z } from 'zod'
import { parseDuration } from './core/duration.ts'
import { LastwordError } from './core/errors.ts'
import type { Account } from './providers/provider.ts'
import { findProvider, providerNames } from './providers/registry.ts'
import type { ProxySettings } from './proxy.ts'

export interface Config {
  host: string
  port: number
  /** A postgres:// URL; undefined starts the embedded database in `dataDir`. */
  databaseUrl: string | undefined
  /** A redis://, rediss:// or postgres:// URL; undefined keeps the queues in the database. */
  queueUrl: string | undefined
  dataDir: string
  accounts: Account[]
  apiKeys: string[]
  publicUrl: string | undefined
  callbackAllowPrivate: boolean
  logLevel: string
  /** How long a claimed batch may take before its messages come due again. */
  leaseMs: number
  /** How long changes are kept for readers of the feed. */
  changesRetentionMs: number
  /** How long settled messages are kept after their last change. */
  messagesRetentionMs: number
  /** Through which proxy providers are asked and callbacks sent. */
  proxy: ProxySettings
}

type Environment = Readonly<Record<string, string | undefined>>

/** Reads `process.env`, or the environment given, over other defaults where there are. Empty variables count as unset. */
export function readConfig(environment: Environment = process.env, defaults: Environment = {}): Config {
  const set = Object.entries(environment).filter(([, value]) => value !== undefined && value !== '')
  const env: Environment = { ...defaults, ...Object.fromEntries(set) }
  const config: Config = {
    host: env.HOST ?? '127.0.0.1',
    port: readPort(env),
    databaseUrl: readUrl(env, 'DATABASE_URL', ['postgres:', 'postgresql:']),
    queueUrl: readUrl(env, 'QUEUE_URL', ['redis:', 'rediss:', 'postgres:', 'postgresql:']),
    dataDir: env.DATA_DIR ?? '.lastword',
    accounts: readAccounts(env),
    apiKeys: readApiKeys(env),
    publicUrl: readUrl(env, 'PUBLIC_URL', ['http:', 'https:'])?.replace(/\/$/, ''),
    callbackAllowPrivate: readBoolean(env, 'CALLBACK_ALLOW_PRIVATE', false),
    logLevel: readChoice(env, 'LOG_LEVEL', ['fatal', 'error', 'warn', 'info', 'debug', 'trace', 'silent'], 'info'),
    leaseMs: readDuration(env, 'LEASE', '60s'),
    changesRetentionMs: readDuration(env, 'CHANGES_RETENTION', '30d'),
    messagesRetentionMs: readDuration(env, 'MESSAGES_RETENTION', '90d'),
    proxy: readProxy(env),
  }
  checkTogether(config)
  return config
}

/** Where the commands that speak to a running service find it. */
export interface ServiceLocation {
  url: string
  apiKey: string | undefined
}

/**
 * The service's address: as the flags say, else LASTWORD_URL and LASTWORD_API_KEY, else that of a service configured by
 * the same environment.
 */
export function readServiceLocation(
  flags: { url?: string | undefined; apiKey?: string | undefined } = {},
  environment: Environment = process.env,
): ServiceLocation {
  const set = Object.entries(environment).filter(([, value]) => value !== undefined && value !== '')
  const env: Environment = { LASTWORD_URL: localUrl(Object.fromEntries(set)), ...Object.fromEntries(set) }
  const url = readUrl({ ...env, '--url': flags.url }, flags.url === undefined ? 'LASTWORD_URL' : '--url', [
    'http:',
    'https:',
  ])
  if (url === undefined) throw invalid('LASTWORD_URL', 'nothing', 'the URL of the service, because PORT is 0')
  const apiKey = flags.apiKey ?? env.LASTWORD_API_KEY ?? readApiKeys(env)[0]
  if (apiKey !== undefined && !/^[\x21-\x7e]+$/.test(apiKey)) {
    const variable = flags.apiKey === undefined ? 'LASTWORD_API_KEY' : '--api-key'
    throw invalid(variable, 'a key that is empty or holds a space', 'a key of printable characters')
  }
  return { url, apiKey }
}

/** Addresses that mean every interface are called by the loopback one. */
function localUrl(env: Environment): string | undefined {
  const port = readPort(env)
  if (port === 0) return undefined
  const host = env.HOST ?? '127.0.0.1'
  const reachable = host === '0.0.0.0' ? '127.0.0.1' : host === '::' ? '::1' : host
  return `http://${isIP(reachable) === 6 ? `[${reachable}]` : reachable}:${port}`
}

/** True for hosts only this machine can reach. */
export function isLoopback(host: string): boolean {
  return host === 'localhost' || host === '::1' || (isIP(host) === 4 && host.startsWith('127.'))
}

function checkTogether(config: Config): void {
  const { host, apiKeys, accounts, publicUrl, leaseMs, callbackAllowPrivate } = config
  if (apiKeys.length === 0 && !isLoopback(host)) {
    throw invalid('API_KEYS', 'nothing', `at least one key, because HOST is ${host}; or set HOST to 127.0.0.1`)
  }
  if (config.messagesRetentionMs < config.changesRetentionMs) {
    const found = `a duration shorter than CHANGES_RETENTION`
    throw invalid('MESSAGES_RETENTION', found, 'one at least as long, because a change is told with its message')
  }
  for (const account of accounts) {
    if (account.signingKey && !publicUrl) {
      const why = `the base URL that providers call, because webhook signatures of account "${account.name}" cover it`
      throw invalid('PUBLIC_URL', 'nothing', why)
    }
    if (account.callback?.url && new URL(account.callback.url).protocol !== 'https:' && !callbackAllowPrivate) {
      const why = `true, because the callback URL of account "${account.name}" is not https; or an https URL there`
      throw invalid('CALLBACK_ALLOW_PRIVATE', 'false', why)
    }
    if (account.timeoutMs * 2 > leaseMs) {
      const expected = `at least twice the timeout of account "${account.name}" (${account.timeoutMs} ms)`
      throw invalid('LEASE', `${leaseMs} ms`, expected)
    }
  }
}

function invalid(variable: string, found: string, expected: string, cause?: unknown): LastwordError {
  return new LastwordError('CONFIG_INVALID', `${variable}: found ${found}, expected ${expected}.`, { cause })
}

function readPort(env: Environment): number {
  const text = env.PORT ?? '3000'
  const port = Number(text)
  if (!/^\d+$/.test(text) || port > 65_535) throw invalid('PORT', `"${text}"`, 'a port number from 0 to 65535')
  return port
}

/** The URL as given; the error names its scheme at most, because a URL may hold a password. */
function readUrl(env: Environment, variable: string, protocols: string[]): string | undefined {
  const text = env[variable]
  if (text === undefined) return undefined
  const expected = `a URL that begins with ${protocols.map((protocol) => `${protocol}//`).join(' or ')}`
  const url = URL.canParse(text) ? new URL(text) : undefined
  if (!url) throw invalid(variable, 'text that is not a URL', expected)
  if (!protocols.includes(url.protocol)) throw invalid(variable, `a URL that begins with ${url.protocol}`, expected)
  return text
}

/** By the names that other programs read; the lower-case ones come first there too. */
function readProxy(env: Environment): ProxySettings {
  const read = (name: string) => {
    const text = env[name.toLowerCase()] ?? env[name]
    // Other programs take an address without a scheme for one of HTTP.
    const url = text === undefined || text.includes('://') ? text : `http://${text}`
    return readUrl({ [name]: url }, name, ['http:', 'https:', 'socks5:'])
  }
  return {
    http: read('HTTP_PROXY'),
    https: read('HTTPS_PROXY'),
    except: env.no_proxy ?? env.NO_PROXY,
  }
}

function readBoolean(env: Environment, variable: string, byDefault: boolean): boolean {
  return readChoice(env, variable, ['true', 'false'], String(byDefault)) === 'true'
}

function readChoice(env: Environment, variable: string, choices: string[], byDefault: string): string {
  const text = env[variable] ?? byDefault
  if (!choices.includes(text)) throw invalid(variable, `"${text}"`, `one of ${choices.join(', ')}`)
  return text
}

function readDuration(env: Environment, variable: string, byDefault: string): number {
  const text = env[variable] ?? byDefault
  const ms = parseDuration(text)
  if (!ms) throw invalid(variable, `"${text}"`, 'a duration like 500ms, 30s, 5m, 6h or 30d')
  return ms
}

function readApiKeys(env: Environment): string[] {
  const keys = (env.API_KEYS ?? '').split(',').map((key) => key.trim())
  if (env.API_KEYS !== undefined && keys.some((key) => !/^[\x21-\x7e]+$/.test(key))) {
    throw invalid('API_KEYS', 'a key that is empty or holds a space', 'comma-separated keys of printable characters')
  }
  return env.API_KEYS === undefined ? [] : keys
}

function readAccounts(env: Environment): Account[] {
  if (env.ACCOUNTS !== undefined && env.ACCOUNTS_FILE !== undefined) {
    throw invalid('ACCOUNTS_FILE', 'both ACCOUNTS and ACCOUNTS_FILE', 'one of them')
  }
  const variable = env.ACCOUNTS_FILE === undefined ? 'ACCOUNTS' : 'ACCOUNTS_FILE'
  const text = env.ACCOUNTS_FILE === undefined ? (env.ACCOUNTS ?? '[]') : readAccountsFile(env.ACCOUNTS_FILE)
  const accounts = parseAccounts(variable, text).map((entry, index) => readAccount(env, `${variable}[${index}]`, entry))
  const names = accounts.map(({ name }) => name)
  const repeated = names.find((name, index) => names.indexOf(name) !== index)
  if (repeated !== undefined) throw invalid(variable, `two accounts named "${repeated}"`, 'a different name for each')
  return accounts
}

function readAccountsFile(path: string): string {
  try {
    return readFileSync(path, 'utf8')
  } catch (error) {
    const code = error instanceof Error && 'code' in error ? String(error.code) : 'an error'
    throw invalid('ACCOUNTS_FILE', `${code} when reading "${path}"`, 'the path of a readable JSON file', error)
  }
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
  const resolved = resolveEnvironment(env, where, entry)
  if (typeof resolved !== 'object' || resolved === null || Array.isArray(resolved)) {
    throw invalid(where, describe(resolved), 'an account {"name","provider",…}')
  }
  const name = valueAt(resolved, ['provider'])
  const provider = typeof name === 'string' ? findProvider(name) : undefined
  if (!provider) {
    throw invalid(`${where}.provider`, describe(name, 'provider'), `one of ${providerNames().join(', ')}`)
  }
  const account = provider.accountSchema.safeParse(resolved)
  if (account.success) return account.data
  throw invalidAccount(where, resolved, account.error.issues[0])
}

function invalidAccount(where: string, entry: object, issue: z.core.$ZodIssue | undefined): LastwordError {
  const path = issue?.path.map(String) ?? []
  const at = [where, ...path].join('.')
  if (issue?.code === 'unrecognized_keys') {
    return invalid(at, `the unknown ${issue.keys.map((key) => `"${key}"`).join(', ')}`, 'known fields only')
  }
  return invalid(at, describe(valueAt(entry, path), path.at(-1)), expectationOf(issue))
}

/** What the library's sentences, which begin with the kind of mistake and end with what was received, expect. */
function expectationOf(issue: z.core.$ZodIssue | undefined): string {
  if (issue?.code === 'invalid_format' && issue.format === 'url') return 'a URL that begins with http:// or https://'
  const expected = issue?.message.replace(/^(?!expected).*?: /, '').replace(/,? (received|found) .*$/, '')
  return expected?.replace(/^expected /, '') ?? 'an account'
}

function valueAt(value: unknown, [key, ...rest]: string[]): unknown {
  if (key === undefined) return value
  return typeof value === 'object' && value !== null ? valueAt(Reflect.get(value, key), rest) : undefined
}

/** Fields whose value may be printed: none of them ever holds a secret. */
const PRINTABLE: ReadonlySet<string> = new Set(
  'name provider query batchSize requestsPerSecond timeout factor firstAfter maxInterval window events signatureFreshness pageSize maxWindow clockSlack'.split(
    ' ',
  ),
)

function describe(value: unknown, key = ''): string {
  if (value === undefined) return 'nothing'
  if (Array.isArray(value)) return 'a list'
  if (typeof value === 'object' && value !== null) return 'an object'
  if (typeof value === 'boolean' || value === null || PRINTABLE.has(key)) return JSON.stringify(value)
  return typeof value === 'string' ? `a text of ${value.length} characters` : 'a number'
}

/** Replaces every string value `env:NAME` by the variable of that name. */
function resolveEnvironment(env: Environment, where: string, value: unknown): unknown {
  if (typeof value === 'string' && value.startsWith('env:')) {
    const name = value.slice('env:'.length)
    const found = env[name]
    if (found === undefined) throw invalid(where, `"${value}"`, `the environment variable ${name} to be set`)
    return found
  }
  if (Array.isArray(value)) return value.map((item) => resolveEnvironment(env, where, item))
  if (typeof value !== 'object' || value === null) return value
  const entries = Object.entries(value).map(([key, item]) => [key, resolveEnvironment(env, `${where}.${key}`, item)])
  return Object.fromEntries(entries)
}

/**
 * The configuration: read from the environment, once, here and nowhere else. A mistake throws CONFIG_INVALID with a
 * sentence that names the variable, what was found and what is expected; secrets are never part of it.
 */
import { isIP } from 'node:net'
import ipaddr from 'ipaddr.js'
import { readAccounts } from './config/accounts.ts'
import { type Environment, invalid, withFiles } from './config/environment.ts'
import { checkLengths, KEY_VARIABLES, type Key, readKeys } from './config/keys.ts'
import { durationRule, parseDuration } from './core/duration.ts'
import type { Account } from './providers/account.ts'
import { hasCredentials, WEBHOOK_SECRET, WEBHOOK_SECRET_RULE } from './providers/account.ts'
import type { ProxySettings } from './proxy.ts'
import { readPostgresUrl } from './urls/postgres.ts'
import { whyForbidden } from './urls/public-address.ts'
import { readRedisUrl } from './urls/redis.ts'

export interface Config {
  host: string
  port: number
  /** A postgres:// URL; undefined starts the embedded database in `dataDir`. */
  databaseUrl: string | undefined
  /** Past a pooler, for LISTEN, migrations and queues in the database; undefined where `databaseUrl` serves for them. */
  databaseDirectUrl: string | undefined
  /** A redis://, rediss://, redis+cluster:// or postgres:// URL; undefined keeps the queues in the database. */
  queueUrl: string | undefined
  /** The beginning of the names of all keys in Redis. */
  queuePrefix: string
  /** How long a start waits for a database or Redis that does not answer. */
  startWithinMs: number
  dataDir: string
  /** Where a process without an API can be looked at; undefined for nowhere. */
  metricsPort: number | undefined
  accounts: Account[]
  /** The keys of API_KEYS, READ_KEYS and METRICS_KEYS; without any, everybody on this machine may do everything. */
  keys: Key[]
  publicUrl: string | undefined
  /** Addresses and networks of proxies before the API, which tell by whom they were asked. */
  trustedProxies: string[]
  callbackAllowPrivate: boolean
  /** Where the operator is told of alerts, and the secrets that this is signed with; undefined for the log only. */
  alertReceiver: { url: string; secrets: string[] } | undefined
  logLevel: string
  /** Whether spans are made, for an OpenTelemetry SDK that the operator loads. */
  tracing: boolean
  /** How long a claimed batch may take before its messages come due again. */
  leaseMs: number
  /** How long changes are kept for readers of the feed. */
  changesRetentionMs: number
  /** How long settled messages are kept after their last change. */
  messagesRetentionMs: number
  /** Through which proxy providers are asked and callbacks sent. */
  proxy: ProxySettings
}

/** Variables that may hold a secret: each can be given as NAME_FILE, the path of a file with the value. */
const SECRET = [
  'ACCOUNTS',
  ...KEY_VARIABLES,
  'DATABASE_URL',
  'DATABASE_DIRECT_URL',
  'QUEUE_URL',
  'ALERT_URL',
  'ALERT_SECRET',
  'HTTP_PROXY',
  'HTTPS_PROXY',
]

/** Reads `process.env`, or the environment given, over other defaults where there are. Empty variables count as unset. */
export function readConfig(environment: Environment = process.env, defaults: Environment = {}): Config {
  const set = Object.entries(environment).filter(([, value]) => value !== undefined && value !== '')
  const env: Environment = { ...defaults, ...withFiles(Object.fromEntries(set), SECRET) }
  const config: Config = {
    host: env.HOST ?? '127.0.0.1',
    port: readPort(env, 'PORT', '3000'),
    metricsPort: env.METRICS_PORT === undefined ? undefined : readPort(env, 'METRICS_PORT', ''),
    databaseUrl: readServerUrl(env, 'DATABASE_URL', POSTGRES),
    databaseDirectUrl: readServerUrl(env, 'DATABASE_DIRECT_URL', POSTGRES),
    queueUrl: readServerUrl(env, 'QUEUE_URL', [...REDIS, ...POSTGRES]),
    queuePrefix: readPrefix(env),
    startWithinMs: readDuration(env, 'START_WITHIN', '30s'),
    dataDir: env.DATA_DIR ?? '.lastword',
    accounts: readAccounts(env),
    keys: readKeys(env),
    publicUrl: readPublicUrl(env),
    trustedProxies: readTrustedProxies(env),
    callbackAllowPrivate: readBoolean(env, 'CALLBACK_ALLOW_PRIVATE', false),
    alertReceiver: readAlertReceiver(env),
    logLevel: readChoice(env, 'LOG_LEVEL', ['fatal', 'error', 'warn', 'info', 'debug', 'trace', 'silent'], 'info'),
    tracing: readTracing(env),
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
  const given = flags.apiKey ?? withFiles(env, ['LASTWORD_API_KEY']).LASTWORD_API_KEY
  const apiKey = given ?? readKeys(withFiles(env, KEY_VARIABLES)).find(({ grants }) => grants !== 'metrics')?.value
  if (apiKey !== undefined && !/^[\x21-\x7e]+$/.test(apiKey)) {
    const variable = flags.apiKey === undefined ? 'LASTWORD_API_KEY' : '--api-key'
    throw invalid(variable, 'a key that is empty or holds a space', 'a key of printable characters')
  }
  return { url, apiKey }
}

/** Where a process of this environment says whether it is ready: at its API, or, for a worker, at METRICS_PORT. */
export function readHealthUrls(environment: Environment = process.env): string[] {
  const env = Object.fromEntries(Object.entries(environment).filter(([, value]) => value !== ''))
  const ports = [readPort(env, 'PORT', '3000'), readPort(env, 'METRICS_PORT', '0')].filter((port) => port !== 0)
  if (ports.length === 0) throw invalid('PORT', '0', 'the port of the process')
  return ports.map((port) => urlOf(env, port))
}

function localUrl(env: Environment): string | undefined {
  const port = readPort(env, 'PORT', '3000')
  return port === 0 ? undefined : urlOf(env, port)
}

/** Addresses that mean every interface are called by the loopback one. */
function urlOf(env: Environment, port: number): string {
  const host = env.HOST ?? '127.0.0.1'
  const reachable = host === '0.0.0.0' ? '127.0.0.1' : host === '::' ? '::1' : host
  return `http://${isIP(reachable) === 6 ? `[${reachable}]` : reachable}:${port}`
}

/** True for hosts only this machine can reach. */
export function isLoopback(host: string): boolean {
  return host === 'localhost' || host === '::1' || (isIP(host) === 4 && host.startsWith('127.'))
}

function checkTogether(config: Config): void {
  const { host, keys, accounts, publicUrl, leaseMs, callbackAllowPrivate } = config
  if (config.databaseDirectUrl && !config.databaseUrl) {
    throw invalid('DATABASE_URL', 'nothing', 'the URL of the pooler that DATABASE_DIRECT_URL leads past')
  }
  if (!keys.some(({ grants }) => grants === 'change') && !isLoopback(host)) {
    throw invalid('API_KEYS', 'nothing', `at least one key, because HOST is ${host}; or set HOST to 127.0.0.1`)
  }
  if (!isLoopback(host)) checkLengths(keys, accounts, host)
  if (config.messagesRetentionMs < config.changesRetentionMs) {
    const found = `${config.messagesRetentionMs} ms, shorter than CHANGES_RETENTION (${config.changesRetentionMs} ms)`
    throw invalid('MESSAGES_RETENTION', found, 'at least as long, because a change is told with its message')
  }
  for (const account of accounts) {
    if (account.signingKey && !publicUrl) {
      const why = `the base URL that providers call, because webhook signatures of account "${account.name}" cover it`
      throw invalid('PUBLIC_URL', 'nothing', why)
    }
    const url = account.callback?.url
    if (url && !callbackAllowPrivate && whyForbidden(url)) {
      const isOpen = new URL(url).protocol !== 'https:'
      const [is, other] = isOpen ? ['is not https', 'an https URL'] : ['is at no public address', 'a public one']
      const why = `true, because the callback URL of account "${account.name}" ${is}; or ${other} there`
      throw invalid('CALLBACK_ALLOW_PRIVATE', 'false', why)
    }
    if (account.timeoutMs * 2 > leaseMs) {
      const expected = `at least twice the timeout of account "${account.name}" (${account.timeoutMs} ms)`
      throw invalid('LEASE', `${leaseMs} ms`, expected)
    }
  }
}

function readPort(env: Environment, variable: string, byDefault: string): number {
  const text = env[variable] ?? byDefault
  const port = Number(text)
  if (!/^\d+$/.test(text) || port > 65_535) throw invalid(variable, `"${text}"`, 'a port number from 0 to 65535')
  return port
}

/** By their addresses, not their number: a client that comes past them could tell any address it likes. */
function readTrustedProxies(env: Environment): string[] {
  const entries = (env.TRUSTED_PROXIES?.split(',') ?? []).map((entry) => entry.trim())
  const wrong = entries.find((entry) => !NETWORKS.has(entry) && !ipaddr.isValid(entry) && !ipaddr.isValidCIDR(entry))
  if (wrong === undefined) return entries
  const names = [...NETWORKS].join(', ')
  throw invalid(
    'TRUSTED_PROXIES',
    `"${wrong}"`,
    `addresses, networks like 10.0.0.0/8, or ${names}, with commas between them`,
  )
}

const NETWORKS: ReadonlySet<string> = new Set(['loopback', 'linklocal', 'uniquelocal'])

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

/** Without slashes at its end: paths are added to it, and to what signatures cover. */
function readPublicUrl(env: Environment): string | undefined {
  const url = readUrl(env, 'PUBLIC_URL', ['http:', 'https:'])?.replace(/\/+$/, '')
  if (url === undefined || !/[?#]/.test(url)) return url
  throw invalid('PUBLIC_URL', 'a URL with a ? or #', 'the base URL alone, which paths are added to')
}

const POSTGRES = ['postgres:', 'postgresql:']
const REDIS = ['redis:', 'rediss:', 'redis+cluster:', 'rediss+cluster:']

/** The URL of a database or of Redis, as given: with several hosts it is none by the rules of the web. */
function readServerUrl(env: Environment, variable: string, protocols: string[]): string | undefined {
  const text = env[variable]
  if (text === undefined) return undefined
  const protocol = /^[a-z+]+:(?=\/\/)/i.exec(text)?.[0].toLowerCase()
  if (protocol === undefined || !protocols.includes(protocol)) return readUrl(env, variable, protocols)
  if (POSTGRES.includes(protocol)) readPostgresUrl(variable, text)
  else readRedisUrl(variable, text)
  return text
}

/** A URL alone would be told what nobody can tell from a forgery, so it needs a secret. */
function readAlertReceiver(env: Environment): Config['alertReceiver'] {
  const url = readUrl(env, 'ALERT_URL', ['http:', 'https:'])
  const secrets = env.ALERT_SECRET?.split(',').map((secret) => secret.trim())
  const expected = `${WEBHOOK_SECRET_RULE}, or several with commas between them`
  if (url === undefined) {
    if (secrets === undefined) return undefined
    throw invalid('ALERT_URL', 'nothing', 'the URL that alerts are sent to, because ALERT_SECRET is set')
  }
  if (hasCredentials(url)) throw invalid('ALERT_URL', 'a user name or password', 'a URL without them')
  if (!secrets) throw invalid('ALERT_SECRET', 'nothing', `${expected}, because ALERT_URL is set`)
  if (!secrets.every((secret) => WEBHOOK_SECRET.test(secret))) throw invalid('ALERT_SECRET', 'another text', expected)
  return { url, secrets }
}

function readPrefix(env: Environment): string {
  const prefix = env.QUEUE_PREFIX ?? '{lastword}'
  if (/^[\w.{}-]{1,60}$/.test(prefix)) return prefix
  throw invalid('QUEUE_PREFIX', `"${prefix}"`, 'up to 60 letters, digits, dots, dashes and braces, like {lastword-b}')
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

/** By the variables that tell an OpenTelemetry SDK where traces go (https://opentelemetry.io/docs/specs/otel/configuration/). */
function readTracing(env: Environment): boolean {
  if (env.OTEL_SDK_DISABLED?.toLowerCase() === 'true' || env.OTEL_TRACES_EXPORTER === 'none') return false
  const destinations = ['OTEL_TRACES_EXPORTER', 'OTEL_EXPORTER_OTLP_ENDPOINT', 'OTEL_EXPORTER_OTLP_TRACES_ENDPOINT']
  return destinations.some((name) => env[name] !== undefined)
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
  if (!ms) throw invalid(variable, `"${text}"`, durationRule(text))
  return ms
}

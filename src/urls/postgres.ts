/**
 * One reading of a Postgres URL for both clients, postgres.js and pg, by the rules of libpq
 * (https://www.postgresql.org/docs/current/libpq-connect.html#LIBPQ-CONNSTRING), with what hosts and other libraries add.
 *
 *   postgres://user:password@first:5432,second:5433/database?sslmode=verify-full&sslrootcert=/etc/ca.pem
 *
 * Every key is in one table: understood, passed on to the server, ignored with a warning, or refused by its name.
 */

import { readFileSync } from 'node:fs'
import type { ConnectionOptions } from 'node:tls'
import { errorCodeOf } from '../core/error-code.ts'
import { LastwordError } from '../core/errors.ts'
import { type Invalid, unknownParameter } from './mistakes.ts'

export interface PostgresHost {
  /** A name, an address, or the folder of a Unix socket, which begins with a slash. */
  host: string
  port: number
}

export interface PostgresTarget {
  /** In the order in which they are tried. */
  hosts: [PostgresHost, ...PostgresHost[]]
  user: string | undefined
  password: string | undefined
  database: string | undefined
  /** `preferred` goes on without TLS where the server has none. */
  tls: 'off' | 'preferred' | 'required'
  tlsOptions: ConnectionOptions
  tlsDirect: boolean
  applicationName: string | undefined
  /** Settings for the server, by name. */
  parameters: Record<string, string>
  /** Further settings as command-line options of the server: `-c name=value`. */
  options: string | undefined
  /** Whether statements may be prepared; undefined where the URL leaves it open. */
  prepare: boolean | undefined
  connectTimeoutS: number | undefined
  /** A sentence for each thing that is not done. */
  warnings: string[]
}

type Values = ReadonlyMap<string, string>

const OURS = 'Lastword sets it itself'
const POOL = 'the size of the pool is set by Lastword'

/** Keys whose value is read here. */
const UNDERSTOOD = new Set(
  `host hostaddr port user password dbname sslmode ssl sslrootcert sslcert sslkey sslpassword sslnegotiation
  ssl_min_protocol_version ssl_max_protocol_version application_name fallback_application_name connect_timeout
  options prepare pgbouncer target_session_attrs uselibpqcompat`.split(/\s+/),
)

/** Settings of the server that a connection may begin with. */
const PASSED_ON = new Set(
  `search_path statement_timeout lock_timeout idle_in_transaction_session_timeout idle_session_timeout
  transaction_timeout role work_mem synchronous_commit tcp_keepalives_idle tcp_keepalives_interval
  tcp_keepalives_count`.split(/\s+/),
)

const IGNORED: Readonly<Record<string, string>> = {
  schema: 'the tables are in the schema "lastword"',
  currentSchema: 'the tables are in the schema "lastword"',
  connection_limit: POOL,
  pool_size: POOL,
  pool_timeout: POOL,
  pool_mode: POOL,
  max: POOL,
  min: POOL,
  idle_timeout: POOL,
  max_lifetime: POOL,
  socket_timeout: 'statement_timeout is passed on',
  statement_cache_size: 'prepare=false turns prepared statements off',
  prepared_statements: 'prepare=false turns prepared statements off',
  channel_binding: 'the connection is made without it',
  gssencmode: 'GSSAPI is not used',
  krbsrvname: 'GSSAPI is not used',
  keepalives: OURS,
  keepalives_idle: OURS,
  keepalives_interval: OURS,
  keepalives_count: OURS,
  tcp_user_timeout: OURS,
  timezone: OURS,
  datestyle: OURS,
  client_encoding: OURS,
  extra_float_digits: OURS,
  load_balance_hosts: 'hosts are tried in their order',
  sslcompression: 'TLS is not compressed',
  sslsni: 'the name of the host is always told',
  sslaccept: 'sslmode says it',
  sslidentity: 'sslcert and sslkey say it',
  supa: 'it is a mark of the host',
  workaround: 'it is a mark of the host',
}

const REFUSED: Readonly<Record<string, string>> = {
  sslcrl: 'revocation lists are not checked',
  sslcrldir: 'revocation lists are not checked',
  require_auth: 'the way of signing in is not checked',
  requirepeer: 'the owner of the socket is not checked',
  replication: 'Lastword runs statements',
  service: 'service files are not read',
  servicefile: 'service files are not read',
  passfile: 'password files are not read',
}

const IGNORED_KEYS = new Map(Object.entries(IGNORED).map(([key, why]) => [key.toLowerCase(), why]))

/** Reads a URL. Throws CONFIG_INVALID, with the name of the variable it stands in and never with a password. */
export function readPostgresUrl(variable: string, url: string): PostgresTarget {
  const invalid = (found: string, expected: string, cause?: unknown) =>
    new LastwordError('CONFIG_INVALID', `${variable}: found ${found}, expected ${expected}.`, { cause })
  const parts = /^postgres(?:ql)?:\/\/(?:([^?]*)@)?([^/?]*)(?:\/([^?]*))?(?:\?(.*))?$/s.exec(url)
  if (!parts) throw invalid('text that is not a URL', 'postgres://user:password@host:port/database')
  const [, userInfo, authority = '', path, query = ''] = parts
  const values: Values = new Map(new URLSearchParams(query.replaceAll('+', '%2B')))
  const lowered = new Map([...values].map(([key, value]) => [key.toLowerCase(), value]))
  const warnings = checkKeys(variable, [...values.keys()], invalid)

  const [user, ...password] = userInfo === undefined ? [] : userInfo.split(':')
  const decode = (text: string) => {
    try {
      return decodeURIComponent(text)
    } catch {
      return text
    }
  }
  const seconds = lowered.get('connect_timeout')
  if (seconds !== undefined && !/^\d+$/.test(seconds)) {
    throw invalid(`connect_timeout=${seconds}`, 'a number of seconds there')
  }
  const attributes = lowered.get('target_session_attrs')
  if (attributes !== undefined && !['any', 'read-write', 'primary'].includes(attributes)) {
    throw invalid(`target_session_attrs=${attributes}`, 'read-write, because Lastword writes')
  }
  return {
    hosts: readHosts(decode(authority), lowered, invalid),
    user: lowered.get('user') ?? (user ? decode(user) : undefined),
    password: lowered.get('password') ?? (password.length > 0 ? decode(password.join(':')) : undefined),
    database: lowered.get('dbname') ?? (path ? decode(path) : undefined),
    ...readTls(lowered, invalid),
    applicationName: lowered.get('application_name') ?? lowered.get('fallback_application_name'),
    parameters: Object.fromEntries([...lowered].filter(([key]) => PASSED_ON.has(key))),
    options: lowered.get('options'),
    prepare: readPrepare(lowered),
    connectTimeoutS: seconds === undefined ? undefined : Number(seconds) || undefined,
    warnings,
  }
}

function checkKeys(variable: string, keys: readonly string[], invalid: Invalid): string[] {
  return keys.flatMap((key) => {
    const name = key.toLowerCase()
    if (UNDERSTOOD.has(name) || PASSED_ON.has(name)) return []
    const why = IGNORED_KEYS.get(name)
    if (why !== undefined) return [`${variable}: "${key}" is ignored: ${why}.`]
    const refused = REFUSED[name]
    if (refused !== undefined) throw invalid(`the parameter "${key}"`, `a URL without it, because ${refused}`)
    throw unknownParameter(key, invalid)
  })
}

const DEFAULT_PORT = 5432

/** `host=` and `port=` may stand in the query, too; several hosts may share one port. */
function readHosts(authority: string, values: Values, invalid: Invalid): PostgresTarget['hosts'] {
  const listed = (values.get('host') ?? values.get('hostaddr'))?.split(',')
  const ports = values.get('port')?.split(',') ?? []
  const entries = listed ?? authority.split(',')
  const [first, ...rest] = entries.map((entry, index): PostgresHost => {
    const [, bracketed, plain, written] =
      /^(?:\[([^\]]+)\]|(\/.*|[^:]*))(?::(\d*))?$/.exec(entry) ?? (listed ? ['', undefined, entry, undefined] : [])
    const host = bracketed ?? plain
    if (host === undefined) throw invalid('a host that is none', 'host, host:port or [address]:port')
    const port = Number(written || ports[index] || ports[0] || DEFAULT_PORT)
    if (!Number.isInteger(port) || port < 1 || port > 65_535)
      throw invalid('a port that is none', 'one from 1 to 65535')
    return { host: host || 'localhost', port }
  })
  return [first ?? { host: 'localhost', port: DEFAULT_PORT }, ...rest]
}

/** Poolers that give each transaction another connection know no prepared statements. */
function readPrepare(values: Values): boolean | undefined {
  const text = values.get('prepare') ?? (values.get('pgbouncer') === 'true' ? 'false' : undefined)
  return text === undefined ? undefined : !/^(false|0|no|off)$/i.test(text)
}

/** By what `sslmode` promises: `require` encrypts, and proves the server only where an authority is named. */
function readTls(values: Values, invalid: Invalid): Pick<PostgresTarget, 'tls' | 'tlsOptions' | 'tlsDirect'> {
  const root = values.get('sslrootcert')
  const mode =
    readMode(values, invalid) ?? (root === undefined ? 'disable' : root === 'system' ? 'verify-full' : 'require')
  const read = (key: string) => {
    const path = values.get(key)
    return path === undefined || path === 'system' ? undefined : readPem(key, path, invalid)
  }
  if (mode === 'disable') return { tls: 'off', tlsOptions: {}, tlsDirect: false }
  const ca = read('sslrootcert')
  const cert = read('sslcert')
  const key = read('sslkey')
  const passphrase = values.get('sslpassword')
  const isProved = mode === 'verify-full' || mode === 'verify-ca' || (mode === 'require' && root !== undefined)
  const isAnyName = isProved && mode !== 'verify-full'
  const minVersion = values.get('ssl_min_protocol_version')
  const maxVersion = values.get('ssl_max_protocol_version')
  const tlsOptions = {
    rejectUnauthorized: isProved,
    ...(isAnyName ? { checkServerIdentity: () => undefined } : {}),
    ...(ca === undefined ? {} : { ca }),
    ...(cert === undefined ? {} : { cert }),
    ...(key === undefined ? {} : { key }),
    ...(passphrase === undefined ? {} : { passphrase }),
    ...(minVersion === undefined ? {} : { minVersion }),
    ...(maxVersion === undefined ? {} : { maxVersion }),
  } as ConnectionOptions
  const isPreferred = mode === 'prefer' || mode === 'allow'
  return {
    tls: isPreferred ? 'preferred' : 'required',
    tlsOptions,
    tlsDirect: values.get('sslnegotiation') === 'direct',
  }
}

/** The values of `sslmode`, and of `ssl`, which other clients take instead. */
const MODES: ReadonlyMap<string, string> = new Map([
  ...['disable', 'allow', 'prefer', 'require', 'no-verify', 'verify-ca', 'verify-full'].map(
    (mode) => [mode, mode] as const,
  ),
  ...['true', 'on', '1'].map((value) => [value, 'verify-full'] as const),
  ...['false', 'off', '0'].map((value) => [value, 'disable'] as const),
])

function readMode(values: Values, invalid: Invalid): string | undefined {
  const text = values.get('sslmode') ?? values.get('ssl')
  if (text === undefined) return undefined
  const mode = MODES.get(text.toLowerCase())
  if (mode === undefined) throw invalid(`sslmode=${text}`, `one of ${[...MODES.keys()].join(', ')}`)
  return mode
}

function readPem(key: string, path: string, invalid: Invalid): string {
  try {
    return readFileSync(path, 'utf8')
  } catch (error) {
    const code = errorCodeOf(error) ?? 'an error'
    throw invalid(`${code} when reading ${key}=${path}`, 'the path of a readable file in PEM', error)
  }
}

/**
 * The reading of a Redis URL: `redis://` or, with TLS, `rediss://`; `redis+cluster://` and `rediss+cluster://` with any of
 * the nodes; certificates by the names that Postgres and redis-py use.
 *
 *   rediss://user:password@host:6379/2?sslrootcert=/etc/ca.pem
 *   redis+cluster://first:6379,second:6379
 */

import { readFileSync } from 'node:fs'
import type { ConnectionOptions } from 'node:tls'
import { errorCodeOf } from '../core/error-code.ts'
import { LastwordError } from '../core/errors.ts'
import { type Invalid, unknownParameter } from './mistakes.ts'

export interface RedisTarget {
  nodes: { host: string; port: number }[]
  isCluster: boolean
  username: string | undefined
  password: string | undefined
  database: number
  tls: ConnectionOptions | undefined
}

const DEFAULT_PORT = 6379

/** The meaning of each key of the query. */
const KEYS: Readonly<Record<string, 'ca' | 'cert' | 'key' | 'proof' | 'database' | 'ignored'>> = {
  sslrootcert: 'ca',
  ssl_ca_certs: 'ca',
  cacert: 'ca',
  ca: 'ca',
  sslcert: 'cert',
  ssl_certfile: 'cert',
  cert: 'cert',
  sslkey: 'key',
  ssl_keyfile: 'key',
  key: 'key',
  sslmode: 'proof',
  ssl_cert_reqs: 'proof',
  rejectunauthorized: 'proof',
  db: 'database',
  family: 'ignored',
  protocol: 'ignored',
  client_name: 'ignored',
  decode_responses: 'ignored',
  socket_timeout: 'ignored',
  socket_connect_timeout: 'ignored',
  max_connections: 'ignored',
}

/** Values by which a certificate need not be proved. */
const UNPROVED = new Set(['none', 'no-verify', 'require', 'prefer', 'allow', 'false', '0', 'cert_none'])

/** Reads a URL. Throws CONFIG_INVALID, with the name of the variable it stands in and never with a password. */
export function readRedisUrl(variable: string, url: string): RedisTarget {
  const invalid = (found: string, expected: string, cause?: unknown) =>
    new LastwordError('CONFIG_INVALID', `${variable}: found ${found}, expected ${expected}.`, { cause })
  const parts = /^(rediss?)(\+cluster)?:\/\/(?:([^?]*)@)?([^/?]*)(?:\/([^?]*))?(?:\?(.*))?$/is.exec(url)
  if (!parts) throw invalid('text that is not a URL', 'redis://user:password@host:port')
  const [, scheme = '', cluster, userInfo, authority = '', path, query = ''] = parts
  const found: Partial<Record<string, string>> = {}
  for (const [key, value] of new URLSearchParams(query.replaceAll('+', '%2B'))) {
    const meaning = KEYS[key.toLowerCase()]
    if (meaning === undefined) throw unknownParameter(key, invalid)
    found[meaning] = value
  }
  const [username, ...password] = userInfo === undefined ? [] : userInfo.split(':')
  const database = Number(path || found.database || 0)
  if (!Number.isInteger(database) || database < 0) throw invalid('a database that is no number', 'one like /0')
  if (cluster && database !== 0) throw invalid(`database ${database}`, 'none, because a cluster has only one')
  return {
    nodes: authority.split(',').map((node) => readNode(node, invalid)),
    isCluster: cluster !== undefined,
    username: username ? decode(username) : undefined,
    password: password.length > 0 ? decode(password.join(':')) : undefined,
    database,
    tls: scheme.toLowerCase() === 'rediss' ? readTls(found, invalid) : undefined,
  }
}

function readNode(text: string, invalid: Invalid): { host: string; port: number } {
  const [, bracketed, plain = '', written] = /^(?:\[([^\]]+)\]|([^:]*))(?::(\d*))?$/.exec(text) ?? []
  const port = Number(written || DEFAULT_PORT)
  if (!(text === '' || bracketed || plain) || port < 1 || port > 65_535) {
    throw invalid('a host that is none', 'host, host:port or [address]:port')
  }
  return { host: bracketed ?? (plain || '127.0.0.1'), port }
}

function readTls({ ca, cert, key, proof }: Partial<Record<string, string>>, invalid: Invalid): ConnectionOptions {
  const read = (name: string, path: string) => {
    try {
      return { [name]: readFileSync(path, 'utf8') }
    } catch (error) {
      const code = errorCodeOf(error) ?? 'an error'
      throw invalid(`${code} when reading ${path}`, 'the path of a readable file in PEM', error)
    }
  }
  return {
    ...(ca === undefined ? {} : read('ca', ca)),
    ...(cert === undefined ? {} : read('cert', cert)),
    ...(key === undefined ? {} : read('key', key)),
    ...(proof !== undefined && UNPROVED.has(proof.toLowerCase()) ? { rejectUnauthorized: false } : {}),
    ...(proof === 'verify-ca' ? { checkServerIdentity: () => undefined } : {}),
  }
}

function decode(text: string): string {
  try {
    return decodeURIComponent(text)
  } catch {
    return text
  }
}

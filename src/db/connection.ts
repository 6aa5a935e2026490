/**
 * The connection to Postgres: a pool of postgres.js with drizzle on top, and one connection that listens.
 *
 * A pooler (PgBouncer and its like) that gives each transaction another connection is found by itself: the number of the
 * server's process is not the one the connection was told. Nothing is prepared then, and nobody listens unless there is a
 * direct URL, too.
 */

import { connect as connectSocket, type Socket } from 'node:net'
import { Duplex } from 'node:stream'
import { drizzle, type PostgresJsDatabase } from 'drizzle-orm/postgres-js'
import postgres from 'postgres'
import { LastwordError } from '../core/errors.ts'
import { type PostgresHost, type PostgresTarget, readPostgresUrl } from '../urls/postgres.ts'
import { codeOf, type Db, describeDatabaseError } from './client.ts'
import { createPool, type PoolUse } from './pool.ts'
import * as schema from './schema.ts'

export interface Database {
  db: Db
  /** Whether notifications come: without, one has to look. */
  listens: boolean
  /** Listens to a channel of NOTIFY on a connection of its own, also after that was lost. Returns how to stop. */
  listen(channel: string, onNotify: () => void): Promise<() => Promise<void>>
  /** Whether it takes writes at present. */
  takesWrites(): Promise<boolean>
  poolUse(): PoolUse
  /** Ends all connections; queries under way get `seconds` to finish. */
  close(seconds?: number): Promise<void>
}

export interface DatabaseOptions {
  maxConnections?: number
  /** Past a pooler, for LISTEN. */
  directUrl?: string | undefined
  /** The names of the variables that the URLs stand in. */
  variable?: string
  directVariable?: string
}

const CONNECT_TIMEOUT_S = 5
/** Reconnecting stays quick, so that a webhook learns within its sender's patience whether it can be stored. */
const RECONNECT_AFTER_S = 0.5
const OLDEST_POSTGRES = 14
const FAILS_AFTER_MS = 5

/** Opens a pool. Throws UNAVAILABLE when the database does not answer or takes no writes, CONFIG_INVALID when it never can serve. */
export async function openDatabase(url: string, options: DatabaseOptions = {}): Promise<Database> {
  const { maxConnections = 10, directUrl, variable = 'DATABASE_URL', directVariable = 'DATABASE_DIRECT_URL' } = options
  const target = readPostgresUrl(variable, url)
  const { isPooled } = await findServer(target, variable)
  const pool = createPool(
    () => createClient(target, { max: maxConnections, isPooled }),
    () => passOver(target),
  )
  const db: PostgresJsDatabase<typeof schema> = drizzle(pool.client, { schema })
  const direct = directUrl === undefined ? target : readPostgresUrl(directVariable, directUrl)
  const listens = directUrl !== undefined || !isPooled
  const listener = listens ? createClient(direct, { max: 1, isPooled: true }) : undefined
  return {
    db,
    listens,
    async listen(channel, onNotify) {
      if (!listener) return async () => {}
      try {
        const { unlisten } = await listener.listen(channel, onNotify, onNotify)
        return unlisten
      } catch (error) {
        throw unavailable(directUrl === undefined ? variable : directVariable, direct, error)
      }
    },
    takesWrites: pool.takesWrites,
    poolUse() {
      const held = pool.countHeld()
      const used = Math.min(held, maxConnections)
      return { used, most: maxConnections, waiting: held - used }
    },
    async close(seconds = 5) {
      await Promise.all([pool.client, listener].map((client) => client?.end({ timeout: seconds })))
    },
  }
}

interface ClientOptions {
  max: number
  /** Whether a pooler may stand in between: it lets sessions begin with few settings, and prepare nothing. */
  isPooled: boolean
  settings?: Readonly<Record<string, string>>
}

/** By these, sessions read and write in one way, whatever the database and the role prefer. Poolers keep them apart. */
export const SESSION = { DateStyle: 'ISO', TimeZone: 'UTC', client_encoding: 'UTF8', standard_conforming_strings: 'on' }
/** By these, statements do what they were written for. */
export const DIRECT_SESSION = { default_transaction_isolation: 'read committed', array_nulls: 'on' }

/** A pool of sessions with the settings that we need. */
export function createClient(target: PostgresTarget, { max, isPooled, settings }: ClientOptions): postgres.Sql {
  const { hosts, tls, tlsOptions, connectTimeoutS = CONNECT_TIMEOUT_S } = target
  const [{ host, port }] = hosts
  const client = postgres({
    host,
    port,
    // postgres.js itself goes on without end when none of several hosts can be reached.
    socket: () => connectToAny(hosts, connectTimeoutS * 1000),
    ...(target.user === undefined ? {} : { user: target.user }),
    ...(target.password === undefined ? {} : { password: target.password }),
    ...(target.database === undefined ? {} : { database: target.database }),
    ssl: tls === 'off' ? false : tls === 'preferred' ? 'prefer' : tlsOptions,
    sslnegotiation: target.tlsDirect ? 'direct' : null,
    prepare: target.prepare ?? !isPooled,
    max,
    connect_timeout: connectTimeoutS,
    backoff: () => RECONNECT_AFTER_S,
    // A connection that is lost while it asks for types would bring the process down.
    fetch_types: false,
    target_session_attrs: undefined,
    connection: {
      application_name: target.applicationName ?? 'lastword',
      ...SESSION,
      ...(isPooled ? {} : { ...DIRECT_SESSION, ...settings }),
      ...target.parameters,
      ...(target.options === undefined ? {} : { options: target.options }),
    },
    onnotice: () => {},
  } as postgres.Options<Record<string, never>>)
  // drizzle reads times and JSON itself; every client must leave them to it.
  drizzle(client)
  return client
}

/**
 * A socket to the first of the hosts that takes a connection. Where none does, one that fails after what is written first:
 * postgres.js would never use a connection again whose socket was not to be had, or closed with something left to write.
 */
async function connectToAny(hosts: PostgresTarget['hosts'], withinMs: number): Promise<Duplex> {
  const failures: Error[] = []
  for (const host of hosts) {
    try {
      return await connectTo(host, withinMs)
    } catch (error) {
      failures.push(error instanceof Error ? error : new Error(String(error)))
    }
  }
  const [first] = failures
  const failure = failures.length > 1 ? Object.assign(new AggregateError(failures), { code: codeOf(first) }) : first
  const socket = new Duplex({ read() {}, write: (_chunk, _encoding, done) => done() })
  setTimeout(() => socket.destroy(failure), FAILS_AFTER_MS)
  return socket
}

function connectTo({ host, port }: PostgresHost, withinMs: number): Promise<Socket> {
  return new Promise((resolve, reject) => {
    const socket = host.startsWith('/') ? connectSocket(`${host}/.s.PGSQL.${port}`) : connectSocket(port, host)
    const fail = (error: Error) => {
      clearTimeout(timer)
      socket.destroy()
      reject(error)
    }
    const timedOut = Object.assign(new Error(`no connection within ${withinMs} ms`), { code: 'CONNECT_TIMEOUT' })
    const timer = setTimeout(fail, withinMs, timedOut)
    socket.once('error', fail)
    socket.once('connect', () => {
      clearTimeout(timer)
      socket.off('error', fail)
      // By it, postgres.js names the server it wants in TLS.
      resolve(Object.assign(socket, { host, port }))
    })
  })
}

interface FoundServer {
  /** Between us and the server stands a pooler. */
  isPooled: boolean
}

/** Looks at what answers, host by host until one takes writes. */
export async function findServer(target: PostgresTarget, variable: string): Promise<FoundServer> {
  for (let left = target.hosts.length; ; left--) {
    const client = createClient(target, { max: 1, isPooled: true })
    try {
      const rows = await client.unsafe(`
        SELECT pg_backend_pid() AS pid, current_setting('server_version_num')::int / 10000 AS version,
          current_setting('server_encoding') AS encoding, current_setting('transaction_read_only') = 'on' AS is_read_only`)
      const [found] = rows
      if (found?.version < OLDEST_POSTGRES) {
        throw unusable(variable, target, `is Postgres ${found?.version}`, `use Postgres ${OLDEST_POSTGRES} or newer`)
      }
      if (found?.encoding !== 'UTF8') {
        const remedy = "use a database that takes every letter: CREATE DATABASE … ENCODING 'UTF8' TEMPLATE template0"
        throw unusable(variable, target, `has a database in ${found?.encoding}`, remedy)
      }
      // The numbers are the same unless somebody in between made one up.
      if (!found?.is_read_only) return { isPooled: rows.state.pid !== found?.pid }
    } catch (error) {
      throw error instanceof LastwordError ? error : unavailable(variable, target, error)
    } finally {
      await client.end({ timeout: 0 })
    }
    if (left === 1) throw readOnly(variable, target)
    passOver(target)
  }
}

/** Has the next host tried first from now on, unless another than `failed` is the first by now. */
export function passOver({ hosts }: PostgresTarget, failed: PostgresHost = hosts[0]): void {
  const [first, ...others] = hosts
  if (first === failed) hosts.splice(0, hosts.length, ...others, first)
}

export const INSUFFICIENT_PRIVILEGE = '42501'

/** Where a URL leads, without its password. */
function placeOf({ hosts }: PostgresTarget): string {
  return hosts.map(({ host, port }) => `${host.includes(':') ? `[${host}]` : host}:${port}`).join(', ')
}

export function readOnly(variable: string, target: PostgresTarget): LastwordError {
  const found = `${placeOf(target)} takes no writes (a standby, or read-only)`
  const extra = { summary: 'takes no writes' }
  return new LastwordError('UNAVAILABLE', `${variable}: ${found}; name the primary there.`, { extra })
}

function unusable(variable: string, target: PostgresTarget, found: string, remedy: string): LastwordError {
  return new LastwordError('UNUSABLE', `${variable}: ${placeOf(target)} ${found}; ${remedy}.`)
}

/** The sentence for an error of a first connection: waiting helps against some of them only. */
export function unavailable(variable: string, target: PostgresTarget, error: unknown): LastwordError {
  if (error instanceof LastwordError) return error
  const code = codeOf(error) ?? ''
  const said = describeDatabaseError(error)
  const parameter = /parameter:? "?([\w.]+)"?/.exec(said)?.[1]
  if (code === '28P01' || code === '28000') {
    return unusable(variable, target, `refuses the user (${said})`, `correct the user and the password in ${variable}`)
  }
  if (code === '3D000')
    return unusable(variable, target, `lacks the database (${said})`, 'create it, or correct its name')
  if (code === INSUFFICIENT_PRIVILEGE) {
    const remedy = 'let it use the schemas lastword and bullmq, their tables and their sequences'
    return unusable(variable, target, `does not let the role do that (${said})`, remedy)
  }
  if (/unsupported startup parameter/.test(said)) {
    const found = `is a pooler that refuses the setting "${parameter}"`
    const remedy = `set DATABASE_DIRECT_URL to the address past it, or have the pooler pass over "${parameter}"`
    return unusable(variable, target, found, remedy)
  }
  if (code === '42704') return unusable(variable, target, `refuses a setting (${said})`, `take it out of ${variable}`)
  if (CERTIFICATE.test(code)) {
    const remedy = 'name the authority by sslrootcert=/path/ca.pem, or the host by the name that the certificate has'
    return unusable(variable, target, `shows a certificate that proves nothing here (${said})`, remedy)
  }
  const remedy = `start Postgres there, or correct ${variable}, or unset it to use the embedded database`
  return new LastwordError('UNAVAILABLE', `${variable}: ${placeOf(target)} does not answer (${said}); ${remedy}.`)
}

const CERTIFICATE = /SELF_SIGNED|UNABLE_TO_(GET|VERIFY)|CERT_|ERR_TLS_CERT/

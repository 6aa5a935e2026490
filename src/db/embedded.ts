/**
 * The embedded Postgres, for installations without a DATABASE_URL: a real server, with its data in `DATA_DIR/postgres`.
 *
 *   const embedded = await openEmbedded('.lastword')
 *   const database = await openDatabase(embedded.url)
 *   await embedded.close()
 *
 * The server is a daemon of its own that all processes on one DATA_DIR share. Each holds a connection with a shared
 * advisory lock; one that leaves and then gets the exclusive lock was the last, and stops the server. Connections die
 * with their process, so this holds after `kill -9` too: the server then lives on, and the next start joins it.
 *
 * Limits: one machine; containers must not share a DATA_DIR, because none sees the processes of the other. A server that
 * dies is not started again until a process opens it. `embedded-programs.ts` has the limits of platforms and of root.
 */

import { randomBytes } from 'node:crypto'
import {
  chmod,
  chown,
  mkdir,
  mkdtemp,
  open,
  readFile,
  realpath,
  rename,
  rm,
  stat,
  statfs,
  writeFile,
} from 'node:fs/promises'
import { createServer } from 'node:net'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import postgres from 'postgres'
import { errorCodeOf } from '../core/error-code.ts'
import { LastwordError } from '../core/errors.ts'
import { findPrograms, isThere, type Programs, readIfThere, run } from './embedded-programs.ts'

export interface EmbeddedPostgres {
  /** A complete postgres:// URL, password included. */
  url: string
  /** Lets go of the server, and stops it when nobody else uses it. */
  close(): Promise<void>
}

interface Server {
  pid: number
  port: number
}

interface Cluster {
  pgCtl: Programs['pgCtl']
  data: string
  log: string
  password: string
}

/** The name of the database and of its superuser. */
const NAME = 'lastword'
const START_TIMEOUT_S = 120
const STOP_TIMEOUT_S = 60
const RETRY_MS = 50
/** Any number will do: nobody else takes advisory locks in the database `postgres` of this server. */
const USERS_LOCK = 1
const DONE_BY_OTHERS =
  /Address already in use|lock file "postmaster.pid"|shared memory block .* still in use|received .* shutdown request/
/** No statements and no details go to the log: they hold phone numbers. */
const SETTINGS =
  '-c listen_addresses=127.0.0.1 -c unix_socket_directories= -c max_connections=200 -c log_checkpoints=off ' +
  '-c log_min_error_statement=panic -c log_error_verbosity=terse'

/** The room on the disk of an embedded database. */
export async function freeDiskBytes(dataDir: string): Promise<number> {
  const { bavail, bsize } = await statfs(dataDir)
  return bavail * bsize
}

/** Joins the server on `dataDir`, or starts it, or creates it first. Throws CONFIG_INVALID or UNAVAILABLE. */
export async function openEmbedded(dataDir: string): Promise<EmbeddedPostgres> {
  const cluster = await openCluster(dataDir)
  const deadline = Date.now() + START_TIMEOUT_S * 1000
  while (Date.now() < deadline) {
    const server = await findRunningServer(cluster)
    const joined = server ? await joinServer(cluster, server) : await startServer(cluster)
    if (joined) return joined
    await sleep(RETRY_MS)
  }
  throw unavailable(`did not get ready within ${START_TIMEOUT_S} seconds`, `see ${cluster.log}`)
}

async function openCluster(dataDir: string): Promise<Cluster> {
  try {
    await mkdir(dataDir, { recursive: true })
    const home = join(await realpath(dataDir), 'postgres')
    const programs = await findPrograms(home)
    const data = join(home, 'data')
    if (!(await isThere(join(data, 'PG_VERSION')))) await createCluster(home, programs)
    await closeToOthers(data)
    const password = await readFile(join(home, 'password'), 'utf8')
    return { pgCtl: programs.pgCtl, data, log: join(home, 'server.log'), password }
  } catch (error) {
    if (!errorCodeOf(error)?.startsWith('E')) throw error
    const found = `${errorCodeOf(error)} at "${dataDir}"`
    const expected = 'a folder that belongs to the user who starts Lastword'
    throw new LastwordError('CONFIG_INVALID', `DATA_DIR: found ${found}, expected ${expected}.`, { cause: error })
  }
}

/** Volumes are opened to a group by those who mount them (Kubernetes: fsGroup); Postgres does not start on such a folder. */
async function closeToOthers(data: string): Promise<void> {
  const { mode } = await stat(data)
  if ((mode & 0o7027) !== 0 && process.platform !== 'win32') await chmod(data, 0o700)
}

/** Built aside and moved into place whole: of two processes that start at once, the slower one throws its own away. */
async function createCluster(home: string, { initdb, owner }: Programs): Promise<void> {
  const draft = await mkdtemp(`${home}.new-`)
  try {
    const password = join(draft, 'password')
    await writeFile(password, randomBytes(24).toString('base64url'), { mode: 0o600 })
    if (owner) for (const path of [draft, password]) await chown(path, owner.uid, owner.gid)
    const user = ['--auth=scram-sha-256', `--username=${NAME}`, `--pwfile=${password}`]
    const { ok, output } = await initdb('-D', join(draft, 'data'), '--encoding=UTF8', '--locale=C', ...user)
    if (!ok) throw unavailable('could not create its data directory', output)
    await rename(draft, home)
  } catch (error) {
    if (!(await isThere(join(home, 'data', 'PG_VERSION')))) throw error
  } finally {
    await rm(draft, { recursive: true, force: true })
  }
}

/** The server on this directory; undefined when none runs, whatever postmaster.pid says. */
async function findRunningServer({ data }: Cluster): Promise<Server | undefined> {
  const file = join(data, 'postmaster.pid')
  const text = await readIfThere(file)
  if (text === undefined) return undefined
  const [pid, , , port] = text.split('\n').map(Number)
  if (pid && port && (await isServerOf(data, pid))) return { pid, port }
  // Postgres takes any program of its user with the old number for its server, and would never start again. Should
  // another have started just now, its shared memory, which is found by the directory, still keeps a second one out.
  await sleep(RETRY_MS)
  if ((await readIfThere(file)) === text) await rm(file, { force: true })
  return undefined
}

async function isServerOf(data: string, pid: number): Promise<boolean> {
  try {
    process.kill(pid, 0)
  } catch (error) {
    if (errorCodeOf(error) !== 'EPERM') return false
  }
  if (process.platform === 'win32') return true
  const fromProc = (await readIfThere(`/proc/${pid}/cmdline`))?.replaceAll('\0', ' ')
  const commandLine = fromProc ?? (await run('ps', ['-ww', '-o', 'args=', '-p', String(pid)])).output
  return `${commandLine.trim()} `.includes(` -D ${data} `)
}

/** Starts the server on a free port. Others taking the port, being first or stopping it are no errors: look again. */
async function startServer({ pgCtl, data, log }: Cluster): Promise<undefined> {
  const logged = await stat(log).catch(() => ({ size: 0 }))
  const options = `-p ${await findFreePort()} ${SETTINGS}`
  const { ok, output } = await pgCtl('start', '-w', '-t', String(START_TIMEOUT_S), '-D', data, '-l', log, '-o', options)
  if (ok) return
  const said = await readFrom(log, logged.size)
  if (DONE_BY_OTHERS.test(said)) return
  throw unavailable('did not start', `${output.trim()}\n${said.trim()}`)
}

/** Becomes a user of the server; undefined when it is starting, stopping or gone, so that one has to look again. */
async function joinServer(cluster: Cluster, server: Server): Promise<EmbeddedPostgres | undefined> {
  let state: 'joining' | 'joined' | 'rejoining' | 'left' = 'joining'
  const client = postgres({
    host: '127.0.0.1',
    port: server.port,
    database: 'postgres',
    username: NAME,
    password: cluster.password,
    max: 1,
    max_lifetime: null,
    connect_timeout: 5,
    backoff: () => RETRY_MS / 1000,
    fetch_types: false,
    connection: { application_name: 'lastword embedded' },
    onnotice: () => {},
    onclose: () => void rejoin(),
  })
  const lock = () => client`SELECT pg_advisory_lock_shared(${USERS_LOCK})`

  /** When one backend crashes, Postgres ends the connections of all, and their locks with them. */
  async function rejoin(): Promise<void> {
    if (state !== 'joined') return
    state = 'rejoining'
    while (state === 'rejoining') {
      await sleep(RETRY_MS, undefined, { ref: false })
      const isLocked = await lock().catch(() => undefined)
      if (isLocked && state === 'rejoining') state = 'joined'
    }
  }

  try {
    await createDatabase(client)
    await lock()
    state = 'joined'
  } catch (error) {
    await client.end({ timeout: 0 })
    if (isPassing(error)) return undefined
    throw unavailable('cannot be used', error instanceof Error ? error.message : String(error), error)
  }
  return {
    url: `postgres://${NAME}:${cluster.password}@127.0.0.1:${server.port}/${NAME}`,
    async close() {
      if (state === 'left') return
      state = 'left'
      try {
        await leaveServer(cluster, server, client)
      } finally {
        await client.end({ timeout: 0 })
      }
    },
  }
}

async function createDatabase(client: postgres.Sql): Promise<void> {
  const found = await client`SELECT 1 FROM pg_database WHERE datname = ${NAME}`
  if (found.length > 0) return
  await client.unsafe(`CREATE DATABASE ${NAME}`).catch((error: unknown) => {
    const isThereNow = ['42P04', '23505'].includes(errorCodeOf(error) ?? '')
    if (!isThereNow) throw error
  })
}

/** The exclusive lock is held until the server is down, so that who comes in between waits, and starts it again. */
async function leaveServer({ pgCtl, data }: Cluster, { pid }: Server, client: postgres.Sql): Promise<void> {
  try {
    await client`SELECT pg_advisory_unlock_shared(${USERS_LOCK})`
    const [row] = await client`SELECT pg_try_advisory_lock(${USERS_LOCK}) AS last`
    if (!row?.last) return
  } catch (error) {
    if (isPassing(error)) return
    throw error
  }
  // Not `pg_ctl stop`: it would wait for the next server too, if somebody starts one at once.
  const { output } = await pgCtl('kill', 'INT', String(pid))
  const deadline = Date.now() + STOP_TIMEOUT_S * 1000
  while (await isServerOf(data, pid)) {
    if (Date.now() > deadline) throw unavailable(`did not stop within ${STOP_TIMEOUT_S} seconds`, output)
    await sleep(RETRY_MS)
  }
}

/** The server is not there, not ready, going down, or full. */
function isPassing(error: unknown): boolean {
  return /^(ECONN|EPIPE|CONNECTION_|CONNECT_TIMEOUT|57P0|53300)/.test(errorCodeOf(error) ?? '')
}

function findFreePort(): Promise<number> {
  return new Promise((found, failed) => {
    const server = createServer().once('error', failed)
    server.listen(0, '127.0.0.1', () => {
      const address = server.address()
      server.close(() => found(typeof address === 'object' && address ? address.port : 0))
    })
  })
}

/** Up to 8 kB of a file, from a position on. */
async function readFrom(path: string, position: number): Promise<string> {
  if (!(await isThere(path))) return ''
  const file = await open(path)
  try {
    const { buffer, bytesRead } = await file.read(Buffer.alloc(8192), 0, 8192, position)
    return buffer.toString('utf8', 0, bytesRead)
  } finally {
    await file.close()
  }
}

function unavailable(what: string, said: string, cause?: unknown): LastwordError {
  const tail = said.trim().slice(-2000)
  return new LastwordError('UNAVAILABLE', `The embedded Postgres ${what}: ${tail}`, { cause })
}

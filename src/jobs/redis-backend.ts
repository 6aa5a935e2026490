/**
 * Queues in Redis, Valkey or a Redis Cluster. Every command has a time limit, so that nothing waits for a server that says
 * nothing; and a server that turns out to be a replica is connected to anew, because its name may lead elsewhere by now.
 */

import { type JobType, Queue, Worker } from 'bullmq'
import { Cluster, Redis, type RedisOptions } from 'ioredis'
import { errorCodeOf } from '../core/error-code.ts'
import { LastwordError } from '../core/errors.ts'
import { orAborted, withDeadline } from '../deadline.ts'
import { createComplaint } from '../log.ts'
import { type RedisTarget, readRedisUrl } from '../urls/redis.ts'
import {
  DEFAULT_PREFIX,
  JOBS_A_PAGE,
  type Memory,
  type QueueBackend,
  type QueueBackendOptions,
} from './queue-backend.ts'

const CONNECT_WITHIN_MS = 5_000
/** The caller who adds a job wants to know at once that it cannot be added. */
const COMMAND_WITHIN_MS = 5_000
/** Longer than a worker lets the server wait for the next job, which is ten seconds at most. */
const BLOCKING_WITHIN_MS = 15_000
const CLOSE_WITHIN_MS = 1_500
const MARK_KEPT_MS = 60_000
const OLDEST_REDIS = [6, 2] as const
/** A job goes from waiting to finished while others are looked at, so they are looked through in that order. */
const STATES: JobType[] = ['waiting', 'prioritized', 'delayed', 'active', 'completed', 'failed']

/** Where the queues are, and in which variable that stands. */
interface Place {
  variable: string
  target: RedisTarget
  prefix: string
}

type Client = Redis | Cluster
type Settings = Omit<RedisOptions, 'replyMapping'>

export async function openRedis(options: QueueBackendOptions): Promise<QueueBackend> {
  const { url, variable = 'QUEUE_URL', log, prefix = DEFAULT_PREFIX } = options
  const target = readRedisUrl(variable, url)
  const at = { variable, target, prefix }
  await findServer(at)
  const complain = createComplaint(log, 'queue')
  const opened = new Set<Client>()
  const open = (settings: Settings) => keepTrack(createClient(target, settings), opened, complain)
  const forQueues = open({ maxRetriesPerRequest: 1, enableOfflineQueue: false, commandTimeout: COMMAND_WITHIN_MS })
  const forWorkers = open({ maxRetriesPerRequest: null, commandTimeout: BLOCKING_WITHIN_MS })
  const close = () => {
    for (const client of opened) client.disconnect()
  }
  try {
    await forQueues.connect()
  } catch (error) {
    close()
    throw unavailable(at, error)
  }
  const queues: Queue[] = []
  return {
    openQueue(name) {
      const queue = new Queue(name, { connection: forQueues, prefix })
      queues.push(queue)
      return queue.on('error', complain)
    },
    openWorker: (name, process, workerOptions) =>
      new Worker(name, process, { ...workerOptions, connection: forWorkers, prefix }).on('error', complain),
    findJobIds,
    prepare: async () => {},
    check: () => write(forQueues, prefix).catch((error) => Promise.reject(unavailable(at, error))),
    memory: () => findMemory(forQueues),
    keep: (_queue, { completed, failed }) => ({
      ...(completed ? { removeOnComplete: completed } : {}),
      ...(failed ? { removeOnFail: failed } : {}),
    }),
    tidy: async () => {},
    meet: (installation) =>
      meet(forQueues, prefix, installation).catch((error) => Promise.reject(unavailable(at, error))),
    async close() {
      const closing = Promise.all(queues.map((queue) => queue.close()))
      // A server that says nothing any more must not keep anybody here.
      await withDeadline(CLOSE_WITHIN_MS, undefined, (signal) => orAborted(closing, signal)).catch(complain)
      close()
    },
  }
}

/** A write that works as long as the queues do, and leaves nothing behind for long. */
async function write(client: Client, prefix: string): Promise<void> {
  await client.set(`${prefix}:ready`, '1', 'PX', MARK_KEPT_MS)
}

async function meet(client: Client, prefix: string, installation: string): Promise<string> {
  await client.setnx(`${prefix}:installation`, installation)
  return (await client.get(`${prefix}:installation`)) ?? installation
}

/** Newest first, so that jobs which come or end meanwhile push none of the others out of the next page. */
async function findJobIds(queue: Queue, holds: (data: unknown) => boolean): Promise<string[]> {
  const found = new Set<string>()
  for (const state of STATES) {
    for (let start = 0, read = JOBS_A_PAGE; read === JOBS_A_PAGE; start += read) {
      const jobs = await queue.getJobs(state, start, start + JOBS_A_PAGE - 1)
      for (const job of jobs) if (job?.id !== undefined && holds(job.data)) found.add(job.id)
      read = jobs.length
    }
  }
  return [...found]
}

/** Of a cluster, that of the node with the least room. */
async function findMemory(client: Client): Promise<Memory | undefined> {
  const nodes = client instanceof Cluster ? client.nodes('master') : [client]
  const infos = await Promise.all(nodes.map((node) => node.info('memory')))
  const read = (info: string, name: string) => Number(new RegExp(`^${name}:(\\d+)`, 'm').exec(info)?.[1] ?? 0)
  return infos
    .map((info) => ({ used: read(info, 'used_memory'), most: read(info, 'maxmemory') }))
    .filter(({ most }) => most > 0)
    .sort((one, other) => other.used / other.most - one.used / one.most)[0]
}

function createClient(target: RedisTarget, settings: Settings): Client {
  const { nodes, isCluster, username, password, database, tls } = target
  const { commandTimeout = COMMAND_WITHIN_MS, enableOfflineQueue = true } = settings
  const common: Settings = {
    ...(username === undefined ? {} : { username }),
    ...(password === undefined ? {} : { password }),
    ...(tls === undefined ? {} : { tls }),
    connectTimeout: CONNECT_WITHIN_MS,
    keepAlive: CONNECT_WITHIN_MS,
    socketTimeout: commandTimeout * 2,
    reconnectOnError: (error) => (error.message.startsWith('READONLY') ? 2 : false),
    ...settings,
  }
  const [first = { host: '127.0.0.1', port: 6379 }] = nodes
  if (!isCluster) return new Redis({ ...common, ...first, db: database, lazyConnect: true })
  const clusterOptions = {
    lazyConnect: true,
    enableOfflineQueue,
    slotsRefreshTimeout: CONNECT_WITHIN_MS,
    redisOptions: common,
  }
  return new Cluster(nodes, clusterOptions)
}

/** Remembers a client and those that BullMQ makes after it, to end them all in any state. */
function keepTrack(client: Client, opened: Set<Client>, complain: (error: Error) => void): Client {
  opened.add(client.on('error', complain))
  const duplicate = client.duplicate.bind(client) as (...args: unknown[]) => Client
  return Object.assign(client, {
    duplicate: (...args: unknown[]) => keepTrack(duplicate(...args), opened, complain),
  })
}

/** Each command of BullMQ, once, on a key of ours: a user that may not is found at the start, and not in the night. */
const NEEDED: readonly (readonly [string, ...(string | number)[]])[] = [
  ['hgetall', 'KEY'],
  ['eval', 'return redis.call("exists", KEYS[1])', 1, 'KEY'],
  ['evalsha', 'ffffffffffffffffffffffffffffffffffffffff', 1, 'KEY'],
  ['zadd', 'KEY', 'XX', 0, 'x'],
  ['bzpopmin', 'KEY', 0.001],
  ['xtrim', 'KEY', 'MAXLEN', 0],
  ['lpop', 'KEY'],
  ['srem', 'KEY', 'x'],
  ['pexpire', 'KEY', 1],
  ['del', 'KEY'],
]

/**
 * Looks at what answers, on a connection of its own: whether it is a cluster, how old it is, and whether it lets us do what
 * BullMQ does. Throws what stands in the way.
 */
async function findServer(at: Place): Promise<void> {
  const { variable, target, prefix } = at
  const settings = { maxRetriesPerRequest: 0, retryStrategy: () => null, commandTimeout: COMMAND_WITHIN_MS }
  const client = createClient(target, { ...settings, enableReadyCheck: false, reconnectOnError: null })
  let last: unknown
  client.on('error', (error) => {
    last = error
  })
  try {
    await withDeadline(2 * CONNECT_WITHIN_MS, undefined, (signal) => orAborted(look(), signal))
  } catch (error) {
    // An error of the connection says more than that it is closed.
    throw unavailable(at, isClosed(error) ? (last ?? error) : error)
  } finally {
    client.disconnect()
  }

  async function look(): Promise<void> {
    await client.connect()
    const info = await client.info()
    if (!target.isCluster && /^cluster_enabled:1/m.test(info)) {
      target.isCluster = true
      return findServer(at)
    }
    if (target.isCluster && !/\{.+\}/.test(prefix)) {
      const expected = 'one with braces, like {lastword-b}: they keep the keys of a queue on one node of the cluster'
      throw new LastwordError('CONFIG_INVALID', `QUEUE_PREFIX: found "${prefix}", expected ${expected}.`)
    }
    const version = /^redis_version:([\d.]+)/m.exec(info)?.[1] ?? '0'
    const [major = 0, minor = 0] = version.split('.').map(Number)
    if (major < OLDEST_REDIS[0] || (major === OLDEST_REDIS[0] && minor < OLDEST_REDIS[1])) {
      const remedy = `use Redis ${OLDEST_REDIS.join('.')} or newer, or Valkey`
      throw new LastwordError('UNUSABLE', `${variable}: ${placeOf(target)} is Redis ${version}; ${remedy}.`)
    }
    await write(client, prefix)
    for (const [command, ...args] of NEEDED) {
      const own = args.map((arg) => (arg === 'KEY' ? `${prefix}:look` : arg))
      await client.call(command, ...own).catch((error: Error) => {
        if (!error.message.startsWith('NOSCRIPT')) throw error
      })
    }
  }
}

function isClosed(error: unknown): boolean {
  return error instanceof Error && /Connection is closed|None of startup nodes|Failed to refresh/.test(error.message)
}

function placeOf({ nodes, isCluster, tls }: RedisTarget): string {
  const scheme = `redis${tls ? 's' : ''}${isCluster ? '+cluster' : ''}`
  return `${scheme}://${nodes.map(({ host, port }) => `${host.includes(':') ? `[${host}]` : host}:${port}`).join(',')}`
}

/** The meaning of a server's errors, by their beginning: whether waiting can help, what is found, and what helps. */
const MEANINGS: readonly [RegExp, 'UNAVAILABLE' | 'UNUSABLE', string, string][] = [
  [
    /^(WRONGPASS|NOAUTH|ERR (invalid password|AUTH|Client sent AUTH))/,
    'UNUSABLE',
    'refuses the user or the password',
    'correct them in the URL',
  ],
  [
    /^NOPERM/,
    'UNUSABLE',
    'does not let the user do what BullMQ does',
    'give the user ~PREFIX* +@all -@admin -@dangerous +info, or one that may',
  ],
  [/^ERR (invalid DB|DB index|SELECT is not)/, 'UNUSABLE', 'has no such database', 'name another in the URL'],
  [/^ERR unknown command/, 'UNUSABLE', 'lacks a command', 'use Redis 6.2 or newer, or Valkey'],
  [
    /(SELF_SIGNED|self.signed|UNABLE_TO_|unable to (get|verify)|CERT_|certificate|altnames)/i,
    'UNUSABLE',
    'shows a certificate that proves nothing here',
    'name the authority by ?sslrootcert=/path/ca.pem',
  ],
  [/^READONLY/, 'UNAVAILABLE', 'is a replica and takes no writes', 'name the primary, or a name that follows it'],
  [/^OOM/, 'UNAVAILABLE', 'is full', 'raise maxmemory, and keep maxmemory-policy at noeviction'],
  [/^MISCONF/, 'UNAVAILABLE', 'cannot save to its disk and takes no writes', 'make room on its disk'],
  [/^(LOADING|MASTERDOWN|CLUSTERDOWN)/, 'UNAVAILABLE', 'is not ready yet', 'wait, or look into its log'],
]

/** The sentence for an error of Redis. */
function unavailable({ variable, target, prefix }: Place, error: unknown): LastwordError {
  if (error instanceof LastwordError) return error
  const said = sayingOf(error)
  const place = placeOf(target)
  for (const [pattern, code, found, remedy] of MEANINGS) {
    if (!pattern.test(said)) continue
    const text = `${variable}: ${place} ${found} (${said}); ${remedy.replace('PREFIX', prefix)}.`
    return new LastwordError(code, text, { extra: { summary: found } })
  }
  const remedy = `start it there, or correct ${variable}, or unset it to keep the queues in the database`
  const extra = { summary: 'does not answer' }
  return new LastwordError('UNAVAILABLE', `${variable}: ${place} does not answer (${said}); ${remedy}.`, { extra })
}

function sayingOf(error: unknown): string {
  if (error instanceof AggregateError && error.errors.length > 0) return sayingOf(error.errors[0])
  return error instanceof Error ? error.message || (errorCodeOf(error) ?? error.name) : String(error)
}

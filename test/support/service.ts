/**
 * Lastword under test: an installation (a database and queues of its own), services running in this process, and real
 * processes of the command line. Everything opened here is closed by `closeAll`, latest first; call it in `afterEach`
 * or `afterAll`.
 *
 *   const installation = await createInstallation('redis')
 *   const { url } = await startService({ installation, accounts: [sevenAccount(sandbox)] })
 */
import { type ChildProcessByStdio, spawn } from 'node:child_process'
import { once } from 'node:events'
import type { Readable } from 'node:stream'
import { fileURLToPath } from 'node:url'
import type { Queue } from 'bullmq'
import { Redis } from 'ioredis'
import postgres from 'postgres'
import { expect, vi } from 'vitest'
import { readConfig } from '../../src/config.ts'
import { openQueueBackend } from '../../src/jobs/backend.ts'
import type { QueueBackend } from '../../src/jobs/queue-backend.ts'
import { createLog } from '../../src/log.ts'
import { type Parts, type Runtime, start } from '../../src/runtime.ts'
import { createSandbox, type Sandbox, type SandboxOptions } from '../../src/sandbox/server.ts'
import { createDatabase, redisUrl } from './services.ts'

export const BACKENDS = ['redis', 'postgres'] as const
export type Backend = (typeof BACKENDS)[number]

const open: (() => Promise<unknown>)[] = []

/** Has `closeAll` run this, before whatever was opened earlier. */
export function closeLater(close: () => Promise<unknown>): void {
  open.push(close)
}

export async function closeAll(): Promise<void> {
  for (let close = open.pop(); close; close = open.pop()) await close()
}

/** Awaits what `check` expects; rejects with its last failure. */
export function until<T>(check: () => T | Promise<T>, withinMs = 20_000): Promise<T> {
  return vi.waitFor(check, { timeout: withinMs, interval: 50 })
}

/** Where a service keeps what it knows. */
export interface Installation {
  databaseUrl: string
  queueUrl: string
  sql: postgres.Sql
  queues: QueueBackend
  /** A queue as a sending app or an operator would open it. */
  queue(name: string): Queue
  /** The environment of a process that works here. */
  environment(accounts: readonly object[], more?: Record<string, string>): Record<string, string>
}

/**
 * `create` makes its database: migrated, or an empty one, which the first process to start migrates. `queuesAt` is a Redis
 * other than that of all tests.
 */
export async function createInstallation(
  backend: Backend,
  create = createDatabase,
  queuesAt?: string,
): Promise<Installation> {
  const { url: databaseUrl, drop } = await create()
  closeLater(drop)
  const queueUrl = queuesAt ?? (backend === 'redis' ? await emptyRedisDatabase() : databaseUrl)
  const sql = postgres(databaseUrl, { max: 2, onnotice: () => {} })
  closeLater(() => sql.end())
  const queues = await openQueueBackend({
    url: queueUrl,
    log: createLog({ level: 'silent', secretFields: [] }),
    workers: 0,
  })
  closeLater(() => queues.close())
  return {
    databaseUrl,
    queueUrl,
    sql,
    queues,
    queue: (name) => queues.openQueue(name),
    environment: (accounts, more = {}) => ({
      DATABASE_URL: databaseUrl,
      QUEUE_URL: queueUrl,
      ACCOUNTS: JSON.stringify(accounts),
      PORT: '0',
      ...more,
    }),
  }
}

/** Redis has 16 databases; 0 holds the counter by which each worker of the tests gets one of the others. */
const REDIS_DATABASES = 15
let redisDatabase: number | undefined

/** The URL of this worker's own Redis database, emptied: files follow each other in a worker. */
async function emptyRedisDatabase(): Promise<string> {
  const client = new Redis(redisUrl())
  try {
    redisDatabase ??= ((await client.incr('lastword-test:files')) % REDIS_DATABASES) + 1
    await client.select(redisDatabase)
    await client.flushdb()
  } finally {
    client.disconnect()
  }
  const url = new URL(redisUrl())
  url.pathname = `/${redisDatabase}`
  return url.href
}

interface ServiceOptions {
  /** A database and queues that exist already; else new ones of `backend`. */
  installation?: Installation
  backend?: Backend
  accounts: readonly object[]
  parts?: Parts
  /** How long a claim holds. */
  lease?: string
  /** Further variables of the environment. */
  environment?: Record<string, string>
}

export interface Service extends Installation {
  /** Where the API listens, or an empty text without it. */
  url: string
  close: Runtime['close']
}

/** Starts the service in this process, as `lastword start` does. */
export async function startService(options: ServiceOptions): Promise<Service> {
  const { backend = 'redis', accounts, parts = { api: true, workers: true }, lease = '20s' } = options
  const installation = options.installation ?? (await createInstallation(backend))
  const environment = { LOG_LEVEL: 'silent', LEASE: lease, ...options.environment }
  const runtime = await start(readConfig(installation.environment(accounts, environment)), parts)
  closeLater(runtime.close)
  return { ...installation, url: runtime.url ?? '', close: runtime.close }
}

/** A sandbox provider that is closed with everything else. */
export async function openSandbox(options: SandboxOptions = {}): Promise<Sandbox> {
  const sandbox = await createSandbox(options)
  closeLater(() => sandbox.close())
  return sandbox
}

/** A law by which every message is delivered one minute after it was sent. */
export const ONE_MINUTE = {
  components: [{ share: 1, medianMs: 60_000, sigma: 0 }],
  expiredShare: 0,
  neverShare: 0,
  failureShare: 0,
}

export function minutesAgo(minutes: number): Date {
  return new Date(Date.now() - minutes * 60_000)
}

/** An account at a sandbox. */
export function sevenAccount({ url, apiKey }: Pick<Sandbox, 'url' | 'apiKey'>, more: object = {}): object {
  return { name: 'seven', provider: 'seven', apiKey, baseUrl: url, ...more }
}

/** Tracks over HTTP; `sentAt` in the past makes the messages due at once. */
export async function trackOver(
  url: string,
  messageIds: readonly string[],
  { account = 'seven', sentAt }: { account?: string; sentAt?: Date } = {},
): Promise<void> {
  const messages = messageIds.map((messageId) => (sentAt ? { messageId, sentAt } : { messageId }))
  const response = await fetch(`${url}/v1/messages`, {
    method: 'POST',
    headers: { 'content-type': 'application/json' },
    body: JSON.stringify({ account, messages }),
  })
  expect([response.status, await response.json()]).toEqual([202, { tracked: messageIds.length, alreadyTracked: 0 }])
}

/** Sends a delivery receipt as seven.io does, and returns the status of the answer. */
export async function sendReceipt(url: string, messageId: string, status: string, account = 'seven'): Promise<number> {
  const body = { data: { msg_id: messageId, status }, webhook_event: 'dlr', webhook_timestamp: new Date() }
  const headers = { 'content-type': 'application/json' }
  const response = await fetch(`${url}/webhooks/${account}`, { method: 'POST', headers, body: JSON.stringify(body) })
  await response.arrayBuffer()
  return response.status
}

interface MessageState {
  messageId: string
  status: string | null
  final: boolean
  settledBy: string | null
  polls: number
  /** The batch that holds it. */
  batch: string | null
  dueAt: Date | null
}

/** The rows of an account's messages, in the order of their IDs. */
export function messageStates({ sql }: Pick<Installation, 'sql'>, account = 'seven'): Promise<MessageState[]> {
  return sql<MessageState[]>`
    SELECT message_id AS "messageId", status, final, settled_by AS "settledBy", polls, due_at AS "dueAt",
      (SELECT id FROM lastword.batches b WHERE m.id = ANY(b.messages)) AS batch
    FROM lastword.messages m WHERE account = ${account} ORDER BY message_id`
}

/** Resolves when no message is outstanding any more. */
export async function allSettled({ sql }: Pick<Installation, 'sql'>, account = 'seven', withinMs = 20_000) {
  await until(async () => {
    const [row] = await sql<{ outstanding: number }[]>`
      SELECT count(*)::int AS outstanding FROM lastword.messages WHERE account = ${account} AND NOT final`
    expect(row?.outstanding).toBe(0)
  }, withinMs)
}

/** The final status of every message that the sandbox sent, by its own truth; `unknown` where none ever comes. */
export function truthsOf(sandbox: Sandbox): Record<string, string> {
  return Object.fromEntries(sandbox.truths().map(({ messageId, finalStatus }) => [messageId, finalStatus ?? 'unknown']))
}

/** The status of every message of an account, to be compared with `truthsOf`. */
export async function statusesOf(installation: Pick<Installation, 'sql'>, account = 'seven') {
  const states = await messageStates(installation, account)
  return Object.fromEntries(states.map(({ messageId, status }) => [messageId, status]))
}

const cli = fileURLToPath(new URL('../../dist/cli.js', import.meta.url))

export interface ServiceProcess {
  pid: number
  /** Everything written so far, errors included. */
  output(): string
  /** Resolves with the API's URL (empty without an API) when the process works. */
  ready(): Promise<string>
  kill(signal: NodeJS.Signals): void
  /** Resolves when the process has ended, with its exit code, or the signal that ended it. */
  exited: Promise<number | NodeJS.Signals>
}

/** Runs the compiled command line (`npm run build`) with this environment and nothing of ours but the PATH. */
export function spawnService(args: readonly string[], environment: Record<string, string> = {}): ServiceProcess {
  const env = { PATH: process.env.PATH, ...environment }
  const child: ChildProcessByStdio<null, Readable, Readable> = spawn(process.execPath, [cli, ...args], {
    env,
    stdio: ['ignore', 'pipe', 'pipe'],
  })
  let written = ''
  for (const stream of [child.stdout, child.stderr]) {
    stream.setEncoding('utf8').on('data', (chunk: string) => {
      written += chunk
    })
  }
  const exited = once(child, 'close').then(([code, signal]) => code ?? signal)
  closeLater(async () => {
    child.kill('SIGKILL')
    await exited
  })
  return {
    pid: child.pid ?? 0,
    output: () => written,
    ready: () =>
      until(() => {
        if (child.exitCode !== null) return Promise.reject(new Error(`The process ended: ${written}`))
        expect(written).toMatch(/listening on|"working"/)
        return /listening on (http:\/\/[^,]+),/.exec(written)?.[1] ?? ''
      }, 30_000),
    kill: (signal) => child.kill(signal),
    exited,
  }
}

/** The stage of a run: its servers, the simulated providers, the app and the processes, and the ways between them. */
import { mkdir } from 'node:fs/promises'
import { createRandom } from '../../src/sandbox/random.ts'
import { createSandbox, type Sandbox } from '../../src/sandbox/server.ts'
import { openProxy, type TcpProxy } from '../support/proxy.ts'
import { freePort } from '../support/services.ts'
import { type App, openApp, QUEUE, SECRET } from './app.ts'
import type { Tells } from './ledger.ts'
import { createMember, type Member } from './members.ts'
import { type Backend, LEASE_MS } from './plan.ts'
import { type Database, openDatabase, openRedisPair, type RedisPair, useDatabase } from './servers.ts'

export interface Stage {
  database: Database
  redis: RedisPair | undefined
  sandbox: Sandbox
  /** On the way to the providers; ends answers half-way while `resets`. */
  provider: TcpProxy & { resets: boolean }
  app: App
  api: Member
  workers: readonly Member[]
  /** The command line of another version, for processes that are replaced. */
  otherCli: string | undefined
  tells: Tells
  /** When the queues last lost what they held, in milliseconds since 1970. */
  queueLostAt: number
  close(): Promise<void>
}

export interface StageOptions {
  backend: Backend
  seed: number
  messages: number
  /** Where everything is kept that is looked at after a failure. */
  folder: string
  windowMs: number
  /** Somebody else's empty database; else a server of the run's own. */
  databaseUrl?: string | undefined
  diskBytes?: number | undefined
  otherCli?: string | undefined
  /** The command line of an older version, with which the processes start. */
  firstCli?: string | undefined
  /** The share of messages that never become final. */
  neverShare: number
  /** So many times faster than life are the providers, and asking. */
  timeScale: number
  tells: Tells
  onEnded(how: 'by itself' | 'badly', about: string): void
}

const WORKERS = ['worker-1', 'worker-2']
const MINUTE_MS = 60_000
/** A killed worker holds up for half a minute those whose callbacks it had in hand. */
const CALLBACK_RECEIVERS = 30
const LEAST_ERASED_EVERY = 50
/** Each erasure looks through all that the queues hold. */
const MOST_ERASED = 100

function lawOf(neverShare: number, timeScale: number) {
  return {
    components: [
      { share: 0.6, medianMs: 2 * MINUTE_MS, sigma: 0.6 },
      { share: 0.3 - neverShare, medianMs: 8 * MINUTE_MS, sigma: 0.5 },
    ],
    expiredShare: 0.1,
    neverShare,
    failureShare: 0.2,
    validityMs: 20 * MINUTE_MS,
    timeScale,
  }
}

/** The providers at their usual: receipts are lost, late, doubled, out of order, and in every wrapping. */
export const USUAL_KNOBS = {
  webhookForm: 'mixed',
  cmWebhookForm: 'mixed',
  webhookEncoding: 'mixed',
  webhookNoise: 0.05,
  webhookLoss: 0.05,
  webhookLossPerMessage: 0.5,
  webhookDuplicates: 0.1,
  webhookReorder: 0.1,
  webhookDelay: { medianMs: 10_000, sigma: 1.5 },
  webhookTimeoutMs: 10_000,
  failedAfterDelivered: 0.03,
  latencyMs: 100,
  rateLimited: { share: 0 },
  serverErrors: 0,
  httpError: { share: 0 },
  timeouts: 0,
  malformed: 0,
  cutOff: 0,
} as const

/** The writing of receipts that 0.1.0 could read; others it acknowledged, and kept nothing of. */
const OF_0_1_0 = { webhookForm: 'JSON', cmWebhookForm: 'json', webhookEncoding: 'plain', webhookNoise: 0 } as const

export async function openStage(options: StageOptions): Promise<Stage> {
  const releasers: (() => Promise<unknown>)[] = []
  const close = async () => {
    for (let last = releasers.pop(); last; last = releasers.pop()) await last()
  }
  try {
    return { ...(await openAll(options, releasers)), close }
  } catch (error) {
    await close()
    throw error
  }
}

async function openAll(options: StageOptions, releasers: (() => Promise<unknown>)[]): Promise<Omit<Stage, 'close'>> {
  const { backend, seed, messages, folder, neverShare, databaseUrl, diskBytes, otherCli, firstCli, onEnded } = options
  await mkdir(folder, { recursive: true, mode: 0o711 })
  const databaseGates: TcpProxy[] = []
  const redisGates: TcpProxy[] = []
  const opened = <T extends { close(): Promise<unknown> }>(one: T): T => {
    releasers.push(() => one.close())
    return one
  }
  const database = opened(
    databaseUrl === undefined
      ? await openDatabase(folder, { gates: databaseGates }, diskBytes)
      : await useDatabase(databaseUrl),
  )
  const redis = backend === 'redis' ? opened(await openRedisPair({ gates: redisGates })) : undefined
  const law = lawOf(neverShare, options.timeScale)
  const sandbox = opened(await createSandbox({ seed, law, knobs: { ...USUAL_KNOBS, ...(firstCli ? OF_0_1_0 : {}) } }))
  const provider = opened(await openProvider(sandbox, createRandom(seed, 1)))
  const apiPort = await freePort()
  const apiUrl = `http://127.0.0.1:${apiPort}`

  const behind = async (place: { port: number }, gates: TcpProxy[]) => {
    const gate = opened(await openProxy({ host: '127.0.0.1', port: place.port }))
    gates.push(gate)
    return gate.port
  }
  const queueUrlAt = (ports: { database: number; redis: number | undefined }) =>
    ports.redis === undefined ? database.urlAt(ports.database) : `redis://127.0.0.1:${ports.redis}`
  const appPorts = {
    database: await behind(database.place, databaseGates),
    redis: redis && (await behind(redis.place, redisGates)),
  }

  let accounts = ''
  const environment = (ports: { database: number; redis: number | undefined }) => ({
    DATABASE_URL: database.urlAt(ports.database),
    QUEUE_URL: queueUrlAt(ports),
    ACCOUNTS: accounts,
    PORT: String(apiPort),
    LEASE: `${LEASE_MS}ms`,
    START_WITHIN: '60s',
    CALLBACK_ALLOW_PRIVATE: 'true',
  })
  const create = async (role: 'api' | 'worker', name: string) => {
    const places = { database: database.place, redis: redis?.place }
    const member = opened(await createMember({ role, name, folder, ...places, environment, onEnded }))
    const [toDatabase, toRedis] = member.gates
    if (toDatabase) databaseGates.push(toDatabase)
    if (toRedis) redisGates.push(toRedis)
    return member
  }
  const api = await create('api', 'api')
  const workers = await Promise.all(WORKERS.map((name) => create('worker', name)))
  const app = opened(
    await openApp({
      sandbox,
      random: createRandom(seed, 2),
      apiUrl,
      queueUrl: queueUrlAt(appPorts),
      // 0.1.0 could erase nobody.
      erasedEvery: firstCli ? undefined : Math.max(LEAST_ERASED_EVERY, Math.ceil(messages / MOST_ERASED)),
      called: options.tells.callback,
      receivers: firstCli ? 1 : CALLBACK_RECEIVERS,
    }),
  )
  accounts = JSON.stringify(accountsOf({ ...options, sandbox, provider, callbackUrl: app.callbackUrl }))
  await Promise.all([api, ...workers].map((member) => member.start(firstCli ? { cli: firstCli } : {})))
  sandbox.set({ webhookUrl: `${apiUrl}/webhooks/seven`, cmWebhookUrl: `${apiUrl}/webhooks/cm` })
  return { database, redis, sandbox, provider, app, api, workers, otherCli, tells: options.tells, queueLostAt: 0 }
}

async function openProvider(sandbox: Sandbox, random: () => number): Promise<Stage['provider']> {
  const state = { resets: false }
  const gate = await openProxy(
    { host: '127.0.0.1', port: Number(new URL(sandbox.url).port) },
    (to) => !(state.resets && to === 'client' && random() < 0.5),
  )
  return Object.assign(state, gate)
}

function accountsOf({
  sandbox,
  provider,
  windowMs,
  timeScale,
  tells,
  callbackUrl,
}: Pick<StageOptions, 'windowMs' | 'timeScale' | 'tells'> & {
  sandbox: Sandbox
  provider: TcpProxy
  callbackUrl: string
}) {
  const behindGate = (url: string) => Object.assign(new URL(url), { port: String(provider.port) }).href
  const scaled = (ms: number) => `${ms / timeScale}ms`
  const common = {
    timeout: '2s',
    polling: {
      firstAfter: scaled(3 * MINUTE_MS),
      factor: 1.5,
      maxInterval: scaled(8 * MINUTE_MS),
      window: `${windowMs}ms`,
    },
  }
  const callback = { url: callbackUrl, secret: SECRET }
  const seven = { name: 'seven', provider: 'seven', apiKey: sandbox.apiKey, baseUrl: behindGate(sandbox.url) }
  const cm = { name: 'cm', provider: 'cm', productToken: sandbox.cm.productToken, baseUrl: behindGate(sandbox.cm.url) }
  const accounts = [
    { ...seven, ...common, batchSize: 20, requestsPerSecond: 20 },
    { ...cm, ...common, requestsPerSecond: 5, maxWindow: '30s', clockSlack: '5s' },
  ]
  return accounts.map((account) => ({
    ...account,
    ...(tells.callback.includes(account.name) ? { callback } : {}),
    ...(tells.queue.includes(account.name) ? { changesQueue: QUEUE } : {}),
  }))
}

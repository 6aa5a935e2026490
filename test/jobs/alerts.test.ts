/**
 * Alerts: every kind begins and ends for a real receiver, which checks the signature; each is told once whatever restarts
 * and however many look, and as often as it takes until the receiver has it.
 */
import { once } from 'node:events'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { tmpdir } from 'node:os'
import { Redis } from 'ioredis'
import { Webhook } from 'standardwebhooks'
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest'
import { readConfig } from '../../src/config.ts'
import { ALERT_KINDS, type AlertKind, type AlertRules } from '../../src/core/alerts.ts'
import { nothingLearned } from '../../src/core/learning.ts'
import { findAlerts } from '../../src/db/alerts.ts'
import { addCallbacks, replayCallbacks } from '../../src/db/callbacks.ts'
import { openDatabase } from '../../src/db/connection.ts'
import { findInstallation, seeWorker } from '../../src/db/installation.ts'
import { moveLearned } from '../../src/db/learning.ts'
import { noteGoneUrl } from '../../src/db/receivers.ts'
import { findOverdueAccounts } from '../../src/db/schedule.ts'
import { alertBodySchema } from '../../src/http/openapi/webhooks.ts'
import { ALERT_LIMITS } from '../../src/jobs/alerts/conditions.ts'
import { type AlertWatch, type AlertWatchOptions, openAlertWatch } from '../../src/jobs/alerts/watch.ts'
import { openQueueBackend } from '../../src/jobs/backend.ts'
import { isOverdue } from '../../src/jobs/claim.ts'
import { openQueues } from '../../src/jobs/queues.ts'
import { openLearner } from '../../src/learner.ts'
import { createLog } from '../../src/log.ts'
import { createMetrics, type Metrics } from '../../src/metrics.ts'
import { lookupInUse } from '../../src/providers/registry.ts'
import { openProxy, type TcpProxy } from '../support/proxy.ts'
import { closeAll, closeLater, createInstallation, type Installation, startService, until } from '../support/service.ts'
import { redisUrl } from '../support/services.ts'

const SECRET = `whsec_${Buffer.from('a secret of 32 bytes, not a word').toString('base64')}`
const CALLBACK_URL = 'https://app.example/hook?secret=word'
const ACCOUNT = {
  name: 'seven',
  provider: 'seven',
  apiKey: 'key',
  callback: { url: CALLBACK_URL, secret: SECRET },
  changesQueue: 'sms-changes',
}
const HOST = 'the-machine'

interface Received {
  id: string
  body: {
    type: string
    timestamp: string
    data: { id: string; kind: AlertKind; subject: string; message: string; since: string; until: string | null }
  }
}

/** Takes what is signed; answers with `status`. */
const receiver = { url: '', received: [] as Received[], status: 204 }

async function openReceiver(): Promise<void> {
  const server = createServer(async (request, response) => {
    const chunks: Buffer[] = []
    for await (const chunk of request) chunks.push(chunk)
    const text = Buffer.concat(chunks).toString('utf8')
    const headers = request.headers as Record<string, string>
    // Throws for what is not signed, and then nothing is received.
    const body = new Webhook(SECRET).verify(text, headers) as Received['body']
    receiver.received.push({ id: headers['webhook-id'] ?? '', body })
    response.writeHead(receiver.status).end()
  })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  closeLater(async () => {
    server.closeAllConnections()
    server.close()
    await once(server, 'close')
  })
  receiver.url = `http://127.0.0.1:${(server.address() as AddressInfo).port}/alerts?token=t0p`
}

const told = (kind: AlertKind) => receiver.received.filter(({ body }) => body.data.kind === kind)
const tellings = (kind: AlertKind) => told(kind).map(({ body }) => body.type)

/** The same times for every kind. */
function rulesOf(beginAfterMs: number, endAfterMs: number): AlertRules {
  return Object.fromEntries(ALERT_KINDS.map((kind) => [kind, { beginAfterMs, endAfterMs }])) as AlertRules
}

interface Stage {
  installation: Installation
  /** The watches use these. */
  sources: AlertWatchOptions
  limits: { -readonly [limit in keyof typeof ALERT_LIMITS]: number }
  /** A process alone sees this, as it is now. */
  own: { aheadMs: number; queueTrouble: string | undefined }
  proxy: TcpProxy
  learner: Awaited<ReturnType<typeof openLearner>>
}

let stage: Stage
const watches: AlertWatch[] = []

async function openStage(): Promise<Stage> {
  const installation = await createInstallation('redis')
  const { accounts: list } = readConfig(installation.environment([ACCOUNT]))
  const accounts = new Map(list.map((account) => [account.name, account]))
  const { hostname, port } = new URL(installation.databaseUrl)
  const proxy = await openProxy({ host: hostname, port: Number(port) })
  closeLater(() => proxy.close())
  const throughProxy = new URL(installation.databaseUrl)
  throughProxy.host = `127.0.0.1:${proxy.port}`
  const { db, close } = await openDatabase(throughProxy.href, { maxConnections: 3 })
  closeLater(() => close())
  const log = createLog({ level: 'silent', secretFields: [] })
  const backend = await openQueueBackend({ url: installation.queueUrl, log, workers: 0 })
  closeLater(() => backend.close())
  const queues = openQueues(backend, [...accounts.values()])
  const learner = await openLearner({ db, accounts, log })
  closeLater(() => learner.close())
  const own: Stage['own'] = { aheadMs: 0, queueTrouble: undefined }
  const limits = { ...ALERT_LIMITS, diskBytes: 0 }
  const sources: AlertWatchOptions = {
    db,
    accounts,
    learner,
    queues,
    backend,
    metrics: createMetrics({ ofProcess: false }),
    queueTrouble: () => own.queueTrouble,
    aheadMs: () => own.aheadMs,
    dataDir: tmpdir(),
    host: HOST,
    installation: (await findInstallation(db)).id,
    receiver: { url: receiver.url, secrets: [SECRET] },
    proxy: {},
    log,
    limits,
    rules: rulesOf(100, 100),
    everyMs: 40,
    reportedForMs: 2_000,
  }
  return { installation, sources, limits, own, proxy, learner }
}

function watch(more: Partial<AlertWatchOptions> = {}): AlertWatch {
  const opened = openAlertWatch({ ...stage.sources, ...more })
  watches.push(opened)
  return opened
}

const closeWatches = async () => {
  for (const opened of watches.splice(0)) await opened.close()
}

beforeAll(async () => {
  await openReceiver()
  stage = await openStage()
})
afterAll(async () => {
  await closeWatches()
  await closeAll()
})
beforeEach(async () => {
  await closeWatches()
  receiver.received.length = 0
  receiver.status = 204
  await seeWorker(stage.sources.db)
})

function addCallback(): Promise<void> {
  const body = { type: 'message.status', timestamp: new Date().toISOString(), data: {} }
  return addCallbacks(stage.sources.db, [{ change: 1, message: 1, account: 'seven', url: CALLBACK_URL, body }])
}

const setHealth = (health: object) => stage.installation.sql`
  INSERT INTO lastword.account_states (account, health) VALUES ('seven', ${JSON.stringify(health)}::text::jsonb)
  ON CONFLICT (account) DO UPDATE SET health = excluded.health`

async function setRoute(state: 'ok' | 'silent'): Promise<void> {
  await moveLearned(stage.sources.db, 'seven', (_found, now) => {
    const learned = nothingLearned(now)
    return { learned: { ...learned, route: { ...learned.route, state } } }
  })
  await stage.learner.refresh()
}

const redis = async (...command: [string, ...string[]]) => {
  const client = new Redis(redisUrl())
  await client.call(...command)
  client.disconnect()
}

const OUTSTANDING = { count: 5, since: Date.now() - 3_600_000, refusals: 0, reason: 'the provider answered HTTP 401' }

/** How each kind begins and ends, and the subject it then has. */
const kinds: Record<
  Exclude<AlertKind, 'database-away'>,
  { subject: string; says: string; begin(): unknown; end(): unknown }
> = {
  'account-refused': {
    subject: 'seven',
    says: 'HTTP 401',
    begin: () => setHealth({ trouble: 'refused', bad: OUTSTANDING }),
    end: () => setHealth({}),
  },
  'account-unanswered': {
    subject: 'seven',
    says: 'HTTP 401',
    begin: () => setHealth({ trouble: 'failing', bad: OUTSTANDING }),
    end: () => setHealth({}),
  },
  'webhooks-silent': {
    subject: 'seven',
    says: 'No receipts come',
    begin: () => setRoute('silent'),
    end: () => setRoute('ok'),
  },
  'webhooks-refused': {
    subject: 'seven',
    says: '10 or more within 10 minutes: input invalid, unauthorized',
    begin() {
      const { webhooks } = stage.sources.metrics as Metrics
      webhooks.inc({ account: 'seven', result: 'input_invalid' }, 4)
      webhooks.inc({ account: 'seven', result: 'unauthorized' }, 6)
      webhooks.inc({ account: 'seven', result: 'accepted' }, 1000)
    },
    end() {
      stage.limits.refusedWithinMs = 1
    },
  },
  'receiver-failing': {
    subject: 'https://app.example',
    says: 'the receiver answered HTTP 500',
    async begin() {
      await addCallback()
      await stage.installation.sql`
        UPDATE lastword.callbacks SET last_error = 'the receiver answered HTTP 500', attempts = 1,
          next_attempt_at = now() + interval '1 hour'`
    },
    end: () => stage.installation.sql`DELETE FROM lastword.callbacks`,
  },
  'callbacks-disabled': {
    subject: 'seven',
    says: 'https://app.example says that the callback URL of account "seven" is gone',
    async begin() {
      await addCallback()
      await stage.installation.sql`UPDATE lastword.callbacks SET next_attempt_at = NULL`
      await noteGoneUrl(stage.sources.db, 'seven', CALLBACK_URL)
    },
    async end() {
      expect(await replayCallbacks(stage.sources.db)).toBe(1)
      await stage.installation.sql`DELETE FROM lastword.callbacks`
    },
  },
  'callbacks-given-up': {
    subject: 'seven',
    says: 'the first of them to https://app.example: the receiver answered HTTP 500',
    async begin() {
      await addCallback()
      await stage.installation.sql`
        UPDATE lastword.callbacks SET last_error = 'the receiver answered HTTP 500', next_attempt_at = NULL`
    },
    async end() {
      expect(await replayCallbacks(stage.sources.db)).toBe(1)
      await stage.installation.sql`DELETE FROM lastword.callbacks`
    },
  },
  'tracking-failing': {
    subject: 'track',
    says: 'have failed',
    async begin() {
      const { queues } = stage.sources
      await queues.track.add('order', {})
      const worker = backendOf().openWorker('track', () => Promise.reject(new Error('not as it should be')))
      await once(worker, 'failed')
      await worker.close()
    },
    end: () => stage.sources.queues.track.clean(0, 10, 'failed'),
  },
  'dispatch-overdue': {
    subject: 'seven',
    says: 'more than 10 minutes',
    // Never asked about, it is asked about an hour after it was sent, whatever it is worth.
    begin: () => addDue({ sentMinutesAgo: 120, dueMinutesAgo: 30 }),
    end: () => stage.installation.sql`DELETE FROM lastword.due`,
  },
  'queue-paused': {
    subject: 'status-query.seven',
    says: 'is paused',
    begin: () => stage.sources.queues.statusQuery('seven').pause(),
    end: () => stage.sources.queues.statusQuery('seven').resume(),
  },
  'changes-unread': {
    subject: 'sms-changes',
    says: 'More than 2 changes wait',
    async begin() {
      stage.limits.unreadChanges = 2
      await stage.sources.queues.changes('sms-changes').addBulk([1, 2].map((data) => ({ name: 'change', data })))
    },
    end: () => stage.sources.queues.changes('sms-changes').drain(),
  },
  'queue-away': {
    subject: 'queue',
    says: 'it does not answer',
    begin() {
      stage.own.queueTrouble = 'does not answer'
    },
    end() {
      stage.own.queueTrouble = undefined
    },
  },
  'memory-short': {
    subject: 'redis',
    says: 'maxmemory (8192 MiB)',
    async begin() {
      // Far more than the Redis of all tests uses.
      await redis('CONFIG', 'SET', 'maxmemory', '8gb')
      stage.limits.memoryShare = 1e-6
    },
    async end() {
      await redis('CONFIG', 'SET', 'maxmemory', '0')
      stage.limits.memoryShare = ALERT_LIMITS.memoryShare
    },
  },
  'disk-short': {
    subject: HOST,
    says: 'are free on the disk',
    begin() {
      stage.limits.diskBytes = Number.MAX_SAFE_INTEGER
    },
    end() {
      stage.limits.diskBytes = 0
    },
  },
  'clock-differs': {
    subject: HOST,
    says: '600 s behind the database',
    begin() {
      stage.own.aheadMs = -600_000
    },
    end() {
      stage.own.aheadMs = 0
    },
  },
  'no-worker': {
    subject: 'worker',
    says: 'No worker runs',
    begin: () => stage.installation.sql`UPDATE lastword.installation SET worker_seen_at = now() - interval '1 hour'`,
    end: () => seeWorker(stage.sources.db),
  },
}

interface DueMessage {
  sentMinutesAgo: number
  dueMinutesAgo: number
  askedMinutesAgo?: number
}

async function addDue({ sentMinutesAgo, dueMinutesAgo, askedMinutesAgo }: DueMessage): Promise<void> {
  await stage.installation.sql`
    WITH added AS (
      INSERT INTO lastword.messages (account, message_id, recipient_key, sent_at, window_ends_at, tracked_at, asked_at, due_at)
      VALUES ('seven', ${`due-${sentMinutesAgo}-${Math.random()}`}, '', now() - ${sentMinutesAgo} * interval '1 minute',
        now() + interval '1 day', now(), now() - ${askedMinutesAgo ?? null}::int * interval '1 minute', now() - ${dueMinutesAgo} * interval '1 minute')
      RETURNING account, due_at, id
    )
    INSERT INTO lastword.due (account, due_at, message) SELECT account, due_at, id FROM added`
}

const backendOf = () => stage.sources.backend as Awaited<ReturnType<typeof openQueueBackend>>

describe('an operator', () => {
  it.each(Object.entries(kinds))(
    'is told when %s begins, and when it is over',
    async (name, { subject, says, begin, end }) => {
      const kind = name as AlertKind
      // Counters are those of a process that has just started.
      stage.sources.metrics = createMetrics({ ofProcess: false })
      watch()
      await begin()
      await until(() => expect(tellings(kind)).toEqual(['alert.begun']))
      const { db } = stage.sources
      expect(await findAlerts(db)).toContainEqual(expect.objectContaining({ kind, subject, until: null }))
      await end()
      await until(() => expect(tellings(kind)).toEqual(['alert.begun', 'alert.ended']))
      const [begun, ended] = told(kind)
      const data = begun?.body.data
      expect(data).toMatchObject({ subject, until: null, message: expect.stringContaining(says) })
      expect(ended?.body.data).toMatchObject({
        ...data,
        message: `This is over: ${data?.message}`,
        until: expect.any(String),
      })
      for (const { body } of [begun, ended].flatMap((one) => one ?? []))
        expect(alertBodySchema.parse(body)).toEqual(body)
      expect([begun?.id, ended?.id]).toEqual([`${data?.id}-begun`, `${data?.id}-ended`])
      expect(JSON.stringify(told(kind))).not.toMatch(/word|t0p|whsec/)
      expect(receiver.received).toHaveLength(2)
      stage.limits.refusedWithinMs = ALERT_LIMITS.refusedWithinMs
    },
  )

  it('is not told of messages that are due and wait for others, because asking does not pay yet', async () => {
    const { db, accounts, learner } = stage.sources
    const account = accounts.get('seven') ?? expect.fail('Expected an account')
    const lookup = lookupInUse(account, undefined) ?? expect.fail('Expected a look-up')
    const asked = { account: 'seven', lookup, plan: learner.planOf(account, lookup), forMs: ALERT_LIMITS.overdueMs }
    const due = { sentMinutesAgo: 30, askedMinutesAgo: 24, dueMinutesAgo: 15 }
    await addDue(due)
    expect(await findOverdueAccounts(db, ['seven'], ALERT_LIMITS.overdueMs)).toEqual(['seven'])
    expect(await isOverdue(db, asked)).toBe(false)
    // Some of them are worth a request, and were ten minutes ago.
    for (let count = 0; count < 20; count++) await addDue(due)
    expect(await isOverdue(db, asked)).toBe(true)
    await stage.installation.sql`DELETE FROM lastword.due`
  })

  it('is told that the database is away by a process that cannot reach it, and when it is back', async () => {
    watch()
    await stage.proxy.cut()
    await until(() => expect(tellings('database-away')).toEqual(['alert.begun']))
    await stage.proxy.restore()
    await until(() => expect(tellings('database-away')).toEqual(['alert.begun', 'alert.ended']))
    const [{ body } = { body: undefined }] = told('database-away')
    expect(body?.data).toMatchObject({ subject: HOST, message: expect.stringContaining('ECONN') })
  })

  it('is told once by processes that all see it, and by one that comes after them', async () => {
    watch()
    watch()
    stage.own.queueTrouble = 'is full'
    await stage.sources.queues.dispatch.pause()
    await until(() =>
      expect([tellings('queue-paused'), tellings('queue-away')]).toEqual([['alert.begun'], ['alert.begun']]),
    )
    await closeWatches()
    watch()
    watch()
    // A further alert shows that the new ones have looked.
    stage.own.aheadMs = 60_000
    await until(() => expect(tellings('clock-differs')).toEqual(['alert.begun']))
    expect([tellings('queue-paused'), tellings('queue-away')]).toEqual([['alert.begun'], ['alert.begun']])
    Object.assign(stage.own, { queueTrouble: undefined, aheadMs: 0 })
    await stage.sources.queues.dispatch.resume()
    const both = ['alert.begun', 'alert.ended']
    await until(() => {
      for (const kind of ['queue-paused', 'queue-away', 'clock-differs'] as const) expect(tellings(kind)).toEqual(both)
    })
  })

  it('is told again until the alert is taken, in order and whoever sends it', async () => {
    receiver.status = 500
    watch()
    await stage.sources.queues.expire.pause()
    const { sql } = stage.installation
    const isPutOff = (endedAt: unknown) =>
      until(async () => {
        const [row] = await sql`
          SELECT ended_at, attempts, told FROM lastword.alerts WHERE subject = 'expire' ORDER BY id DESC LIMIT 1`
        expect(row).toEqual({ ended_at: endedAt, attempts: 1, told: 0 })
      })
    await isPutOff(null)
    await closeWatches()
    await stage.sources.queues.expire.resume()
    watch()
    await isPutOff(expect.any(Date))
    expect(tellings('queue-paused')).toEqual(['alert.begun'])
    receiver.status = 204
    await sql`UPDATE lastword.alerts SET next_attempt_at = now() WHERE next_attempt_at IS NOT NULL`
    await until(() => expect(tellings('queue-paused')).toEqual(['alert.begun', 'alert.begun', 'alert.ended']))
    const [one, again] = told('queue-paused')
    expect(again?.id).toBe(one?.id)
  })

  it('is not told of what a process reported that has ended, once that is forgotten', async () => {
    watch({ rules: rulesOf(0, 0) })
    stage.own.queueTrouble = 'is full'
    await until(() => expect(tellings('queue-away')).toEqual(['alert.begun']))
    await closeWatches()
    stage.own.queueTrouble = undefined
    watch({ rules: rulesOf(0, 0) })
    await until(() => expect(tellings('queue-away')).toEqual(['alert.begun', 'alert.ended']))
  })
})

it('is told by a service as it is run, which shows its alerts', async () => {
  const environment = { ALERT_URL: receiver.url, ALERT_SECRET: SECRET }
  const accounts = [{ ...ACCOUNT, query: 'off', webhookToken: 'token' }]
  const installation = await createInstallation('postgres')
  await installation.sql`UPDATE lastword.installation SET worker_seen_at = NULL`
  // Seen at the first look already.
  await installation.sql`
    INSERT INTO lastword.account_states (account, gone_url) VALUES ('seven', ${CALLBACK_URL})
    ON CONFLICT (account) DO UPDATE SET gone_url = excluded.gone_url`
  const service = await startService({ installation, accounts, environment })
  await until(() => expect(tellings('callbacks-disabled')).toEqual(['alert.begun']))
  expect(receiver.received).toHaveLength(1)
  const { alerts } = (await (await fetch(`${service.url}/v1/alerts`)).json()) as { alerts: object[] }
  const { since, message } = receiver.received[0]?.body.data ?? {}
  expect(alerts).toEqual([
    { id: 1, kind: 'callbacks-disabled', subject: 'seven', message, since, begunAt: expect.any(String), until: null },
  ])
  const metrics = await (await fetch(`${service.url}/metrics`)).text()
  expect(metrics).toContain('lastword_alerts{kind="callbacks-disabled",subject="seven"} 1')
})

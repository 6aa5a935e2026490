/**
 * Callbacks: a receiver of our own that fails in every way and then recovers has every change in the end, in order per
 * message and signed; a slow one holds up nobody else; and none reaches inside.
 */
import { once } from 'node:events'
import { createServer, type IncomingHttpHeaders, type ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'
import { Webhook } from 'standardwebhooks'
import { afterEach, describe, expect, it } from 'vitest'
import { doubled } from '../../src/core/backoff.ts'
import type { Status, StatusReport } from '../../src/core/status.ts'
import { openDatabase } from '../../src/db/connection.ts'
import { applyReports } from '../../src/db/reports.ts'
import { callbackBodySchema } from '../../src/http/openapi/webhooks.ts'
import { createCallbackSender } from '../../src/jobs/callback-sender.ts'
import { CALLBACK_PAUSES } from '../../src/jobs/callbacks.ts'
import { anyTime } from '../support/api.ts'
import { closeAll, closeLater, type Service, startService, trackOver, until } from '../support/service.ts'

afterEach(closeAll)

const SECRET = `whsec_${Buffer.from('a secret of 32 bytes, not a word').toString('base64')}`
const OTHER_SECRET = `whsec_${Buffer.from('another secret of thirty-two bytes').toString('base64')}`
const PHONE = '491701234567'
const START = Date.parse('2026-03-01T12:00:00Z')
const MINUTE = 60_000
const HOUR = 60 * MINUTE
const DAY = 24 * HOUR

/** A receiver's response to a request: a status, or the end of the connection, or nothing ever. */
type Behaviour = number | 'hang up' | 'hang'

interface Attempt {
  path: string
  headers: IncomingHttpHeaders
  text: string
  at: number
  behaviour: Behaviour
  messageId: string
  status: Status
}

interface Receiver {
  url: string
  attempts: Attempt[]
  /** How it answers from now on, by path. */
  behaviour: (path: string) => Behaviour
  /** The most requests of a path that it had in hand at once. */
  mostAtOnce(path: string): number
  /** Lets those go that hang. */
  letGo(): void
}

async function openReceiver(): Promise<Receiver> {
  const hanging = new Set<ServerResponse>()
  const inHand = new Map<string, number>()
  const most = new Map<string, number>()
  const server = createServer((request, response) => {
    const path = request.url ?? ''
    const count = (inHand.get(path) ?? 0) + 1
    inHand.set(path, count)
    most.set(path, Math.max(most.get(path) ?? 0, count))
    response.on('close', () => {
      inHand.set(path, (inHand.get(path) ?? 1) - 1)
      hanging.delete(response)
    })
    let text = ''
    request.setEncoding('utf8').on('data', (chunk) => {
      text += chunk
    })
    request.on('end', () => {
      const behaviour = receiver.behaviour(path)
      const { messageId, status } = JSON.parse(text).data
      receiver.attempts.push({ path, headers: request.headers, text, at: Date.now(), behaviour, messageId, status })
      if (behaviour === 'hang') hanging.add(response)
      else if (behaviour === 'hang up') response.destroy()
      else
        response
          .writeHead(behaviour, { location: '/elsewhere', 'retry-after': behaviour === 429 ? '1800' : '' })
          .end(`{"password":"of the receiver","to":"+${PHONE}"}`)
    })
  })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  closeLater(async () => {
    server.closeAllConnections()
    server.close()
    await once(server, 'close')
  })
  const receiver: Receiver = {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    attempts: [],
    behaviour: () => 204,
    mostAtOnce: (path) => most.get(path) ?? 0,
    letGo() {
      for (const response of hanging) response.writeHead(204).end()
    },
  }
  return receiver
}

const isTaken = ({ behaviour }: Attempt) => typeof behaviour === 'number' && behaviour < 300
const takenBy = (receiver: Receiver, path?: string) =>
  receiver.attempts.filter((attempt) => isTaken(attempt) && (path === undefined || attempt.path === path))

interface Setup {
  service: Service
  receiver: Receiver
  /** Applies reports as webhooks and polls do, by the one write path. */
  apply(messageIds: readonly string[], status: Status, ms: number): Promise<void>
  /** Makes time pass for what waits for its next attempt. */
  passTime(ms: number): Promise<void>
}

interface SetupOptions {
  callback?: object
  path?: string
  lease?: string
  timeout?: string
}

async function setUp(options: SetupOptions | ((receiver: Receiver) => SetupOptions)): Promise<Setup> {
  const receiver = await openReceiver()
  const {
    callback = {},
    path = '/sms?token=t0p',
    lease,
    timeout = '10s',
  } = typeof options === 'function' ? options(receiver) : options
  const account = {
    name: 'seven',
    provider: 'seven',
    apiKey: 'key',
    query: 'off',
    timeout,
    callback: { url: receiver.url + path, secret: SECRET, ...callback },
  }
  const environment = { CALLBACK_ALLOW_PRIVATE: 'true' }
  const service = await startService({ accounts: [account], environment, ...(lease && { lease }) })
  const { db, close } = await openDatabase(service.databaseUrl, { maxConnections: 1 })
  closeLater(() => close())
  return {
    service,
    receiver,
    async apply(messageIds, status, ms) {
      const occurredAt = new Date(START + ms)
      const rest = { account: 'seven', status, rawStatus: status, occurredAt, source: 'poll' } as const
      await applyReports(
        db,
        messageIds.map((messageId): StatusReport => ({ messageId, ...rest })),
      )
    },
    async passTime(ms) {
      // For all of them at once: one that is being tried just now would be left behind.
      await until(() =>
        service.sql.begin(async (transaction) => {
          await transaction`LOCK TABLE lastword.callbacks IN EXCLUSIVE MODE`
          const held = await transaction`
            SELECT FROM lastword.callbacks WHERE claim IS NOT NULL AND next_attempt_at IS NOT NULL`
          expect(held).toHaveLength(0)
          await transaction`
            UPDATE lastword.callbacks SET
              next_attempt_at = next_attempt_at - ${ms} * interval '1 millisecond',
              first_due_at = first_due_at - ${ms} * interval '1 millisecond'
            WHERE next_attempt_at IS NOT NULL`
          await transaction`
            UPDATE lastword.receivers SET closed_until = closed_until - ${ms} * interval '1 millisecond'`
        }),
      )
    },
  }
}

let ids = 0
const newIds = (count: number) => Array.from({ length: count }, () => String(77_000_000_000 + ++ids))

async function trackWithPhone({ url }: Service, messageIds: readonly string[]): Promise<void> {
  const response = await fetch(`${url}/v1/messages`, {
    method: 'POST',
    headers: { 'content-type': 'application/json' },
    body: JSON.stringify({
      account: 'seven',
      messages: messageIds.map((messageId) => ({ messageId, recipient: `+${PHONE}`, metadata: { of: messageId } })),
    }),
  })
  expect(response.status).toBe(202)
}

interface CallbackState {
  message: string
  attempts: number
  lastError: string | null
  isClaimed: boolean
  isDue: boolean
  isOver: boolean
  url: string
}

function callbackStates({ sql }: Service): Promise<CallbackState[]> {
  return sql<CallbackState[]>`
    SELECT message, attempts, last_error AS "lastError", claim IS NOT NULL AS "isClaimed", url,
      coalesce(next_attempt_at <= now(), false) AS "isDue", next_attempt_at IS NULL AS "isOver"
    FROM lastword.callbacks ORDER BY change`
}

/** The earliest callback of each message, which is the one that is tried. */
async function firstStates(service: Service): Promise<CallbackState[]> {
  const firsts = new Map<string, CallbackState>()
  for (const state of await callbackStates(service)) {
    if (!firsts.has(state.message)) firsts.set(state.message, state)
  }
  return [...firsts.values()]
}

/** Resolves when everything that was due has been tried, and waits for a later time. */
const allTried = (service: Service, attempts: (state: CallbackState) => boolean = () => true) =>
  until(async () => {
    const states = await firstStates(service)
    // Callbacks are added a little after the changes they tell of.
    expect(states).not.toEqual([])
    for (const state of states) expect(state).toMatchObject({ isClaimed: false, isDue: false })
    expect(states.every(attempts)).toBe(true)
    return states
  }, 40_000)

const nothingLeft = (service: Service) => until(async () => expect(await callbackStates(service)).toEqual([]), 30_000)

interface UntakenCallback {
  change: number
  account: string
  receiver: string
  attempts: number
  firstDueAt: string
  lastError: string
}

async function untakenCallbacks({ url }: Service): Promise<UntakenCallback[]> {
  const response = await fetch(`${url}/v1/callbacks`)
  const text = await response.text()
  expect(response.status).toBe(200)
  for (const secret of ['/sms', 't0p', PHONE, SECRET]) expect(text).not.toContain(secret)
  return JSON.parse(text).callbacks
}

async function replay({ url }: Service, body?: object): Promise<{ status: number; body: unknown }> {
  const init = body && { headers: { 'content-type': 'application/json' }, body: JSON.stringify(body) }
  const response = await fetch(`${url}/v1/callbacks/replay`, { method: 'POST', ...init })
  return { status: response.status, body: await response.json() }
}

/** Every job says which change it tells of, and neither whom nor what. */
async function expectDiscreetJobs({ queue }: Service): Promise<void> {
  const jobs = await queue('callbacks').getJobs(['completed', 'failed', 'waiting', 'active', 'delayed'], 0, -1)
  expect(jobs.length).toBeGreaterThan(0)
  for (const { name, data, returnvalue, failedReason } of jobs) {
    expect(data).toEqual({ v: 1, account: 'seven', change: expect.any(Number), claim: expect.any(String) })
    expect(name).toBe(`change ${data.change}`)
    const shown = JSON.stringify([name, data, returnvalue, failedReason])
    for (const secret of ['http:', '/sms', 't0p', PHONE, SECRET, 'of the receiver']) expect(shown).not.toContain(secret)
  }
}

/** Of each message every status was taken once and in order, and no later one was tried before an earlier one was taken. */
function expectInOrder(receiver: Receiver, messageIds: readonly string[], statuses: readonly Status[]): void {
  for (const messageId of messageIds) {
    const attempts = receiver.attempts.filter((attempt) => attempt.messageId === messageId)
    expect(attempts.filter(isTaken).map(({ status }) => status)).toEqual(statuses)
    const tried = attempts.map(({ status }) => statuses.indexOf(status))
    expect(tried).toEqual([...tried].sort((a, b) => a - b))
  }
}

it('tells a receiver that failed in every way everything, in order and signed', { timeout: 120_000 }, async () => {
  const { service, receiver, apply, passTime } = await setUp({})
  const messageIds = newIds(6)
  await trackWithPhone(service, messageIds)

  // Changes told in the phase of one failure are told again in those of the others: nothing is taken until the last.
  // Waits for the reason alone, never for a moment in which all rest: those that fail slowly fail at different times.
  const failsWith = async (behaviour: Behaviour, reason: string) => {
    receiver.behaviour = () => behaviour
    await until(async () => {
      await service.sql`
        UPDATE lastword.callbacks SET next_attempt_at = now()
        WHERE claim IS NULL AND next_attempt_at > now() AND last_error IS DISTINCT FROM ${reason}`
      const states = await firstStates(service)
      expect(states.map(({ lastError }) => lastError)).toEqual(messageIds.map(() => reason))
    }, 60_000)
  }
  await apply(messageIds, 'transmitted', 1)
  await failsWith('hang up', 'the receiver cannot be reached: UND_ERR_SOCKET')
  await apply(messageIds, 'buffered', 2)
  await failsWith('hang', 'the receiver did not answer within 15 s')
  const notes = () => service.sql`SELECT receiver, slow_until > now() AS "isSlow" FROM lastword.receivers`
  expect(await notes()).toEqual([{ receiver: receiver.url, isSlow: true }])
  await failsWith(307, 'the receiver answered HTTP 307')
  await apply(messageIds, 'delivered', 3)

  receiver.behaviour = () => 500
  const before = receiver.attempts.length
  for (let minutes = 0; minutes < 60; minutes += 5) {
    await passTime(5 * MINUTE)
    await allTried(service)
  }
  expect(receiver.attempts.length - before).toBeGreaterThan(3 * messageIds.length)
  expect(takenBy(receiver)).toEqual([])
  await apply(messageIds, 'read', 4)

  receiver.behaviour = () => 200
  await passTime(2 * HOUR)
  await nothingLeft(service)

  expect(takenBy(receiver)).toHaveLength(4 * messageIds.length)
  expectInOrder(receiver, messageIds, ['transmitted', 'buffered', 'delivered', 'read'])
  expect(new Set(receiver.attempts.map(({ path }) => path))).toEqual(new Set(['/sms?token=t0p']))
  expectSigned(receiver)
  await expectDiscreetJobs(service)
  expect(await untakenCallbacks(service)).toEqual([])
  expect(await service.queue('callbacks').getFailedCount()).toBe(0)
  expect(await notes()).toEqual([{ receiver: receiver.url, isSlow: null }])

  const looked = await (await fetch(`${service.url}/v1/messages/seven/${messageIds[0]}`)).json()
  const answer = '{"password":"of the receiver","to":"…67"}'
  expect(looked.callbacks).toMatchObject(
    ['transmitted', 'buffered', 'delivered', 'read'].map((status) => ({ status, state: 'taken', nextAttemptAt: null })),
  )
  const [first] = looked.callbacks
  expect(first.receiver).toBe(receiver.url)
  expect(first.lastAttempts.length).toBeGreaterThan(4)
  expect(first.lastAttempts.slice(-2)).toMatchObject([
    { httpStatus: 500, error: 'the receiver answered HTTP 500', answer },
    { httpStatus: 200, error: null, answer },
  ])
})

it('is tried, and in the end given up, where no account has a callback any more', async () => {
  const service = await startService({ accounts: [{ name: 'seven', provider: 'seven', apiKey: 'key', query: 'off' }] })
  const body = { type: 'message.status', timestamp: new Date().toISOString(), data: {} }
  await service.sql`
    INSERT INTO lastword.callbacks (change, message, account, url, body)
    VALUES (1, 1, 'seven', 'https://app.example', ${service.sql.json(body)})`
  await service.close()
  const again = await startService({
    installation: service,
    accounts: [{ name: 'seven', provider: 'seven', apiKey: 'key', query: 'off' }],
  })
  await until(async () => {
    const [row] = await again.sql`SELECT attempts, last_error FROM lastword.callbacks`
    expect(row).toEqual({ attempts: 1, last_error: 'account "seven" has no callback secret any more' })
  })
})

it('says what changed, in the shape of the standard', async () => {
  const { service, receiver, apply } = await setUp({})
  const [messageId = ''] = newIds(1)
  await trackWithPhone(service, [messageId])
  await apply([messageId], 'delivered', 1)
  await until(() => expect(receiver.attempts).toHaveLength(1))
  const [attempt] = receiver.attempts
  const body = JSON.parse(attempt?.text ?? '')
  expect(body).toEqual({
    type: 'message.status',
    timestamp: body.data.changedAt,
    data: {
      account: 'seven',
      messageId,
      recipient: `+${PHONE}`,
      status: 'delivered',
      previousStatus: null,
      final: true,
      source: 'poll',
      occurredAt: '2026-03-01T12:00:00.001Z',
      changedAt: anyTime,
      metadata: { of: messageId },
    },
  })
  expect(callbackBodySchema.parse(body)).toEqual(body)
  const page = await (await fetch(`${service.url}/v1/changes`)).json()
  expect(page).toMatchObject({ changes: [body.data] })
  expect(attempt?.headers).toMatchObject({ 'content-type': 'application/json', 'user-agent': 'Lastword' })
  expectSigned(receiver)
  await nothingLeft(service)
})

it('ends at 410, keeps what failed, and tells it when it is replayed or its job retried', async () => {
  const { service, receiver, apply } = await setUp({})
  const messageIds = newIds(3)
  const [replayed = '', retried = '', untouched = ''] = messageIds
  await trackWithPhone(service, messageIds)
  receiver.behaviour = () => 410
  const queue = service.queue('callbacks')
  for (const [index, messageId] of messageIds.entries()) {
    await apply([messageId], 'delivered', 1)
    await until(async () => expect(await queue.getFailedCount()).toBe(index + 1))
  }
  // Nothing is sent any more to an account's URL that has said once that it is gone.
  expect(receiver.attempts).toMatchObject([{ messageId: replayed }])
  const before = 'the receiver said before that this URL is gone (HTTP 410)'
  const reasons = (await queue.getFailed()).map(({ failedReason }) => failedReason).sort()
  const givenUp = (reason: string) => `Given up at attempt 1: ${reason}.`
  expect(reasons).toEqual([givenUp('the receiver answered HTTP 410'), givenUp(before), givenUp(before)])
  const failed = await untakenCallbacks(service)
  const change = (messageId: string) => failed.at(-1 - messageIds.indexOf(messageId))?.change ?? 0
  expect(failed).toEqual(
    [before, before, 'the receiver answered HTTP 410'].map((lastError) => ({
      change: expect.any(Number),
      account: 'seven',
      messageId: expect.any(String),
      status: 'delivered',
      receiver: receiver.url,
      state: 'failed',
      attempts: 1,
      firstDueAt: anyTime,
      nextAttemptAt: null,
      lastError,
      lastAttempts: [expect.objectContaining({ error: lastError })],
    })),
  )

  // A callback that failed for good holds up nothing that comes later.
  receiver.behaviour = () => 200
  const jobs = await queue.getFailed()
  await jobs.find(({ data }) => data.change === change(retried))?.retry()
  await until(() => expect(takenBy(receiver)).toMatchObject([{ messageId: retried, status: 'delivered' }]))
  // The URL has taken one, so it is not gone any more.
  await until(async () => {
    await apply([replayed], 'read', 2)
    expect(takenBy(receiver)[1]).toMatchObject({ messageId: replayed, status: 'read' })
  })

  expect(await replay(service, { changes: [change(replayed)] })).toEqual({ status: 202, body: { replayed: 1 } })
  await until(() => expect(takenBy(receiver)).toHaveLength(3))
  expect(takenBy(receiver)[2]).toMatchObject({ messageId: replayed, status: 'delivered' })
  const left = async () => (await untakenCallbacks(service)).map((one) => one.change)
  await until(async () => expect(await left()).toEqual([change(untouched)]))

  expect(await replay(service)).toEqual({ status: 202, body: { replayed: 1 } })
  await nothingLeft(service)
  expect(takenBy(receiver)).toHaveLength(4)
  expect(await replay(service)).toEqual({ status: 202, body: { replayed: 0 } })
  // Retrying the job of one that has been told since tells nothing twice.
  await jobs.find(({ data }) => data.change === change(replayed))?.retry()
  await until(async () => expect(await queue.getFailedCount()).toBe(1))
  expect(takenBy(receiver)).toHaveLength(4)
  expectSigned(receiver)
  await expectDiscreetJobs(service)
})

it('leaves a receiver alone for as long as it asks, whatever else is due there', async () => {
  const { service, receiver, apply, passTime } = await setUp({})
  const other = await openReceiver()
  const [refused = '', later = '', elsewhere = ''] = newIds(3)
  await trackWithPhone(service, [refused, later, elsewhere])
  await service.sql`UPDATE lastword.messages SET callback_url = ${`${receiver.url}/own`} WHERE message_id = ${later}`
  await service.sql`UPDATE lastword.messages SET callback_url = ${other.url} WHERE message_id = ${elsewhere}`
  receiver.behaviour = () => 429
  await apply([refused], 'delivered', 1)
  await allTried(service, ({ attempts }) => attempts === 1)
  const [row] = await service.sql`
    SELECT extract(epoch FROM next_attempt_at - now())::float AS seconds FROM lastword.callbacks`
  expect(row?.seconds).toBeGreaterThan(1700)
  receiver.behaviour = () => 200
  await apply([later], 'delivered', 1)
  // The next change is sent elsewhere, so it was passed over.
  await apply([elsewhere], 'delivered', 1)
  await until(() => expect(takenBy(other)).toHaveLength(1))
  expect(receiver.attempts).toHaveLength(1)
  await passTime(1800 * 1000)
  await nothingLeft(service)
  expect(
    takenBy(receiver)
      .map(({ messageId }) => messageId)
      .sort(),
  ).toEqual([refused, later].sort())
  expect(receiver.attempts).toHaveLength(3)
})

it('gives up after three days, and begins anew when replayed', async () => {
  const { service, receiver, apply, passTime } = await setUp({})
  const [messageId = ''] = newIds(1)
  await trackWithPhone(service, [messageId])
  receiver.behaviour = () => 503
  await apply([messageId], 'delivered', 1)
  await allTried(service, ({ attempts }) => attempts > 0)
  for (const days of [1, 2]) {
    const { length } = receiver.attempts
    await passTime(DAY)
    await until(() => expect(receiver.attempts.length).toBeGreaterThan(length))
    const [state] = await allTried(service)
    expect([days, state?.isOver]).toEqual([days, false])
  }
  await passTime(DAY)
  const [over] = await allTried(service, ({ isOver }) => isOver)
  const queue = service.queue('callbacks')
  await until(async () => expect(await queue.getFailedCount()).toBe(1))
  const [job] = await queue.getFailed()
  const attempts = over?.attempts ?? 0
  expect(attempts).toBe(receiver.attempts.length)
  expect(job?.failedReason).toBe(`Given up at attempt ${attempts}: the receiver answered HTTP 503.`)
  expect(await untakenCallbacks(service)).toMatchObject([{ attempts, lastError: 'the receiver answered HTTP 503' }])

  // A retry that fails is one more attempt, and again visible as failed.
  await job?.retry()
  await until(async () => expect(await untakenCallbacks(service)).toMatchObject([{ attempts: attempts + 1 }]))
  await until(async () => expect(await queue.getFailedCount()).toBe(1))

  await replay(service)
  await allTried(service, (state) => state.attempts === 1 && !state.isOver)
  expect(await untakenCallbacks(service)).toMatchObject([{ state: 'waiting', attempts: 1 }])
  receiver.behaviour = () => 200
  await passTime(HOUR)
  await nothingLeft(service)
  expect(takenBy(receiver)).toHaveLength(1)
  expect(new Set(receiver.attempts.map(({ headers }) => headers['webhook-id'])).size).toBe(1)
})

/** All attempts for a change have one ID and one body, and every one verifies with the published library. */
function expectSigned({ attempts }: Receiver): void {
  const bodies = new Map<string, string>()
  for (const { headers, text, at } of attempts) {
    const id = String(headers['webhook-id'])
    expect(id).toMatch(/^change-\d+-[0-9a-f]{8}-[0-9a-z]+$/)
    expect(bodies.get(id) ?? text).toBe(text)
    bodies.set(id, text)
    const signed = Object.fromEntries(Object.entries(headers).map(([name, value]) => [name, String(value)]))
    expect(new Webhook(SECRET).verify(text, signed)).toEqual(JSON.parse(text))
    expect(() => new Webhook(SECRET).verify(`${text} `, signed)).toThrow()
    expect(Math.abs(Number(signed['webhook-timestamp']) * 1000 - at)).toBeLessThan(5_000)
  }
  expect(new Set(bodies.values()).size).toBe(bodies.size)
}

it('tells only final statuses where the account wants no others', async () => {
  const { service, receiver, apply } = await setUp({ callback: { events: 'final' } })
  const messageIds = newIds(2)
  await trackWithPhone(service, messageIds)
  for (const [ms, status] of (['accepted', 'transmitted', 'delivered', 'read'] as const).entries()) {
    await apply(messageIds, status, ms)
  }
  await until(() => expect(takenBy(receiver)).toHaveLength(4))
  expectInOrder(receiver, messageIds, ['delivered', 'read'])
  await nothingLeft(service)
})

it('tells nobody where neither account nor message has a URL, and signs with the secrets of the receiver', async () => {
  const { service, receiver, apply } = await setUp(({ url }) => ({
    callback: { url: undefined, endpoints: [{ url: `${url}/own`, secret: [SECRET, OTHER_SECRET] }] },
  }))
  const [silent = '', told = ''] = newIds(2)
  await trackOver(service.url, [silent, told])
  await service.sql`
    UPDATE lastword.messages SET callback_url = ${`${receiver.url}/own`} WHERE message_id = ${told}`
  await apply([silent], 'delivered', 1)
  await apply([told], 'delivered', 1)
  await until(() => expect(takenBy(receiver)).toHaveLength(1))
  const [taken] = takenBy(receiver)
  expect(taken).toMatchObject({ messageId: told, path: '/own' })
  const signed = taken?.headers as Record<string, string>
  for (const secret of [SECRET, OTHER_SECRET]) new Webhook(secret).verify(taken?.text ?? '', signed)
  expect(signed['webhook-signature']?.split(' ')).toHaveLength(2)
  await nothingLeft(service)
})

it('lets a slow receiver hold up nobody but itself', { timeout: 60_000 }, async () => {
  const { service, receiver, apply } = await setUp({ path: '/quick' })
  const slow = newIds(150)
  const quick = newIds(50)
  // The slow one's are first in every order.
  await trackOver(service.url, [...slow, ...quick])
  await service.sql`
    UPDATE lastword.messages SET callback_url = ${`${receiver.url}/a-slow-one`} WHERE message_id = ANY(${slow})`
  receiver.behaviour = (path) => (path === '/a-slow-one' ? 'hang' : 204)
  await apply(slow, 'delivered', 1)
  await until(() => expect(receiver.mostAtOnce('/a-slow-one')).toBe(10))

  const begun = Date.now()
  await apply(quick, 'delivered', 1)
  await apply(quick, 'read', 2)
  await until(() => expect(takenBy(receiver, '/quick')).toHaveLength(100), 10_000)
  expect(Date.now() - begun).toBeLessThan(10_000)
  expectInOrder(receiver, quick, ['delivered', 'read'])
  expect(takenBy(receiver, '/a-slow-one')).toEqual([])
  expect(receiver.mostAtOnce('/a-slow-one')).toBe(10)

  receiver.behaviour = () => 204
  receiver.letGo()
  await nothingLeft(service)
  const told = new Set(receiver.attempts.map(({ messageId }) => messageId))
  expect([...told].sort()).toEqual([...slow, ...quick].sort())
  // Requests that hung were taken, too, when they were let go.
  expect(receiver.attempts).toHaveLength(slow.length + 2 * quick.length)
})

it('lets 150 receivers that never answer hold up no other, whatever they are sent', { timeout: 60_000 }, async () => {
  const { service, receiver, apply } = await setUp({ path: '/quick' })
  const dead: Receiver[] = []
  for (let i = 0; i < 150; i++) dead.push(await openReceiver())
  const slow = newIds(1_500)
  const quick = newIds(20)
  await trackOver(service.url, [...slow, ...quick])
  const urls = slow.map((messageId, i) => `${dead[i % dead.length]?.url}/of/${messageId}`)
  await service.sql`
    UPDATE lastword.messages m SET callback_url = n.url
    FROM unnest(${slow}::text[], ${urls}::text[]) AS n (id, url) WHERE m.message_id = n.id`
  for (const one of dead) one.behaviour = () => 'hang'
  await apply(slow, 'delivered', 1)
  await until(() => expect(dead.filter(({ attempts }) => attempts.length > 0)).toHaveLength(150))

  await apply(quick, 'delivered', 1)
  await until(() => expect(takenBy(receiver)).toHaveLength(20))
  // None of theirs had to end before.
  expect(await service.sql`SELECT FROM lastword.callbacks WHERE attempts > 0`).toHaveLength(0)
  expect(dead.flatMap(({ attempts }) => attempts).length).toBeLessThan(500)

  for (const one of dead) {
    one.behaviour = () => 204
    one.letGo()
  }
  await nothingLeft(service)
  expect(new Set(dead.flatMap(({ attempts }) => attempts.map(({ path }) => path))).size).toBe(slow.length)
})

it('holds a callback for longer than an attempt may take, whatever the lease of batches', async () => {
  const { service, receiver, apply } = await setUp({ lease: '2s', timeout: '1s' })
  const [messageId = ''] = newIds(1)
  await trackOver(service.url, [messageId])
  receiver.behaviour = () => 'hang'
  await apply([messageId], 'delivered', 1)
  await until(() => expect(receiver.attempts).toHaveLength(1))
  const [row] = await service.sql<{ heldFor: number }[]>`
    SELECT extract(epoch FROM next_attempt_at - now())::float8 AS "heldFor" FROM lastword.callbacks`
  expect(row?.heldFor).toBeGreaterThan(20)
  receiver.letGo()
  await nothingLeft(service)
})

it('gives back at a stop what a receiver does not answer, and fails nothing', { timeout: 60_000 }, async () => {
  const { service, receiver, apply } = await setUp({})
  const messageIds = newIds(3)
  await trackOver(service.url, messageIds)
  receiver.behaviour = () => 'hang'
  await apply(messageIds, 'delivered', 1)
  await until(() => expect(receiver.attempts).toHaveLength(3))
  await service.close()
  const states = await callbackStates(service)
  expect(states).toHaveLength(3)
  for (const state of states) expect(state).toMatchObject({ isClaimed: false, isDue: true, isOver: false, attempts: 0 })
  expect(await service.queue('callbacks').getFailedCount()).toBe(0)
})

it('adds no jobs while the queue is paused, and sends everything once it goes on', async () => {
  const { service, receiver, apply } = await setUp({ lease: '20s' })
  const queue = service.queue('callbacks')
  await queue.pause()
  const messageIds = newIds(30)
  await trackOver(service.url, messageIds)
  await apply(messageIds, 'delivered', 1)
  await until(async () => expect(await callbackStates(service)).toHaveLength(30))
  // The rounds in which they would have been added.
  await new Promise((resolve) => setTimeout(resolve, 3_000))
  expect(await queue.getJobCountByTypes('waiting', 'active', 'delayed')).toBe(0)
  await queue.resume()
  await nothingLeft(service)
  expect(
    takenBy(receiver)
      .map(({ messageId }) => messageId)
      .sort(),
  ).toEqual(messageIds.sort())
})

/** The position of the change that a webhook-id names. */

it('pauses after an attempt for five seconds at first and an hour at most', () => {
  const longest = [5, 10, 20, 40, 80, 160, 320, 640, 1280, 2560, 3600, 3600].map((seconds) => seconds * 1000)
  expect(longest.map((_, index) => doubled(CALLBACK_PAUSES, index + 1))).toEqual(longest)
})

describe('the sender', () => {
  it('signs with each secret while both sides change, and hears for how long to wait', async () => {
    const asked: IncomingHttpHeaders[] = []
    const server = createServer((request, response) => {
      asked.push(request.headers)
      request.resume().on('end', () => response.writeHead(503, { 'retry-after': '1800' }).end())
    })
    server.listen(0, '127.0.0.1')
    await once(server, 'listening')
    const sender = createCallbackSender({ allowPrivate: true })
    closeLater(async () => {
      await sender.close()
      server.close()
      await once(server, 'close')
    })
    const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}/`
    const secrets = [SECRET, OTHER_SECRET]
    const sent = await sender.send({ id: 'change-1', url, secrets, body: '{}' }, new AbortController().signal)
    const expected = {
      reason: 'the receiver answered HTTP 503',
      final: false,
      retryAfterMs: 1_800_000,
      isBusy: true,
      isGone: false,
    }
    expect(sent).toEqual({ refusal: expected, httpStatus: 503, answer: '' })
    const [headers = {}] = asked
    for (const secret of secrets) {
      expect(new Webhook(secret).verify('{}', headers as Record<string, string>)).toEqual({})
    }
  })
})

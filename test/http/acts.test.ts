/** The record of acts, and who did them: in the database, in the log, and by which routes. */
import { subscribe, unsubscribe } from 'node:diagnostics_channel'
import type { FastifyInstance } from 'fastify'
import { afterAll, beforeAll, describe, expect, it, vi } from 'vitest'
import type { Answer } from '../support/api.ts'
import { closeAll, type Service, startService } from '../support/service.ts'

let service: Service
const routes: { method: string; url: string; act: unknown }[] = []
const logged: string[] = []
beforeAll(async () => {
  const listen = (message: unknown) => {
    const { fastify } = message as { fastify: FastifyInstance }
    vi.spyOn(fastify.log, 'info').mockImplementation((...given: unknown[]) => {
      logged.push(JSON.stringify(given))
    })
    fastify.addHook('onRoute', ({ method, url, config }) => {
      for (const one of [method].flat()) routes.push({ method: one, url, act: config?.act })
    })
  }
  subscribe('fastify.initialization', listen)
  const account = { name: 'seven', provider: 'seven', apiKey: 'seven-api-key', changesQueue: 'changes-for-app' }
  const environment = { API_KEYS: 'ops=ops-key,nameless-key', READ_KEYS: 'wall=look-key' }
  const parts = { api: true, workers: false }
  service = await startService({ backend: 'postgres', accounts: [account], parts, environment }).finally(() =>
    unsubscribe('fastify.initialization', listen),
  )
})
afterAll(async () => {
  vi.restoreAllMocks()
  await closeAll()
})

async function ask(method: string, path: string, { key = 'ops-key', body }: { key?: string; body?: object } = {}) {
  const response = await fetch(service.url + path, {
    method,
    headers: { authorization: `Bearer ${key}`, ...(body ? { 'content-type': 'application/json' } : {}) },
    ...(body ? { body: JSON.stringify(body) } : {}),
  })
  const text = await response.text()
  return {
    status: response.status,
    headers: response.headers,
    type: response.headers.get('content-type')?.split(';')[0] ?? '',
    body: text.startsWith('{') ? JSON.parse(text) : text,
  } satisfies Answer
}

interface Acts {
  acts: Record<string, unknown>[]
  nextCursor: string | null
}

async function actsOf(query = ''): Promise<Acts> {
  const { status, body } = await ask('GET', `/v1/acts${query}`, { key: 'look-key' })
  expect([status, body]).toEqual([200, expect.anything()])
  return body as Acts
}

/** The latest act, without what is not said of it. */
async function lastAct(): Promise<object> {
  const { acts } = await actsOf('?limit=1')
  return Object.fromEntries(Object.entries(acts[0] ?? {}).filter(([name, value]) => value !== null && name !== 'at'))
}

describe('acts on messages and callbacks', () => {
  beforeAll(async () => {
    const messages = ['11', '12', '13'].map((messageId) => ({ messageId, recipient: '+491700000011' }))
    expect((await ask('POST', '/v1/messages', { body: { account: 'seven', messages } })).status).toBe(202)
    expect((await actsOf()).acts).toEqual([])
  })

  it('are recorded with who, what, on which, how many and the outcome', async () => {
    await ask('POST', '/v1/messages/seven/11/poll')
    const poll = { by: 'ops', kind: 'poll', account: 'seven', messageId: '11', count: 1, outcome: 'done' }
    expect(await lastAct()).toEqual(poll)
    await ask('POST', '/v1/messages/poll', { key: 'nameless-key', body: { account: 'seven' } })
    expect(await lastAct()).toEqual({ by: 'unnamed key', kind: 'poll', account: 'seven', count: 3, outcome: 'done' })
    await ask('POST', '/v1/callbacks/replay', { body: {} })
    expect(await lastAct()).toEqual({ by: 'ops', kind: 'replay', count: 0, outcome: 'done' })
  })

  it('that are refused are recorded as such, and requests that name nothing are none', async () => {
    await service.sql`UPDATE lastword.messages SET final = true, status = 'delivered' WHERE message_id = '12'`
    expect((await ask('POST', '/v1/messages/seven/12/poll')).status).toBe(409)
    const refused = { by: 'ops', kind: 'poll', account: 'seven', messageId: '12', outcome: 'refused' }
    expect(await lastAct()).toEqual(refused)
    expect((await ask('POST', '/v1/messages/seven/99/poll')).status).toBe(404)
    expect((await ask('POST', '/v1/messages/poll', { body: { nothing: 1 } })).status).toBe(400)
    expect((await ask('POST', '/v1/messages/seven/12/poll', { key: 'look-key' })).status).toBe(403)
    expect(await lastAct()).toEqual(refused)
  })

  it('name no message any more that was erased, nor a phone number', async () => {
    expect((await ask('DELETE', '/v1/messages/seven/11')).status).toBe(204)
    expect(await lastAct()).toEqual({ by: 'ops', kind: 'erase', account: 'seven', count: 1, outcome: 'done' })
    const { acts } = await actsOf()
    expect(acts.map(({ messageId }) => messageId)).toEqual([null, '12', null, null, null])
    expect((await ask('DELETE', '/v1/recipients/+491700000011')).status).toBe(200)
    expect(await lastAct()).toEqual({ by: 'ops', kind: 'erase', count: 2, outcome: 'done' })
    const rows = await service.sql`SELECT row_to_json(a)::text AS row FROM lastword.acts a`
    expect(rows.map(({ row }) => row).join()).not.toMatch(/"1[123]"|170000/)
  })

  it('are a line each in the log, without IDs, numbers and keys', async () => {
    const lines = logged.filter((line) => line.includes('"act"')).map((line) => JSON.parse(line)[1])
    expect(lines).toEqual([
      'poll by ops (account seven, count 1): done',
      'poll by unnamed key (account seven, count 3): done',
      'replay by ops (count 0): done',
      'poll by ops (account seven): refused',
      'erase by ops (account seven, count 1): done',
      'erase by ops (count 2): done',
    ])
    expect(logged.join()).not.toMatch(/ops-key|nameless-key|look-key|170000/)
  })

  it('are listed by name, kind and time, page by page', async () => {
    const all = (await actsOf()).acts
    const first = await actsOf('?limit=4')
    const second = await actsOf(`?limit=4&cursor=${first.nextCursor}`)
    expect([...first.acts, ...second.acts]).toEqual(all)
    expect(second.nextCursor).toBeNull()
    expect((await actsOf('?by=unnamed%20key')).acts).toEqual([all[4]])
    expect((await actsOf('?kind=erase')).acts).toEqual(all.slice(0, 2))
    expect((await actsOf(`?after=${all[2]?.at}`)).acts).toEqual(all.slice(0, 2))
    for (const query of ['?kind=look', '?after=today', '?cursor=x', '?limit=0', '?name=ops']) {
      expect((await ask('GET', `/v1/acts${query}`)).status, query).toBe(400)
    }
  })
})

describe('acts in Bull Board', () => {
  const api = '/queues/api/queues'

  it('are recorded with the queue, the job, and how many', async () => {
    const queue = service.queue('status-query.seven')
    const job = await queue.add('a job', {})
    await queue.add('another', {})
    const cases: [string, string, object][] = [
      ['PUT', '/status-query.seven/pause', { kind: 'pause', queue: 'status-query.seven' }],
      ['PUT', '/status-query.seven/resume', { kind: 'resume', queue: 'status-query.seven' }],
      [
        'PUT',
        `/status-query.seven/${job.id}/clean`,
        { kind: 'remove', queue: 'status-query.seven', job: job.id, count: 1 },
      ],
      ['PUT', '/status-query.seven/empty', { kind: 'empty', queue: 'status-query.seven', jobs: 'waiting', count: 1 }],
      ['PUT', '/callbacks/retry/failed', { kind: 'retry', queue: 'callbacks', jobs: 'failed', count: 0 }],
      ['PUT', '/pause', { kind: 'pause', count: 6 }],
      ['PUT', '/resume', { kind: 'resume', count: 6 }],
    ]
    const pausedQueues = async () => {
      const { body } = await ask('GET', '/v1/accounts', { key: 'look-key' })
      return (body as { accounts: { pausedQueues: string[] }[] }).accounts[0]?.pausedQueues
    }
    for (const [method, path, act] of cases) {
      expect((await ask(method, api + path)).status, path).toBeLessThan(300)
      expect(await lastAct(), path).toEqual({ by: 'ops', outcome: 'done', ...act })
      // A pause shows at the accounts that it concerns.
      if (path === '/status-query.seven/pause') expect(await pausedQueues()).toEqual(['status-query.seven'])
      if (path === '/pause') expect(await pausedQueues()).toHaveLength(6)
      if (path.endsWith('/resume')) expect(await pausedQueues()).toEqual([])
    }
    expect(await queue.getJobCountByTypes('waiting')).toBe(0)
    const page = await ask('GET', '/acts', { key: 'look-key' })
    expect(page.body).toContain(`status-query.seven, job ${job.id}<`)
    expect(page.body).toContain('status-query.seven, jobs that are waiting<')
  })

  it('keep no ID that an app has chosen, nor the name of a queue that is not there', async () => {
    await service.queue('track').add('order', {}, { jobId: 'to-491700000011' })
    expect((await ask('PUT', `${api}/track/to-491700000011/clean`)).status).toBe(204)
    expect(await lastAct()).toEqual({ by: 'ops', kind: 'remove', queue: 'track', count: 1, outcome: 'done' })
    expect((await ask('PUT', `${api}/491700000011/pause`)).status).toBe(404)
    expect(await lastAct()).toEqual({ by: 'ops', kind: 'pause', outcome: 'refused' })
  })

  it.each([
    ['PUT', 'dispatch/obliterate'],
    ['PUT', 'status-query.seven/obliterate'],
    ['PUT', 'dispatch/job-schedulers/dispatch/remove'],
    ['PATCH', 'expire/job-schedulers/expire'],
  ])('that would break a queue are refused: %s %s', async (method, path) => {
    const body = { force: true, every: 1000 }
    const answer = await ask(method, `${api}/${path}`, { body })
    expect([answer.status, answer.body]).toEqual([
      403,
      expect.objectContaining({ message: expect.stringMatching(/^Lastword needs this queue/) }),
    ])
    expect(await lastAct()).toMatchObject({ by: 'ops', outcome: 'refused' })
  })

  it('are not refused on a queue of the app', async () => {
    expect((await ask('PUT', `${api}/changes-for-app/pause`)).status).toBe(200)
    expect((await ask('PUT', `${api}/changes-for-app/obliterate`, { body: {} })).status).toBe(200)
    expect(await lastAct()).toEqual({ by: 'ops', kind: 'obliterate', queue: 'changes-for-app', outcome: 'done' })
  })

  it('write back no job as it was shown, with numbers and callback URLs in part', async () => {
    const message = { messageId: '1', recipient: '+491700000011', callbackUrl: 'https://app.example.com/hook?token=t' }
    const data = { v: 1, account: 'seven', messages: [message] }
    const job = await service.queue('track').add('order', data, { delay: 3_600_000 })
    const shown = await ask('GET', `${api}/track/${job.id}`)
    const { job: board } = shown.body as { job: { data: typeof data } }
    expect(board.data.messages).toEqual([
      { messageId: '1', recipient: '…11', callbackUrl: 'https://app.example.com/…' },
    ])
    const edited = { ...board.data, account: 'cm' }
    for (const [method, path, body] of [
      ['PATCH', `track/${job.id}/update-data`, { jobData: edited }],
      ['POST', 'track/add', { name: 'order', data: edited, options: {} }],
    ] as const) {
      const answer = await ask(method, `${api}/${path}`, { body })
      expect([answer.status, answer.body]).toEqual([
        409,
        expect.objectContaining({ message: expect.stringContaining('in full') }),
      ])
      expect(await lastAct()).toMatchObject({ by: 'ops', queue: 'track', outcome: 'refused' })
    }
    const inFull = { ...data, account: 'cm' }
    const answer = await ask('PATCH', `${api}/track/${job.id}/update-data`, { body: { jobData: inFull } })
    expect(answer.status).toBe(200)
    expect((await service.queue('track').getJob(job.id ?? ''))?.data).toEqual(inFull)
    await job.remove()
  })

  it('have no buttons for a key that may only look', async () => {
    const modes = async (key: string) => {
      const { body } = await ask('GET', api, { key })
      const { queues } = body as { queues: { readOnlyMode: boolean; allowRetries: boolean }[] }
      expect(queues).toHaveLength(6)
      return new Set(queues.map(({ readOnlyMode, allowRetries }) => `${readOnlyMode} ${allowRetries}`))
    }
    expect(await modes('look-key')).toEqual(new Set(['true false']))
    expect(await modes('ops-key')).toEqual(new Set(['false true']))
  })
})

describe('every route that changes something', () => {
  it('is an act and recorded, but tracking', async () => {
    const changing = routes.filter(
      ({ method, url }) => !['GET', 'HEAD', 'OPTIONS'].includes(method) && !url.startsWith('/webhooks'),
    )
    const ofBoard = changing.filter(({ url }) => url.startsWith('/queues'))
    const others = changing.filter((route) => !ofBoard.includes(route) && route.act === undefined)
    expect(others.map(({ method, url }) => `${method} ${url}`)).toEqual(NO_ACTS)
    await service.sql`DELETE FROM lastword.acts`
    for (const { method, url } of ofBoard) await ask(method, url.replace(/:\w+/g, 'x'))
    const { acts } = await actsOf('?limit=1000')
    expect(acts).toHaveLength(ofBoard.length)
    expect(ofBoard.length).toBeGreaterThan(20)
    expect(new Set(acts.map(({ outcome }) => outcome))).toEqual(new Set(['done', 'refused']))
  })
})

/** Tracking is the app's daily work; a form of a page is a request to the API, which records the act. */
const NO_ACTS = [
  'POST /v1/messages',
  'POST /messages/poll',
  'POST /messages/:account/:messageId/poll',
  'POST /messages/:account/:messageId/erase',
  'POST /messages/erase',
  'POST /callbacks/replay',
]

import { subscribe, unsubscribe } from 'node:diagnostics_channel'
import { type FastifyInstance, fastify } from 'fastify'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import packageJson from '../../../package.json' with { type: 'json' }
import type { StatusReport } from '../../../src/core/status.ts'
import { moveHealth } from '../../../src/db/accounts.ts'
import { applyReports } from '../../../src/db/reports.ts'
import { messages } from '../../../src/db/schema.ts'
import { type Answer, type Api, startApi } from '../../support/api.ts'

interface Schema {
  $ref?: string
  description?: string
  examples?: unknown[]
  properties?: Record<string, Schema>
}
interface MediaType {
  schema?: Schema
  example?: unknown
  examples?: Record<string, { value: unknown }>
}
interface OpenApiOperation {
  operationId: string
  tags: string[]
  security?: unknown[]
  parameters?: { in: string; name: string; required: boolean; description: string; schema: Schema }[]
  requestBody?: { content: Record<string, MediaType> }
  responses: Record<string, { description: string; headers?: object; content?: Record<string, MediaType> }>
}
interface OpenApi {
  openapi: string
  info: object
  externalDocs?: object
  servers?: { url: string }[]
  tags: { name: string }[]
  security?: unknown[]
  paths: Record<string, Record<string, OpenApiOperation>>
  webhooks: Record<string, Record<string, OpenApiOperation>>
  components: { schemas: Record<string, Schema>; securitySchemes?: object }
}

const accounts = [
  { name: 'seven', provider: 'seven', apiKey: 'seven-api-key', callback: { secret: `whsec_${'A'.repeat(32)}` } },
  { name: 'guarded', provider: 'seven', apiKey: 'guarded-api-key', webhookToken: 'a-webhook-token' },
  { name: 'cm', provider: 'cm', productToken: 'cm-product-token', webhookToken: 'a-webhook-token' },
]

let api: Api
let keyed: Api
let document: OpenApi
let keyedDocument: OpenApi
let strict: Validator
const routes = new Set<string>()
const headers = { authorization: 'Bearer a-key' }

beforeAll(async () => {
  const listen = (message: unknown) => {
    const { fastify } = message as { fastify: FastifyInstance }
    fastify.addHook('onRoute', ({ method, url }) => {
      for (const one of [method].flat()) routes.add(`${one.toLowerCase()} ${url.replace(/:(\w+)/g, '{$1}')}`)
    })
  }
  subscribe('fastify.initialization', listen)
  try {
    api = await startApi({ ACCOUNTS: JSON.stringify(accounts) })
  } finally {
    unsubscribe('fastify.initialization', listen)
  }
  document = (await api.get('/openapi.json')).body as OpenApi
  keyed = await startApi({
    ACCOUNTS: JSON.stringify(accounts),
    API_KEYS: 'a-key',
    READ_KEYS: 'wall=look-key',
    METRICS_KEYS: 'measure-key',
    PUBLIC_URL: 'https://sms.example.com/lastword/',
  })
  keyedDocument = (await keyed.get('/openapi.json', { headers })).body as OpenApi
  strict = await createValidator(withStrictObjects(document))
})
afterAll(() => Promise.all([api.close(), keyed.close()]))

/** Says what is wrong with a value, by the schema at a place of the document; null when nothing is. */
type Validator = (place: readonly string[], value: unknown) => string | null

/** The JSON Schema validator that Fastify brings along. It knows nothing of zod. */
async function createValidator(document: unknown, { coerces = false } = {}): Promise<Validator> {
  const customOptions = { coerceTypes: coerces, removeAdditional: false, useDefaults: false, strict: false } as const
  const server = fastify({ ajv: { customOptions } })
  server.addSchema({ $id: 'openapi', ...(document as object) })
  server.post('/', { schema: { body: {} } }, () => {})
  await server.ready()
  const compile = server.validatorCompiler
  if (!compile) throw new Error('Fastify has no validator')
  return (place, value) => {
    const pointer = place.map((step) => encodeURIComponent(step.replaceAll('~', '~0').replaceAll('/', '~1'))).join('/')
    const schema = { $ref: `openapi#/${pointer}` }
    const validate = compile({ schema, method: 'POST', url: '/', httpPart: 'body' }) as ((
      value: unknown,
    ) => boolean) & {
      errors?: { instancePath: string; message?: string; params: object }[] | null
    }
    if (validate(value)) return null
    return (validate.errors ?? [])
      .map(({ instancePath, message, params }) => `${instancePath} ${message} ${JSON.stringify(params)}`)
      .join('; ')
  }
}

/** The document with objects that allow no properties but those it names. */
function withStrictObjects(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(withStrictObjects)
  if (typeof value !== 'object' || value === null) return value
  const entries = Object.entries(value).map(([key, item]) => [key, withStrictObjects(item)])
  return { ...('properties' in value ? { additionalProperties: false } : {}), ...Object.fromEntries(entries) }
}

interface Described {
  place: 'paths' | 'webhooks'
  name: string
  path: string
  method: string
  operation: OpenApiOperation
}

function operationsOf(made: OpenApi, place: Described['place'] = 'paths'): Described[] {
  return Object.entries(made[place]).flatMap(([path, methods]) =>
    Object.entries(methods).map(([method, operation]) => {
      const name = `${method} ${path}`
      return { place, name, path, method, operation }
    }),
  )
}

/** The requests to the service, and its own to others. */
function everyOperationOf(made: OpenApi): Described[] {
  return [...operationsOf(made), ...operationsOf(made, 'webhooks')]
}

function findAll(value: unknown, key: string): unknown[] {
  if (typeof value !== 'object' || value === null) return []
  return Object.entries(value).flatMap(([name, item]) => [...(name === key ? [item] : []), ...findAll(item, key)])
}

describe.each([
  ['without API keys', false],
  ['with API keys', true],
])('the document %s', (_name, hasApiKeys) => {
  let made: OpenApi
  let described: Described[]
  beforeAll(() => {
    made = hasApiKeys ? keyedDocument : document
    described = everyOperationOf(made)
  })

  it('has the members that OpenAPI 3.1 asks for', () => {
    expect(made.openapi).toBe('3.1.0')
    expect(made.info).toMatchObject({ title: 'Lastword', version: packageJson.version })
    expect(made.externalDocs).toMatchObject({ url: packageJson.homepage })
    for (const { name, operation } of described) {
      expect(Object.keys(operation.responses), name).toContainEqual(expect.stringMatching(/^2\d\d$/))
      for (const [status, { description }] of Object.entries(operation.responses)) {
        expect(status).toMatch(/^([2-5]\d\d|default)$/)
        expect(description).toMatch(/\.$/)
      }
    }
    expect(made.servers).toEqual(hasApiKeys ? [{ url: '/lastword' }] : undefined)
  })

  it('refers only to what is there, and names no schema that is not used', () => {
    const refs = findAll(made, '$ref').map(String)
    for (const ref of refs) expect(ref).toMatch(/^#\/components\/schemas\/\w+$/)
    const used = new Set(refs.map((ref) => ref.split('/').at(-1)))
    expect([...used].sort()).toEqual(Object.keys(made.components.schemas).sort())
  })

  it('has operations with IDs and tags of their own', () => {
    const ids = described.map(({ operation }) => operation.operationId)
    expect(new Set(ids).size).toBe(ids.length)
    const tags = made.tags.map(({ name }) => name)
    expect([...new Set(described.flatMap(({ operation }) => operation.tags))].sort()).toEqual([...tags].sort())
  })

  it('declares each parameter of a path, once, and every parameter has a description', () => {
    for (const { name, path, operation } of described) {
      const parameters = operation.parameters ?? []
      const inPath = parameters.filter((parameter) => parameter.in === 'path')
      expect(inPath.map((parameter) => parameter.name).sort(), name).toEqual(
        [...path.matchAll(/\{(\w+)\}/g)].map(([, parameter]) => parameter).sort(),
      )
      for (const parameter of inPath) expect(parameter.required).toBe(true)
      for (const parameter of parameters) expect(parameter.description, name).toMatch(/\S\.$/)
    }
  })

  it('describes every property of what is sent and answered', () => {
    for (const [name, { properties }] of Object.entries(made.components.schemas)) {
      for (const [property, schema] of Object.entries(properties ?? {})) {
        const { description, $ref } = schema as { description?: string; $ref?: string }
        expect(description ?? $ref, `${name}.${property}`).toBeTruthy()
      }
    }
  })

  it('has examples that its schemas accept', async () => {
    const validate = await createValidator(withStrictObjects(made))
    let examples = 0
    for (const { place, media } of mediaOf(made)) {
      const values = Object.values(media.examples ?? {}).map(({ value }) => value)
      for (const value of 'example' in media ? [media.example, ...values] : values) {
        expect(validate([...place, 'schema'], value), place.join(' ')).toBeNull()
        examples++
      }
    }
    expect(examples).toBeGreaterThan(30)
  })

  it('has an example of every answer in JSON, and of every body', () => {
    for (const { place, schema, media } of mediaOf(made)) {
      if (place.at(-1) !== 'application/json' || place[1] === '/openapi.json') continue
      const named = made.components.schemas[schema.$ref?.split('/').at(-1) ?? '']
      expect(media.example ?? named?.examples?.[0], place.join(' ')).toBeTypeOf('object')
    }
  })

  it('has an example of each property that its schema accepts', async () => {
    const validate = await createValidator(withStrictObjects(made))
    let examples = 0
    const visit = (value: unknown, place: string[]): void => {
      if (typeof value !== 'object' || value === null) return
      for (const [key, item] of Object.entries(value)) {
        if (key !== 'examples') visit(item, [...place, key])
        else if (Array.isArray(item))
          for (const example of item) {
            expect(validate(place, example), place.join(' ')).toBeNull()
            examples++
          }
      }
    }
    visit(made, [])
    expect(examples).toBeGreaterThan(100)
  })
})

/** Every body that is sent or answered, with its place in the document. */
function mediaOf(made: OpenApi): { place: string[]; schema: Schema; media: MediaType }[] {
  return everyOperationOf(made).flatMap(({ place, path, method, operation }) => {
    const bodies = [
      [['requestBody'], operation.requestBody] as const,
      ...Object.entries(operation.responses).map(([status, answer]) => [['responses', status], answer] as const),
    ]
    return bodies.flatMap(([inner, body]) =>
      Object.entries(body?.content ?? {}).map(([type, media]) => ({
        place: [place, path, method, ...inner, 'content', type],
        schema: media.schema ?? {},
        media,
      })),
    )
  })
}

describe('API keys', () => {
  it('are in the document only when some are configured', () => {
    expect([...findAll(document, 'security'), ...findAll(document, 'securitySchemes')]).toEqual([])
    expect(JSON.stringify(document.paths['/v1/messages'])).not.toContain('"401"')
    expect(keyedDocument.security).toEqual([{ bearer: [] }, { basic: [] }])
    expect(Object.keys(keyedDocument.components.securitySchemes ?? {})).toEqual(['bearer', 'basic'])
  })

  it('are asked for by every route that says so, and by no other', async () => {
    for (const { name, path, method, operation } of operationsOf(keyedDocument)) {
      const url = path.replace('{account}', 'seven').replace(/\{\w+\}/g, '49170')
      const { status } = await keyed.get(url, { method: method.toUpperCase() })
      expect(status === 401, name).toBe(operation.security === undefined)
    }
  })

  it('that grant too little are refused as the document says', async () => {
    const guarded = operationsOf(keyedDocument).filter(({ operation }) => operation.security === undefined)
    const described = guarded.map(({ name, operation }) => [name, findAll(operation.responses['403'], 'detail')])
    const found = guarded.map(async ({ name, path, method }) => {
      const url = path.replace('{account}', 'seven').replace(/\{\w+\}/g, '49170')
      const asked = method === 'get' ? 'measure-key' : 'look-key'
      const headers = { authorization: `Bearer ${asked}` }
      const { status, body } = await keyed.get(url, { method: method.toUpperCase(), headers })
      return [name, status === 403 ? [(body as { detail: string }).detail] : []]
    })
    expect(Object.fromEntries(await Promise.all(found))).toEqual(Object.fromEntries(described))
  })
})

describe('the routes', () => {
  it('are all in the document, and the document has no others', () => {
    const ours = [...routes].filter((route) =>
      /^(?!head )\w+ \/(v1\/|webhooks\/|health\/|metrics$|openapi\.json$|docs$)/.test(route),
    )
    expect(ours.length).toBeGreaterThan(10)
    expect(
      operationsOf(document)
        .map(({ name }) => name)
        .sort(),
    ).toEqual(ours.sort())
  })
})

/** Expects an answer that the document describes, with this status. */
function expectDescribed(name: string, status: number, answer: Answer): void {
  const [method = '', path = ''] = name.split(' ')
  const described = document.paths[path]?.[method]?.responses[status]
  expect(described, `${name} ${status}`).toBeDefined()
  expect(answer.status, JSON.stringify(answer.body)).toBe(status)
  expect(Object.keys(described?.content ?? {})).toEqual(status === 204 ? [] : [answer.type])
  for (const header of Object.keys(described?.headers ?? {})) expect(answer.headers.has(header)).toBe(true)
  if (!described?.content?.[answer.type]?.schema) return
  const place = ['paths', path, method, 'responses', String(status), 'content', answer.type, 'schema']
  expect(strict(place, answer.body), `${name} ${status}`).toBeNull()
}

const at = (seconds: number) => new Date(Date.parse('2026-03-01T12:00:00Z') + seconds * 1000)
const report = (messageId: string, more: Partial<StatusReport> = {}): StatusReport => ({
  account: 'seven',
  messageId,
  status: 'delivered',
  rawStatus: 'DELIVERED',
  occurredAt: at(0),
  source: 'poll',
  ...more,
})
const receipt = {
  webhook_event: 'dlr',
  webhook_timestamp: '2026-03-01 13:00:06',
  data: { msg_id: '3', status: 'DELIVERED', timestamp: '2026-03-01 13:00:05' },
}
const MESSAGE = '/v1/messages/{account}/{messageId}'

describe('a real answer', () => {
  beforeAll(async () => {
    const order = {
      account: 'seven',
      messages: [
        { messageId: '1', recipient: '+49 170 1234567', metadata: { order: 7, deep: [null, { a: 1.5 }] } },
        { messageId: '2' },
        { messageId: '3', callbackUrl: 'https://example.com/statuses' },
        { messageId: '4' },
      ],
    }
    expectDescribed('post /v1/messages', 202, await api.post('/v1/messages', order))
    const references = ['+31600000001', '+31600000002'].map((recipient) => ({ messageId: 'ref', recipient }))
    expect((await api.post('/v1/messages', { account: 'cm', messages: references })).status).toBe(202)
    await applyReports(api.db, [
      report('1', { status: 'transmitted', rawStatus: 'TRANSMITTED' }),
      report('1', { status: 'failed', rawStatus: 'FAILED', occurredAt: at(5), error: { code: '902' } }),
      report('1', { occurredAt: at(9), source: 'webhook', details: { price: 1 } }),
      report('1', { status: 'buffered', rawStatus: 'BUFFERED', occurredAt: at(3) }),
      report('2', { status: 'unknown', rawStatus: '', source: 'window', error: { description: 'no answer' } }),
    ])
    await api.db.update(messages).set({ queryError: 'The provider knows no such ID.' })
    const bad = { since: Date.now(), count: 1, refusals: 0, reason: 'The key is wrong.' }
    const health = { trouble: 'refused' as const, bad, pausedUntil: Date.now() + 60_000, lastGoodAt: 0 }
    for (const account of ['guarded', 'cm']) await moveHealth(api.db, account, () => ({ health, events: [] }))
  })

  const answers: [string, number, string, () => Promise<Answer>][] = [
    ['post /v1/messages', 400, 'nothing', () => api.post('/v1/messages', {})],
    [
      'post /v1/messages',
      404,
      'no such account',
      () => api.post('/v1/messages', { account: 'x', messages: [{ messageId: '1' }] }),
    ],
    ['post /v1/messages', 413, 'too much', () => api.post('/v1/messages', ' '.repeat(17 * 1024 * 1024))],
    [
      'post /v1/messages',
      415,
      'XML',
      () => api.post('/v1/messages', 'x', { headers: { 'content-type': 'application/xml' } }),
    ],
    ['get /v1/messages', 200, 'all', () => api.get('/v1/messages')],
    ['get /v1/messages', 200, 'a page', () => api.get('/v1/messages?limit=1&outstanding=false')],
    ['get /v1/messages', 400, 'a bad limit', () => api.get('/v1/messages?limit=0')],
    [`get ${MESSAGE}`, 200, 'many reports', () => api.get('/v1/messages/seven/1')],
    [`get ${MESSAGE}`, 200, 'unknown', () => api.get('/v1/messages/seven/2')],
    [`get ${MESSAGE}`, 200, 'no report', () => api.get('/v1/messages/seven/4')],
    [`get ${MESSAGE}`, 200, 'one recipient', () => api.get('/v1/messages/cm/ref?recipient=0031600000001')],
    [`get ${MESSAGE}`, 400, 'two recipients', () => api.get('/v1/messages/cm/ref?recipient=1&recipient=2')],
    [`get ${MESSAGE}`, 404, 'no such message', () => api.get('/v1/messages/seven/5')],
    [`get ${MESSAGE}`, 409, 'several recipients', () => api.get('/v1/messages/cm/ref')],
    ['post /v1/messages/poll', 202, 'all that match', () => api.post('/v1/messages/poll', { account: 'seven' })],
    ['post /v1/messages/poll', 400, 'an unknown filter', () => api.post('/v1/messages/poll', { colour: 'red' })],
    [`delete ${MESSAGE}`, 204, 'one', () => api.get('/v1/messages/seven/3', { method: 'DELETE' })],
    [`delete ${MESSAGE}`, 404, 'none', () => api.get('/v1/messages/seven/5', { method: 'DELETE' })],
    [
      'delete /v1/recipients/{number}',
      200,
      'some',
      () => api.get('/v1/recipients/0031600000002', { method: 'DELETE' }),
    ],
    ['delete /v1/recipients/{number}', 400, 'no number', () => api.get('/v1/recipients/nobody', { method: 'DELETE' })],
    ['delete /v1/recipients/{number}', 404, 'none', () => api.get('/v1/recipients/4915', { method: 'DELETE' })],
    [`post ${MESSAGE}/poll`, 202, 'outstanding', () => api.post('/v1/messages/seven/4/poll')],
    [`post ${MESSAGE}/poll`, 202, 'paused', () => api.post('/v1/messages/cm/ref/poll?recipient=31600000001')],
    [`post ${MESSAGE}/poll`, 400, 'a NUL', () => api.post('/v1/messages/seven/%00/poll')],
    [`post ${MESSAGE}/poll`, 404, 'no such message', () => api.post('/v1/messages/seven/5/poll')],
    [`post ${MESSAGE}/poll`, 409, 'final', () => api.post('/v1/messages/seven/1/poll')],
    ['get /v1/changes', 200, 'all', () => api.get('/v1/changes')],
    ['get /v1/changes', 200, 'none', () => api.get('/v1/changes?after=latest')],
    ['get /v1/changes', 400, 'a bad cursor', () => api.get('/v1/changes?after=1')],
    ['get /v1/acts', 200, 'all', () => api.get('/v1/acts')],
    ['get /v1/acts', 400, 'a bad kind', () => api.get('/v1/acts?kind=x')],
    ['get /v1/accounts', 200, 'all', () => api.get('/v1/accounts')],
    ['get /v1/statistics', 200, 'a day', () => api.get('/v1/statistics')],
    [
      'get /v1/statistics',
      200,
      'an account and hours',
      () => api.get('/v1/statistics?account=seven&from=2026-01-01T00:00:00Z&to=2026-01-31T00:00:00Z'),
    ],
    ['get /v1/statistics', 400, 'too long', () => api.get('/v1/statistics?from=2026-01-01T00:00:00Z')],
    ['post /webhooks/{account}', 200, 'a receipt', () => api.post('/webhooks/seven', receipt)],
    [
      'post /webhooks/{account}',
      200,
      'an event',
      () => api.post('/webhooks/seven', { ...receipt, webhook_event: 'sms_mo' }),
    ],
    ['post /webhooks/{account}', 400, 'not JSON', () => api.post('/webhooks/seven', '{')],
    ['post /webhooks/{account}', 401, 'no token', () => api.post('/webhooks/guarded', receipt)],
    ['post /webhooks/{account}', 404, 'no such account', () => api.post('/webhooks/x', receipt)],
    ['post /webhooks/{account}', 413, 'too much', () => api.post('/webhooks/seven', ' '.repeat(2 * 1024 * 1024))],
    [
      'post /webhooks/{account}/{token}',
      200,
      'a receipt',
      () => api.post('/webhooks/guarded/a-webhook-token', receipt),
    ],
    ['post /webhooks/{account}/{token}', 401, 'a wrong token', () => api.post('/webhooks/guarded/x', receipt)],
    ['get /webhooks/{account}/{token}', 401, 'a wrong token', () => api.get('/webhooks/guarded/x')],
    ['get /webhooks/{account}', 404, 'no such account', () => api.get('/webhooks/x')],
    ['get /health/live', 200, 'alive', () => api.get('/health/live')],
    ['get /health/ready', 200, 'ready', () => api.get('/health/ready')],
    ['get /metrics', 200, 'metrics', () => api.get('/metrics')],
    ['get /openapi.json', 200, 'the document', () => api.get('/openapi.json')],
    ['get /docs', 200, 'the page', () => api.get('/docs')],
  ]

  it.each(answers)('of %s, %i (%s), is as the document says', async (name, status, _what, ask) => {
    expectDescribed(name, status, await ask())
  })

  it('is not described by accident: the schemas refuse what is missing and what is too much', async () => {
    const { body } = await api.get('/v1/messages/seven/1')
    const place = ['components', 'schemas', 'MessageWithReports']
    expect(strict(place, body)).toBeNull()
    const { polls, ...less } = body as { polls: number }
    expect(strict(place, less)).toContain('polls')
    expect(strict(place, { ...less, polls, more: 1 })).toContain('more')
    expect(strict(place, { ...less, polls, status: 'lost' })).toContain('/status')
  })
})

describe('a request', () => {
  const message = (more: object) => ({ account: 'seven', messages: [{ messageId: '1', ...more }] })
  const bodies: [string, boolean, unknown][] = [
    ['the least', true, message({})],
    ['a number as ID', true, message({ messageId: 77232007287 })],
    [
      'everything',
      true,
      message({ sentAt: new Date().toISOString(), recipient: '+49 (170) 123-45', metadata: { a: [null, 1, 'x', {}] } }),
    ],
    ['a time with an offset', true, message({ sentAt: new Date().toISOString().replace('Z', '+00:00') })],
    ['no account', false, { messages: [{ messageId: '1' }] }],
    ['no messages', false, { account: 'seven' }],
    ['an empty list', false, { account: 'seven', messages: [] }],
    [
      '10,001 messages',
      false,
      { account: 'seven', messages: Array.from({ length: 10_001 }, (_, id) => ({ messageId: id })) },
    ],
    ['no ID', false, { account: 'seven', messages: [{}] }],
    ['null as ID', false, message({ messageId: null })],
    ['a negative ID', false, message({ messageId: -1 })],
    ['half an ID', false, message({ messageId: 1.5 })],
    ['a time without an offset', false, message({ sentAt: '2026-01-31T10:00:00' })],
    ['a date', false, message({ sentAt: '2026-01-31' })],
    ['a time as a number', false, message({ sentAt: 1_769_853_600 })],
    ['a name as recipient', false, message({ recipient: 'Alice' })],
    ['a recipient that is too short', false, message({ recipient: '12' })],
    ['metadata that is text', false, message({ metadata: 'x' })],
    ['metadata that is a list', false, message({ metadata: [1] })],
    ['a callback URL that is a number', false, message({ callbackUrl: 1 })],
    ['an unknown field of a message', false, message({ text: 'x' })],
    ['an unknown field of the order', false, { ...message({}), v: 1 }],
    ['a list', false, [message({})]],
    ['text', false, 'x'],
  ]

  it.each(bodies)('that tracks %s: document and server agree (%s)', async (_name, isAccepted, body) => {
    const place = ['paths', '/v1/messages', 'post', 'requestBody', 'content', 'application/json', 'schema']
    expect(strict(place, body) === null).toBe(isAccepted)
    const { status } = await api.post('/v1/messages', JSON.stringify(body))
    expect(status).toBe(isAccepted ? 202 : 400)
  })

  it.each([
    ['an empty ID', message({ messageId: '' })],
    ['a time in the future', message({ sentAt: '2999-01-01T00:00:00Z' })],
    ['a NUL in metadata', message({ metadata: { a: '\0' } })],
  ])('that tracks %s is refused by the server for what the document says in words', async (_name, body) => {
    expect((await api.post('/v1/messages', body)).status).toBe(400)
  })

  const queries: [string, boolean, string][] = [
    ['/v1/messages', true, ''],
    ['/v1/messages', true, 'account=seven&status=read&outstanding=false&limit=1000'],
    ['/v1/messages', false, 'status=lost'],
    ['/v1/messages', false, 'outstanding=yes'],
    ['/v1/messages', false, 'limit=0'],
    ['/v1/messages', false, 'limit=1001'],
    ['/v1/messages', false, 'limit=1.5'],
    ['/v1/messages', false, 'limit=many'],
    ['/v1/messages', false, 'cursor=12'],
    ['/v1/messages', false, 'page=2'],
    ['/v1/changes', true, 'after=latest'],
    ['/v1/changes', true, 'after=c0&limit=5&wait=0'],
    ['/v1/changes', true, 'after=latest&wait=0.01'],
    ['/v1/changes', false, 'after=m1'],
    ['/v1/changes', false, 'after='],
    ['/v1/changes', false, 'wait=61'],
    ['/v1/changes', false, 'wait=-1'],
    ['/v1/changes', false, 'limit=0'],
    ['/v1/changes', false, 'before=c1'],
  ]

  it.each(queries)('of %s: document and server agree (%s) about ?%s', async (path, isAccepted, query) => {
    const validate = await createValidator(document, { coerces: true })
    const parameters = document.paths[path]?.get?.parameters ?? []
    const accepted = [...new URLSearchParams(query)].every(([name, value]) => {
      const index = parameters.findIndex((parameter) => parameter.name === name)
      const place = ['paths', path, 'get', 'parameters', String(index), 'schema']
      return index >= 0 && validate(place, value) === null
    })
    expect(accepted).toBe(isAccepted)
    expect((await api.get(`${path}?${query}`)).status).toBe(isAccepted ? 200 : 400)
  })
})

describe('the page', () => {
  const partsOf = (page: unknown) => [...String(page).matchAll(/ (?:src|href)="([^"]+)"/g)].map(([, url = '']) => url)

  it('loads everything from this address, and runs under the policy of all pages', async () => {
    const { body, headers } = await api.get('/docs')
    expect(headers.get('content-security-policy')).toMatch(/^default-src 'self';/)
    expect(body).not.toMatch(/<script(?! src)| on\w+=|javascript:/i)
    const parts = partsOf(body)
    expect(parts.length).toBeGreaterThan(4)
    for (const part of parts) {
      expect(part).toMatch(/^\/docs\/static\//)
      expect((await api.get(part)).status, part).toBe(200)
    }
  })

  it('shows the document of the service', async () => {
    expect((await api.get('/docs/json')).body).toEqual(document)
    expect((await api.get('/docs/static/swagger-initializer.js')).body).toContain("resolveUrl('./json')")
  })

  it('is whole below a prefix, and asks for an API key where one is configured', async () => {
    for (const path of ['/lastword/docs', '/docs']) {
      const { body } = await keyed.get(path, { headers })
      for (const part of partsOf(body)) {
        expect(part).toMatch(/^\/lastword\/docs\/static\//)
        expect((await keyed.get(part, { headers })).status, part).toBe(200)
        expect((await keyed.get(part)).status, part).toBe(401)
      }
    }
  })
})

import { createHash, createHmac } from 'node:crypto'
import { inspect } from 'node:util'
import { gzipSync } from 'node:zlib'
import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { LastwordError } from '../../../src/core/errors.ts'
import type { StatusReport } from '../../../src/core/status.ts'
import type { Provider, WebhookRequest } from '../../../src/providers/provider.ts'
import { readWebhook } from '../../../src/providers/receipt.ts'
import type { SevenAccount } from '../../../src/providers/seven/account.ts'
import { seven } from '../../../src/providers/seven/seven.ts'

const KEY = 'sEcReT-signing-key'
const GIVEN = { name: 'main', provider: 'seven', apiKey: 'sEcReT-api-key', signingKey: KEY }
const account: SevenAccount = seven.accountSchema.parse(GIVEN)

const RECEIVED_AT = new Date('2026-01-31T10:00:00.000Z')
const NOW_S = RECEIVED_AT.getTime() / 1000
const ORIGIN = 'https://sms.example.com'
const PATH = '/webhooks/main'
const BODY =
  '{"data":{"msg_id":"77149843739","status":"DELIVERED","timestamp":"2026-01-31 10:59:58.5"},"webhook_event":"dlr"}'
const QUERY = { webhook_event: 'dlr', msg_id: '77149843739', status: 'DELIVERED', timestamp: '2026-01-31 10:59:58.5' }
const QUERY_PATH = `${PATH}?${new URLSearchParams(QUERY)}`

const REPORT: StatusReport = {
  account: 'main',
  messageId: '77149843739',
  status: 'delivered',
  rawStatus: 'DELIVERED',
  occurredAt: new Date('2026-01-31T09:59:58.500Z'),
  source: 'webhook',
}

interface Signing {
  key?: string
  timestamp?: number | string
  nonce?: string
  method?: string
  url?: string
  body?: string
}

/** The three headers, as the provider computes them. */
function sign({ key = KEY, timestamp = NOW_S, nonce = 'n-1', method = 'POST', url, body = BODY }: Signing) {
  const digest = createHash('md5').update(body).digest('hex')
  const text = `${timestamp}\n${nonce}\n${method}\n${url ?? ORIGIN + PATH}\n${digest}`
  return {
    'x-signature': createHmac('sha256', key).update(text).digest('hex'),
    'x-timestamp': String(timestamp),
    'x-nonce': nonce,
  }
}

function post(headers: Record<string, string>, changes: Partial<WebhookRequest> = {}): WebhookRequest {
  return {
    method: 'POST',
    publicUrl: ORIGIN + PATH,
    path: PATH,
    headers: { 'content-type': 'application/json', ...headers },
    body: Buffer.from(BODY),
    receivedAt: RECEIVED_AT,
    ...changes,
  }
}

const get = (headers: Record<string, string>, changes: Partial<WebhookRequest> = {}) =>
  post(headers, {
    method: 'GET',
    publicUrl: ORIGIN + QUERY_PATH,
    path: QUERY_PATH,
    body: Buffer.alloc(0),
    ...changes,
  })
const signGet = (signing: Signing = {}) => sign({ method: 'GET', body: '', url: ORIGIN + QUERY_PATH, ...signing })

const without = (headers: Record<string, string>, name: string) =>
  Object.fromEntries(Object.entries(headers).filter(([header]) => header !== name))

const sha256 = (text: string) => digestOf(Buffer.from(text))
const digestOf = (bytes: Buffer) => createHash('sha256').update(bytes).digest('hex')

const readAs = (of: SevenAccount, asked: WebhookRequest) => readWebhook(seven as Provider<never> as Provider, of, asked)

/** The error of a request, after looking for the key and for a signature that would fit in every form it is printed in. */
async function refusalOf(request: WebhookRequest, of = account): Promise<LastwordError> {
  try {
    await readAs(of, request)
  } catch (error) {
    const printed = [inspect(error, { depth: null, showHidden: true }), JSON.stringify(error), String(error)].join('\n')
    expect(printed).not.toContain('sEcReT')
    expect(printed).not.toMatch(/[0-9a-f]{64}/i)
    expect(error).toBeInstanceOf(LastwordError)
    return error as LastwordError
  }
  return expect.fail('Expected a refusal, got a report')
}

describe('a signed webhook', () => {
  const { 'x-signature': fitting } = sign({})
  const behindProxy = { publicUrl: `${ORIGIN}/lastword${PATH}` }

  it.each<[string, WebhookRequest, number]>([
    ['over the full URL', post(sign({})), 3_600_000],
    ['over the path alone', post(sign({ url: PATH })), 3_600_000],
    ['in upper case', post({ ...sign({}), 'x-signature': fitting.toUpperCase() }), 3_600_000],
    ['with a method in lower case', post(sign({}), { method: 'post' }), 3_600_000],
    ['an hour ago', post(sign({ timestamp: NOW_S - 3600 })), 1],
    ['six minutes ago', post(sign({ timestamp: NOW_S - 360 })), 3_240_000],
    ['an hour ahead', post(sign({ timestamp: NOW_S + 3600 })), 7_200_000],
    ['over the host in upper case', post(sign({ url: `https://SMS.EXAMPLE.COM${PATH}` })), 3_600_000],
    ['over the default port', post(sign({ url: `${ORIGIN}:443${PATH}` })), 3_600_000],
    ['over a slash at the end', post(sign({ url: `${ORIGIN}${PATH}/` })), 3_600_000],
    ['over the body that it compresses', post(sign({}), { body: gzipSync(BODY) }), 3_600_000],
    ['behind a proxy', post(sign({ url: behindProxy.publicUrl }), behindProxy), 3_600_000],
    ['over the public path behind a proxy', post(sign({ url: `/lastword${PATH}` }), behindProxy), 3_600_000],
    ['over the inner path behind a proxy', post(sign({ url: PATH }), behindProxy), 3_600_000],
    ['over the path, without a PUBLIC_URL', post(sign({ url: PATH }), { publicUrl: undefined }), 3_600_000],
  ])('%s is accepted', async (_, request, validForMs) => {
    const nonce = { value: 'n-1', bodyDigest: digestOf(request.body), validForMs }
    expect(await readAs(account, request)).toEqual({ reports: [REPORT], nonce })
  })

  it.each<[string, WebhookRequest]>([
    ['over the full URL', get(signGet())],
    ['over the path with its query', get(signGet({ url: QUERY_PATH }))],
    ['with a body that counts for nothing', get(signGet(), { body: Buffer.from('x') })],
  ])('by GET %s is accepted', async (_, request) => {
    const nonce = { value: 'n-1', bodyDigest: sha256(QUERY_PATH), validForMs: 3_600_000 }
    expect(await readAs(account, request)).toEqual({ reports: [REPORT], nonce })
  })

  it('by GET never brings what stands in its body, which nobody has signed', async () => {
    const body = Buffer.from(BODY.replace('DELIVERED', 'FAILED'))
    expect((await readAs(account, get(signGet(), { body }))).reports).toEqual([REPORT])
    const bare = get(signGet({ url: ORIGIN + PATH }), { body, path: PATH, publicUrl: ORIGIN + PATH })
    expect(await readAs(account, bare)).toEqual({ reports: [], ignored: 'the request is empty' })
  })

  it('as a form is accepted', async () => {
    const body = new URLSearchParams(QUERY).toString()
    const headers = { ...sign({ body }), 'content-type': 'application/x-www-form-urlencoded' }
    expect(await readAs(account, post(headers, { body: Buffer.from(body) }))).toEqual({
      reports: [REPORT],
      nonce: { value: 'n-1', bodyDigest: sha256(body), validForMs: 3_600_000 },
    })
  })

  it('for another event is accepted and ignored', async () => {
    const body = '{"webhook_event":"sms_mo"}'
    expect(await readAs(account, post(sign({ body }), { body: Buffer.from(body) }))).toEqual({
      reports: [],
      ignored: 'the event is not about the delivery of a message',
    })
  })

  it.each([
    ['the same request', post(sign({}))],
    ['the same, a minute later', post(sign({}), { receivedAt: new Date(RECEIVED_AT.getTime() + 60_000) })],
    ['the same, signed anew', post(sign({ timestamp: NOW_S + 60 }))],
  ])('is accepted when it is honestly sent again: %s', async (_, again) => {
    const first = await readAs(account, post(sign({})))
    const second = await readAs(account, again)
    expect(second.reports).toEqual(first.reports)
    expect(second.nonce).toMatchObject({ value: first.nonce?.value, bodyDigest: first.nonce?.bodyDigest })
  })

  it('that repeats a nonce with another body is told by its digest', async () => {
    const body = BODY.replace('DELIVERED', 'FAILED')
    const other = await readAs(account, post(sign({ body }), { body: Buffer.from(body) }))
    expect(other.nonce).toMatchObject({ value: 'n-1', bodyDigest: sha256(body) })
    const path = QUERY_PATH.replace('DELIVERED', 'FAILED')
    const changes = { path, publicUrl: ORIGIN + path }
    const otherGet = await readAs(account, get(signGet({ url: ORIGIN + path }), changes))
    expect(otherGet.nonce).toMatchObject({ value: 'n-1', bodyDigest: sha256(path) })
  })

  const WRONG = 'X-Signature does not fit the signing key, the public URL and the body'
  const NO_NUMBER = 'X-Timestamp is not a number of seconds since 1970'
  const changedBody = { body: Buffer.from(BODY.replace('77149843739', '77149843738')) }
  const changedQuery = { path: QUERY_PATH.replace('DELIVERED', 'FAILED') }

  it.each<[string, WebhookRequest, string]>([
    ['a wrong key', post(sign({ key: 'another-key' })), WRONG],
    ['the API key', post(sign({ key: account.apiKey })), WRONG],
    ['a body changed by one byte', post(sign({}), changedBody), WRONG],
    ['a body with one byte more', post(sign({}), { body: Buffer.from(`${BODY} `) }), WRONG],
    ['another host', post(sign({ url: `https://other.example.com${PATH}` })), WRONG],
    ['another path', post(sign({ url: `${ORIGIN}/webhooks/other` })), WRONG],
    ['another scheme', post(sign({ url: `http://sms.example.com${PATH}` })), WRONG],
    ['a query that was added', post(sign({}), { publicUrl: `${ORIGIN}${PATH}?x`, path: `${PATH}?x` }), WRONG],
    ['another method', post(sign({ method: 'GET' })), WRONG],
    ['another nonce', post({ ...sign({}), 'x-nonce': 'n-2' }), WRONG],
    ['another timestamp', post({ ...sign({}), 'x-timestamp': String(NOW_S + 1) }), WRONG],
    ['an old timestamp and a wrong key', post(sign({ key: 'another-key', timestamp: 1 })), WRONG],
    ['a signature that is cut off', post({ ...sign({}), 'x-signature': fitting.slice(1) }), WRONG],
    ['a signature that is too long', post({ ...sign({}), 'x-signature': `${fitting}00` }), WRONG],
    ['a signature that is not hex', post({ ...sign({}), 'x-signature': 'z'.repeat(64) }), WRONG],
    ['a GET with a changed query', get(signGet(), { ...changedQuery, publicUrl: ORIGIN + changedQuery.path }), WRONG],
    ['a GET signed without its query', get(signGet({ url: ORIGIN + PATH })), WRONG],
    ['a GET whose path is signed without its query', get(signGet({ url: PATH })), WRONG],
    [
      'an old timestamp',
      post(sign({ timestamp: NOW_S - 3601 })),
      'X-Timestamp is 3601 s old, at most 3600 s are allowed',
    ],
    [
      'a timestamp ahead',
      post(sign({ timestamp: NOW_S + 3601 })),
      'X-Timestamp is 3601 s ahead of the clock here, at most 3600 s are allowed',
    ],
    ['a timestamp that is a date', post(sign({ timestamp: '2026-01-31T10:00:00Z' })), NO_NUMBER],
    ['a timestamp below zero', post(sign({ timestamp: -1 })), NO_NUMBER],
    ['a timestamp beyond all clocks', post(sign({ timestamp: '9'.repeat(20) })), NO_NUMBER],
    ['no signature', post(without(sign({}), 'x-signature')), 'the header X-Signature is missing'],
    ['no timestamp', post(without(sign({}), 'x-timestamp')), 'the header X-Timestamp is missing'],
    ['no nonce', post(without(sign({}), 'x-nonce')), 'the header X-Nonce is missing'],
    ['an empty nonce', post(sign({ nonce: '' })), 'the header X-Nonce is missing'],
    ['no header at all', post({}), 'the header X-Signature is missing'],
    ['no header at all, by GET', get({}), 'the header X-Signature is missing'],
    [
      'no header, and a body that is not JSON',
      post({}, { body: Buffer.from('x') }),
      'the header X-Signature is missing',
    ],
  ])('with %s is refused', async (_, request, reason) => {
    const error = await refusalOf(request)
    expect(error).toMatchObject({
      code: 'UNAUTHORIZED',
      status: 401,
      message: `The webhook signature is refused: ${reason}.`,
    })
  })

  it('is accepted by each key of a list, while both sides change', async () => {
    const both: SevenAccount = seven.accountSchema.parse({ ...GIVEN, signingKey: ['the-next-key', KEY] })
    for (const key of ['the-next-key', KEY]) expect((await readAs(both, post(sign({ key })))).reports).toEqual([REPORT])
    expect((await refusalOf(post(sign({ key: 'another-key' })), both)).code).toBe('UNAUTHORIZED')
  })

  it('is held to the freshness of its account', async () => {
    const strict: SevenAccount = seven.accountSchema.parse({ ...GIVEN, signatureFreshness: '30s' })
    expect((await readAs(strict, post(sign({ timestamp: NOW_S - 30 })))).reports).toEqual([REPORT])
    expect((await refusalOf(post(sign({ timestamp: NOW_S - 31 })), strict)).message).toContain('31 s old, at most 30 s')
  })

  it('that cannot be checked for want of a PUBLIC_URL is to be sent again', async () => {
    const error = await refusalOf(post(sign({}), { publicUrl: undefined }))
    expect(error).toMatchObject({ code: 'UNAVAILABLE', status: 503 })
    expect(error.message).toContain('PUBLIC_URL')
  })

  it('with a body that cannot be read is refused as such', async () => {
    const error = await refusalOf(post(sign({ body: '{' }), { body: Buffer.from('{') }))
    expect(error).toMatchObject({ code: 'INPUT_INVALID', status: 400 })
  })

  it.each([
    ['an empty body', post({}, { body: Buffer.alloc(0) }), 'the request is empty'],
    [
      'an empty body with a wrong signature',
      post(sign({ key: 'x' }), { body: Buffer.alloc(0) }),
      'the request is empty',
    ],
    ['a GET without fields', get({}, { path: PATH }), 'the request is empty'],
  ])('may say nothing without a signature: %s', async (_, request, ignored) => {
    expect(await readAs(account, request)).toEqual({ reports: [], ignored })
  })

  it('is not asked for where the account has no key', async () => {
    const unsigned: SevenAccount = { ...account, signingKey: undefined }
    expect(await readAs(unsigned, post({}))).toEqual({ reports: [REPORT] })
  })

  it('never fits anything but what was signed', async () => {
    const header = fc.oneof(fc.string(), fc.constantFrom(...Object.values(sign({}))))
    const headers = fc.record({ 'x-signature': header, 'x-timestamp': header, 'x-nonce': header })
    await fc.assert(
      fc.asyncProperty(headers, fc.string({ minLength: 1 }), async (odd, suffix) => {
        expect((await refusalOf(post(odd, { body: Buffer.from(`${BODY}x${suffix}`) }))).code).toBe('UNAUTHORIZED')
      }),
    )
    await fc.assert(
      fc.asyncProperty(fc.nat(BODY.length - 1), fc.integer({ min: 1, max: 255 }), async (at, flip) => {
        const body = Buffer.from(BODY)
        body[at] = (body[at] ?? 0) ^ flip
        expect((await refusalOf(post(sign({}), { body }))).code).toBe('UNAUTHORIZED')
      }),
    )
  })
})

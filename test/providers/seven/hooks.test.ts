import { describe, expect, it } from 'vitest'
import { ProviderError } from '../../../src/core/errors.ts'
import type { ProviderHttp } from '../../../src/providers/http.ts'
import type { HookApi, HookSubscription } from '../../../src/providers/provider.ts'
import type { SevenAccount } from '../../../src/providers/seven/account.ts'
import { seven } from '../../../src/providers/seven/seven.ts'

const account: SevenAccount = seven.accountSchema.parse({ name: 'main', provider: 'seven', apiKey: 'sEcReT-api-key' })
const api = seven.hooks?.(account) as HookApi
const HEADERS = { 'X-Api-Key': 'sEcReT-api-key', Accept: 'application/json' }
const NEVER = new AbortController().signal
const TARGET = 'https://sms.example.com/webhooks/main/t-1'

function answering(text: string) {
  const asked: unknown[] = []
  const http: ProviderHttp = {
    get: async (path, headers) => {
      asked.push({ method: 'GET', path, headers })
      return { status: 200, headers: {}, text }
    },
    post: async (path, headers, body) => {
      asked.push({ method: 'POST', path, headers, body })
      return { status: 200, headers: {}, text }
    },
    delete: async (path, headers, body) => {
      asked.push({ method: 'DELETE', path, headers, body })
      return { status: 200, headers: {}, text }
    },
    close: async () => {},
  }
  return { asked, http }
}

const listOf = (answer: unknown) =>
  api.list(answering(typeof answer === 'string' ? answer : JSON.stringify(answer)).http, NEVER)

const hook = (changes: object = {}) => ({
  id: '1',
  target_url: TARGET,
  event_type: 'dlr',
  event_filter: null,
  request_method: 'JSON',
  created: '2026-01-31 10:00:00',
  enabled: true,
  ...changes,
})
const subscription = (changes: Partial<HookSubscription> = {}): HookSubscription => ({
  id: '1',
  targetUrl: TARGET,
  eventType: 'dlr',
  enabled: true,
  ...changes,
})

describe('the list of webhook subscriptions', () => {
  it('is asked for with the key', async () => {
    const { asked, http } = answering('{"success":true,"hooks":[]}')
    expect(await api.list(http, NEVER)).toEqual([])
    expect(asked).toEqual([{ method: 'GET', path: '/hooks', headers: HEADERS }])
  })

  it.each<[string, unknown, HookSubscription[]]>([
    ['as the documents have it', { success: true, hooks: [hook()] }, [subscription()]],
    ['with a code beside its success', { success: true, code: '100', hooks: [hook()] }, [subscription()]],
    ['with a code that is null', { code: null, hooks: [hook()] }, [subscription()]],
    ['without its success', { hooks: [hook()] }, [subscription()]],
    ['as a bare list', [hook(), hook({ id: 2 })], [subscription(), subscription({ id: '2' })]],
    ['as an empty list', [], []],
    ['with other events', [hook({ event_type: 'sms_mo' })], [subscription({ eventType: 'sms_mo' })]],
    ['among rows that cannot be read', [null, 7, { id: '3' }, hook()], [subscription()]],
    ...[true, 1, '1', 'true', 'TRUE', null, undefined, {}].map((enabled): [string, unknown, HookSubscription[]] => [
      `enabled by ${JSON.stringify(enabled)}`,
      [hook({ enabled })],
      [subscription()],
    ]),
    ...[false, 0, '0', 'false', ''].map((enabled): [string, unknown, HookSubscription[]] => [
      `disabled by ${JSON.stringify(enabled)}`,
      [hook({ enabled })],
      [subscription({ enabled: false })],
    ]),
  ])('is read %s', async (_, answer, expected) => {
    expect(await listOf(answer)).toEqual(expected)
  })

  it.each<[unknown, ProviderError['kind'], string]>([
    ['900', 'account', 'the provider answered with code 900: the API key is wrong'],
    [
      { success: false, code: 902 },
      'account',
      'the provider answered with code 902: the API key lacks the right to use this interface',
    ],
    [{ success: false }, 'request', 'the provider refused: it answered without success'],
    [{ success: 'false', hooks: [hook()] }, 'request', 'the provider refused: it answered without success'],
    ['', 'transient', 'the provider sent an empty body'],
    ['[{"id":', 'transient', 'the provider sent 7 characters that are not JSON'],
    [{ success: true }, 'transient', 'the provider sent an answer that is not a list of {id, target_url, event_type}'],
    [{ hooks: [{}] }, 'transient', 'the provider sent an answer that is not a list of {id, target_url, event_type}'],
  ])('is not there: %j', async (answer, kind, message) => {
    const error = await listOf(answer).catch((reason: unknown) => reason)
    expect(error).toBeInstanceOf(ProviderError)
    expect(error).toMatchObject({ kind, message })
  })
})

describe('the end of a webhook subscription', () => {
  it('is asked for by its ID', async () => {
    const { asked, http } = answering('{"success":true}')
    await api.delete(http, '17', NEVER)
    expect(asked).toEqual([{ method: 'DELETE', path: '/hooks', headers: HEADERS, body: { id: 17 } }])
  })

  it.each<[string, ProviderError['kind'], string]>([
    ['900', 'account', 'the provider answered with code 900: the API key is wrong'],
    ['{"success":false}', 'request', 'the provider refused: it answered without success'],
    ['{}', 'transient', 'the provider did not say whether it ended the subscription'],
  ])('is not certain: %s', async (text, kind, message) => {
    const error = await api.delete(answering(text).http, '17', NEVER).catch((reason: unknown) => reason)
    expect(error).toBeInstanceOf(ProviderError)
    expect(error).toMatchObject({ kind, message })
  })
})

describe('a new webhook subscription', () => {
  it.each(['{"success":true,"id":7}', '{"success":"true"}', '{"success":1,"code":"100"}'])(
    'is made for delivery receipts as JSON: %s',
    async (text) => {
      const { asked, http } = answering(text)
      await api.create(http, TARGET, NEVER)
      const body = { target_url: TARGET, event_type: 'dlr', request_method: 'JSON' }
      expect(asked).toEqual([{ method: 'POST', path: '/hooks', headers: HEADERS, body }])
    },
  )

  const UNCLEAR = 'the provider did not say whether it subscribed the URL'

  it.each<[string, ProviderError['kind'], string]>([
    ['900', 'account', 'the provider answered with code 900: the API key is wrong'],
    ['{"success":false}', 'request', 'the provider refused: it answered without success'],
    ['{"success":false,"code":"903"}', 'account', 'the provider answered with code 903: the IP address is not allowed'],
    ['{}', 'transient', UNCLEAR],
    ['{"success":{}}', 'transient', UNCLEAR],
    ['[]', 'transient', UNCLEAR],
    ['null', 'transient', UNCLEAR],
    ['', 'transient', 'the provider sent an empty body'],
  ])('is not made: %s', async (text, kind, message) => {
    const error = await api.create(answering(text).http, TARGET, NEVER).catch((reason: unknown) => reason)
    expect(error).toBeInstanceOf(ProviderError)
    expect(error).toMatchObject({ kind, message })
  })
})

import { once } from 'node:events'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { inspect } from 'node:util'
import { afterEach, describe, expect, it } from 'vitest'
import { type HooksFlags, runHooks } from '../../src/cli/hooks.ts'
import { LastwordError } from '../../src/core/errors.ts'
import type { Account } from '../../src/providers/account.ts'
import { cm } from '../../src/providers/cm/cm.ts'
import { seven } from '../../src/providers/seven/seven.ts'

const TOKEN = 'sEcReT-token'
const PUBLIC_URL = 'https://sms.example.com/lastword'
const OURS = `${PUBLIC_URL}/webhooks/main/${TOKEN}`
const MASKED = `${PUBLIC_URL}/webhooks/main/***`
const OTHER = 'https://app.example.com/dlr'

const closers: (() => Promise<unknown>)[] = []

afterEach(async () => {
  for (const close of closers.splice(0).reverse()) await close()
})

interface Row {
  id: string
  target_url: string
  event_type: string
  enabled: boolean
}

const row = (id: string, target_url: string, changes: Partial<Row> = {}): Row => ({
  id,
  target_url,
  event_type: 'dlr',
  enabled: true,
  ...changes,
})

interface Behaviour {
  /** The provider's answer to every request in place of the truth. */
  answer?: string
  /** Whether a new subscription shows up in the list at once. */
  lists?: boolean
}

/** The provider: subscriptions in memory behind `/api/hooks`. */
async function openProvider(rows: Row[], { answer, lists = true }: Behaviour = {}) {
  const asked: unknown[] = []
  const server = createServer(async (request, response) => {
    const chunks: Buffer[] = []
    for await (const chunk of request) chunks.push(chunk)
    const body = chunks.length > 0 ? JSON.parse(Buffer.concat(chunks).toString()) : undefined
    asked.push({ method: request.method, url: request.url, ...(body ? { body } : {}) })
    if (answer !== undefined) return response.end(answer)
    if (request.headers['x-api-key'] !== 'sEcReT-api-key') return response.end('900')
    if (request.method === 'GET') return response.end(JSON.stringify({ success: true, hooks: rows }))
    if (request.method === 'DELETE') {
      rows.splice(
        rows.findIndex(({ id }) => id === String(body.id)),
        1,
      )
      return response.end('{"success":true}')
    }
    if (lists) rows.push(row(String(rows.length + 1), body.target_url, { event_type: body.event_type }))
    response.end('{"success":true,"id":9}')
  }).listen(0, '127.0.0.1')
  closers.push(async () => {
    server.closeAllConnections()
    await new Promise((resolve) => server.close(resolve))
  })
  await once(server, 'listening')
  return { asked, url: `http://127.0.0.1:${(server.address() as AddressInfo).port}/api` }
}

const accountAt = (baseUrl: string, changes: object = {}): Account =>
  seven.accountSchema.parse({
    name: 'main',
    provider: 'seven',
    apiKey: 'sEcReT-api-key',
    webhookToken: TOKEN,
    baseUrl,
    ...changes,
  })

async function run(accounts: Account[], flags: Partial<HooksFlags> = {}, publicUrl: string | undefined = PUBLIC_URL) {
  const printed: string[] = []
  const ok = await runHooks({ accounts, publicUrl }, { account: 'main', ...flags }, (text) => printed.push(text))
  expect(printed.join('\n')).not.toContain('sEcReT')
  return { ok, lines: printed.join('\n').split('\n') }
}

/** The error a run ends in, after looking for secrets in every form it may be printed in. */
async function mistakeOf(running: Promise<unknown>): Promise<LastwordError> {
  const error = await running.then(
    () => expect.fail('Expected an error, got an end'),
    (reason: unknown) => reason,
  )
  const forms = [inspect(error, { depth: null, showHidden: true }), JSON.stringify(error), String(error)]
  expect(forms.join('\n')).not.toContain('sEcReT')
  expect(error).toBeInstanceOf(LastwordError)
  return error as LastwordError
}

const LIST = { method: 'GET', url: '/api/hooks' }
const CREATE = {
  method: 'POST',
  url: '/api/hooks',
  body: { target_url: OURS, event_type: 'dlr', request_method: 'JSON' },
}

describe('lastword hooks', () => {
  it('lists the subscriptions in a table, without the token', async () => {
    const { asked, url } = await openProvider([
      row('17', OURS),
      row('4', OTHER, { event_type: 'sms_mo', enabled: false }),
    ])
    expect(await run([accountAt(url)])).toEqual({
      ok: true,
      lines: [
        'ID  EVENT   ENABLED  OURS  URL',
        `17  dlr     yes      yes   ${MASKED}`,
        `4   sms_mo  no       no    ${OTHER}`,
      ],
    })
    expect(asked).toEqual([LIST])
  })

  it('shows no token that was replaced, nor that of another service', async () => {
    const { url } = await openProvider([row('1', `${PUBLIC_URL}/webhooks/main/sEcReT-old?a=1`)])
    const { lines } = await run([accountAt(url)])
    expect(lines.join('\n')).toContain(`${MASKED}?a=1`)
    expect(lines.join('\n')).not.toContain('sEcReT')
  })

  it('says so when there are none', async () => {
    const { url } = await openProvider([])
    expect(await run([accountAt(url)])).toEqual({
      ok: true,
      lines: ['Account "main" has no webhook subscriptions.'],
    })
  })

  it('lists without a PUBLIC_URL, and masks the tokens of all accounts', async () => {
    const { url } = await openProvider([
      row('1', OURS),
      row('2', `${OTHER}/sEcReT-of-other/?a=1`),
      row('3', `${OTHER}/\u001b[2Jx`),
    ])
    const accounts = [accountAt(url), accountAt(url, { name: 'other', webhookToken: 'sEcReT-of-other' })]
    const printed: string[] = []
    const config = { accounts, publicUrl: undefined }
    expect(await runHooks(config, { account: 'main' }, (text) => printed.push(text))).toBe(true)
    expect(printed.join('').split('\n')).toEqual([
      'ID  EVENT  ENABLED  OURS  URL',
      `1   dlr    yes      no    ${MASKED}`,
      `2   dlr    yes      no    ${OTHER}/***/?a=1`,
      `3   dlr    yes      no    ${OTHER}/?[2Jx`,
    ])
  })

  it('prints JSON for programs', async () => {
    const { url } = await openProvider([row('1', OURS), row('2', OTHER)])
    const { ok, lines } = await run([accountAt(url)], { json: true, check: true })
    expect(ok).toBe(true)
    expect(JSON.parse(lines.join('\n'))).toEqual({
      account: 'main',
      url: MASKED,
      created: false,
      subscribed: true,
      enabled: true,
      hooks: [
        { id: '1', targetUrl: MASKED, eventType: 'dlr', enabled: true, ours: true },
        { id: '2', targetUrl: OTHER, eventType: 'dlr', enabled: true, ours: false },
      ],
    })
  })

  it('prints JSON that says what is missing', async () => {
    const { url } = await openProvider([])
    const { ok, lines } = await run([accountAt(url, { webhookToken: undefined })], { json: true, check: true })
    expect(ok).toBe(false)
    expect(JSON.parse(lines.join('\n'))).toEqual({
      account: 'main',
      url: `${PUBLIC_URL}/webhooks/main`,
      created: false,
      subscribed: false,
      enabled: false,
      hooks: [],
    })
  })
})

describe('lastword hooks --check', () => {
  const SUBSCRIBED = `${MASKED} is subscribed to delivery receipts, and enabled.`
  const NOT_SUBSCRIBED = `${MASKED} is not subscribed to delivery receipts; --create subscribes it.`
  const DISABLED = `${MASKED} is subscribed, but disabled; --delete and then --create enable it again.`

  it.each<[string, Row[], boolean, string]>([
    ['is there', [row('1', OTHER), row('2', OURS)], true, SUBSCRIBED],
    ['is there for all events', [row('1', OURS, { event_type: 'all' })], true, SUBSCRIBED],
    ['is there with a slash at its end', [row('1', `${OURS}/`)], true, SUBSCRIBED],
    ['is there with its host in capitals', [row('1', OURS.replace('sms', 'SMS'))], true, SUBSCRIBED],
    ['is there twice, once disabled', [row('1', OURS, { enabled: false }), row('2', OURS)], true, SUBSCRIBED],
    ['is disabled', [row('1', OURS, { enabled: false })], false, DISABLED],
    ['is there for another event', [row('1', OURS, { event_type: 'sms_mo' })], false, NOT_SUBSCRIBED],
    ['is there without the token', [row('1', `${PUBLIC_URL}/webhooks/main`)], false, NOT_SUBSCRIBED],
    ['is not there', [row('1', OTHER), row('2', 'not a URL')], false, NOT_SUBSCRIBED],
    ['is not there, nor is another', [], false, NOT_SUBSCRIBED],
  ])('says whether our URL %s', async (_, rows, ok, verdict) => {
    const { asked, url } = await openProvider(rows)
    const result = await run([accountAt(url)], { check: true })
    expect(result.ok).toBe(ok)
    expect(result.lines.at(-1)).toBe(verdict)
    expect(asked).toEqual([LIST])
  })
})

describe('lastword hooks --create', () => {
  it.each([[{ create: true }], [{ create: true, check: true }]])('subscribes our URL: %j', async (flags) => {
    const { asked, url } = await openProvider([row('1', OTHER)])
    expect(await run([accountAt(url)], flags)).toEqual({
      ok: true,
      lines: [
        'ID  EVENT  ENABLED  OURS  URL',
        `1   dlr    yes      no    ${OTHER}`,
        `2   dlr    yes      yes   ${MASKED}`,
        '',
        `${MASKED} is now subscribed to delivery receipts.`,
      ],
    })
    expect(asked).toEqual([LIST, CREATE, LIST])
  })

  it('subscribes the URL without a token where the account has none', async () => {
    const { asked, url } = await openProvider([])
    await run([accountAt(url, { webhookToken: undefined })], { create: true }, `${PUBLIC_URL}/`)
    const body = { ...CREATE.body, target_url: `${PUBLIC_URL}/webhooks/main` }
    expect(asked).toEqual([LIST, { ...CREATE, body }, LIST])
  })

  it.each<[Partial<Row>, boolean, string]>([
    [{}, true, `${MASKED} is already subscribed to delivery receipts, and enabled.`],
    [{ enabled: false }, false, `${MASKED} is subscribed, but disabled; --delete and then --create enable it again.`],
  ])('leaves a subscription as it is: %j', async (changes, ok, verdict) => {
    const { asked, url } = await openProvider([row('1', OURS, changes)])
    const result = await run([accountAt(url)], { create: true })
    expect([result.ok, result.lines.at(-1)]).toEqual([ok, verdict])
    expect(asked).toEqual([LIST])
  })

  it.each([
    [{ create: true }, true],
    [{ create: true, check: true }, false],
  ])('says when the provider does not list it yet: %j', async (flags, ok) => {
    const { url } = await openProvider([], { lists: false })
    const result = await run([accountAt(url)], flags)
    expect(result.ok).toBe(ok)
    expect(result.lines.at(-1)).toBe(`${MASKED} was subscribed just now, but the provider does not list it yet.`)
  })
})

describe('lastword hooks --delete', () => {
  it('ends every subscription of our URL, and no other', async () => {
    const { asked, url } = await openProvider([row('4', OURS, { enabled: false }), row('7', OTHER), row('9', OURS)])
    const { ok, lines } = await run([accountAt(url)], { delete: true })
    expect([ok, lines.at(-1)]).toEqual([true, `${MASKED} is no longer subscribed to delivery receipts.`])
    const deleted = [4, 9].map((id) => ({ method: 'DELETE', url: '/api/hooks', body: { id } }))
    expect(asked).toEqual([LIST, ...deleted, LIST])
    const again = await run([accountAt(url)], { delete: true, json: true })
    expect(JSON.parse(again.lines.join('\n'))).toMatchObject({ deleted: 0, subscribed: false, hooks: [{ id: '7' }] })
    const third = await run([accountAt(url)], { delete: true })
    expect([third.ok, third.lines.at(-1)]).toEqual([true, `${MASKED} is not subscribed to delivery receipts.`])
  })

  it('does not both create and delete', async () => {
    const error = await mistakeOf(run([accountAt('http://127.0.0.1:9/api')], { create: true, delete: true }))
    expect(error.message).toBe('--create, --delete: found both, expected one of them.')
  })
})

describe('lastword hooks, used wrongly or in vain', () => {
  const account = accountAt('http://127.0.0.1:9/api')

  it.each<[string, Account[], Partial<HooksFlags>, string]>([
    [
      'an account nobody configured',
      [account, accountAt('http://127.0.0.1:9', { name: 'other' })],
      { account: 'mein' },
      '--account: found "mein", expected one of the configured accounts (main, other).',
    ],
    ['no account at all', [], {}, '--account: found "main", expected one of the configured accounts (there are none).'],
  ])('names %s', async (_, accounts, flags, message) => {
    expect(await mistakeOf(run(accounts, flags))).toMatchObject({ code: 'CONFIG_INVALID', message })
  })

  it.each([{}, { create: true }, { check: true }, { json: true }])(
    'says when a provider has no such interface: %j',
    async (flags) => {
      const cmAccount = cm.accountSchema.parse({ name: 'main', provider: 'cm', productToken: 'sEcReT-product-token' })
      expect(await mistakeOf(run([cmAccount], flags))).toMatchObject({
        code: 'CONFIG_INVALID',
        message: 'Provider "cm" has no interface for webhooks; set the URL in its web app.',
      })
    },
  )

  it.each([[{ create: true }], [{ check: true }]])('asks for a PUBLIC_URL: %j', async (flags) => {
    const running = runHooks({ accounts: [account], publicUrl: undefined }, { account: 'main', ...flags }, () => {})
    expect(await mistakeOf(running)).toMatchObject({
      code: 'CONFIG_INVALID',
      message: 'PUBLIC_URL: found nothing, expected the base URL that providers call.',
    })
  })

  it.each([
    ['900', 'Account "main": the provider answered with code 900: the API key is wrong.'],
    ['{"success":false}', 'Account "main": the provider refused: it answered without success.'],
    ['<html>', 'Account "main": the provider sent 6 characters that are not JSON.'],
  ])('says what the provider refused: %s', async (answer, message) => {
    const { url } = await openProvider([], { answer })
    expect(await mistakeOf(run([accountAt(url)], { create: true }))).toMatchObject({ code: 'UNAVAILABLE', message })
  })

  it('says when the provider cannot be reached', async () => {
    const error = await mistakeOf(run([account]))
    expect(error.message).toMatch(/^Account "main": the provider did not answer: /)
  })
})

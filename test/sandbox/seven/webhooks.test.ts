import { afterEach, describe, expect, it } from 'vitest'
import { formatBerlinTime } from '../../../src/sandbox/berlin-time.ts'
import type { KnobsPatch } from '../../../src/sandbox/knobs.ts'
import { createSandbox, type Sandbox } from '../../../src/sandbox/server.ts'
import { createReceiver, type Receiver } from '../receiver.ts'

const open: { close(): Promise<void> }[] = []
afterEach(async () => {
  for (const { close } of open.splice(0)) await close()
})

async function receive(answer?: (index: number) => number): Promise<Receiver> {
  const receiver = await createReceiver(answer)
  open.push(receiver)
  return receiver
}

async function start(knobs: KnobsPatch): Promise<Sandbox> {
  const sandbox = await createSandbox({ seed: 3, law: { timeScale: 864_000, neverShare: 0 }, knobs })
  open.unshift(sandbox)
  return sandbox
}

const SENT_AT = new Date('2021-08-24T06:08:00.000Z')
const FORM = 'application/x-www-form-urlencoded'

describe('the forms of a delivery receipt', () => {
  it.each([
    ['GET', '/webhooks/seven?webhook_event=dlr&msg_id=ID&status=ACCEPTED&TIME&foreign_id=order-1', '', undefined],
    ['POST', '/webhooks/seven', 'webhook_event=dlr&msg_id=ID&status=ACCEPTED&TIME&foreign_id=order-1', FORM],
    [
      'nested',
      '/webhooks/seven',
      'data%5Bmsg_id%5D=ID&data%5Bstatus%5D=ACCEPTED&NESTED&data%5Bforeign_id%5D=order-1&webhook_event=dlr&STAMP',
      FORM,
    ],
  ] as const)('%s, byte for byte', async (webhookForm, path, body, type) => {
    const receiver = await receive()
    const sandbox = await start({ webhookUrl: receiver.url, webhookForm })
    const [messageId = ''] = sandbox.send(1, { sentAt: SENT_AT, foreignId: 'order-1' })
    await sandbox.settled()
    const request = receiver.received.find(({ path, text }) => `${path}${text}`.includes('ACCEPTED'))
    const stamp = new URLSearchParams(request?.text).get('webhook_timestamp') ?? ''
    const write = (text: string) =>
      text
        .replace('ID', messageId)
        .replace('TIME', 'timestamp=2021-08-24+08%3A08%3A00.000000')
        .replace('NESTED', 'data%5Btimestamp%5D=2021-08-24+08%3A08%3A00.000000')
        .replace('STAMP', `webhook_timestamp=${encodeURIComponent(stamp)}`)
    expect(request).toMatchObject({ path: write(path), text: write(body), type })
    expect(request?.method).toBe(webhookForm === 'GET' ? 'GET' : 'POST')
    expect(receiver.received).toHaveLength(sandbox.truth(messageId)?.history.length ?? 0)
  })

  it('keep the query of the URL', async () => {
    const receiver = await receive()
    const sandbox = await start({ webhookUrl: `${receiver.url}?token=t`, webhookForm: 'GET' })
    sandbox.send(1)
    await sandbox.settled()
    expect(receiver.received[0]?.path).toMatch(/^\/webhooks\/seven\?token=t&webhook_event=dlr&msg_id=/)
  })
})

describe('noise', () => {
  it.each(['JSON', 'GET', 'POST', 'nested'] as const)('is another event or nothing, as %s', async (webhookForm) => {
    const receiver = await receive()
    const sandbox = await start({ webhookUrl: receiver.url, webhookForm, webhookNoise: 0.5, signingKey: 'key' })
    sandbox.send(50)
    await sandbox.settled()
    const contents = receiver.received.map(({ path, text }) =>
      decodeURIComponent(`${new URL(path, 'http://a').search}${text}`),
    )
    const isDlr = (text: string) => /webhook_event("?[:=]"?)dlr/.test(text)
    const others = contents.filter((text) => /webhook_event("?[:=]"?)(sms_mo|wa_mo|rcs)/.test(text))
    const empty = contents.filter((text) => text === '')
    const { webhooks, webhookNoise } = sandbox.stats()
    expect(contents.filter(isDlr)).toHaveLength(webhooks.accepted)
    expect(others.length + empty.length).toBe(webhookNoise.accepted)
    expect(webhookNoise.accepted / webhooks.accepted).toBeCloseTo(0.5, 0)
    expect(Math.min(others.length, empty.length)).toBeGreaterThan(10)
    expect(receiver.received.every(({ headers }) => headers['x-signature'])).toBe(true)
  })

  it('leaves the fate of the messages as it is', async () => {
    const run = async (webhookNoise: number) => {
      const receiver = await receive()
      const sandbox = await start({ webhookUrl: receiver.url, webhookLoss: 0.3, webhookNoise })
      sandbox.send(100)
      await sandbox.settled()
      return sandbox
        .truths()
        .flatMap(({ messageId, receipts }) => receipts.map(({ status }) => `${messageId} ${status}`))
        .sort()
    }
    expect(await run(0.5)).toEqual(await run(0))
  })
})

describe('webhook subscriptions', () => {
  const call = async (sandbox: Sandbox, body?: URLSearchParams | object, key = sandbox.apiKey) => {
    const isJson = body !== undefined && !(body instanceof URLSearchParams)
    const response = await fetch(`${sandbox.url}/hooks`, {
      method: body ? 'POST' : 'GET',
      headers: { 'X-Api-Key': key, ...(isJson ? { 'Content-Type': 'application/json' } : {}) },
      ...(body ? { body: isJson ? JSON.stringify(body) : body } : {}),
    })
    return response.text()
  }

  it('are created by form or JSON, and listed', async () => {
    const sandbox = await start({})
    expect(await call(sandbox)).toBe('{"success":true,"hooks":[]}')
    const target_url = 'http://127.0.0.1:9/a'
    const form = new URLSearchParams({ target_url, event_type: 'dlr', request_method: 'JSON' })
    expect(await call(sandbox, form)).toBe('{"success":true,"id":1}')
    expect(await call(sandbox, { target_url, event_type: 'sms_mo' })).toBe('{"success":true,"id":2}')
    const [created, other] = sandbox.hooks().map((hook) => hook.created)
    expect(created).toMatch(/^\d{4}-\d{2}-\d{2} \d{2}:\d{2}:\d{2}$/)
    expect(formatBerlinTime(new Date(), 3).slice(0, 10)).toBe(created?.slice(0, 10))
    expect(await call(sandbox)).toBe(
      `{"success":true,"hooks":[{"id":"1","target_url":"${target_url}","event_type":"dlr","event_filter":null,` +
        `"request_method":"JSON","created":"${created}","enabled":true},` +
        `{"id":"2","target_url":"${target_url}","event_type":"sms_mo","event_filter":null,` +
        `"request_method":"POST","created":"${other}","enabled":true}]}`,
    )
  })

  it('are refused for what is missing, and to a wrong key', async () => {
    const sandbox = await start({})
    expect(await call(sandbox, { event_type: 'dlr' })).toBe('{"success":false,"error_message":"Invalid target_url"}')
    expect(await call(sandbox, { target_url: 'http://a' }, 'wrong')).toBe('900')
    expect(await call(sandbox, undefined, 'wrong')).toBe('900')
    expect(sandbox.hooks()).toEqual([])
  })

  it('get delivery receipts in their own form, beside the URL of the knob, each until it takes them', async () => {
    const [knob, json, get, inbound] = await Promise.all([
      receive(),
      receive((index) => (index === 0 ? 503 : 200)),
      receive((index) => (index === 0 ? 404 : 200)),
      receive(),
    ])
    const sandbox = await start({ webhookUrl: knob.url })
    await call(sandbox, { target_url: json.url, event_type: 'dlr', request_method: 'JSON' })
    await call(sandbox, { target_url: get.url, event_type: 'dlr', request_method: 'GET' })
    await call(sandbox, { target_url: inbound.url, event_type: 'sms_mo', request_method: 'JSON' })
    sandbox.send(20)
    await sandbox.settled()
    const steps = sandbox.truths().flatMap(({ history }) => history).length
    expect(knob.received).toHaveLength(steps)
    expect(json.received).toHaveLength(steps + 1)
    expect(get.received).toHaveLength(steps)
    expect(get.received.every(({ method }) => method === 'GET')).toBe(true)
    expect(inbound.received).toEqual([])
    expect(sandbox.stats().webhooks).toMatchObject({ accepted: 3 * steps - 1, refused: 1, retried: 1 })
  })

  it('get them held back and in any order too', async () => {
    const receiver = await receive()
    const sandbox = await start({ webhookReorder: 1 })
    await call(sandbox, { target_url: receiver.url, event_type: 'dlr', request_method: 'JSON' })
    sandbox.send(50)
    await sandbox.settled()
    const lines = receiver.received.map(({ body }) => `${body.data.msg_id} ${body.data.status}`)
    for (const { messageId, history } of sandbox.truths()) {
      expect(lines.filter((line) => line.startsWith(messageId))).toHaveLength(history.length)
      expect(lines.indexOf(`${messageId} ACCEPTED`)).toBeGreaterThan(lines.indexOf(`${messageId} TRANSMITTED`))
    }
  })
})

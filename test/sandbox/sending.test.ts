import { afterEach, beforeEach, expect, it } from 'vitest'
import { createSandbox, type Sandbox } from '../../src/sandbox/server.ts'

let sandbox: Sandbox
beforeEach(async () => {
  sandbox = await createSandbox({ seed: 5 })
})
afterEach(() => sandbox.close())

function post(path: string, body: unknown, method = 'POST') {
  return fetch(new URL(path, sandbox.url), {
    method,
    headers: { 'X-Api-Key': sandbox.apiKey, 'Content-Type': 'application/json' },
    body: JSON.stringify(body),
  })
}

async function get(path: string) {
  const response = await fetch(new URL(path, sandbox.url))
  return { status: response.status, body: (await response.json()) as unknown }
}

it('answers a form as seven.io does, byte for byte', async () => {
  const response = await fetch(`${sandbox.url}/sms`, {
    method: 'POST',
    headers: { 'X-Api-Key': sandbox.apiKey },
    body: new URLSearchParams({ to: '447700900001', text: 'Hello', from: 'Ada', foreign_id: 'order-1' }),
  })
  expect(await response.text()).toBe(
    '{"success":"100","total_price":0,"balance":1000,"debug":"false","sms_type":"direct","messages":[' +
      '{"id":"77100000001","sender":"Ada","recipient":"447700900001","text":"Hello","encoding":"gsm","label":null,' +
      '"parts":1,"udh":null,"is_binary":false,"price":0,"success":true,"error":null,"error_text":null}]}',
  )
  expect(sandbox.truth('77100000001')).toMatchObject({ recipient: '447700900001', foreignId: 'order-1' })
})

it('takes JSON, and sends to each recipient', async () => {
  const response = await post('/api/sms', { to: '447700900001, 447700900002', text: 'x'.repeat(161) })
  expect(await response.json()).toMatchObject({
    messages: [
      { id: '77100000001', recipient: '447700900001', parts: 2 },
      { id: '77100000002', recipient: '447700900002', parts: 2 },
    ],
  })
})

it.each([
  [{ text: 'Hello' }, '"301"'],
  [{ to: ',', text: 'Hello' }, '"301"'],
  [{ to: '447700900001' }, '"305"'],
])('refuses %o with a code', async (body, code) => {
  expect(await (await post('/api/sms', body)).text()).toBe(code)
  expect(sandbox.truths()).toEqual([])
})

it('refuses a wrong key with 900 in a 200', async () => {
  const response = await fetch(`${sandbox.url}/sms`, {
    method: 'POST',
    body: new URLSearchParams({ to: '1', text: 'x' }),
  })
  expect([response.status, await response.text()]).toEqual([200, '900'])
})

it('sends for people, and pages through the truth', async () => {
  const sent = await (await post('/sandbox/messages', { count: 5 })).json()
  const ids = [1, 2, 3, 4, 5].map((index) => `7710000000${index}`)
  expect(sent).toEqual({ messageIds: ids })

  const first = await get('/sandbox/truth?limit=3')
  expect(first.body).toMatchObject({ messages: ids.slice(0, 3).map((messageId) => ({ messageId })), next: ids[2] })
  const second = await get(`/sandbox/truth?limit=3&after=${ids[2]}`)
  expect(second.body).toMatchObject({ messages: ids.slice(3).map((messageId) => ({ messageId })), next: null })
  const one = await get(`/sandbox/truth/${ids[0]}`)
  expect(one.body).toEqual(JSON.parse(JSON.stringify(sandbox.truth(ids[0] ?? ''))))
  expect(await get('/sandbox/truth/1')).toMatchObject({ status: 404, body: { title: 'Not found' } })
  expect(await get('/sandbox/stats')).toEqual({ status: 200, body: sandbox.stats() })
  expect(sandbox.stats().messages).toBe(5)
})

it('turns knobs, and refuses those it does not have', async () => {
  const turned = await post('/sandbox/knobs', { serverErrors: 0.5, errorCode: { share: 0.1 } }, 'PUT')
  expect(await turned.json()).toMatchObject({ serverErrors: 0.5, errorCode: { share: 0.1, code: 900, form: 'number' } })
  expect(await get('/sandbox/knobs')).toEqual({ status: 200, body: sandbox.knobs() })

  const refused = await post('/sandbox/knobs', { serverErrors: 2, speed: 1 }, 'PUT')
  expect([refused.status, await refused.text()]).toEqual([400, expect.stringMatching(/serverErrors.*speed/)])
  const tooMuch = await post('/sandbox/knobs', { malformed: 0.6 }, 'PUT')
  expect([tooMuch.status, await tooMuch.text()]).toEqual([400, expect.stringContaining('at most 1 together')])
  expect(sandbox.knobs()).toMatchObject({ serverErrors: 0.5, malformed: 0 })
})

it('sends the same histories for the same seed, whatever else is drawn', async () => {
  const sentAt = new Date('2026-01-31T10:00:00Z')
  const other = await createSandbox({ seed: 5, knobs: { serverErrors: 1 } })
  try {
    other.send(10, { sentAt })
    await fetch(`${other.url}/status?msg_id=1`, { headers: { 'X-Api-Key': other.apiKey } })
    other.send(10, { sentAt })
    sandbox.send(20, { sentAt })
    expect(other.truths().map(({ history }) => history)).toEqual(sandbox.truths().map(({ history }) => history))
  } finally {
    await other.close()
  }
})

it('lets go of its port when it is closed, however often', async () => {
  const first = await createSandbox()
  const port = Number(new URL(first.url).port)
  await expect(createSandbox({ port })).rejects.toMatchObject({ code: 'EADDRINUSE' })
  await first.close()
  await first.close()
  const second = await createSandbox({ port })
  await second.close()
})

import { createServer } from 'node:http'
import { afterEach, expect, it } from 'vitest'
import { formatBerlinTime } from '../../src/sandbox/berlin-time.ts'
import type { KnobsPatch } from '../../src/sandbox/knobs.ts'
import { createSandbox, type Sandbox } from '../../src/sandbox/server.ts'
import { createReceiver, type Receiver } from './receiver.ts'

const open: { close(): Promise<void> }[] = []
afterEach(async () => {
  for (const { close } of open.splice(0)) await close()
})

async function receive(answer?: (index: number) => number | 'hang'): Promise<Receiver> {
  const receiver = await createReceiver(answer)
  open.push(receiver)
  return receiver
}

/** The whole law, validity period included, takes a fifth of a second. */
async function start(knobs: KnobsPatch, law = {}): Promise<Sandbox> {
  const sandbox = await createSandbox({ seed: 3, law: { timeScale: 864_000, ...law }, knobs })
  open.unshift(sandbox)
  return sandbox
}

function announced(receiver: Receiver): string[] {
  return receiver.received.map(({ body }) => `${body.data.msg_id} ${body.data.status}`)
}

function transitions(sandbox: Sandbox): string[] {
  return sandbox.truths().flatMap(({ messageId, history }) => history.map(({ status }) => `${messageId} ${status}`))
}

function acknowledged(sandbox: Sandbox): string[] {
  return sandbox.truths().flatMap(({ messageId, receipts }) => receipts.map(({ status }) => `${messageId} ${status}`))
}

it('announces every transition once, when its time has come', async () => {
  const receiver = await receive()
  const sandbox = await start({ webhookUrl: receiver.url })
  sandbox.send(500)
  await sandbox.settled()
  expect(announced(receiver).sort()).toEqual(transitions(sandbox).sort())
  expect(acknowledged(sandbox).sort()).toEqual(transitions(sandbox).sort())
  for (const { history, receipts } of sandbox.truths()) {
    for (const { status, acknowledgedAt } of receipts) {
      const due = history.find((transition) => transition.status === status)?.at.getTime()
      expect(acknowledgedAt.getTime()).toBeGreaterThanOrEqual(due ?? Number.NaN)
    }
  }
  const sent = transitions(sandbox).length
  expect(sandbox.stats().webhooks).toEqual({ sent, accepted: sent, lost: 0, retried: 0, refused: 0, exhausted: 0 })
})

it('writes delivery receipts as seven.io does, byte for byte', async () => {
  const receiver = await receive()
  const sandbox = await start({ webhookUrl: receiver.url }, { neverShare: 0 })
  const [messageId = ''] = sandbox.send(1)
  const [other = ''] = sandbox.send(1, { foreignId: 'order-1' })
  await sandbox.settled()
  const accepted = receiver.received.filter(({ body }) => body.data.status === 'ACCEPTED')
  const at = sandbox.truth(messageId)?.history[0]?.at ?? new Date(0)
  const receipt = accepted.find(({ body }) => body.data.msg_id === messageId)
  expect(receipt).toMatchObject({ method: 'POST', type: 'application/json' })
  expect(receipt?.text).toBe(
    `{"data":{"msg_id":"${messageId}","status":"ACCEPTED","timestamp":"${formatBerlinTime(at, 3)}000"},` +
      `"webhook_event":"dlr","webhook_timestamp":"${receipt?.body.webhook_timestamp}"}`,
  )
  expect(receipt?.body.webhook_timestamp).toMatch(/^\d{4}-\d{2}-\d{2}T\d{2}:\d{2}:\d{2}\+0[12]:00$/)
  expect(accepted.find(({ body }) => body.data.msg_id === other)?.body.data.foreign_id).toBe('order-1')
})

it('loses single receipts, and counts them', async () => {
  const receiver = await receive()
  const sandbox = await start({ webhookUrl: receiver.url, webhookLoss: 0.3 })
  sandbox.send(500)
  await sandbox.settled()
  const { sent, lost } = sandbox.stats().webhooks
  expect(sent + lost).toBe(transitions(sandbox).length)
  expect(lost / (sent + lost)).toBeCloseTo(0.3, 1)
  expect(announced(receiver).sort()).toEqual(acknowledged(sandbox).sort())
})

it('loses the same receipts for the same seed', async () => {
  const receiver = await receive()
  const knobs = { webhookUrl: receiver.url, webhookLoss: 0.3, webhookDuplicates: 0.2, webhookReorder: 0.2 }
  const run = async () => {
    const sandbox = await start(knobs)
    sandbox.send(100)
    await sandbox.settled()
    return acknowledged(sandbox).sort()
  }
  expect(await run()).toEqual(await run())
})

it('loses all receipts of some messages, and none of the others', async () => {
  const receiver = await receive()
  const sandbox = await start({ webhookUrl: receiver.url, webhookLossPerMessage: 0.5 }, { neverShare: 0 })
  sandbox.send(500)
  await sandbox.settled()
  const told = sandbox.truths().filter(({ receipts }) => receipts.length > 0)
  expect(told.length / 500).toBeCloseTo(0.5, 1)
  for (const { history, receipts } of told) expect(receipts).toHaveLength(history.length)
})

it('sends some receipts twice', async () => {
  const receiver = await receive()
  const sandbox = await start({ webhookUrl: receiver.url, webhookDuplicates: 0.4 })
  sandbox.send(300)
  await sandbox.settled()
  const unique = new Set(announced(receiver))
  expect([...unique].sort()).toEqual(transitions(sandbox).sort())
  expect(receiver.received.length / unique.size).toBeCloseTo(1.4, 1)
})

it('holds receipts back until the next one has been sent', async () => {
  const receiver = await receive()
  const sandbox = await start({ webhookUrl: receiver.url, webhookReorder: 1 })
  sandbox.send(300)
  await sandbox.settled()
  expect(announced(receiver).sort()).toEqual(transitions(sandbox).sort())
  for (const { messageId } of sandbox.truths().filter(({ history }) => history.length > 1)) {
    const lines = announced(receiver)
    expect(lines.indexOf(`${messageId} ACCEPTED`)).toBeGreaterThan(lines.indexOf(`${messageId} TRANSMITTED`))
  }
})

it('delays receipts by the law of the lag', async () => {
  const receiver = await receive()
  const minute = { medianMs: 60_000, sigma: 0 }
  const sandbox = await start({ webhookUrl: receiver.url, webhookDelay: minute }, { timeScale: 1_000 })
  const sentAt = Date.now()
  sandbox.send(5, { sentAt: new Date(sentAt - 172_800) })
  await sandbox.settled()
  const answered = sandbox
    .truths()
    .flatMap(({ receipts }) => receipts.map(({ acknowledgedAt }) => acknowledgedAt.getTime()))
  expect(Math.min(...answered) - sentAt).toBeGreaterThanOrEqual(60)
})

it.each([429, 500, 502, 503, 504])('sends a receipt again after %i, with the same body', async (status) => {
  const receiver = await receive((index) => (index < 2 ? status : 204))
  const sandbox = await start({ webhookUrl: receiver.url }, { neverShare: 1, components: [], expiredShare: 0 })
  sandbox.send(20)
  await sandbox.settled()
  expect(sandbox.stats().webhooks).toMatchObject({ retried: 2, refused: 0, exhausted: 0 })
  expect(acknowledged(sandbox).sort()).toEqual(transitions(sandbox).sort())
  const texts = receiver.received.map(({ text }) => text)
  expect(texts.slice(2)).toEqual(expect.arrayContaining(texts.slice(0, 2)))
})

it.each([400, 401, 404, 410])('gives a receipt up at once after %i', async (status) => {
  const receiver = await receive((index) => (index === 0 ? status : 302))
  const sandbox = await start({ webhookUrl: receiver.url })
  sandbox.send(20)
  await sandbox.settled()
  expect(sandbox.stats().webhooks).toMatchObject({ retried: 0, refused: 1 })
  expect(acknowledged(sandbox)).toHaveLength(transitions(sandbox).length - 1)
})

it('gives a receipt up after 14 attempts', async () => {
  const receiver = await receive(() => 503)
  const sandbox = await start({ webhookUrl: receiver.url }, { neverShare: 0 })
  sandbox.send(1)
  await sandbox.settled()
  const count = transitions(sandbox).length
  expect(sandbox.stats().webhooks).toMatchObject({
    sent: 14 * count,
    retried: 13 * count,
    exhausted: count,
    accepted: 0,
  })
})

it('sends again when there is no answer in time', async () => {
  const receiver = await receive((index) => (index === 0 ? 'hang' : 200))
  const sandbox = await start({ webhookUrl: receiver.url, webhookTimeoutMs: 50 })
  sandbox.send(3)
  await sandbox.settled()
  expect(sandbox.stats().webhooks).toMatchObject({ retried: 1 })
  expect(acknowledged(sandbox).sort()).toEqual(transitions(sandbox).sort())
})

it('sends again when nobody listens, and to a URL set later', async () => {
  const closed = createServer()
  await new Promise<void>((resolve) => closed.listen(0, '127.0.0.1', resolve))
  const address = closed.address()
  await new Promise((resolve) => closed.close(resolve))
  const port = typeof address === 'object' && address ? address.port : 0
  const sandbox = await start({}, { neverShare: 0 })
  sandbox.send(10)
  await sandbox.settled()
  expect(sandbox.stats().webhooks).toMatchObject({ sent: 0, lost: 0 })

  sandbox.set({ webhookUrl: `http://127.0.0.1:${port}/` })
  const [unheard = ''] = sandbox.send(1)
  await sandbox.settled()
  const count = sandbox.truth(unheard)?.history.length ?? 0
  expect(sandbox.stats().webhooks).toMatchObject({ sent: 14 * count, exhausted: count })

  const receiver = await receive()
  sandbox.set({ webhookUrl: receiver.url })
  const [heard = ''] = sandbox.send(1)
  await sandbox.settled()
  const expected = transitions(sandbox).filter((line) => line.startsWith(heard))
  expect(announced(receiver).sort()).toEqual(expected.sort())
})

it('closes at once, whatever is still to come', async () => {
  const receiver = await receive(() => 'hang')
  const sandbox = await start({ webhookUrl: receiver.url }, { timeScale: 1 })
  sandbox.send(200)
  const settled = sandbox.settled()
  while (receiver.received.length < 50) await new Promise((resolve) => setImmediate(resolve))
  await sandbox.close()
  await settled
  expect(sandbox.stats().webhooks.accepted).toBe(0)
})

import { createHash, createHmac } from 'node:crypto'
import { afterEach, describe, expect, it } from 'vitest'
import type { KnobsPatch } from '../../../src/sandbox/knobs.ts'
import { createSandbox, type Sandbox } from '../../../src/sandbox/server.ts'
import { signRequest } from '../../../src/sandbox/seven/signing.ts'
import { createReceiver, type Received, type Receiver } from '../receiver.ts'

const open: { close(): Promise<void> }[] = []
afterEach(async () => {
  for (const { close } of open.splice(0)) await close()
})

const KEY = 'key-of-a-test'
const ACCEPTED_ONLY = { components: [], expiredShare: 0, neverShare: 1, timeScale: 864_000 }

async function run(knobs: KnobsPatch, answer?: (index: number) => number): Promise<[Receiver, Sandbox]> {
  const receiver = await createReceiver(answer)
  const sandbox = await createSandbox({ seed: 3, law: ACCEPTED_ONLY, knobs: { webhookUrl: receiver.url, ...knobs } })
  open.push(sandbox, receiver)
  sandbox.send(10)
  await sandbox.settled()
  expect(receiver.received.length).toBeGreaterThan(5)
  return [receiver, sandbox]
}

function nonceOf({ headers }: Received): string {
  return String(headers['x-nonce'])
}

/** Written apart from the code under test, from the vendor's description. */
function expectedSignature({ method, headers, text }: Received, url: string): string {
  const digest = createHash('md5').update(text, 'utf8').digest('hex')
  return createHmac('sha256', Buffer.from(KEY))
    .update(`${headers['x-timestamp']}\n${headers['x-nonce']}\n`)
    .update(`${method}\n${url}\n${digest}`)
    .digest('hex')
}

describe('signed webhooks', () => {
  it.each(['JSON', 'GET', 'POST', 'nested'] as const)('cover the complete URL, as %s', async (webhookForm) => {
    const [receiver] = await run({ signingKey: KEY, webhookForm })
    const { origin } = new URL(receiver.url)
    for (const request of receiver.received) {
      expect(request.headers['x-signature']).toBe(expectedSignature(request, origin + request.path))
      expect(request.headers['x-signature']).not.toBe(expectedSignature(request, request.path))
      expect(Math.abs(Number(request.headers['x-timestamp']) - Date.now() / 1000)).toBeLessThan(10)
    }
    expect(new Set(receiver.received.map(nonceOf)).size).toBe(receiver.received.length)
  })

  it('cover the path alone when told so', async () => {
    const [receiver] = await run({ signingKey: KEY, webhookForm: 'GET', signatureUrl: 'path' })
    for (const request of receiver.received) {
      expect(request.path).toMatch(/^\/webhooks\/seven\?webhook_event=dlr&/)
      expect(request.headers['x-signature']).toBe(expectedSignature(request, request.path))
    }
  })

  it('repeat time, nonce and signature in a retry', async () => {
    const [receiver] = await run({ signingKey: KEY }, (index) => (index === 0 ? 503 : 200))
    const [first, ...others] = receiver.received
    const retry = others.find(({ text }) => text === first?.text)
    const signed = ({ headers }: Received) => [headers['x-signature'], headers['x-timestamp'], headers['x-nonce']]
    expect(retry && signed(retry)).toEqual(first && signed(first))
  })

  it('are signed anew in a retry when told so', async () => {
    const [receiver] = await run({ signingKey: KEY, signRetriesAnew: true }, (index) => (index === 0 ? 503 : 200))
    const [first, ...others] = receiver.received
    const retry = others.find(({ text }) => text === first?.text)
    expect(retry && nonceOf(retry)).not.toBe(first && nonceOf(first))
    expect(retry?.headers['x-signature']).toBe(retry && expectedSignature(retry, receiver.url))
  })

  it('carry no such headers without a key', async () => {
    const [receiver] = await run({})
    const headers = receiver.received.flatMap(({ headers }) => Object.keys(headers))
    expect(headers.filter((name) => /^x-(signature|timestamp|nonce)$/.test(name))).toEqual([])
  })

  it('agree with another implementation', async () => {
    const url = 'https://app.example/webhooks/seven?a=1'
    const { headers } = signRequest(
      { method: 'POST', url, headers: {}, body: '{"ä":1}' },
      { key: KEY, signatureUrl: 'full' },
    )
    const digest = '857cb81aac5504aec0a7ca4654e35a24'
    const signed = [headers['x-timestamp'], headers['x-nonce'], 'POST', url, digest].join('\n')
    const bytes = new TextEncoder()
    const hmac = { name: 'HMAC', hash: 'SHA-256' }
    const key = await crypto.subtle.importKey('raw', bytes.encode(KEY), hmac, false, ['verify'])
    const signature = Buffer.from(headers['x-signature'] ?? '', 'hex')
    expect(await crypto.subtle.verify('HMAC', key, signature, bytes.encode(signed))).toBe(true)
    expect(await crypto.subtle.verify('HMAC', key, signature, bytes.encode(`${signed}.`))).toBe(false)
  })
})

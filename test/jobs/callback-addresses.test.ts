/** Callbacks never reach inside: addresses in all their writings, and names whose addresses change. */
import dns from 'node:dns'
import { once } from 'node:events'
import { syncBuiltinESMExports } from 'node:module'
import { type AddressInfo, createServer as createTcpServer } from 'node:net'
import { afterEach, beforeEach, describe, expect, it, type MockInstance, vi } from 'vitest'
import { errorCodeOf } from '../../src/core/error-code.ts'
import { type CallbackSender, createCallbackSender, lookupPublic } from '../../src/jobs/callback-sender.ts'
import { isPublic } from '../../src/urls/public-address.ts'
import { closeAll, closeLater } from '../support/service.ts'

afterEach(closeAll)

const SECRET = `whsec_${Buffer.from('a secret of 32 bytes, not a word').toString('base64')}`

describe('an address that is not public', () => {
  const NOT_PUBLIC = 'the address of the receiver is not a public one, and CALLBACK_ALLOW_PRIVATE is false'
  let connections: number
  let port: number
  let sender: CallbackSender

  beforeEach(async () => {
    connections = 0
    const server = createTcpServer((socket) => {
      connections++
      socket.destroy()
    })
    server.listen(0)
    await once(server, 'listening')
    port = (server.address() as AddressInfo).port
    sender = createCallbackSender({ allowPrivate: false })
    closeLater(async () => {
      await sender.close()
      server.close()
      await once(server, 'close')
    })
  })

  const send = async (url: string, signal = new AbortController().signal, by = sender) => {
    const callback = { id: 'change-1', url: url.replace('PORT', String(port)), secrets: [SECRET], body: '{}' }
    return (await by.send(callback, signal)).refusal
  }

  it.each([
    'https://127.0.0.1:PORT/',
    'https://127.1:PORT/',
    'https://0177.0.0.1:PORT/',
    'https://017700000001:PORT/',
    'https://0x7f000001:PORT/',
    'https://127.0.0.1.:PORT/',
    'https://①②⑦.⓪.⓪.①:PORT/',
    'https://127。0。0。1:PORT/',
    'https://%31%32%37.0.0.1:PORT/',
    'https://1.1.1.1%2f@127.0.0.1:PORT/',
    'https://2130706433:PORT/',
    'https://0x7f.0.0.1:PORT/',
    'https://0.0.0.0:PORT/',
    'https://[::1]:PORT/',
    'https://[::]:PORT/',
    'https://[::ffff:127.0.0.1]:PORT/',
    'https://[::ffff:7f00:1]:PORT/',
    'https://[::127.0.0.1]:PORT/',
    'https://[64:ff9b::127.0.0.1]:PORT/',
    'https://[64:ff9b:1::127.0.0.1]:PORT/',
    'https://[::ffff:0:127.0.0.1]:PORT/',
    'https://[2001:0:7f00:1::]/',
    'https://[2002:7f00:1::]:PORT/',
    'https://10.0.0.1/',
    'https://172.16.0.1/',
    'https://192.168.1.1/',
    'https://100.64.0.1/',
    'https://169.254.169.254/latest/meta-data',
    'https://[::ffff:169.254.169.254]/',
    'https://[2002:a9fe:a9fe::]/',
    'https://168.63.129.16/metadata/instance',
    'https://[::ffff:168.63.129.16]/',
    'https://100.100.100.200/latest/meta-data',
    'https://192.0.0.192/latest',
    'https://[2001:db8::1]/',
    'https://[3fff::1]/',
    'https://[100::1]/',
    'https://[fe80::1]/',
    'https://[fec0::1]/',
    'https://[fd00::1]/',
    'https://[fd00:ec2::254]/',
    'https://[4000::1]/',
    'https://224.0.0.1/',
    'https://255.255.255.255/',
    'https://user:password@127.0.0.1:PORT/',
  ])('is refused for good: %s', async (url) => {
    expect(await send(url)).toEqual({ reason: NOT_PUBLIC, final: true })
    expect(connections).toBe(0)
  })

  it.each(['https://localhost:PORT/', 'https://LOCALHOST:PORT/'])(
    'is refused after its name was resolved: %s',
    async (url) => {
      expect(await send(url)).toEqual({ reason: NOT_PUBLIC, final: false })
      expect(connections).toBe(0)
    },
  )

  it('has no zone in a URL, and is known by one in a name', () => {
    expect(URL.canParse('https://[fe80::1%25eth0]/')).toBe(false)
    expect(isPublic('fe80::1%eth0')).toBe(false)
  })

  describe('of a name whose addresses change', () => {
    const answers: { address: string; family: number }[][] = []
    const resolve = ((_name: string, _options: object, done: (error: null, found: object[]) => void) => {
      done(null, answers.shift() ?? [])
    }) as unknown as typeof dns.lookup
    const [inside, outside] = [
      { address: '127.0.0.1', family: 4 },
      { address: '1.1.1.1', family: 4 },
    ]
    let lookup: MockInstance
    beforeEach(() => {
      lookup = vi.spyOn(dns, 'lookup').mockImplementation(resolve)
      syncBuiltinESMExports()
      return () => {
        lookup.mockRestore()
        syncBuiltinESMExports()
      }
    })

    it('is the one that was checked: a connection asks once, and is made to what the answer was', async () => {
      answers.push([inside], [inside])
      for (const _attempt of [1, 2]) {
        expect(await send('https://changes.example:PORT/')).toEqual({ reason: NOT_PUBLIC, final: false })
      }
      expect([lookup.mock.calls.length, answers.length, connections]).toEqual([2, 0, 0])
    })

    it.each([
      [[inside, outside], [outside]],
      [[{ address: '::ffff:10.0.0.1', family: 6 }, outside], [outside]],
      [[inside, { address: '168.63.129.16', family: 4 }], 'ENOTPUBLIC'],
      [[], 'ENOTPUBLIC'],
    ])('is never one inside: of %j there remains %j', async (found, remaining) => {
      answers.push(found, found)
      const all = new Promise((done) =>
        lookupPublic('x.example', { all: true }, (error, addresses) => done(error ? errorCodeOf(error) : addresses)),
      )
      const one = new Promise((done) =>
        lookupPublic('x.example', {}, (error, address) => done(error ? errorCodeOf(error) : address)),
      )
      expect([await all, await one]).toEqual([remaining, remaining === 'ENOTPUBLIC' ? remaining : outside.address])
    })
  })

  it.each(['http://127.0.0.1:PORT/', 'http://localhost:PORT/', 'http://192.0.2.1/'])(
    'is not reached without TLS either: %s',
    async (url) => {
      const reason = 'callback URLs must be https, unless CALLBACK_ALLOW_PRIVATE is true'
      expect(await send(url)).toEqual({ reason, final: true })
      expect(connections).toBe(0)
    },
  )

  it.each(['1.1.1.1', '185.12.64.1', '2606:4700:4700::1111', '2a01:4f8::1', '::ffff:1.1.1.1'])(
    'is not %s',
    (address) => {
      expect(isPublic(address)).toBe(true)
    },
  )

  it('is called where the configuration allows it', async () => {
    const allowing = createCallbackSender({ allowPrivate: true })
    try {
      for (const url of ['http://127.0.0.1:PORT/', 'https://localhost:PORT/']) {
        expect(await send(url, undefined, allowing)).toMatchObject({ final: false })
      }
      expect(connections).toBeGreaterThanOrEqual(2)
    } finally {
      await allowing.close()
    }
  })

  it('is told of with neither URL nor address', async () => {
    const refusal = await send('https://nobody.invalid/secret-path?token=t0p')
    expect(refusal).toMatchObject({ final: false, reason: expect.stringMatching(/^the receiver cannot be reached: E/) })
    expect(JSON.stringify(refusal)).not.toMatch(/secret-path|t0p|nobody/)
  })
})

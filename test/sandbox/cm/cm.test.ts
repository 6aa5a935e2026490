import { afterEach, describe, expect, it } from 'vitest'
import { formatAmsterdamTime, formatBerlinTimeWithOffset } from '../../../src/sandbox/berlin-time.ts'
import type { CmKey, CmTruth } from '../../../src/sandbox/cm/messages.ts'
import { createSandbox, type Sandbox, type SandboxOptions } from '../../../src/sandbox/server.ts'

let sandbox: Sandbox
afterEach(() => sandbox.close())

/** Every message is delivered after exactly one minute. */
const ONE_MINUTE = {
  components: [{ share: 1, medianMs: 60_000, sigma: 0 }],
  expiredShare: 0,
  neverShare: 0,
  failureShare: 0,
}
const SENT_AT = new Date('2017-02-01T22:58:25.000Z')

async function start(options: SandboxOptions = {}): Promise<Sandbox> {
  sandbox = await createSandbox({ law: ONE_MINUTE, ...options })
  return sandbox
}

async function ask(query: string, token = sandbox.cm.productToken) {
  const response = await fetch(`${sandbox.cm.url}/transactions/?${query}`, { headers: { 'X-CM-PRODUCTTOKEN': token } })
  return { status: response.status, body: await response.text() }
}

async function referencesOf(query: string): Promise<string[]> {
  const { result }: { result: { reference: string }[] } = JSON.parse((await ask(query)).body)
  return result.map(({ reference }) => reference)
}

describe('sending through CM.com', () => {
  it('gives a reference, some with several recipients', async () => {
    await start()
    const keys = sandbox.cm.send(50)
    expect(keys).toHaveLength(50)
    const sizes = new Map<string, number>()
    for (const { messageId } of keys) sizes.set(messageId, (sizes.get(messageId) ?? 0) + 1)
    expect([...sizes.values()].slice(0, 10)).toEqual([1, 1, 1, 1, 3, 1, 1, 1, 1, 3])
    for (const { messageId, recipient } of keys) {
      expect(messageId).toMatch(/^[A-Za-z0-9]{1,32}$/)
      expect(sandbox.cm.truth(messageId, recipient)).toMatchObject({ messageId, recipient })
    }
    expect(sandbox.stats().cm.messages).toBe(50)
  })

  it('knows a message by its reference and recipient, in one form of numbers', async () => {
    await start()
    const recipients = ['0031612345678', '+31 6 87654321']
    expect(sandbox.cm.send({ reference: 'order4711', recipients })).toEqual([
      { messageId: 'order4711', recipient: '31612345678' },
      { messageId: 'order4711', recipient: '31687654321' },
    ])
    expect(sandbox.cm.truth('order4711')?.recipient).toBe('31612345678')
    expect(sandbox.cm.truth('order4711', '0031687654321')?.recipient).toBe('31687654321')
    expect(sandbox.cm.truth('order4711', '31600000000')).toBeUndefined()
    const again = { reference: 'order4711', recipients: ['+31612345678'] }
    expect(() => sandbox.cm.send(again)).toThrow(expect.objectContaining({ code: 'CONFLICT' }))
    const wrong = { reference: 'order 4711', recipients }
    expect(() => sandbox.cm.send(wrong)).toThrow(expect.objectContaining({ code: 'INPUT_INVALID' }))
  })

  it('has a truth in our words, and lets some fail after they were delivered', async () => {
    await start({ knobs: { failedAfterDelivered: 1 } })
    const [{ messageId } = { messageId: '' }] = sandbox.cm.send(1, { sentAt: SENT_AT })
    const truth = sandbox.cm.truth(messageId)
    expect(truth?.history.map(({ status }) => status)).toEqual(['Accepted', 'Sent', 'Delivered', 'Failed'])
    expect(truth).toMatchObject({ status: 'failed', finalStatus: 'failed', finalStatuses: ['failed'] })
    sandbox.set({ failedAfterDelivered: 0 })
    const [other = { messageId: '' }] = sandbox.cm.send(1, { sentAt: SENT_AT })
    expect(sandbox.cm.truth(other.messageId)).toMatchObject({ finalStatus: 'delivered', finalStatuses: ['delivered'] })
  })

  it('follows from the seed, apart from what is sent through seven.io', async () => {
    await start({ law: {}, seed: 4 })
    const other = await createSandbox({ seed: 4 })
    try {
      other.send(20, { sentAt: SENT_AT })
      other.cm.send(200, { sentAt: SENT_AT })
      sandbox.cm.send(200, { sentAt: SENT_AT })
      const histories = sandbox.cm.truths().map(({ history }) => history)
      expect(other.cm.truths().map(({ history }) => history)).toEqual(histories)
      const finals = new Set(sandbox.cm.truths().map(({ finalStatus }) => finalStatus))
      expect(finals).toEqual(new Set(['delivered', 'failed', 'undelivered', 'rejected', null]))
    } finally {
      await other.close()
    }
  })

  it("sends for apps by CM.com's own interface, and says which recipients are refused and why", async () => {
    await start()
    const post = async (body: unknown, token = sandbox.cm.productToken) => {
      const headers = { 'Content-Type': 'application/json', 'X-CM-PRODUCTTOKEN': token }
      const init = { method: 'POST', headers, body: JSON.stringify(body) }
      const response = await fetch(new URL('/cm/v1.0/message', sandbox.url), init)
      return { status: response.status, body: (await response.json()) as unknown }
    }
    const sms = (sms: object) => ({
      from: 'Shop',
      body: { type: 'auto', content: 'Hello' },
      reference: 'order-1',
      ...sms,
    })
    const to = [{ number: '0031612345678' }, { number: '003161234567a' }]
    const rejected = { status: 'Rejected', parts: 0 }
    const half = await post({ messages: { msg: [sms({ to }), sms({ to: to.slice(0, 1), body: { content: '' } })] } })
    expect(half).toEqual({
      status: 200,
      body: {
        details: 'Created 1 message(s)',
        errorCode: 201,
        messages: [
          {
            to: '0031612345678',
            status: 'Accepted',
            reference: 'order-1',
            parts: 1,
            messageDetails: null,
            messageErrorCode: 0,
          },
          expect.objectContaining({ ...rejected, messageErrorCode: 303 }),
          expect.objectContaining({ ...rejected, messageErrorCode: 304 }),
        ],
      },
    })
    expect(sandbox.cm.truth('order-1')).toMatchObject({ recipient: '31612345678' })

    const authentication = { productToken: sandbox.cm.productToken }
    const older = {
      Messages: {
        Authentication: authentication,
        Msg: [sms({ reference: 'order-2', To: [{ Number: '0031612345678' }] })],
      },
    }
    expect(await post(older)).toMatchObject({ status: 200, body: { errorCode: 0 } })
    for (const [refused, messageErrorCode] of [
      [{ to: to.slice(0, 1) }, 305],
      [{ to: to.slice(0, 1), reference: '' }, 305],
      [{ to: to.slice(0, 1), from: '' }, 301],
      [{}, 302],
    ] as const) {
      const body = { errorCode: 201, messages: [{ ...rejected, messageErrorCode }] }
      expect(await post({ messages: { msg: [sms(refused)] } })).toMatchObject({ status: 400, body })
    }
    expect(await post(older, 'wrong')).toMatchObject({ status: 400, body: { errorCode: 101, messages: [] } })
    expect(await post({ messages: { msg: [] } })).toMatchObject({ status: 400, body: { errorCode: 202 } })
    expect(sandbox.cm.truths()).toHaveLength(2)
  })

  it('works for other processes too', async () => {
    await start()
    const control = async (path: string, body?: unknown) => {
      const headers = { 'Content-Type': 'application/json' }
      const init = body ? { method: 'POST', headers, body: JSON.stringify(body) } : {}
      const response = await fetch(new URL(`/sandbox/cm/${path}`, sandbox.url), init)
      return { status: response.status, body: (await response.json()) as { messages: CmKey[]; next: string | null } }
    }
    const sent = await control('messages', { messages: [{ reference: 'A1', recipients: ['0031612345678'] }] })
    expect(sent.body).toEqual({ messages: [{ messageId: 'A1', recipient: '31612345678' }] })
    expect((await control('messages', { count: 4, sentAt: SENT_AT })).body.messages).toHaveLength(4)
    const json = (value: unknown) => JSON.parse(JSON.stringify(value)) as unknown
    const [first, second] = [await control('truth?limit=3'), await control('truth?limit=3&after=3')]
    expect(first.body).toEqual({ messages: json(sandbox.cm.truths(0, 3)), next: '3' })
    expect(second.body).toEqual({ messages: json(sandbox.cm.truths(3)), next: null })
    expect((await control('truth/A1?recipient=%2B31612345678')).body).toEqual(json(sandbox.cm.truth('A1')))
    expect((await control('truth/A2')).status).toBe(404)
    expect((await control('messages', { count: 1, messages: [] })).status).toBe(400)
    expect((await control('messages', { messages: [{ reference: 'A1', recipients: ['31612345678'] }] })).status).toBe(
      409,
    )
  })
})

describe('the transactions of CM.com', () => {
  it('are answered byte for byte', async () => {
    await start()
    sandbox.cm.send({ reference: 'order4711', recipients: ['0031612345678'] }, { sentAt: SENT_AT })
    const query =
      'startdate=2017-02-01T23:00:00&enddate=2017-02-02T00:00:00&channel=SMS&direction=out&pagesize=1000&page=1'
    expect(await ask(query)).toEqual({
      status: 200,
      body:
        '{"status":1,"message":"Ok","pagination":{"currentPage":1,"totalPages":1,"pageSize":1000},' +
        '"summary":{"transactions":1},"result":[{"recipient":"0031612345678","reference":"order4711","status":20,' +
        '"statusdescription":"Delivered","standarderror":null,"errordescription":"","created":"2017-02-01T23:58:25+01:00"}]}',
    })
    expect(sandbox.cm.truth('order4711')).toMatchObject({
      askedAt: [expect.any(Date)],
      toldFinalAt: expect.any(Date),
    })
  })

  it('say a sentence when there are none', async () => {
    await start()
    sandbox.cm.send(1, { sentAt: new Date(Date.now() + 60_000) })
    const body =
      '{"status":1,"message":"There are no transactions available with these parameters",' +
      '"pagination":{"currentPage":1,"totalPages":0,"pageSize":1000},"summary":{"transactions":0},"result":[]}'
    expect(await ask('channel=SMS&direction=out')).toEqual({ status: 200, body })
    sandbox.set({ cmEmptyStatus: 0 })
    expect(await ask('channel=SMS&direction=out')).toEqual({ status: 200, body: body.replace('1', '0') })
    expect(sandbox.stats().cm).toMatchObject({ requests: 2, answered: 2, rows: 0, pages: 0 })
  })

  it('have their own scale of statuses', async () => {
    await start({ law: {}, seed: 2 })
    sandbox.cm.send(2_000, { sentAt: SENT_AT })
    sandbox.cm.send(1, { sentAt: new Date(Date.now() - 1) })
    const { result }: { result: Record<string, unknown>[] } = JSON.parse((await ask('pagesize=7500')).body)
    const kinds = new Set(
      result.map(({ status, statusdescription, standarderror, errordescription }) =>
        [status, statusdescription, standarderror, errordescription].join('|'),
      ),
    )
    expect([...kinds].sort()).toEqual([
      '19|Accepted||',
      '20|Delivered||',
      '21|Failed|Failed|Message validity expired',
      '22|Rejected|Rejected|Unknown subscriber',
      '37|Sent||',
      '40|Undelivered|Undelivered|Absent subscriber',
    ])
    const ours: Record<string, string> = { 20: 'delivered', 21: 'failed', 22: 'rejected', 40: 'undelivered' }
    for (const { reference, recipient, status } of result) {
      const final = sandbox.cm.truth(String(reference), String(recipient))?.finalStatus
      if (ours[String(status)]) expect(final).toBe(ours[String(status)])
    }
  })

  it('page from the oldest on, and stay within the window of local time', async () => {
    await start()
    const instants = ['2026-03-29T00:59:59Z', '2026-03-29T01:00:00Z', '2026-10-25T00:30:00Z', '2026-10-25T01:30:00Z']
    for (const [index, instant] of [...instants.entries()].reverse()) {
      sandbox.cm.send({ reference: `S${index}`, recipients: ['31612345678'] }, { sentAt: new Date(instant) })
    }
    expect(await referencesOf('')).toEqual(['S0', 'S1', 'S2', 'S3'])
    expect(await referencesOf('startdate=2026-03-29T01:59:59&enddate=2026-03-29T01:59:59')).toEqual(['S0'])
    expect(await referencesOf('startdate=2026-03-29T02:00:00&enddate=2026-03-29T03:00:00')).toEqual(['S1'])
    expect(await referencesOf('startdate=2026-10-25T02:30:00&enddate=2026-10-25T02:30:00')).toEqual(['S2', 'S3'])
    expect(await referencesOf('pagesize=3')).toEqual(['S0', 'S1', 'S2'])
    expect(await referencesOf('pagesize=3&page=2')).toEqual(['S3'])
    const { body } = await ask('pagesize=3&page=2')
    expect(body).toContain('"pagination":{"currentPage":2,"totalPages":2,"pageSize":3}')
    expect(await referencesOf('pagesize=3&page=3')).toEqual([])
    expect(await referencesOf('direction=in')).toEqual([])
    expect(await referencesOf('channel=Viber')).toEqual([])
    expect(sandbox.stats().cm).toMatchObject({ requests: 10, answered: 10, pages: 7, rows: 13 })
  })

  it('are found by one reference, with all its recipients', async () => {
    await start()
    sandbox.cm.send({ reference: 'A1', recipients: ['31612345678', '31687654321'] }, { sentAt: SENT_AT })
    sandbox.cm.send(3, { sentAt: SENT_AT })
    expect(await referencesOf('reference=A1')).toEqual(['A1', 'A1'])
    expect(await referencesOf('reference=A2')).toEqual([])
  })

  it('are refused to a wrong token, and for a wrong time', async () => {
    await start()
    expect((await ask('', 'wrong')).status).toBe(401)
    expect(sandbox.stats().cm).toMatchObject({ wrongTokens: 1, requests: 0 })
    expect(await ask('startdate=yesterday')).toEqual({
      status: 400,
      body: '{"status":0,"message":"startdate: expected yyyy-MM-ddTHH:mm:ss"}',
    })
  })

  it('go wrong as the status query of seven.io does', async () => {
    await start({ knobs: { serverErrors: 1 } })
    sandbox.cm.send(1, { sentAt: SENT_AT })
    expect((await ask('')).status).toBeGreaterThanOrEqual(500)
    sandbox.set({ serverErrors: 0, malformed: 1 })
    const { body } = await ask('')
    expect(() => JSON.parse(body)).toThrow(SyntaxError)
    expect(sandbox.stats().cm).toMatchObject({
      requests: 2,
      answered: 0,
      rows: 0,
      faults: { serverErrors: 1, malformed: 1 },
    })
    expect(sandbox.stats().requests).toBe(0)
  })

  it('tell of every message what is true now', async () => {
    await start({ law: {} })
    sandbox.cm.send(300, { sentAt: new Date(Date.now() - 60_000) })
    const { result }: { result: Record<string, string>[] } = JSON.parse((await ask('')).body)
    const keyOf = ({ messageId, recipient }: CmKey | CmTruth) => `${messageId} 00${recipient}`
    const reported = sandbox.cm.truths().filter(({ status }) => status !== null)
    expect(result.map(({ reference, recipient }) => `${reference} ${recipient}`)).toEqual(reported.map(keyOf))
    expect(result.map(({ created }) => created)).toEqual(
      reported.map(({ sentAt }) => formatBerlinTimeWithOffset(sentAt)),
    )
    expect(formatAmsterdamTime(SENT_AT)).toBe('2017-02-01T23:58:25')
  })
})

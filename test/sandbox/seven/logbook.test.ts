import { afterEach, describe, expect, it } from 'vitest'
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

async function start(options: SandboxOptions = {}): Promise<Sandbox> {
  sandbox = await createSandbox({ law: ONE_MINUTE, ...options })
  return sandbox
}

async function ask(query: string, key = sandbox.apiKey) {
  const response = await fetch(`${sandbox.url}/journal/outbound?${query}`, { headers: { 'X-Api-Key': key } })
  return { status: response.status, type: response.headers.get('content-type'), body: await response.text() }
}

async function idsOf(query: string): Promise<string[]> {
  const rows: { id: string }[] = JSON.parse((await ask(query)).body)
  return rows.map(({ id }) => id)
}

const SENT_AT = new Date('2024-02-16T14:42:16.905Z')

describe('the logbook', () => {
  it('tells of one message, byte for byte', async () => {
    await start()
    const [id] = sandbox.send(['447700900001'], {
      sentAt: SENT_AT,
      foreignId: 'order-1',
      sender: 'Ada',
      text: 'Hi "you"',
    })
    const answer = await ask(`id=${id}`)
    expect(answer).toMatchObject({ status: 200, type: expect.stringContaining('application/json') })
    expect(answer.body).toBe(
      `[{"id":"${id}","to":"447700900001","from":"Ada","text":"Hi \\"you\\"","timestamp":"2024-02-16 15:42:16.905",` +
        '"price":"0.075","dlr":"DELIVERED","dlr_timestamp":"2024-02-16 15:43:16.905","mccmnc":"23430",' +
        '"latency":"60.000","type":"direct","channel":"sms","connection":"http","label":null,"foreign_id":"order-1"}]',
    )
  })

  it('has nulls where there is no report yet', async () => {
    await start()
    const [id] = sandbox.send(1, { sentAt: new Date(Date.now() + 60_000) })
    expect(JSON.parse((await ask(`id=${id}`)).body)).toMatchObject([
      { id, dlr: null, dlr_timestamp: null, mccmnc: null, latency: null },
    ])
    expect(sandbox.truth(id ?? '')).toMatchObject({ askedAt: [expect.any(Date)], toldFinalAt: null })
  })

  it.each(['id=1', 'id=77100000001,77100000002', 'id='])('has no rows for %s', async (query) => {
    await start()
    sandbox.send(2, { sentAt: SENT_AT })
    expect((await ask(query)).body).toBe('[]')
  })

  it('takes days as those of Berlin, both nights of the changing clocks included', async () => {
    await start()
    const at = (instant: string) => sandbox.send(1, { sentAt: new Date(instant) })[0] ?? ''
    const [before, first, last, after] = [
      '2026-03-28T22:59:59.999Z',
      '2026-03-28T23:00:00.000Z',
      '2026-03-29T21:59:59.999Z',
      '2026-03-29T22:00:00.000Z',
    ].map(at)
    const [autumnFirst, autumnLast, autumnAfter] = [
      '2026-10-24T22:00:00.000Z',
      '2026-10-25T22:59:59.999Z',
      '2026-10-25T23:00:00.000Z',
    ].map(at)
    expect(await idsOf('date_from=2026-03-29&date_to=2026-03-29')).toEqual([last, first])
    expect(await idsOf('date_to=2026-03-28')).toEqual([before])
    expect(await idsOf('date_from=2026-03-30&date_to=2026-10-24')).toEqual([after])
    expect(await idsOf('date_from=2026-10-25&date_to=2026-10-25')).toEqual([autumnLast, autumnFirst])
    expect(await idsOf('date_from=2026-10-26')).toEqual([autumnAfter])
  })

  it('pages through the newest first, at most 100 a page', async () => {
    await start()
    const older = sandbox.send(150, { sentAt: SENT_AT })
    const oldest = sandbox.send(30, { sentAt: new Date(SENT_AT.getTime() - 1) })
    const day = 'date_from=2024-02-16&date_to=2024-02-16'
    const newestFirst = [...older.reverse(), ...oldest.reverse()]
    expect(await idsOf(day)).toEqual(newestFirst.slice(0, 100))
    expect(await idsOf(`${day}&limit=1000`)).toEqual(newestFirst.slice(0, 100))
    expect(await idsOf(`${day}&offset=100`)).toEqual(newestFirst.slice(100))
    expect(await idsOf(`${day}&limit=7&offset=177`)).toEqual(newestFirst.slice(177))
    expect(await idsOf(`${day}&offset=180`)).toEqual([])
    expect(sandbox.stats().logbook).toMatchObject({ requests: 5, answered: 5, requestsById: 0, rows: 283 })
    expect(sandbox.truth(older[0] ?? '')?.toldFinalAt).toBeInstanceOf(Date)
  })

  it('selects by state and recipient', async () => {
    await start()
    const [delivered, other] = sandbox.send(['447700900001', '+44 7700 900002'], { sentAt: SENT_AT })
    const [transmitted] = sandbox.send(['447700900001'], { sentAt: new Date(Date.now() - 30_000) })
    expect(await idsOf('state=TRANSMITTED')).toEqual([transmitted])
    expect(await idsOf('state=delivered&to=00447700900001')).toEqual([delivered])
    expect(await idsOf('to=447700900002')).toEqual([other])
  })

  it('answers 900 in a 200 to a wrong key, and counts it apart', async () => {
    await start()
    expect(await ask('id=1', 'wrong')).toMatchObject({ status: 200, body: '900' })
    expect(sandbox.stats().logbook).toMatchObject({ wrongKeys: 1, requests: 0 })
  })

  it('goes wrong as the status query does', async () => {
    await start({ knobs: { rateLimited: { share: 1, retryAfter: 7 } } })
    const [id] = sandbox.send(1, { sentAt: SENT_AT })
    expect(await ask(`id=${id}`)).toMatchObject({ status: 429, body: 'Too Many Requests' })
    sandbox.set({ rateLimited: { share: 0 }, errorCode: { share: 1, form: 'code' } })
    expect((await ask(`id=${id}`)).body).toBe('{"code":"900"}')
    expect(sandbox.stats()).toMatchObject({
      requests: 0,
      logbook: { requests: 2, requestsById: 2, answered: 0, rows: 0, faults: { rateLimited: 1, errorCode: 1 } },
    })
    expect(sandbox.truth(id ?? '')).toMatchObject({ toldFinalAt: null })
  })
})

describe('the status query', () => {
  const askStatus = async (ids: string) => {
    const headers = { 'X-Api-Key': sandbox.apiKey, Accept: 'application/json' }
    const response = await fetch(`${sandbox.url}/status?msg_id=${ids}`, { headers })
    return { status: response.status, body: await response.text() }
  }

  it.each([
    ['gone404', 404, /./],
    ['gone410', 410, /./],
    ['gone200', 200, /no longer available/],
  ] as const)('is switched off in mid-run: %s', async (statusQuery, status, said) => {
    await start()
    const [id = ''] = sandbox.send(1, { sentAt: SENT_AT })
    expect((await askStatus(id)).body).toContain('DELIVERED')
    sandbox.set({ statusQuery })
    const answer = await askStatus(id)
    expect(answer).toEqual({ status, body: expect.stringMatching(said) })
    expect(() => JSON.parse(answer.body)).not.toThrow()
    expect(await idsOf(`id=${id}`)).toEqual([id])
    expect(sandbox.stats()).toMatchObject({ requests: 2, answered: 1, gone: 1, logbook: { requests: 1 } })
  })

  it.each([
    ['number', '600'],
    ['string', '"600"'],
    ['code', '{"code":"600"}'],
    ['error_code', '{"error_code":"600"}'],
  ] as const)('is spoilt by one poisonous ID, as %s', async (form, body) => {
    await start({ knobs: { errorCode: { share: 0, form } } })
    const [good = '', bad = ''] = sandbox.send(2, { sentAt: SENT_AT })
    sandbox.set({ poisonIds: [bad] })
    expect(await askStatus(`${good},${bad}`)).toEqual({ status: 200, body })
    expect(sandbox.truth(good)?.toldFinalAt).toBeNull()
    expect((await askStatus(good)).body).toContain('DELIVERED')
    expect(sandbox.stats()).toMatchObject({ requests: 2, answered: 1, poisoned: 1, idsAsked: 3 })
  })
})

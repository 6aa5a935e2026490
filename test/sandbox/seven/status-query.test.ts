import { afterEach, describe, expect, it } from 'vitest'
import { formatBerlinTime } from '../../../src/sandbox/berlin-time.ts'
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

async function ask(messageIds: string, headers: Record<string, string> = {}) {
  const response = await fetch(`${sandbox.url}/status?msg_id=${messageIds}`, {
    headers: { 'X-Api-Key': sandbox.apiKey, Accept: 'application/json', ...headers },
  })
  return { status: response.status, type: response.headers.get('content-type'), body: await response.text() }
}

function minutesAgo(minutes: number): Date {
  return new Date(Date.now() - minutes * 60_000)
}

function sendOne(sentAt: Date): string {
  const [messageId] = sandbox.send(1, { sentAt })
  if (!messageId) throw new TypeError('Nothing was sent')
  return messageId
}

describe('the status query', () => {
  it('answers one row per requested ID, repeats included', async () => {
    await start()
    const delivered = sendOne(minutesAgo(11))
    const transmitted = sendOne(minutesAgo(0.5))
    const future = sendOne(minutesAgo(-5))
    const timeOf = (messageId: string, step: number) =>
      formatBerlinTime(sandbox.truth(messageId)?.history[step]?.at ?? new Date(0), 3)
    const deliveredRow = `{"id":"${delivered}","status":"DELIVERED","status_time":"${timeOf(delivered, 2)}"}`
    const answer = await ask([delivered, transmitted, future, delivered].join(','))
    expect(answer.body).toBe(
      `[${deliveredRow},{"id":"${transmitted}","status":"TRANSMITTED","status_time":"${timeOf(transmitted, 1)}"},` +
        `{"id":"${future}","status":null,"status_time":null},${deliveredRow}]`,
    )
    expect(answer).toMatchObject({ status: 200, type: expect.stringContaining('application/json') })
  })

  it('writes the time as Berlin local text with three decimals', async () => {
    await start()
    const messageId = sendOne(new Date('2024-02-16T14:42:16.905Z'))
    const { body } = await ask(messageId)
    expect(body).toBe(`[{"id":"${messageId}","status":"DELIVERED","status_time":"2024-02-16 15:43:16.905"}]`)
  })

  it('answers plain text to those who do not ask for JSON', async () => {
    await start()
    const messageId = sendOne(new Date('2024-02-16T14:42:16.905Z'))
    const answer = await ask(messageId, { Accept: '*/*' })
    expect(answer.body).toBe('DELIVERED\n2024-02-16 15:43:16.905')
    expect(answer.type).toContain('text/plain')
  })

  it('answers 900 in a 200 to a wrong key, and counts it apart', async () => {
    await start()
    const messageId = sendOne(minutesAgo(1))
    expect(await ask(messageId, { 'X-Api-Key': 'wrong' })).toMatchObject({ status: 200, body: '900' })
    expect(sandbox.stats()).toMatchObject({ wrongKeys: 1, requests: 0 })
    expect(sandbox.truth(messageId)?.askedAt).toEqual([])
  })

  it.each([
    ['missing', (row: string) => `[${row}]`],
    ['null', (row: string) => `[${row},{"id":"12345678901","status":null,"status_time":null}]`],
    ['error', () => '600'],
  ] as const)('with unknownIds %s', async (unknownIds, expected) => {
    await start({ knobs: { unknownIds } })
    const messageId = sendOne(new Date('2024-02-16T14:42:16.905Z'))
    const row = `{"id":"${messageId}","status":"DELIVERED","status_time":"2024-02-16 15:43:16.905"}`
    expect((await ask(`${messageId},12345678901`)).body).toBe(expected(row))
    expect(sandbox.stats().unknownIdsAsked).toBe(1)
  })

  it.each(['', 'msg_id=', 'msg_id=,'])('answers 600 when no ID is given: "%s"', async (query) => {
    await start()
    const response = await fetch(`${sandbox.url}/status?${query}`, { headers: { 'X-Api-Key': sandbox.apiKey } })
    expect(await response.text()).toBe('600')
  })

  it('remembers who was asked about when, and when the final status was told', async () => {
    await start()
    const delivered = sendOne(minutesAgo(11))
    const transmitted = sendOne(minutesAgo(0.5))
    const before = Date.now()
    await ask(`${delivered},${transmitted}`)
    await ask(delivered)
    const told = sandbox.truth(delivered)
    expect(told?.askedAt).toHaveLength(2)
    expect(told?.askedAt[0]?.getTime()).toBeGreaterThanOrEqual(before)
    expect(told?.toldFinalAt?.getTime()).toBeLessThanOrEqual(told?.askedAt[1]?.getTime() ?? 0)
    expect(sandbox.truth(transmitted)).toMatchObject({
      status: 'transmitted',
      finalStatus: 'delivered',
      toldFinalAt: null,
    })
    expect(sandbox.stats()).toMatchObject({ requests: 2, answered: 2, idsAsked: 3, idsPerRequest: { 1: 1, 2: 1 } })
  })
})

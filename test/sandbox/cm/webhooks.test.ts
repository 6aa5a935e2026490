import { afterEach, describe, expect, it } from 'vitest'
import type { KnobsPatch } from '../../../src/sandbox/knobs.ts'
import { createSandbox, type Sandbox } from '../../../src/sandbox/server.ts'
import { createReceiver, type Receiver } from '../receiver.ts'

const open: { close(): Promise<void> }[] = []
afterEach(async () => {
  for (const { close } of open.splice(0)) await close()
})

async function receive(answer?: (index: number) => number | 'hang'): Promise<Receiver> {
  const receiver = await createReceiver(answer)
  open.push(receiver)
  return receiver
}

async function start(knobs: KnobsPatch, law = {}): Promise<Sandbox> {
  const sandbox = await createSandbox({ seed: 3, law: { timeScale: 864_000, ...law }, knobs })
  open.unshift(sandbox)
  return sandbox
}

/** Every message takes exactly one minute to `failureShare` of a refusal. */
function afterOneMinute(failureShare: number) {
  const components = [{ share: 1, medianMs: 60_000, sigma: 0 }]
  return { timeScale: 1, components, expiredShare: 0, neverShare: 0, failureShare }
}

const SENT_AT = new Date('2023-09-15T11:23:03.000Z')
const RECEIVED = '2023-09-15T13:24:03'
const REFERENCE = 'order4711'

/** The last of the receipts of one message. */
async function lastReceipt(cmWebhookForm: NonNullable<KnobsPatch['cmWebhookForm']>, law = afterOneMinute(0)) {
  const receiver = await receive()
  const sandbox = await start({ cmWebhookUrl: receiver.url, cmWebhookForm }, law)
  sandbox.cm.send({ reference: REFERENCE, recipients: ['+917073935263'] }, { sentAt: SENT_AT })
  await sandbox.settled()
  const truth = sandbox.cm.truth(REFERENCE)
  expect(receiver.received).toHaveLength(2)
  const last = receiver.received.find(({ path, text }) => `${path}${text}`.includes(encodeTime(cmWebhookForm)))
  return { last, truth }
}

function encodeTime(form: string): string {
  return /^(get|form)/.test(form) ? encodeURIComponent(RECEIVED) : RECEIVED
}

const TO = '00917073935263'
const TIME = encodeURIComponent(RECEIVED)
const UPPER = `REFERENCE=${REFERENCE}&STATUS=2&GSM=${TO}&CREATED_S=${TIME}&STATUSDESCRIPTION=&STANDARDERRORTEXT=&OPERATOR=`
const SENT = encodeURIComponent('2023-09-15T13:23:03')
const LOWER = `reference=${REFERENCE}&statuscode=2&to=${TO}&received=${TIME}&sent=${SENT}&errorcode=&errordescription=`
const JSON_MSG =
  `{"received":"${RECEIVED}","to":"${TO}","reference":"${REFERENCE}",` +
  '"status":{"code":"2","errorCode":"","errorDescription":"Delivered"},"operator":""}'
const XML_MSG =
  `<MSG RECEIVED="${RECEIVED}"><TO>${TO}</TO><REFERENCE>${REFERENCE}</REFERENCE>` +
  '<STATUS><CODE>2</CODE><ERRORCODE/><ERRORDESCRIPTION/></STATUS></MSG>'
const FORM = 'application/x-www-form-urlencoded'

describe('the forms of a delivery receipt', () => {
  it.each([
    ['json', 'POST', '', `{"messages":{"msg":${JSON_MSG}}}`, 'application/json'],
    ['xml', 'POST', '', `<MESSAGES>${XML_MSG}</MESSAGES>`, 'application/xml'],
    ['getUpper', 'GET', `?${UPPER}`, '', undefined],
    ['getLower', 'GET', `?${LOWER}`, '', undefined],
    ['formUpper', 'POST', '', UPPER, FORM],
    ['formLower', 'POST', '', LOWER, FORM],
  ] as const)('%s, byte for byte', async (form, method, query, text, type) => {
    const { last } = await lastReceipt(form)
    expect(last).toMatchObject({ method, path: `/webhooks/seven${query}`, text, type })
  })

  it('an array in JSON, with all of the message so far', async () => {
    const { last } = await lastReceipt('jsonArray')
    const { messages }: { messages: { msg: { status: { code: string } }[] } } = JSON.parse(last?.text ?? '')
    expect(messages.msg.map(({ status }) => status.code)).toEqual(['0', '2'])
    expect(last?.text).toMatch(/^\{"messages":\{"msg":\[\{"received"/)
    expect(last?.text.endsWith(`,${JSON_MSG}]}}`)).toBe(true)
  })

  it('several in XML, with the time of sending them', async () => {
    const { last } = await lastReceipt('xmlSeveral')
    expect(last?.text).toMatch(/^<MESSAGES SENT="\d{4}-\d{2}-\d{2}T\d{2}:\d{2}:\d{2}"><MSG [^>]*>.*<CODE>0<\/CODE>/)
    expect(last?.text.endsWith(`</MSG>${XML_MSG}</MESSAGES>`)).toBe(true)
  })

  it('tell what went wrong', async () => {
    const texts: Record<string, [string, string]> = {
      rejected: ['1', '"errorCode":"Rejected","errorDescription":"Unknown subscriber"'],
      undelivered: ['3', '"errorCode":"Undelivered","errorDescription":"Absent subscriber"'],
      failed: ['3', '"errorCode":"Failed","errorDescription":"Message validity expired"'],
    }
    const { last, truth } = await lastReceipt('json', afterOneMinute(1))
    const [code, said] = texts[truth?.finalStatus ?? ''] ?? []
    expect(last?.text).toContain(`"status":{"code":"${code}",${said}}`)
    const xml = await lastReceipt('xml', afterOneMinute(1))
    expect(xml.last?.text).toMatch(/<ERRORCODE>\w+<\/ERRORCODE><ERRORDESCRIPTION>[\w ]+<\/ERRORDESCRIPTION>/)
  })
})

const CODES: Record<string, string> = { Sent: '0', Delivered: '2', Failed: '3', Rejected: '1', Undelivered: '3' }

/** Every step that is told of, as a line. */
function told(sandbox: Sandbox): string[] {
  return sandbox.cm
    .truths()
    .flatMap(({ messageId, recipient, history }) =>
      history.filter(({ status }) => CODES[status]).map(({ status }) => `${messageId} 00${recipient} ${CODES[status]}`),
    )
}

function heard(receiver: Receiver): string[] {
  return receiver.received.map(({ text }) => {
    const { msg }: { msg: { reference: string; to: string; status: { code: string } } } = JSON.parse(text).messages
    return `${msg.reference} ${msg.to} ${msg.status.code}`
  })
}

describe('the delivery receipts of CM.com', () => {
  it('tell of every step once, those of seven.io apart', async () => {
    const [receiver, seven] = [await receive(), await receive()]
    const sandbox = await start({ cmWebhookUrl: receiver.url, webhookUrl: seven.url })
    sandbox.cm.send(500)
    await sandbox.settled()
    expect(heard(receiver).sort()).toEqual(told(sandbox).sort())
    expect(seven.received).toEqual([])
    expect(sandbox.stats().cm.webhooks).toMatchObject({ sent: told(sandbox).length, accepted: told(sandbox).length })
    expect(sandbox.stats().webhooks.sent).toBe(0)
    const acknowledged = sandbox.cm.truths().flatMap(({ receipts }) => receipts)
    expect(acknowledged).toHaveLength(told(sandbox).length)
  })

  it('get lost, doubled and held back as those of seven.io', async () => {
    const receiver = await receive()
    const sandbox = await start({
      cmWebhookUrl: receiver.url,
      webhookLoss: 0.3,
      webhookDuplicates: 0.3,
      webhookReorder: 0.3,
    })
    sandbox.cm.send(300)
    await sandbox.settled()
    const lines = heard(receiver)
    const all = told(sandbox)
    expect(new Set(lines).size / all.length).toBeCloseTo(0.7, 1)
    // Receipts held back are not doubled.
    expect(lines.length / new Set(lines).size).toBeCloseTo(1.24, 1)
    expect(sandbox.stats().cm.webhooks.lost).toBe(all.length - new Set(lines).size)
    const isFlipped = (line: string) =>
      line.endsWith(' 2') && lines.indexOf(line.replace(/2$/, '0')) > lines.indexOf(line)
    expect(lines.some(isFlipped)).toBe(true)
  })

  it.each([302, 400, 401, 404, 503])('are sent again after %i', async (status) => {
    const receiver = await receive((index) => (index < 3 ? status : 200))
    const sandbox = await start({ cmWebhookUrl: receiver.url })
    sandbox.cm.send(5)
    await sandbox.settled()
    const { webhooks } = sandbox.stats().cm
    expect(webhooks).toMatchObject({ accepted: told(sandbox).length, retried: 3, refused: 0, exhausted: 0 })
  })

  it('are given up after seven days', async () => {
    const receiver = await receive(() => 404)
    const sandbox = await start({ cmWebhookUrl: receiver.url }, { ...afterOneMinute(0), timeScale: 864_000 })
    sandbox.cm.send(1)
    await sandbox.settled()
    expect(sandbox.stats().cm.webhooks).toMatchObject({ sent: 32, retried: 30, exhausted: 2, accepted: 0 })
  })

  it('say failed after delivered for some', async () => {
    const receiver = await receive()
    const sandbox = await start({ cmWebhookUrl: receiver.url, failedAfterDelivered: 0.2 })
    sandbox.cm.send(300)
    await sandbox.settled()
    const after = sandbox.cm.truths().filter(({ history }) => history.at(-2)?.status === 'Delivered')
    expect(after.length / 300).toBeCloseTo(0.2, 1)
    for (const { messageId, recipient, finalStatus } of after) {
      expect(finalStatus).toBe('failed')
      const codes = heard(receiver).filter((line) => line.startsWith(`${messageId} 00${recipient} `))
      expect(codes.map((line) => line.at(-1)).sort()).toEqual(['0', '2', '3'])
    }
  })

  it.each([
    ['json', 'POST', 'application/json'],
    ['xml', 'POST', 'application/xml'],
    ['getUpper', 'GET', undefined],
    ['formLower', 'POST', FORM],
  ] as const)('are joined by requests that carry nothing of use, as %s', async (cmWebhookForm, method, type) => {
    const receiver = await receive()
    const sandbox = await start({ cmWebhookUrl: receiver.url, cmWebhookForm, webhookNoise: 0.5 })
    sandbox.cm.send(50)
    await sandbox.settled()
    const empty = receiver.received.filter(({ path, text }) => path === '/webhooks/seven' && text === '')
    const unfilled = receiver.received.filter(({ path }) => path.includes('statuscode=%5BSTATUS%5D'))
    const unnamed = receiver.received.filter(({ text }) => text.includes('"reference":""'))
    expect(empty.length + unfilled.length + unnamed.length).toBe(sandbox.stats().cm.webhookNoise.accepted)
    expect(Math.min(empty.length, 2 * unfilled.length, 2 * unnamed.length)).toBeGreaterThan(9)
    expect(empty[0]).toMatchObject({ method, type })
  })
})

import { stringify } from 'node:querystring'
import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { LastwordError } from '../../../src/core/errors.ts'
import { settle } from '../../../src/core/settle.ts'
import type { Status, StatusReport } from '../../../src/core/status.ts'
import type { CmAccount } from '../../../src/providers/cm/account.ts'
import { cm } from '../../../src/providers/cm/cm.ts'
import type { Provider, WebhookRequest } from '../../../src/providers/provider.ts'
import { readWebhook } from '../../../src/providers/receipt.ts'

const account: CmAccount = cm.accountSchema.parse({ name: 'cm', provider: 'cm', productToken: 'token-of-cm' })
const RECEIVED_AT = new Date('2023-09-15T11:24:05.000Z')

const CODES: [string, Status][] = [
  ['0', 'accepted'],
  ['1', 'rejected'],
  ['2', 'delivered'],
  ['3', 'failed'],
  ['4', 'read'],
]

function read(body: unknown, changes: Partial<WebhookRequest> = {}) {
  return readWebhook(cm as Provider<never> as Provider, account, {
    method: 'POST',
    publicUrl: undefined,
    path: '/webhooks/cm/token',
    headers: {},
    body: Buffer.from(typeof body === 'string' ? body : JSON.stringify(body)),
    receivedAt: RECEIVED_AT,
    ...changes,
  })
}

async function thrownBy(action: () => unknown): Promise<unknown> {
  try {
    await action()
  } catch (error) {
    return error
  }
  throw new Error('Expected an error, got none')
}

/** The report of the documents' own example. */
function delivered(changes: Partial<StatusReport> = {}): StatusReport {
  return {
    account: 'cm',
    messageId: 'order-4711',
    recipient: '917073935263',
    status: 'delivered',
    rawStatus: '2',
    occurredAt: new Date('2023-09-15T11:24:03.000Z'),
    source: 'webhook',
    ...changes,
  }
}

const withText = delivered({ details: { errorDescription: 'Delivered' } })

const message = (changes: object = {}, status: object = {}) => ({
  received: '2023-09-15T13:24:03',
  to: '00917073935263',
  reference: 'order-4711',
  status: { code: '2', errorCode: '', errorDescription: 'Delivered', ...status },
  operator: '',
  ...changes,
})
const envelope = (msg: unknown) => ({ messages: { msg } })

describe('the account', () => {
  it('has cautious defaults, because the limits are not documented', async () => {
    expect(account).toEqual({
      name: 'cm',
      provider: 'cm',
      productToken: 'token-of-cm',
      baseUrl: 'https://api.cmtelecom.com/v1.2',
      query: 'auto',
      batchSize: 100,
      requestsPerSecond: 0.2,
      timeoutMs: 30_000,
      pageSize: 1000,
      maxWindowMs: 86_400_000,
      clockSlackMs: 300_000,
      polling: { policy: 'learned', priceMs: 300_000, windowMs: 2_592_000_000 },
    })
  })

  it('can be told otherwise', async () => {
    const other = {
      query: 'off',
      requestsPerSecond: 1,
      timeout: '5s',
      pageSize: 7500,
      maxWindow: '6h',
      clockSlack: '1m',
    }
    expect(cm.accountSchema.parse({ name: 'cm', provider: 'cm', productToken: 'x', ...other })).toMatchObject({
      query: 'off',
      requestsPerSecond: 1,
      timeoutMs: 5000,
      pageSize: 7500,
      maxWindowMs: 21_600_000,
      clockSlackMs: 60_000,
    })
  })

  it.each([[{ pageSize: 0 }], [{ maxWindow: '0s' }], [{ query: 'status' }], [{ apiKey: 'x' }], [{ productToken: '' }]])(
    'refuses %j',
    (wrong) => {
      const entry = { name: 'cm', provider: 'cm', productToken: 'x', ...wrong }
      expect(cm.accountSchema.safeParse(entry).success).toBe(false)
    },
  )
})

describe('references and recipients', () => {
  it.each([
    ['order4711', 'order4711'],
    [' order-4711\n', 'order-4711'],
    ['a_b.c-D', 'a_b.c-D'],
    ['x'.repeat(255), 'x'.repeat(255)],
    ['x'.repeat(256), undefined],
    ['', undefined],
    ['gid://shop/Sms/1c', 'gid://shop/Sms/1c'],
    ['n/a', 'n/a'],
    ['Größe 4 😀', 'Größe 4 😀'],
    ['a\u0000', undefined],
    ['a\nb', undefined],
    ['a\u202eb', undefined],
    ['\ud800', undefined],
  ])('normalizes the reference %j to %j', async (reference, expected) => {
    expect(cm.normalizeMessageId(reference)).toBe(expected)
  })

  it.each(['0031612345678', '+31612345678', '31612345678', '+31 (6) 123-456-78', ' 0031 6 12345678 '])(
    'takes %j for one and the same number',
    (number) => {
      expect(cm.normalizeRecipient(number)).toBe('31612345678')
    },
  )
})

describe('a receipt in JSON', () => {
  it.each<[string, unknown, StatusReport[]]>([
    ['as the documents have it', envelope(message()), [withText]],
    ['in a list of one', envelope([message()]), [withText]],
    [
      'in a list of several, in their order',
      envelope([message(), message({ reference: 'b' }, { code: '0', errorDescription: '' })]),
      [withText, delivered({ messageId: 'b', status: 'accepted', rawStatus: '0' })],
    ],
    ['without an envelope', message(), [withText]],
    ['in a bare list', [message()], [withText]],
    ['with names in another case', { MESSAGES: { MSG: message() } }, [withText]],
    [
      'with numbers as leaves',
      envelope(message({ to: 917073935263, reference: 4711 }, { code: 2, errorCode: 0 })),
      [delivered({ messageId: '4711', details: { errorCode: 0, errorDescription: 'Delivered' } })],
    ],
    [
      'with everything else kept',
      envelope(message({ operator: '20408', channel: 'SMS', customGrouping: 'a', more: { x: [1] }, nothing: null })),
      [
        delivered({
          details: {
            errorDescription: 'Delivered',
            operator: '20408',
            channel: 'SMS',
            customGrouping: 'a',
            more: { x: [1] },
          },
        }),
      ],
    ],
    [
      'with what the envelope says kept with each',
      { messages: { sent: '2023-09-15T13:24:04', msg: [message(), message({ reference: 'b' })] } },
      ['order-4711', 'b'].map((messageId) =>
        delivered({ messageId, details: { sent: '2023-09-15T13:24:04', errorDescription: 'Delivered' } }),
      ),
    ],
    [
      'that failed, with both texts',
      envelope(message({}, { code: '3', errorCode: 'Expired', errorDescription: 'Absent subscriber' })),
      [
        delivered({
          status: 'failed',
          rawStatus: '3',
          error: { code: 'Expired', description: 'Absent subscriber' },
        }),
      ],
    ],
    [
      'that was rejected, with one text',
      envelope(message({}, { code: '1', errorCode: '5', errorDescription: '' })),
      [delivered({ status: 'rejected', rawStatus: '1', error: { code: '5' } })],
    ],
    [
      'with a failure without texts',
      envelope(message({}, { code: '3', errorDescription: ' ' })),
      [delivered({ status: 'failed', rawStatus: '3' })],
    ],
    [
      'with a code without a known meaning',
      envelope(message({}, { code: '7', errorCode: 'Clicked' })),
      [
        delivered({
          status: 'accepted',
          rawStatus: '7',
          unmapped: true,
          error: { code: 'Clicked', description: 'Delivered' },
        }),
      ],
    ],
    ...['constructor', '__proto__', 'toString', '2x'].map((code): [string, unknown, StatusReport[]] => [
      `with the code ${code}`,
      envelope(message({}, { code, errorDescription: '' })),
      [delivered({ status: 'accepted', rawStatus: code, unmapped: true })],
    ]),
    ['with a status that is the code', envelope({ ...message(), status: '2' }), [delivered()]],
    ['without a recipient', envelope(message({ to: '' })), [{ ...withText, recipient: '' }]],
    [
      'with a recipient that is no number',
      envelope(message({ to: 'nobody' })),
      [delivered({ recipient: '', details: { to: 'nobody', errorDescription: 'Delivered' } })],
    ],
    [
      'with a status that is a text of JSON',
      envelope({ ...message(), status: '{"code":"3","errorCode":"7"}' }),
      [delivered({ status: 'failed', rawStatus: '3', error: { code: '7' } })],
    ],
    [
      'with the names of its places in one, by dots',
      { 'messages.msg.reference': 'order-4711', 'messages.msg.to': '+917073935263', 'messages.msg.status.code': '2' },
      [delivered({ occurredAt: RECEIVED_AT })],
    ],
    [
      'with the names of its places in one, by two underscores',
      { msg__reference: 'order-4711', msg__to: '+917073935263', msg__status__code: '2' },
      [delivered({ occurredAt: RECEIVED_AT })],
    ],
    [
      'with a time that stands for none',
      message({ received: '0001-01-01T00:00:00' }),
      [
        delivered({
          occurredAt: RECEIVED_AT,
          details: { received: '0001-01-01T00:00:00', errorDescription: 'Delivered' },
        }),
      ],
    ],
    ['behind another', `${JSON.stringify(message())} ${JSON.stringify(message())}`, [withText]],
    ['behind a comma', `${JSON.stringify(message({ reference: '' }))},\n${JSON.stringify(message())}`, [withText]],
    ['with a backslash before each quotation mark', JSON.stringify(message()).replaceAll('"', '\\"'), [withText]],
    ['with entities for quotation marks', JSON.stringify(message()).replaceAll('"', '&quot;'), [withText]],
    ['in base64', Buffer.from(JSON.stringify(message())).toString('base64'), [withText]],
    [
      'in base64, as queues of clouds pass it on',
      {
        message: { data: Buffer.from(JSON.stringify(message())).toString('base64'), messageId: '7' },
        subscription: 's',
      },
      [delivered({ details: { messageId: '7', subscription: 's', errorDescription: 'Delivered' } })],
    ],
    [
      'as a form in a text, as gateways of clouds pass it on',
      { httpMethod: 'POST', body: 'reference=order-4711&to=%2B917073935263&statuscode=2', isBase64Encoded: false },
      [delivered({ occurredAt: RECEIVED_AT, details: { httpMethod: 'POST', isBase64Encoded: false } })],
    ],
    [
      'with a reference of twenty digits that is a number',
      `{"messages":{"msg":{"received":"2023-09-15T13:24:03","to":"00917073935263","reference":12345678901234567891,"status":{"code":"2"}}}}`,
      [delivered({ messageId: '12345678901234567891' })],
    ],
    ['after a byte order mark and blanks', `\uFEFF \r\n${JSON.stringify(envelope(message()))}\n`, [withText]],
    [
      'beside others that cannot be read, which must not hold it back for seven days',
      envelope([message({ reference: '' }), 7, message(), message({}, { code: '' })]),
      [withText],
    ],
  ])('is read %s', async (_, body, reports) => {
    expect((await read(body)).reports).toEqual(reports)
  })

  it('names the messages that could not be read beside those that could', async () => {
    const { skipped, ...rest } = await read(envelope([message({}, { code: '' }), message()]))
    expect(rest).toEqual({ reports: [withText] })
    expect(skipped).toEqual([{ path: 'messages.msg[0].status.code', message: 'expected a status code, from 0 to 4' }])
  })

  it.each(CODES)('is read with the code %s as %s', async (rawStatus, status) => {
    expect(await read(envelope(message({}, { code: rawStatus, errorDescription: '' })))).toEqual({
      reports: [delivered({ status, rawStatus })],
    })
  })

  it.each<[string, unknown, string]>([
    ['summer', '2023-09-15T13:24:03', '2023-09-15T11:24:03.000Z'],
    ['winter', '2023-01-15T13:24:03', '2023-01-15T12:24:03.000Z'],
    ['a fraction', '2023-09-15T13:24:03.1234567', '2023-09-15T11:24:03.123Z'],
    ['an offset', '2023-09-15T13:24:03+00:00', '2023-09-15T13:24:03.000Z'],
    ['seconds of Unix', '1694777043', '2023-09-15T11:24:03.000Z'],
    ['seconds of Unix as a number', 1_694_777_043, '2023-09-15T11:24:03.000Z'],
    ['no time', undefined, RECEIVED_AT.toISOString()],
    ['an empty time', '', RECEIVED_AT.toISOString()],
  ])('has its time in Amsterdam: %s', async (_, received, occurredAt) => {
    expect(await read(envelope(message({ received })))).toEqual({
      reports: [{ ...withText, occurredAt: new Date(occurredAt) }],
    })
  })

  it('keeps a time that is none', async () => {
    expect(await read(envelope(message({ received: 'soon' })))).toEqual({
      reports: [delivered({ occurredAt: RECEIVED_AT, details: { received: 'soon', errorDescription: 'Delivered' } })],
    })
  })

  it.each([
    ['in the first pass', '2026-10-25T00:31:00Z', '2026-10-25T00:30:00.000Z'],
    ['late in the first pass, when the second would lie ahead', '2026-10-25T01:29:00Z', '2026-10-25T00:30:00.000Z'],
    ['in the second pass', '2026-10-25T01:30:02Z', '2026-10-25T01:30:00.000Z'],
    ['a day later', '2026-10-26T00:00:00Z', '2026-10-25T01:30:00.000Z'],
  ])('that was made in the doubled hour and arrives %s', async (_, receivedAt, occurredAt) => {
    const reading = await read(envelope(message({ received: '2026-10-25T02:30:00' })), {
      receivedAt: new Date(receivedAt),
    })
    expect(reading).toEqual({ reports: [{ ...withText, occurredAt: new Date(occurredAt) }] })
  })

  it.each<[string, string, number, number]>([
    ['braces that are not closed', '{"messages":{"msg":{"reference":"secret-1"', 1, 43],
    ['a line without a comma', '{"messages":{\n"a":"secret-1"\n"b":""}}', 3, 1],
    ['a template that was not filled in', '{"messages":{"msg":{"reference":secret-1}}}', 1, 33],
  ])('is refused with the place of the mistake, not with what stands there: %s', async (_, body, line, column) => {
    const error = await thrownBy(() => read(body))
    expect(error).toBeInstanceOf(LastwordError)
    expect(error).toMatchObject({
      code: 'INPUT_INVALID',
      message: `Expected a delivery receipt, found JSON with a mistake at line ${line}, column ${column}.`,
    })
  })

  it('is read with texts that look like JSON, which stay texts', async () => {
    const { reports } = await read(envelope(message({ reference: '{"order":1}', operator: '[1]' })))
    expect(reports).toMatchObject([{ messageId: '{"order":1}', details: { operator: '[1]' } }])
  })

  it.each<[string, object]>([
    ['a status', { status: 'success' }],
    ['a recipient', { to: 'https://example.com/hook' }],
    ['a reference of its own', { reference: 'batch-7' }],
  ])('is read in an envelope that has %s', async (_, beside) => {
    const { reports } = await read({ ...beside, ...envelope(message()) })
    expect(reports).toEqual([delivered({ details: { ...beside, errorDescription: 'Delivered' } })])
  })

  it('is one report when it stands there many times', async () => {
    const reading = await read(envelope(Array.from({ length: 1000 }, () => message())))
    expect(reading).toEqual({ reports: [withText], passedOver: 999 })
  })

  it('is no more than the twenty of one message that have the last word', async () => {
    const minutes = Array.from({ length: 59 }, (_, index) => String(59 - index).padStart(2, '0'))
    const given = minutes.map((minute) => message({ received: `2023-09-15T13:${minute}:00` }, { code: minute }))
    const { reports, passedOver } = await read(envelope([...given, message({ reference: 'order-4712' })]))
    // The first four minutes are those of the codes that are final.
    const codes = [...Array.from({ length: 16 }, (_, index) => String(44 + index)), '1', '2', '3', '4']
    expect(reports.map(({ messageId, rawStatus }) => [messageId, rawStatus])).toEqual([
      ...codes.map((code) => ['order-4711', code]),
      ['order-4712', '2'],
    ])
    expect(passedOver).toBe(39)
  })

  it('that says read is among the twenty, however many finals are later', async () => {
    const minutes = Array.from({ length: 30 }, (_, index) => String(index).padStart(2, '0'))
    const given = minutes.map((minute, index) =>
      message({ received: `2023-09-15T13:${minute}:00` }, { code: index === 0 ? '4' : '2' }),
    )
    const { reports } = await read(envelope(given))
    expect(reports).toHaveLength(20)
    expect(settle(reports)?.status).toBe('read')
  })

  it('is read beside one of another application, which is counted', async () => {
    const reading = await read(envelope([message(), message({ reference: '' })]))
    expect(reading).toEqual({ reports: [withText], passedOver: 1 })
  })

  it('is read when something in it is nested without end', async () => {
    const body = envelope(message({ more: JSON.parse('['.repeat(50) + ']'.repeat(50)) }))
    expect((await read(body)).reports).toMatchObject([{ messageId: 'order-4711', status: 'delivered' }])
  })

  it.each<[string, unknown]>([
    ['none', envelope(message({ reference: undefined }))],
    ['an empty one', envelope(message({ reference: '' }))],
    ['null', envelope(message({ reference: null }))],
    ['one that is none', envelope([message({ reference: 'a\u0007b' })])],
    ['two', envelope(message({ reference: ['a', 'b'] }))],
  ])('of another application of the same product token is passed over, by its reference: %s', async (_, body) => {
    expect(await read(body)).toEqual({ reports: [], ignored: 'the message has no reference' })
  })

  it.each<[string, unknown]>([
    ['no code', envelope(message({}, { code: undefined }))],
    ['an object as code', envelope(message({}, { code: { x: 1 } }))],
    ['no status', envelope(message({ status: undefined }))],
  ])('is refused for %s', async (_, body) => {
    const error = await thrownBy(() => read(body))
    expect(error).toBeInstanceOf(LastwordError)
    expect(error).toMatchObject({
      code: 'INPUT_INVALID',
      message: 'Expected a delivery receipt, found one that says too little.',
      issues: [{ path: 'messages.msg.status.code', message: 'expected a status code, from 0 to 4' }],
    })
  })
})

describe('a receipt in XML', () => {
  const msg = (reference = 'order-4711', code = '2', more = '') =>
    `<MSG RECEIVED="2023-09-15T13:24:03"><TO>00917073935263</TO><REFERENCE>${reference}</REFERENCE>` +
    `<STATUS><CODE>${code}</CODE><ERRORCODE/><ERRORDESCRIPTION/></STATUS>${more}</MSG>`

  it.each<[string, string, StatusReport[]]>([
    ['as the documents have it', `<MESSAGES>${msg()}</MESSAGES>`, [delivered()]],
    [
      'after a declaration',
      `\n<?xml version="1.0" encoding="utf-8"?>\n<MESSAGES>\n${msg()}\n</MESSAGES>`,
      [delivered()],
    ],
    [
      'several at once',
      `<MESSAGES SENT="2023-09-15T13:24:04">${msg()}${msg('b', '0')}</MESSAGES>`,
      [
        delivered({ details: { SENT: '2023-09-15T13:24:04' } }),
        delivered({
          messageId: 'b',
          status: 'accepted',
          rawStatus: '0',
          details: { SENT: '2023-09-15T13:24:04' },
        }),
      ],
    ],
    ['without an envelope', msg(), [delivered()]],
    ['in lower case', `<MESSAGES>${msg()}</MESSAGES>`.toLowerCase().replace('t13', 'T13'), [delivered()]],
    ['with a namespace', `<m:MESSAGES xmlns:m="urn:x">${msg()}</m:MESSAGES>`, [delivered()]],
    ['with character data', `<MESSAGES>${msg('<![CDATA[order-4711]]>')}</MESSAGES>`, [delivered()]],
    [
      'with the predefined entities and character references',
      `<MESSAGES>${msg(undefined, undefined, '<OPERATOR>A &amp; B &lt;&gt; &quot;&apos; &#246;&#xF6; <![CDATA[&lt;]]></OPERATOR>')}</MESSAGES>`,
      [delivered({ details: { OPERATOR: 'A & B <> "\' öö&lt;' } })],
    ],
    [
      'with both texts of a failure',
      `<MESSAGES>${msg()
        .replace('<CODE>2', '<CODE>3')
        .replace(
          '<ERRORCODE/><ERRORDESCRIPTION/>',
          '<ERRORCODE>Expired</ERRORCODE><ERRORDESCRIPTION>5</ERRORDESCRIPTION>',
        )}</MESSAGES>`,
      [delivered({ status: 'failed', rawStatus: '3', error: { code: 'Expired', description: '5' } })],
    ],
    [
      'after another document',
      `<MESSAGES>${msg('')}</MESSAGES>\n<?xml version="1.0"?><MESSAGES>${msg()}</MESSAGES>`,
      [delivered()],
    ],
    ['without an envelope, after another', `${msg('')}${msg()}`, [delivered()]],
    [
      'with entities for its brackets',
      `<MESSAGES>${msg()}</MESSAGES>`.replaceAll('<', '&lt;').replaceAll('>', '&gt;'),
      [delivered()],
    ],
    ['beside others that cannot be read', `<MESSAGES>${msg('')}${msg()}</MESSAGES>`, [delivered()]],
    ['with attributes on a leaf', `<MESSAGES>${msg().replace('<TO>', '<TO type="n">')}</MESSAGES>`, [delivered()]],
  ])('is read %s', async (_, body, reports) => {
    expect((await read(body)).reports).toEqual(reports)
  })

  it.each<[string, string, string]>([
    ['a document type', `<!DOCTYPE MESSAGES>\n<MESSAGES>${msg()}</MESSAGES>`, 'a document type or another declaration'],
    [
      'a document type with entities',
      `<?xml version="1.0"?><!DOCTYPE m [<!ENTITY a "x">]><MESSAGES>${msg('&a;')}</MESSAGES>`,
      'a document type or another declaration',
    ],
    ['an element that is not closed', `<MESSAGES>${msg()}`, 'a mistake at line 1'],
    ['elements that cross', '<MESSAGES><MSG></MESSAGES></MSG>', 'a mistake at line 1, column 16'],
    ['nothing but a bracket', '<', 'a mistake at line 1'],
    ['a name of a million letters', `<${'a'.repeat(1_000_000)}`, 'a mistake at line 1'],
    [
      'an element that is not closed within others',
      '<MESSAGES><MSG> <REFERENCE>7</MSG></MESSAGES>',
      'a mistake at line 1',
    ],
    ['elements nested without end', '<a>'.repeat(100) + '</a>'.repeat(100), 'elements nested or named'],
  ])('is refused for %s', async (_, body, found) => {
    const error = await thrownBy(() => read(body))
    expect(error).toBeInstanceOf(LastwordError)
    expect(error).toMatchObject({ code: 'INPUT_INVALID', message: expect.stringContaining(found) })
    expect(error).not.toMatchObject({ message: expect.stringContaining('order-4711') })
  })

  it.each([
    ['an entity of HTML', 'caf&eacute;&nbsp;&uuml;', 'café\u00a0ü'],
    ['an ampersand by itself', 'AT&T & Co', 'AT&T & Co'],
    ['an entity that nobody defines', 'a&foo;b', 'a&foo;b'],
    ['a bracket that begins no element', 'a < 5 <7', 'a < 5 <7'],
    ['an ampersand in a comment', 'a<!-- & < &x -->', 'a'],
    ['an address in angle brackets', 'Jo <jo@app.example>', 'Jo <jo@app.example>'],
    ['tags that nothing closes', 'a <unknown> b<br>c', 'a <unknown> b<br>c'],
    ['a bracket and a word at its end', '<ok', '<ok'],
  ])('is read with %s', async (_, text, operator) => {
    const { reports } = await read(`<MESSAGES>${msg(undefined, undefined, `<OPERATOR>${text}</OPERATOR>`)}</MESSAGES>`)
    expect(reports).toEqual([delivered({ details: { OPERATOR: operator } })])
  })

  it.each([
    ['UTF-16LE with a mark', Buffer.from(`\uFEFF<MESSAGES>${msg('größe')}</MESSAGES>`, 'utf16le')],
    [
      'ISO-8859-1 by its declaration',
      Buffer.from(`<?xml version="1.0" encoding="ISO-8859-1"?><MESSAGES>${msg('größe')}</MESSAGES>`, 'latin1'),
    ],
  ])('is read with the right letters in %s', async (_, body) => {
    expect((await read('', { body })).reports).toEqual([delivered({ messageId: 'größe' })])
  })

  it('is read with the letters that Windows-1252 has beyond ISO-8859-1', async () => {
    // The signs come where Latin-1 has the control characters of the same codes.
    const body = Buffer.from(`<MESSAGES>${msg('\x80 \x93a\x94')}</MESSAGES>`, 'latin1')
    expect((await read('', { body })).reports).toEqual([delivered({ messageId: '€ “a”' })])
  })

  it.each(['__proto__', 'constructor', 'prototype'])(
    'is read beside an element and an attribute named %s',
    async (name) => {
      const { reports } = await read(`<MESSAGES ${name}="1"><${name}>2</${name}>${msg()}</MESSAGES>`)
      expect(reports).toMatchObject([{ messageId: 'order-4711', status: 'delivered' }])
      expect(Object.prototype).not.toHaveProperty('#text')
    },
  )

  it('is read in a text of JSON or in a field of a form', async () => {
    const xml = `<MESSAGES>${msg()}</MESSAGES>`
    for (const body of [JSON.stringify({ xml }), `a=1&xml=${encodeURIComponent(xml)}`]) {
      expect((await read(body)).reports).toMatchObject([{ messageId: 'order-4711', status: 'delivered' }])
    }
  })

  it('is not looked for in a text within a text without end', async () => {
    let text = `<MESSAGES>${msg()}</MESSAGES>`
    for (let depth = 0; depth < 300; depth++) {
      text = `<a>${text.replaceAll('&', '&amp;').replaceAll('<', '&lt;')}</a>`
    }
    const before = process.cpuUsage()
    expect((await read(text)).reports).toEqual([])
    // The work of this process, however many others want the processor.
    const { user, system } = process.cpuUsage(before)
    expect((user + system) / 1000).toBeLessThan(1500)
  })

  it('is ignored for HTML, which is no receipt', async () => {
    expect(await read('<html><body>Hello</body></html>')).toEqual({
      reports: [],
      ignored: 'the request carries no message',
    })
  })
})

describe('a receipt as form or query', () => {
  it.each(['{abc123}', '[ORDER]', '%A1%', '<order>', '$7'])(
    'is read with a reference of the sender’s own that looks like a placeholder: %s',
    async (reference) => {
      const { reports } = await read(new URLSearchParams({ reference, statuscode: '2' }).toString())
      expect(reports).toMatchObject([{ messageId: reference, status: 'delivered' }])
    },
  )

  it.each([
    ['&amp; between its fields', 'reference=order-4711&amp;statuscode=2&amp;to=0031612345678'],
    [
      'two underscores',
      'messages__msg__reference=order-4711&messages__msg__status__code=2&messages__msg__to=0031612345678',
    ],
    ['the underscore that PHP makes of a dot', 'reference=order-4711&status_code=2&to=0031612345678'],
    ['a question mark before it', '?reference=order-4711&statuscode=2&to=0031612345678'],
    ['all of it encoded', 'reference%3Dorder-4711%26statuscode%3D2%26to%3D0031612345678'],
    ['the names of places that lead out', 'a.__proto__.b=1&reference=order-4711&statuscode=2&to=0031612345678'],
    ['empty brackets', 'reference[]=order-4711&statuscode[]=2&to[]=0031612345678'],
    [
      'one in a list',
      'messages[msg][][reference]=order-4711&messages[msg][][status][code]=2&messages[msg][][to]=0031612345678',
    ],
  ])('is read with %s', async (_, form) => {
    const { reports } = await read(form)
    expect(reports).toMatchObject([{ messageId: 'order-4711', status: 'delivered', recipient: '31612345678' }])
  })

  it('is read in time in tens of thousands of parts that make one list', async () => {
    const part = (name: string, value: string) =>
      `--b\r\nContent-Disposition: form-data; name="${name}"\r\n\r\n${value}\r\n`
    const parts = Array.from({ length: 15_000 }, (_, index) => part('messages[msg][][reference]', `r${index}`))
    const begun = performance.now()
    await read(`${parts.join('')}${part('messages[msg][][statuscode]', '2')}--b--`)
    expect(performance.now() - begun).toBeLessThan(3_000)
  })

  it('is read for each of a list', async () => {
    const fields = (reference: string, code: string) =>
      `messages[msg][][reference]=${reference}&messages[msg][][status][code]=${code}&messages[msg][][status][errorCode]=x`
    const { reports } = await read([fields('a', '2'), fields('b', '3'), fields('c', '2')].join('&'))
    expect(reports.map(({ messageId, status }) => [messageId, status])).toEqual([
      ['a', 'delivered'],
      ['b', 'failed'],
      ['c', 'delivered'],
    ])
  })

  const upper = {
    REFERENCE: 'order-4711',
    STATUS: '3',
    GSM: '00917073935263',
    CREATED_S: '2023-09-15T13:24:03',
    STATUSDESCRIPTION: 'Expired',
    STANDARDERRORTEXT: 'Absent subscriber',
    OPERATOR: '20408',
  }
  const lower = {
    reference: 'order-4711',
    statuscode: '3',
    to: '00917073935263',
    received: '2023-09-15T13:24:03',
    sent: '2023-09-15T13:24:01',
    errorcode: 'Expired',
    errordescription: 'Absent subscriber',
  }
  const failed = (details: Record<string, unknown>) =>
    delivered({
      status: 'failed',
      rawStatus: '3',
      error: { code: 'Expired', description: 'Absent subscriber' },
      details,
    })

  it.each<[string, Record<string, string>, StatusReport]>([
    ['upper case', upper, failed({ OPERATOR: '20408' })],
    ['lower case', lower, failed({ sent: '2023-09-15T13:24:01' })],
    [
      'upper case, delivered',
      { ...upper, STATUS: '2', STATUSDESCRIPTION: 'Delivered', STANDARDERRORTEXT: '', OPERATOR: '' },
      delivered({ details: { STATUSDESCRIPTION: 'Delivered' } }),
    ],
    [
      'lower case, with a plus that became a space',
      { ...lower, to: ' 917073935263', sent: '' },
      {
        ...failed({}),
        details: undefined,
      } as never,
    ],
  ])('is read in the vocabulary of %s', async (_, fields, report) => {
    expect(await read(new URLSearchParams(fields).toString())).toEqual({ reports: [report] })
    expect(await read('', { method: 'GET', path: `/webhooks/cm/token?${stringify(fields)}` })).toEqual({
      reports: [report],
    })
    expect(await read('', { path: `/webhooks/cm/token?${stringify(fields)}` })).toEqual({ reports: [report] })
    expect(
      await read(new URLSearchParams(fields).toString(), { headers: { 'content-type': 'application/json' } }),
    ).toEqual({
      reports: [report],
    })
  })

  it.each(['??reference=a&statuscode=2', '?reference%3Da%26statuscode%3D2'])(
    'is read in the query %s',
    async (query) => {
      const { reports } = await read('', { method: 'GET', path: `/webhooks/cm/token${query}` })
      expect(reports).toMatchObject([{ messageId: 'a', status: 'delivered' }])
    },
  )

  it('has its time when the plus before an offset became a space', async () => {
    const { reports } = await read('reference=a&statuscode=2&received=2023-09-15T13:24:03+02:00')
    expect(reports).toMatchObject([{ occurredAt: new Date('2023-09-15T11:24:03.000Z') }])
  })

  it('has no recipient by a placeholder that was encoded once more', async () => {
    const { reports } = await read('reference=a&statuscode=2&to=%255BGSM%255D')
    expect(reports).toMatchObject([{ recipient: '', status: 'delivered' }])
  })

  it('is refused for a reference without a code', async () => {
    expect(await thrownBy(() => read('reference=a'))).toMatchObject({
      code: 'INPUT_INVALID',
      issues: [{ path: 'status.code', message: 'expected a status code, from 0 to 4' }],
    })
  })

  it.each<[string, Partial<StatusReport>]>([
    ['REFERENCE=order-4711&STATUS=2&RECIPIENT=%2B41+44+111+22+33', { status: 'delivered', recipient: '41441112233' }],
    ['Reference=order-4711&StatusCode=02&Gsm=0041441112233', { status: 'delivered', recipient: '41441112233' }],
    ['reference=order-4711&statusissuccess=true', { status: 'delivered' }],
    ['REFERENCE=order-4711&STATUSISSUCCESS=False&STATUS=', { status: 'accepted', rawStatus: 'false', unmapped: true }],
    ['reference=order-4711&statusissuccess=0', { status: 'accepted', rawStatus: 'false', unmapped: true }],
    ['reference=order-4711\r\nstatuscode=2\r\nto=0031612345678\r\n', { status: 'delivered', recipient: '31612345678' }],
    ['reference=order-4711&status=&statuscode=3&statusdescription=x', { status: 'failed', error: { code: 'x' } }],
    [
      'reference=order-4711&status=2&datetime_s=2023-09-15%2013:24:03&id=7',
      { occurredAt: new Date('2023-09-15T11:24:03Z') },
    ],
    ['reference=order-4711&status=4&channel=WhatsApp', { status: 'read', details: { channel: 'WhatsApp' } }],
  ])('is read in older vocabularies: %s', async (query, report) => {
    const { reports } = await read('', { method: 'GET', path: `/webhooks/cm/token?${query}` })
    expect(reports).toMatchObject([{ messageId: 'order-4711', ...report }])
  })
})

describe('the request by which the set-up screen tests the URL', () => {
  it.each<[string, unknown, Partial<WebhookRequest>]>([
    ['an empty object', '{}', {}],
    ['an empty list', '[]', {}],
    ['an envelope without messages', envelope([]), {}],
    ['an envelope with null', envelope(null), {}],
    ['a message with empty leaves', envelope({ reference: '', to: '', status: { code: '', errorCode: '' } }), {}],
    ['an empty element', '<MESSAGES/>', {}],
    ['empty elements', '<MESSAGES><MSG RECEIVED=""><TO/><STATUS><CODE/></STATUS></MSG></MESSAGES>', {}],
    ['empty fields', 'reference=&statuscode=&to=', {}],
    [
      'a GET with empty fields',
      '',
      { method: 'GET', path: '/webhooks/cm/token?REFERENCE=&STATUS=&GSM=&STATUSISSUCCESS=' },
    ],
    ['a GET of its own', '', { method: 'GET', path: '/webhooks/cm/token?test=1' }],
  ])('is answered and ignored: %s', async (_, body, request) => {
    expect(await read(body, request)).toEqual({ reports: [], ignored: 'the request carries no message' })
  })

  it.each<[string, Partial<WebhookRequest>]>([
    ['a GET without anything', { method: 'GET' }],
    ['a POST without a body', {}],
    ['a POST of blanks', { body: Buffer.from(' \r\n') }],
  ])('is answered and ignored: %s', async (_, request) => {
    expect(await read('', request)).toEqual({ reports: [], ignored: 'the request is empty' })
  })

  it.each([
    ['?reference=[REFERENCE]&statuscode=[STATUS]&to=[GSM]', 'reference, statuscode, to'],
    ['?reference=order-1&statuscode=[STATUS]&to=[GSM]', 'statuscode, to'],
    ['?reference=order-1&statuscode={{status}}', 'statuscode'],
    ['?reference=order-1&statuscode=%25STATUS%25', 'statuscode'],
    ['?reference=order-1&statuscode=[status]&to=[gsm]', 'statuscode, to'],
    ['?reference=order-1&statuscode=[Status]', 'statuscode'],
    ['?reference=order-1&statuscode=[status.code]', 'statuscode'],
    ['?reference=order-1&statuscode=[STATUS-CODE]', 'statuscode'],
    ['?reference=order-1&statuscode=%23STATUS%23', 'statuscode'],
    ['?reference=order-1&statuscode=@STATUS@', 'statuscode'],
    ['?reference={{your_reference}}&statuscode=2', 'reference'],
    ['?reference=[ref]&statuscode=2', 'reference'],
    ['?reference={order_7}&statuscode=[STATUS]', 'statuscode'],
    ['?reference=order-1&statusissuccess=(STATUSISSUCCESS)', 'statusissuccess'],
  ])('never becomes a report where its placeholders were not filled: %s', async (query, names) => {
    const reading = await read('', { method: 'GET', path: `/webhooks/cm/token${query}` })
    expect(reading).toEqual({ reports: [], ignored: `placeholders were not filled: ${names}` })
  })

  it.each([
    ...[
      '{{status.code}}',
      '{{{status}}}',
      '{status.code}',
      '[[STATUS]]',
      '$'.concat('{data.status}'),
      '%{status}',
      '#{status}',
    ],
    ...['<%= status %>', '<<STATUS>>', '*|STATUS|*', '{% status %}', '%5BSTATUS%5D'],
    ...[
      '[ STATUS ]',
      '{{1.status}}',
      '={{ $json.status }}',
      '{$status}',
      '{Status Code}',
      '<status code>',
      '{{status | upper}}',
    ],
    ...['%%STATUS%%', '__STATUS__', '[%STATUS%]', '((STATUS))', '$STATUS$'],
  ])('never becomes a report with %s in place of its status', async (word) => {
    const query = new URLSearchParams({ reference: 'order-1', statuscode: word })
    const reading = await read('', { method: 'GET', path: `/webhooks/cm/token?${query}` })
    expect(reading).toEqual({ reports: [], ignored: 'placeholders were not filled: statuscode' })
  })
})

describe('whatever comes', () => {
  it('throws nothing but INPUT_INVALID and reports only on references and numbers in normal form', async () => {
    const value = fc.oneof(fc.jsonValue(), fc.constantFrom('2', '3', 'a', '0031', '', 2, null, '__proto__'))
    const names = ['reference', 'status', 'to', 'code', 'received', 'msg', 'messages', '#text', 'statuscode', 'GSM']
    const loose = fc.dictionary(
      fc.constantFrom(...names),
      fc.oneof(value, fc.dictionary(fc.constantFrom(...names), value)),
    )
    const xml = fc
      .array(
        fc.constantFrom(
          '<MSG>',
          '</MSG>',
          '<REFERENCE>a</REFERENCE>',
          '<STATUS>2',
          '</STATUS>',
          '&',
          '<!--',
          '"',
          '<',
          ' ',
        ),
      )
      .map((pieces) => `<M>${pieces.join('')}</M>`)
    const body = fc.oneof(
      fc.string(),
      fc.json(),
      xml,
      loose.map((object) => JSON.stringify(object)),
    )
    await fc.assert(
      fc.asyncProperty(
        body,
        fc.dictionary(fc.string(), fc.oneof(fc.string(), fc.array(fc.string()))),
        async (text, query) => {
          const outcome = await orError(() => read(text, { path: `/webhooks/cm/token?${stringify(query)}` }))
          if (outcome instanceof Error) {
            expect(outcome).toBeInstanceOf(LastwordError)
            expect(outcome).toMatchObject({ code: 'INPUT_INVALID' })
            return
          }
          expect(outcome.reports.length === 0).toBe(outcome.ignored !== undefined)
          for (const { messageId, recipient, occurredAt } of outcome.reports) {
            expect(cm.normalizeMessageId(messageId)).toBe(messageId)
            expect(recipient).toMatch(/^(?:[1-9]\d*)?$/)
            expect(occurredAt.getTime()).not.toBeNaN()
          }
        },
      ),
      { numRuns: 500 },
    )
  })
})

async function orError<T>(action: () => Promise<T>): Promise<T | Error> {
  try {
    return await action()
  } catch (error) {
    return error instanceof Error ? error : new Error(String(error))
  }
}

/** The rules of a tracking order, with the sentence of each refusal. The doors show one example each. */
import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { readConfig } from '../src/config.ts'
import { type Issue, LastwordError } from '../src/core/errors.ts'
import { priorPlans } from '../src/plans.ts'
import { providerOf } from '../src/providers/registry.ts'
import { recordOf, resultOf, scheduleOrder } from '../src/tracking.ts'
import { readOrder } from '../src/tracking-order.ts'

const NOW = Date.parse('2026-03-01T12:00:00Z')
const DAY = 86_400_000
const fromNow = (ms: number) => new Date(NOW + ms).toISOString()

const { accounts } = readConfig({
  ACCOUNTS: JSON.stringify([
    { name: 'seven', provider: 'seven', apiKey: 'seven-api-key', callback: { secret: `whsec_${'A'.repeat(32)}` } },
    { name: 'silent', provider: 'seven', apiKey: 'silent-api-key', query: 'off', polling: { window: '2d' } },
    { name: 'any', provider: 'seven', apiKey: 'any-api-key', messageIds: 'any' },
    { name: 'cm', provider: 'cm', productToken: 'product-token' },
    { name: 'dutch', provider: 'cm', productToken: 'product-token', defaultCountry: 'NL' },
  ]),
})

/** Reads and schedules an order, as every door does. */
function schedule(given: unknown) {
  const order = readOrder(given, 'body')
  const account = accounts.find(({ name }) => name === order.account)
  if (!account) return expect.fail('Expected a configured account')
  const moment = { now: NOW, random: () => 0.5 }
  const scheduled = scheduleOrder(providerOf(account), recordOf(account, priorPlans), order, moment)
  return { ...scheduled, result: resultOf(order, scheduled, scheduled.messages.length) }
}

it('a null is as good as nothing, but for the ID, the time and within metadata', () => {
  const nulls = { recipient: null, metadata: null, callbackUrl: null }
  expect(schedule(one(nulls)).messages).toEqual(schedule(one({})).messages)
  expect(readOrder({ ...one(nulls), partial: true }, 'body')).toMatchObject({ messages: [{ index: 0 }], refused: [] })
  expect(refusalOf(one({ sentAt: null })).issues).toMatchObject([{ path: 'messages[0].sentAt' }])
  expect(schedule(one({ metadata: { order: null } })).messages).toMatchObject([{ metadata: { order: null } }])
})

it.each([
  ['2026-02-28T10:00Z', '2026-02-28T10:00:00Z'],
  ['2026-02-28T10:00:00+0100', '2026-02-28T09:00:00Z'],
  ['2026-02-28T10:00+01:00', '2026-02-28T09:00:00Z'],
  ['2026-02-28 10:00:00+01:00', '2026-02-28T09:00:00Z'],
  ['2026-02-28 10:00:00.5+01', '2026-02-28T09:00:00.5Z'],
  ['2026-02-28T10:00:00z', '2026-02-28T10:00:00Z'],
  ['2026-02-28T10:00:00.250-0030', '2026-02-28T10:30:00.250Z'],
])('a time of sending written %s is %s', (sentAt, instant) => {
  expect(schedule(one({ sentAt })).messages).toMatchObject([{ sentAt: new Date(instant) }])
})

it.each(['Tel.: +31 6 12345678', '\u00b4+31612345678', '+31_6_12345678', 'tel:%2B31612345678', '31612345678.0'])(
  'a recipient written %j is a number',
  (recipient) => {
    expect(schedule(one({ recipient }, 'cm')).messages).toMatchObject([{ recipientKey: '31612345678' }])
  },
)

it('a recipient may be a number of JSON', () => {
  expect(schedule(one({ recipient: 31612345678 }, 'cm')).messages).toMatchObject([{ recipientKey: '31612345678' }])
})

it.each([
  '(+31) 6 12345678',
  '＋３１６１２３４５６７８',
  '+31\u22126\u221212345678',
  '+31·6·12345678',
  'tel://+31612345678',
])('a recipient written %s is tracked as the same number', (recipient) => {
  expect(schedule(one({ recipient }, 'cm')).messages).toMatchObject([{ recipientKey: '31612345678' }])
})

function refusalOf(given: unknown): { message: string; issues: readonly Issue[] } {
  try {
    schedule(given)
  } catch (error) {
    if (error instanceof LastwordError && error.code === 'INPUT_INVALID') {
      return { message: error.message, issues: error.issues ?? [] }
    }
    throw error
  }
  return expect.fail('Expected a refusal')
}

const order = (messages: unknown[], account: unknown = 'seven') => ({ account, messages })
const one = (message: object, account?: string) => order([{ messageId: '1', ...message }], account)

const NO_ID = 'the provider gave no ID for this one; with "partial": true the others are tracked'
const A_TIME = 'expected an ISO 8601 time with an offset, like 2026-01-31T10:00:00Z'
const A_URL = 'expected a URL that begins with https://, of at most 2000 characters'
const A_PHONE = 'expected a phone number of 3 to 30 characters, like +491700000000'

/** Orders that cannot be read, by the place and the sentence. */
const UNREADABLE: [string, unknown, string, string][] = [
  [
    'an empty ID',
    order([{ messageId: '1' }, { messageId: '' }]),
    'messages[1].messageId',
    `expected a message ID, found an empty text: ${NO_ID}`,
  ],
  [
    'an ID of spaces',
    one({ messageId: ' ' }),
    'messages[0].messageId',
    `expected a message ID, found an empty text: ${NO_ID}`,
  ],
  ['null as ID', one({ messageId: null }), 'messages[0].messageId', `expected a message ID, found null: ${NO_ID}`],
  [
    'no ID',
    order([{ recipient: '+49170' }]),
    'messages[0].messageId',
    `expected a message ID, found nothing: ${NO_ID}`,
  ],
  [
    'a negative number as ID',
    one({ messageId: -1 }),
    'messages[0].messageId',
    'expected a message ID: a text, or a whole number that JSON carries exactly',
  ],
  [
    'an ID that JSON has rounded',
    one({ messageId: 2 ** 60 }),
    'messages[0].messageId',
    'expected a message ID: a text, or a whole number that JSON carries exactly',
  ],
  [
    'a number that JSON has rounded',
    one({ metadata: { order: [2 ** 60] } }),
    'messages[0].metadata',
    'found a number beyond the exact integers, which JSON rounds; send it as text',
  ],
  ['NUL in the metadata', one({ metadata: { a: 'x\0y' } }), 'messages[0].metadata', 'expected no NUL characters'],
  ['a time without an offset', one({ sentAt: '2026-01-31T10:00:00' }), 'messages[0].sentAt', A_TIME],
  ['a time that is none', one({ sentAt: 'soon' }), 'messages[0].sentAt', A_TIME],
  ['a name as recipient', one({ recipient: 'Ms. Smith 0170' }), 'messages[0].recipient', A_PHONE],
  ['two digits as recipient', one({ recipient: '12' }), 'messages[0].recipient', A_PHONE],
  ['a million spaces as recipient', one({ recipient: `${' '.repeat(1_000_000)}x` }), 'messages[0].recipient', A_PHONE],
  [
    'a callback URL with a password',
    one({ callbackUrl: 'http://user:secret@app.example.com/hook' }),
    'messages[0].callbackUrl',
    'expected a URL without a user name and password, which would not be sent',
  ],
  ['a callback URL of another kind', one({ callbackUrl: 'ftp://a/b' }), 'messages[0].callbackUrl', A_URL],
  [
    'a callback URL that is too long',
    one({ callbackUrl: `https://a/${'b'.repeat(2000)}` }),
    'messages[0].callbackUrl',
    A_URL,
  ],
  [
    'an unknown field of a message',
    order([{ messageId: '1' }, { messageId: '2', colour: 'red' }]),
    'messages[1]',
    'Unrecognized key: "colour"',
  ],
  ['no messages', order([]), 'messages', 'expected at least one message'],
  [
    '10,001 messages',
    order(Array.from({ length: 10_001 }, (_, index) => ({ messageId: String(index) }))),
    'messages',
    'expected at most 10000 messages; send the rest in a further request',
  ],
  ['no account', { messages: [{ messageId: '1' }] }, 'account', 'Invalid input: expected string, received undefined'],
  ['an unknown field of the order', { ...one({}), urgent: true }, '', 'Unrecognized key: "urgent"'],
]

/** Orders that can be read, and not be tracked for this account at this time. */
const UNTRACKABLE: [string, unknown, string, string][] = [
  [
    'an ID that the provider cannot have given',
    one({ messageId: 'a,b' }),
    'messages[0].messageId',
    'expected 1 to 64 letters, digits, dots, hyphens and underscores, as in "77232007287"',
  ],
  [
    'an ID of another form than the provider gives',
    one({ messageId: 'foo' }),
    'messages[0].messageId',
    'expected only digits, as in "77232007287", found another form; track the ID that the provider answered with, or set "messageIds": "any" in the account',
  ],
  [
    'a time of more than a year ahead',
    one({ sentAt: fromNow(366 * DAY) }),
    'messages[0].sentAt',
    'expected a time at most a year ahead',
  ],
  [
    'a time before the window',
    one({ sentAt: fromNow(-31 * DAY) }),
    'messages[0].sentAt',
    'expected a time within the look-up window of 30 days',
  ],
  [
    'a time before the window of this account',
    one({ sentAt: fromNow(-3 * DAY) }, 'silent'),
    'messages[0].sentAt',
    'expected a time within the look-up window of 2 days',
  ],
  [
    'a callback URL without a secret to sign with',
    one({ callbackUrl: 'https://example.com/hook' }, 'silent'),
    'messages[0].callbackUrl',
    'expected none, because account "silent" has no callback secret to sign with',
  ],
  [
    'a national number without a country',
    one({ recipient: '0612345678' }, 'cm'),
    'messages[0].recipient',
    'expected a number with its country code, like +31612345678, found one that begins with a single 0',
  ],
  [
    'a number that the country does not have',
    one({ recipient: '0123' }, 'dutch'),
    'messages[0].recipient',
    "expected a number of NL, the account's defaultCountry, or one with a country code",
  ],
]

describe('an order is refused with', () => {
  it.each(UNREADABLE)('%s', (_name, given, path, message) => {
    const where = path ? `${path}: ` : ''
    const stop = message.endsWith('.') ? '' : '.'
    expect(refusalOf(given)).toEqual({
      message: `The body is not valid. ${where}${message}${stop}`,
      issues: [{ path, message }],
    })
  })

  it.each(UNTRACKABLE)('%s', (_name, given, path, message) => {
    expect(refusalOf(given)).toEqual({
      message: `Nothing was tracked. ${path}: ${message}.`,
      issues: [{ path, message }],
    })
  })

  it('several mistakes, all of which are told', () => {
    const later = { messageId: '1', sentAt: fromNow(366 * DAY) }
    const { message, issues } = refusalOf(order([{ messageId: '?' }, later, { messageId: '!' }]))
    expect(message).toMatch(/^Nothing was tracked\. messages\[0\]\.messageId: .* \(and 2 more\)\.$/)
    expect(issues.map(({ path }) => path)).toEqual([
      'messages[0].messageId',
      'messages[1].sentAt',
      'messages[2].messageId',
    ])
  })
})

describe('an order is taken with', () => {
  it.each([
    ['a clock that is four minutes ahead', fromNow(4 * 60_000)],
    ['a time in the first minute of the window', fromNow(-30 * DAY + 60_000)],
    ['a time with another offset', '2026-03-01T14:00:00+02:00'],
  ])('%s', (_name, sentAt) => {
    expect(schedule(one({ sentAt })).messages).toMatchObject([{ sentAt: new Date(sentAt) }])
  })

  it('an ID of any form where the account says so', () => {
    expect(schedule(one({ messageId: 'foo' }, 'any')).messages).toMatchObject([{ messageId: 'foo' }])
  })

  it('IDs as numbers or with spaces around them, each once', () => {
    const { messages, result } = schedule(order([{ messageId: 77232000007 }, { messageId: ' 77232000007 ' }]))
    expect(messages.map(({ messageId }) => messageId)).toEqual(['77232000007'])
    expect(result).toEqual({ tracked: 1, alreadyTracked: 1 })
  })
})

describe('an order that may be tracked in part', () => {
  const RULES = [...UNREADABLE, ...UNTRACKABLE].filter(
    ([, given, path]) => path.startsWith('messages[') && accountOf(given) === 'seven',
  )

  it.each(RULES)('passes over %s', (_name, given, path, message) => {
    const { messages } = given as { messages: { messageId?: unknown }[] }
    const index = Number(/\d+/.exec(path)?.[0])
    const field = path.replace(/^messages\[\d+\]\.?/, '')
    const { result, messages: scheduled } = schedule({ ...order([...messages, { messageId: '99' }]), partial: true })
    const id = messages[index]?.messageId
    expect(result.refused).toEqual([
      { index, messageId: id == null ? null : String(id), reason: field ? `${field}: ${message}` : message },
    ])
    expect(scheduled.at(-1)?.messageId).toBe('99')
  })

  it('accounts for each of its messages once, in their order', () => {
    const message = fc.oneof(
      fc.record({ messageId: fc.constantFrom('1', ' 1 ', '2', 7, '?', '', null) }),
      fc.constantFrom('text', 7, null),
    )
    fc.assert(
      fc.property(fc.array(message, { minLength: 1, maxLength: 20 }), (messages) => {
        const { result, messages: scheduled } = schedule({ ...order(messages), partial: true })
        const refused = result.refused ?? []
        expect(result.tracked).toBe(new Set(scheduled.map(({ messageId }) => messageId)).size)
        expect(result.tracked + result.alreadyTracked + refused.length).toBe(messages.length)
        const places = refused.map(({ index }) => index)
        expect(places).toEqual([...new Set(places)].sort((a, b) => a - b))
      }),
    )
  })
})

function accountOf(given: unknown): unknown {
  return (given as { account?: unknown }).account
}

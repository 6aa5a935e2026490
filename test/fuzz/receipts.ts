/**
 * Receipts as values, each with the report that must stand in the database for it. Nothing here knows how Lastword
 * reads: times are written by the platform's own clocks, statuses by the vendors' tables.
 */
import type { Status } from '../../src/core/status.ts'
import type { Random } from './random.ts'

/** Values as a receipt holds them; a bigint is a number of more digits than JSON's readers keep. */
export type Value = string | number | bigint | boolean | null | Value[] | Values
export interface Values {
  [name: string]: Value
}

export const ACCOUNTS = ['seven', 'cm'] as const
export type AccountName = (typeof ACCOUNTS)[number]

/** The report that a receipt is; without `occurredAt` the time of arrival counts. */
export interface ExpectedReport {
  account: AccountName
  messageId: string
  recipientKey: string
  status: Status
  occurredAt?: Date
}

export interface Receipt {
  values: Values
  expected: ExpectedReport
}

export interface ReceiptOptions {
  /** Tells apart the receipts of a run. */
  id: string
  /** For JSON: zero characters, halves of characters, names that every object has. */
  isJson: boolean
  /** Whether the values may be nested. */
  isFlat: boolean
}

export function makeReceipt(random: Random, account: AccountName, options: ReceiptOptions): Receipt {
  return account === 'seven' ? makeSevenReceipt(random, options) : makeCmReceipt(random, options)
}

const SEVEN_STATUSES: readonly [string, Status][] = [
  ['ACCEPTED', 'accepted'],
  ['TRANSMITTED', 'transmitted'],
  ['BUFFERED', 'buffered'],
  ['DELIVERED', 'delivered'],
  ['NOTDELIVERED', 'undelivered'],
  ['EXPIRED', 'expired'],
  ['REJECTED', 'rejected'],
  ['FAILED', 'failed'],
  ['READ', 'read'],
  ['UNKNOWN', 'unknown'],
  ['ENROUTE', 'accepted'],
]

function makeSevenReceipt(random: Random, options: ReceiptOptions): Receipt {
  const { id, isFlat } = options
  const [word, status] = random.pick(SEVEN_STATUSES)
  const messageId = random.pick([id, `${id}90071992547409931`, `m.${id}_A-z`])
  const [happened, announced] = [makeTime(random, 'Europe/Berlin'), makeTime(random, 'Europe/Berlin')]
  const style = random.pick(STYLES)
  const inner: Values = {
    [style('msg_id')]: asNumber(random, messageId),
    [style('status')]: random.pick([word, word, word.toLowerCase(), `${word.charAt(0)}${word.slice(1).toLowerCase()}`]),
    ...(happened ? { [style('timestamp')]: happened.written } : {}),
    ...(random.chance(0.5) ? { foreign_id: random.pick(textsFor(options)) } : {}),
    ...extras(random, options),
  }
  const isNested = !isFlat && random.chance(0.6)
  const event = random.pick(['dlr', 'DLR', 'rcs', 'rcs_dlr', undefined])
  const envelope: Values = {
    ...(event ? { [style('webhook_event')]: event } : {}),
    ...(announced ? { [style('webhook_timestamp')]: announced.written } : {}),
  }
  const values = isNested
    ? shuffled(random, { ...envelope, ...extras(random, options), data: shuffled(random, inner) })
    : shuffled(random, { ...envelope, ...inner })
  const occurredAt = happened?.instant ?? announced?.instant
  return {
    values,
    expected: { account: 'seven', messageId, recipientKey: '', status, ...(occurredAt ? { occurredAt } : {}) },
  }
}

const CM_STATUSES: readonly [number, Status][] = [
  [0, 'accepted'],
  [1, 'rejected'],
  [2, 'delivered'],
  [3, 'failed'],
  [4, 'read'],
  [17, 'accepted'],
]
const CM_RECIPIENTS = ['', '00316', '+316', '316', '+31 (0)6 ', 'tel:+316', '+31-6-', '+31 6 '] as const
const CM_TIME_NAMES = ['received', 'SRCREATED_S', 'datetime_s', 'created_s', 'time'] as const

function makeCmReceipt(random: Random, options: ReceiptOptions): Receipt {
  const [code, known] = random.pick(CM_STATUSES)
  const messageId = makeReference(random, options.id)
  const prefix = random.pick(CM_RECIPIENTS)
  const digits = String(10_000_000 + random.below(89_999_999))
  const time = makeTime(random, 'Europe/Amsterdam')
  const style = random.pick([lower, upper, capital])
  const onlySuccess = options.isFlat && code === 2 && random.chance(0.3)
  const written = random.pick<Value>([code, String(code), `0${code}`, ` ${code} `])
  const isNested = !options.isFlat && random.chance(0.5)
  const inner: Values = {
    [style('reference')]: messageId,
    ...(prefix === '' ? {} : { [style(random.pick(['to', 'gsm', 'recipient', 'msisdn']))]: prefix + digits }),
    ...(time ? { [style(random.pick(CM_TIME_NAMES))]: time.written } : {}),
    ...(isNested
      ? {
          [style('status')]: shuffled(random, {
            [style('code')]: written,
            errorCode: 5,
            errorDescription: 'Empfänger',
          }),
        }
      : onlySuccess
        ? { [style('statusissuccess')]: random.pick<Value>(['1', 'true', 1, true]) }
        : { [style(random.pick(['status', 'statuscode']))]: written, errordescription: random.pick(TEXTS) }),
    ...extras(random, options),
  }
  const messages: Values = { msg: shuffled(random, inner) }
  return {
    values: isNested || (!options.isFlat && random.chance(0.3)) ? { messages } : shuffled(random, inner),
    expected: {
      account: 'cm',
      messageId,
      recipientKey: prefix === '' ? '' : `316${digits}`,
      status: known,
      ...(time ? { occurredAt: time.instant } : {}),
    },
  }
}

function makeReference(random: Random, id: string): string {
  return random.pick([
    id,
    `order-${id}`,
    `0d4e8a54-2b3f-4c5d-9e6f-${id}`,
    `gid://shop/Sms/${id}`,
    `Bestellung Größe ${id}`,
    `A&B <${id}> "x" 'y'`,
    `100% = ${id} + 1; [a]`,
    `${id} 😀`,
  ])
}

const lower = (name: string) => name.toLowerCase()
const upper = (name: string) => name.toUpperCase()
const capital = (name: string) => name.charAt(0).toUpperCase() + name.slice(1)
const camel = (name: string) => name.replace(/_(\w)/g, (_, letter: string) => letter.toUpperCase())
const kebab = (name: string) => name.replaceAll('_', '-')
const STYLES = [lower, lower, upper, camel, kebab] as const

/** Some IDs come as numbers where they are digits alone. */
function asNumber(random: Random, digits: string): Value {
  if (!/^[1-9]\d*$/.test(digits) || random.chance(0.5)) return digits
  return BigInt(digits)
}

interface WrittenTime {
  instant: Date
  written: Value
}

const FIRST = Date.parse('2025-01-10T00:00:00Z')
const LAST = Date.parse('2026-09-30T00:00:00Z')
const CHANGES_OF_CLOCKS = ['2025-03-30', '2025-10-26', '2026-03-29']

/** A time in the past, as local time, with an offset, or in Unix seconds; sometimes none. */
function makeTime(random: Random, timeZone: string): WrittenTime | undefined {
  const milliseconds = random.pick([0, 120])
  const instant = new Date(
    Math.floor((FIRST + random.below((LAST - FIRST) / 1000) * 1000) / 1000) * 1000 + milliseconds,
  )
  if (instant.getTime() > Date.now() || CHANGES_OF_CLOCKS.some((day) => instant.toISOString().startsWith(day)))
    return undefined
  const fraction =
    milliseconds === 0 ? random.pick(['', '.000', '.000000']) : random.pick(['.12', '.120', '.120000', ',12'])
  const separator = random.pick(['T', ' '])
  const local = instant.toLocaleString('sv-SE', { timeZone }).replace(' ', separator) + fraction
  const utc = instant.toISOString().slice(0, 19).replace('T', separator) + fraction
  const seconds = instant.getTime() / 1000
  const whole = { instant, written: random.pick<Value>([seconds, String(seconds)]) }
  return random.pick([
    undefined,
    { instant, written: local },
    { instant, written: local },
    { instant, written: `${utc}Z` },
    { instant, written: `${utc}+00:00` },
    milliseconds === 0 ? whole : { instant, written: local },
  ])
}

/** Texts that mean something to one reader or another. */
const TEXTS: readonly string[] = [
  'Größe & <b>"fett"</b>',
  "O'Neil; -- x",
  'a=b&c=d',
  '100 %',
  '%zz %41',
  '[STATUS]',
  '{{name}}',
  'smile 😀',
  'line\nbreak\ttab',
  '{"a":1}',
  '[1,2',
  '<x/>',
  '',
  ' ',
  'null',
  'back \\ slash',
  ']]> and -->',
  '__proto__',
  'é'.repeat(300),
]
const JSON_TEXTS: readonly string[] = ['zero \0 character', '\ud800', 'half \udc00 half', '\u2028', 'x'.repeat(5_000)]
const NAMES = ['x_trace', 'note', 'label', 'price', 'is_test', 'sender', 'udh', 'country'] as const
/** Members of every object; readers of XML refuse some. */
const JSON_NAMES = ['__proto__', 'constructor', 'toString', 'hasOwnProperty', 'length', ''] as const

function textsFor({ isJson }: ReceiptOptions): readonly string[] {
  return isJson ? [...TEXTS, ...JSON_TEXTS] : TEXTS
}

/** Fields that nobody documented. */
function extras(random: Random, options: ReceiptOptions): Values {
  const text = () => random.pick(textsFor(options))
  const names = random.shuffle<string>(options.isJson ? [...NAMES, ...JSON_NAMES] : NAMES).slice(0, random.below(4))
  const leaf = () => random.pick<Value>([text(), text(), null, true, random.below(1e9), 0.035, -1])
  const nested = (): Value => random.pick<Value>([[leaf(), leaf()], { a: leaf(), b: { c: text() } }, [], {}])
  const entries = names.map((name): [string, Value] => [name, options.isFlat || random.chance(0.7) ? leaf() : nested()])
  return Object.fromEntries(entries)
}

export function shuffled(random: Random, values: Values): Values {
  return Object.fromEntries(random.shuffle(Object.entries(values)))
}

/**
 * Receipts that can be read, in wrappings put together at random: an envelope, a way of writing, a charset, a
 * compression, headers that say something else, and a place in the request.
 */
import { brotliCompressSync, constants, deflateRawSync, deflateSync, gzipSync } from 'node:zlib'
import type { Random } from './random.ts'
import {
  ACCOUNTS,
  type AccountName,
  type ExpectedReport,
  makeReceipt,
  type Receipt,
  shuffled,
  type Value,
  type Values,
} from './receipts.ts'
import { writeForm, writeJson, writeMultipart, writeXml } from './writers.ts'

export interface FuzzRequest {
  account: AccountName
  method: 'GET' | 'POST'
  /** As sent, without its question mark. */
  query: string
  /** As sent: a name may come twice. */
  headers: [string, string][]
  body: Buffer
  isChunked: boolean
  /** The choices that made it, for a report of a fault. */
  name: string[]
}

export interface Wrapped extends FuzzRequest {
  expected: ExpectedReport[]
}

const FORMS = [
  'json',
  'json',
  'json',
  'lines',
  'json in json',
  'json in a form',
  'escaped json',
  'form',
  'form',
] as const
const MORE_FORMS = ['multipart', 'xml', 'xml', 'xml in a form', 'query', 'query', 'split'] as const
type Form = (typeof FORMS)[number] | (typeof MORE_FORMS)[number]

/** The result of a way of writing. */
interface Written {
  text: string
  query?: string
  types: readonly string[]
}

export function makeWrapped(random: Random, id: string): Wrapped {
  const account = random.pick(ACCOUNTS)
  const form = random.pick<Form>([...FORMS, ...MORE_FORMS])
  const isFlat = form === 'split' || (form === 'query' && random.chance(0.8))
  const isJson = ['json', 'lines', 'json in json', 'json in a form', 'escaped json'].includes(form)
  const count = isFlat || form === 'query' || random.chance(0.8) ? 1 : 2 + random.below(3)
  const receipts = Array.from({ length: count }, (_, index) =>
    makeReceipt(random, account, { id: `${id}${index}`, isJson, isFlat }),
  )
  const name: string[] = [account, form, `${count} receipt(s)`]
  const written = write(random, form, receipts, name)
  const { body, headers } = encode(random, written, name)
  const method = form === 'query' && random.chance(0.6) ? 'GET' : random.chance(0.03) ? 'GET' : 'POST'
  const query = [written.query ?? '', random.chance(0.1) ? random.pick(['utm=1', '', '&', 'x', 'a=[STATUS]']) : '']
  return {
    account,
    method,
    query: query.filter((part) => part !== '').join('&'),
    headers: random.shuffle(headers),
    body,
    isChunked: random.chance(0.1),
    name: [...name, method],
    expected: receipts.map(({ expected }) => expected),
  }
}

function write(random: Random, form: Form, receipts: readonly Receipt[], name: string[]): Written {
  if (form === 'lines') {
    const lines = receipts.map(({ values }) => writeJson(random, values).replace(/[\r\n\t]/g, ' '))
    return {
      text: lines.join(random.pick(['\n', '\r\n', '\n\n'])),
      types: ['application/x-ndjson', 'application/json'],
    }
  }
  if (form === 'split') return writeSplit(random, receipts[0]?.values ?? {})
  const value = form === 'query' ? (receipts[0]?.values ?? {}) : envelop(random, form, receipts, name)
  const values: Values = Array.isArray(value) ? { items: value } : value
  switch (form) {
    case 'json':
      return { text: pad(random, writeJson(random, value)), types: JSON_TYPES }
    case 'json in json':
      return { text: JSON.stringify(writeJson(random, value)), types: JSON_TYPES }
    case 'escaped json':
      return { text: encodeURIComponent(toWellFormed(writeJson(random, value))), types: FORM_TYPES }
    case 'json in a form': {
      const field = `${random.pick(['payload', 'data', 'json', 'body'])}=${encodeURIComponent(toWellFormed(writeJson(random, value)))}`
      return { text: random.pick([field, `a=1&${field}`, `${field}&b=`]), types: FORM_TYPES }
    }
    case 'form':
      return { text: writeForm(random, values), types: FORM_TYPES }
    case 'multipart': {
      return writeMultipart(random, values)
    }
    case 'xml':
      return {
        text: pad(random, writeXml(random, random.pick(['receipt', 'MESSAGES', 'a']), values)),
        types: XML_TYPES,
      }
    case 'xml in a form':
      return { text: `xml=${encodeURIComponent(writeXml(random, 'a', values))}`, types: FORM_TYPES }
    case 'query':
      return {
        text: random.pick(['', '', ' \r\n', '{}', '[]', 'null', '""']),
        query: writeForm(random, values).trim(),
        types: JSON_TYPES,
      }
  }
}

/** Some fields in the query, the others in the body. */
function writeSplit(random: Random, values: Values): Written {
  const fields = random.shuffle(Object.entries(values))
  // The time goes with the query, so that the body is no receipt of its own.
  const isTelling = ([name]: [string, Value]) => /^(?:msg|reference|status)/i.test(name)
  const telling = fields.filter(isTelling)
  const cut = 1 + random.below(telling.length - 1)
  const inBody = Object.fromEntries(telling.slice(0, cut))
  const inQuery = Object.fromEntries([...telling.slice(cut), ...fields.filter((field) => !isTelling(field))])
  const text = random.chance(0.5) ? writeForm(random, inBody) : writeJson(random, inBody)
  return { text, query: writeForm(random, inQuery).trim(), types: [...FORM_TYPES, ...JSON_TYPES] }
}

/** Envelopes as gateways and log shippers put them around, with words of their own beside. */
function envelop(random: Random, form: Form, receipts: readonly Receipt[], name: string[]): Values | Value[] {
  const all = receipts.map(({ values }) => values)
  const [first = {}] = all
  let value: Values | Value[] = all.length > 1 || random.chance(0.1) ? all : first
  for (let depth = random.pick([0, 0, 0, 1, 1, 2, 3]); depth > 0; depth--) {
    const isText = form !== 'xml' && random.chance(0.2)
    const inner: Value = isText ? writeJson(random, value) : value
    name.push(isText ? 'text in an envelope' : 'envelope')
    const key = random.pick(['payload', 'body', 'notification', 'items', 'result', 'Receipt'])
    const beside = random.pick<Values>([
      {},
      {},
      { id: 7 },
      { type: 'notification', version: 2 },
      { success: true },
      { Status: 'ok' },
      { tags: ['a', 'b'] },
    ])
    value = random.chance(0.15) && form !== 'xml' ? [inner] : shuffled(random, { ...beside, [key]: inner })
  }
  return value
}

const JSON_TYPES = ['application/json', 'application/json; charset=utf-8', 'text/json']
const FORM_TYPES = ['application/x-www-form-urlencoded', 'application/x-www-form-urlencoded; charset=UTF-8']
const XML_TYPES = ['text/xml', 'application/xml; charset=utf-8', 'application/soap+xml']
/** Content types that servers refuse, and some that say something else. */
const ODD_TYPES = [
  '',
  '/',
  'json',
  '*/*',
  ';',
  'application/json,application/json',
  'application/json; charset=',
  'text/plain',
  'text/html; charset=utf8',
  'application/octet-stream',
  'multipart/form-data; boundary=',
  'application/xml; charset=klingon',
  'text/plain; charset=utf-16',
  'caf\xe9/\xfc',
]

function encode(
  random: Random,
  { text, types }: Written,
  name: string[],
): { body: Buffer; headers: [string, string][] } {
  const { bytes, charset } = random.chance(0.6)
    ? { bytes: Buffer.from(toWellFormed(text)), charset: '' }
    : encodeText(random, text)
  const type = random.pick([...types, ...types, ...types, ...ODD_TYPES])
  const headers: [string, string][] = random.chance(0.1) ? [] : [['Content-Type', type]]
  if (charset !== '' && random.chance(0.5)) headers[0] = ['content-type', `${random.pick(types)}; charset=${charset}`]
  if (random.chance(0.1)) headers.push(['Content-Type', random.pick([...types, ...ODD_TYPES])])
  const compression = random.chance(0.6) ? 'plain' : random.pick(Object.keys(COMPRESSIONS))
  const { body, encoding } = (COMPRESSIONS[compression] ?? plain)(bytes)
  if (encoding !== undefined) headers.push([random.pick(['Content-Encoding', 'content-encoding']), encoding])
  name.push(charset || 'utf-8', compression, headers.map((header) => header.join(': ')).join(' | '))
  return { body, headers }
}

function encodeText(random: Random, given: string): { bytes: Buffer; charset: string } {
  const text = toWellFormed(given)
  const little = (written: string) => Buffer.from(written, 'utf16le')
  const isLatin = /^[\0-\x7f\xa0-\xff]*$/.test(text)
  return random.pick([
    { bytes: Buffer.from(`\uFEFF${text}`), charset: 'utf-8' },
    { bytes: little(`\uFEFF${text}`), charset: 'utf-16' },
    { bytes: little(`\uFEFF${text}`).swap16(), charset: 'utf-16be' },
    { bytes: little(text), charset: 'utf-16le' },
    { bytes: little(text).swap16(), charset: 'UTF-16BE' },
    isLatin
      ? { bytes: Buffer.from(text, 'latin1'), charset: 'iso-8859-1' }
      : { bytes: Buffer.from(text), charset: 'utf8' },
    isLatin
      ? { bytes: Buffer.from(text, 'latin1'), charset: '"Windows-1252"' }
      : { bytes: Buffer.from(text), charset: '' },
  ])
}

type Compress = (bytes: Buffer) => { body: Buffer; encoding?: string }
const FAST = { params: { [constants.BROTLI_PARAM_QUALITY]: 3 } }
const plain: Compress = (body) => ({ body })
const COMPRESSIONS: Readonly<Record<string, Compress>> = {
  gzip: (bytes) => ({ body: gzipSync(bytes), encoding: 'gzip' }),
  'gzip, not said': (bytes) => ({ body: gzipSync(bytes) }),
  'gzip, twice': (bytes) => ({ body: gzipSync(gzipSync(bytes)), encoding: 'gzip,x-gzip' }),
  'gzip, called br': (bytes) => ({ body: gzipSync(bytes), encoding: 'br' }),
  'plain, called gzip': (bytes) => ({ body: bytes, encoding: 'gzip' }),
  'plain, called identity': (bytes) => ({ body: bytes, encoding: 'identity' }),
  'plain, called nonsense': (bytes) => ({ body: bytes, encoding: 'aws-chunked, utf-8' }),
  deflate: (bytes) => ({ body: deflateSync(bytes), encoding: 'deflate' }),
  'deflate, not said': (bytes) => ({ body: deflateSync(bytes) }),
  'deflate without a frame': (bytes) => ({ body: deflateRawSync(bytes), encoding: 'Deflate' }),
  br: (bytes) => ({ body: brotliCompressSync(bytes, FAST), encoding: 'BR' }),
  'br in gzip': (bytes) => ({ body: gzipSync(brotliCompressSync(bytes, FAST)), encoding: 'br, gzip' }),
}

function pad(random: Random, text: string): string {
  return random.chance(0.8)
    ? text
    : `${random.pick(['', ' ', '\r\n', '\t'])}${text}${random.pick(['', '\n', '\r\n\r\n', '\0', ' \0\0'])}`
}

/** Bytes cannot carry half a character; an escape of JSON can. */
function toWellFormed(text: string): string {
  return text.replace(/[\ud800-\udbff](?![\udc00-\udfff])|(?<![\ud800-\udbff])[\udc00-\udfff]/g, '\ufffd')
}

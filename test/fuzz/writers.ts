/** Values as text, in the many ways in which JSON, XML, forms and multipart may be written. */
import type { Random } from './random.ts'
import type { Value, Values } from './receipts.ts'

type Writer = (random: Random, value: Value) => string

/** JSON: with blanks anywhere, characters escaped that need not be, numbers of any length. */
export const writeJson: Writer = (random, value) => {
  const blank = random.pick(['', '', ' ', '\n  ', '\r\n\t'])
  const escapes = random.chance(0.2)
  const write = (item: Value): string => {
    if (typeof item === 'string') return escapes ? escapeAll(random, item) : JSON.stringify(item)
    if (typeof item === 'bigint') return String(item)
    if (typeof item !== 'object' || item === null) return JSON.stringify(item)
    if (Array.isArray(item)) return `[${blank}${item.map(write).join(`${blank},${blank}`)}${blank}]`
    const members = Object.entries(item).map(([name, inner]) => `${write(name)}${blank}:${blank}${write(inner)}`)
    return `{${blank}${members.join(`${blank},${blank}`)}${blank}}`
  }
  return write(value)
}

function escapeAll(random: Random, text: string): string {
  const written = Array.from({ length: text.length }, (_, index) => {
    const unit = text.charAt(index)
    if (unit === '/' && random.chance(0.5)) return '\\/'
    const isPlain = random.chance(0.7) && /[\w .:-]/.test(unit)
    return isPlain ? unit : `\\u${text.charCodeAt(index).toString(16).padStart(4, '0')}`
  })
  return `"${written.join('')}"`
}

/** The fields of values by their path: `data[msg_id]`, or `data.msg_id`. */
function flatten(values: Values, join: (path: string, name: string) => string, path = ''): [string, string][] {
  return Object.entries(values).flatMap(([name, value]): [string, string][] => {
    const full = path === '' ? name : join(path, name)
    if (Array.isArray(value)) return flatten(Object.fromEntries(value.entries()), join, full)
    return typeof value === 'object' && value !== null ? flatten(value, join, full) : [[full, textOf(value)]]
  })
}

const withBrackets = (path: string, name: string) => `${path}[${name}]`
const withDots = (path: string, name: string) => `${path}.${name}`

function textOf(value: Value): string {
  return value === null ? '' : String(value)
}

/** A form: brackets bare or escaped, spaces as plus or %20, letters in UTF-8 or Latin-1, escapes in either case. */
export function writeForm(random: Random, values: Values): string {
  const fields = flatten(values, random.pick([withBrackets, withBrackets, withDots]))
  const isLatin = random.chance(0.2) && fields.every((field) => field.every(isLatin1))
  const plus = random.chance(0.5)
  const lowerCase = random.chance(0.3)
  const bareBrackets = random.chance(0.5)
  const escaped = (text: string, kept: RegExp) =>
    [...Buffer.from(text, isLatin ? 'latin1' : 'utf8')]
      .map((byte) => {
        const letter = String.fromCharCode(byte)
        if (byte < 0x80 && kept.test(letter)) return letter
        if (letter === ' ' && plus) return '+'
        const digits = byte.toString(16).padStart(2, '0')
        return `%${lowerCase ? digits : digits.toUpperCase()}`
      })
      .join('')
  const pairs = fields.map(
    ([name, value]) => `${escaped(name, bareBrackets ? /[\w.[\]-]/ : /[\w.-]/)}=${escaped(value, /[\w.~:/-]/)}`,
  )
  return `${random.pick(['', '', '&'])}${pairs.join('&')}${random.pick(['', '', '&', '\r\n'])}`
}

const isLatin1 = (text: string) => /^[\0-\x7f\xa0-\xff]*$/.test(text)

const BOUNDARIES = [
  'b0undary',
  '----WebKitFormBoundary7MA4YWxkTrZu0gW',
  '=_mixed_0042',
  "gc0p4Jq0M2Yt08j34c0p.'()+_,-/:=?x",
  '0',
] as const

/** A multipart form, and the content type that names its boundary, in several quotings or not at all. */
export function writeMultipart(random: Random, values: Values): { text: string; types: string[] } {
  const boundary = random.pick(BOUNDARIES)
  const newline = random.pick(['\r\n', '\r\n', '\n'])
  const name = random.pick(['Content-Disposition', 'content-disposition', 'CONTENT-DISPOSITION'])
  const typed = random.chance(0.3) ? `Content-Type: text/plain; charset=UTF-8${newline}` : ''
  const file = random.chance(0.1) ? '; filename="receipt.txt"' : ''
  const parts = flatten(values, random.pick([withBrackets, withDots])).map(
    ([field, value]) =>
      `--${boundary}${newline}${name}: form-data; name="${field}"${file}${newline}${typed}${newline}${value}${newline}`,
  )
  const preamble = random.chance(0.1) ? `This is a message of several parts.${newline}` : ''
  const end = random.pick([newline, newline, '', `${newline}The end.`])
  const quoted = random.pick([`"${boundary}"`, boundary, `'${boundary}'`, '', `"${boundary}`])
  const types = [`multipart/form-data; boundary=${quoted}`, 'multipart/form-data', 'Multipart/Form-Data;boundary=other']
  return { text: `${preamble}${parts.join('')}--${boundary}--${end}`, types }
}

/** XML: leaves as elements or attributes, entities or character data, namespaces, comments, blanks. */
export function writeXml(random: Random, root: string, values: Values): string {
  const prefix = random.pick(['', '', 'n:', 'soap-env:'])
  const blank = random.pick(['', '', '\n  ', '\r\n'])
  const attributes = random.chance(0.25)
  const leafText = random.pick([escapeXml, escapeXml, escapeXmlAmply, characterData, bareAmpersands])
  const noise = () => (random.chance(0.1) ? random.pick(['<!-- a & b <c> -->', '<?target some data?>', '<!---->']) : '')
  const element = (name: string, value: Value): string => {
    if (Array.isArray(value)) return value.map((item) => element(name, item)).join(blank)
    if (typeof value !== 'object' || value === null) return leaf(name, textOf(value))
    const isAttribute = ([, item]: [string, Value]) => attributes && (typeof item !== 'object' || item === null)
    const entries = Object.entries(value)
    const said = entries.filter(isAttribute).map(([key, item]) => ` ${key}=${quoteXml(random, textOf(item))}`)
    const inner = entries.filter((entry) => !isAttribute(entry)).map(([key, item]) => noise() + element(key, item))
    return `<${prefix}${name}${said.join('')}>${blank}${inner.join(blank)}${blank}</${prefix}${name}>`
  }
  const leaf = (name: string, text: string) => {
    if (text === '' && random.chance(0.5)) return `<${prefix}${name}/>`
    return `<${prefix}${name}>${leafText(text)}</${prefix}${name}>`
  }
  const declaration = random.pick([
    '',
    '<?xml version="1.0"?>\n',
    '<?xml version="1.0" encoding="utf-8" standalone="yes"?>',
  ])
  const around = prefix === '' ? '' : ` xmlns:${prefix.slice(0, -1)}="urn:x"`
  const body = `<${prefix}${root}${around}>${blank}${Object.entries(values)
    .map(([key, item]) => noise() + element(key, item))
    .join(blank)}${blank}</${prefix}${root}>`
  return `${declaration}${noise()}${body}${noise()}`
}

function escapeXml(text: string): string {
  return text.replaceAll('&', '&amp;').replaceAll('<', '&lt;').replaceAll(']]>', ']]&gt;')
}

function escapeXmlAmply(text: string): string {
  return Array.from(text, (letter) =>
    /[\w .:-]/.test(letter) ? letter : `&#x${letter.codePointAt(0)?.toString(16)};`,
  ).join('')
}

function characterData(text: string): string {
  return `<![CDATA[${text.replaceAll(']]>', ']]]]><![CDATA[>')}]]>`
}

/** As careless senders write it: nothing is escaped but what would begin an element. */
function bareAmpersands(text: string): string {
  return /&\w+;/.test(text) ? escapeXml(text) : text.replaceAll('<', '&lt;').replaceAll(']]>', ']]&gt;')
}

function quoteXml(random: Random, text: string): string {
  const quote = random.pick(['"', "'"])
  return quote + escapeXml(text).replaceAll(quote, quote === '"' ? '&quot;' : '&apos;') + quote
}

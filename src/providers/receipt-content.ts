/**
 * The values that a webhook request holds, once its wrapping is off: what stands in the text decides whether it is JSON,
 * XML, a form, or the parts of one. The header alone never does.
 *
 * Form fields come flat or nested (`data[msg_id]`, `status.code`). A text may hold JSON itself: `unfold` reads it where a
 * module looks for receipts, and the text stays as it is where it is a leaf. Values that are nothing but the placeholder of
 * a template (`[STATUS]`) say nothing and are left out; set-up screens test a URL with such requests.
 */
import { parse } from 'node:querystring'
import { decodeText } from './body-text.ts'
import { readJson } from './json-text.ts'
import { readXml } from './xml-text.ts'

export interface ReceiptContent {
  /** JSON or XML as values, or an object of fields; undefined when there is nothing. */
  value: unknown
  /** The names of fields whose placeholder was not filled. */
  unfilled: string[]
  /** Why the text cannot be read; names a place, never the text that stands there. */
  mistake?: string
}

/** Values nested deeper are left out, and not looked through for receipts. */
export const DEEPEST = 20
const MOST_FIELDS = 2_000

/** Reads a body's text. */
export function readContent(text: string, contentType: string): ReceiptContent {
  const { value, mistake } = readText(trimBlank(text), contentType, 0)
  const unfilled = new Set<string>()
  const clean = cleaned(value, '', unfilled, DEEPEST)
  return { value: clean, unfilled: [...unfilled], ...(mistake ? { mistake } : {}) }
}

/** Reads the query of a path, as it was sent. */
export function readQuery(path: string): ReceiptContent {
  const start = path.indexOf('?')
  const unfilled = new Set<string>()
  const value = start < 0 ? undefined : cleaned(readForm(path.slice(start + 1), ''), '', unfilled, DEEPEST)
  return { value: isObject(value) && Object.keys(value).length > 0 ? value : undefined, unfilled: [...unfilled] }
}

type Read = { value?: unknown; mistake?: string }

/** A form may begin with what looks like something else: where that cannot be read, its fields are looked through. */
function readText(text: string, contentType: string, depth: number): Read {
  const read = readShape(text, contentType, depth)
  return read.mistake !== undefined && text.includes('=') ? { ...read, value: readForm(text, contentType) } : read
}

function readShape(text: string, contentType: string, depth: number): Read {
  const first = text.charAt(0)
  if (first === '' || depth > 3) return {}
  if (first === '<') {
    const xml = readXml(text)
    return xml.ok ? { value: xml.value } : { mistake: `XML with ${xml.mistake}` }
  }
  if (first === '{' || first === '[') return readJsonText(text)
  if (/^%(?:7B|5B|3C)/i.test(text)) return readText(trimBlank(parse(`t=${text}`).t?.toString() ?? ''), '', depth + 1)
  const boundary = /^--([^\r\n]{1,200}?)[ \t]*\r?\n[\w-]+:/m.exec(text.slice(0, 2000))?.[1]
  if (boundary !== undefined) return readMultipart(text, boundary)
  const json = readJson(text)
  if (json.ok) return typeof json.value === 'string' ? readText(trimBlank(json.value), '', depth + 1) : json
  if (text.includes('=')) return { value: readForm(text, contentType) }
  return { mistake: `text that is neither JSON, XML nor a form` }
}

/** One JSON value, whatever but the beginning of another stands behind its end, or one on each line. */
function readJsonText(text: string): Read {
  const json = readJson(text)
  if (json.ok) return { value: json.value }
  const end = Math.max(text.lastIndexOf('}'), text.lastIndexOf(']')) + 1
  const document = /^[^[{]+$/.test(text.slice(end)) ? readJson(text.slice(0, end)) : json
  if (document.ok) return { value: document.value }
  const lines = text.split('\n').map((line) => line.trim())
  const values = lines.filter((line) => line !== '').map(readJson)
  if (values.length > 1 && values.every(({ ok }) => ok)) {
    return { value: values.flatMap((reading) => (reading.ok ? [reading.value] : [])) }
  }
  return { mistake: `JSON with a mistake at line ${json.mistake.line}, column ${json.mistake.column}` }
}

/**
 * The parts of a multipart body as fields, whatever ends its lines. Parsers of the standard look for the boundary in the
 * middle of values too, and refuse a body without its last line.
 */
function readMultipart(text: string, boundary: string): Read {
  const delimiter = new RegExp(`(?:^|\\r?\\n)--${boundary.replace(/[^\w]/g, '\\$&')}(?:--)?[ \\t]*(?=\\r?\\n|$)`)
  const pairs = text.split(delimiter).slice(1).flatMap(readPart)
  return pairs.length > 0 ? { value: nested(pairs) } : { mistake: 'a multipart form whose parts cannot be told apart' }
}

function readPart(part: string): [string, string][] {
  const [, headers = '', value = ''] = /^\r?\n((?:[^\r\n]+\r?\n)+)\r?\n([\s\S]*)$/.exec(part) ?? []
  const [, quoted, inQuotes, bare] = /[;\s]name\s*=\s*(?:"([^"]*)"|'([^']*)'|([^;\s]+))/i.exec(headers) ?? []
  const name = quoted ?? inQuotes ?? bare
  if (name === undefined) return []
  const isBase64 = /^content-transfer-encoding:\s*base64/im.test(headers)
  return [[name, isBase64 ? Buffer.from(value, 'base64').toString() : value]]
}

function readForm(text: string, contentType: string): Record<string, unknown> {
  const decode = (encoded: string) => decodeText(unescapeBytes(encoded), contentType)
  // One by one, because the order tells which fields of `msg[][code]` belong together.
  const pairs = text.split('&', MOST_FIELDS).flatMap((pair) => {
    const [[name, value] = []] = Object.entries(parse(pair, '&', '=', { decodeURIComponent: decode }))
    // A URL that was copied out of HTML separates its fields by `&amp;`.
    return name === undefined ? [] : [[name.replace(/^(?:amp;)+/, ''), String(value)] as const]
  })
  return nested(pairs)
}

/** The bytes that percent signs and two digits stand for; other percent signs stand for themselves. */
function unescapeBytes(encoded: string): Buffer {
  return Buffer.from(
    Buffer.from(encoded, 'utf8')
      .toString('latin1')
      .replace(/%([\dA-Fa-f]{2})/g, (_, digits: string) => String.fromCharCode(Number.parseInt(digits, 16))),
    'latin1',
  )
}

type Fields = Record<string, unknown>

/** Puts `data[msg_id]` and `status.code` where they belong; a name that comes twice gets a list, as does `msg[][code]`. */
function nested(pairs: readonly (readonly [string, string])[]): Fields {
  const root: Fields = Object.create(null)
  for (const [name, value] of pairs) {
    const isNested = /^[\w-]+(?:\[[\w-]*\]|\.[\w-]+)+$/.test(name)
    const path = isNested ? [...name.matchAll(/[\w-]+|\[\]/g)].map(([part]) => part) : [name]
    put(root, path.length > DEEPEST ? [name] : path, value)
  }
  return root
}

/** A part `[]` stands for one of several: a new one when the last has what is to be put there. */
function put(into: Fields, [key = '', ...rest]: string[], value: string): void {
  const there = into[key]
  const isOneOfSeveral = rest[0] === '[]'
  const within = isOneOfSeveral ? rest.slice(1) : rest
  if (within.length === 0) {
    if (Array.isArray(there)) there.push(value)
    else into[key] = there === undefined ? value : [there, value]
    return
  }
  const last = Array.isArray(there) ? there.at(-1) : there
  const inner: Fields = isObject(last) && !(isOneOfSeveral && has(last, within)) ? last : Object.create(null)
  if (inner !== last) {
    if (isOneOfSeveral && Array.isArray(there)) there.push(inner)
    else into[key] = isOneOfSeveral && there !== undefined ? [there, inner] : inner
  }
  put(inner, within, value)
}

function has(value: unknown, [key, ...rest]: readonly string[]): boolean {
  if (key === undefined) return value !== undefined
  return key !== '[]' && isObject(value) && has(value[key], rest)
}

/** The ways of templates to write the name of a field. */
const PLACEHOLDER =
  /^(?:\[[A-Za-z][\w .-]*\]|\{\{? ?\w+ ?\}?\}|%\w+%|#[A-Za-z][\w.-]*#|@[A-Za-z][\w.-]*@|<[A-Za-z_]+>|\$\{?\w+\}?)$/
/** The sender's own reference may look like one; that of a template says what it is. */
const REFERENCE = /reference|(?<![a-z])ref(?![a-z])/i

function isPlaceholder(text: string, name: string): boolean {
  return PLACEHOLDER.test(text) && (!REFERENCE.test(name) || REFERENCE.test(text))
}

/** The levels left in a value that stands within another. A text counts twice: what it holds is read once more. */
export function levelsWithin(value: unknown, levels: number): number {
  return levels - (typeof value === 'string' ? 2 : 1)
}

/** The value of a text that holds a JSON object or list, or XML; any other value as it is. */
export function unfold(value: unknown): unknown {
  if (typeof value !== 'string' || !/^\s*[[{<]/.test(value)) return value
  const reading = /^\s*</.test(value) ? readXml(value.trim()) : readJson(value)
  return reading.ok ? cleaned(reading.value, '', new Set(), DEEPEST) : value
}

/** The value without placeholders and without what is nested too deep. */
function cleaned(value: unknown, name: string, unfilled: Set<string>, levels: number): unknown {
  if (levels === 0) return undefined
  if (typeof value === 'string') {
    if (isPlaceholder(value.trim(), name)) {
      unfilled.add(name)
      return undefined
    }
    return value
  }
  if (Array.isArray(value)) return value.map((item) => cleaned(item, name, unfilled, levels - 1))
  if (!isObject(value)) return value
  const entries = Object.entries(value).map(([key, item]) => [key, cleaned(item, key, unfilled, levels - 1)] as const)
  return Object.fromEntries(entries.filter(([, item]) => item !== undefined))
}

/** Without spaces, byte order marks and zero bytes around it. */
function trimBlank(text: string): string {
  let [start, end] = [0, text.length]
  while (start < end && isBlankCharacter(text.charCodeAt(start))) start++
  while (end > start && isBlankCharacter(text.charCodeAt(end - 1))) end--
  return text.slice(start, end)
}

function isBlankCharacter(code: number): boolean {
  return code <= 0x20 || code === 0xfeff || code === 0xa0
}

export function isObject(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
}

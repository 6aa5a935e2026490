/**
 * The values that a webhook request holds, once its wrapping is off: what stands in the text decides whether it is JSON,
 * XML, a form, or the parts of one. The header alone never does.
 *
 * Fields come flat or nested (`data[msg_id]`, `status.code`, `data__msg_id`). A text may hold another body: `unfold` reads it
 * where a module looks for receipts, and the text stays as it is where it is a leaf. Values that are nothing but the
 * placeholder of a template (`[STATUS]`) say nothing and are left out; set-up screens test a URL with such requests.
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
  const plain = unwrapped(text)
  if (plain !== undefined) return readText(trimBlank(plain), contentType, depth + 1)
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
  if (/=|%3D/i.test(text)) return { value: readForm(text, contentType) }
  return { mistake: `text that is neither JSON, XML nor a form` }
}

/** The text that stands in another with a backslash or an entity for each quotation mark, or as base64. */
function unwrapped(text: string): string | undefined {
  if (/^[{[]\s*\\"/.test(text)) return text.replace(/\\(["\\/])/g, '$1')
  if (/^(?:[{[]\s*&(?:quot|#0?34);|&lt;)/.test(text)) return text.replace(/&(?:quot|lt|gt|amp|#0?34);/g, characterOf)
  if (!/^[\w+/\s-]{24,}={0,2}$/.test(text)) return undefined
  const plain = Buffer.from(text, 'base64').toString()
  return /^\s*[{[<]/.test(plain) ? plain : undefined
}

function characterOf(entity: string): string {
  return { '&lt;': '<', '&gt;': '>', '&amp;': '&' }[entity] ?? '"'
}

/** One JSON value, whatever stands behind its end, or several; with line breaks in its texts, and commas that nothing follows. */
function readJsonText(text: string): Read {
  const json = readJson(text)
  if (json.ok) return { value: unflattened(json.value) }
  const mended = readJson(text.replace(/\p{Cc}+/gu, ' ').replace(/,(?=\s*[}\]])/g, ''))
  if (mended.ok) return { value: unflattened(mended.value) }
  const end = Math.max(text.lastIndexOf('}'), text.lastIndexOf(']')) + 1
  const document = /^[^[{]+$/.test(text.slice(end)) ? readJson(text.slice(0, end)) : json
  if (document.ok) return { value: document.value }
  const several = readJson(`[${text.replace(/([}\]])\s*(?:,\s*)?(?=[{[])/g, '$1,')}]`)
  if (several.ok) return { value: unflattened(several.value) }
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
  // A part of a multipart body that is no form has no name.
  const name = quoted ?? inQuotes ?? bare ?? (/^\s*[{[<]/.test(value) ? 'part' : undefined)
  if (name === undefined) return []
  const isBase64 = /^content-transfer-encoding:\s*base64/im.test(headers)
  return [[name, isBase64 ? Buffer.from(value, 'base64').toString() : value]]
}

/** A form as plain text has a line for each field. */
const BETWEEN_FIELDS = /&|\r?\n(?=[\w.[\]%-]+=)/

function readForm(given: string, contentType: string): Record<string, unknown> {
  const decode = (encoded: string) => decodeText(unescapeBytes(encoded), contentType)
  // A question mark too many, and a form that was encoded as a whole.
  const text = given.includes('=') ? given.replace(/^\?+/, '') : decode(given)
  // One by one, because the order tells which fields of `msg[][code]` belong together.
  const pairs = text.split(BETWEEN_FIELDS, MOST_FIELDS).flatMap((pair) => {
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
function nested(pairs: readonly (readonly [string, unknown])[]): Fields {
  const root: Fields = Object.create(null)
  for (const [name, value] of pairs) {
    put(root, pathOf(name), value)
  }
  return root
}

/** Names that lead out of an object. */
const LEADING_OUT: ReadonlySet<string> = new Set(['__proto__', 'constructor', 'prototype'])

/** The places that a field's name leads through. */
function pathOf(name: string): string[] {
  const dotted = name.replace(/(?<=[A-Za-z\d])__(?=[A-Za-z\d])/g, '.')
  if (!/^[\w-]+(?:\[[\w-]*\]|\.[\w-]+)+$/.test(dotted)) return [name]
  const path = [...dotted.matchAll(/[\w-]+|\[\]/g)].map(([part]) => part)
  return path.length > DEEPEST || path.some((part) => LEADING_OUT.has(part)) ? [name] : path
}

/** JSON whose objects were made flat: `{"data.msg_id":"1"}`. */
function unflattened(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(unflattened)
  if (!isObject(value) || Object.keys(value).every((name) => pathOf(name).length === 1)) return value
  return nested(Object.entries(value))
}

/** A part `[]` stands for one of several: a new one when the last has what is to be put there. */
function put(into: Fields, [key = '', ...rest]: string[], value: unknown): void {
  const there = Object.hasOwn(into, key) ? into[key] : undefined
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
const PLACEHOLDER = new RegExp(
  `^(?:${[
    String.raw`\[{1,2}[A-Za-z][\w .-]*\]{1,2}`,
    String.raw`[$#%]?\{{1,3} ?[A-Za-z_][\w.-]* ?\}{1,3}`,
    String.raw`\{% ?[\w.-]+ ?%\}`,
    String.raw`%\w+%`,
    String.raw`\$\w+`,
    String.raw`#[A-Za-z][\w.-]*#`,
    String.raw`@[A-Za-z][\w.-]*@`,
    '<{1,2}[A-Za-z_]+>{1,2}',
    String.raw`<%=? ?[\w.-]+ ?%>`,
    String.raw`\*\|\w+\|\*`,
  ].join('|')})$`,
)
/** No status of a provider stands in brackets of any kind; one that holds another text is looked into. */
const BRACKETED = /^(?:[[({<%$#*@~=][^"'&/]*[\])}>%$#*@~]|__[A-Z_]+__)$/
const NAMES_STATUS = /stat|code|dlr|report/i
const LONGEST_NAME = 100
const STATUS = /^(?:status[_.-]?)?(?:status|code|is[_.-]?success)$/i
/** The sender's own reference may look like one; that of a template says what it is. */
const REFERENCE = /reference|(?<![a-z])ref(?![a-z])/i

function isPlaceholder(text: string, name: string): boolean {
  // A template in a URL may have been encoded once more.
  const isOne =
    PLACEHOLDER.test(text) || (/^%[\dA-Fa-f]{2}/.test(text) && PLACEHOLDER.test(String(unescapeBytes(text))))
  if (STATUS.test(name) && text.length <= LONGEST_NAME && BRACKETED.test(text) && NAMES_STATUS.test(text)) return true
  return isOne && (!REFERENCE.test(name) || REFERENCE.test(text))
}

/** The levels left in a value that stands within another. A text counts twice: what it holds is read once more. */
export function levelsWithin(value: unknown, levels: number): number {
  return levels - (typeof value === 'string' ? 2 : 1)
}

/** The value of a text that holds a JSON object or list, XML, or the form of a receipt; any other value as it is. */
export function unfold(value: unknown): unknown {
  if (typeof value !== 'string') return value
  const trimmed = value.trim()
  const inner = readInner(unwrapped(trimmed)?.trim() ?? trimmed)
  return inner === undefined ? value : cleaned(inner, '', new Set(), DEEPEST)
}

function readInner(text: string): unknown {
  const isForm = /^[\w.[\]%-]+=[^&]*&/.test(text) && /(?:msg_?id|reference)(?:\]|%5D)?=/i.test(text)
  if (isForm) return readForm(text, '')
  if (!/^[[{<]/.test(text)) return undefined
  const reading = text.startsWith('<') ? readXml(text) : readJson(text)
  return reading.ok ? reading.value : undefined
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

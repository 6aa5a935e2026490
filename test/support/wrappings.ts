/**
 * Every wrapping in which one and the same receipt may come: content types, compressions, charsets, and JSON, XML, forms,
 * multipart or a query around the same values. The conformance suite reads each payload of each provider in all of them.
 */
import { stringify } from 'node:querystring'
import { brotliCompressSync, deflateRawSync, deflateSync, gzipSync } from 'node:zlib'
import type { WebhookRequest } from '../../src/providers/provider.ts'

type Values = Readonly<Record<string, unknown>>
type Wrapped = Pick<WebhookRequest, 'method' | 'headers' | 'body'> & { query: string }

/** How values become text; `charsets` of another kind than UTF-8 would hide which letters a form's bytes are. */
const FORMS: Readonly<Record<string, (values: Values) => string>> = {
  JSON: (values) => JSON.stringify(values),
  'JSON with blanks': (values) => `\r\n ${JSON.stringify(values, null, 2)}\n\0`,
  'JSON in a list': (values) => JSON.stringify([values]),
  'JSON as a text of JSON': (values) => JSON.stringify(JSON.stringify(values)),
  'JSON as a form field': (values) => stringify({ payload: JSON.stringify(values) }),
  'JSON, percent-encoded': (values) => encodeURIComponent(JSON.stringify(values)),
  form: (values) => stringify(Object.fromEntries(flat(values, (path, key) => `${path}[${key}]`))),
  'form with bare brackets': (values) =>
    flat(values, (path, key) => `${path}[${key}]`)
      .map(([name, value]) => `${name}=${encodeURIComponent(value)}`)
      .join('&'),
  'form with dots': (values) => stringify(Object.fromEntries(flat(values, (path, key) => `${path}.${key}`))),
  multipart: (values) => multipart(values, '\r\n'),
  'multipart with line feeds': (values) => multipart(values, '\n'),
  XML: (values) => `<?xml version="1.0"?>\n${xml('receipt', values)}`,
  'XML with character data': (values) => xml('receipt', values, (text) => `<![CDATA[${text}]]>`),
  'XML with a namespace and a comment': (values) =>
    `<n:a xmlns:n="urn:x"><!-- a & b -->${xml('n:receipt', values)}</n:a>`,
}

const CONTENT_TYPES = [
  undefined,
  '',
  '/',
  'json',
  'application/json',
  'application/json,application/json',
  'application/json; charset=',
  'application/x-www-form-urlencoded',
  'text/xml; charset=utf-8',
  'text/plain',
  'application/octet-stream',
  'multipart/form-data',
] as const

const COMPRESSIONS: Readonly<Record<string, (bytes: Buffer) => { bytes: Buffer; encoding?: string }>> = {
  plain: (bytes) => ({ bytes }),
  'plain, called gzip': (bytes) => ({ bytes, encoding: 'gzip' }),
  gzip: (bytes) => ({ bytes: gzipSync(bytes), encoding: 'gzip' }),
  'gzip, not said': (bytes) => ({ bytes: gzipSync(bytes) }),
  'gzip, twice': (bytes) => ({ bytes: gzipSync(gzipSync(bytes)), encoding: 'gzip, gzip' }),
  deflate: (bytes) => ({ bytes: deflateSync(bytes), encoding: 'deflate' }),
  'deflate without a frame': (bytes) => ({ bytes: deflateRawSync(bytes), encoding: 'deflate' }),
  br: (bytes) => ({ bytes: brotliCompressSync(bytes), encoding: 'BR' }),
}

const CHARSETS: Readonly<Record<string, (text: string) => Buffer>> = {
  'UTF-8': (text) => Buffer.from(text),
  'UTF-8 with a mark': (text) => Buffer.from(`\uFEFF${text}`),
  'UTF-16LE with a mark': (text) => Buffer.from(`\uFEFF${text}`, 'utf16le'),
  'UTF-16LE': (text) => Buffer.from(text, 'utf16le'),
  'UTF-16BE with a mark': (text) => Buffer.from(`\uFEFF${text}`, 'utf16le').swap16(),
  'UTF-16BE': (text) => Buffer.from(text, 'utf16le').swap16(),
  'ISO-8859-1': (text) => Buffer.from(text, 'latin1'),
}

/** Each of the four choices has at least so many, so that one wrapping in so many shows every three of them together. */
const ONE_IN = 7

/** Wrappings of the values, with their names: a seventh of all, in which every three choices meet. */
export function* wrappingsOf(values: Values): Generator<[string, Wrapped]> {
  for (const [at, [form, write]] of Object.entries(FORMS).entries()) {
    for (const [place, [charset, encode]] of Object.entries(CHARSETS).entries()) {
      for (const [index, [compression, compress]] of Object.entries(COMPRESSIONS).entries()) {
        const { bytes, encoding } = compress(encode(write(values)))
        for (const [last, type] of CONTENT_TYPES.entries()) {
          if ((at + place + index + last) % ONE_IN !== 0) continue
          const headers = { 'content-type': type, 'content-encoding': encoding }
          yield [[form, charset, compression, type].join(', '), { method: 'POST', headers, body: bytes, query: '' }]
        }
      }
    }
  }
  const query = stringify(Object.fromEntries(flat(values, (path, key) => `${path}[${key}]`)))
  for (const method of ['GET', 'POST', 'get']) {
    for (const body of ['', ' \r\n', '{}', '[]', 'null']) {
      yield [`query, ${method}, body ${JSON.stringify(body)}`, { method, headers: {}, body: Buffer.from(body), query }]
    }
  }
}

function flat(values: Values, join: (path: string, key: string) => string, path = ''): [string, string][] {
  return Object.entries(values).flatMap(([key, value]): [string, string][] => {
    const name = path === '' ? key : join(path, key)
    if (Array.isArray(value)) return flat(Object.fromEntries(value.entries()) as Values, join, name)
    return typeof value === 'object' && value !== null ? flat(value as Values, join, name) : [[name, String(value)]]
  })
}

function multipart(values: Values, newline: string): string {
  const parts = flat(values, (path, key) => `${path}[${key}]`).map(
    ([name, value]) =>
      `--b0undary${newline}Content-Disposition: form-data; name="${name}"${newline}${newline}${value}${newline}`,
  )
  return `${parts.join('')}--b0undary--${newline}`
}

function xml(name: string, value: unknown, write = escapeXml): string {
  if (typeof value !== 'object' || value === null) return `<${name}>${write(String(value))}</${name}>`
  const inner = Object.entries(value).map(([key, item]) => xml(key, item, write))
  return `<${name}>${inner.join('')}</${name}>`
}

function escapeXml(text: string): string {
  return text.replaceAll('&', '&amp;').replaceAll('<', '&lt;')
}

/**
 * A reader of receipts that shares nothing with Lastword's: short, lenient, and with the platform's parsers only. It says
 * of a refused request whether a receipt stood there plainly; it does not find everything that can be read.
 */
import { brotliDecompressSync, gunzipSync, inflateRawSync, inflateSync } from 'node:zlib'
import type { FuzzRequest } from './wrap.ts'

const MOST_BYTES = 1024 * 1024
const DEEPEST = 15

export type Verdict = 'too large' | 'a receipt' | 'nothing'

export function look({ account, query, headers, body }: FuzzRequest): Verdict {
  const bytes = inflated(body, headers.find(([name]) => name.toLowerCase() === 'content-encoding')?.[1] ?? '')
  if (bytes === undefined) return 'too large'
  const isReceipt = account === 'seven' ? isSevenReceipt : isCmReceipt
  const text = decoded(bytes)
  const readings = [fromJson(text), fromForm(text), fromForm(query), fromXml(text)].flat()
  return readings.some(isReceipt) ? 'a receipt' : 'nothing'
}

type Fields = ReadonlyMap<string, unknown>

/** Undefined for what grows too large. */
function inflated(body: Buffer, encoding: string): Buffer | undefined {
  let bytes = body
  const byHeader = encoding
    .toLowerCase()
    .split(',')
    .map((name) => name.trim())
    .slice(-4)
    .reverse()
  const ways = [...byHeader.map((name) => WAYS[name] ?? []), ...Array.from({ length: 4 }, () => WAYS.gzip ?? [])]
  for (const way of ways.flat()) {
    try {
      bytes = way(bytes, { maxOutputLength: MOST_BYTES })
    } catch (error) {
      if (error instanceof RangeError) return undefined
    }
  }
  return bytes.length > MOST_BYTES ? undefined : bytes
}

type Inflate = (bytes: Buffer, options: { maxOutputLength: number }) => Buffer
const WAYS: Readonly<Record<string, readonly Inflate[]>> = {
  gzip: [gunzipSync],
  'x-gzip': [gunzipSync],
  deflate: [inflateSync, inflateRawSync],
  br: [brotliDecompressSync],
}

function decoded(bytes: Buffer): string {
  const charset = { '255,254': 'utf-16le', '254,255': 'utf-16be' }[bytes.subarray(0, 2).join()]
  return new TextDecoder(charset ?? 'utf-8').decode(bytes).replace(/^[\0\s]+|[\0\s]+$/g, '')
}

function fromJson(text: string): Fields[] {
  try {
    return objectsIn(JSON.parse(text), DEEPEST)
  } catch {
    return []
  }
}

function objectsIn(value: unknown, levels: number): Fields[] {
  if (typeof value !== 'object' || value === null || levels === 0) return []
  const inner = Object.values(value).flatMap((item) => objectsIn(item, levels - 1))
  return Array.isArray(value) ? inner : [fieldsOf(Object.entries(value)), ...inner]
}

/** A name that comes twice with different values says nothing. */
function fieldsOf(entries: readonly [string, unknown][]): Fields {
  const fields = new Map<string, unknown>()
  for (const [name, value] of entries) {
    const key = name.toLowerCase()
    fields.set(key, fields.has(key) && fields.get(key) !== value ? undefined : value)
  }
  return fields
}

/** Names beyond the first thousand are not looked at. */
function fromForm(text: string): Fields[] {
  return /^[\w.&=%+~:/,@*'()!$;-]*$/.test(text) && text.split('&').length < 1500
    ? [fieldsOf([...new URLSearchParams(text)])]
    : []
}

/** XML of nothing but elements and texts. */
function fromXml(text: string): Fields[] {
  const pieces = text.match(/<\/?[A-Za-z]\w*>|[^<&]+/g) ?? []
  if (pieces.join('') !== text || !text.startsWith('<')) return []
  const open: { name: string; entries: [string, unknown][] }[] = []
  const found: Fields[] = []
  let leaf = ''
  for (const piece of pieces) {
    if (!piece.startsWith('<')) leaf = piece
    else if (!piece.startsWith('</')) open.push({ name: piece.slice(1, -1), entries: [] })
    else {
      const element = open.pop()
      if (element?.name !== piece.slice(2, -1)) return []
      if (element.entries.length > 0) found.push(fieldsOf(element.entries))
      open.at(-1)?.entries.push([element.name, element.entries.length > 0 ? {} : leaf])
      leaf = ''
    }
    if (open.length > DEEPEST) return []
  }
  return open.length === 0 ? found : []
}

/** A word that is surely meant; what looks like an unfilled placeholder is not. */
function wordOf(value: unknown): string {
  const text = typeof value === 'number' && Number.isSafeInteger(value) && value >= 0 ? String(value) : value
  return typeof text === 'string' && /^[\w.-]+$/.test(text.trim()) ? text.trim() : ''
}

const OTHER_EVENTS = /sms_mo|tracking|voice|dtmf|_mo/

function isSevenReceipt(fields: Fields): boolean {
  const event = String(fields.get('webhook_event') ?? fields.get('event') ?? '')
  const id = wordOf(fields.get('msg_id'))
  return id !== '' && id.length <= 64 && wordOf(fields.get('status')) !== '' && !OTHER_EVENTS.test(event)
}

function isCmReceipt(fields: Fields): boolean {
  const id = wordOf(fields.get('reference'))
  return id !== '' && id.length <= 255 && wordOf(fields.get('statuscode') ?? fields.get('status')) !== ''
}

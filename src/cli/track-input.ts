/**
 * The input of `lastword track`: CSV with a header, or NDJSON, as a stream of messages and of lines that cannot be one.
 * CSV comes as spreadsheets save it: cells apart by commas, semicolons or tabs, in UTF-8, UTF-16 or Windows-1252.
 */

import { open } from 'node:fs/promises'
import { pipeline, Readable } from 'node:stream'
import { TextDecoder } from 'node:util'
import { parse } from 'csv-parse'
import type { MessageToTrack } from '../client/order.ts'
import { errorCodeOf } from '../core/error-code.ts'
import { LastwordError } from '../core/errors.ts'
import { decodeText, utf16Of } from '../providers/body-text.ts'
import { messageSchema, type OrderedMessage } from '../tracking-order.ts'

export type InputFormat = 'csv' | 'ndjson'

/** A message, and where it came from, as in `line 7`. */
export interface Entry {
  where: string
  message: MessageToTrack
}

export interface Refusal {
  where: string
  reason: string
}

/** The text of a file in pieces; `-` is standard input. Throws CONFIG_INVALID for a file that cannot be read. */
export async function* readSource(path: string, standardInput: AsyncIterable<string | Buffer>): AsyncGenerator<string> {
  try {
    yield* decodePieces(path === '-' ? standardInput : (await open(path)).createReadStream())
  } catch (error) {
    const code = errorCodeOf(error) ?? 'an error'
    throw new LastwordError('CONFIG_INVALID', `--file: found ${code} when reading "${path}", expected a readable file.`)
  }
}

/** Enough to tell UTF-16 by. */
const FIRST_BYTES = 4

/** Decodes UTF-16 as it comes, anything else by whole lines: those that are not UTF-8 are Windows-1252. */
async function* decodePieces(source: AsyncIterable<string | Buffer>): AsyncGenerator<string> {
  let undecoded = Buffer.alloc(0)
  let utf16: TextDecoder | undefined
  let isBeginning = true
  for await (const chunk of source) {
    undecoded = Buffer.concat([undecoded, Buffer.from(chunk as Buffer)])
    if (isBeginning && undecoded.length < FIRST_BYTES) continue
    if (isBeginning) {
      const charset = utf16Of(undecoded.subarray(0, undecoded.length - (undecoded.length % 2)))
      utf16 = charset && new TextDecoder(charset)
      isBeginning = false
    }
    const end = utf16 ? undecoded.length : Math.max(undecoded.lastIndexOf('\n'), undecoded.lastIndexOf('\r')) + 1
    const whole = undecoded.subarray(0, end)
    yield utf16 ? utf16.decode(whole, { stream: true }) : decodeText(whole)
    undecoded = undecoded.subarray(end)
  }
  yield utf16 ? utf16.decode() : decodeText(undecoded)
}

/** Without a format, text that begins with a brace is NDJSON. */
export async function* readEntries(
  source: AsyncIterable<string>,
  format: InputFormat | undefined,
): AsyncGenerator<Entry | Refusal> {
  const { text, rest } = await readBeginning(source)
  const chunks = chain(text, rest)
  const isJson = format === undefined ? text.trimStart().startsWith('{') : format === 'ndjson'
  yield* isJson ? readNdjson(chunks) : readCsv(chunks, layoutOf(text))
}

/** The first pieces, up to the end of a line that is more than white space. */
async function readBeginning(source: AsyncIterable<string>): Promise<{ text: string; rest: AsyncIterator<string> }> {
  const rest = source[Symbol.asyncIterator]()
  let text = ''
  while (!/[\r\n]/.test(text.trimStart())) {
    const next = await rest.next()
    if (next.done) break
    text += next.value
  }
  return { text: text.replace(/^\ufeff/, ''), rest }
}

async function* chain(first: string, rest: AsyncIterator<string>): AsyncGenerator<string> {
  yield first
  for (let next = await rest.next(); !next.done; next = await rest.next()) yield next.value
}

async function* readNdjson(chunks: AsyncIterable<string>): AsyncGenerator<Entry | Refusal> {
  let line = 0
  for await (const text of linesOf(chunks)) {
    line += 1
    if (text.trim() === '') continue
    const value = parseJson(text)
    if (isObject(value)) yield { where: `line ${line}`, message: value as unknown as MessageToTrack }
    else yield { where: `line ${line}`, reason: 'expected a JSON object with a messageId' }
  }
}

async function* linesOf(chunks: AsyncIterable<string>): AsyncGenerator<string> {
  let open = ''
  for await (const chunk of chunks) {
    const [first = '', ...lines] = chunk.split('\n')
    open += first
    for (const line of lines) {
      yield open
      open = line
    }
  }
  yield open
}

type Column = keyof OrderedMessage
const COLUMNS = Object.keys(messageSchema.shape) as Column[]
type Row = Partial<Record<Column, string>>

const SEPARATORS = [';', '\t', ','] as const

/** Where the records begin, and what separates their cells: as a first line `sep=;` says, or the header shows. */
interface Layout {
  delimiter: string
  from_line: number
}

function layoutOf(beginning: string): Layout {
  const named = /^\s*"?sep=([^\r\n"])"?[^\S\r\n]*(?:\r\n?|\n)/i.exec(beginning)
  if (named?.[1]) return { delimiter: named[1], from_line: named[0].split(/\r\n?|\n/).length }
  const header = /\S[^\r\n]*/.exec(beginning)?.[0] ?? ''
  return { delimiter: SEPARATORS.find((separator) => header.includes(separator)) ?? ',', from_line: 1 }
}

async function* readCsv(chunks: AsyncIterable<string>, layout: Layout): AsyncGenerator<Entry | Refusal> {
  const refused: Refusal[] = []
  const parser = parse({
    ...layout,
    columns: readHeader,
    info: true,
    bom: true,
    trim: true,
    // JSON, and a spreadsheet's ="1", have quotation marks within a cell.
    relax_quotes: true,
    skip_empty_lines: true,
    skip_records_with_empty_values: true,
    skip_records_with_error: true,
    on_skip: (error) => {
      const line = error && 'lines' in error ? error.lines : '?'
      refused.push({
        where: `line ${line}`,
        reason: error?.message.replace(/ on line \d+$/, '') ?? 'expected a CSV record',
      })
      return undefined
    },
  })
  // The parser tells of the errors of both.
  pipeline(Readable.from(chunks), parser, () => {})
  for await (const { record, info } of parser as AsyncIterable<{ record: Row; info: { lines: number } }>) {
    yield* refused.splice(0)
    yield toEntry(record, `line ${info.lines}`)
  }
  yield* refused.splice(0)
}

/** The columns by their names, whatever their case and between their words; one without a name is left out. */
function readHeader(names: string[]): (Column | undefined)[] {
  const columns = names.map((name) => {
    const letters = name.toLowerCase().replace(/[\s_-]/g, '')
    return letters === '' ? undefined : (COLUMNS.find((column) => column.toLowerCase() === letters) ?? name)
  })
  const unknown = columns.find((name) => name !== undefined && !isColumn(name))
  const known = columns.filter((name) => name === undefined || isColumn(name))
  const twice = known.find((name, index) => name !== undefined && known.indexOf(name) !== index)
  if (known.includes('messageId') && unknown === undefined && twice === undefined) return known
  const found = JSON.stringify((unknown ?? twice ?? names.join()).slice(0, 60))
  throw new LastwordError(
    'CONFIG_INVALID',
    `The first line: found ${found}${twice ? ' twice' : ''}, expected the names of columns: messageId and any of ${COLUMNS.slice(1).join(', ')}.`,
  )
}

function isColumn(name: string): name is Column {
  return COLUMNS.some((column) => column === name)
}

/** Words for an empty cell, of databases and of spreadsheets, whose errors begin with a number sign. */
const NO_VALUE =
  /^(?:null|\(null\)|nil|none|undefined|nan|n\/?a|n\.a\.|\\n|[-–—]+|<null>|\[null\]|#n\/a|#nv|#[a-z\d/]+[!?])$/i
/** Numbers as spreadsheets and statistics write them: 7.72E+10, 7,72E+10, 77232007287.0. */
const IN_POWERS = /^[+-]?\d+(?:[.,]\d+)?e[+-]\d+$|^[+-]?\d+[.,]\d+e\d+$/i
const WITH_FRACTION = /^[+-]?\d+[.,]0+$/

/** Why a cell cannot be a message ID, whatever the provider. */
function refusalOf(messageId: string): string | undefined {
  const found = `messageId: found "${messageId.slice(0, 60)}"`
  if (NO_VALUE.test(messageId)) return `${found}, which stands for none: the provider gave no ID for this one`
  if (IN_POWERS.test(messageId)) return `${found}: the spreadsheet rounded it; format the column as text`
  if (WITH_FRACTION.test(messageId)) {
    return `${found}: the spreadsheet took it for a number, and may have rounded it; format the column as text`
  }
  return undefined
}

function toEntry(row: Row, where: string): Entry | Refusal {
  const cells: Row = Object.fromEntries(Object.entries(row).map(([name, cell]) => [name, withoutFormula(cell)]))
  const { messageId = '', ...others } = cells
  const reason = refusalOf(messageId)
  if (reason !== undefined) return { where, reason }
  const filled = Object.fromEntries(Object.entries(others).filter(([, cell]) => cell !== '' && !NO_VALUE.test(cell)))
  const { metadata: json, ...rest } = filled
  const metadata = json === undefined ? undefined : parseJson(json)
  if (json !== undefined && !isObject(metadata)) return { where, reason: 'metadata: expected a JSON object' }
  return { where, message: { messageId, ...rest, ...(isObject(metadata) ? { metadata } : {}) } }
}

/** A spreadsheet keeps the digits of a text that it is given as `="0123"`. */
function withoutFormula(cell: string): string {
  return cell.replace(/^="(.*)"$/s, '$1')
}

function parseJson(text: string): unknown {
  try {
    return JSON.parse(text)
  } catch {
    return undefined
  }
}

function isObject(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
}

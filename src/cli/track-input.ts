/** What `lastword track` reads: CSV with a header, or NDJSON, as a stream of messages and of lines that cannot be one. */
import { open } from 'node:fs/promises'
import { pipeline, Readable } from 'node:stream'
import { parse } from 'csv-parse'
import { LastwordError } from '../core/errors.ts'
import type { MessageToTrack } from '../transaction.ts'

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

/** The chunks of a file; `-` is standard input. Throws CONFIG_INVALID for a file that cannot be read. */
export async function* readSource(path: string, standardInput: AsyncIterable<string | Buffer>): AsyncGenerator<string> {
  const decoder = new TextDecoder()
  try {
    const source = path === '-' ? standardInput : (await open(path)).createReadStream()
    for await (const chunk of source) {
      yield typeof chunk === 'string' ? chunk : decoder.decode(chunk, { stream: true })
    }
    yield decoder.decode()
  } catch (error) {
    const code = error instanceof Error && 'code' in error ? String(error.code) : 'an error'
    throw new LastwordError('CONFIG_INVALID', `--file: found ${code} when reading "${path}", expected a readable file.`)
  }
}

/** Without a format, text that begins with a brace is NDJSON. */
export async function* readEntries(
  source: AsyncIterable<string>,
  format: InputFormat | undefined,
): AsyncGenerator<Entry | Refusal> {
  const { text, rest } = await readBeginning(source)
  const chunks = chain(text, rest)
  const isJson = format === undefined ? text.trimStart().startsWith('{') : format === 'ndjson'
  yield* isJson ? readNdjson(chunks) : readCsv(chunks)
}

/** The first chunks, up to one that is more than white space. */
async function readBeginning(source: AsyncIterable<string>): Promise<{ text: string; rest: AsyncIterator<string> }> {
  const rest = source[Symbol.asyncIterator]()
  let text = ''
  while (text.trim() === '') {
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

const COLUMNS = ['messageId', 'sentAt', 'recipient', 'metadata', 'callbackUrl'] as const
type Row = Partial<Record<(typeof COLUMNS)[number], string>>

async function* readCsv(chunks: AsyncIterable<string>): AsyncGenerator<Entry | Refusal> {
  const refused: Refusal[] = []
  const parser = parse({
    columns: checkHeader,
    info: true,
    bom: true,
    trim: true,
    skip_empty_lines: true,
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

function checkHeader(names: string[]): string[] {
  const unknown = names.find((name) => !COLUMNS.some((column) => column === name))
  if (names.includes('messageId') && unknown === undefined) return names
  const found = JSON.stringify((unknown ?? names.join()).slice(0, 60))
  throw new LastwordError(
    'CONFIG_INVALID',
    `The first line: found ${found}, expected the names of columns: messageId and any of ${COLUMNS.slice(1).join(', ')}.`,
  )
}

function toEntry(row: Row, where: string): Entry | Refusal {
  const filled = Object.fromEntries(Object.entries(row).filter(([, cell]) => cell !== ''))
  const { metadata: json, ...rest } = filled
  const metadata = json === undefined ? undefined : parseJson(json)
  if (json !== undefined && !isObject(metadata)) return { where, reason: 'metadata: expected a JSON object' }
  const message = { messageId: '', ...rest, ...(isObject(metadata) ? { metadata } : {}) }
  return { where, message }
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

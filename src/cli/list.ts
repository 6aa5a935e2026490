/** `lastword list`: messages by what is known of them, as a table, as NDJSON, or as CSV, fetched while they are printed. */
import { Readable } from 'node:stream'
import { pipeline } from 'node:stream/promises'
import { stringify } from 'csv-stringify'
import type { ListFilter, Message } from '../client/answers.ts'
import { createClient } from '../client/client.ts'
import { readServiceLocation } from '../config.ts'
import { formatTable } from './table.ts'

export interface ListFlags extends Omit<ListFilter, 'metadata'> {
  metadata: Record<string, string>
  limit?: number
  csv: boolean
  json: boolean
  url?: string
  apiKey?: string
}

/** A table is for people, who want to see the first lines at once. */
const LINES_OF_A_TABLE = 100

const COLUMNS = [
  'account',
  'messageId',
  'recipient',
  'status',
  'final',
  'statusAt',
  'settledBy',
  'sentAt',
  'polls',
  'nextPollAt',
  'windowEndsAt',
  'metadata',
  'queryError',
] as const satisfies (keyof Message)[]

export async function runList(flags: ListFlags): Promise<void> {
  const { csv, json, limit, url, apiKey, ...filter } = flags
  const messages = createClient(readServiceLocation({ url, apiKey })).list(filter)
  if (csv) {
    const rows = stringify({ header: true, columns: [...COLUMNS], cast: { boolean: String } })
    await pipeline(Readable.from(first(messages, limit)), rows, process.stdout, { end: false })
  } else if (json) {
    const lines = async function* () {
      for await (const message of first(messages, limit)) yield `${JSON.stringify(message)}\n`
    }
    await pipeline(Readable.from(lines()), process.stdout, { end: false })
  } else {
    await printTable(messages, limit ?? LINES_OF_A_TABLE)
  }
}

async function* first(messages: AsyncIterable<Message>, limit = Number.POSITIVE_INFINITY): AsyncGenerator<Message> {
  let left = limit
  for await (const message of messages) {
    if (left-- <= 0) return
    yield message
  }
}

async function printTable(messages: AsyncIterable<Message>, limit: number): Promise<void> {
  const rows: string[][] = []
  for await (const message of first(messages, limit + 1)) {
    const { account, messageId, recipient, status, settledBy, sentAt, statusAt } = message
    rows.push([sentAt, account, messageId, recipient ?? '', status ?? '', settledBy ?? '', statusAt ?? ''])
  }
  const header = ['SENT', 'ACCOUNT', 'MESSAGE', 'RECIPIENT', 'STATUS', 'SETTLED BY', 'SINCE']
  console.log(rows.length === 0 ? 'No message matches.' : formatTable([header, ...rows.slice(0, limit)]))
  if (rows.length > limit) console.error(`There are more than ${limit}: see them by --limit, --csv or --json.`)
}

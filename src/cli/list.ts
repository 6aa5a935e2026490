/** `lastword list`: messages by what is known of them, as a table, as NDJSON, or as CSV, fetched while they are printed. */
import { Readable } from 'node:stream'
import { pipeline } from 'node:stream/promises'
import { stringify } from 'csv-stringify'
import type { ListFilter, Message } from '../client/answers.ts'
import { createClient } from '../client/client.ts'
import { readServiceLocation } from '../config.ts'
import { first, type ListTable, printLines, printTable } from './print-list.ts'

export interface ListFlags extends Omit<ListFilter, 'metadata'> {
  metadata: Record<string, string>
  limit?: number
  csv: boolean
  json: boolean
  url?: string
  apiKey?: string
}

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
    await printLines(messages, limit)
  } else {
    await printTable(messages, TABLE, limit)
  }
}

const TABLE: ListTable<Message> = {
  header: ['SENT', 'ACCOUNT', 'MESSAGE', 'RECIPIENT', 'STATUS', 'SETTLED BY', 'SINCE'],
  rowOf: ({ sentAt, account, messageId, recipient, status, settledBy, statusAt }) => [
    sentAt,
    account,
    messageId,
    recipient ?? '',
    status ?? '',
    settledBy ?? '',
    statusAt ?? '',
  ],
  none: 'No message matches.',
  more: '--limit, --csv or --json',
}

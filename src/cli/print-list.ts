/** Long lists, printed while they are fetched: all as NDJSON, or the first lines as a table. */
import { Readable } from 'node:stream'
import { pipeline } from 'node:stream/promises'
import { formatTable } from './table.ts'

/** A table is for people, who want to see the first lines at once. */
const LINES_OF_A_TABLE = 100

export interface ListTable<T> {
  header: readonly string[]
  rowOf(item: T): string[]
  /** The sentence for an empty list. */
  none: string
  /** The flags that show more. */
  more: string
}

export async function* first<T>(items: AsyncIterable<T>, limit = Number.POSITIVE_INFINITY): AsyncGenerator<T> {
  let left = limit
  for await (const item of items) {
    if (left-- <= 0) return
    yield item
  }
}

/** Prints a line of JSON for each, up to the limit. */
export async function printLines<T>(items: AsyncIterable<T>, limit?: number): Promise<void> {
  const lines = async function* () {
    for await (const item of first(items, limit)) yield `${JSON.stringify(item)}\n`
  }
  await pipeline(Readable.from(lines()), process.stdout, { end: false })
}

/** Prints a table of the first ones, and says when there are more. */
export async function printTable<T>(
  items: AsyncIterable<T>,
  { header, rowOf, none, more }: ListTable<T>,
  limit = LINES_OF_A_TABLE,
): Promise<void> {
  const rows: string[][] = []
  for await (const item of first(items, limit + 1)) rows.push(rowOf(item))
  console.log(rows.length === 0 ? none : formatTable([header, ...rows.slice(0, limit)]))
  if (rows.length > limit) console.error(`There are more than ${limit}: see them by ${more}.`)
}

/** `lastword changes`: the feed of changes, up to now or for ever. */
import type { Change } from '../client/answers.ts'
import { type ChangePage, createClient } from '../client/client.ts'
import { readServiceLocation } from '../config.ts'
import { printable } from './table.ts'

export interface ChangesFlags {
  follow: boolean
  after?: string
  json: boolean
  url?: string
  apiKey?: string
}

const PAGE_SIZE = 1000

/** Prints every change after the cursor; with `follow` until the signal ends it. */
export async function runChanges({ follow, after, json, ...flags }: ChangesFlags, signal: AbortSignal): Promise<void> {
  const client = createClient(readServiceLocation(flags))
  let cursor = after
  for await (const page of client.changes({ after, follow, limit: PAGE_SIZE, signal })) {
    if (page.changes.length > 0) process.stdout.write(json ? linesOf(page) : page.changes.map(describe).join(''))
    cursor = page.cursor
  }
  if (!json && cursor !== undefined) console.error(`Go on from here: --after ${cursor}`)
}

/** The last line of a page carries the cursor that goes on after it. */
function linesOf({ changes, cursor }: ChangePage): string {
  return changes
    .map((change, index) => `${JSON.stringify(index === changes.length - 1 ? { ...change, cursor } : change)}\n`)
    .join('')
}

function describe({ changedAt, account, messageId, recipient, previousStatus, status, source, final }: Change): string {
  const message = `${account}/${messageId}${recipient === null ? '' : ` ${recipient}`}`
  const change = `${previousStatus ?? '-'} → ${status}${final ? ' (final)' : ''}`
  return `${printable(`${changedAt}  ${message.padEnd(36)}  ${change.padEnd(34)}  ${source}`)}\n`
}

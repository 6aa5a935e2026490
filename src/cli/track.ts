/**
 * `lastword track`: hands over message IDs from arguments, a file or standard input, in bodies of 1,000. A body is tracked
 * whole or not at all, so lines the service refuses are named and left out, and the rest of their body is sent again.
 */
import { withRetries } from '../client/backoff.ts'
import { type Client, createClient } from '../client/client.ts'
import { RequestError } from '../client/request.ts'
import { readServiceLocation } from '../config.ts'
import { LastwordError } from '../core/errors.ts'
import { printable } from './table.ts'
import { type Entry, type InputFormat, type Refusal, readEntries, readSource } from './track-input.ts'

export interface TrackFlags {
  account: string
  file?: string
  format?: InputFormat
  allOrNothing: boolean
  json: boolean
  url?: string
  apiKey?: string
}

const BODY_SIZE = 1000
/** The most that one request can track, and so the most that can be all or nothing. */
const MOST_AT_ONCE = 10_000
const ATTEMPTS = 6
/** How often progress is told where it cannot be redrawn. */
const LINES_PER_NOTE = 50_000

interface Progress {
  read: number
  tracked: number
  alreadyTracked: number
  refused: Refusal[]
}

/** Tracks what is given and prints a summary; resolves with false when some of it was refused. */
export async function runTrack(messageIds: readonly string[], flags: TrackFlags): Promise<boolean> {
  const client = createClient(readServiceLocation(flags))
  const progress: Progress = { read: 0, tracked: 0, alreadyTracked: 0, refused: [] }
  const note = createNote()
  const refuse = (refusal: Refusal) => {
    progress.refused.push(refusal)
    note.clear()
    console.error(`lastword: ${printable(`${refusal.where}: ${refusal.reason}`)}`)
  }
  const size = flags.allOrNothing ? MOST_AT_ONCE : BODY_SIZE
  try {
    let body: Entry[] = []
    for await (const entry of entriesOf(messageIds, flags)) {
      progress.read += 1
      if ('reason' in entry) refuse(entry)
      else body.push(entry)
      if (flags.allOrNothing && progress.read > MOST_AT_ONCE) {
        throw new LastwordError('CONFIG_INVALID', '--all-or-nothing: expected at most 10,000 messages, found more.')
      }
      if (flags.allOrNothing || body.length < size) continue
      await send(client, flags, body, progress, refuse)
      body = []
      note.show(progress)
    }
    if (!flags.allOrNothing || progress.refused.length === 0) await send(client, flags, body, progress, refuse)
  } catch (error) {
    note.clear()
    if (progress.tracked + progress.alreadyTracked > 0)
      console.error(`lastword: ${summaryOf(progress)} Then it failed:`)
    throw error
  }
  note.clear()
  const { tracked, alreadyTracked, refused } = progress
  console.log(flags.json ? JSON.stringify({ tracked, alreadyTracked, refused }) : summaryOf(progress))
  return refused.length === 0
}

async function* entriesOf(
  messageIds: readonly string[],
  { file, format }: TrackFlags,
): AsyncGenerator<Entry | Refusal> {
  if (messageIds.length > 0 && file !== undefined) {
    throw new LastwordError('CONFIG_INVALID', '--file: found message IDs too, expected one of them.')
  }
  if (messageIds.length === 0) {
    if (file === undefined && process.stdin.isTTY) {
      throw new LastwordError('CONFIG_INVALID', 'Expected message IDs, --file, or messages on standard input.')
    }
    yield* readEntries(readSource(file ?? '-', process.stdin), format)
    return
  }
  for (const messageId of messageIds) yield { where: `ID ${messageId}`, message: { messageId } }
}

type Refuse = (refusal: Refusal) => void

/** Sends a body, again without what is refused until nothing is. */
async function send(
  client: Client,
  { account, allOrNothing }: TrackFlags,
  entries: readonly Entry[],
  progress: Progress,
  refuse: Refuse,
): Promise<void> {
  let left = allOrNothing ? [...entries] : withoutRepeats(entries, progress)
  while (left.length > 0) {
    try {
      const messages = left.map(({ message }) => message)
      const { tracked, alreadyTracked } = await withRetries(() => client.track({ account, messages }), {
        attempts: ATTEMPTS,
      })
      progress.tracked += tracked
      progress.alreadyTracked += alreadyTracked
      return
    } catch (error) {
      const refused = refusalsOf(error, left)
      if (refused.size === 0) throw error
      for (const refusal of refused.values()) refuse(refusal)
      if (allOrNothing) return
      left = left.filter((_, index) => !refused.has(index))
    }
  }
}

/** The service takes a message once in a body; over several bodies the second is one that is tracked already. */
function withoutRepeats(entries: readonly Entry[], progress: Progress): Entry[] {
  const seen = new Set<string>()
  return entries.filter(({ message }) => {
    const key = JSON.stringify([String(message.messageId).trim(), message.recipient])
    const isNew = !seen.has(key)
    seen.add(key)
    if (!isNew) progress.alreadyTracked += 1
    return isNew
  })
}

/**
 * The service's reasons for refusing messages, by their place in the body; empty when it refuses for another reason.
 */
function refusalsOf(error: unknown, entries: readonly Entry[]): Map<number, Refusal> {
  const refusals = new Map<number, Refusal>()
  if (!(error instanceof RequestError) || error.code !== 'INPUT_INVALID') return refusals
  for (const { path, message } of error.issues ?? []) {
    const [, index, field] = /^messages\[(\d+)\]\.?(.*)$/.exec(path) ?? []
    const entry = entries[Number(index)]
    if (index === undefined || !entry || refusals.has(Number(index))) continue
    const reason = message.replace(/messages\[(\d+)\]/g, (whole, other) => entries[Number(other)]?.where ?? whole)
    refusals.set(Number(index), { where: entry.where, reason: field ? `${field}: ${reason}` : reason })
  }
  return refusals
}

function summaryOf({ tracked, alreadyTracked, refused }: Progress): string {
  const parts = [`${tracked} tracked`, `${alreadyTracked} already tracked`]
  if (refused.length > 0) parts.push(`${refused.length} refused`)
  return `${parts.join(', ')}.`
}

/** Progress on standard error: in place on a terminal, elsewhere now and then. */
function createNote(): { show(progress: Progress): void; clear(): void } {
  let shown = false
  let noted = 0
  return {
    show(progress) {
      const text = `${progress.read} read, ${summaryOf(progress)}`
      if (process.stderr.isTTY) {
        process.stderr.write(`\r\x1b[2K${text}`)
        shown = true
      } else if (progress.read - noted >= LINES_PER_NOTE) {
        noted = progress.read
        console.error(text)
      }
    },
    clear() {
      if (shown) process.stderr.write('\r\x1b[2K')
      shown = false
    },
  }
}

/** `lastword status` and `lastword poll`: one message, looked at or asked about. */
import type { MessageWithReports, PolledMessage } from '../client/answers.ts'
import { createClient } from '../client/client.ts'
import { readServiceLocation } from '../config.ts'
import { formatTable, printable } from './table.ts'

export interface MessageFlags {
  recipient?: string
  json: boolean
  url?: string
  apiKey?: string
}

/** Prints a message with its reports; resolves with whether its status is final. */
export async function runStatus(account: string, messageId: string, flags: MessageFlags): Promise<boolean> {
  const client = createClient(readServiceLocation(flags))
  const message = await client.get(account, messageId, { recipient: flags.recipient })
  console.log(flags.json ? JSON.stringify(message) : `${describe(message)}${describeReports(message)}`)
  return message.final
}

/** Has the provider asked about a message now; resolves with whether nothing keeps it from being asked. */
export async function runPoll(account: string, messageId: string, flags: MessageFlags): Promise<boolean> {
  const client = createClient(readServiceLocation(flags))
  const message = await client.poll(account, messageId, { recipient: flags.recipient })
  console.log(flags.json ? JSON.stringify(message) : `${describe(message)}\n${describePoll(message)}`)
  return message.blockedBy.length === 0
}

function describePoll({ paused, account, blockedBy }: PolledMessage): string {
  const asked = blockedBy.length > 0 ? `Due now, but ${describeBlocks({ blockedBy })}.` : 'The provider is being asked.'
  if (!paused) return asked
  const { since, until, trouble } = paused
  const why = printable(trouble ?? 'no good answer')
  return `The account "${account}" was paused${until ? ` until ${until}` : ''}: ${why}${since ? `, since ${since}` : ''}.
That is over, and this message is asked about first. ${asked}`
}

function describeBlocks({ blockedBy }: Pick<PolledMessage, 'blockedBy'>): string {
  return blockedBy.map(({ message }) => printable(message)).join('; and ')
}

type Known = Omit<MessageWithReports, 'trackedAt' | 'reports' | 'queries' | 'callbacks'>

function describeAttempts({ polls, failedPolls }: Known): string {
  const times = (count: number) => `${count} ${count === 1 ? 'time' : 'times'}`
  return `${times(polls)}${failedPolls > 0 ? `, and ${times(failedPolls)} of late without a good answer` : ''}`
}

const OUTCOMES: Readonly<Record<NonNullable<Known['lastAttempt']>['outcome'], string>> = {
  answered: 'answered',
  noStatusYet: 'answered, no status yet',
  missing: 'answered, not known there',
  failed: 'no good answer',
}

function describeLast({ lastAttempt }: Known): string | null {
  return lastAttempt && `${lastAttempt.at}: ${lastAttempt.error ?? OUTCOMES[lastAttempt.outcome]}`
}

function describeNext(message: Known): string | null {
  const { asking, nextPollAt, blockedBy } = message
  if (message.final) return null
  if (asking === 'never') return blockedBy.length > 0 ? `never: ${describeBlocks(message)}` : 'never again'
  const next = asking === 'later' ? String(nextPollAt) : asking === 'due' ? 'now' : 'being asked now'
  return blockedBy.length > 0 ? `${next}, but ${describeBlocks(message)}` : next
}

function describe(message: Known): string {
  const { status, final, statusAt, settledBy } = message
  const known = status === null ? 'no report yet' : `${status}, ${final ? `final (${settledBy})` : 'outstanding'}`
  const rows = [
    ['Message', `${message.messageId} (${message.account})`],
    ['Recipient', message.recipient],
    ['Status', known],
    ['Since', statusAt],
    ['Sent', message.sentAt],
    ['Asked', describeAttempts(message)],
    ['Last asked', describeLast(message)],
    ['Next asked', describeNext(message)],
    ['Window ends', final ? null : message.windowEndsAt],
    ['Refused', message.queryError],
    ['Metadata', message.metadata && JSON.stringify(message.metadata)],
  ]
  return formatTable(
    rows.flatMap(([name = '', value]) => (value === null || value === undefined ? [] : [[name ?? '', value]])),
  )
}

function describeReports({ reports }: MessageWithReports): string {
  if (reports.length === 0) return ''
  const rows = reports.map(({ receivedAt, source, status, rawStatus, occurredAt, outcome, error }) => [
    receivedAt,
    source,
    status,
    rawStatus,
    occurredAt,
    outcome,
    [error?.code, error?.description].filter(Boolean).join(' '),
  ])
  const header = ['RECEIVED', 'SOURCE', 'STATUS', 'RAW', 'OCCURRED', 'OUTCOME', 'ERROR']
  return `\n\n${formatTable([header, ...rows])}`
}

/** The sentence for an ID that covers several recipients. */
export function describeRecipients(recipients: unknown): string {
  const list = Array.isArray(recipients) ? recipients.map(String).join(', ') : ''
  return printable(`Name one by --recipient: ${list}`)
}

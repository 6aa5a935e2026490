/**
 * The commands that speak to a running service: `track`, `list`, `status`, `changes`, `poll` and `erase`, about messages;
 * `accounts`, `schedule`, `statistics`, `alerts`, `acts` and `callbacks`, about how it is doing.
 */

import { type Command, InvalidArgumentError, Option } from 'commander'
import { ACT_KINDS } from '../core/act.ts'
import { SOURCES, STATUSES } from '../core/status.ts'
import { runAccounts } from './accounts.ts'
import { runActs } from './acts.ts'
import { runAlerts } from './alerts.ts'
import { type CallbacksFlags, runCallbacks } from './callbacks.ts'
import { type ChangesFlags, runChanges } from './changes.ts'
import { runErase } from './erase.ts'
import { runList } from './list.ts'
import { type MessageFlags, runPoll, runStatus } from './messages.ts'
import { runSchedule } from './schedule.ts'
import { runStatistics } from './statistics.ts'
import { runTrack, type TrackFlags } from './track.ts'

const OUTSTANDING = 4
const BLOCKED = 5

const TRACK_HELP = `
Without IDs the messages are read from --file or from standard input:

  CSV     a header with messageId and any of sentAt, recipient, metadata (JSON), callbackUrl; as spreadsheets save
          it: with , ; or tab, in UTF-8, UTF-16 or Windows-1252
  NDJSON  one object a line, with the same names

They are sent 1,000 at a time. Lines that cannot be tracked are named by their number on standard error, and the
others are tracked; repeating the whole input is harmless.

Exit codes: 0 everything is tracked, 1 failed, or refused in part, 2 wrong usage or configuration, 3 no such account.`

const LIST_HELP = `
Filters may be combined. Without --csv and --json a table of the first 100 is printed; with them all are, as they
come.

Exit codes: 0 done, 1 failed, 2 wrong usage or configuration.`

const STATISTICS_HELP = `
The hours of the last day, unless --from and --to say otherwise; 31 days at most. IN 10 S, IN 1 MIN and IN 10 MIN are the
shares of messages whose end was known so soon after it happened.

Exit codes: 0 done, 1 failed, 2 wrong usage or configuration, 3 no such account.`

const ACTS_HELP = `
Without --json a table of the latest 100 is printed; with it all are, as they come.

Exit codes: 0 done, 1 failed, 2 wrong usage or configuration.`

const ERASE_HELP = `
One message by account and ID, or with --recipient alone everything of that phone number: reports, changes,
callbacks, and what queues hold. Reports that come later are dropped.

Exit codes: 0 erased, 1 failed, 2 wrong usage or configuration, 3 there is no such message.`

const STATUS_HELP = `
Exit codes: 0 final, 1 failed, 2 wrong usage or configuration, 3 not tracked, 4 still outstanding.`

const CHANGES_HELP = `
Changes come in the order of their commits. With --json the last line of each page has a "cursor": give it to --after
once everything up to that line is handled, and nothing is missed. Ctrl-C ends --follow.

Exit codes: 0 done, 1 failed, or the cursor is older than what is kept, 2 wrong usage or configuration.`

const POLL_HELP = `
Exit codes: 0 it is being asked, 1 failed, or nothing is asked about it any more, 2 wrong usage or configuration,
3 not tracked, 5 due now, but something keeps the provider from being asked: the answer says what.`

/** Adds the commands; `stopped` resolves with the first signal that asks the process to end. */
export function addClientCommands(program: Command, stopped: () => Promise<unknown>): void {
  addMessageCommands(program, stopped)
  addOperationCommands(program)
}

function addMessageCommands(program: Command, stopped: () => Promise<unknown>): void {
  withService(program.command('track'))
    .description('hand over message IDs from arguments, a file or standard input')
    .argument('[ids...]', 'message IDs')
    .requiredOption('--account <name>', 'the account they were sent with')
    .option('--file <path>', 'read CSV or NDJSON; - is standard input')
    .addOption(new Option('--format <format>', 'by default NDJSON if it begins with {').choices(['csv', 'ndjson']))
    .option('--all-or-nothing', 'track nothing if anything is refused; up to 10,000 messages', false)
    .addHelpText('after', TRACK_HELP)
    .action(async (messageIds: string[], flags: TrackFlags) => {
      if (!(await runTrack(messageIds, flags))) process.exitCode = 1
    })

  withService(program.command('list'))
    .description('find messages, the latest sent first')
    .option('--account <name>', 'of this account')
    .option('--message-id <id>', 'with this ID, of whatever account')
    .option('--recipient <number>', 'to this phone number, in any form')
    .addOption(new Option('--status <status>', 'with this status').choices(STATUSES))
    .option('--outstanding', 'without a final status')
    .option('--no-outstanding', 'with a final status')
    .addOption(new Option('--settled-by <source>', 'whose final status came that way').choices(SOURCES))
    .option('--error <code>', 'that failed with this code of the provider')
    .option('--batch <id>', 'asked about in this batch of a job or of a query, now or within the last seven days')
    .option('--metadata <key=value>', 'whose metadata has this value; may be repeated', keyAndValue, {})
    .option('--sent-after <time>', 'sent at this time or later, as in 2026-01-31T10:00:00Z')
    .option('--sent-before <time>', 'sent before this time')
    .option('--limit <number>', 'no more than so many', atLeastOne)
    .addOption(new Option('--csv', 'print CSV with a header').conflicts('json').default(false))
    .addHelpText('after', LIST_HELP)
    .action(runList)

  withService(program.command('status'))
    .description('show what is known of a message')
    .argument('<account>')
    .argument('<id>', 'the message ID')
    .option('--recipient <number>', 'which one, where the ID covers several')
    .addHelpText('after', STATUS_HELP)
    .action(async (account: string, messageId: string, flags: MessageFlags) => {
      if (!(await runStatus(account, messageId, flags))) process.exitCode = OUTSTANDING
    })

  withService(program.command('changes'))
    .description('print the changes of statuses')
    .option('--follow', 'wait for further changes', false)
    .option('--after <cursor>', 'go on after this cursor; "latest" skips what there is; by default all that are kept')
    .addHelpText('after', CHANGES_HELP)
    .action(async (flags: ChangesFlags) => {
      const controller = new AbortController()
      if (flags.follow) void stopped().then(() => controller.abort())
      await runChanges(flags, controller.signal)
    })

  withService(program.command('poll'))
    .description('have the provider asked about a message now')
    .argument('<account>')
    .argument('<id>', 'the message ID')
    .option('--recipient <number>', 'which one, where the ID covers several')
    .addHelpText('after', POLL_HELP)
    .action(async (account: string, messageId: string, flags: MessageFlags) => {
      if (!(await runPoll(account, messageId, flags))) process.exitCode = BLOCKED
    })

  withService(program.command('erase'))
    .description('erase a message, or everything of a phone number')
    .argument('[account]')
    .argument('[id]', 'the message ID')
    .option('--recipient <number>', 'the phone number, or which one, where the ID covers several')
    .addHelpText('after', ERASE_HELP)
    .action(runErase)
}

function addOperationCommands(program: Command): void {
  withService(program.command('accounts'))
    .description('show how the accounts are doing at their providers')
    .action(runAccounts)

  withService(program.command('schedule'))
    .description('show when messages of an account are asked about, and why')
    .requiredOption('--account <name>', 'which account')
    .action(runSchedule)

  withService(program.command('statistics'))
    .description('show by the hour and by account how messages ended, and how old the outstanding ones are')
    .option('--account <name>', 'of this account')
    .option('--from <time>', 'hours that begin at this time or later, as in 2026-01-31T10:00:00Z')
    .option('--to <time>', 'hours that begin before this time')
    .addHelpText('after', STATISTICS_HELP)
    .action(runStatistics)

  withService(program.command('alerts'))
    .description('show what needs somebody, and what did within 30 days')
    .action(runAlerts)

  withService(program.command('acts'))
    .description('show who did what, the latest first')
    .option('--by <key>', 'of the key with this name; "unnamed key" and "no key" are names, too')
    .addOption(new Option('--kind <kind>', 'of this kind').choices(ACT_KINDS))
    .option('--after <time>', 'later than this time, as in 2026-01-31T10:00:00Z')
    .option('--limit <number>', 'no more than so many', atLeastOne)
    .addHelpText('after', ACTS_HELP)
    .action(runActs)

  withService(program.command('callbacks'))
    .description('list the callbacks that were not taken, or have them tried now')
    .argument('[changes...]', 'the changes they tell of; by default all', wholeNumbers)
    .option('--replay', 'have them tried now, and for another three days', false)
    .action((changes: number[] | undefined, flags: CallbacksFlags) => runCallbacks(changes ?? [], flags))
}

function keyAndValue(text: string, before: Record<string, string>): Record<string, string> {
  const [, key, value] = /^([^=]+)=(.*)$/s.exec(text) ?? []
  if (key === undefined || value === undefined)
    throw new InvalidArgumentError('Expected a key and a value, as in order=4711.')
  return { ...before, [key]: value }
}

function atLeastOne(text: string): number {
  if (!/^[1-9]\d*$/.test(text)) throw new InvalidArgumentError('Expected a whole number from 1 up.')
  return Number(text)
}

function wholeNumbers(text: string, before: number[] | undefined): number[] {
  if (!/^[1-9]\d*$/.test(text)) throw new InvalidArgumentError('Expected the number of a change.')
  return [...(before ?? []), Number(text)]
}

function withService(command: Command): Command {
  return command
    .option('--json', 'print JSON, a line for each thing', false)
    .option('--url <url>', 'where the service listens; else LASTWORD_URL, else by HOST and PORT')
    .option('--api-key <key>', 'else LASTWORD_API_KEY, else the first of API_KEYS or READ_KEYS')
}

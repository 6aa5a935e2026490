/**
 * seven.io's logbook of sent messages, the named replacement of the status query: by one ID, or by days and page.
 *
 * Source: https://docs.seven.io/en/rest-api/endpoints/journal. Days are days of Berlin, the last one included. How many
 * days the logbook covers without them is unconfirmed, so a question by ID carries them, too. It gives no reason for a
 * failure. The order of the rows is not documented; recordings have the newest first, so a message sent
 * between two pages moves rows to a later page, where they are read twice, and never to an earlier one.
 */
import { Temporal } from 'temporal-polyfill'
import { z } from 'zod'
import type { StatusReport } from '../../core/status.ts'
import type { AskedMessage, StatusAnswer, StatusLookup, WindowAnswer } from '../provider.ts'
import type { SevenAccount } from './account.ts'
import { getText, parseAnswer, readRows } from './answers.ts'
import {
  foreignIdSchema,
  idSchema,
  isMessageId,
  optionalTextSchema,
  readForeignId,
  readStatus,
  readTime,
  SEVEN_TIME_ZONE,
  statusSchema,
} from './reports.ts'

/** The most rows the logbook gives at once. */
const PAGE_SIZE = 100
const MAX_ID_CHARS = 3_700
const DAY_MS = 86_400_000
const LOOKUP_WINDOW_MS = 30 * DAY_MS
/** An app that does not say when it sent is taken to have sent when it tells us, which may be a while later. */
const SLACK_MS = 3_600_000

export function sevenLogbook(account: SevenAccount): StatusLookup {
  const open = (query: Record<string, string | number>) =>
    `/journal/outbound?${Object.entries(query)
      .map(([name, value]) => `${name}=${encodeURIComponent(value)}`)
      .join('&')}`

  return {
    name: 'logbook',
    byIds: {
      limits: { maxIds: 1, maxChars: MAX_ID_CHARS },
      async ask(http, asked, signal) {
        const messageIds = asked.map(({ messageId }) => messageId)
        const path = open({ id: messageIds.join(','), ...daysOf(asked, new Date()), limit: PAGE_SIZE })
        const text = await getText(http, account, path, signal)
        return parseLogbookEntry(account.name, messageIds, text, new Date())
      },
    },
    byWindow: {
      maxSpanMs: DAY_MS,
      slackMs: SLACK_MS,
      pageSize: PAGE_SIZE,
      async ask(http, { from, to, page }, signal) {
        const days = { date_from: dayInBerlin(from), date_to: dayInBerlin(to) }
        const path = open({ ...days, limit: PAGE_SIZE, offset: page * PAGE_SIZE })
        const text = await getText(http, account, path, signal)
        return parseLogbookPage(account.name, text, new Date())
      },
    },
  }
}

/** All the days in which the messages may stand: an app that does not say when it sent may have done so long ago. */
function daysOf(asked: readonly AskedMessage[], now: Date) {
  const sent = asked.map(({ sentAt }) => sentAt.getTime())
  return {
    date_from: dayInBerlin(new Date(Math.min(...sent.map((at) => at - DAY_MS), now.getTime() - LOOKUP_WINDOW_MS))),
    date_to: dayInBerlin(new Date(Math.max(...sent, now.getTime()))),
  }
}

function dayInBerlin(instant: Date): string {
  const local = Temporal.Instant.fromEpochMilliseconds(instant.getTime()).toZonedDateTimeISO(SEVEN_TIME_ZONE)
  return local.toPlainDate().toString()
}

const rowSchema = z.looseObject({
  id: idSchema.refine(isMessageId),
  dlr: statusSchema,
  dlr_timestamp: optionalTextSchema,
  foreign_id: foreignIdSchema,
})

/** Reads the answer about single IDs. Rows that nobody asked for are passed over. */
export function parseLogbookEntry(
  account: string,
  messageIds: readonly string[],
  text: string,
  receivedAt: Date,
): StatusAnswer {
  const asked = new Set(messageIds)
  const rows = readLogbookRows(text).rows.filter(({ id }) => asked.has(id))
  const found = new Set(rows.map(({ id }) => id))
  return {
    reports: reportsOf(account, rows, receivedAt),
    missing: [...asked].filter((id) => !found.has(id)),
  }
}

/** Reads one page of a window; a full page means that there may be another. */
export function parseLogbookPage(account: string, text: string, receivedAt: Date): WindowAnswer {
  const { rows, total } = readLogbookRows(text)
  const reports = reportsOf(account, rows, receivedAt)
  const reported = new Set(reports.map(({ messageId }) => messageId))
  const noStatusYet = new Set(rows.map(({ id }) => id).filter((id) => !reported.has(id)))
  return { reports, noStatusYet: [...noStatusYet], hasMore: total >= PAGE_SIZE }
}

function readLogbookRows(text: string) {
  return readRows(parseAnswer(text), rowSchema, '{id, dlr, dlr_timestamp}')
}

/** A report for each row whose message has one; the others have no delivery receipt yet. */
function reportsOf(account: string, rows: readonly z.infer<typeof rowSchema>[], receivedAt: Date): StatusReport[] {
  return rows.flatMap(({ id, dlr, dlr_timestamp, foreign_id }) => {
    if (!dlr) return []
    const occurredAt = readTime(dlr_timestamp) ?? receivedAt
    const details = readForeignId(foreign_id)
    return [{ account, messageId: id, ...readStatus(dlr), occurredAt, source: 'poll' as const, ...details }]
  })
}

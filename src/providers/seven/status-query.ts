/**
 * seven.io's status query: many IDs in one request, within 30 days of sending. Deprecated and still working; an answer
 * that says it is switched off becomes a ProviderError of the kind `gone`, so that the logbook is used from then on.
 *
 * Source: https://docs.seven.io/en/rest-api/endpoints/status. Unconfirmed: what an unknown ID does to a batch (a missing
 * row, a null row, an error for the whole request), and in which words the end of the interface will be announced.
 */
import { z } from 'zod'
import { ProviderError } from '../../core/errors.ts'
import type { StatusReport } from '../../core/status.ts'
import type { StatusAnswer, StatusLookup } from '../provider.ts'
import type { SevenAccount } from './account.ts'
import { getText, parseAnswer, readRows } from './answers.ts'
import { idSchema, optionalTextSchema, readStatus, readTime, statusSchema } from './reports.ts'

/** The most characters of IDs in one URL: the whole URL stays under 4,000. */
const MAX_ID_CHARS = 3_700

export function sevenStatusQuery(account: SevenAccount): StatusLookup {
  return {
    name: 'status',
    byIds: {
      limits: { maxIds: account.batchSize, maxChars: MAX_ID_CHARS },
      async ask(http, asked, signal) {
        const messageIds = asked.map(({ messageId }) => messageId)
        const path = `/status?msg_id=${messageIds.map(encodeURIComponent).join(',')}`
        const text = await getText(http, account, path, signal).catch(readNotice)
        return parseStatusAnswer(account.name, messageIds, text, new Date())
      },
    },
  }
}

const rowSchema = z.looseObject({ id: idSchema, status: statusSchema, status_time: optionalTextSchema })

/** Reads the answer to a status query. Rows that nobody asked for are passed over. */
export function parseStatusAnswer(
  account: string,
  messageIds: readonly string[],
  text: string,
  receivedAt: Date,
): StatusAnswer {
  const missing = new Set(messageIds)
  const reports: StatusReport[] = []
  for (const { id, status, status_time } of readStatusRows(text)) {
    if (!missing.delete(id) || !status) continue
    const occurredAt = readTime(status_time) ?? receivedAt
    reports.push({ account, messageId: id, ...readStatus(status), occurredAt, source: 'poll' })
  }
  return { reports, missing: [...missing] }
}

function readStatusRows(text: string): z.infer<typeof rowSchema>[] {
  try {
    return readRows(parseAnswer(text), rowSchema, '{id, status, status_time}').rows
  } catch (error) {
    const isUnclear = error instanceof ProviderError && error.kind === 'transient'
    if (!isUnclear || !saysGone(text)) throw error
    throw gone()
  }
}

/** An error whose text says that the interface has ended, and not a message, counts as that. */
function readNotice(error: unknown): never {
  const isClear = !(error instanceof ProviderError) || error.kind === 'account' || error.retryAfterMs !== undefined
  const text = isClear ? '' : (error.response?.text ?? '')
  throw /\b(endpoint|interface|api|service|version)\b/i.test(text) && saysGone(text) ? gone() : error
}

function gone(): ProviderError {
  return new ProviderError('gone', 'the provider answered that the status query is no longer available')
}

/** A notice is short; a longer text is a page about something else. */
const LONGEST_NOTICE = 1_000
const GONE = /\b(deprecated|removed|gone|retired|discontinued|decommissioned|sunset|switched off|no longer)\b/i
/** Words of an outage, which ends. */
const PASSING = /\b(temporar(y|ily)|maintenance|try again|retry)\b/i

/** True for an answer without rows that says the interface itself has ended. */
function saysGone(text: string): boolean {
  const isNotice = text.length <= LONGEST_NOTICE && !text.trimStart().startsWith('[')
  return isNotice && GONE.test(text) && !PASSING.test(text)
}

/** The filters of messages: the query of a list, the body that asks about all that match, and the cursor of a page. */
import { createHash } from 'node:crypto'
import { z } from 'zod'
import { LastwordError } from '../core/errors.ts'
import { SOURCES, STATUSES } from '../core/status.ts'
import type { ListFilter, ListPlace } from '../db/list.ts'
import { parseInput } from '../parse-input.ts'
import { isInternational, isNumberOf, normalizePhoneNumber } from '../providers/phone-number.ts'
import { providerOf } from '../providers/registry.ts'
import { named } from '../schema-names.ts'
import type { Accounts } from '../tracking.ts'

const LONGEST_KEY = 100
const LONGEST_VALUE = 1_000
const MOST_PAIRS = 5

/** Postgres cannot even compare a text with NUL in it. */
export const textSchema = z.string().refine((text) => !text.includes('\0'), 'expected no NUL characters')
const shortText = textSchema.max(LONGEST_VALUE)
export const recipientSchema = shortText.refine((text) => /\d/.test(text.normalize('NFKC')), 'expected a phone number')
const TIME_RULE = 'expected a time like 2026-01-31T10:00:00Z'
/** Within the years that Postgres and JSON both write in four digits. */
export const timeSchema = z.iso
  .datetime({ offset: true, error: TIME_RULE, abort: true })
  .refine((text) => /^(?!0000)\d{4}-/.test(new Date(text).toISOString()), TIME_RULE)

const cursorSchema = z
  .string()
  .regex(/^m-?[0-9]{1,15}\.[0-9]{1,15}\.[0-9a-f]{8}$/, 'expected the nextCursor of an earlier answer')
  .describe('The `nextCursor` of an earlier answer to the same query.')

const ROW_CURSOR_RULE = 'expected the "nextCursor" of an earlier answer'
/** The cursor of a list whose rows are in the order of their numbers: that of the last row. */
export const rowCursorSchema = z
  .string(ROW_CURSOR_RULE)
  .regex(/^[0-9]{1,15}$/, ROW_CURSOR_RULE)
  .transform(Number)
  .optional()
  .describe('The `nextCursor` of the page before.')

const criteria = {
  account: shortText.optional().describe('Only messages of this account.'),
  messageId: shortText.optional().describe('Only messages with this ID, of whatever account.'),
  recipient: recipientSchema.optional().describe('Only messages to this phone number, in any form.'),
  status: z.enum(STATUSES).optional().describe('Only messages with this status.'),
  settledBy: z
    .enum(SOURCES)
    .optional()
    .describe('Only messages whose final status came by a webhook, by a poll, or with the end of the window.'),
  error: shortText.optional().describe('Only messages that failed with this code of the provider.'),
  batch: z
    .uuid('expected the "batch" of a job or of a query')
    .optional()
    .describe('Only messages that are asked about in this batch, or were within the last seven days.'),
  sentAfter: timeSchema.optional().describe('Only messages sent at this time or later.'),
  sentBefore: timeSchema.optional().describe('Only messages sent before this time.'),
}

export const listQuerySchema = z.strictObject({
  ...criteria,
  outstanding: z
    .enum(['true', 'false'])
    .optional()
    .describe('`true`: only messages without a final status. `false`: only those with one.'),
  limit: z.coerce.number().int().min(1).max(1000).default(100).describe('The most messages of a page.'),
  cursor: cursorSchema.optional(),
})

export const countQuerySchema = listQuerySchema.omit({ limit: true, cursor: true })

const scalarSchema = z
  .union([z.string(), z.number(), z.boolean()], { error: 'expected one text, number or boolean' })
  .transform(String)
  .pipe(shortText)
const metadataSchema = z
  .record(textSchema, scalarSchema)
  .refine(
    (pairs) => Object.keys(pairs).every((key) => key.length <= LONGEST_KEY),
    `expected keys of at most ${LONGEST_KEY} characters`,
  )
  .refine((pairs) => Object.keys(pairs).length <= MOST_PAIRS, `expected at most ${MOST_PAIRS} keys`)

export const filterSchema = named(
  'MessageFilter',
  z
    .strictObject({
      ...criteria,
      metadata: metadataSchema.optional().describe('Only messages whose metadata has these values under these keys.'),
      cursor: cursorSchema.optional(),
    })
    .meta({ description: 'Which messages.', examples: [{ account: 'seven', metadata: { campaign: 'spring' } }] }),
)

interface ListRequest {
  filter: ListFilter
  after: ListPlace | undefined
  cursorOf(place: ListPlace): string
}

/** The filter in a body. Throws INPUT_INVALID. */
export function readFilter(accounts: Accounts, body: unknown): ListRequest {
  const { cursor, ...given } = parseInput(filterSchema, body ?? {}, 'body')
  return { filter: toFilter(accounts, given), ...cursorsOf(given, cursor) }
}

const METADATA = 'metadata.'

/** A list's query, where a key of the metadata is asked for by `metadata.KEY=VALUE`. Throws INPUT_INVALID. */
export function readListQuery(accounts: Accounts, query: unknown): ListRequest & { limit: number } {
  const given = Object.entries(query as Record<string, unknown>)
  const pairs = given.filter(([name]) => name.startsWith(METADATA))
  const others = given.filter(([name]) => !name.startsWith(METADATA))
  const parsed = parseInput(listQuerySchema, Object.fromEntries(others), 'query')
  const { cursor, limit, outstanding, ...rest } = parsed
  const named = pairs.map(([name, value]) => [name.slice(METADATA.length), value])
  const { metadata } = parseInput(
    z.object({ metadata: metadataSchema }),
    { metadata: Object.fromEntries(named) },
    'query',
  )
  const filter = {
    ...toFilter(accounts, { ...rest, ...(named.length > 0 ? { metadata } : {}) }),
    outstanding: outstanding === undefined ? undefined : outstanding === 'true',
  }
  return { filter, limit, ...cursorsOf({ ...rest, outstanding, metadata }, cursor) }
}

/** The filter of a count, asked for like a list. Throws INPUT_INVALID. */
export function readCountQuery(accounts: Accounts, query: unknown): ListFilter {
  const others = Object.entries(query as Record<string, unknown>).filter(([name]) => !name.startsWith(METADATA))
  parseInput(countQuerySchema, Object.fromEntries(others), 'query')
  return readListQuery(accounts, query).filter
}

type Criteria = Omit<z.output<typeof filterSchema>, 'cursor'>

function toFilter(
  accounts: Accounts,
  { messageId, recipient, sentAfter, sentBefore, ...rest }: Criteria,
): Omit<ListFilter, 'outstanding'> {
  return {
    ...rest,
    ...(messageId === undefined ? {} : { messageIds: formsOfId(accounts, messageId) }),
    ...(recipient === undefined ? {} : { numbers: numbersOf(accounts, recipient) }),
    ...rangeOf(sentAfter, sentBefore),
  }
}

function rangeOf(sentAfter: string | undefined, sentBefore: string | undefined) {
  const range = {
    ...(sentAfter === undefined ? {} : { sentAfter: new Date(sentAfter) }),
    ...(sentBefore === undefined ? {} : { sentBefore: new Date(sentBefore) }),
  }
  if (!range.sentAfter || !range.sentBefore || range.sentAfter < range.sentBefore) return range
  throw invalid('sentBefore', 'expected a time after sentAfter')
}

function invalid(path: string, message: string): LastwordError {
  return new LastwordError('INPUT_INVALID', `The query is not valid. ${path}: ${message}.`, {
    issues: [{ path, message }],
  })
}

/** Every normal form that the ID has at some provider, and the ID as it is. */
function formsOfId(accounts: Accounts, messageId: string): string[] {
  const forms = [...accounts.values()].map((account) => providerOf(account).normalizeMessageId(messageId))
  return [...new Set([messageId, ...forms.filter((form) => form !== undefined)])]
}

/** Every normal form that the number has in some account: in its country, `0612345678` is a number, too. */
export function numbersOf(accounts: Accounts, recipient: string): string[] {
  const forms = [...accounts.values()].map((account) =>
    providerOf(account).normalizeRecipient(recipient, account.defaultCountry),
  )
  return [...new Set([normalizePhoneNumber(recipient), ...forms])]
}

/** Whether a number is one of several countries, by its digits alone and in the countries of accounts. */
export function isOfSeveralCountries(accounts: Accounts, recipient: string): boolean {
  const forms = [...accounts.values()].flatMap(({ defaultCountry }) =>
    defaultCountry && isNumberOf(defaultCountry, recipient) ? [normalizePhoneNumber(recipient, defaultCountry)] : [],
  )
  return new Set([...forms, ...(isInternational(recipient) ? [normalizePhoneNumber(recipient)] : [])]).size > 1
}

/** A cursor carries a digest of its query, because a place in one list is none in another. */
function cursorsOf(query: object, cursor: string | undefined): Omit<ListRequest, 'filter'> {
  const sorted = Object.entries(query).sort(([a], [b]) => (a < b ? -1 : 1))
  const digest = createHash('sha256').update(JSON.stringify(sorted)).digest('hex').slice(0, 8)
  return {
    after: cursor === undefined ? undefined : readCursor(cursor, digest),
    cursorOf: ({ sentAt, id }) => `m${sentAt.getTime()}.${id}.${digest}`,
  }
}

function readCursor(cursor: string, digest: string): ListPlace {
  const [ms, id, ofQuery] = cursor.slice(1).split('.')
  if (ofQuery === digest) return { sentAt: new Date(Number(ms)), id: Number(id) }
  throw invalid('cursor', 'expected the nextCursor of an answer to the same query, found that of another')
}

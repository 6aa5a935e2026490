/** The filters of the messages page, as queries and bodies of the API. */
import type { MessagePage } from '../../client/answers.ts'
import { filledIn, inUtc, type Texts } from './page-context.tsx'

/** Messages that were found in one way. */
export interface Found {
  /** The way, in words; undefined for a list by filters alone. */
  by: string | undefined
  page: MessagePage
  /** The query of the list, to go on with. */
  query: Texts
}

/** The names of the filters, in the order of the form. */
export const FILTERS = [
  'account',
  'status',
  'outstanding',
  'settledBy',
  'error',
  'metadata',
  'sentAfter',
  'sentBefore',
  'messageId',
  'recipient',
  'batch',
]
const MESSAGES_A_PAGE = 50

/** How a text in the search box may be meant: each is a query of the list, and what it looks for in words. */
export function readingsOf(text: string): { by: string; query: Texts }[] {
  const pair = /^\s*([^=\s][^=]*?)\s*=\s*(.*?)\s*$/s.exec(text)
  const isNumber = /\d/.test(text) && /^[+\d\s()./-]{4,}$/.test(text.trim())
  return [
    { by: 'With this ID', query: { messageId: text.trim() } },
    ...(isNumber ? [{ by: 'To this number', query: { recipient: text.trim() } }] : []),
    ...(pair ? [{ by: `With ${pair[1]} = ${pair[2]}`, query: { metadata: `${pair[1]}=${pair[2]}` } }] : []),
  ]
}

/** The mistake in a filter that only the page has, if there is one. */
export function mistakeIn({ metadata }: Texts): string | undefined {
  if (!metadata || /^\s*[^=\s]/.test(metadata.split('=')[0] ?? '') === metadata.includes('=')) return undefined
  return `Metadata: expected key=value, like order=4711, found "${metadata}".`
}

/** The query of `GET /v1/messages` that the page's filters mean. */
export function listQueryOf(given: Texts): Record<string, string> {
  return {
    ...countQueryOf(given),
    ...(given.cursor ? { cursor: given.cursor } : {}),
    limit: String(MESSAGES_A_PAGE),
  }
}

/** The same for `GET /v1/messages/count`. */
export function countQueryOf(given: Texts): Record<string, string> {
  const { metadata, ...query } = criteriaOf(given)
  const pairs = Object.entries(metadata ?? {}).map(([key, value]) => [`metadata.${key}`, value])
  return { ...query, ...Object.fromEntries(pairs) }
}

/** The body of `POST /v1/messages/poll` that asks about all of them. */
export function pollBodyOf(given: Texts): object {
  const { outstanding: _all, ...criteria } = criteriaOf(given)
  return criteria
}

interface Criteria extends Record<string, unknown> {
  outstanding?: string
  metadata?: Record<string, string>
}

function criteriaOf(given: Texts): Criteria & Record<string, string> {
  const filled = Object.entries(filledIn(given)).filter(([name]) => FILTERS.includes(name))
  const { metadata, sentAfter, sentBefore, ...rest } = Object.fromEntries(filled)
  const [key = '', ...value] = metadata?.split('=') ?? []
  return {
    ...rest,
    ...(metadata === undefined ? {} : { metadata: { [key.trim()]: value.join('=').trim() } }),
    ...(sentAfter === undefined ? {} : { sentAfter: inUtc(sentAfter) }),
    ...(sentBefore === undefined ? {} : { sentBefore: inUtc(sentBefore) }),
  } as Criteria & Record<string, string>
}

/** The common ground of the pages' routes: how a page is sent, and how queries and forms are read. */
import type { FastifyReply, FastifyRequest } from 'fastify'
import type { JSX } from 'preact'
import type { AccountHealth } from '../../client/answers.ts'
import { storable } from '../../db/client.ts'
import { needApi } from './ask-api.ts'
import { documentOf, type View } from './frame.tsx'
import { plural } from './words.tsx'

export interface PageContext {
  prefix: string
  now(): number
  viewOf(request: FastifyRequest): View
}

/** The fields of a query or a form; what is left empty may be an empty text. */
export type Texts = Readonly<Record<string, string | undefined>>

export function sendPage(reply: FastifyReply, status: number, page: JSX.Element): FastifyReply {
  return reply.code(status).type('text/html; charset=utf-8').header('cache-control', 'no-store').send(documentOf(page))
}

/** The texts of a query or a form; of one that is given more than once, the last. A form sent as JSON may hold others. */
export function textsOf(given: unknown): Record<string, string | undefined> {
  const entries = Object.entries(given ?? {}).flatMap(([name, value]) => {
    const last: unknown = Array.isArray(value) ? value.at(-1) : value
    return typeof last === 'string' ? [[name, storable(last)] as const] : []
  })
  return Object.fromEntries(entries)
}

/** The fields that were filled in. */
export function filledIn(texts: Texts): Record<string, string> {
  return Object.fromEntries(Object.entries(texts).flatMap(([name, value]) => (value ? [[name, value]] : [])))
}

/** A time of a form, which has no zone and is taken for UTC; another text stays as it is, for the API to refuse. */
export function inUtc(text: string): string {
  const [, minutes, seconds = ':00'] = /^(\d{4}-\d\d-\d\dT\d\d:\d\d)(:\d\d)?$/.exec(text) ?? []
  return minutes === undefined ? text : `${minutes}${seconds}Z`
}

export async function accountNames(request: FastifyRequest): Promise<string[]> {
  const { accounts } = await needApi<{ accounts: AccountHealth[] }>(request, { path: '/v1/accounts' })
  return accounts.map(({ account }) => account)
}

/** The sentence on what a form has done; its page is told by the query, so that loading it anew does nothing twice. */
export function noticeOf({ notice, count }: Texts): string | undefined {
  const many = /^\d{1,15}$/.test(count ?? '') ? Number(count) : 1
  switch (notice) {
    case 'asked':
      return count === undefined
        ? 'The message is asked about next.'
        : `${plural(many, 'message is', 'messages are')} asked about next.`
    case 'erased':
      return `${plural(many, 'message is', 'messages are')} erased.`
    case 'replayed':
      return `${plural(many, 'callback is', 'callbacks are')} due again.`
    default:
      return undefined
  }
}

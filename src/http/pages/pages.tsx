/**
 * The pages for people, at `/` and below. Each has a URL of its own, is whole without a script, and loads nothing from
 * elsewhere. The script in `assets/live.js` only exchanges a page's content for what the same URL answers later.
 */
import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify'
import type { JSX } from 'preact'
import type { AccountHealth, Message, MessageWithReports, MessagePage as Page, Schedule } from '../../client/answers.ts'
import { grantIncludes } from '../../config/keys.ts'
import { describeError } from '../errors.ts'
import { AccountPage } from './account.tsx'
import { type ActPage, ActsPage } from './acts.tsx'
import { type Alert, AlertsPage } from './alerts.tsx'
import { askApi, needApi, PageProblem } from './ask-api.ts'
import { registerAssets } from './assets.ts'
import { type CallbackPage, CallbacksPage } from './callbacks.tsx'
import type { Counted } from './counted.ts'
import { documentOf, Frame, messagePath, type Problem, type View } from './frame.tsx'
import { type LiveOptions, registerLive } from './live.ts'
import { MessagePage } from './message.tsx'
import { type Found, listQueryOf, MessagesPage, type MessagesQuery, readingsOf } from './messages.tsx'
import { OverviewPage } from './overview.tsx'
import { RecipientsPage } from './recipients.tsx'
import { plural } from './words.tsx'

export interface PagesOptions extends LiveOptions {
  prefix: string
  /** By the clock that all processes agree on, in milliseconds since 1970. */
  now(): number
}

interface MessageParams {
  account: string
  messageId: string
}

export async function registerPages(server: FastifyInstance, { prefix, now, nextChange }: PagesOptions): Promise<void> {
  const viewOf = ({ key }: FastifyRequest): View => ({
    prefix,
    mayChange: key === null || grantIncludes(key.grants, 'change'),
    now: now(),
  })
  server.addContentTypeParser('application/x-www-form-urlencoded', { parseAs: 'string' }, (_request, body, done) =>
    done(null, Object.fromEntries(new URLSearchParams(String(body)))),
  )
  server.setErrorHandler((error, request, reply) => {
    const problem = error instanceof PageProblem ? error.problem : describeError(error, request)
    const { pathname } = new URL(request.url, 'http://here')
    return sendPage(
      reply,
      problem.status,
      <Frame view={viewOf(request)} title={problem.title} path={pathname} problem={problem} />,
    )
  })
  registerAssets(server)
  registerLive(server, { nextChange })

  server.get('/', async (request, reply) => {
    const { accounts } = await needApi<{ accounts: AccountHealth[] }>(request, { path: '/v1/accounts' })
    const counted = await needApi<Counted>(request, { path: '/v1/statistics' })
    const { alerts } = await needApi<{ alerts: Alert[] }>(request, { path: '/v1/alerts' })
    const current = alerts.filter(({ until }) => until === null)
    const props = { view: viewOf(request), accounts, counted, alerts: current }
    return sendPage(reply, 200, <OverviewPage {...props} />)
  })

  server.get('/messages', async (request, reply) => showMessages(request, reply, textsOf(request.query)))

  server.get<{ Params: MessageParams }>('/messages/:account/:messageId', async (request, reply) =>
    showMessage(request, reply),
  )

  server.post<{ Params: MessageParams }>('/messages/:account/:messageId/poll', async (request, reply) => {
    const { recipient } = textsOf(request.query)
    const answer = await askApi(request, {
      method: 'POST',
      path: `${apiPathOf(request.params)}/poll`,
      query: { recipient },
    })
    return answer.ok ? backTo(request, reply, 'asked') : showMessage(request, reply, answer.problem)
  })

  server.post<{ Params: MessageParams }>('/messages/:account/:messageId/erase', async (request, reply) => {
    const { recipient } = textsOf(request.query)
    const answer = await askApi(request, { method: 'DELETE', path: apiPathOf(request.params), query: { recipient } })
    if (!answer.ok) return showMessage(request, reply, answer.problem)
    return reply.redirect(`${prefix}/messages?notice=erased`, 303)
  })

  server.post('/messages/erase', async (request, reply) => {
    const { recipient } = textsOf(request.body)
    if (!recipient) {
      const detail = 'Expected a phone number in the field "recipient", found none.'
      return showMessages(request, reply, {}, { status: 400, title: 'Invalid request', detail })
    }
    const path = `/v1/recipients/${encodeURIComponent(recipient)}`
    const answer = await askApi<{ erased: number }>(request, { method: 'DELETE', path })
    if (!answer.ok) return showMessages(request, reply, { recipient }, answer.problem)
    return reply.redirect(`${prefix}/messages?notice=erased&count=${answer.body.erased}`, 303)
  })

  server.get<{ Params: { account: string } }>('/accounts/:account', async (request, reply) => {
    const { account: name } = request.params
    const schedule = await needApi<Schedule>(request, { path: `/v1/accounts/${encodeURIComponent(name)}/schedule` })
    const { accounts } = await needApi<{ accounts: AccountHealth[] }>(request, { path: '/v1/accounts' })
    const account = accounts.find((one) => one.account === schedule.account)
    if (!account) throw new PageProblem({ status: 404, title: 'Not found', detail: 'No such account is configured.' })
    const counted = await needApi<Counted>(request, { path: '/v1/statistics', query: { account: account.account } })
    const { alerts } = await needApi<{ alerts: Alert[] }>(request, { path: '/v1/alerts' })
    const own = alerts.filter(({ subject }) => subject === account.account)
    const props = { view: viewOf(request), account, schedule, counted, alerts: own }
    return sendPage(reply, 200, <AccountPage {...props} />)
  })

  server.get('/alerts', async (request, reply) => {
    const { alerts } = await needApi<{ alerts: Alert[] }>(request, { path: '/v1/alerts' })
    return sendPage(reply, 200, <AlertsPage view={viewOf(request)} alerts={alerts} />)
  })

  server.get('/acts', async (request, reply) => {
    const given = textsOf(request.query)
    const answer = await askApi<ActPage>(request, { path: '/v1/acts', query: given })
    const page = answer.ok ? answer.body : { acts: [], nextCursor: null }
    const problem = answer.ok ? undefined : answer.problem
    return sendPage(reply, problem?.status ?? 200, <ActsPage view={viewOf(request)} page={page} problem={problem} />)
  })

  server.get('/callbacks', async (request, reply) => showCallbacks(request, reply))

  server.post('/callbacks/replay', async (request, reply) => {
    const { change } = textsOf(request.body)
    const body = change === undefined ? {} : { changes: [Number(change)] }
    const answer = await askApi<{ replayed: number }>(request, { method: 'POST', path: '/v1/callbacks/replay', body })
    if (!answer.ok) return showCallbacks(request, reply, answer.problem)
    return reply.redirect(`${prefix}/callbacks?notice=replayed&count=${answer.body.replayed}`, 303)
  })

  async function showMessages(
    request: FastifyRequest,
    reply: FastifyReply,
    given: MessagesQuery,
    refused?: Problem,
  ): Promise<FastifyReply> {
    const { accounts } = await needApi<{ accounts: AccountHealth[] }>(request, { path: '/v1/accounts' })
    const readings = given.q ? readingsOf(given.q) : [{ by: undefined, query: {} }]
    const found: Found[] = []
    const refusals: Problem[] = []
    for (const { by, query: reading } of readings) {
      const query = { ...given, ...reading, q: undefined, notice: undefined, count: undefined, confirm: undefined }
      const answer = await askApi<Page>(request, { path: '/v1/messages', query: listQueryOf(query, now()) })
      if (answer.ok) found.push({ by, page: answer.body, query })
      else refusals.push(answer.problem)
    }
    // A text that cannot be a number may still be an ID.
    const problem = refused ?? (found.length === 0 ? refusals[0] : undefined)
    const only = given.q ? onlyOne(found) : undefined
    if (only) return reply.redirect(prefix + messagePath(only.account, only.messageId, only.recipient), 302)
    const names = accounts.map(({ account }) => account)
    const props = { view: viewOf(request), given, accounts: names, found, problem, notice: noticeOf(given) }
    return sendPage(reply, problem?.status ?? 200, <MessagesPage {...props} />)
  }

  async function showMessage(
    request: FastifyRequest<{ Params: MessageParams }>,
    reply: FastifyReply,
    problem?: Problem,
  ): Promise<FastifyReply> {
    const { recipient, confirm, ...given } = textsOf(request.query)
    const path = apiPathOf(request.params)
    const answer = await askApi<MessageWithReports>(request, { path, query: { recipient } })
    const view = viewOf(request)
    if (answer.ok) {
      const props = { view, message: answer.body, isErasing: confirm === 'erase', problem, notice: noticeOf(given) }
      return sendPage(reply, problem?.status ?? 200, <MessagePage {...props} />)
    }
    const { recipients } = (answer.body ?? {}) as { recipients?: string[] }
    if (!recipients) throw new PageProblem(answer.problem)
    return sendPage(reply, 200, <RecipientsPage view={view} {...request.params} recipients={recipients} />)
  }

  async function showCallbacks(request: FastifyRequest, reply: FastifyReply, refused?: Problem): Promise<FastifyReply> {
    const { cursor, ...given } = textsOf(request.query)
    const answer = await askApi<CallbackPage>(request, { path: '/v1/callbacks', query: { cursor } })
    const page = answer.ok ? answer.body : { callbacks: [], nextCursor: null }
    const problem = refused ?? (answer.ok ? undefined : answer.problem)
    const props = { view: viewOf(request), page, problem, notice: noticeOf(given) }
    return sendPage(reply, problem?.status ?? 200, <CallbacksPage {...props} />)
  }

  /** The page of the message that a form has acted on. */
  function backTo(
    request: FastifyRequest<{ Params: MessageParams }>,
    reply: FastifyReply,
    notice: string,
  ): FastifyReply {
    const { account, messageId } = request.params
    const { recipient } = textsOf(request.query)
    const query = new URLSearchParams({ ...(recipient ? { recipient } : {}), notice })
    return reply.redirect(`${prefix}${messagePath(account, messageId)}?${query}`, 303)
  }
}

function sendPage(reply: FastifyReply, status: number, page: JSX.Element): FastifyReply {
  return reply.code(status).type('text/html; charset=utf-8').header('cache-control', 'no-store').send(documentOf(page))
}

/** The one message that was found, if there is no other. */
function onlyOne(found: readonly Found[]): Message | undefined {
  const messages = found.flatMap(({ page }) => page.messages)
  return messages.length === 1 && found.every(({ page }) => page.nextCursor === null) ? messages[0] : undefined
}

function apiPathOf({ account, messageId }: MessageParams): string {
  return `/v1/messages/${encodeURIComponent(account)}/${encodeURIComponent(messageId)}`
}

/** Of a parameter that is given more than once, the last. */
function textsOf(given: unknown): Record<string, string | undefined> {
  const entries = Object.entries((given ?? {}) as Record<string, string | string[]>)
  return Object.fromEntries(entries.map(([name, value]) => [name, Array.isArray(value) ? value.at(-1) : value]))
}

/** The sentence on what a form has done; its page is told by the query, so that loading it anew does nothing twice. */
function noticeOf({ notice, count }: MessagesQuery): string | undefined {
  const many = /^\d{1,15}$/.test(count ?? '') ? Number(count) : 1
  switch (notice) {
    case 'asked':
      return 'The message is asked about next.'
    case 'erased':
      return `${plural(many, 'message is', 'messages are')} erased.`
    case 'replayed':
      return `${plural(many, 'callback is', 'callbacks are')} due again.`
    default:
      return undefined
  }
}

/** The pages of messages: finding them, looking at one, and acting on one or on many. */
import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify'
import type { Message, MessageWithReports, MessagePage as Page } from '../../client/answers.ts'
import { askApi, PageProblem } from './ask-api.ts'
import { messagePath, type Problem } from './frame.tsx'
import { MessagePage } from './message.tsx'
import { MessagesPage } from './messages.tsx'
import type { MessageCount } from './messages-acts.tsx'
import { countQueryOf, FILTERS, type Found, listQueryOf, mistakeIn, pollBodyOf, readingsOf } from './messages-query.ts'
import { accountNames, filledIn, noticeOf, type PageContext, sendPage, type Texts, textsOf } from './page-context.tsx'
import { RecipientsPage } from './recipients.tsx'

interface MessageParams {
  account: string
  messageId: string
}

/** A form waits no longer for its messages to be asked about, and can be sent on. */
const ASKING_MS = 20_000

export function registerMessagePages(server: FastifyInstance, { prefix, viewOf }: PageContext): void {
  server.get('/messages', async (request, reply) => showMessages(request, reply, textsOf(request.query)))

  server.post('/messages/poll', async (request, reply) => {
    const { from, ...given } = filledIn(textsOf(request.body))
    const mistake = mistakeIn(given)
    if (mistake) return showMessages(request, reply, given, invalid(mistake))
    const until = performance.now() + ASKING_MS
    let asked = 0
    let cursor = from
    do {
      const body = { ...pollBodyOf(given), ...(cursor ? { cursor } : {}) }
      const answer = await askApi<{ polled: number; nextCursor: string | null }>(request, {
        method: 'POST',
        path: '/v1/messages/poll',
        body,
      })
      if (!answer.ok) return showMessages(request, reply, given, answer.problem)
      asked += answer.body.polled
      cursor = answer.body.nextCursor ?? undefined
    } while (cursor && performance.now() < until)
    const goesOn = cursor ? { confirm: 'poll', from: cursor } : {}
    const query = new URLSearchParams({ ...given, ...goesOn, notice: 'asked', count: String(asked) })
    return reply.redirect(`${prefix}/messages?${query}`, 303)
  })

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
      return showMessages(request, reply, {}, invalid(detail))
    }
    const path = `/v1/recipients/${encodeURIComponent(recipient)}`
    const answer = await askApi<{ erased: number }>(request, { method: 'DELETE', path })
    if (!answer.ok) return showMessages(request, reply, { recipient }, answer.problem)
    return reply.redirect(`${prefix}/messages?notice=erased&count=${answer.body.erased}`, 303)
  })

  async function showMessages(
    request: FastifyRequest,
    reply: FastifyReply,
    given: Texts,
    refused?: Problem,
  ): Promise<FastifyReply> {
    const { q, ...filters } = given
    const readings = q ? readingsOf(q) : [{ by: undefined, query: {} }]
    const found: Found[] = []
    const refusals: Problem[] = []
    for (const { by, query: reading } of readings) {
      const named = Object.entries(filters).filter(([name]) => FILTERS.includes(name) || name === 'cursor')
      const query = { ...Object.fromEntries(named), ...reading }
      const answer = await askApi<Page>(request, { path: '/v1/messages', query: listQueryOf(query) })
      if (answer.ok) found.push({ by, page: answer.body, query })
      else refusals.push(answer.problem)
    }
    // A text that cannot be a number may still be an ID.
    const mistake = mistakeIn(filters)
    const problem = refused ?? (mistake ? invalid(mistake) : found.length === 0 ? refusals[0] : undefined)
    const only = q ? onlyOne(found) : undefined
    if (only) return reply.redirect(prefix + messagePath(only.account, only.messageId, only.recipient), 302)
    const outstanding = given.confirm === 'poll' && !problem ? await countOutstanding(request, filters) : undefined
    const accounts = await accountNames(request)
    const props = { view: viewOf(request), given, accounts, found, outstanding, problem, notice: noticeOf(given) }
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
    const { recipients } = (answer.body ?? {}) as { recipients?: (string | null)[] }
    if (!recipients) throw new PageProblem(answer.problem)
    return sendPage(reply, 200, <RecipientsPage view={view} {...request.params} recipients={recipients} />)
  }

  async function countOutstanding(request: FastifyRequest, given: Texts): Promise<MessageCount | undefined> {
    const query = { ...countQueryOf(given), outstanding: 'true' }
    const answer = await askApi<MessageCount>(request, { path: '/v1/messages/count', query })
    return answer.ok ? answer.body : undefined
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

/** The one message that was found, if there is no other. */
function onlyOne(found: readonly Found[]): Message | undefined {
  const messages = found.flatMap(({ page }) => page.messages)
  return messages.length === 1 && found.every(({ page }) => page.nextCursor === null) ? messages[0] : undefined
}

function apiPathOf({ account, messageId }: MessageParams): string {
  return `/v1/messages/${encodeURIComponent(account)}/${encodeURIComponent(messageId)}`
}

function invalid(detail: string): Problem {
  return { status: 400, title: 'Invalid request', detail }
}

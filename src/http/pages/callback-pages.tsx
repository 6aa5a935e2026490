/** The pages of callbacks: those that were not taken, and trying some of them again. */
import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify'
import { askApi, needApi } from './ask-api.ts'
import type { Reason } from './callback-reasons.tsx'
import { CALLBACK_FILTERS, type CallbackPage, CallbacksPage } from './callbacks.tsx'
import type { Problem } from './frame.tsx'
import {
  accountNames,
  filledIn,
  inUtc,
  noticeOf,
  type PageContext,
  sendPage,
  type Texts,
  textsOf,
} from './page-context.tsx'

export function registerCallbackPages(server: FastifyInstance, { prefix, viewOf }: PageContext): void {
  server.get('/callbacks', async (request, reply) => showCallbacks(request, reply, textsOf(request.query)))

  server.post('/callbacks/replay', async (request, reply) => {
    const { change, ...given } = filledIn(textsOf(request.body))
    const body = change === undefined ? filterOf(given) : { changes: [Number(change)] }
    const answer = await askApi<{ replayed: number }>(request, { method: 'POST', path: '/v1/callbacks/replay', body })
    if (!answer.ok) return showCallbacks(request, reply, given, answer.problem)
    const query = new URLSearchParams({ ...given, notice: 'replayed', count: String(answer.body.replayed) })
    return reply.redirect(`${prefix}/callbacks?${query}`, 303)
  })

  async function showCallbacks(
    request: FastifyRequest,
    reply: FastifyReply,
    given: Texts,
    refused?: Problem,
  ): Promise<FastifyReply> {
    const filter = filterOf(given)
    const query = { ...filter, ...(given.cursor ? { cursor: given.cursor } : {}) }
    const answer = await askApi<CallbackPage>(request, { path: '/v1/callbacks', query })
    const page = answer.ok ? answer.body : { callbacks: [], nextCursor: null }
    const problem = refused ?? (answer.ok ? undefined : answer.problem)
    const isAsked = given.confirm === 'replay' && !problem
    const counted = isAsked
      ? await askApi<{ callbacks: number }>(request, { path: '/v1/callbacks/count', query: filter })
      : undefined
    const count = counted?.ok ? counted.body.callbacks : undefined
    const { reasons } = await needApi<{ reasons: Reason[] }>(request, { path: '/v1/callbacks/summary' })
    const accounts = await accountNames(request)
    const props = { view: viewOf(request), given, accounts, reasons, page, count, problem, notice: noticeOf(given) }
    return sendPage(reply, problem?.status ?? 200, <CallbacksPage {...props} />)
  }
}

/** The filters as the API takes them. */
function filterOf(given: Texts): Record<string, string> {
  const filled = Object.entries(filledIn(given)).filter(([name]) => CALLBACK_FILTERS.includes(name))
  return Object.fromEntries(filled.map(([name, value]) => [name, name.startsWith('due') ? inUtc(value) : value]))
}

/**
 * The pages for people, at `/` and below. Each has a URL of its own, is whole without a script, and loads nothing from
 * elsewhere. The script in `assets/live.js` only exchanges a page's content for what the same URL answers later.
 */
import type { FastifyInstance, FastifyRequest } from 'fastify'
import type { AccountHealth, ActPage, Alert, Statistics as Counted, Schedule } from '../../client/answers.ts'
import { grantIncludes } from '../../config/keys.ts'
import { describeError } from '../errors.ts'
import { AccountPage } from './account.tsx'
import { ActsPage } from './acts.tsx'
import { AlertsPage } from './alerts.tsx'
import { askApi, needApi, PageProblem } from './ask-api.ts'
import { registerAssets } from './assets.ts'
import { registerCallbackPages } from './callback-pages.tsx'
import { Frame, type View } from './frame.tsx'
import { type LiveOptions, registerLive } from './live.ts'
import { registerMessagePages } from './message-pages.tsx'
import { OverviewPage } from './overview.tsx'
import { sendPage, textsOf } from './page-context.tsx'

export interface PagesOptions extends LiveOptions {
  prefix: string
  /** By the clock that all processes agree on, in milliseconds since 1970. */
  now(): number
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
  registerMessagePages(server, { prefix, now, viewOf })
  registerCallbackPages(server, { prefix, now, viewOf })

  server.get('/', async (request, reply) => {
    const { accounts } = await needApi<{ accounts: AccountHealth[] }>(request, { path: '/v1/accounts' })
    const counted = await needApi<Counted>(request, { path: '/v1/statistics' })
    const { alerts } = await needApi<{ alerts: Alert[] }>(request, { path: '/v1/alerts' })
    const current = alerts.filter(({ until }) => until === null)
    const props = { view: viewOf(request), accounts, counted, alerts: current }
    return sendPage(reply, 200, <OverviewPage {...props} />)
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
}

/** One account: how it does at its provider, the way its receipts take, and when its messages are asked about. */
import type { JSX } from 'preact'
import type { AccountHealth, Alert, Statistics as Counted, Schedule } from '../../client/answers.ts'
import { EDGES } from '../../core/ages.ts'
import { PRIOR_CURVE, shareBy } from '../../core/curve.ts'
import { CurrentAlerts, EndedAlerts } from './alerts.tsx'
import { Curves, Legend } from './chart.tsx'
import { accountPath, Frame, type View } from './frame.tsx'
import { countOf, durationOf, percentOf, plural, Time } from './words.tsx'

export interface AccountProps {
  view: View
  account: AccountHealth
  schedule: Schedule
  /** Of the last 24 hours. */
  counted: Counted
  /** The alerts about this account, also such as are over. */
  alerts: readonly Alert[]
}

export function AccountPage({ view, account, schedule, counted, alerts }: AccountProps): JSX.Element {
  const { account: name, provider } = account
  return (
    <Frame view={view} title={name} path={accountPath(name)}>
      <h1>
        {name} <span class="dim">at {provider}</span>
      </h1>
      <CurrentAlerts alerts={alerts.filter(({ until }) => until === null)} view={view} />
      <p>
        <a href={`${view.prefix}/messages?account=${encodeURIComponent(name)}`}>Its messages</a>
        {' · '}
        <a href={`${view.prefix}/queues/queue/${encodeURIComponent(`status-query.${name}`)}`}>its queue</a>
      </p>
      <div class="columns">
        <section>
          <h2>At the provider</h2>
          <Health account={account} view={view} />
        </section>
        <section>
          <h2>Receipts</h2>
          <Route account={account} schedule={schedule} view={view} />
        </section>
      </div>
      <h2>The last 24 hours</h2>
      <Day counted={counted} />
      <h2>When messages become final, and when they are asked about</h2>
      <Asking schedule={schedule} />
      <History alerts={alerts.filter(({ until }) => until !== null)} />
    </Frame>
  )
}

function Health({ account, view }: { account: AccountHealth; view: View }): JSX.Element {
  const { status, trouble, troubleSince, pausedUntil, pausedQueues, lastGoodAnswer, lookup, query } = account
  return (
    <dl class="facts">
      <dt>Look-up</dt>
      <dd>{lookup ?? `none: "query" is ${query}`}</dd>
      <dt>State</dt>
      <dd class={status === 'ok' ? undefined : 'bad-text'}>{status}</dd>
      {trouble && (
        <>
          <dt>Why</dt>
          <dd class="bad-text">{trouble}</dd>
          <dt>Since</dt>
          <dd>
            <Time at={troubleSince} now={view.now} />
          </dd>
        </>
      )}
      {pausedUntil && (
        <>
          <dt>Asked again</dt>
          <dd>
            <Time at={pausedUntil} now={view.now} />
          </dd>
        </>
      )}
      {pausedQueues !== null && pausedQueues.length > 0 && (
        <>
          <dt>Paused</dt>
          <dd class="bad-text">{pausedQueues.join(', ')}</dd>
        </>
      )}
      <dt>Last good answer</dt>
      <dd>
        <Time at={lastGoodAnswer} now={view.now} />
      </dd>
      <dt>Rate budget</dt>
      <dd>
        <Budget account={account} />
      </dd>
    </dl>
  )
}

/** The share of the requests that may be made which have been made within the last minute. */
function Budget({ account: { requestsPerSecond, requestsLastMinute } }: { account: AccountHealth }): JSX.Element {
  const budget = requestsPerSecond * 60
  return (
    <span class={requestsLastMinute > budget * NEARLY_ALL ? 'warn-text' : undefined}>
      {countOf(requestsLastMinute)} of {countOf(budget)} requests in the last minute (
      {percentOf(Math.min(1, requestsLastMinute / budget))}); {requestsPerSecond} a second
    </span>
  )
}

const NEARLY_ALL = 0.9

/** The figures of the day. */
function Day({ counted }: { counted: Counted }): JSX.Element {
  const [total] = counted.accounts
  if (!total) return <p class="dim">Nothing happened.</p>
  const { outstanding, oldestDue, requests, ids, pollsSaved, ended } = total
  const all = Object.values(ended).reduce((sum, count) => sum + count, 0)
  return (
    <dl class="facts">
      <dt>Ended</dt>
      <dd>
        {all === 0 ? 'none' : `${countOf(all)}, ${percentOf((ended.delivered + ended.read) / all)} of them delivered`}
      </dd>
      <dt>Outstanding</dt>
      <dd>
        {countOf(outstanding)}
        {oldestDue > 0 && `, one of them due for ${durationOf(oldestDue)}`}
      </dd>
      <dt>Requests</dt>
      <dd>
        {countOf(requests)}
        {requests > 0 && `, ${Number((ids / requests).toFixed(1))} IDs each`}
      </dd>
      <dt>Polls saved</dt>
      <dd>{plural(pollsSaved, 'message')} never had to be asked about</dd>
    </dl>
  )
}

function History({ alerts }: { alerts: readonly Alert[] }): JSX.Element | null {
  if (alerts.length === 0) return null
  return (
    <>
      <h2>Trouble within the last 30 days</h2>
      <EndedAlerts alerts={alerts} />
    </>
  )
}

const ROUTES: Readonly<Record<AccountHealth['webhookRoute']['state'], string>> = {
  ok: 'receipts come',
  silent: 'silent: receipts that should come stay away',
  unproved: 'no receipt has come yet',
}

interface RouteProps {
  account: AccountHealth
  schedule: Schedule
  view: View
}

function Route({ account: { webhookRoute }, schedule, view }: RouteProps): JSX.Element {
  const { state, since, lost, lagP95 } = webhookRoute
  return (
    <dl class="facts">
      <dt>Route</dt>
      <dd class={state === 'silent' ? 'bad-text' : undefined}>{ROUTES[state]}</dd>
      <dt>Since</dt>
      <dd>
        <Time at={since} now={view.now} />
      </dd>
      <dt>Lost</dt>
      <dd>
        {percentOf(schedule.webhookLoss)} of all, as learned; {countOf(lost)} since then
      </dd>
      <dt>Late by</dt>
      <dd>{lagP95 === null ? '–' : `at most ${durationOf(lagP95)} for 95 %`}</dd>
    </dl>
  )
}

function Asking({ schedule }: { schedule: Schedule }): JSX.Element {
  const { policy, price, finalsSeen, alone, shared, curve } = schedule
  const before = EDGES.map((age) => [age / 1000, shareBy(PRIOR_CURVE, age)] as const)
  return (
    <section>
      <p>
        {policy === 'learned'
          ? `By what was learned from ${countOf(finalsSeen)} final statuses, at a price of ${durationOf(price ?? 0)} of waiting a request.`
          : 'At growing intervals.'}
      </p>
      <Legend
        parts={[
          ['learned', 'final by that age, as learned'],
          ['before', 'as taken for granted at the start'],
          ['alone', 'asked about, where alone'],
          ['shared', 'asked about, where requests are full'],
        ]}
      />
      <Curves
        title="The share of messages that are final by their age"
        learned={curve}
        before={before}
        alone={alone}
        shared={shared}
      />
      {alone.length === 0 && <p class="dim">Its messages are not asked about.</p>}
    </section>
  )
}

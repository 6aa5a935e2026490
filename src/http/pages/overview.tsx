/**
 * The first thing to look at, in the order of the questions at night: is anything wrong, how much is open and how old, do
 * texts arrive, how late is that known.
 */
import type { JSX } from 'preact'
import type { AccountHealth, Alert, Statistics as Counted } from '../../client/answers.ts'
import {
  addStatistics,
  DELAYS,
  type Delay,
  endingsOf,
  type Statistics,
  sharesKnownWithin,
  statisticsOf,
} from '../../core/statistics.ts'
import { Accounts } from './accounts.tsx'
import { CurrentAlerts } from './alerts.tsx'
import { type Bar, Bars, Legend, titleOf } from './chart.tsx'
import { Frame, type View } from './frame.tsx'
import { compactOf, countOf, durationOf, percentOf, plural } from './words.tsx'

export interface OverviewProps {
  view: View
  accounts: readonly AccountHealth[]
  alerts: readonly Alert[]
  counted: Counted
}

export function OverviewPage(props: OverviewProps): JSX.Element {
  const { view, accounts, alerts, counted } = props
  const { hours, outstanding, reasons } = counted
  const total = hours.reduce<Statistics>(addStatistics, statisticsOf([]))
  const isEmpty = hours.length === 0 && outstanding.ages.every(({ messages }) => messages === 0)
  return (
    <Frame view={view} title="Overview" path="/">
      <h1>Overview</h1>
      <CurrentAlerts alerts={alerts} view={view} />
      {accounts.length === 0 && <p>No account is configured: set ACCOUNTS, and start again.</p>}
      {accounts.length > 0 && isEmpty && <p>No message has been tracked yet.</p>}
      {!isEmpty && (
        <>
          <Tiles total={total} outstanding={outstanding} />
          <div class="columns">
            <section>
              <h2>Ended, by the hour</h2>
              <Ended hours={hours} now={view.now} />
            </section>
            <section>
              <h2>Outstanding, by age</h2>
              <Outstanding outstanding={outstanding} view={view} />
            </section>
          </div>
          <div class="columns">
            <section>
              <h2>How soon it was known, and who found it</h2>
              <Known total={total} />
            </section>
            <section>
              <h2>Why texts did not arrive</h2>
              <Reasons reasons={reasons} />
            </section>
          </div>
        </>
      )}
      {accounts.length > 0 && <h2>Accounts</h2>}
      {accounts.length > 0 && <Accounts {...props} />}
    </Frame>
  )
}

function Tiles({ total, outstanding }: { total: Statistics; outstanding: Counted['outstanding'] }): JSX.Element {
  const { delivered, failed, unknown } = endingsOf(total)
  const all = delivered + failed + unknown
  const within = sharesKnownWithin(total)
  const open = outstanding.ages.reduce((sum, { messages }) => sum + messages, 0)
  return (
    <div class="tiles">
      <Tile value={compactOf(open)} name="outstanding" />
      <Tile value={compactOf(all)} name="ended in 24 h" />
      <Tile value={all === 0 ? '–' : percentOf(delivered / all)} name="of these delivered" />
      <Tile value={within ? percentOf(within['10s']) : '–'} name="known within 10 s" />
      <Tile value={within ? percentOf(within['1m']) : '–'} name="known within 1 min" />
      <Tile value={within ? percentOf(within['10m']) : '–'} name="known within 10 min" />
    </div>
  )
}

function Tile({ value, name }: { value: string; name: string }): JSX.Element {
  return (
    <div class="tile">
      <b>{value}</b>
      <span>{name}</span>
    </div>
  )
}

const HOUR_MS = 3_600_000
const HOURS = 24

/** A bar for each of the last hours, also for those in which nothing ended. */
function Ended({ hours, now }: { hours: Counted['hours']; now: number }): JSX.Element {
  const byHour = new Map(hours.map((hour) => [Date.parse(hour.hour), hour]))
  const last = Math.floor(now / HOUR_MS) * HOUR_MS
  const bars = Array.from({ length: HOURS }, (_, index): Bar => {
    const at = last - (HOURS - 1 - index) * HOUR_MS
    const label = new Date(at).toISOString().slice(11, 16)
    const found = byHour.get(at)
    const parts = found ? endingsOf(found) : {}
    return { label, title: titleOf(`${label} UTC`, parts), parts }
  })
  return (
    <>
      <Legend
        parts={[
          ['delivered', 'delivered'],
          ['failed', 'failed'],
          ['unknown', 'unknown'],
        ]}
      />
      <Bars
        title="Messages that ended in each of the last 24 hours"
        bars={bars}
        parts={['delivered', 'failed', 'unknown']}
        nth={4}
      />
    </>
  )
}

function Outstanding({ outstanding, view }: { outstanding: Counted['outstanding']; view: View }): JSX.Element {
  const { ages, windowEndsWithinADay } = outstanding
  if (ages.every(({ messages }) => messages === 0)) return <p class="dim">None.</p>
  return (
    <>
      <table>
        <tbody>
          {ages.map(({ upTo, messages }, index) => {
            const from = ages[index - 1]?.upTo ?? 0
            if (messages === 0) return null
            return (
              <tr>
                <td>{rangeOf(from, upTo)}</td>
                <td class="number">
                  <a href={`${view.prefix}/messages?${outstandingBetween(view.now, from, upTo)}`}>
                    {countOf(messages)}
                  </a>
                </td>
              </tr>
            )
          })}
        </tbody>
      </table>
      {windowEndsWithinADay > 0 && (
        <p class="warn-text">
          {plural(windowEndsWithinADay, 'message')} will be unknown within a day, when the look-up window closes.
        </p>
      )}
    </>
  )
}

function rangeOf(from: number, upTo: number | null): string {
  if (upTo === null) return `older than ${durationOf(from)}`
  return from === 0 ? `up to ${durationOf(upTo)}` : `${durationOf(from)} to ${durationOf(upTo)}`
}

function outstandingBetween(now: number, from: number, upTo: number | null): URLSearchParams {
  const minute = (ms: number) => new Date(ms).toISOString().slice(0, 16)
  return new URLSearchParams({
    outstanding: 'true',
    ...(from > 0 ? { sentBefore: minute(now - from * 1000) } : {}),
    ...(upTo === null ? {} : { sentAfter: minute(now - upTo * 1000) }),
  })
}

const DELAY_NAMES: Readonly<Record<Delay, string>> = {
  '10s': 'within 10 s',
  '1m': 'within 1 min',
  '10m': 'within 10 min',
  later: 'later',
}

function Known({ total }: { total: Statistics }): JSX.Element {
  const known = DELAYS.reduce((sum, delay) => sum + total.known[delay], 0)
  const { webhook, poll, window } = total.foundBy
  return (
    <>
      <Shares parts={DELAYS.map((delay) => [DELAY_NAMES[delay], total.known[delay]])} all={known} />
      <p class="dim">
        {countOf(webhook)} by webhook, {countOf(poll)} by asking, {countOf(window)} by the end of the window.{' '}
        {plural(total.requests, 'request')} with{' '}
        {total.requests === 0 ? 'no' : Number((total.ids / total.requests).toFixed(1))} IDs each;{' '}
        {plural(total.pollsSaved, 'message')} never had to be asked about.
      </p>
    </>
  )
}

function Reasons({ reasons }: Pick<Counted, 'reasons'>): JSX.Element {
  if (reasons.length === 0) return <p class="dim">None failed with a reason in the last 24 hours.</p>
  const all = reasons.reduce((sum, { messages }) => sum + messages, 0)
  return <Shares parts={reasons.slice(0, 6).map(({ code, messages }) => [`code ${code}`, messages])} all={all} />
}

/** Parts of a whole, as bars with their numbers. */
function Shares({
  parts,
  all,
}: {
  parts: readonly (readonly [name: string, count: number])[]
  all: number
}): JSX.Element {
  return (
    <table class="shares">
      <tbody>
        {parts.map(([name, count]) => (
          <tr>
            <td>{name}</td>
            <td>
              <meter min={0} max={Math.max(1, all)} value={count} aria-hidden="true" />
            </td>
            <td class="number">{countOf(count)}</td>
            <td class="number dim">{all === 0 ? '' : percentOf(count / all)}</td>
          </tr>
        ))}
      </tbody>
    </table>
  )
}

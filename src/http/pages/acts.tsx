/** The acts of people and programs, the latest first. */
import type { JSX } from 'preact'
import type { Act, ActPage } from '../../client/answers.ts'
import { accountPath, Frame, messagePath, type Problem, type View } from './frame.tsx'
import { countOf, Time } from './words.tsx'

export interface ActsProps {
  view: View
  page: ActPage
  problem?: Problem | undefined
}

export function ActsPage({ view, page: { acts, nextCursor }, problem }: ActsProps): JSX.Element {
  return (
    <Frame view={view} title="Acts" path="/acts" problem={problem}>
      <h1>Who did what</h1>
      {acts.length === 0 && !problem && <p>Nobody has done anything here yet.</p>}
      {acts.length > 0 && <List acts={acts} view={view} />}
      {nextCursor !== null && (
        <p class="acts">
          <a class="button" href={`${view.prefix}/acts?cursor=${encodeURIComponent(nextCursor)}`}>
            Earlier ones
          </a>
        </p>
      )}
    </Frame>
  )
}

function List({ acts, view }: { acts: readonly Act[]; view: View }): JSX.Element {
  return (
    <table class="stacks">
      <thead>
        <tr>
          <th>When</th>
          <th>By</th>
          <th>Act</th>
          <th>On</th>
          <th class="number">How many</th>
          <th>Outcome</th>
        </tr>
      </thead>
      <tbody>
        {acts.map((act) => (
          <tr>
            <td>
              <Time at={act.at} now={view.now} />
            </td>
            <td data-label="By">{act.by}</td>
            <td data-label="Act">{act.kind}</td>
            <td data-label="On">
              <Subject act={act} view={view} />
            </td>
            <td class="number" data-label="How many">
              {act.count === null ? '–' : countOf(act.count)}
            </td>
            <td data-label="Outcome">{act.outcome ?? 'begun'}</td>
          </tr>
        ))}
      </tbody>
    </table>
  )
}

function Subject({ act, view: { prefix } }: { act: Act; view: View }): JSX.Element {
  const { account, messageId, queue } = act
  if (account && messageId) return <a href={prefix + messagePath(account, messageId)}>{messageId}</a>
  if (account) return <a href={prefix + accountPath(account)}>{account}</a>
  if (queue) return <a href={`${prefix}/queues/queue/${encodeURIComponent(queue)}`}>{jobsOf(queue, act)}</a>
  return <span class="none">–</span>
}

function jobsOf(queue: string, { job, jobs }: Act): string {
  if (job) return `${queue}, job ${job}`
  return jobs ? `${queue}, jobs that are ${jobs}` : queue
}

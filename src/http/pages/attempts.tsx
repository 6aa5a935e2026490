/** Attempts at a callback: when, with what answer, and how long it took. */
import type { JSX } from 'preact'
import type { CallbackAttempt } from '../../client/answers.ts'
import type { View } from './frame.tsx'
import { durationOf, moment } from './words.tsx'

export function Attempts({ attempts, view }: { attempts: readonly CallbackAttempt[]; view: View }): JSX.Element {
  return (
    <ol class="attempts">
      {attempts.map((attempt) => (
        <li>
          <span class="dim">{moment(attempt.at)}</span>{' '}
          <span class={attempt.error === null ? 'good-text' : 'bad-text'}>{outcomeOf(attempt)}</span>
          <span class="dim"> after {durationOf(attempt.seconds)}</span>
          <Answer answer={attempt.answer} view={view} />
        </li>
      ))}
    </ol>
  )
}

function outcomeOf({ httpStatus, error }: CallbackAttempt): string {
  return error ?? `taken with HTTP ${httpStatus ?? '?'}`
}

/** It may repeat what it was sent, as the metadata, which is the app's own. */
function Answer({ answer, view }: { answer: string | null; view: View }): JSX.Element | null {
  if (!answer) return null
  if (!view.mayChange) return <div class="dim">its answer is not shown to a key that may only look</div>
  return <pre class="dim">{answer}</pre>
}

/** An act: something that a person or a program has Lastword do beside its own work, and that is recorded. */

export const ACT_KINDS = [
  /** Ask the provider now. */
  'poll',
  'erase',
  /** Try callbacks again that failed for good. */
  'replay',
  // In Bull Board:
  'pause',
  'resume',
  'retry',
  'promote',
  /** Remove all jobs of a state. */
  'clean',
  /** Remove one job, or what it waits for. */
  'remove',
  /** Remove all jobs that wait. */
  'empty',
  'add',
  /** Change a job's data, delay or priority. */
  'edit',
  /** Change how many jobs run at once, or how fast. */
  'limit',
  /** Run, change or remove what adds a queue's jobs. */
  'schedule',
  'obliterate',
] as const
export type ActKind = (typeof ACT_KINDS)[number]

/** `begun` is what remains where nobody learned how it ended. */
export const ACT_OUTCOMES = ['begun', 'done', 'refused', 'failed'] as const
export type ActOutcome = (typeof ACT_OUTCOMES)[number]

export interface Act {
  kind: ActKind
  /** The name of the key, or what there is instead of one. */
  by: string
  account?: string | undefined
  messageId?: string | undefined
  queue?: string | undefined
  job?: string | undefined
  /** The state of the jobs that it is about, like `failed`. */
  jobs?: string | undefined
}

/** An act in the words of the log, which keeps no message ID: it could not be erased there. */
export function describeAct({ kind, by, account, queue, job, jobs }: Act, outcome: ActOutcome, count?: number): string {
  const of = [
    queue && `queue ${queue}`,
    job && `job ${job}`,
    jobs && `jobs that are ${jobs}`,
    account && `account ${account}`,
    count !== undefined && `count ${count}`,
  ].filter(Boolean)
  return `${kind} by ${by}${of.length > 0 ? ` (${of.join(', ')})` : ''}: ${outcome}`
}

/**
 * The queues of an installation, one row each: the names that follow, the worker that each needs (jobs/workers.ts), what
 * is removed from them when a person is erased, and the words by which Bull Board shows them.
 */

interface QueueRow {
  /** One for each account, called by its name: `status-query.main`. */
  isPerAccount: boolean
  /** Jobs name messages, so an erased one is removed from them. */
  namesMessages: boolean
  /** For those who look at it: what runs here, and which buttons do no harm. */
  description: string
}

const QUEUES = {
  track: {
    isPerAccount: false,
    namesMessages: true,
    description:
      'Orders to track messages, added by your app. Retry a failed one once its reason is mended; “Clean” and “Remove” delete orders for good.',
  },
  dispatch: {
    isPerAccount: false,
    namesMessages: false,
    description:
      'Every second: claims what is due and adds it to the queues of the accounts. Paused, nobody is asked and receipts go on. Retry, Clean and Remove do no harm: a lost tick is followed by the next.',
  },
  'status-query': {
    isPerAccount: true,
    namesMessages: true,
    description:
      'Asks the provider about the messages of this account, a batch a job. Paused, its messages wait and receipts go on. Retry, Clean and Remove do no harm: the messages of a removed job are asked about again when its lease ends.',
  },
  expire: {
    isPerAccount: false,
    namesMessages: false,
    description:
      'Every few seconds: closes messages whose look-up window has ended, and deletes what is old. Retry, Clean and Remove do no harm, and a pause only puts it off.',
  },
  callbacks: {
    isPerAccount: false,
    namesMessages: false,
    description:
      'Tells callback URLs of changes, one a job. A failed job has been tried for three days: Retry tries once more, and removing it leaves the callback to “lastword callbacks --replay”.',
  },
} as const satisfies Readonly<Record<string, QueueRow>>

const CHANGES_DESCRIPTION =
  'Changes of statuses for your app, one a job, added here and taken by your own workers. “Clean”, “Remove” and “Obliterate” take changes from your app for good; GET /v1/changes still has them.'

type QueueKey = keyof typeof QUEUES
/** A queue of which an installation has one. */
export type SingleQueue = { [Q in QueueKey]: (typeof QUEUES)[Q]['isPerAccount'] extends true ? never : Q }[QueueKey]
/** A queue of which every account has one. */
export type AccountQueue = Exclude<QueueKey, SingleQueue>

const rows: [string, QueueRow][] = Object.entries(QUEUES)

const namesOf = (isPerAccount: boolean) =>
  rows.filter(([, row]) => row.isPerAccount === isPerAccount).map(([name]) => name)

export const SINGLE_QUEUES = namesOf(false) as SingleQueue[]
export const ACCOUNT_QUEUES = namesOf(true) as AccountQueue[]

export function accountQueueName(queue: AccountQueue, account: string): string {
  return `${queue}.${account}`
}

/** True for a queue of Lastword's own, false for one that an app reads changes from. */
export function isInternal(name: string): boolean {
  return findQueueRow(name) !== undefined
}

/** The words of any queue: one of the installation's own, or else one that an account names for its changes. */
export function describeQueue(name: string): string {
  return findQueueRow(name)?.description ?? CHANGES_DESCRIPTION
}

/** All of them for accounts of these names, in the order of the table. */
export function queueNamesOf(accounts: readonly string[]): string[] {
  return rows.flatMap(([name, { isPerAccount }]) =>
    isPerAccount ? accounts.map((account) => accountQueueName(name as AccountQueue, account)) : name,
  )
}

/** The row of an installation's own queue; undefined for a name that an app may use. */
export function findQueueRow(name: string): QueueRow | undefined {
  return rows.find(([own, { isPerAccount }]) => (isPerAccount ? name.startsWith(`${own}.`) : name === own))?.[1]
}

/** `lastword callbacks`: the callbacks that were not taken, and trying them now. */
import { ask, type ServiceAddress } from '../client/request.ts'
import { readServiceLocation } from '../config.ts'
import { formatTable } from './table.ts'

export interface CallbacksFlags {
  replay: boolean
  json: boolean
  url?: string
  apiKey?: string
}

interface UntakenCallback {
  change: number
  account: string
  receiver: string
  state: string
  attempts: number
  firstDueAt: string
  nextAttemptAt: string | null
  lastError: string | null
}

const TIMEOUT_MS = 30_000
const HEADINGS = ['CHANGE', 'ACCOUNT', 'RECEIVER', 'STATE', 'ATTEMPTS', 'FIRST DUE', 'NEXT ATTEMPT', 'LAST ERROR']

/** Lists the callbacks that were not taken, or has them tried now: those of these changes, or all. */
export async function runCallbacks(changes: readonly number[], flags: CallbacksFlags): Promise<void> {
  const address: ServiceAddress = { ...readServiceLocation(flags), timeoutMs: TIMEOUT_MS }
  if (flags.replay) {
    const body = changes.length > 0 ? { changes } : {}
    const answer = (await ask(address, { method: 'POST', path: '/v1/callbacks/replay', body })) as { replayed: number }
    console.log(flags.json ? JSON.stringify(answer) : `${answer.replayed} callbacks are tried now.`)
    return
  }
  const untaken: UntakenCallback[] = []
  for (let cursor: string | null | undefined; cursor !== null; ) {
    const page = await ask(address, { path: '/v1/callbacks', query: { limit: 1000, cursor } })
    const { callbacks, nextCursor } = page as { callbacks: UntakenCallback[]; nextCursor: string | null }
    untaken.push(...callbacks)
    cursor = nextCursor
  }
  const wanted = untaken.filter(({ change }) => changes.length === 0 || changes.includes(change))
  if (flags.json) for (const callback of wanted) console.log(JSON.stringify(callback))
  else
    console.log(
      wanted.length === 0 ? 'No callback waits for another attempt, and none has failed for good.' : describe(wanted),
    )
}

function describe(callbacks: readonly UntakenCallback[]): string {
  const rows = callbacks.map(({ change, account, receiver, state, attempts, firstDueAt, nextAttemptAt, lastError }) => [
    String(change),
    account,
    receiver,
    state,
    String(attempts),
    firstDueAt,
    nextAttemptAt ?? '',
    lastError ?? '',
  ])
  return formatTable([HEADINGS, ...rows])
}

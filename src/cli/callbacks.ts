/** `lastword callbacks`: the callbacks that failed for good, and trying them again. */
import { ask, type ServiceAddress } from '../client/request.ts'
import { readServiceLocation } from '../config.ts'
import { formatTable } from './table.ts'

export interface CallbacksFlags {
  replay: boolean
  json: boolean
  url?: string
  apiKey?: string
}

interface FailedCallback {
  change: number
  account: string
  receiver: string
  attempts: number
  firstDueAt: string
  lastError: string | null
}

const TIMEOUT_MS = 30_000

/** Lists the callbacks that failed for good, or makes them due again: those of these changes, or all. */
export async function runCallbacks(changes: readonly number[], flags: CallbacksFlags): Promise<void> {
  const address: ServiceAddress = { ...readServiceLocation(flags), timeoutMs: TIMEOUT_MS }
  if (flags.replay) {
    const body = changes.length > 0 ? { changes } : {}
    const answer = (await ask(address, { method: 'POST', path: '/v1/callbacks/replay', body })) as { replayed: number }
    console.log(flags.json ? JSON.stringify(answer) : `${answer.replayed} callbacks are due again.`)
    return
  }
  const failed: FailedCallback[] = []
  for (let cursor: string | null | undefined; cursor !== null; ) {
    const page = await ask(address, { path: '/v1/callbacks', query: { limit: 1000, cursor } })
    const { callbacks, nextCursor } = page as { callbacks: FailedCallback[]; nextCursor: string | null }
    failed.push(...callbacks)
    cursor = nextCursor
  }
  const wanted = failed.filter(({ change }) => changes.length === 0 || changes.includes(change))
  if (flags.json) for (const callback of wanted) console.log(JSON.stringify(callback))
  else console.log(wanted.length === 0 ? 'No callback has failed for good.' : describe(wanted))
}

function describe(callbacks: readonly FailedCallback[]): string {
  const rows = callbacks.map(({ change, account, receiver, attempts, firstDueAt, lastError }) => [
    String(change),
    account,
    receiver,
    String(attempts),
    firstDueAt,
    lastError ?? '',
  ])
  return formatTable([['CHANGE', 'ACCOUNT', 'RECEIVER', 'ATTEMPTS', 'FIRST DUE', 'LAST ERROR'], ...rows])
}

/** The sandbox as the bench uses it: started as a process, then sent to, turned and asked for the truth over HTTP. */
import { request } from 'undici'
import type { Status } from '../../src/core/status.ts'
import type { KnobsPatch } from '../../src/sandbox/knobs.ts'
import type { Law } from '../../src/sandbox/law.ts'
import type { SevenTruth } from '../../src/sandbox/seven/messages.ts'
import { benchFile, startProcess } from './processes.ts'

/** A truth as JSON carries it. */
export type ToldTruth = Pick<SevenTruth, 'messageId' | 'finalStatus'> & {
  finalAt: string | null
  toldFinalAt: string | null
  history: { status: string; at: string }[]
}

export interface Sandbox {
  /** The base URL of the provider's API, and the key it asks for. */
  url: string
  apiKey: string
  send(count: number, sentAt?: Date): Promise<string[]>
  truths(): Promise<ToldTruth[]>
  /** How many status queries came. */
  requests(): Promise<number>
  turn(knobs: KnobsPatch): Promise<void>
  close(): Promise<void>
}

/** One hour after it was sent, every message is final: one in ten in a failure, a few of them expired. */
const ALL_FINAL: Partial<Law> = {
  components: [{ share: 0.98, medianMs: 6_000, sigma: 1 }],
  expiredShare: 0.02,
  neverShare: 0,
  failureShare: 0.1,
  validityMs: 30 * 60_000,
}

export function anHourAgo(): Date {
  return new Date(Date.now() - 3_600_000)
}

const MOST_AT_ONCE = 50_000
const PAGE = 10_000
const ID_SPACE = 10_000_000

let opened = 0

/** Starts a sandbox. IDs of one run never repeat; the same seed and law give the same fates. */
export async function openSandbox(law: Partial<Law> = ALL_FINAL, seed = 1): Promise<Sandbox> {
  opened += 1
  const options = JSON.stringify({ law, seed, firstMessageId: 77_000_000_001 + opened * ID_SPACE })
  const { ready, stop } = await startProcess(benchFile('sandbox-process.js'), {
    args: [options],
    ready: /sandbox at (\S+) /,
  })
  const url = ready[1] ?? ''
  const at = (path: string) => new URL(path, url).href

  async function page(after: string | null): Promise<{ messages: ToldTruth[]; next: string | null }> {
    return readJson(at(`/sandbox/truth?limit=${PAGE}${after === null ? '' : `&after=${after}`}`))
  }
  return {
    url,
    apiKey: 'sandbox',
    async send(count, sentAt = new Date()) {
      const messageIds: string[] = []
      while (messageIds.length < count) {
        const body = { count: Math.min(count - messageIds.length, MOST_AT_ONCE), sentAt }
        const sent = await sendJson<{ messageIds: string[] }>(at('/sandbox/messages'), 'POST', body)
        messageIds.push(...sent.messageIds)
      }
      return messageIds
    },
    async truths() {
      const truths: ToldTruth[] = []
      for (let after: string | null = null; ; ) {
        const { messages, next } = await page(after)
        truths.push(...messages)
        if (next === null) return truths
        after = next
      }
    },
    requests: async () => (await readJson<{ requests: number }>(at('/sandbox/stats'))).requests,
    turn: async (knobs) => void (await sendJson(at('/sandbox/knobs'), 'PUT', knobs)),
    close: stop,
  }
}

/** How many rows end otherwise than the sandbox says they truly did, rows that are missing included. */
export function countWrong(
  truths: readonly ToldTruth[],
  rows: readonly { id: string; status: Status | null }[],
): number {
  const statuses = new Map(rows.map(({ id, status }) => [id, status]))
  return truths.filter(({ messageId, finalStatus }) => statuses.get(messageId) !== finalStatus).length
}

async function readJson<T>(url: string): Promise<T> {
  const { statusCode, body } = await request(url)
  if (statusCode !== 200) throw new Error(`${new URL(url).pathname}: ${statusCode} ${await body.text()}`)
  return (await body.json()) as T
}

async function sendJson<T>(url: string, method: 'POST' | 'PUT', value: unknown): Promise<T> {
  const headers = { 'content-type': 'application/json' }
  const { statusCode, body } = await request(url, { method, headers, body: JSON.stringify(value) })
  if (statusCode !== 200) throw new Error(`${new URL(url).pathname}: ${statusCode} ${await body.text()}`)
  return (await body.json()) as T
}

/**
 * The demo: the whole service on an embedded Postgres, a sandbox provider beside it, and a small sending app. A few
 * hundred messages settle before one's eyes; at the end each is compared with what the sandbox knows to be true.
 *
 * It honours DATABASE_URL, QUEUE_URL and PORT; without them it needs nothing, and removes its database afterwards.
 */
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as delay } from 'node:timers/promises'
import { request } from 'undici'
import { type Config, readConfig } from '../config.ts'
import type { Status } from '../core/status.ts'
import { findProvider } from '../providers/registry.ts'
import { start } from '../runtime.ts'
import { firstMessageIdAt } from '../sandbox/messages.ts'
import { createSandbox, type Sandbox } from '../sandbox/server.ts'

const ACCOUNT = 'demo'
const LOTS = 30
const MESSAGES_A_LOT = 12
const LOT_EVERY_MS = 300
/** One second of the demo is a minute of the delivery-time law. */
const TIME_SCALE = 60
const VALIDITY_S = 25
/** The default policy, at the same scale: a request must be worth five seconds of waiting. */
const POLLING = { policy: 'learned', price: '5s', window: '40s' }
const GIVE_UP_AFTER_MS = 150_000

interface ShownMessage {
  messageId: string
  status: Status | null
  final: boolean
  settledBy: string | null
}

export interface DemoOptions {
  /** Keep everything running until SIGINT or SIGTERM. */
  stay: boolean
  stopped: Promise<unknown>
}

/** Runs the demo and resolves with whether every message ended as the sandbox says it truly did. */
export async function runDemo({ stay, stopped }: DemoOptions): Promise<boolean> {
  const dataDir = await mkdtemp(join(tmpdir(), 'lastword-demo-'))
  const releasers: (() => Promise<unknown>)[] = [() => rm(dataDir, { recursive: true, force: true })]
  try {
    console.log('Starting the sandbox provider, the database and the service …')
    const sandbox = await openSandbox()
    releasers.push(() => sandbox.close())
    const runtime = await start(configFor(sandbox, dataDir), { api: true, workers: true })
    releasers.push(() => runtime.close())
    const url = runtime.url ?? ''
    sandbox.set({ webhookUrl: `${url}/webhooks/${ACCOUNT}` })
    console.log(
      `  overview    ${url}/\n  API         ${url}/v1/messages\n  Bull Board  ${url}/queues\n  metrics     ${url}/metrics\n`,
    )

    const finished = await Promise.race([settleAll(url, sandbox), stopped.then(() => undefined)])
    if (!finished) return false
    const agrees = report(finished, sandbox)
    if (stay) {
      console.log('\nStill running; look around, and stop it with Ctrl-C.')
      await stopped
    }
    return agrees
  } finally {
    for (const release of releasers.reverse()) await release()
  }
}

async function openSandbox(): Promise<Sandbox> {
  return createSandbox({
    seed: 1,
    law: { timeScale: TIME_SCALE, validityMs: VALIDITY_S * TIME_SCALE * 1000 },
    knobs: {
      webhookLossPerMessage: 0.4,
      webhookDuplicates: 0.1,
      webhookReorder: 0.1,
      webhookDelay: { medianMs: 20_000, sigma: 1 },
    },
    firstMessageId: firstMessageIdAt(Date.now()),
  })
}

function configFor(sandbox: Sandbox, dataDir: string): Config {
  const given = { name: ACCOUNT, provider: 'seven', apiKey: sandbox.apiKey, baseUrl: sandbox.url, polling: POLLING }
  const account = findProvider('seven')?.accountSchema.parse(given)
  const config = readConfig(undefined, { LOG_LEVEL: 'warn', PORT: '0' })
  // Its own requests carry no key, so it is for this machine; and nobody is to be told of its alerts.
  const alone = { host: '127.0.0.1', keys: [], publicUrl: undefined, alertReceiver: undefined }
  return { ...config, ...alone, dataDir, accounts: account ? [account] : [] }
}

/** Sends lot after lot, tracks what it got back as an app would, and watches until every message is final. */
async function settleAll(url: string, sandbox: Sandbox): Promise<ShownMessage[] | undefined> {
  const begun = Date.now()
  const draw = createDisplay()
  for (let lot = 0; Date.now() - begun < GIVE_UP_AFTER_MS; lot++) {
    if (lot < LOTS) await trackOver(url, sandbox.send(MESSAGES_A_LOT))
    const messages = await fetchMessages(url, sandbox)
    draw(progressOf(messages, sandbox, Date.now() - begun), lot % 10 === 0)
    if (lot >= LOTS && messages.every(({ final }) => final)) return messages
    await delay(LOT_EVERY_MS)
  }
  console.log('Not every message has settled in time.')
  return undefined
}

async function trackOver(url: string, messageIds: string[]): Promise<void> {
  const messages = messageIds.map((messageId) => ({ messageId }))
  const { statusCode, body } = await request(`${url}/v1/messages`, {
    method: 'POST',
    headers: { 'content-type': 'application/json' },
    body: JSON.stringify({ account: ACCOUNT, messages }),
  })
  const answer = await body.text()
  if (statusCode !== 202) throw new Error(`Tracking was answered with ${statusCode}: ${answer}`)
}

/** The messages of this demo; a database that is kept may hold those of earlier ones. */
async function fetchMessages(url: string, sandbox: Sandbox): Promise<ShownMessage[]> {
  const { body } = await request(`${url}/v1/messages?account=${ACCOUNT}&limit=1000`)
  const { messages } = (await body.json()) as { messages: ShownMessage[] }
  return messages.filter(({ messageId }) => sandbox.truth(messageId))
}

function countBy<T>(items: readonly T[], keyOf: (item: T) => string): string {
  const counts = new Map<string, number>()
  for (const item of items) counts.set(keyOf(item), (counts.get(keyOf(item)) ?? 0) + 1)
  return [...counts]
    .sort(([, one], [, other]) => other - one)
    .map(([key, count]) => `${key} ${count}`)
    .join('  ')
}

function progressOf(messages: readonly ShownMessage[], sandbox: Sandbox, elapsedMs: number): string[] {
  const { requests, idsAsked } = sandbox.stats()
  const perRequest = requests === 0 ? 0 : idsAsked / requests
  const settled = messages.filter(({ final }) => final)
  return [
    `${(elapsedMs / 1000).toFixed(0).padStart(3)} s   sent ${messages.length}   settled ${settled.length}   outstanding ${messages.length - settled.length}`,
    `  status      ${countBy(messages, ({ status }) => status ?? 'no report yet')}`,
    `  settled by  ${countBy(settled, ({ settledBy }) => settledBy ?? '')}`,
    `  requests    ${requests} to the status API, ${perRequest.toFixed(1)} IDs each`,
  ]
}

/** Redraws in place on a terminal; elsewhere prints only the lines that are due. */
function createDisplay(): (lines: string[], due: boolean) => void {
  let drawn = 0
  return (lines, due) => {
    if (!process.stdout.isTTY) {
      if (due) console.log(lines.join('\n'))
      return
    }
    const up = drawn > 0 ? `\x1b[${drawn}A` : ''
    process.stdout.write(`${up}${lines.map((line) => `\x1b[2K${line}\n`).join('')}`)
    drawn = lines.length
  }
}

/** Prints the summary, checked against the sandbox's own truth. */
function report(messages: readonly ShownMessage[], sandbox: Sandbox): boolean {
  const wrong = messages.filter(({ messageId, status }) => {
    const truth = sandbox.truth(messageId)
    return status !== (truth?.finalStatus ?? 'unknown')
  })
  const { requests, idsAsked } = sandbox.stats()
  console.log(`\n${messages.length} messages are final: ${countBy(messages, ({ status }) => status ?? '')}.`)
  console.log(`Settled by ${countBy(messages, ({ settledBy }) => settledBy ?? '')}.`)
  console.log(`${requests} requests asked about ${idsAsked} IDs; one request per ID would have been ${idsAsked}.`)
  console.log(
    wrong.length === 0
      ? "Every one of them agrees with the sandbox's truth."
      : `${wrong.length} do NOT agree with the sandbox's truth: ${wrong.map(({ messageId }) => messageId).join(', ')}`,
  )
  return wrong.length === 0
}

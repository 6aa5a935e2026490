/**
 * The conductor of a run: brings the stage up, has the app send all the while, strikes the faults of the plan at their
 * moments, waits until everything has come to its end, and has the ledger judge.
 */
import { setTimeout as delay } from 'node:timers/promises'
import { collect, findLeftovers, findNumbersInLogs, watchBatches } from './evidence.ts'
import { strike } from './faults.ts'
import { type Circumstances, type Finding, judge, timeOf } from './ledger.ts'
import { type Backend, endOf, type Fault, heldBy, type Kind } from './plan.ts'
import { openStage, type Stage, type StageOptions, USUAL_KNOBS } from './stage.ts'
import { upgrade } from './upgrade.ts'

export interface ChaosOptions extends Omit<StageOptions, 'onEnded'> {
  plan: readonly Fault[]
  /** How long at least messages are sent. */
  sendForMs: number
  say(text: string): void
  /** Told how to end everything at once. */
  onOpened(close: () => Promise<void>): void
}

export interface Summary {
  backend: Backend
  seed: number
  messages: number
  tracked: number
  erased: number
  seconds: number
  /** How often each kind came about, and how often it met nothing. */
  faults: ReadonlyMap<Kind, { struck: number; missed: number }>
  /** How the messages ended. */
  statuses: Readonly<Record<string, number>>
  changes: number
  told: Readonly<Record<string, number>>
  requests: number
  receipts: number
  findings: readonly (Finding & { during: string })[]
}

const SEND_EVERY_MS = 250
const SETTLE_BEYOND_WINDOW_MS = 120_000
const LOOK_EVERY_MS = 500
const SAY_EVERY_MS = 5_000
/** A process that starts waits a minute for its database; hardly anything takes ten seconds. */
const MENDED_WITHIN_MS = 180_000

interface Struck extends Fault {
  begun: number
  ended: number
  happened: boolean
}

export async function runChaos(options: ChaosOptions): Promise<Summary> {
  const { backend, seed, folder, plan, messages, say, windowMs } = options
  const begun = Date.now()
  const ended: Finding[] = []
  const stage = await openStage({
    ...options,
    onEnded: (how, about) =>
      ended.push({
        kind: how === 'badly' ? 'process did not stop well' : 'process ended by itself',
        about,
        at: Date.now(),
      }),
  })
  options.onOpened(stage.close)
  try {
    if (!options.firstCli) await watchBatches(stage.database.sql)
    say(`${backend}: everything is up after ${seconds(begun)} s`)
    const sending = sendAll(stage, messages, Math.max(options.sendForMs, endOf(plan)))
    const upgraded = options.firstCli ? upgrade(stage, options.sendForMs, say) : undefined
    const struck = await strikeAll(stage, plan, say)
    await sending
    const watchedFrom = (await upgraded) ?? 0
    say(`${backend}: everything is sent and mended after ${seconds(begun)} s`)
    const refused = await stage.app.idle()
    for (const about of refused) ended.push({ kind: 'not tracked', about })
    await settle(stage, windowMs + SETTLE_BEYOND_WINDOW_MS, say)
    // Receipts that come from now on would be acknowledged and not be judged.
    stage.sandbox.set({ webhookUrl: null, cmWebhookUrl: null })
    await stage.sandbox.close()
    await settle(stage, SETTLE_BEYOND_WINDOW_MS, say)
    const judged = await judgeAll(stage, { tells: stage.tells, queueLostUntil: stage.queueLostAt, watchedFrom })
    const leftovers = await findLeftovers(stage)
    await Promise.all([stage.api, ...stage.workers].map((member) => member.stop()))
    const findings = [...ended, ...judged.findings, ...leftovers, ...(await findNumbersInLogs(folder))]
    const { counts, erased } = stage.app
    const { forged: _forged, ...told } = counts()
    const stats = stage.sandbox.stats()
    return {
      backend,
      seed,
      messages,
      tracked: judged.tracked,
      erased: erased.size,
      seconds: Number(seconds(begun)),
      faults: countFaults(struck),
      statuses: judged.statuses,
      changes: judged.changes,
      told,
      requests: stats.requests + stats.cm.requests,
      receipts: judged.receipts,
      findings: findings.map((finding) => ({ ...finding, during: describeMoment(struck, finding.at) })),
    }
  } finally {
    await stage.close()
  }
}

function seconds(begun: number): string {
  return ((Date.now() - begun) / 1000).toFixed(0)
}

async function sendAll({ app }: Stage, messages: number, forMs: number): Promise<void> {
  const begun = Date.now()
  for (let sent = 0; sent < messages; ) {
    const due = Math.min(messages, Math.ceil((messages * (Date.now() - begun + SEND_EVERY_MS)) / forMs))
    if (due > sent) app.send(due - sent)
    sent = Math.max(sent, due)
    await delay(SEND_EVERY_MS)
  }
}

/** A fault whose target is still being mended waits for it. */
async function strikeAll(stage: Stage, plan: readonly Fault[], say: (text: string) => void): Promise<Struck[]> {
  const begun = Date.now()
  const held = new Map<string, Promise<unknown>>()
  const run = async (fault: Fault, before: readonly (Promise<unknown> | undefined)[]): Promise<Struck> => {
    await delay(fault.at - (Date.now() - begun))
    await Promise.all(before)
    const at = Date.now()
    say(`${String(fault.step).padStart(4)}  ${fault.kind}, for ${fault.lastsMs} ms`)
    const { happened } = await Promise.race([strike(stage, fault), giveUp(fault)]).catch((error: unknown) => {
      throw new Error(`Step ${fault.step}, ${fault.kind}: ${error instanceof Error ? error.stack : error}`)
    })
    return { ...fault, begun: at, ended: Date.now(), happened }
  }
  const all = plan.map((fault) => {
    const targets = heldBy(fault.kind)
    const struck = run(
      fault,
      targets.map((target) => held.get(target)),
    )
    for (const target of targets) held.set(target, struck)
    return struck
  })
  return Promise.all(all)
}

/** Without it, all that needs the same target would wait for as long as messages are sent. */
async function giveUp({ lastsMs }: Fault): Promise<never> {
  await delay(lastsMs + MENDED_WITHIN_MS, undefined, { ref: false })
  throw new Error(`It was not mended in ${MENDED_WITHIN_MS / 1_000} s.`)
}

/** Resolves when nothing is outstanding and everybody has been told, or when there is no progress for so long. */
async function settle(stage: Stage, withinMs: number, say: (text: string) => void): Promise<void> {
  let until = 0
  let least = Number.POSITIVE_INFINITY
  stage.sandbox.set(USUAL_KNOBS)
  let last = ''
  let saidAt = Number.NEGATIVE_INFINITY
  for (let calm = 0, restMs = 0; calm < 2; await delay(restMs)) {
    const begun = performance.now()
    const left = await findLeft(stage)
    // Looking takes long where there are very many, and what it costs is missing elsewhere.
    restMs = Math.max(LOOK_EVERY_MS, 10 * (performance.now() - begun))
    const all = Object.values(left).reduce((sum, count) => sum + count, 0)
    calm = all === 0 ? calm + 1 : 0
    if (all < least) until = Date.now() + withinMs
    least = Math.min(least, all)
    const words = Object.entries(left)
      .map(([name, count]) => `${count} ${name}`)
      .join(', ')
    if (Date.now() > until) return say(`not settled in time: ${words}`)
    if (words === last || begun < saidAt + SAY_EVERY_MS) continue
    say(words)
    last = words
    saidAt = begun
  }
}

async function findLeft({ database: { sql }, app, tells, queueLostAt }: Stage) {
  const [row] = await sql<
    { outstanding: number; unforgotten: number; changes: number; callbacks: number; queued: number }[]
  >`
    SELECT (SELECT count(*)::int FROM lastword.messages WHERE NOT final AND tracked_at IS NOT NULL) AS outstanding,
      (SELECT count(*)::int FROM lastword.forgetting) AS unforgotten,
      (SELECT count(*)::int FROM lastword.changes) AS changes,
      (SELECT count(*)::int FROM lastword.callbacks) AS callbacks,
      (SELECT count(*)::int FROM lastword.changes c JOIN lastword.messages m ON m.id = c.message
        WHERE m.account = ANY (${tells.queue}) AND c.changed_at > to_timestamp(${queueLostAt / 1000})) AS queued`
  const { outstanding = 1, unforgotten = 0, changes = 0, callbacks = 0, queued = 0 } = row ?? {}
  const { feed, queue } = app.counts()
  // People who were erased were told of before, so that more may have been told than there are changes.
  return {
    outstanding,
    unforgotten,
    'untold by the feed': Math.max(0, changes - feed),
    'untold by callback': callbacks,
    'untold by the queue': Math.max(0, queued - queue),
  }
}

async function judgeAll(stage: Stage, circumstances: Circumstances) {
  const statuses: Record<string, number> = {}
  const findings: Finding[] = []
  let tracked = 0
  let changes = 0
  let receipts = 0
  for await (const slice of collect(stage)) {
    for (const entry of slice) {
      findings.push(...judge(entry, circumstances))
      const status = String(entry.row?.status ?? null)
      statuses[status] = (statuses[status] ?? 0) + 1
      if (entry.row) tracked += 1
      changes += entry.changes.length
      receipts += Object.values(entry.receipts).reduce((sum, count) => sum + count, 0)
    }
  }
  return { statuses, findings, tracked, changes, receipts }
}

function countFaults(struck: readonly Struck[]): Summary['faults'] {
  const counts = new Map<Kind, { struck: number; missed: number }>()
  for (const { kind, happened } of struck) {
    const { struck: before, missed } = counts.get(kind) ?? { struck: 0, missed: 0 }
    counts.set(kind, { struck: before + Number(happened), missed: missed + Number(!happened) })
  }
  return counts
}

/** The steps of the plan that were under way at a time, or the last one before. */
function describeMoment(struck: readonly Struck[], at: number | undefined): string {
  if (at === undefined) return 'at the end'
  const underWay = struck.filter(({ begun, ended }) => begun <= at && at <= ended)
  const last = struck.filter(({ begun }) => begun <= at).sort((a, b) => b.begun - a.begun)[0]
  const named = underWay.length > 0 ? underWay : last ? [last] : []
  const steps = named.map(({ step, kind, begun }) => `step ${step} (${kind}, ${timeOf(begun)})`).join(', ')
  return `${timeOf(at)}, ${underWay.length > 0 ? 'during' : 'after'} ${steps || 'the start'}`
}

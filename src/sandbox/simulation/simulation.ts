/**
 * A year of asking in seconds: one account on a virtual clock, with the production code of the schedule (core/plan.ts) and
 * of learning (core/learning.ts). Messages arrive, become final by a law, are told of by webhooks or not, and are asked
 * about in requests; each tick of the dispatcher decides what is asked now. Times are milliseconds from the beginning.
 */
import TinyQueue from 'tinyqueue'
import type { Curve } from '../../core/curve.ts'
import { economyOf, graceOf, type Learned, learn, noNews, nothingLearned, observe } from '../../core/learning.ts'
import { decide, nextDueAt, type Plan, planOf, type Scheduled } from '../../core/plan.ts'
import { type PollingPolicy, windowOf } from '../../core/polling.ts'
import { worthOf } from '../../core/worth.ts'
import { createRandom, drawLognormal, type Random } from '../random.ts'

export interface Traffic {
  /** When each message is sent, ascending. */
  sentAt: readonly number[]
  /** How long each takes to its final status; infinite for those that never report. */
  takes: readonly number[]
}

/** Of receipts: the share that comes, at any time. */
export type Webhooks = (at: number) => number

/** By which knowledge asking is planned: what is learned on the way, or the law itself. */
export interface Planner {
  policy: PollingPolicy
  /** Known from the beginning, instead of being learned. */
  known?: { curve: Curve; loss: Webhooks }
  /** Free places stay empty, as before 0.2.0. */
  unfilled?: boolean
}

export interface SimulationOptions {
  traffic: Traffic
  webhooks: Webhooks
  planner: Planner
  places: number
  /** Until when it goes on, and which messages count by when they were sent. */
  untilMs: number
  countFromMs: number
  countToMs: number
  seed: number
}

export interface Outcome {
  messages: number
  requests: number
  polls: number
  /** From the final status to the moment it was known, in milliseconds, ascending; of those that have become known. */
  delays: number[]
  /** The waiting of all messages that count, known by the end or not. */
  waitedMs: number
  routeEvents: { at: number; event: string }[]
}

interface Message extends Scheduled {
  dueAt: number
  finalAt: number
  isKnown: boolean
}

interface Entry {
  at: number
  message: Message
}

const TICK_MS = 1_000
/** How far ahead is looked to find the moment at which waiting messages are worth a request. */
const SKIP_MS = 60_000
const LEARN_EVERY_MS = 5_000
const PLAN_EVERY_MS = 60_000
const MOST_REQUESTS = 50
const RECEIPT_LAG = { medianMs: 1_000, sigma: 1 }

export function simulate(options: SimulationOptions): Outcome {
  const { traffic, webhooks, planner, places, untilMs, countFromMs, countToMs } = options
  const random = createRandom(options.seed, 1)
  const outcome: Outcome = { messages: 0, requests: 0, polls: 0, delays: [], waitedMs: 0, routeEvents: [] }
  const due = new TinyQueue<Entry>([], (a, b) => a.at - b.at)
  const receipts = new TinyQueue<Entry>([], (a, b) => a.at - b.at)
  const counts = ({ sentAt }: Message) => sentAt >= countFromMs && sentAt < countToMs
  const isStale = ({ at, message }: Entry) => message.isKnown || at !== message.dueAt

  let learned: Learned = nothingLearned(0)
  let news = noNews(0)
  let learnedAt = 0
  let plannedAt = Number.NEGATIVE_INFINITY
  let plan: Plan | undefined
  let arrived = 0
  let now = 0

  function planNow(): Plan {
    const isSilent = learned.route.state === 'silent'
    if (plan && now - plannedAt < PLAN_EVERY_MS) return plan
    plannedAt = now
    const { policy, known } = planner
    const costs = { priceMs: policy.policy === 'learned' ? policy.priceMs : 0, recordPriceMs: 0, places }
    const economy = economyOf(learned, costs)
    if (known) Object.assign(economy, { curve: known.curve, loss: 1 - known.loss(now), lagMs: 5_000 })
    const before = plan?.economy
    plan = planOf(policy, economy)
    // As the worker does: messages that have become due sooner by what is known now are found within minutes.
    if (before && (Math.abs(Math.log(economy.loss / before.loss)) > 0.3 || isSilent !== wasSilent)) reschedule()
    wasSilent = isSilent
    return plan
  }
  let wasSilent = false

  function reschedule(): void {
    if (!plan) return
    for (const { message } of due.data.filter((entry) => !isStale(entry))) {
      const at = nextDueAt(plan, message, now, random())
      if (at < message.dueAt) schedule(message, at)
    }
  }

  function schedule(message: Message, at: number): void {
    message.dueAt = at
    due.push({ at, message })
  }

  function settle(message: Message, source: 'webhook' | 'poll'): void {
    const { sentAt, askedAt, finalAt } = message
    observe(news, { now, sentAt, askedAt, source, finalAt }, graceOf(learned, planner.policy))
    message.isKnown = true
    if (!counts(message)) return
    outcome.delays.push(now - finalAt)
    outcome.waitedMs += now - finalAt
  }

  function arrive(): void {
    for (; (traffic.sentAt[arrived] ?? untilMs) <= now; arrived++) {
      const sentAt = traffic.sentAt[arrived] ?? 0
      const finalAt = sentAt + (traffic.takes[arrived] ?? 0)
      const message: Message = {
        ...windowOf(planner.policy, sentAt),
        askedAt: undefined,
        polls: 0,
        wanted: false,
        dueAt: 0,
        finalAt,
        isKnown: false,
      }
      if (counts(message)) outcome.messages++
      if (finalAt < untilMs && random() < webhooks(finalAt)) {
        receipts.push({ at: finalAt + drawLognormal(random, RECEIPT_LAG.medianMs, RECEIPT_LAG.sigma), message })
      }
      schedule(message, nextDueAt(planNow(), message, now, random()))
    }
  }

  function receive(): void {
    for (let first = receipts.peek(); first && first.at <= now; first = receipts.peek()) {
      receipts.pop()
      const { message } = first
      const { sentAt, askedAt, finalAt, isKnown } = message
      if (!isKnown) settle(message, 'webhook')
      else {
        const known = { settledBy: 'poll' as const, changedAt: finalAt }
        observe(news, { now, sentAt, askedAt, source: 'webhook', finalAt, known }, graceOf(learned, planner.policy))
      }
    }
  }

  /** Takes what is due by `until`, in order, up to a number. */
  function take(until: number, most: number): Message[] {
    const taken: Message[] = []
    for (let first = due.peek(); first && first.at <= until && taken.length < most; first = due.peek()) {
      due.pop()
      // A message due at its window's end is closed then, and asked about no more.
      const isClosing = first.at >= first.message.windowEndsAt
      if (!isStale(first) && !isClosing) taken.push(first.message)
    }
    return taken
  }

  /** One tick; returns when the next one is worth looking at. */
  function tick(): number {
    const current = planNow()
    const candidates = take(now, MOST_REQUESTS * places)
    const free = candidates.length === 0 || planner.unfilled ? 0 : (places - (candidates.length % places)) % places
    const next = take(Number.POSITIVE_INFINITY, free)
    const { ask, later } = decide(current, { due: candidates, next }, now, MOST_REQUESTS)
    const asked = new Set(ask)
    for (const { message, dueAt } of later) schedule(message, dueAt)
    const moved = new Set(later.map(({ message }) => message))
    for (const message of [...candidates, ...next]) {
      if (!asked.has(message) && !moved.has(message)) due.push({ at: message.dueAt, message })
    }
    const own = ask.filter(counts).length
    outcome.requests += (Math.ceil(ask.length / places) * own) / Math.max(1, ask.length)
    outcome.polls += own
    for (const message of ask) askAbout(message, current)
    if (ask.length > 0 || candidates.length === 0) return now + TICK_MS
    // The worth grows faster and faster, so a straight line meets the price no later than it does.
    const sumAt = (at: number) =>
      [...candidates, ...next].reduce((sum, message) => sum + worthAt(current, message, at), 0)
    const sum = sumAt(now)
    const skip = (SKIP_MS * (current.economy.priceMs - sum)) / Math.max(sumAt(now + SKIP_MS) - sum, 1)
    return Math.max(now + TICK_MS, Math.min(now + Math.min(skip, SKIP_MS), next[0]?.dueAt ?? untilMs, soonestNews()))
  }

  function askAbout(message: Message, current: Plan): void {
    const { sentAt, askedAt } = message
    message.polls += 1
    if (message.finalAt <= now) settle(message, 'poll')
    else {
      observe(news, { now, sentAt, askedAt, source: 'poll', finalAt: undefined }, graceOf(learned, planner.policy))
      message.askedAt = now
      schedule(message, nextDueAt(current, message, now, random()))
    }
  }

  function worthAt({ economy }: Plan, { sentAt, askedAt = sentAt }: Message, at: number): number {
    return worthOf(economy, at - sentAt, askedAt - sentAt)
  }

  function soonestNews(): number {
    return Math.min(traffic.sentAt[arrived] ?? untilMs, receipts.peek()?.at ?? untilMs)
  }

  function learnNow(): void {
    if (now - learnedAt < LEARN_EVERY_MS) return
    learnedAt = now
    const step = learn(learned, news, { graceMs: graceOf(learned, planner.policy), now })
    learned = step.learned
    news = noNews(now)
    if (!step.event) return
    outcome.routeEvents.push({ at: now, event: step.event })
    plannedAt = Number.NEGATIVE_INFINITY
  }

  for (let at = 0; at < untilMs; ) {
    now = at
    arrive()
    receive()
    learnNow()
    at = tick()
    // Nothing happens before the next message, receipt or due time.
    at = Math.max(at, Math.min(soonestNews(), due.peek()?.at ?? untilMs))
  }
  const left = new Set(due.data.filter((entry) => !isStale(entry)).map(({ message }) => message))
  for (const message of left) if (counts(message)) outcome.waitedMs += Math.max(0, untilMs - message.finalAt)
  outcome.delays.sort((a, b) => a - b)
  return outcome
}

/** Messages at a steady mean rate, in milliseconds, each with its end. */
export function steadyTraffic(random: Random, perSecond: number, forMs: number, drawEnd: () => number): Traffic {
  const sentAt: number[] = []
  for (let at = 0; at < forMs; at += (-Math.log(1 - random()) / perSecond) * 1000) sentAt.push(at)
  return { sentAt, takes: sentAt.map(drawEnd) }
}

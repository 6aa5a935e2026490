/**
 * An account's plan: its policy, and the economy that has been learned. It says when a message is due, and which of the
 * messages that are due are asked about now.
 *
 * By the learned policy a message is due when its worth reaches its part of a request's price, and then waits until the
 * messages that are due together are worth a request. Some wait for nothing: those somebody wants to know of now, the
 * last question before the window closes, and messages that have not been asked about for as long again as they were old
 * at the last question, and an hour at least. So none is ever forgotten, and each is asked about a few times a month at
 * the least.
 *
 * By the exponential policy whatever is due is asked about at once. Either way the free places of a request go to the
 * messages that are due next.
 */
import { lastPollAt, type MessageWindow, minimumInterval, nextPollAt, type PollingPolicy, windowOf } from './polling.ts'
import { type Candidate, chooseToAsk, dueAge, type Economy, thresholdOf, worthOf } from './worth.ts'

/** For so long at least a message may wait for a request that pays. */
const SHORTEST_PATIENCE_MS = 3_600_000

export interface Plan {
  policy: PollingPolicy
  economy: Economy
  /** The age at which a message that was never asked about is due. */
  firstAge: number
}

export function planOf(policy: PollingPolicy, economy: Economy): Plan {
  return { policy, economy, firstAge: Math.min(dueAge(economy, 0), SHORTEST_PATIENCE_MS) }
}

/** The schedule's view of an outstanding message; times in milliseconds since 1970. */
export interface Pending extends MessageWindow {
  /** When an answer last told of it. */
  askedAt: number | undefined
  polls: number
}

function askedAgeOf({ sentAt, askedAt }: Pick<Pending, 'sentAt' | 'askedAt'>): number {
  return askedAt === undefined ? 0 : Math.max(0, askedAt - sentAt)
}

/** When a message is asked about whatever it is worth. */
function latestAt(message: Pending): number {
  const askedAge = askedAgeOf(message)
  return message.sentAt + Math.max(2 * askedAge, askedAge + SHORTEST_PATIENCE_MS)
}

/**
 * When a message that was never asked about is due: to be asked about, or, where its window has ended, to be closed.
 * `random` is a number in [0, 1).
 */
export function firstDueAt(
  { policy, firstAge }: Pick<Plan, 'policy' | 'firstAge'>,
  { sentAt, windowEndsAt }: MessageWindow,
  now: number,
  random: number,
): number {
  const window = { sentAt, windowEndsAt }
  if (policy.policy === 'exponential') return nextPollAt(policy, { ...window, now, polls: 0, random })
  return within(policy, window, sentAt + firstAge, now)
}

/** When a message is next due: to be asked about, or, at its window's end, to be closed. */
export function nextDueAt(plan: Plan, message: Pending, now: number, random: number): number {
  const { policy, economy } = plan
  const { sentAt, windowEndsAt, askedAt, polls } = message
  if (askedAt === undefined) return firstDueAt(plan, message, now, random)
  if (policy.policy === 'exponential') return nextPollAt(policy, { sentAt, windowEndsAt, now, polls, random })
  if (askedAt >= lastPollAt(message)) return windowEndsAt
  const regular = Math.min(sentAt + dueAge(economy, askedAgeOf(message)), latestAt(message))
  return within(policy, message, regular, askedAt + minimumInterval(policy))
}

/** The time at which something falls due, no sooner than `earliest`, with the last question just before the window's end. */
function within(policy: PollingPolicy, window: MessageWindow, dueAt: number, earliest: number): number {
  const last = lastPollAt(window)
  const noRoomBeforeLast = dueAt > last - minimumInterval(policy)
  return Math.min(Math.max(noRoomBeforeLast ? last : dueAt, earliest), window.windowEndsAt)
}

const MOST_AGES = 1_000

/** The ages, in milliseconds, at which a message that never becomes final is asked about, each time as it falls due. */
export function agesOf(plan: Plan): number[] {
  const window = windowOf(plan.policy, 0)
  const ages: number[] = []
  for (let due = firstDueAt(plan, window, 0, 0.5); due < window.windowEndsAt && ages.length < MOST_AGES; ) {
    ages.push(due)
    due = nextDueAt(plan, { ...window, askedAt: due, polls: ages.length }, due, 0.5)
  }
  return ages
}

/** A message that is due, or due next. */
export interface Scheduled extends Pending {
  /** Somebody wants to know of it now. */
  wanted: boolean
}

export interface Decision<T> {
  /** The messages to ask about now, the most urgent and most worth first. */
  ask: T[]
  /** The messages that have become due too early, by what was known before: they are due again at `dueAt`. */
  later: { message: T; dueAt: number }[]
}

/** A message whose worth is below this share of what it was due for is not due yet. */
const TOO_EARLY = 0.5

/** The window of times of sending that is worth most to ask about; times in milliseconds since 1970. */
export interface Sweep<T> {
  from: number
  to: number
  worth: number
  /** It is asked for whatever it is worth. */
  urgent: boolean
  later: Decision<T>['later']
}

/** Decides about messages that are due, where so many requests may be sent; `next` are those due next, in order. */
export function decide<T extends Scheduled>(
  plan: Plan,
  { due, next }: { due: readonly T[]; next: readonly T[] },
  now: number,
  requests: number,
): Decision<T> {
  const { ready, later } = weighDue(plan, due, now)
  const free = next.map((message) => weigh(plan, message, now))
  return { ask: chooseToAsk(ready, free, plan.economy, requests).map(({ message }) => message), later }
}

/**
 * The sweep to ask for next: around the first of the urgent messages, else the window of `spanMs` whose due messages are
 * worth most. Undefined when nothing is due.
 */
export function decideSweep<T extends Scheduled>(
  plan: Plan,
  due: readonly T[],
  now: number,
  spanMs: number,
): Sweep<T> | undefined {
  const { ready, later } = weighDue(plan, due, now)
  const urgent = ready.find((candidate) => candidate.urgent)
  if (urgent) {
    const { sentAt } = urgent.message
    return { from: sentAt - spanMs / 2, to: sentAt + spanMs / 2, worth: urgent.worth, urgent: true, later }
  }
  const order = ready.sort((a, b) => a.message.sentAt - b.message.sentAt)
  let best: Sweep<T> | undefined
  let worth = 0
  let first = 0
  for (const { message, worth: own } of order) {
    worth += own
    for (let oldest = order[first]; oldest && message.sentAt - oldest.message.sentAt > spanMs; oldest = order[first]) {
      worth -= oldest.worth
      first++
    }
    const from = order[first]?.message.sentAt ?? message.sentAt
    if (!best || worth > best.worth) best = { from, to: message.sentAt, worth, urgent: false, later }
  }
  return best ?? (later.length > 0 ? { from: 0, to: 0, worth: 0, urgent: false, later } : undefined)
}

interface Weighed<T> extends Candidate {
  message: T
}

/** By the exponential policy whatever is due is urgent. */
function weigh<T extends Scheduled>({ policy, economy }: Plan, message: T, now: number): Weighed<T> {
  if (policy.policy === 'exponential') return { message, worth: 0, urgent: true }
  return {
    message,
    worth: worthOf(economy, now - message.sentAt, askedAgeOf(message)),
    urgent: message.wanted || now >= lastPollAt(message) || now >= latestAt(message),
  }
}

/** Messages that are due, and those that are due again later because by now less is expected of them. */
function weighDue<T extends Scheduled>(plan: Plan, due: readonly T[], now: number) {
  const weighed = due.map((message) => weigh(plan, message, now))
  const least = TOO_EARLY * thresholdOf(plan.economy)
  const later = weighed
    .filter(({ worth, urgent }) => worth < least && !urgent)
    .map(({ message }) => ({ message, dueAt: nextDueAt(plan, message, now, 0) }))
    .filter(({ dueAt }) => dueAt > now)
  const moved = new Set(later.map(({ message }) => message))
  return { ready: weighed.filter(({ message }) => !moved.has(message)), later }
}

/**
 * A model of the protocol by which messages are claimed, asked about and answered: one message, two workers, a queue that
 * loses its jobs, receipts at any step, workers that die or stand still, leases that run out, a window that closes. The
 * rules are the real ones of src/core; each statement of the database is one step, modelled by its guards, which can be
 * left out one by one.
 *
 * `search` goes through every state that can be reached, breadth first, and says which way leads to a broken law.
 *
 *   due ── seen ── claimed ── job ── fetched ── checked ── asked ── answered ── written ── due, or final
 *
 * Limits: time goes in seconds and ends; statements are atomic, as Postgres makes them by locking rows; one message stands
 * for all, because no statement's guard looks at two.
 */
import { nextPollAt, windowOf } from '../../src/core/polling.ts'
import { stepAfter } from '../../src/core/provider-failure.ts'
import { merge, type Report, type Settlement } from '../../src/core/settle.ts'
/** The guards, each named for what it says. */
export const GUARDS = [
  // findDue (src/db/schedule.ts): m.due_at = d.due_at
  'a stale row of the schedule is not claimed',
  // take (src/db/schedule.ts): DELETE FROM due WHERE ctid … FOR UPDATE SKIP LOCKED, and batches only of rows deleted
  'only whoever deletes the row of the schedule has the claim',
  // checkBatch (src/db/batches.ts): FROM batches b … WHERE b.id
  'a batch that was given back is not asked about',
  // checkBatch: filter(!row.final)
  'a final message is not asked about',
  // checkBatch: is_safe, or else extendLease
  'a lease that ends too soon is renewed before the request',
  // giveBackExpired (src/db/batches.ts): WHERE lease_ends_at <= now()
  'a batch is taken back only when its lease has run out',
  // giveBack (src/db/batches.ts): DELETE FROM batches … RETURNING, and messages only of batches deleted
  'only whoever deletes the batch gives its messages back',
  // giveBack: NOT m.final
  'a final message is not given back',
  // statementFor (src/db/report-statement.ts): held AS (DELETE FROM batches … RETURNING id)
  'an answer moves the schedule only while its batch is there',
  // statementFor: new_final ? NULL : due_at
  'a final message leaves the schedule',
  // statementFor: rank > old_rank
  'older news changes nothing',
  // findClosed (src/db/schedule.ts): only rows of due, which a batch holds none of
  'a window is closed only while nobody asks',
] as const
export type Guard = (typeof GUARDS)[number]

const SECOND = 1_000
const SENT_AT = 0
const LEASE_MS = 2 * SECOND
/** How long a request may take; it is at most half a lease. */
const TIMEOUT_MS = SECOND
const END_MS = 4 * SECOND
const POLICY = {
  policy: 'exponential',
  firstAfterMs: SECOND,
  factor: 1,
  maxIntervalMs: SECOND,
  windowMs: 3 * SECOND,
} as const
const WINDOW = windowOf(POLICY, SENT_AT)
const WINDOW_ENDS_AT = WINDOW.windowEndsAt
const RANDOM = 0.5

/** All that a provider may say of the message, by receipts or answers, in any order; the later final corrects. */
const REPORTS = {
  accepted: { status: 'accepted', occurredAt: new Date(100) },
  delivered: { status: 'delivered', occurredAt: new Date(200) },
  failed: { status: 'failed', occurredAt: new Date(300) },
  unknown: { status: 'unknown', occurredAt: new Date(WINDOW_ENDS_AT) },
} as const satisfies Record<string, Report>
type ReportName = keyof typeof REPORTS
/** Answers to a request: a status, or a failure that is retried or given back. */
const ANSWERS = ['accepted', 'delivered', 'transient', 'throttled'] as const
type Answer = (typeof ANSWERS)[number]

interface Batch {
  id: number
  leaseEndsAt: number
}

/** The batch that a worker has in hand; `stood` where it has stood still since its check. */
type Hand =
  | { at: 'idle' }
  | { at: 'seen'; dueAt: number }
  | { at: 'claimed'; batch: number }
  | { at: 'fetched'; batch: number }
  | { at: 'checked'; batch: number; stood?: true }
  | { at: 'asked'; batch: number; since: number; stood?: true }
  | { at: 'answered'; batch: number; answer: Answer }

interface Worker {
  hand: Hand
  isFrozen: boolean
}

interface State {
  now: number
  /** The reports that have been written, and the row that came of them. */
  written: readonly ReportName[]
  status: Settlement | undefined
  dueAt: number | undefined
  polls: number
  /** The rows of `due`, by their times. */
  due: readonly number[]
  batches: readonly Batch[]
  jobs: readonly number[]
  workers: readonly [Worker, Worker]
  /** How many more receipts may come; and deaths, standstills and losses together. */
  left: { receipts: number; mishaps: number }
}

const START: State = {
  now: 0,
  written: [],
  status: undefined,
  dueAt: 0,
  polls: 0,
  due: [0],
  batches: [],
  jobs: [],
  workers: [
    { hand: { at: 'idle' }, isFrozen: false },
    { hand: { at: 'idle' }, isFrozen: false },
  ],
  left: { receipts: 1, mishaps: 2 },
}

type Has = (guard: Guard) => boolean
type Move = readonly [name: string, next: State]

const without = <T>(list: readonly T[], item: T) => {
  const place = list.indexOf(item)
  return place === -1 ? list : [...list.slice(0, place), ...list.slice(place + 1)]
}
const added = (list: readonly number[], item: number) => (list.includes(item) ? list : [...list, item].sort())
const isOver = ({ status }: State) => status?.final === true

/** INSERT INTO due … ON CONFLICT DO NOTHING, with the time of the row. */
function scheduled(state: State, dueAt: number): State {
  return { ...state, dueAt, due: added(state.due, dueAt) }
}

/** The status of the row, by the statement of the one write path. */
function written(state: State, name: ReportName, has: Has): State {
  const report: Report = REPORTS[name]
  const status = has('older news changes nothing') ? merge(state.status, report) : merge(undefined, report)
  const known = state.written.includes(name) ? state.written : [...state.written, name].sort()
  const next: State = { ...state, written: known, status }
  return status.final && has('a final message leaves the schedule') ? { ...next, dueAt: undefined } : next
}

/** An answer about a batch: the status, and when the message is due next. */
function applied(state: State, batch: number, answer: Answer, has: Has): State {
  const isHeld = state.batches.some(({ id }) => id === batch)
  // Of the first question alone the schedule knows which it is, at an even interval.
  const polls = 1
  let next: State = { ...state, polls, batches: state.batches.filter(({ id }) => id !== batch) }
  if (answer === 'accepted' || answer === 'delivered') next = written(next, answer, has)
  const mayMove = isHeld || !has('an answer moves the schedule only while its batch is there')
  if (!mayMove || (isOver(next) && has('a final message leaves the schedule'))) return next
  return scheduled(next, nextPollAt(POLICY, { ...WINDOW, now: state.now, polls, random: RANDOM }))
}

function givenBack(state: State, batch: number, delayMs: number, has: Has): State {
  const isThere = state.batches.some(({ id }) => id === batch)
  const next = { ...state, batches: state.batches.filter(({ id }) => id !== batch) }
  if (!isThere && has('only whoever deletes the batch gives its messages back')) return next
  if (isOver(state) && has('a final message is not given back')) return next
  return scheduled(next, Math.min(state.now + delayMs, Math.max(WINDOW_ENDS_AT, state.now)))
}

function withWorker(state: State, index: number, worker: Partial<Worker>): State {
  const workers = state.workers.map((one, place) => (place === index ? { ...one, ...worker } : one))
  return { ...state, workers: workers as unknown as State['workers'] }
}

/** The steps of one worker that runs. */
function* stepsOf(state: State, index: number, has: Has): Generator<Move> {
  const hand = state.workers[index]?.hand ?? { at: 'idle' }
  const to = (name: string, next: State, then: Hand): Move => [name, withWorker(next, index, { hand: then })]
  switch (hand.at) {
    case 'idle':
      for (const dueAt of state.due) {
        const isStale = has('a stale row of the schedule is not claimed') && dueAt !== state.dueAt
        if (dueAt <= state.now && !isStale && state.now < WINDOW_ENDS_AT) yield to('sees', state, { at: 'seen', dueAt })
      }
      for (const batch of new Set(state.jobs)) {
        yield to('fetches', { ...state, jobs: without(state.jobs, batch) }, { at: 'fetched', batch })
      }
      return
    case 'seen':
      return yield take(state, hand.dueAt, to, has)
    case 'claimed':
      return yield to('adds the job', { ...state, jobs: [...state.jobs, hand.batch].sort() }, { at: 'idle' })
    case 'fetched':
      return yield check(state, hand.batch, to, has)
    case 'checked':
      return yield to('asks', state, { ...hand, at: 'asked', since: state.now })
    case 'asked':
      for (const answer of ANSWERS) yield to(`is told ${answer}`, state, { at: 'answered', batch: hand.batch, answer })
      return
    case 'answered':
      yield write(state, hand.batch, hand.answer, to, has)
  }
}

type To = (name: string, next: State, then: Hand) => Move

function take(state: State, dueAt: number, to: To, has: Has): Move {
  const isThere = state.due.includes(dueAt)
  if (!isThere && has('only whoever deletes the row of the schedule has the claim')) {
    return to('comes too late', state, { at: 'idle' })
  }
  const id = [1, 2, 3, 4, 5, 6].find((free) => !isNamed(state, free)) ?? 7
  const batches = [...state.batches, { id, leaseEndsAt: state.now + LEASE_MS }]
  return to('claims', { ...state, due: without(state.due, dueAt), batches }, { at: 'claimed', batch: id })
}

function isNamed({ batches, jobs, workers }: State, id: number): boolean {
  const inHand = workers.some(({ hand }) => 'batch' in hand && hand.batch === id)
  return inHand || jobs.includes(id) || batches.some((batch) => batch.id === id)
}

function check(state: State, id: number, to: To, has: Has): Move {
  const batch = state.batches.find((one) => one.id === id)
  if (!batch && has('a batch that was given back is not asked about')) return to('finds nothing', state, { at: 'idle' })
  if (isOver(state) && has('a final message is not asked about')) {
    return to('ends the batch', { ...state, batches: state.batches.filter((one) => one.id !== id) }, { at: 'idle' })
  }
  const isSafe = batch === undefined || batch.leaseEndsAt > state.now + TIMEOUT_MS
  if (isSafe || !has('a lease that ends too soon is renewed before the request')) {
    return to('checks', state, { at: 'checked', batch: id })
  }
  return to('renews its lease', withLease(state, id), { at: 'checked', batch: id })
}

function withLease(state: State, id: number): State {
  const leaseEndsAt = state.now + LEASE_MS
  return { ...state, batches: state.batches.map((one) => (one.id === id ? { id, leaseEndsAt } : one)) }
}

function write(state: State, batch: number, answer: Answer, to: To, has: Has): Move {
  if (answer !== 'transient' && answer !== 'throttled') {
    return to('writes', applied(state, batch, answer, has), { at: 'idle' })
  }
  const failed = {
    kind: answer,
    attempt: 1,
    ids: 1,
    isTrial: false,
    mustWait: false,
    inTrouble: false,
    isToBlame: false,
  }
  const next = stepAfter(failed, POLICY, RANDOM)
  if (next.step === 'retry') {
    const jobs = [...state.jobs, batch].sort()
    return to('tries again later', { ...withLease(state, batch), jobs }, { at: 'idle' })
  }
  if (!('delayMs' in next)) throw new Error(`The model knows no step "${next.step}".`)
  return to('gives back', givenBack(state, batch, next.delayMs, has), { at: 'idle' })
}

/** Everything that may happen next. */
function* movesOf(state: State, has: Has): Generator<Move> {
  for (const [index, { isFrozen, hand }] of state.workers.entries()) {
    const name = `worker ${index + 1}`
    if (!isFrozen) for (const [step, next] of stepsOf(state, index, has)) yield [`${name} ${step}`, next]
    if (hand.at === 'idle') continue
    if (isFrozen) yield [`${name} goes on`, withWorker(state, index, { isFrozen: false })]
    else if (state.left.mishaps > 0) {
      const stood: Hand = hand.at === 'checked' || hand.at === 'asked' ? { ...hand, stood: true } : hand
      yield [`${name} stands still`, withWorker(spent(state, 'mishaps'), index, { hand: stood, isFrozen: true })]
    }
    if (state.left.mishaps === 0) continue
    const dead = withWorker(spent(state, 'mishaps'), index, { hand: { at: 'idle' }, isFrozen: false })
    yield [`${name} dies`, dead]
    // The queue hands out again what it had handed out.
    if ('batch' in hand && hand.at !== 'claimed') {
      yield [`${name} dies, and its job is handed out again`, { ...dead, jobs: [...dead.jobs, hand.batch].sort() }]
    }
  }
  if (state.left.receipts > 0) {
    for (const name of ['accepted', 'delivered', 'failed'] as const) {
      yield [`a receipt says ${name}`, written(spent(state, 'receipts'), name, has)]
    }
  }
  if (state.left.mishaps > 0 && state.jobs.length > 0)
    yield ['the queue is lost', { ...spent(state, 'mishaps'), jobs: [] }]
  for (const { id, leaseEndsAt } of state.batches) {
    const isOut = leaseEndsAt <= state.now || !has('a batch is taken back only when its lease has run out')
    if (isOut) yield ['a lease has run out', givenBack(state, id, 0, has)]
  }
  if (state.now >= WINDOW_ENDS_AT && !isOver(state) && mayClose(state, has)) {
    yield ['the window closes', written(state, 'unknown', has)]
  }
  if (mayTick(state)) yield ['a second passes', { ...state, now: state.now + SECOND }]
}

function mayClose({ due, dueAt, now }: State, has: Has): boolean {
  if (!has('a window is closed only while nobody asks')) return true
  return dueAt !== undefined && dueAt <= now && due.includes(dueAt)
}

function spent(state: State, what: keyof State['left']): State {
  return { ...state, left: { ...state.left, [what]: state.left[what] - 1 } }
}

/** A worker that runs asks at once when it has checked, and takes no longer than the time-out for a request. */
function mayTick({ now, workers }: State): boolean {
  const waits = ({ hand, isFrozen }: Worker) =>
    isFrozen || !(hand.at === 'checked' || (hand.at === 'asked' && now - hand.since >= TIMEOUT_MS))
  return now < END_MS && workers.every(waits)
}

export const LAWS = [
  'the message is in one batch or in the schedule, never in two places',
  'a message that is not final is in a batch or in the schedule',
  'two workers never ask at once, unless one has stood still since its check',
  'a final status is followed by final ones only',
  'the status is what the law of order makes of all reports',
  'a message that was final when it was checked is not asked about',
  'nobody asks for a batch that was given back before the check',
  'an answer of an old claim leaves the newer one and the schedule as they are',
  'a message whose lease has run out can be claimed again',
  'a window closes only while nobody asks',
  'a final message is not due',
] as const
type Law = (typeof LAWS)[number]

/** The laws that a step breaks. */
function* brokenBy(before: State, name: string, after: State, has: Has): Generator<Law> {
  const places = after.batches.length + (after.dueAt !== undefined && after.due.includes(after.dueAt) ? 1 : 0)
  if (places > 1) yield LAWS[0]
  if (places === 0 && !isOver(after)) yield LAWS[1]
  const asking = after.workers.filter(({ hand }) => hand.at === 'asked' && !hand.stood)
  if (asking.length > 1) yield LAWS[2]
  if (isOver(before) && !isOver(after)) yield LAWS[3]
  const all = after.written.reduce<Settlement | undefined>((sum, one) => merge(sum, REPORTS[one]), undefined)
  if (all?.status !== after.status?.status) yield LAWS[4]
  const isChecked = / (checks|renews its lease)$/.test(name)
  if (isChecked && isOver(before)) yield LAWS[5]
  if (isChecked && before.batches.length === 0) yield LAWS[6]
  if (name.endsWith(' writes') && isOld(before, after)) yield LAWS[7]
  const isOut = after.batches.some(({ leaseEndsAt }) => leaseEndsAt <= after.now)
  if (isOut && !isOver(after) && !canBeClaimedAgain(after, has)) yield LAWS[8]
  if (name === 'the window closes' && before.batches.length > 0) yield LAWS[9]
  if (name.endsWith(' sees') && isOver(before)) yield LAWS[10]
}

/** The worker that wrote had a batch that was there no more, and the step moved something else than the status. */
function isOld(before: State, after: State): boolean {
  const writer = before.workers.find(({ hand }, index) => hand !== after.workers[index]?.hand)
  const id = writer && 'batch' in writer.hand ? writer.hand.batch : undefined
  if (before.batches.some((batch) => batch.id === id)) return false
  const isMoved = after.dueAt !== before.dueAt && after.dueAt !== undefined
  return isMoved || after.due.length !== before.due.length || after.batches.length !== before.batches.length
}

function canBeClaimedAgain(state: State, has: Has): boolean {
  return [...movesOf(state, has)].some(
    ([name, { dueAt, due }]) => name === 'a lease has run out' && dueAt !== undefined && due.includes(dueAt),
  )
}

export interface Searched {
  states: number
  /** For each broken law, a shortest way that leads to it. */
  broken: ReadonlyMap<Law, readonly string[]>
}

/** Goes through all states that can be reached with all guards but these; with `first`, until a law is broken. */
export function search(missing: readonly Guard[] = [], { first = false } = {}): Searched {
  const has: Has = (guard) => !missing.includes(guard)
  const from = new Map<string, readonly [key: string, name: string] | undefined>([[keyOf(START), undefined]])
  const broken = new Map<Law, readonly string[]>()
  const states = [START]
  // An array goes on with what is added while it is gone through.
  for (const state of states) {
    const key = keyOf(state)
    for (const [name, next] of movesOf(state, has)) {
      for (const law of brokenBy(state, name, next, has)) {
        if (!broken.has(law)) broken.set(law, [...wayTo(from, key), name])
      }
      const nextKey = keyOf(next)
      if (from.has(nextKey)) continue
      from.set(nextKey, [key, name])
      states.push(next)
    }
    if (first && broken.size > 0) break
  }
  return { states: states.length, broken }
}

/** The same for states that differ by which worker is the first. */
function keyOf(state: State): string {
  const { now, written, status, dueAt = '', polls, due, batches, jobs, workers, left } = state
  const hands = workers.map(({ hand, isFrozen }) => Object.values(hand).join() + (isFrozen ? '!' : '')).sort()
  const leases = batches.map(({ id, leaseEndsAt }) => `${id}@${leaseEndsAt}`)
  const news = status?.latest.status ?? ''
  return [now, written, news, dueAt, polls, due, leases, jobs, hands, left.receipts, left.mishaps].join(';')
}

function wayTo(from: ReadonlyMap<string, readonly [string, string] | undefined>, key: string): string[] {
  const names: string[] = []
  for (let step = from.get(key); step; step = from.get(step[0])) names.unshift(step[1])
  return names
}

/**
 * The plan of a run: which faults strike when, for how long and whom. It follows from the seed alone, so a run that failed
 * can be had again; times of the machine it runs on differ, of course.
 *
 * Each kind stands in the plan before any comes again. Faults of different targets overlap; one target is struck once at a
 * time, and gets a moment's rest after it.
 */
import { createRandom, type Random } from '../../src/sandbox/random.ts'

export type Backend = 'redis' | 'postgres'

/** Whom a fault strikes; `workers` are all of them, `processes` the API as well. */
type Target = 'worker' | 'workers' | 'processes' | 'api' | 'queue' | 'database' | 'network' | 'provider' | 'app'

interface KindRow {
  target: Target
  /** How long it lasts, at least and at most. */
  lastsMs: readonly [number, number]
  /** Where the queues must be for it. */
  backend?: Backend
  /** It needs a database server of the run's own, a disk that can be filled, or a clock that can be turned. */
  needs?: 'server' | 'disk' | 'clock'
}

/** How long a claim holds in a run; a process is frozen for longer. */
export const LEASE_MS = 6_000
/** Until a killed process is started again. */
const DOWN: KindRow['lastsMs'] = [300, 3_000]
/** Until a batch comes by whose worker is to be killed. */
const LURKING: KindRow['lastsMs'] = [6_000, 10_000]
const AWAY: KindRow['lastsMs'] = [1_000, 5_000]
const BAD_ANSWERS: KindRow['lastsMs'] = [3_000, 8_000]

export const KINDS = {
  'worker killed': { target: 'worker', lastsMs: DOWN },
  'worker killed after its claim, before the job is added': { target: 'worker', lastsMs: LURKING },
  'worker killed after the job is added': { target: 'worker', lastsMs: LURKING },
  'worker killed with the answer in hand, before it is written': { target: 'worker', lastsMs: LURKING },
  'worker killed after the commit of an answer': { target: 'worker', lastsMs: LURKING },
  'all workers killed while requests are at the provider': { target: 'workers', lastsMs: LURKING },
  'worker frozen for longer than its lease': { target: 'worker', lastsMs: [LEASE_MS + 2_000, LEASE_MS + 5_000] },
  'worker with a clock an hour ahead that steps back': { target: 'worker', lastsMs: [6_000, 12_000], needs: 'clock' },
  'API killed': { target: 'api', lastsMs: DOWN },
  'API killed before the commit of a receipt': { target: 'api', lastsMs: LURKING },
  'API killed after the commit of a receipt, before its answer': { target: 'api', lastsMs: LURKING },
  'API frozen': { target: 'api', lastsMs: AWAY },
  'processes replaced one after the other': { target: 'processes', lastsMs: [500, 2_000] },
  'Redis killed': { target: 'queue', lastsMs: AWAY, backend: 'redis' },
  'Redis emptied': { target: 'queue', lastsMs: [0, 0], backend: 'redis' },
  'Redis frozen': { target: 'queue', lastsMs: [3_000, 8_000], backend: 'redis' },
  'Redis read-only': { target: 'queue', lastsMs: AWAY, backend: 'redis' },
  'Redis out of memory': { target: 'queue', lastsMs: AWAY, backend: 'redis' },
  'Redis failed over': { target: 'queue', lastsMs: [500, 2_000], backend: 'redis' },
  'Postgres restarted': { target: 'database', lastsMs: [0, 2_000], needs: 'server' },
  'Postgres crashed': { target: 'database', lastsMs: [0, 2_000], needs: 'server' },
  'Postgres read-only': { target: 'database', lastsMs: AWAY },
  'connections to Postgres ended': { target: 'database', lastsMs: [0, 0] },
  'rows locked by another session': { target: 'database', lastsMs: AWAY },
  'deadlocks with another session': { target: 'database', lastsMs: AWAY },
  'disk full': { target: 'database', lastsMs: AWAY, needs: 'disk' },
  'network silent': { target: 'network', lastsMs: [2_000, 8_000] },
  'network cut': { target: 'network', lastsMs: AWAY },
  'provider answers 429': { target: 'provider', lastsMs: BAD_ANSWERS },
  'provider answers 5xx': { target: 'provider', lastsMs: BAD_ANSWERS },
  'provider answers 400 for a day': { target: 'provider', lastsMs: [8_000, 15_000] },
  'provider hangs': { target: 'provider', lastsMs: BAD_ANSWERS },
  'provider resets connections': { target: 'provider', lastsMs: BAD_ANSWERS },
  'provider sends half bodies': { target: 'provider', lastsMs: BAD_ANSWERS },
  'all receipts lost': { target: 'provider', lastsMs: BAD_ANSWERS },
  'every receipt doubled and out of order': { target: 'provider', lastsMs: BAD_ANSWERS },
  'callback receiver refuses': { target: 'app', lastsMs: AWAY },
  'callback receiver hangs up': { target: 'app', lastsMs: AWAY },
  'app reads nothing': { target: 'app', lastsMs: AWAY },
} as const satisfies Record<string, KindRow>

export type Kind = keyof typeof KINDS

export interface Fault {
  /** Its place in the plan, from 1. */
  step: number
  kind: Kind
  /** From the beginning of the run, in milliseconds. */
  at: number
  lastsMs: number
  /** A number in [0, 1) that chooses among its targets. */
  aim: number
}

/** The kinds that can strike here. */
export function kindsFor(backend: Backend, has: { server: boolean; disk: boolean; clock: boolean }): Kind[] {
  return (Object.keys(KINDS) as Kind[]).filter((kind) => {
    const { backend: only, needs }: KindRow = KINDS[kind]
    return (only === undefined || only === backend) && (needs === undefined || has[needs])
  })
}

export interface PlanOptions {
  faults: number
  kinds: readonly Kind[]
  /** The time over which they are spread; the plan gets longer where their targets are struck too often for it. */
  spanMs: number
}

const REST_MS = 2_000

export function makePlan(seed: number, { faults, kinds, spanMs }: PlanOptions): Fault[] {
  const random = createRandom(seed)
  const slotMs = spanMs / faults
  const freeAt = new Map<Target, number>()
  let bag: Kind[] = []
  return Array.from({ length: faults }, (_, index) => {
    if (bag.length === 0) bag = shuffled(kinds, random)
    const kind = bag.pop() as Kind
    const [least, most] = KINDS[kind].lastsMs
    const lastsMs = Math.round(least + random() * (most - least))
    const held = heldBy(kind)
    const at = Math.round(Math.max(slotMs * (index + random()), ...held.map((one) => freeAt.get(one) ?? 0)))
    for (const one of held) freeAt.set(one, at + lastsMs + REST_MS)
    return { step: index + 1, kind, at, lastsMs, aim: random() }
  })
}

/** The targets that a fault has for itself while it lasts: a network is silent around a worker that lives. */
export function heldBy(kind: Kind): Target[] {
  const { target }: KindRow = KINDS[kind]
  if (target === 'worker' || target === 'workers' || target === 'network') return ['worker']
  return target === 'processes' ? ['worker', 'api'] : [target]
}

/** By Fisher and Yates. */
function shuffled<T>(items: readonly T[], random: Random): T[] {
  const left = [...items]
  return items.map(() => left.splice(Math.floor(random() * left.length), 1)[0] as T)
}

export function endOf(plan: readonly Fault[]): number {
  return Math.max(0, ...plan.map(({ at, lastsMs }) => at + lastsMs))
}

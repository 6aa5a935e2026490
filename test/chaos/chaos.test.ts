/** The chaos in short, with queues in Redis; the plan by property; and that the ledger would see each kind of finding. */
import { rm } from 'node:fs/promises'
import { join } from 'node:path'
import fc from 'fast-check'
import { afterAll, describe, expect, it } from 'vitest'
import { makeFolder } from '../support/programs.ts'
import { closeAll, closeLater } from '../support/service.ts'
import { createDatabase } from '../support/services.ts'
import { runChaos, type Summary } from './conductor.ts'
import { createSearch } from './evidence.ts'
import { type Change, type Entry, FINDINGS, judge, toTold } from './ledger.ts'
import { type Backend, endOf, type Fault, heldBy, KINDS, type Kind, kindsFor, makePlan } from './plan.ts'
import { printFindings, printSummary } from './print.ts'

const SEED = 20_261_127
const MESSAGES = 200

/** Kinds that need no server of their own, each over within seconds, in an order in which none hides another. */
const SHORT: readonly Kind[] = [
  'worker killed after its claim, before the job is added',
  'Redis emptied',
  'worker killed with the answer in hand, before it is written',
  'API killed after the commit of a receipt, before its answer',
]

afterAll(closeAll)

const EVERY_MS = 1_500
/** Long enough for a batch to come by wherever a worker is to be killed. */
const SEND_FOR_MS = 8_000

function shortPlan(): Fault[] {
  return SHORT.map((kind, index) => {
    const [, most] = KINDS[kind].lastsMs
    return { step: index + 1, kind, at: index * EVERY_MS, lastsMs: most, aim: 0 }
  })
}

it('finds every message as it truly is, whatever strikes meanwhile', { timeout: 240_000 }, async () => {
  const database = await createDatabase()
  const folder = await makeFolder()
  const summary = await runChaos({
    backend: 'redis',
    seed: SEED,
    folder: join(folder, 'redis'),
    plan: shortPlan(),
    messages: MESSAGES,
    sendForMs: SEND_FOR_MS,
    windowMs: 120_000,
    // A message that never becomes final would be waited for until its window closes.
    neverShare: 0,
    timeScale: 240,
    tells: { callback: [], queue: ['seven', 'cm'] },
    databaseUrl: database.url,
    say: () => {},
    onOpened: closeLater,
  })
  expect(printFindings(summary)).toBe('')
  expect(summary.tracked + summary.erased).toBe(MESSAGES)
  // On a busy machine a kill may find that nothing comes by in time.
  const struck = [...summary.faults.values()].filter((one) => one.struck === 1)
  expect(struck.length).toBeGreaterThanOrEqual(SHORT.length - 1)
  expect(summary.receipts).toBeGreaterThan(MESSAGES / 4)
  await database.drop()
  await rm(folder, { recursive: true, force: true })
})

describe('the plan', () => {
  const options = fc.record({
    backend: fc.constantFrom<Backend>('redis', 'postgres'),
    has: fc.record({ server: fc.boolean(), disk: fc.boolean(), clock: fc.boolean() }),
    faults: fc.integer({ min: 1, max: 120 }),
    spanMs: fc.integer({ min: 1_000, max: 3_600_000 }),
  })
  const planned = fc.tuple(fc.nat(), options).map(([seed, { backend, has, faults, spanMs }]) => {
    const given = { faults, spanMs, kinds: kindsFor(backend, has) }
    return { seed, given, plan: makePlan(seed, given) }
  })

  it('follows from the seed', () => {
    fc.assert(
      fc.property(planned, ({ seed, given, plan }) => {
        expect(makePlan(seed, given)).toEqual(plan)
      }),
    )
    const given = { faults: 40, spanMs: 60_000, kinds: kindsFor('redis', { server: true, disk: true, clock: true }) }
    expect(makePlan(1, given)).not.toEqual(makePlan(2, given))
  })

  it('has each kind before any comes again', () => {
    fc.assert(
      fc.property(planned, ({ given: { kinds, faults }, plan }) => {
        expect(plan).toHaveLength(faults)
        const first = plan.slice(0, kinds.length).map(({ kind }) => kind)
        expect(new Set(first).size).toBe(Math.min(faults, kinds.length))
        for (const { kind } of plan) expect(kinds).toContain(kind)
      }),
    )
  })

  it('strikes a target once at a time, for as long as its kind lasts', () => {
    fc.assert(
      fc.property(planned, ({ plan }) => {
        const freeAt = new Map<string, number>()
        for (const { kind, at, lastsMs } of plan) {
          const [least, most] = KINDS[kind].lastsMs
          expect(lastsMs).toBeGreaterThanOrEqual(least)
          expect(lastsMs).toBeLessThanOrEqual(most)
          for (const target of heldBy(kind)) {
            expect(at).toBeGreaterThanOrEqual(freeAt.get(target) ?? 0)
            freeAt.set(target, at + lastsMs)
          }
        }
        expect(endOf(plan)).toBeGreaterThanOrEqual(Math.max(...freeAt.values()))
      }),
    )
  })

  it('leaves out what cannot strike here', () => {
    const bare = kindsFor('postgres', { server: false, disk: false, clock: false })
    expect(bare.filter((kind) => /^Redis|restarted|crashed|disk|clock/.test(kind))).toEqual([])
    const all = (['redis', 'postgres'] as const).flatMap((backend) =>
      kindsFor(backend, { server: true, disk: true, clock: true }),
    )
    expect(new Set(all)).toEqual(new Set(Object.keys(KINDS)))
  })
})

describe('the ledger', () => {
  const accepted: Change = { status: 'accepted', previousStatus: null, at: 1_000, final: false }
  const delivered: Change = { status: 'delivered', previousStatus: 'accepted', at: 5_000, final: true }
  const told = [toTold(accepted), toTold(delivered)]
  const right: Entry = {
    account: 'seven',
    messageId: '77100000001',
    recipient: '447090000042',
    sentAt: 0,
    finals: [{ statuses: ['delivered'], at: 4_000, acknowledged: true }],
    receipts: { DELIVERED: 2 },
    askedAt: [3_000, 5_500],
    row: { status: 'delivered', final: true },
    changes: [accepted, delivered],
    reports: { DELIVERED: 2, ACCEPTED: 1 },
    claims: [
      { from: 2_900, to: 3_100 },
      { from: 4_900, to: 5_600 },
    ],
    told: { feed: told, callback: told, queue: told },
  }
  const both = ['seven', 'cm']
  const kindsOf = (changes: Partial<Entry>, queueLostUntil = 0, tells = { callback: both, queue: both }) =>
    judge({ ...right, ...changes }, { queueLostUntil, tells, watchedFrom: 0 }).map(({ kind }) => kind)
  const unknown = { ...delivered, status: 'unknown' } as const
  const unknownTold = [toTold(accepted), toTold(unknown)]

  it.each<[string, Partial<Entry>]>([
    ['everything as it truly is', {}],
    ['a repeat of a callback', { told: { ...right.told, callback: [told[0], told[1], told[0]] as typeof told } }],
    [
      'unknown where truth never came',
      {
        finals: [],
        row: { status: 'unknown', final: true },
        changes: [accepted, unknown],
        told: { feed: unknownTold, callback: unknownTold, queue: unknownTold },
      },
    ],
    [
      'an earlier final whose correction nobody told of',
      { finals: [...right.finals, { statuses: ['failed'], at: 6_000, acknowledged: false }] },
    ],
    [
      'an earlier final whose correction is told with the same time',
      { finals: [...right.finals, { statuses: ['failed'], at: 4_000, acknowledged: true }] },
    ],
    ['a request under way when the status came', { askedAt: [6_500], claims: [{ from: 5_900, to: 7_000 }] }],
  ])('passes %s', (_, changes) => {
    expect(kindsOf(changes)).toEqual([])
  })

  it.each<[(typeof FINDINGS)[number], Partial<Entry>]>([
    ['not tracked', { row: undefined }],
    ['wrong status', { finals: [{ statuses: ['failed'], at: 6_000, acknowledged: false }] }],
    ['wrong status', { finals: [] }],
    ['wrong status', { row: { status: 'delivered', final: false } }],
    ['wrong status', { finals: [...right.finals, { statuses: ['failed'], at: 6_000, acknowledged: true }] }],
    ['broken chain of changes', { changes: [accepted, { ...delivered, previousStatus: null }] }],
    ['change untold', { told: { ...right.told, feed: [toTold(accepted)] } }],
    ['change untold', { told: { ...right.told, queue: [toTold(accepted)] } }],
    ['told out of order', { told: { ...right.told, callback: [...told].reverse() } }],
    ['told what did not happen', { told: { ...right.told, queue: [...told, 'read@9'] } }],
    ['asked after it was known', { askedAt: [9_000], claims: [{ from: 8_000, to: 9_500 }] }],
    ['asked without a claim', { askedAt: [100] }],
    ['in two batches at once', { claims: [...right.claims, { from: 3_000, to: 3_050 }] }],
    ['acknowledged receipt lost', { reports: { DELIVERED: 1 } }],
  ])('sees: %s', (kind, changes) => {
    expect(kindsOf(changes)).toEqual([kind])
  })

  it('excuses what Redis lost before the app took it, and no more', () => {
    const missing = { told: { ...right.told, queue: [] } }
    expect(kindsOf(missing, 4_000)).toEqual(['change untold'])
    expect(kindsOf(missing, 5_000)).toEqual([])
  })

  it('looks for changes where the account tells of them', () => {
    const missing = { told: { ...right.told, callback: [], queue: [] } }
    const about = right.account
    expect(kindsOf(missing, 0, { callback: [about], queue: [] })).toEqual(['change untold', 'change untold'])
    expect(kindsOf(missing, 0, { callback: [], queue: [about] })).toEqual(['change untold', 'change untold'])
    expect(kindsOf(missing, 0, { callback: [], queue: [] })).toEqual([])
  })
})

it('finds what an erased person left where it stands by itself', () => {
  const find = createSearch(['77100000001', '3f2c-9a-x', '447090000042'])
  expect(find('(5,seven,77100000001,"",447090000041)')).toBe('77100000001')
  expect(find('{"id":"3f2c-9a-x"}')).toBe('3f2c-9a-x')
  expect(find('job:cm-3f2c-9a-x-1')).toBe('3f2c-9a-x')
  expect(find('+447090000042')).toBe('447090000042')
  for (const other of ['', '771000000012', '1447090000042', '3f2c-9a-xy', '3f2c 9a x'])
    expect(find(other)).toBe(undefined)

  const piece = fc.constantFrom('7', '71', 'a-7', '_', '-', ' ', '"', '+')
  const text = fc.array(piece, { maxLength: 12 }).map((pieces) => pieces.join(''))
  fc.assert(
    fc.property(text, (row) => {
      expect(createSearch(['71', 'a-7'])(row)).toBe(/\b(71|a-7)\b/.exec(row)?.[0])
    }),
  )
})

it('prints each kind of fault and finding, with what repeats it', () => {
  const summary: Summary = {
    backend: 'redis',
    seed: 7,
    messages: 9,
    tracked: 8,
    erased: 1,
    seconds: 3,
    faults: new Map([
      ['Redis emptied', { struck: 2, missed: 0 }],
      ['worker killed after the job is added', { struck: 1, missed: 1 }],
    ]),
    statuses: { delivered: 8 },
    changes: 16,
    told: { feed: 16 },
    requests: 4,
    receipts: 5,
    findings: [{ kind: 'wrong status', about: 'seven 77', during: '10:00:00.000, during step 3 (Redis emptied)' }],
  }
  expect(printSummary(summary)).toMatch(
    /in Redis, seed 7: 9 messages, 3 faults of 2 kinds, 3 s\n[\s\S]* 1 {2}wrong status/,
  )
  expect(printSummary(summary)).toContain('1 (and 1 met nothing)  worker killed after the job is added')
  for (const kind of FINDINGS) expect(printSummary(summary)).toContain(kind)
  expect(printFindings(summary)).toBe('1 × wrong status:\n  seven 77\n    10:00:00.000, during step 3 (Redis emptied)')
})

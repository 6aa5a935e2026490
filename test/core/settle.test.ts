import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { merge, outcomesOf, type Report, rankOf, type Settlement, settle } from '../../src/core/settle.ts'
import { FINAL_STATUSES, INTERMEDIATE_STATUSES, isFinal, STATUSES, type Status } from '../../src/core/status.ts'

/** `delivered@2` is a report of that status, two milliseconds after the epoch. */
function report(text: string): Report {
  const [status, at] = text.split('@')
  return { status: status as Status, occurredAt: new Date(Number(at)) }
}

const reports = (texts: string[]) => texts.map(report)

function permutations<T>(items: readonly T[]): T[][] {
  if (items.length <= 1) return [[...items]]
  return items.flatMap((item, index) =>
    permutations(items.filter((_, other) => other !== index)).map((rest) => [item, ...rest]),
  )
}

/** The effect of a settlement: two with the same effect cannot be told apart by anything that follows. */
function effectOf(settlement: Settlement | undefined) {
  if (!settlement) return undefined
  const { status, final, decidedBy, latest, read } = settlement
  return { status, final, decidedBy: rankOf(decidedBy), latest: rankOf(latest), read: read && rankOf(read) }
}

// Few different times, so that reports often fall into the same millisecond.
const anyTime = fc.integer({ min: 0, max: 4 }).map((ms) => new Date(ms))
const anyReport: fc.Arbitrary<Report> = fc.record({ status: fc.constantFrom(...STATUSES), occurredAt: anyTime })
const anyReports = fc.array(anyReport, { minLength: 1, maxLength: 5 })
const intermediateReport = fc.record({ status: fc.constantFrom(...INTERMEDIATE_STATUSES), occurredAt: anyTime })

describe('the law of order, fact by fact', () => {
  it.each<[string, string[], Status]>([
    ['a single report decides', ['buffered@1'], 'buffered'],
    ['the later intermediate report is the news', ['accepted@1', 'transmitted@2', 'buffered@3'], 'buffered'],
    ['an intermediate report may go back in rank', ['buffered@1', 'accepted@2'], 'accepted'],
    ['late: an older intermediate report', ['transmitted@2', 'accepted@1'], 'transmitted'],
    ['twice: the same report', ['delivered@2', 'delivered@2'], 'delivered'],
    ['out of order: the final report first', ['delivered@3', 'transmitted@2', 'accepted@1'], 'delivered'],
    ['read implies delivered, which never came', ['transmitted@1', 'read@2'], 'read'],
    ['read after delivered', ['delivered@1', 'read@2'], 'read'],
    ['delivered after read changes nothing', ['read@1', 'delivered@2'], 'read'],
    ['delivered arrives after a read that happened later', ['read@2', 'delivered@1'], 'read'],
    ['failed after delivered', ['delivered@1', 'failed@2'], 'failed'],
    ['failed after read', ['read@1', 'failed@2'], 'failed'],
    ['failed before delivered', ['failed@1', 'delivered@2'], 'delivered'],
    ['failed before read', ['failed@1', 'read@2'], 'read'],
    ['failed between read and delivered: no cycle', ['read@1', 'failed@15', 'delivered@20'], 'read'],
    ['failed after read and delivered', ['read@1', 'delivered@2', 'failed@3'], 'failed'],
    ['the later of two failures', ['undelivered@2', 'expired@1'], 'undelivered'],
    ['rejected, then delivered after all', ['rejected@1', 'delivered@2'], 'delivered'],
    ['in one instant delivered beats failed', ['delivered@1', 'failed@1'], 'delivered'],
    ['in one instant read beats delivered', ['read@1', 'delivered@1'], 'read'],
    ['a later intermediate report never undoes delivered', ['delivered@1', 'transmitted@9'], 'delivered'],
    ['a later intermediate report never undoes failed', ['failed@1', 'accepted@9'], 'failed'],
    ['unknown ends an intermediate status', ['transmitted@1', 'unknown@9'], 'unknown'],
    ['unknown is not undone by a later intermediate report', ['unknown@5', 'buffered@9'], 'unknown'],
    ['unknown is replaced by a later final report', ['unknown@5', 'delivered@9'], 'delivered'],
    ['unknown is replaced by a final report of before', ['unknown@5', 'undelivered@1'], 'undelivered'],
    ['unknown never replaces a final report', ['expired@1', 'unknown@9'], 'expired'],
  ])('%s: %j is %s, in whatever order', (_, texts, expected) => {
    const statuses = permutations(reports(texts)).map((order) => settle(order)?.status)
    expect(new Set(statuses)).toEqual(new Set([expected]))
  })

  it('settles no reports as nothing', () => {
    expect(settle([])).toBeUndefined()
  })

  it('names the report that decided, the latest news and the latest read', () => {
    const [read, failed, delivered] = reports(['read@1', 'failed@15', 'delivered@20']) as [Report, Report, Report]
    expect(settle([delivered, failed, read])).toEqual({
      status: 'read',
      final: true,
      decidedBy: read,
      latest: delivered,
      read,
    })
    expect(settle([read, failed])).toEqual({ status: 'failed', final: true, decidedBy: failed, latest: failed, read })
    const [accepted] = reports(['accepted@1']) as [Report]
    expect(settle([accepted])).toEqual({
      status: 'accepted',
      final: false,
      decidedBy: accepted,
      latest: accepted,
      read: undefined,
    })
  })

  it('knows every status as intermediate or final, and null as neither', () => {
    expect(STATUSES.filter((status) => isFinal(status))).toEqual([...FINAL_STATUSES])
    expect(isFinal(null)).toBe(false)
  })
})

describe('the law of order, over all orders', () => {
  it('ends in one settlement for all permutations of up to five reports', () => {
    fc.assert(
      fc.property(anyReports, (set) => {
        const expected = effectOf(settle(set))
        for (const order of permutations(set)) expect(effectOf(settle(order))).toEqual(expected)
      }),
    )
  })

  it('ends in one status for every three reports of three instants, in every order', () => {
    const all = STATUSES.flatMap((status) => [1, 2, 3].map((ms): Report => ({ status, occurredAt: new Date(ms) })))
    const torn: string[] = []
    for (const [i, a] of all.entries())
      for (const [j, b] of all.slice(i).entries())
        for (const c of all.slice(i + j)) {
          const statuses = new Set(permutations([a, b, c]).map((order) => settle(order)?.status))
          if (statuses.size !== 1) torn.push(JSON.stringify([a, b, c]))
        }
    expect(torn).toEqual([])
  })

  it('ends in one settlement however often reports are repeated', () => {
    const repeated = anyReports.chain((set) =>
      fc.tuple(fc.constant(set), fc.array(fc.constantFrom(...set), { maxLength: 10 })),
    )
    fc.assert(
      fc.property(repeated, fc.nat(), ([set, repeats], cut) => {
        const at = cut % (repeats.length + 1)
        const arrived = [...repeats.slice(0, at), ...set, ...repeats.slice(at)]
        expect(effectOf(settle(arrived))).toEqual(effectOf(settle(set)))
      }),
    )
  })

  it('is what the law says in words', () => {
    const inWords = (set: readonly Report[]): Status => {
      const inOrder = [...set].sort((a, b) => rankOf(a) - rankOf(b))
      const last = (statuses: readonly string[]) => inOrder.findLast(({ status }) => statuses.includes(status))?.status
      const final = last(FINAL_STATUSES.filter((status) => status !== 'unknown'))
      if (final === 'delivered' && last(['read'])) return 'read'
      return final ?? last(['unknown']) ?? (last(INTERMEDIATE_STATUSES) as Status)
    }
    fc.assert(
      fc.property(anyReports, (set) => {
        expect(settle(set)?.status).toBe(inWords(set))
      }),
    )
  })

  it('never undoes a final status by an intermediate report', () => {
    fc.assert(
      fc.property(anyReports, intermediateReport, (set, late) => {
        const before = settle(set)
        fc.pre(before?.final === true)
        expect(settle([...set, late])?.status).toBe(before?.status)
      }),
    )
  })

  it('changes nothing by a delivered after read, and always turns delivered into read by a read', () => {
    fc.assert(
      fc.property(anyReports, anyTime, (set, occurredAt) => {
        const before = settle(set)?.status
        const afterOne = (status: Status) => settle([...set, { status, occurredAt }])?.status
        if (before === 'read') expect(afterOne('delivered')).toBe('read')
        if (before === 'delivered') expect(afterOne('read')).toBe('read')
        if (before === 'unknown') expect(afterOne('failed')).toBe('failed')
      }),
    )
  })
})

describe('merge', () => {
  const anySettlement = fc.array(anyReport, { maxLength: 4 }).map(settle)

  it('is commutative', () => {
    fc.assert(
      fc.property(anySettlement, anyReport, anyReport, (settlement, a, b) => {
        expect(effectOf(merge(merge(settlement, a), b))).toEqual(effectOf(merge(merge(settlement, b), a)))
      }),
    )
  })

  it('is associative: the two maxima of a part stand for the whole part', () => {
    fc.assert(
      fc.property(anyReports, anyReports, (left, right) => {
        const part = settle(right)
        const maxima = [part?.latest, part?.read].filter((maximum) => maximum !== undefined)
        expect(effectOf(settle([...left, ...maxima]))).toEqual(effectOf(settle([...left, ...right])))
      }),
    )
  })

  it('is idempotent', () => {
    fc.assert(
      fc.property(anySettlement, anyReport, (settlement, a) => {
        const once = merge(settlement, a)
        expect(effectOf(merge(once, a))).toEqual(effectOf(once))
      }),
    )
  })

  it('leaves the settlement it was given as it was', () => {
    const before = Object.freeze(settle(reports(['delivered@1'])) as Settlement)
    merge(before, report('failed@2'))
    expect(before.status).toBe('delivered')
  })
})

describe('rankOf', () => {
  const latestMs = 2 ** 46 - 1
  const anyMs = fc.oneof(fc.integer({ min: 0, max: 3 }), fc.integer({ min: 0, max: latestMs }))
  const rank = (status: Status, ms: number) => rankOf({ status, occurredAt: new Date(ms) })

  it('is a safe integer for every status at every time a Date can hold', () => {
    const ms = fc.oneof(anyMs, fc.integer({ min: -8.64e15, max: 8.64e15 }))
    fc.assert(
      fc.property(fc.constantFrom(...STATUSES), ms, (status, at) => {
        expect(Number.isSafeInteger(rank(status, at))).toBe(true)
      }),
    )
  })

  it('is different for different (status, ms), and only for those', () => {
    const status = fc.constantFrom(...STATUSES)
    fc.assert(
      fc.property(status, anyMs, status, anyMs, (a, aMs, b, bMs) => {
        expect(rank(a, aMs) === rank(b, bMs)).toBe(a === b && aMs === bMs)
      }),
      { numRuns: 1000 },
    )
    const edges = [0, 1, 2, latestMs - 1, latestMs]
    const ranks = STATUSES.flatMap((word) => edges.map((ms) => rank(word, ms)))
    expect(new Set(ranks).size).toBe(STATUSES.length * edges.length)
  })

  it('puts every intermediate report below unknown, and unknown below every other final one', () => {
    const ranks = (statuses: readonly Status[]) => statuses.flatMap((s) => [rank(s, 0), rank(s, latestMs)])
    const finals = FINAL_STATUSES.filter((status) => status !== 'unknown')
    expect(Math.max(...ranks(INTERMEDIATE_STATUSES))).toBeLessThan(rank('unknown', 0))
    expect(rank('unknown', latestMs)).toBeLessThan(Math.min(...ranks(finals)))
  })

  it('grows with time among statuses of one class', () => {
    for (const a of INTERMEDIATE_STATUSES)
      for (const b of INTERMEDIATE_STATUSES) expect(rank(a, 1000)).toBeLessThan(rank(b, 1001))
    expect(rank('read', 1000)).toBeLessThan(rank('rejected', 1001))
  })
})

describe('outcomesOf', () => {
  it.each<[string[], string[]]>([
    [[], []],
    [['accepted@1'], ['applied']],
    [
      ['accepted@1', 'transmitted@2', 'delivered@3'],
      ['applied', 'applied', 'applied'],
    ],
    [
      ['delivered@3', 'delivered@3', 'delivered@4', 'delivered@2'],
      ['applied', 'duplicate', 'duplicate', 'duplicate'],
    ],
    [
      ['delivered@3', 'transmitted@2', 'transmitted@9', 'transmitted@2'],
      ['applied', 'stale', 'stale', 'duplicate'],
    ],
    [
      ['transmitted@2', 'accepted@1', 'accepted@1'],
      ['applied', 'stale', 'duplicate'],
    ],
    [
      ['delivered@1', 'read@2', 'delivered@3'],
      ['applied', 'applied', 'stale'],
    ],
    [
      ['read@2', 'delivered@1', 'delivered@1'],
      ['applied', 'stale', 'duplicate'],
    ],
    [
      ['delivered@2', 'failed@1'],
      ['applied', 'contradicting'],
    ],
    [
      ['failed@2', 'delivered@1', 'read@1'],
      ['applied', 'contradicting', 'contradicting'],
    ],
    [
      ['delivered@1', 'failed@2', 'delivered@1'],
      ['applied', 'applied', 'duplicate'],
    ],
    [
      ['read@1', 'failed@15', 'delivered@20'],
      ['applied', 'applied', 'applied'],
    ],
    [
      ['unknown@9', 'transmitted@3', 'delivered@4'],
      ['applied', 'stale', 'applied'],
    ],
  ])('%j did %j', (arrived, outcomes) => {
    expect(outcomesOf(reports(arrived))).toEqual(outcomes)
  })

  it('applies the first report, applies whatever changes the status and nothing else, and never applies a repeat', () => {
    fc.assert(
      fc.property(anyReports, (arrived) => {
        const twice = [...arrived, ...arrived]
        const outcomes = outcomesOf(twice)
        for (const [index, outcome] of outcomes.entries()) {
          const before = settle(twice.slice(0, index))?.status
          const after = settle(twice.slice(0, index + 1))?.status
          expect(outcome === 'applied').toBe(before !== after)
        }
        expect(outcomes[0]).toBe('applied')
        expect(new Set(outcomes.slice(arrived.length))).toEqual(new Set(['duplicate']))
      }),
    )
  })
})

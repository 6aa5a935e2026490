import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { type BatchLimits, cutBatches } from '../../src/core/batching.ts'

const cut = (ids: readonly string[], limits: BatchLimits) => cutBatches(ids, (id) => id, limits)
const charsOf = (ids: readonly string[]) => ids.map(encodeURIComponent).join(',').length

const anyId = fc.oneof(fc.stringMatching(/^[0-9]{1,12}$/), fc.string({ unit: 'binary', minLength: 1, maxLength: 12 }))
const anyIds = fc.array(anyId, { maxLength: 200 })
const anyLimits = fc.record({ maxIds: fc.integer({ min: 1, max: 50 }), maxChars: fc.integer({ min: 1, max: 200 }) })

describe('cutBatches', () => {
  it.each<[string, string[], BatchLimits, string[][]]>([
    ['nothing', [], { maxIds: 2, maxChars: 100 }, []],
    ['one ID', ['1'], { maxIds: 2, maxChars: 100 }, [['1']]],
    ['by number', ['1', '2', '3', '4', '5'], { maxIds: 2, maxChars: 100 }, [['1', '2'], ['3', '4'], ['5']]],
    [
      'by characters, the separators included',
      ['111', '222', '333'],
      { maxIds: 9, maxChars: 7 },
      [['111', '222'], ['333']],
    ],
    ['one character short of two', ['111', '222'], { maxIds: 9, maxChars: 6 }, [['111'], ['222']]],
    ['an over-long ID stands alone', ['1', '22222', '3'], { maxIds: 9, maxChars: 3 }, [['1'], ['22222'], ['3']]],
    ['as the ID stands in the URL', ['ä', 'ö'], { maxIds: 9, maxChars: 12 }, [['ä'], ['ö']]],
  ])('cuts %s', (_, ids, limits, batches) => {
    expect(cut(ids, limits)).toEqual(batches)
  })

  it('exceeds no limit, but for a single over-long ID', () => {
    fc.assert(
      fc.property(anyIds, anyLimits, (ids, limits) => {
        for (const batch of cut(ids, limits)) {
          expect(batch.length).toBeGreaterThanOrEqual(1)
          expect(batch.length).toBeLessThanOrEqual(limits.maxIds)
          if (batch.length > 1) expect(charsOf(batch)).toBeLessThanOrEqual(limits.maxChars)
        }
      }),
    )
  })

  it('loses no item, repeats none and keeps their order', () => {
    fc.assert(
      fc.property(anyIds, anyLimits, (ids, limits) => {
        const items = ids.map((id, index) => ({ id, index }))
        expect(cutBatches(items, ({ id }) => id, limits).flat()).toEqual(items)
      }),
    )
  })

  it('fills every batch but the last, as far as the limits go', () => {
    fc.assert(
      fc.property(anyIds, anyLimits, (ids, limits) => {
        const batches = cut(ids, limits)
        for (const [index, batch] of batches.entries()) {
          const next = batches[index + 1]
          if (!next) continue
          const oneMore = [...batch, ...next.slice(0, 1)]
          expect(oneMore.length > limits.maxIds || charsOf(oneMore) > limits.maxChars).toBe(true)
        }
      }),
    )
    const ids = Array.from({ length: 1000 }, (_, index) => String(77_232_007_000 + index))
    expect(cut(ids, { maxIds: 100, maxChars: 3700 }).map(({ length }) => length)).toEqual(Array(10).fill(100))
  })
})

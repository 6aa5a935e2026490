/**
 * Deciding: how much of a worker's time it takes to weigh messages, to choose those that are asked about, and to say when
 * each is due again, where 10,000 are asked about in a second. In this process, without a database.
 */
import { PRIOR_CURVE } from '../../../src/core/curve.ts'
import { decide, nextDueAt, planOf } from '../../../src/core/plan.ts'
import { windowOf } from '../../../src/core/polling.ts'
import { type Bench, median, type Row, timed } from '../bench.ts'

const PLACES = 100
const REQUESTS = 50
const PER_SECOND = 10_000
const ROUNDS = 21
const DAY_MS = 86_400_000

export async function measureDeciding(_bench: Bench): Promise<Row[]> {
  const economy = { curve: PRIOR_CURVE, loss: 0.03, lagMs: 3_000, priceMs: 300_000, recordPriceMs: 0, places: PLACES }
  const plan = planOf({ policy: 'learned', priceMs: economy.priceMs, windowMs: 30 * DAY_MS }, economy)
  const now = Date.now()
  const due = Array.from({ length: PLACES * REQUESTS }, () => {
    const age = Math.exp(Math.random() * Math.log(DAY_MS))
    const askedAt = Math.random() < 0.5 ? undefined : now - age * Math.random()
    return { ...windowOf(plan.policy, now - age), askedAt, polls: 1, wanted: false }
  })
  const times: number[] = []
  for (let round = 0; round < ROUNDS; round++) {
    const seconds = await timed(async () => {
      decide(plan, { due, next: [] }, now, REQUESTS)
      for (const message of due) nextDueAt(plan, { ...message, askedAt: now, polls: 2 }, now, 0.5)
    })
    times.push(seconds / due.length)
  }
  const share = 100 * median(times) * PER_SECOND
  return [{ measure: `deciding: at ${PER_SECOND} messages/s`, value: share, unit: '% of a core', goal: { atMost: 5 } }]
}

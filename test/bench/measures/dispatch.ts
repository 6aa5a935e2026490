/**
 * Dispatch: how long it takes to claim a full batch of 100 with many messages outstanding, against few. Claims in the
 * two databases take turns, so that what else the machine does touches both alike; the medians are compared. The rows
 * that are due lie scattered over the whole table.
 */
import { claimDue } from '../../../src/db/schedule.ts'
import { type Bench, median, type Row, timed } from '../bench.ts'
import {
  ACCOUNT,
  fillOutstanding,
  type Installation,
  makeDue,
  makeNothingDue,
  openInstallation,
} from '../installation.ts'

const BATCH = 100
const WARM_UPS = 5
/** Claimed rows stay out of the way of everything that follows. */
const LEASE_MS = 2 * 3_600_000

/** Compares an installation with `counts.outstanding` filled rows with one of `counts.outstandingSmall`. */
export async function measureDispatch(bench: Bench, big: Installation): Promise<Row[]> {
  const { services, counts } = bench
  const small = await openInstallation(services)
  try {
    await fillOutstanding(small, counts.outstandingSmall)
    const needed = (counts.claims + WARM_UPS) * BATCH * 1.1
    await makeDue(small, { share: needed / counts.outstandingSmall, withinS: 0 })
    await makeDue(big, { share: needed / counts.outstanding, withinS: 0 })
    const times = { small: [] as number[], big: [] as number[] }
    for (let turn = 0; turn < counts.claims + WARM_UPS; turn += 1) {
      const once = { small: await claimOnce(small), big: await claimOnce(big) }
      if (turn < WARM_UPS) continue
      times.small.push(once.small)
      times.big.push(once.big)
    }
    const [smallMs, bigMs] = [median(times.small), median(times.big)]
    return [
      { measure: `dispatch: claim ${BATCH}, ${counts.outstandingSmall} outstanding`, value: smallMs, unit: 'ms' },
      { measure: `dispatch: claim ${BATCH}, ${counts.outstanding} outstanding`, value: bigMs, unit: 'ms' },
      { measure: 'dispatch: many outstanding against few', value: bigMs / smallMs, unit: '×', goal: { atMost: 1.2 } },
    ]
  } finally {
    await small.close()
    await makeNothingDue(big)
  }
}

/** The median of claims, in milliseconds, where `outstanding` rows are filled. */
export async function timeOfClaims(installation: Installation, outstanding: number, claims: number): Promise<number> {
  await makeDue(installation, { share: ((claims + WARM_UPS) * BATCH * 1.1) / outstanding, withinS: 0 })
  const times: number[] = []
  for (let turn = 0; turn < claims + WARM_UPS; turn += 1) times.push(await claimOnce(installation))
  await makeNothingDue(installation)
  return median(times.slice(WARM_UPS))
}

async function claimOnce({ database }: Installation): Promise<number> {
  let claimed = 0
  const seconds = await timed(async () => {
    const lot = { account: ACCOUNT, limit: BATCH, leaseMs: LEASE_MS }
    const { batches } = await claimDue(database.db, lot, ({ due }) => [due])
    claimed = batches[0]?.messages.length ?? 0
  })
  if (claimed < BATCH) throw new Error(`Only ${claimed} of ${BATCH} rows were due.`)
  return seconds * 1000
}

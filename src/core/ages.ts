/**
 * The ages at which a message may become final, cut into buckets whose widths grow with the age: the first is half a
 * second long, and twelve make up a factor of e. All of what is learned is counted by them.
 *
 * Ages and durations are milliseconds. A position is a place on this scale: its whole part is a bucket, the rest says how
 * far into the bucket the age lies, by the logarithm.
 */

const FIRST_EDGE_MS = 500
const BUCKETS_A_FACTOR_OF_E = 12
const LONGEST_MS = 32 * 86_400_000

/** The ages between which the buckets lie: bucket `i` is from edge `i` to edge `i + 1`. */
export const EDGES: readonly number[] = edges()

export const BUCKETS = EDGES.length - 1
export const LAST_EDGE_MS = EDGES[BUCKETS] ?? LONGEST_MS

function edges(): number[] {
  const ages = [0]
  for (let step = 0; (ages.at(-1) ?? 0) < LONGEST_MS; step++) {
    ages.push(FIRST_EDGE_MS * Math.exp(step / BUCKETS_A_FACTOR_OF_E))
  }
  return ages
}

/** The place of an age; ages below zero and above the last edge are taken for those. */
export function positionOf(age: number): number {
  if (age <= 0) return 0
  if (age < FIRST_EDGE_MS) return age / FIRST_EDGE_MS
  return Math.min(1 + BUCKETS_A_FACTOR_OF_E * Math.log(age / FIRST_EDGE_MS), BUCKETS)
}

/** The bucket an age lies in. */
export function bucketOf(age: number): number {
  return Math.min(Math.floor(positionOf(age)), BUCKETS - 1)
}

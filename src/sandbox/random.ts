/** Seeded randomness: the same seed and stream give the same numbers, on every machine. Not for secrets. */

/** Gives a number in [0, 1). */
export type Random = () => number

/** Rounds after which the state no longer shows the seed. */
const WARM_UP_ROUNDS = 20

/**
 * The sfc32 generator. Streams of one seed are independent, so that drawing more from one (a fault for every request)
 * leaves the others (one for each message) as they are.
 */
export function createRandom(seed: number, stream = 0): Random {
  let a = seed | 0
  let b = Math.floor(seed / 2 ** 32) | 0
  let c = stream | 0
  let counter = 1

  const next = () => {
    const sum = (((a + b) | 0) + counter) | 0
    counter = (counter + 1) | 0
    a = b ^ (b >>> 9)
    b = (c + (c << 3)) | 0
    c = (((c << 21) | (c >>> 11)) + sum) | 0
    return (sum >>> 0) / 2 ** 32
  }
  for (let round = 0; round < WARM_UP_ROUNDS; round += 1) next()
  return next
}

/** One of these, each as likely. */
export function pick<T>(items: readonly [T, ...T[]], random: Random): T {
  return items[Math.floor(random() * items.length)] ?? items[0]
}

/** A lognormal number; `sigma` is the standard deviation of its logarithm, 0 gives the median. */
export function drawLognormal(random: Random, median: number, sigma: number): number {
  return median * Math.exp(sigma * drawNormal(random))
}

/** The Box-Muller transform; 1 - u keeps the logarithm finite. */
function drawNormal(random: Random): number {
  return Math.sqrt(-2 * Math.log(1 - random())) * Math.cos(2 * Math.PI * random())
}

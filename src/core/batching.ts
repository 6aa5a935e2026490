/** Cutting message IDs into batches that fit one status query, by number and by characters of the joined list. */

export interface BatchLimits {
  /** The most IDs in one request. */
  maxIds: number
  /** The most characters of all IDs joined by a one-character separator, as they stand in the URL. */
  maxChars: number
}

/**
 * Cuts `items` into batches in their order. Every item is in exactly one batch; no batch is empty or exceeds a limit.
 * An ID longer than `maxChars` stands alone, so that it is asked about (and refused by name) instead of lost.
 */
export function cutBatches<T>(items: readonly T[], idOf: (item: T) => string, limits: BatchLimits): T[][] {
  const batches: T[][] = []
  let batch: T[] = []
  let chars = 0
  for (const item of items) {
    const idChars = encodeURIComponent(idOf(item)).length
    if (batch.length > 0 && (batch.length >= limits.maxIds || chars + 1 + idChars > limits.maxChars)) {
      batches.push(batch)
      batch = []
    }
    chars = batch.length > 0 ? chars + 1 + idChars : idChars
    batch.push(item)
  }
  if (batch.length > 0) batches.push(batch)
  return batches
}

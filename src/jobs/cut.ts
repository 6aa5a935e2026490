/** Cuts claimed messages into batches that one status query can ask about. */
import { type BatchLimits, cutBatches } from '../core/batching.ts'
import type { ClaimedMessage } from '../db/batches.ts'

/** Messages of one ID are asked about together; those the provider has refused to answer about stand alone. */
export function cutClaimed(claimed: readonly ClaimedMessage[], limits: BatchLimits): ClaimedMessage[][] {
  const refused = groupById(claimed.filter((message) => message.refused))
  const others = groupById(claimed.filter((message) => !message.refused))
  return [...cutBatches(others, ([first]) => first.messageId, limits).map((groups) => groups.flat()), ...refused]
}

/** Messages by their ID, in order: at CM.com several recipients share one. */
export function groupById(messages: readonly ClaimedMessage[]): [ClaimedMessage, ...ClaimedMessage[]][] {
  const groups = new Map<string, [ClaimedMessage, ...ClaimedMessage[]]>()
  for (const message of messages) {
    const group = groups.get(message.messageId)
    if (group) group.push(message)
    else groups.set(message.messageId, [message])
  }
  return [...groups.values()]
}

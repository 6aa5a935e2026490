/**
 * Takes erased messages out of jobs: orders to track them, their IDs in batches, answers that are kept with a job, and
 * changes for the sending app. Jobs that hold something of others too go on without them.
 */
import { ErrorCode, type Job, type Queue } from 'bullmq'
import type { ErasedMessage } from '../db/erasure.ts'
import type { QueueBackend } from './queue-backend.ts'

export interface Erased {
  messages: readonly ErasedMessage[]
  /** True for a recipient whose messages are erased, as an app or a provider may write the number. */
  isErasedNumber(recipient: string): boolean
}

/** The normal form of a recipient's number in an account; undefined where that cannot be said. */
export type NormalOf = (account: unknown, recipient: string) => string | undefined

/** Removes erased messages from every job of these queues. */
export async function forgetInJobs(
  backend: Pick<QueueBackend, 'findJobIds'>,
  queues: readonly Queue[],
  erased: Erased,
  normalOf: NormalOf = () => undefined,
): Promise<void> {
  const keysOf = new Map<string, string[]>()
  for (const { account, messageId, recipientKey } of erased.messages) {
    const id = JSON.stringify([account, messageId])
    keysOf.set(id, [...(keysOf.get(id) ?? []), recipientKey])
  }
  const isErased: IsErased = (account, messageId, recipient) => {
    const keys = keysOf.get(JSON.stringify([account, String(messageId).trim()])) ?? []
    const isNamed = typeof recipient === 'string' && recipient !== ''
    return (
      keys.some((key) => !isOther(key, isNamed ? normalOf(account, recipient) : undefined)) ||
      (isNamed && erased.isErasedNumber(recipient))
    )
  }
  for (const queue of queues) {
    const found = await backend.findJobIds(queue, (data) => without(data as JobData, isErased) !== data)
    for (const id of found) {
      const job = await queue.getJob(id)
      if (job) await forgetInJob(job, isErased)
    }
  }
}

type IsErased = (account: unknown, messageId: unknown, recipient?: unknown) => boolean

/** True for a recipient that surely is another than the erased one: messages to several may have one ID. */
function isOther(erased: string, recipient: string | undefined): boolean {
  return erased !== '' && recipient !== undefined && recipient !== erased
}

async function forgetInJob(job: Job, isErased: IsErased): Promise<void> {
  const left = without(job.data, isErased)
  if (left === job.data) return
  // The result of a finished job may name the message, too.
  if (left === undefined || job.finishedOn !== undefined) {
    const isRemoved = await job.remove().then(
      () => true,
      () => false,
    )
    if (isRemoved) return
  }
  await job.updateData(left ?? { v: job.data.v }).catch((error: Error & { code?: unknown }) => {
    // Its worker or somebody else has removed it meanwhile.
    if (error.code !== ErrorCode.JobNotExist) throw error
  })
}

interface JobData {
  v?: unknown
  account?: unknown
  messageId?: unknown
  recipient?: unknown
  messages?: unknown
  messageIds?: unknown
  answer?: { reports?: { messageId: unknown; recipient?: unknown }[]; missing?: unknown[] }
}

/** A job's data without erased messages: the same object where there are none, undefined where nothing else is left. */
function without(data: JobData | null | undefined, isErased: IsErased): JobData | null | undefined {
  if (!data) return data
  const { account } = data
  if (data.messageId !== undefined) {
    return isErased(account, data.messageId, data.recipient) ? undefined : data
  }
  const left = { ...data }
  if (Array.isArray(data.messages)) {
    left.messages = data.messages.filter((one) => !isErased(account, one?.messageId, one?.recipient))
  }
  if (Array.isArray(data.messageIds)) left.messageIds = data.messageIds.filter((id) => !isErased(account, id))
  if (data.answer?.reports) {
    const reports = data.answer.reports.filter((one) => !isErased(account, one.messageId, one.recipient))
    left.answer = { ...data.answer, reports }
  }
  if (sizeOf(left) === sizeOf(data)) return data
  return sizeOf(left) === 0 ? undefined : left
}

function sizeOf({ messages, messageIds, answer }: JobData): number {
  return [messages, messageIds, answer?.reports].reduce<number>(
    (sum, list) => sum + (Array.isArray(list) ? list.length : 0),
    0,
  )
}

/**
 * The jobs of `status-query.<account>`: each asks about a batch, or for one page of a sweep. They carry the IDs of what
 * Postgres holds, and the answer where the provider hands each report out once.
 */
import type { Job, JobsOptions } from 'bullmq'
import { z } from 'zod'
import { MOST_ATTEMPTS } from '../core/provider-failure.ts'
import { SOURCES, STATUSES } from '../core/status.ts'
import type { Batch } from '../db/batches.ts'
import { readJob } from './queues.ts'

/** Since version 2 a job of `status-query.<account>` names a batch. */
const STATUS_QUERY_VERSION = 2

const queryFields = {
  v: z.literal(STATUS_QUERY_VERSION),
  account: z.string(),
  /** The name of the look-up to ask. */
  lookup: z.string(),
  /** The batch in Postgres: only messages that it still holds are asked about. */
  batch: z.uuid(),
  /** The account is in trouble; an answer to this job says that it is no more. */
  probe: z.boolean().optional(),
  /** Another look-up is in use; an answer to this job says that the first works again. */
  trial: z.boolean().optional(),
  /** When the batch that these messages are a part of was refused first, in milliseconds since 1970. */
  refusedAt: z.number().optional(),
}

const reportSchema = z.object({
  account: z.string(),
  messageId: z.string(),
  recipient: z.string().exactOptional(),
  status: z.enum(STATUSES),
  rawStatus: z.string(),
  // Times are text in a job's data.
  occurredAt: z.coerce.date(),
  source: z.enum(SOURCES),
  unmapped: z.boolean().exactOptional(),
  error: z.object({ code: z.string().exactOptional(), description: z.string().exactOptional() }).exactOptional(),
  details: z.record(z.string(), z.unknown()).exactOptional(),
})

/** A claimed batch; the IDs are for those who look into the queue. */
const batchJobSchema = z.object({
  ...queryFields,
  messageIds: z.array(z.string()).min(1),
  /** The answer that an earlier attempt was given. */
  answer: z.object({ reports: z.array(reportSchema), missing: z.array(z.string()) }).optional(),
})
export type BatchJob = z.infer<typeof batchJobSchema>

/** One page of a sweep over everything that was sent in a window; the next page is a job of its own. */
const sweepJobSchema = z.object({
  ...queryFields,
  sweep: z.object({
    from: z.iso.datetime(),
    to: z.iso.datetime(),
    page: z.int().min(0),
    cursor: z.string().optional(),
  }),
  /** The answer that an earlier attempt was given. */
  answer: z
    .object({
      reports: z.array(reportSchema),
      noStatusYet: z.array(z.string()),
      hasMore: z.boolean(),
      cursor: z.string().optional(),
    })
    .optional(),
})
export type SweepJob = z.infer<typeof sweepJobSchema>

const statusQueryJobSchema = z.union([batchJobSchema, sweepJobSchema])

/** The result of a batch or of a page of a sweep, as Bull Board shows it. */
export interface StatusQueryResult {
  /** Messages asked about; for a sweep, those that still waited for an answer. */
  asked: number
  final: number
  intermediate: number
  /** The provider knows the message and has no status yet. */
  noStatusYet: number
  /** The provider's answer does not mention the message. */
  missing: number
  /** Settled before the request, so not asked about. */
  alreadySettled: number
  /** Taken by a newer claim, or given back at a shutdown. */
  givenBack: number
  /** The consequence: further jobs, another look-up. */
  next?: string
}

export const NOTHING_FOUND: StatusQueryResult = {
  asked: 0,
  final: 0,
  intermediate: 0,
  noStatusYet: 0,
  missing: 0,
  alreadySettled: 0,
  givenBack: 0,
}

export const statusQueryJobOptions: JobsOptions = {
  attempts: MOST_ATTEMPTS,
  backoff: { type: 'custom' },
}

/** The fields of every job of a claim, beside its batch. */
export type Query = Pick<BatchJob, 'account' | 'lookup' | 'probe' | 'trial' | 'refusedAt'>

/** Jobs for claimed batches, ready for `addBulk`. */
export function batchJobs(query: Query, batches: readonly Batch[]) {
  return batches.map(({ id: batch, messages }) => {
    const messageIds = [...new Set(messages.map(({ messageId }) => messageId))]
    const data: BatchJob = { v: STATUS_QUERY_VERSION, ...query, batch, messageIds }
    return { name: describeBatch(query, messageIds.length), data, opts: statusQueryJobOptions }
  })
}

/** As Bull Board lists it: how many messages, of which account, asked about by which look-up, and why. */
function describeBatch({ account, lookup, probe, trial }: Query, count: number): string {
  const why = probe ? ' (a probe)' : trial ? ' (a trial)' : ''
  return `${count} ${count === 1 ? 'message' : 'messages'} of ${account} by ${lookup}${why}`
}

/** The job for one page of a sweep; adding it again after a crash adds nothing twice. */
export function sweepJob(query: Query, batch: string, sweep: SweepJob['sweep']) {
  const data: SweepJob = { v: STATUS_QUERY_VERSION, ...query, batch, sweep }
  return {
    name: `sweep of ${query.account} by ${query.lookup}, page ${sweep.page}`,
    data,
    opts: { ...statusQueryJobOptions, jobId: `${batch}-page-${sweep.page}` },
  }
}

/** A job of `status-query.<account>`; undefined for one that 0.1.0 has left: its messages come due again without it. */
export function readStatusQuery(job: Job): BatchJob | SweepJob | undefined {
  return job.data?.v === 1 ? undefined : readJob(job, statusQueryJobSchema, STATUS_QUERY_VERSION)
}

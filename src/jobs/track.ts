/**
 * Tracks what apps add to the queue `track`. A malformed order fails with its reason in Bull Board and nothing else is
 * affected; while the database is away an order waits, it never fails for that.
 */
import { type Job, UnrecoverableError } from 'bullmq'
import { z } from 'zod'
import { LastwordError } from '../core/errors.ts'
import { type Db, isDatabaseUnavailable } from '../db/client.ts'
import type { Learner } from '../learner.ts'
import type { Metrics } from '../metrics.ts'
import type { Tracing } from '../tracing.ts'
import { type Accounts, type Tracked, track } from '../tracking.ts'
import { readOrder } from '../tracking-order.ts'
import { JOB_VERSION, readJob, waitForDatabase } from './queues.ts'

const trackJobSchema = z.looseObject({ v: z.literal(JOB_VERSION) })

export interface TrackerOptions {
  db: Db
  accounts: Accounts
  learner: Learner
  metrics: Metrics
  tracing: Tracing
}

export function createTracker({ db, accounts, learner, metrics, tracing }: TrackerOptions) {
  return async function trackOrder(job: Job, token?: string): Promise<Tracked> {
    const { v: _version, ...order } = readJob(job, trackJobSchema)
    try {
      const read = readOrder(order, 'job')
      const described = { account: read.account, messages: read.messages.length }
      const tracked = await tracing.track(described, (traceparent) => track(db, accounts, read, learner, traceparent))
      metrics.messagesTracked.inc({ account: read.account }, tracked.tracked)
      return tracked
    } catch (error) {
      if (error instanceof LastwordError) throw new UnrecoverableError(error.message)
      if (!isDatabaseUnavailable(error)) throw error
      return waitForDatabase(job, token)
    }
  }
}

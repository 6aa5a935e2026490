/**
 * The demands of the queues on their home: the same for Redis (redis-backend.ts) and Postgres (postgres-backend.ts).
 */
import type { KeepJobs, Processor, Queue, Worker, WorkerOptions } from 'bullmq'
import type { PoolUse } from '../db/pool.ts'
import type { Log } from '../log.ts'

/** The braces keep all keys of a queue in one slot of a Redis Cluster. */
export const DEFAULT_PREFIX = '{lastword}'

/** So many jobs are read at once by whoever looks through a queue. */
export const JOBS_A_PAGE = 500

export interface Memory {
  used: number
  most: number
}

/** How finished jobs of a queue are kept; for ever where nothing is said. */
export interface Kept {
  completed?: KeptFor
  failed?: KeptFor
}

/** Seconds, and about how many jobs at most. */
interface KeptFor {
  age: number
  count: number
}

export interface KeptOptions {
  removeOnComplete?: KeepJobs
  removeOnFail?: KeepJobs
}

export interface QueueBackend {
  openQueue(name: string): Queue
  openWorker(name: string, process: Processor, options?: Partial<WorkerOptions>): Worker
  /** The IDs of the queue's jobs, in whatever state, whose data hold something. */
  findJobIds(queue: Queue, holds: (data: unknown) => boolean): Promise<string[]>
  /** Makes what queues of these names need before their first job. Throws UNUSABLE where the role may not. */
  prepare(names: readonly string[]): Promise<void>
  /** Rejects when the queues take no writes. */
  check(): Promise<void>
  /** How many connections of the queues' own pool are in use; there is none where they share connections without end. */
  poolUse?: (() => PoolUse) | undefined
  /** How many bytes are used of those that there may be, where the queues live in memory and that is bounded. */
  memory(): Promise<Memory | undefined>
  /** Marks the queues as those of an installation, unless they are another's already; returns whose they are. */
  meet(installation: string): Promise<string>
  /** Has finished jobs of a queue kept so long, by the options that jobs or the worker are given for it. */
  keep(queue: string, kept: Kept): KeptOptions
  /**
   * Frees what a worker with a wrong clock, which is gone, keeps from the others, and removes jobs that are not kept; to be
   * called every few seconds.
   */
  tidy(): Promise<void>
  /** Closes every queue opened here, then the connections. Workers are closed by whoever opened them. */
  close(): Promise<void>
}

export interface QueueBackendOptions {
  url: string
  /** The variable that the URL stands in. */
  variable?: string
  log: Log
  /** How many workers this process will open: each holds a connection of its own. */
  workers: number
  prefix?: string
}

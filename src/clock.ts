/**
 * One clock for all processes: the database's. Each process measures by how much its own differs, every few seconds, and
 * goes by the database's wherever another process must agree; a difference of seconds is told, because the queue and the
 * providers go by the process's own.
 */
import { type Db, describeDatabaseError } from './db/client.ts'
import { readClock, seeWorker } from './db/installation.ts'
import { createComplaint, type Log } from './log.ts'

export interface Clock {
  /** Milliseconds since 1970. */
  now(): number
  /** By how many milliseconds this process is ahead. */
  aheadMs(): number
  close(): void
}

export interface ClockOptions {
  db: Db
  log: Log
  /** A worker is seen by it, too. */
  isWorker: boolean
}

const BEAT_EVERY_MS = 5_000
/** A difference that is told of. Telling ends at half of it. */
const FAR_MS = 3_000
/** A question that took longer says little. */
const LONGEST_QUESTION_MS = 2_000

export async function openClock({ db, log, isWorker }: ClockOptions): Promise<Clock> {
  let aheadMs = 0
  let isFar = false

  async function measure(): Promise<void> {
    const asked = performance.now()
    const now = await readClock(db)
    // As if the answer had taken no time: what this process writes is then never in the future of the database.
    if (performance.now() - asked <= LONGEST_QUESTION_MS) aheadMs = Math.ceil(Date.now() + 1 - now)
    const distance = Math.abs(aheadMs)
    if (distance > FAR_MS && !isFar) {
      const text = `this machine's clock is ${distance / 1000} s ${aheadMs > 0 ? 'ahead of' : 'behind'} the database's`
      log.warn({ aheadMs }, `${text}: times in the queue and in signatures are wrong until it is set right`)
    }
    if (distance < FAR_MS / 2 && isFar) log.info({ aheadMs }, "this machine's clock agrees with the database's again")
    isFar = distance > (isFar ? FAR_MS / 2 : FAR_MS)
  }

  async function beat(): Promise<void> {
    await measure()
    if (isWorker) await seeWorker(db)
  }

  await beat()
  const complain = createComplaint(log, 'the clock of the database')
  const beating = setInterval(() => {
    beat().catch((error: unknown) => complain(new Error(describeDatabaseError(error))))
  }, BEAT_EVERY_MS)
  return {
    now: () => Date.now() - aheadMs,
    aheadMs: () => aheadMs,
    close: () => clearInterval(beating),
  }
}

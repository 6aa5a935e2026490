/** Tells the workers that receipts wait for the database in numbers, so that asking gives way to them (jobs/dispatch.ts). */
import { type Db, describeDatabaseError } from '../db/client.ts'
import { noteReceiptsWait } from '../db/installation.ts'
import { createComplaint, type Log } from '../log.ts'

/** Two groups: one always waits while another is written. */
const MANY = 1_000
const NOTE_EVERY_MS = 1_000

/** To be told after each commit how many reports wait. */
export function createWaitingNote(db: Db, log: Log): (waiting: number) => void {
  const complain = createComplaint(log, 'noting that receipts wait')
  let notedAt = Number.NEGATIVE_INFINITY
  return (waiting) => {
    const now = performance.now()
    if (waiting < MANY || now - notedAt < NOTE_EVERY_MS) return
    notedAt = now
    noteReceiptsWait(db).catch((error: unknown) => complain(new Error(describeDatabaseError(error))))
  }
}

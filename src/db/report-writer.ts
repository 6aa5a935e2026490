/**
 * Group commit: reports that are in hand together are written together. While a statement is on its way to the disk, the
 * reports that arrive wait and share the next one; each caller is answered after its own commit. One is under way at a
 * time, as a rule: two would be half as large, cost more, and wait for each other at the lock of the changes.
 *
 * Where reports come faster than they are written, those beyond a bound are refused at once, and those that have waited for
 * too long when their turn comes; none of either is kept, and the provider sends them again. Writing for callers who have
 * gone would leave no time for those who are there.
 *
 * A statement waits for whoever has one of its messages in hand, which may be a long transaction of the sending app. While
 * one waits so, the others do not wait with it: they are written beside it, those of one account together, so that of those
 * that wait in turn only their account's are held up.
 *
 * If a shared statement fails for a reason that lies in its rows, the callers' reports are written one by one, so that
 * only the one at fault gets the error.
 */
import { setImmediate } from 'node:timers/promises'
import { LastwordError } from '../core/errors.ts'
import type { StatusReport } from '../core/status.ts'
import { type Db, isDatabaseUnavailable } from './client.ts'
import { type AppliedReport, applyReports } from './reports.ts'

export interface ReportWriter {
  /** Resolves when these reports are committed. Rejects with UNAVAILABLE while too many others wait. */
  write(reports: readonly StatusReport[]): Promise<AppliedReport[]>
}

interface Pending {
  reports: readonly StatusReport[]
  /** By the process's clock that never steps, in milliseconds. */
  since: number
  resolve(applied: AppliedReport[]): void
  reject(error: unknown): void
}

/** A statement that is on its way. */
interface Lane {
  /** The account whose reports alone it has. */
  account: string | undefined
  isHeld: boolean
}

/** A request is of one account. */
function accountOf(pending: Pending | undefined): string | undefined {
  return pending?.reports[0]?.account
}

/** A statement takes milliseconds; one that takes so long waits for somebody. */
const HELD_AFTER_MS = 1_000
/** Each has a connection. */
const MOST_LANES = 4
/** Enough to keep the disk busy, small enough that a statement takes milliseconds. */
const MOST_REPORTS_AT_ONCE = 500
/** About as many as are written in the time for which a receipt is waited for; some twenty megabytes. */
export const MOST_REPORTS_WAITING = 20_000
/** Leaves the statement a second and a half of the time for which the caller is there (http/webhooks.ts). */
export const MOST_MS_WAITING = 3_000

/** `onCommit` is told how many milliseconds each group took, and how many reports waited meanwhile. */
export function createReportWriter(
  db: Db,
  now: () => number = Date.now,
  onCommit: (ms: number, waiting: number) => void = () => {},
): ReportWriter {
  const waiting: Pending[] = []
  const lanes = new Set<Lane>()
  let reportsWaiting = 0
  let isGathering = false

  async function writeAll(): Promise<void> {
    while (waiting.length > 0 && !isGathering && lanes.size < MOST_LANES && [...lanes].every(({ isHeld }) => isHeld)) {
      isGathering = true
      // Requests that have arrived together are read one after the other; all of them share the statement.
      await setImmediate()
      isGathering = false
      refuseLate()
      const group = takeNext()
      if (group.length === 0) return
      await writeInLane(group)
    }
  }

  async function writeInLane(group: readonly Pending[]): Promise<void> {
    reportsWaiting -= sizeOf(group)
    const lane: Lane = { account: lanes.size === 0 ? undefined : accountOf(group[0]), isHeld: false }
    lanes.add(lane)
    const timer = setTimeout(() => {
      lane.isHeld = true
      void writeAll()
    }, HELD_AFTER_MS)
    await writeGroup({ db, now, onWritten: (ms) => onCommit(ms, reportsWaiting) }, group)
    clearTimeout(timer)
    lanes.delete(lane)
  }

  /** Beside statements that are held, those of one account whose own is not. */
  function takeNext(): Pending[] {
    if (lanes.size === 0) return takeGroup(waiting)
    const held = new Set([...lanes].map(({ account }) => account))
    const account = waiting.map(accountOf).find((one) => !held.has(one))
    const group = takeGroup(waiting.filter((one) => accountOf(one) === account))
    const taken = new Set(group)
    waiting.splice(0, waiting.length, ...waiting.filter((one) => !taken.has(one)))
    return group
  }

  /** A statement's worth is written, however late: nothing waits behind it. */
  function refuseLate(): void {
    const latest = performance.now() - MOST_MS_WAITING
    const isInTime = ({ reports, since }: Pending) => {
      if (since >= latest || reportsWaiting <= MOST_REPORTS_AT_ONCE) return true
      reportsWaiting -= reports.length
      return false
    }
    const end = waiting.findIndex(isInTime)
    for (const { reject } of waiting.splice(0, end === -1 ? waiting.length : end)) reject(tooLate())
  }

  return {
    write(reports) {
      return new Promise((resolve, reject) => {
        if (waiting.length > 0 && reportsWaiting + reports.length > MOST_REPORTS_WAITING) throw tooMany(reportsWaiting)
        reportsWaiting += reports.length
        waiting.push({ reports, since: performance.now(), resolve, reject })
        void writeAll()
      })
    },
  }
}

function sizeOf(group: readonly Pending[]): number {
  return group.reduce((sum, { reports }) => sum + reports.length, 0)
}

function tooMany(waiting: number): LastwordError {
  return notStored(`${waiting} receipts wait for the database`)
}

function tooLate(): LastwordError {
  return notStored(`it waited ${MOST_MS_WAITING / 1000} s for the database`)
}

function notStored(found: string): LastwordError {
  const reason = `${found}, which takes receipts more slowly than they come`
  return new LastwordError('UNAVAILABLE', `This one was not stored: ${reason}. Send it again after a while.`)
}

function takeGroup(waiting: Pending[]): Pending[] {
  let size = 0
  const end = waiting.findIndex(({ reports }, index) => {
    size += reports.length
    return index > 0 && size > MOST_REPORTS_AT_ONCE
  })
  return waiting.splice(0, end === -1 ? waiting.length : end)
}

interface Writing {
  db: Db
  now: () => number
  onWritten: (ms: number) => void
}

/** Never rejects: every outcome goes to the caller it belongs to. */
async function writeGroup(writing: Writing, group: readonly Pending[]): Promise<void> {
  const { db, now, onWritten } = writing
  const began = performance.now()
  try {
    const all = group.flatMap(({ reports }) => reports)
    const applied = new Map((await applyReports(db, all, { now: now() })).map((result) => [result.given, result]))
    onWritten(performance.now() - began)
    for (const { reports, resolve } of group) resolve(reports.flatMap((report) => applied.get(report) ?? []))
  } catch (error) {
    if (group.length === 1 || isDatabaseUnavailable(error)) {
      for (const { reject } of group) reject(error)
    } else {
      for (const pending of group) await writeGroup(writing, [pending])
    }
  }
}

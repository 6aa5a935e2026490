/**
 * Tells the operator of conditions that need somebody, once when one begins and once when it is over: in the log, and at
 * ALERT_URL, signed by the Standard Webhooks scheme.
 *
 * Every process looks every few seconds. It reports to the database what only it sees; what anybody sees is looked for by
 * whoever comes first, and the alerts are moved on in one transaction (db/alerts.ts), so each is told by one process, whoever
 * notices. Tellings stand in the database until ALERT_URL has taken them, whichever process sends them. No queue takes part:
 * alerts must work without it.
 *
 * That the database is away cannot be told through it: each process tells that itself (database-away.ts).
 */
import { randomUUID } from 'node:crypto'
import { setTimeout as delay } from 'node:timers/promises'
import { ALERT_RULES, type AlertRules } from '../../core/alerts.ts'
import {
  claimTellings,
  deleteOldAlerts,
  moveAlerts,
  noteTold,
  putOffTelling,
  reportConditions,
  type Telling,
  takeTurn,
} from '../../db/alerts.ts'
import { describeDatabaseError, isDatabaseUnavailable } from '../../db/client.ts'
import { isTimeout, orAborted, withDeadline } from '../../deadline.ts'
import { createComplaint, type Log } from '../../log.ts'
import type { ProxySettings } from '../../proxy.ts'
import { callbackPause } from '../callbacks.ts'
import {
  ALERT_LIMITS,
  type AlertLimits,
  createOwnConditions,
  findConditions,
  type OwnSources,
  type SharedSources,
} from './conditions.ts'
import { createDatabaseAlert } from './database-away.ts'
import { type AlertReceiver, createAlertSender, logAlert } from './sender.ts'

export interface AlertWatchOptions extends Omit<SharedSources, 'complain'>, OwnSources {
  /** The ID of this installation, which the names of alerts carry. */
  installation: string
  /** Undefined when alerts are lines in the log only. */
  receiver: AlertReceiver | undefined
  proxy: ProxySettings
  log: Log
  rules?: AlertRules
  limits?: AlertLimits
  everyMs?: number
  /** How long what only one process sees counts after it was last seen. */
  reportedForMs?: number
}

export interface AlertWatch {
  close(): Promise<void>
}

const EVERY_MS = 10_000
/** A look is over, or the database is away. */
const LOOK_WITHIN_MS = 15_000
/** Some looks may be missed. */
const REPORTED_FOR_MS = 40_000
/** A telling is sent within 15 seconds, or not at all. */
const TELLING_LEASE_MS = 60_000
const TELL_FOR_MS = 3 * 86_400_000
const CLOSE_WITHIN_MS = 2_000

export function openAlertWatch(options: AlertWatchOptions): AlertWatch {
  const {
    db,
    log,
    host,
    rules = ALERT_RULES,
    limits = ALERT_LIMITS,
    everyMs = EVERY_MS,
    reportedForMs = REPORTED_FOR_MS,
  } = options
  const stop = new AbortController()
  /** Ends what is being sent. */
  const abandon = new AbortController()
  let telling: Promise<unknown> = Promise.resolve()
  const complain = createComplaint(log, 'alerts')
  const shared = { ...options, complain }
  const findOwn = createOwnConditions(options, limits)
  const sender = createAlertSender(options, abandon.signal)
  const database = createDatabaseAlert({ host, rule: rules['database-away'], log, sender })
  const name = `${host} ${randomUUID()}`
  let hasReported = false

  async function look(): Promise<void> {
    const own = await findOwn()
    if (own.length > 0 || hasReported) await reportConditions(db, name, own, reportedForMs)
    hasReported = own.length > 0
    // A little early is no second look in the same turn.
    if (!(await takeTurn(db, everyMs * 0.8))) return
    const { conditions, unseen } = await findConditions(shared, limits)
    for (const alert of await moveAlerts(db, conditions, unseen, rules)) logAlert(log, alert)
    await deleteOldAlerts(db)
  }

  async function tell(telling: Telling): Promise<void> {
    const { id, kind, subject, tell, attempts, at } = telling
    const refusal = await sender.send({ ...telling, name: nameOf(telling) })
    if (refusal === undefined) return noteTold(db, id)
    const isOver = Date.now() - at.getTime() > TELL_FOR_MS
    const details = { alert: kind, subject, tell, reason: refusal.reason }
    if (isOver) log.error(details, 'ALERT_URL has not taken an alert for three days; it is given up')
    else if (attempts === 0) log.warn(details, 'ALERT_URL has not taken an alert; it is tried again')
    await putOffTelling(db, id, isOver ? undefined : callbackPause(attempts))
  }

  const nameOf = ({ id, begunAt }: Telling) =>
    `alert-${id}-${options.installation.slice(0, 8)}-${begunAt.getTime().toString(36)}`

  /** Until none is due, or the watch ends: after one has been taken, the next of its alert may be. */
  async function tellAll(): Promise<void> {
    for (let due = await claimTellings(db, TELLING_LEASE_MS); due.length > 0; ) {
      await Promise.all(due.map(tell))
      due = stop.signal.aborted ? [] : await claimTellings(db, TELLING_LEASE_MS)
    }
  }

  const lookOnce = createSingle(look)
  const tellOnce = createSingle(tellAll)
  const running = (async () => {
    while (!stop.signal.aborted) {
      const trouble = await findTrouble(() => lookOnce(), stop.signal, complain)
      if (stop.signal.aborted) return
      database.observe(trouble)
      // Sending may take longer than a look.
      if (trouble === undefined && sender.isOpen) {
        telling = tellOnce().catch((error) => stop.signal.aborted || complain(error))
      }
      await delay(everyMs, undefined, { signal: stop.signal }).catch(() => {})
    }
  })()
  return {
    async close() {
      stop.abort()
      // A telling that is taken just now is noted, so that nobody repeats it.
      await Promise.race([Promise.all([running, telling]), delay(CLOSE_WITHIN_MS, undefined, { ref: false })])
      abandon.abort()
      await sender.close()
    },
  }
}

/** Runs something, or waits for the run that is under way. */
function createSingle(run: () => Promise<void>): () => Promise<void> {
  let underWay: Promise<void> | undefined
  return () => {
    underWay ??= run().finally(() => {
      underWay = undefined
    })
    return underWay
  }
}

/** Says what keeps a look from the database; other errors are complained of. */
async function findTrouble(
  look: () => Promise<void>,
  stopped: AbortSignal,
  complain: (error: Error) => void,
): Promise<string | undefined> {
  try {
    await withDeadline(LOOK_WITHIN_MS, stopped, (signal) => orAborted(look(), signal))
    return undefined
  } catch (error) {
    if (stopped.aborted) return undefined
    if (isTimeout(error)) return `no answer within ${LOOK_WITHIN_MS / 1000} s`
    if (isDatabaseUnavailable(error)) return describeDatabaseError(error)
    complain(error instanceof Error ? error : new Error(String(error)))
    return undefined
  }
}

/**
 * Alerts: their states, moved on by whichever process looks; what single processes report; and the tellings that
 * ALERT_URL has not taken yet.
 *
 *   noticed ── begun ── ended            by moveAlerts, all of them in one transaction, one process after the other
 *                │        │
 *                v        v
 *           next_attempt_at ── claimTellings ──┬─ taken ────── noteTold: the telling after it is due, or none
 *                    ^                         └─ not taken ── putOffTelling ─┐
 *                    └──── the lease ran out ─────────────────────────────────┘
 */
import { desc, eq, isNotNull, isNull, lt, lte, sql } from 'drizzle-orm'
import {
  type AlertKind,
  type AlertRules,
  type AlertState,
  type AlertStep,
  type Condition,
  nextAlert,
} from '../core/alerts.ts'
import { alertReports, alerts } from './alert-tables.ts'
import type { Db } from './client.ts'
import { installation } from './schema.ts'

type AlertRow = typeof alerts.$inferSelect

/** An alert that has begun. */
export interface Alert {
  id: number
  kind: AlertKind
  subject: string
  message: string
  /** Since when the condition holds. */
  since: Date
  begunAt: Date
  /** When it was gone, once the alert has ended. */
  until: Date | null
}

const MOST_LISTED = 1000

/** The alerts that last, then those that ended within 30 days; the latest of each come first. */
export async function findAlerts(db: Db): Promise<Alert[]> {
  const rows = await db
    .select()
    .from(alerts)
    .where(isNotNull(alerts.begunAt))
    .orderBy(desc(isNull(alerts.endedAt)), desc(alerts.begunAt), desc(alerts.id))
    .limit(MOST_LISTED)
  return rows.map(toAlert)
}

function toAlert({ id, kind, subject, message, since, begunAt, goneSince, endedAt }: AlertRow): Alert {
  return { id, kind, subject, message, since, begunAt: begunAt ?? since, until: endedAt && goneSince }
}

/** Whether it is this process's turn to look: nobody has looked within `everyMs`. */
export async function takeTurn(db: Db, everyMs: number): Promise<boolean> {
  const rows = await db.execute(sql`
    UPDATE ${installation} SET alerts_seen_at = clock_timestamp()
    WHERE alerts_seen_at IS NULL
      OR alerts_seen_at NOT BETWEEN now() - ${everyMs} * interval '1 millisecond' AND clock_timestamp()
    RETURNING 1`)
  return rows.length > 0
}

/** Replaces what a process reports; each report counts for `forMs`. */
export async function reportConditions(
  db: Db,
  reporter: string,
  conditions: readonly Condition[],
  forMs: number,
): Promise<void> {
  await db.transaction(async (transaction) => {
    const known = await transaction.delete(alertReports).where(eq(alertReports.reporter, reporter)).returning()
    if (conditions.length === 0) return
    const until = sql`now() + ${forMs} * interval '1 millisecond'`
    await transaction.insert(alertReports).values(
      conditions.map(({ kind, subject, message }) => {
        const former = known.find((report) => report.kind === kind && report.subject === subject)
        return { reporter, kind, subject, message, since: former?.since ?? sql`now()`, until }
      }),
    )
  })
}

/** The conditions that processes report; one that several of them see counts once. */
export async function findReported(db: Db): Promise<Condition[]> {
  await db.delete(alertReports).where(lt(alertReports.until, sql`now()`))
  const { kind, subject, message, since } = alertReports
  return db
    .select({
      kind,
      subject,
      message: sql<string>`min(${message})`,
      since: sql<number>`(extract(epoch FROM min(${since})) * 1000)::float8`,
    })
    .from(alertReports)
    .groupBy(kind, subject)
}

export interface MovedAlert extends Alert {
  tell: 'begun' | 'ended'
}

/**
 * Moves on every alert but those of the `unseen` kinds, by what holds now. Returns those that the operator is to be told
 * of, whose tellings are due from now on.
 */
export async function moveAlerts(
  db: Db,
  conditions: readonly Condition[],
  unseen: readonly AlertKind[],
  rules: AlertRules,
): Promise<MovedAlert[]> {
  return db.transaction(async (transaction) => {
    await transaction.execute(sql`SELECT pg_advisory_xact_lock(hashtext('lastword'), hashtext('alerts'))`)
    const [clock] = await transaction.execute<{ now: number }>(
      sql`SELECT (extract(epoch FROM clock_timestamp()) * 1000)::float8 AS now`,
    )
    const now = clock?.now ?? Date.now()
    const open = await transaction.select().from(alerts).where(isNull(alerts.endedAt))
    const rows = new Map(open.map((row) => [keyOf(row), row]))
    const held = new Map(conditions.map((condition) => [keyOf(condition), condition]))
    const moved: MovedAlert[] = []
    for (const [key, { kind, subject, message }] of new Map<string, Named>([...rows, ...held])) {
      if (unseen.includes(kind)) continue
      const row = rows.get(key)
      const step = nextAlert(row && stateOf(row), held.get(key), now, rules[kind])
      const written = await write(transaction, { kind, subject, message }, row, step, new Date(now))
      if (step.tell && written) moved.push({ ...toAlert(written), tell: step.tell })
    }
    return moved
  })
}

type Named = Pick<Condition, 'kind' | 'subject' | 'message'>

const keyOf = ({ kind, subject }: Pick<Condition, 'kind' | 'subject'>) => `${kind} ${subject}`

function stateOf({ since, begunAt, goneSince }: AlertRow): AlertState {
  return { since: since.getTime(), begunAt: begunAt?.getTime(), goneSince: goneSince?.getTime() }
}

/** Writes what a step has made of an alert; resolves with its row, if it has one then. */
async function write(
  db: Db,
  named: Named,
  row: AlertRow | undefined,
  { state, tell }: AlertStep,
  now: Date,
): Promise<AlertRow | undefined> {
  if (!state && !tell) {
    if (row) await db.delete(alerts).where(eq(alerts.id, row.id))
    return undefined
  }
  const columns = state
    ? { since: new Date(state.since), begunAt: dateOf(state.begunAt), goneSince: dateOf(state.goneSince) }
    : { goneSince: row?.goneSince ?? now, endedAt: now }
  // A telling that was not taken yet keeps its pauses, and the next one follows it.
  const due = tell ? { nextAttemptAt: sql`coalesce(${alerts.nextAttemptAt}, ${now.toISOString()}::timestamptz)` } : {}
  const [written] = row
    ? await db
        .update(alerts)
        .set({ ...named, ...columns, ...due })
        .where(eq(alerts.id, row.id))
        .returning()
    : await db
        .insert(alerts)
        .values({ ...named, since: now, ...columns, nextAttemptAt: tell ? now : null })
        .returning()
  return written
}

const dateOf = (ms: number | undefined) => (ms === undefined ? null : new Date(ms))

/** A telling that is due. */
export interface Telling extends Alert {
  tell: 'begun' | 'ended'
  /** How often it was tried. */
  attempts: number
  /** When the alert began or ended. */
  at: Date
}

const MOST_AT_ONCE = 20

/** Claims tellings that are due, for `leaseMs`. */
export async function claimTellings(db: Db, leaseMs: number): Promise<Telling[]> {
  const due = db
    .select({ id: alerts.id })
    .from(alerts)
    .where(lte(alerts.nextAttemptAt, sql`clock_timestamp()`))
    .orderBy(alerts.nextAttemptAt, alerts.id)
    .limit(MOST_AT_ONCE)
    .for('update', { skipLocked: true })
  const rows = await db
    .update(alerts)
    .set({ nextAttemptAt: fromNow(leaseMs) })
    .where(sql`${alerts.id} = ANY(ARRAY(${due}))`)
    .returning()
  return rows.map((row) => {
    const alert = toAlert(row)
    const { attempts, told, endedAt } = row
    return told === 0 || endedAt === null
      ? { ...alert, attempts, tell: 'begun', at: alert.begunAt }
      : { ...alert, attempts, tell: 'ended', at: endedAt }
  })
}

/** A telling was taken: that the alert has ended is due next, where it has. */
export async function noteTold(db: Db, id: number): Promise<void> {
  await db
    .update(alerts)
    .set({
      told: sql`${alerts.told} + 1`,
      attempts: 0,
      nextAttemptAt: sql`CASE WHEN ${alerts.told} = 0 AND ${alerts.endedAt} IS NOT NULL THEN now() END`,
    })
    .where(eq(alerts.id, id))
}

/** A telling was not taken: it is due again after `delayMs`, or given up, and what follows it with it. */
export async function putOffTelling(db: Db, id: number, delayMs: number | undefined): Promise<void> {
  await db
    .update(alerts)
    .set({ attempts: sql`${alerts.attempts} + 1`, nextAttemptAt: delayMs === undefined ? null : fromNow(delayMs) })
    .where(eq(alerts.id, id))
}

/** Deletes what ended long ago. */
export async function deleteOldAlerts(db: Db): Promise<void> {
  await db.delete(alerts).where(lt(alerts.endedAt, sql`now() - interval '30 days'`))
}

function fromNow(ms: number) {
  return sql<Date>`clock_timestamp() + ${ms} * interval '1 millisecond'`
}

/**
 * Reports that are dated ahead of their arrival: a wrong clock, or a year like 2099. Such a time is worth the arrival in
 * the order of reports, else nothing that comes later could ever count. The sender's own time stays readable in the
 * report's details, as `datedAt`.
 *
 * A repeat arrives later than what it repeats, and must not count later: it gets the arrival of the first.
 */
import { sql } from 'drizzle-orm'
import type { StatusReport } from '../core/status.ts'
import { type Db, rowsAs } from './client.ts'
import { messages, statusReports } from './schema.ts'

/** The reports with the times that count. Asks the database only when one is dated ahead. */
export async function dateByArrival(db: Db, reports: readonly StatusReport[], now: Date): Promise<StatusReport[]> {
  const ahead = reports.filter((report) => report.occurredAt > now)
  if (ahead.length === 0) return [...reports]
  const first = await findFirstArrivals(db, ahead)
  return reports.map((report) => {
    if (report.occurredAt <= now) return report
    const occurredAt = first.get(keyOf(report.account, report.messageId, report.rawStatus, datedAt(report))) ?? now
    return { ...report, occurredAt, details: { ...report.details, datedAt: datedAt(report) } }
  })
}

async function findFirstArrivals(db: Db, ahead: readonly StatusReport[]): Promise<Map<string, Date>> {
  const keys = rowsAs('i', ahead, {
    account: ['text', ({ account }) => account],
    message_id: ['text', ({ messageId }) => messageId],
  })
  const rows = await db.execute<{
    account: string
    message_id: string
    raw_status: string
    dated_at: string
    ms: number
  }>(sql`
    SELECT m.account, m.message_id, r.raw_status, r.details->>'datedAt' AS dated_at,
      min(extract(epoch FROM r.occurred_at) * 1000)::float8 AS ms
    FROM (SELECT DISTINCT * FROM ${keys}) i
    JOIN ${messages} m USING (account, message_id)
    JOIN ${statusReports} r ON r.message = m.id AND r.details->>'datedAt' IS NOT NULL
    GROUP BY 1, 2, 3, 4`)
  return new Map(
    rows.map((row) => [keyOf(row.account, row.message_id, row.raw_status, row.dated_at), new Date(Math.round(row.ms))]),
  )
}

function datedAt({ occurredAt }: StatusReport): string {
  return occurredAt.toISOString()
}

function keyOf(...parts: string[]): string {
  return JSON.stringify(parts)
}

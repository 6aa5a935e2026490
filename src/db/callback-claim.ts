/**
 * Which of the due callbacks are sent next: how the places, as many as are sent at once, are shared between receivers.
 *
 * - A receiver gets another place only while SHARE times as many are free as it would then hold. So one alone takes a
 *   good tenth of them, many together take less each, and some are left for whoever comes next.
 * - Those known as slow share half of the places in this way, whatever is free beside; those that asked to be left alone
 *   get none.
 * - Of each message only the earliest callback is sent. One that waits for an earlier one is put back until that is due
 *   next, so that it hides none behind it; whoever ends the earlier one makes it due again (callbacks.ts).
 *
 * The receivers with anything outstanding are walked through by the index `callbacks_due`, one probe for each, and of
 * all that may get a place together FRONT rows are read: neither the URLs nor what else is due cost anything. The limit of
 * this: hundreds of callbacks that wait for one full URL hide the other URLs of their receiver.
 *
 * Processes that claim at the same moment may together give out more places than there are.
 */
import { sql } from 'drizzle-orm'
import { receivers } from './attempt-tables.ts'
import type { Db } from './client.ts'
import { callbacks } from './schema.ts'

export interface ClaimedCallback {
  change: number
  account: string
}

export interface CallbackClaim {
  claim: string
  leaseMs: number
  /** How many callbacks are under way at most. */
  places: number
  /** And to one URL. */
  perUrl: number
}

export interface CallbackClaimResult {
  /** Held until the lease ends, in the order of their changes. */
  claimed: ClaimedCallback[]
  /** How many were put back: others may be due behind them. */
  putBack: number
}

const SHARE = sql.raw('10')
const FRONT = sql.raw('5000')
const FRONT_OF_ONE = sql.raw('500')
/** An earlier callback that is under way may leave while this one is put back, and then nobody makes it due again. */
const LEAST_PUT_BACK = sql.raw(`interval '2 seconds'`)

/** Claims due callbacks for `leaseMs`. */
export async function claimCallbacks(
  db: Db,
  { claim, leaseMs, places, perUrl }: CallbackClaim,
): Promise<CallbackClaimResult> {
  const rows = await db.execute<{ change: string; account: string; claimed: boolean }>(sql`
    WITH RECURSIVE ${receiving}, ${held(places)}, ${front}, ${turns(perUrl)}, slow_taken AS (
      SELECT change FROM turns CROSS JOIN free WHERE slow AND of_receiver * ${SHARE} <= for_slow - turn + 1
    ), taken AS (
      SELECT change FROM slow_taken
      UNION ALL
      SELECT change FROM turns CROSS JOIN free
      WHERE NOT slow AND of_receiver * ${SHARE} <= for_all - (SELECT count(*) FROM slow_taken) - turn + 1
    ), planned AS (
      SELECT change, ${claim}::uuid AS claim, now() + ${leaseMs} * interval '1 millisecond' AS until FROM taken
      UNION ALL
      SELECT change, NULL, until FROM front WHERE until IS NOT NULL
    ), locked AS (
      SELECT change FROM ${callbacks}
      WHERE change = ANY(ARRAY(SELECT change FROM planned)) AND next_attempt_at <= now()
      FOR UPDATE SKIP LOCKED
    )
    UPDATE ${callbacks} c SET claim = p.claim, next_attempt_at = p.until
    FROM planned p
    WHERE c.change = ANY(ARRAY(SELECT change FROM locked)) AND p.change = c.change
    RETURNING c.change, c.account, p.claim IS NOT NULL AS claimed`)
  const claimed = rows
    .filter((row) => row.claimed)
    .map(({ change, account }) => ({ change: Number(change), account }))
    .sort((a, b) => a.change - b.change)
  return { claimed, putBack: rows.length - claimed.length }
}

/** The receivers with something outstanding, and when the first of it is due. */
const receiving = sql`
  receiving AS (
    (SELECT receiver, next_attempt_at FROM ${callbacks} WHERE next_attempt_at IS NOT NULL
    ORDER BY receiver, next_attempt_at LIMIT 1)
    UNION ALL
    SELECT n.receiver, n.next_attempt_at FROM receiving r CROSS JOIN LATERAL (
      SELECT receiver, next_attempt_at FROM ${callbacks} WHERE next_attempt_at IS NOT NULL AND receiver > r.receiver
      ORDER BY receiver, next_attempt_at LIMIT 1
    ) n
  )`

/** How many places are held, and how many are free: for all, and for the slow ones. */
const held = (places: number) => sql`
  noted AS (
    SELECT receiver, coalesce(slow_until > now(), false) AS slow, coalesce(closed_until > now(), false) AS closed
    FROM ${receivers}
  ), held AS (
    SELECT receiver, url, count(*) AS held FROM ${callbacks}
    WHERE claim IS NOT NULL AND next_attempt_at > now() GROUP BY receiver, url
  ), free AS (
    SELECT ${places} - sum(held) AS for_all,
      least(${places} - sum(held), ${places} / 2 - sum(CASE WHEN slow THEN held ELSE 0 END)) AS for_slow
    FROM (SELECT held, slow FROM held LEFT JOIN noted USING (receiver) UNION ALL SELECT 0, false) h
  )`

/** The first due callback of each receiver that may get a place, and until when it is put back where it must be. */
const front = sql`
  open AS (
    SELECT receiver, coalesce(slow, false) AS slow, coalesce(h.held, 0) AS held
    FROM receiving
    CROSS JOIN free
    LEFT JOIN noted USING (receiver)
    LEFT JOIN (SELECT receiver, sum(held) AS held FROM held GROUP BY receiver) h USING (receiver)
    WHERE next_attempt_at <= now() AND closed IS NOT TRUE
      AND (coalesce(h.held, 0) + 1) * ${SHARE} <= CASE WHEN slow THEN for_slow ELSE for_all END
  ), front AS (
    SELECT o.*, c.*, e.until
    FROM open o CROSS JOIN LATERAL (
      SELECT change, message, url, next_attempt_at FROM ${callbacks}
      WHERE receiver = o.receiver AND next_attempt_at <= now()
      ORDER BY next_attempt_at, change
      LIMIT (SELECT greatest(1, least(${FRONT_OF_ONE}, ${FRONT} / count(*))) FROM open)
    ) c LEFT JOIN LATERAL (
      SELECT greatest(now() + ${LEAST_PUT_BACK}, CASE WHEN claim IS NULL THEN next_attempt_at END) AS until
      FROM ${callbacks} WHERE message = c.message AND change < c.change AND next_attempt_at IS NOT NULL
      ORDER BY change LIMIT 1
    ) e ON true
  )`

/** The order in which places are given: to every receiver its first, then to every receiver its second. */
const turns = (perUrl: number) => sql`
  by_url AS (
    SELECT front.*,
      coalesce(h.held, 0) + row_number() OVER (PARTITION BY receiver, url ORDER BY next_attempt_at, change) AS of_url
    FROM front LEFT JOIN held h USING (receiver, url) WHERE until IS NULL
  ), by_receiver AS (
    SELECT *, held + row_number() OVER (PARTITION BY receiver ORDER BY next_attempt_at, change) AS of_receiver
    FROM by_url WHERE of_url <= ${perUrl}
  ), turns AS (
    SELECT *, row_number() OVER (PARTITION BY slow ORDER BY of_receiver, next_attempt_at, change) AS turn
    FROM by_receiver
  )`

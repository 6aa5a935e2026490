CREATE TABLE "lastword"."counts_pending" (
	"account" text NOT NULL,
	"hour" timestamp (3) with time zone NOT NULL,
	"measure" text NOT NULL,
	"key" text NOT NULL,
	"n" bigint NOT NULL
);
--> statement-breakpoint
CREATE TABLE "lastword"."hour_counts" (
	"account" text NOT NULL,
	"hour" timestamp (3) with time zone NOT NULL,
	"measure" text NOT NULL,
	"key" text NOT NULL,
	"n" bigint NOT NULL,
	CONSTRAINT "hour_counts_measure_hour_account_key_pk" PRIMARY KEY("measure","hour","account","key")
);
--> statement-breakpoint
ALTER TABLE "lastword"."messages" ADD COLUMN "known_after" integer;--> statement-breakpoint
ALTER TABLE "lastword"."messages" ADD COLUMN "error_code" text;--> statement-breakpoint
-- Rows come and go here all the time; dead ones are what a reader has to read past.
ALTER TABLE "lastword"."counts_pending" SET (autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 1000);--> statement-breakpoint
-- The key under which a message with a final status is counted (db/counts.ts). A delay that was never noted has no name.
CREATE FUNCTION "lastword"."ended_key"(status "lastword"."status", settled_by "lastword"."source", known_after integer, polls integer)
RETURNS text LANGUAGE sql STABLE AS $$
	SELECT status::text || ' ' || coalesce(settled_by::text, 'webhook') || ' ' || CASE
		WHEN known_after IS NULL OR settled_by = 'window' THEN '-'
		WHEN known_after <= 10 THEN '10s'
		WHEN known_after <= 60 THEN '1m'
		WHEN known_after <= 600 THEN '10m'
		ELSE 'later'
	END || CASE WHEN polls = 0 THEN ' unasked' ELSE ' asked' END
$$;--> statement-breakpoint
UPDATE "lastword"."messages" m SET "error_code" = f."code" FROM "lastword"."failures" f
WHERE f."message" = m."id" AND f."code" IS NOT NULL;--> statement-breakpoint
UPDATE "lastword"."messages" m SET "error_code" = (
	SELECT r."error" ->> 'code' FROM "lastword"."status_reports" r
	WHERE r."message" = m."id" AND r."status" = m."status" ORDER BY r."id" DESC LIMIT 1
)
WHERE "tracked_at" IS NULL AND "status" IN ('unknown', 'rejected', 'failed', 'undelivered', 'expired');--> statement-breakpoint
INSERT INTO "lastword"."hour_counts" ("account", "hour", "measure", "key", "n")
SELECT "account", date_bin('1 hour', "at", '2000-01-01Z'), "measure", "key", count(*) FROM (
	SELECT "account", "sent_at" AS "at", 'outstanding' AS "measure", '' AS "key" FROM "lastword"."messages"
	WHERE "tracked_at" IS NOT NULL AND NOT "final"
	UNION ALL
	SELECT "account", coalesce("changed_at", greatest("tracked_at", "status_at")), 'ended', "lastword"."ended_key"("status", "settled_by", "known_after", "polls")
	FROM "lastword"."messages" WHERE "tracked_at" IS NOT NULL AND "final"
	UNION ALL
	SELECT "account", coalesce("changed_at", greatest("tracked_at", "status_at")), 'reason', left("error_code", 40)
	FROM "lastword"."messages" WHERE "tracked_at" IS NOT NULL AND "final" AND "error_code" IS NOT NULL
) counted
GROUP BY 1, 2, 3, 4;--> statement-breakpoint
-- What reports told of before it was tracked counts as ended from its commit on, and so does a life that had ended when it
-- began.
CREATE OR REPLACE FUNCTION "lastword"."record_change"() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
	at timestamptz := clock_timestamp();
BEGIN
	UPDATE lastword.messages SET changed_at = at WHERE id = NEW.id;
	INSERT INTO lastword.counts_pending (account, hour, measure, key, n)
	SELECT NEW.account, date_bin('1 hour', at, '2000-01-01Z'), c.* FROM (VALUES
		('ended', lastword.ended_key(NEW.status, NEW.settled_by, NEW.known_after, NEW.polls), NEW.final::int),
		('reason', left(NEW.error_code, 40), NEW.final::int),
		('ended', lastword.ended_key(OLD.status, OLD.settled_by, OLD.known_after, OLD.polls), -(OLD.tracked_at IS NOT NULL AND OLD.final)::int),
		('reason', left(OLD.error_code, 40), -(OLD.tracked_at IS NOT NULL AND OLD.final)::int)
	) c (measure, key, n) WHERE c.key IS NOT NULL AND c.n <> 0;
	-- 'last' in ASCII, and 1 for changes.
	PERFORM pg_advisory_xact_lock(1818325876, 1);
	INSERT INTO lastword.changes (position, message, status, previous_status, source, occurred_at, changed_at)
	VALUES (
		nextval('lastword.change_positions'), NEW.id, NEW.status,
		CASE WHEN OLD.tracked_at IS NOT NULL THEN OLD.status END,
		coalesce(NEW.settled_by, 'webhook'), NEW.status_at, clock_timestamp()
	);
	PERFORM pg_notify('lastword_changes', '');
	RETURN NULL;
END $$;

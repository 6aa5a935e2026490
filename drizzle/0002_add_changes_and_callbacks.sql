CREATE SEQUENCE "lastword"."change_positions" INCREMENT BY 1 MINVALUE 1 MAXVALUE 9223372036854775807 START WITH 1 CACHE 1;--> statement-breakpoint
CREATE TABLE "lastword"."callbacks" (
	"change" bigint PRIMARY KEY NOT NULL,
	"message" bigint NOT NULL,
	"account" text NOT NULL,
	"url" text NOT NULL,
	"body" json NOT NULL,
	"attempts" integer DEFAULT 0 NOT NULL,
	"first_due_at" timestamp (3) with time zone DEFAULT now() NOT NULL,
	"next_attempt_at" timestamp (3) with time zone DEFAULT now(),
	"claim" uuid,
	"last_error" text
);
--> statement-breakpoint
CREATE TABLE "lastword"."changes" (
	"position" bigint PRIMARY KEY NOT NULL,
	"message" bigint NOT NULL,
	"status" "lastword"."status" NOT NULL,
	"previous_status" "lastword"."status",
	"source" "lastword"."source" NOT NULL,
	"occurred_at" timestamp (3) with time zone NOT NULL,
	"changed_at" timestamp (3) with time zone NOT NULL
);
--> statement-breakpoint
CREATE TABLE "lastword"."feed_readers" (
	"name" text PRIMARY KEY NOT NULL,
	"position" bigint NOT NULL
);
--> statement-breakpoint
ALTER TABLE "lastword"."account_states" ADD COLUMN "provider" text;--> statement-breakpoint
ALTER TABLE "lastword"."account_states" ADD COLUMN "polling" jsonb;--> statement-breakpoint
ALTER TABLE "lastword"."account_states" ADD COLUMN "is_polled" boolean DEFAULT false NOT NULL;--> statement-breakpoint
ALTER TABLE "lastword"."messages" ADD COLUMN "callback_url" text;--> statement-breakpoint
CREATE INDEX "callbacks_due" ON "lastword"."callbacks" USING btree ("url","next_attempt_at") WHERE "lastword"."callbacks"."next_attempt_at" IS NOT NULL;--> statement-breakpoint
CREATE INDEX "callbacks_claimed" ON "lastword"."callbacks" USING btree ("url") WHERE "lastword"."callbacks"."claim" IS NOT NULL;--> statement-breakpoint
CREATE INDEX "callbacks_message" ON "lastword"."callbacks" USING btree ("message","change") WHERE "lastword"."callbacks"."next_attempt_at" IS NOT NULL;
--> statement-breakpoint
-- Records a change of a tracked message's status while its transaction commits: the trigger is deferred, so the lock that
-- puts changes in the order of their commits is held for the end of a transaction only, and never waited for by one that
-- another needs a row of. Whoever sees a change sees all that come before it.
CREATE FUNCTION "lastword"."record_change"() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
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
END $$;--> statement-breakpoint
CREATE CONSTRAINT TRIGGER "messages_status_changed" AFTER UPDATE ON "lastword"."messages"
	DEFERRABLE INITIALLY DEFERRED FOR EACH ROW
	WHEN (
		NEW.tracked_at IS NOT NULL AND NEW.status IS NOT NULL
		AND (OLD.tracked_at IS NULL OR NEW.status IS DISTINCT FROM OLD.status)
	)
	EXECUTE FUNCTION "lastword"."record_change"();

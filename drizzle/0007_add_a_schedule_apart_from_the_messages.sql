CREATE TABLE "lastword"."batches" (
	"id" uuid PRIMARY KEY NOT NULL,
	"account" text NOT NULL,
	"claimed_at" timestamp (3) with time zone DEFAULT now() NOT NULL,
	"lease_ends_at" timestamp (3) with time zone NOT NULL,
	"messages" bigint[] NOT NULL
);
--> statement-breakpoint
CREATE TABLE "lastword"."due" (
	"account" text NOT NULL,
	"due_at" timestamp (3) with time zone NOT NULL,
	"message" bigint NOT NULL,
	CONSTRAINT "due_account_due_at_message_pk" PRIMARY KEY("account","due_at","message")
);
--> statement-breakpoint
ALTER TABLE "lastword"."messages" ADD COLUMN "asked_at" timestamp (3) with time zone;--> statement-breakpoint
ALTER TABLE "lastword"."messages" ADD COLUMN "changed_at" timestamp (3) with time zone;--> statement-breakpoint
CREATE INDEX "batches_lease" ON "lastword"."batches" USING btree ("lease_ends_at");--> statement-breakpoint
-- Rows come and go here all the time; dead ones are what a claim has to read past.
ALTER TABLE "lastword"."due" SET (autovacuum_vacuum_scale_factor = 0.01, autovacuum_vacuum_insert_scale_factor = 0.05);--> statement-breakpoint
ALTER TABLE "lastword"."batches" SET (autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 500);--> statement-breakpoint
-- Room in every page for the later versions of its rows.
ALTER TABLE "lastword"."messages" SET (fillfactor = 70);--> statement-breakpoint
-- Until the next migration the schedule is kept in both places, so that 0.1.0 may go on while this one is filled.
CREATE FUNCTION "lastword"."copy_schedule"() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
	INSERT INTO lastword.due (account, due_at, message) VALUES (NEW.account, NEW.next_poll_at, NEW.id)
	ON CONFLICT DO NOTHING;
	RETURN NULL;
END $$;--> statement-breakpoint
CREATE TRIGGER "messages_scheduled" AFTER INSERT OR UPDATE OF next_poll_at ON "lastword"."messages"
	FOR EACH ROW WHEN (NEW.next_poll_at IS NOT NULL) EXECUTE FUNCTION "lastword"."copy_schedule"();

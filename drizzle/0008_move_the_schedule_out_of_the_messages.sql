-- db/migrate.ts has filled the table `due` before this. A claim of 0.1.0 is a row that is due when its lease ends.
DROP TRIGGER "messages_scheduled" ON "lastword"."messages";--> statement-breakpoint
DROP FUNCTION "lastword"."copy_schedule"();--> statement-breakpoint
DROP INDEX "lastword"."messages_due";--> statement-breakpoint
DROP INDEX "lastword"."messages_claimed";--> statement-breakpoint
-- Under another name, so that a process of 0.1.0 fails instead of writing a schedule that nobody reads.
ALTER TABLE "lastword"."messages" RENAME COLUMN "next_poll_at" TO "due_at";--> statement-breakpoint
ALTER TABLE "lastword"."messages" DROP COLUMN "claim";--> statement-breakpoint
-- Changes are written by the statement that makes them (db/reports.ts). The trigger stays for messages that reports told
-- of before they were tracked: that may happen in a transaction of the sending app, which must not hold the lock of the
-- changes until its end.
DROP TRIGGER "messages_status_changed" ON "lastword"."messages";--> statement-breakpoint
CREATE CONSTRAINT TRIGGER "messages_adopted" AFTER UPDATE OF tracked_at ON "lastword"."messages"
	DEFERRABLE INITIALLY DEFERRED FOR EACH ROW
	WHEN (
		NEW.tracked_at IS NOT NULL AND NEW.status IS NOT NULL
		AND (OLD.tracked_at IS NULL OR NEW.status IS DISTINCT FROM OLD.status)
	)
	EXECUTE FUNCTION "lastword"."record_change"();

CREATE TABLE "lastword"."receivers" (
	"receiver" text PRIMARY KEY NOT NULL,
	"slow_until" timestamp (3) with time zone,
	"closed_until" timestamp (3) with time zone
);
--> statement-breakpoint
DROP INDEX "lastword"."callbacks_due";--> statement-breakpoint
DROP INDEX "lastword"."callbacks_claimed";--> statement-breakpoint
-- This writes the table anew: it holds what is outstanding or has failed for good, not what was taken.
ALTER TABLE "lastword"."callbacks" ADD COLUMN "receiver" text GENERATED ALWAYS AS (lower(coalesce(substring(url from '^[^/]*//[^/?#]*'), url))) STORED NOT NULL;--> statement-breakpoint
CREATE INDEX "callbacks_due" ON "lastword"."callbacks" USING btree ("receiver","next_attempt_at","change") WHERE "lastword"."callbacks"."next_attempt_at" IS NOT NULL;--> statement-breakpoint
CREATE INDEX "callbacks_claimed" ON "lastword"."callbacks" USING btree ("next_attempt_at") WHERE "lastword"."callbacks"."claim" IS NOT NULL;
CREATE TABLE "lastword"."account_learning" (
	"account" text PRIMARY KEY NOT NULL,
	"learned" jsonb NOT NULL
);
--> statement-breakpoint
ALTER TABLE "lastword"."account_states" ADD COLUMN "first_age" double precision;--> statement-breakpoint
ALTER TABLE "lastword"."messages" ADD COLUMN "wanted_at" timestamp (3) with time zone;--> statement-breakpoint
-- What 0.1.0 wrote down knew one policy only.
UPDATE "lastword"."account_states" SET "polling" = "polling" || '{"policy":"exponential"}' WHERE "polling" IS NOT NULL;

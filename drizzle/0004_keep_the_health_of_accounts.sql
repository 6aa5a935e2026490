ALTER TABLE "lastword"."account_states" ADD COLUMN "health" jsonb DEFAULT '{}'::jsonb NOT NULL;--> statement-breakpoint
ALTER TABLE "lastword"."account_states" ADD COLUMN "credentials" text;--> statement-breakpoint
UPDATE "lastword"."account_states" SET "health" = jsonb_build_object('lookup', "lookup") WHERE "lookup" IS NOT NULL;

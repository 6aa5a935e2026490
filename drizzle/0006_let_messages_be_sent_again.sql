ALTER TABLE "lastword"."account_states" ADD COLUMN "default_country" text;--> statement-breakpoint
ALTER TABLE "lastword"."messages" ADD COLUMN "life_since" timestamp (3) with time zone;
ALTER TABLE "lastword"."account_states" DROP COLUMN "lookup";--> statement-breakpoint
ALTER TABLE "lastword"."account_states" DROP COLUMN "trouble";--> statement-breakpoint
ALTER TABLE "lastword"."account_states" DROP COLUMN "trouble_since";--> statement-breakpoint
ALTER TABLE "lastword"."account_states" DROP COLUMN "paused_until";
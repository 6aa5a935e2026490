CREATE TABLE "lastword"."account_states" (
	"account" text PRIMARY KEY NOT NULL,
	"lookup" text,
	"trouble" text,
	"trouble_since" timestamp (3) with time zone,
	"paused_until" timestamp (3) with time zone
);
--> statement-breakpoint
CREATE TABLE "lastword"."webhook_nonces" (
	"account" text NOT NULL,
	"nonce" text NOT NULL,
	"body_digest" text NOT NULL,
	"expires_at" timestamp (3) with time zone NOT NULL,
	CONSTRAINT "webhook_nonces_account_nonce_pk" PRIMARY KEY("account","nonce")
);
--> statement-breakpoint
ALTER TABLE "lastword"."messages" ADD COLUMN "query_error" text;--> statement-breakpoint
CREATE INDEX "webhook_nonces_expiry" ON "lastword"."webhook_nonces" USING btree ("expires_at");--> statement-breakpoint
CREATE INDEX "messages_claimed" ON "lastword"."messages" USING btree ("claim") WHERE "lastword"."messages"."claim" IS NOT NULL;
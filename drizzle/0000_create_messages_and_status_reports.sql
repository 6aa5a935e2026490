CREATE SCHEMA IF NOT EXISTS "lastword";
--> statement-breakpoint
CREATE TYPE "lastword"."source" AS ENUM('webhook', 'poll', 'window');--> statement-breakpoint
CREATE TYPE "lastword"."status" AS ENUM('accepted', 'transmitted', 'buffered', 'unknown', 'rejected', 'failed', 'undelivered', 'expired', 'delivered', 'read');--> statement-breakpoint
CREATE TABLE "lastword"."messages" (
	"id" bigint PRIMARY KEY GENERATED ALWAYS AS IDENTITY (sequence name "lastword"."messages_id_seq" INCREMENT BY 1 MINVALUE 1 MAXVALUE 9223372036854775807 START WITH 1 CACHE 1),
	"account" text NOT NULL,
	"message_id" text NOT NULL,
	"recipient_key" text DEFAULT '' NOT NULL,
	"recipient" text,
	"sent_at" timestamp (3) with time zone NOT NULL,
	"window_ends_at" timestamp (3) with time zone NOT NULL,
	"tracked_at" timestamp (3) with time zone,
	"metadata" jsonb,
	"status" "lastword"."status",
	"final" boolean DEFAULT false NOT NULL,
	"status_at" timestamp (3) with time zone,
	"status_rank" bigint DEFAULT -1 NOT NULL,
	"read_at" timestamp (3) with time zone,
	"settled_by" "lastword"."source",
	"polls" integer DEFAULT 0 NOT NULL,
	"next_poll_at" timestamp (3) with time zone,
	"claim" uuid
);
--> statement-breakpoint
CREATE TABLE "lastword"."status_reports" (
	"id" bigint PRIMARY KEY GENERATED ALWAYS AS IDENTITY (sequence name "lastword"."status_reports_id_seq" INCREMENT BY 1 MINVALUE 1 MAXVALUE 9223372036854775807 START WITH 1 CACHE 1),
	"message" bigint NOT NULL,
	"status" "lastword"."status" NOT NULL,
	"raw_status" text NOT NULL,
	"source" "lastword"."source" NOT NULL,
	"occurred_at" timestamp (3) with time zone NOT NULL,
	"received_at" timestamp (3) with time zone DEFAULT now() NOT NULL,
	"error" jsonb,
	"details" jsonb
);
--> statement-breakpoint
ALTER TABLE "lastword"."status_reports" ADD CONSTRAINT "status_reports_message_messages_id_fk" FOREIGN KEY ("message") REFERENCES "lastword"."messages"("id") ON DELETE cascade ON UPDATE no action;--> statement-breakpoint
CREATE UNIQUE INDEX "messages_key" ON "lastword"."messages" USING btree ("account","message_id","recipient_key");--> statement-breakpoint
CREATE INDEX "messages_due" ON "lastword"."messages" USING btree ("account","next_poll_at") WHERE "lastword"."messages"."next_poll_at" IS NOT NULL;--> statement-breakpoint
CREATE INDEX "messages_untracked" ON "lastword"."messages" USING btree ("sent_at") WHERE "lastword"."messages"."tracked_at" IS NULL;--> statement-breakpoint
CREATE INDEX "status_reports_message" ON "lastword"."status_reports" USING btree ("message");
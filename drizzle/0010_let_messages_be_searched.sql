CREATE TABLE "lastword"."failures" (
	"message" bigint PRIMARY KEY NOT NULL,
	"account" text NOT NULL,
	"status" "lastword"."status" NOT NULL,
	"code" text,
	"sent_at" timestamp (3) with time zone NOT NULL
);
--> statement-breakpoint
CREATE TABLE "lastword"."message_metadata" (
	"entry" bigint NOT NULL,
	"sent_at" timestamp (3) with time zone NOT NULL,
	"message" bigint NOT NULL,
	CONSTRAINT "message_metadata_entry_sent_at_message_pk" PRIMARY KEY("entry","sent_at","message")
);
--> statement-breakpoint
ALTER TABLE "lastword"."messages" ADD COLUMN "number" text;--> statement-breakpoint
CREATE INDEX "failures_status" ON "lastword"."failures" USING btree ("account","status","sent_at","message");--> statement-breakpoint
CREATE INDEX "failures_code" ON "lastword"."failures" USING btree ("account","code","sent_at","message");
CREATE TABLE "lastword"."acts" (
	"id" bigint PRIMARY KEY GENERATED ALWAYS AS IDENTITY (sequence name "lastword"."acts_id_seq" INCREMENT BY 1 MINVALUE 1 MAXVALUE 9223372036854775807 START WITH 1 CACHE 1),
	"at" timestamp (3) with time zone DEFAULT clock_timestamp() NOT NULL,
	"by" text NOT NULL,
	"kind" text NOT NULL,
	"account" text,
	"message_id" text,
	"queue" text,
	"job" text,
	"jobs" text,
	"count" integer,
	"outcome" text DEFAULT 'begun' NOT NULL
);
--> statement-breakpoint
CREATE INDEX "acts_message" ON "lastword"."acts" USING btree ("message_id","account") WHERE "lastword"."acts"."message_id" IS NOT NULL;
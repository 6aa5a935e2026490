CREATE TABLE "lastword"."alert_reports" (
	"reporter" text NOT NULL,
	"kind" text NOT NULL,
	"subject" text NOT NULL,
	"message" text NOT NULL,
	"since" timestamp (3) with time zone NOT NULL,
	"until" timestamp (3) with time zone NOT NULL,
	CONSTRAINT "alert_reports_reporter_kind_subject_pk" PRIMARY KEY("reporter","kind","subject")
);
--> statement-breakpoint
CREATE TABLE "lastword"."alerts" (
	"id" bigint PRIMARY KEY GENERATED ALWAYS AS IDENTITY (sequence name "lastword"."alerts_id_seq" INCREMENT BY 1 MINVALUE 1 MAXVALUE 9223372036854775807 START WITH 1 CACHE 1),
	"kind" text NOT NULL,
	"subject" text NOT NULL,
	"message" text NOT NULL,
	"since" timestamp (3) with time zone NOT NULL,
	"begun_at" timestamp (3) with time zone,
	"gone_since" timestamp (3) with time zone,
	"ended_at" timestamp (3) with time zone,
	"told" integer DEFAULT 0 NOT NULL,
	"attempts" integer DEFAULT 0 NOT NULL,
	"next_attempt_at" timestamp (3) with time zone
);
--> statement-breakpoint
ALTER TABLE "lastword"."account_states" ADD COLUMN "gone_url" text;--> statement-breakpoint
ALTER TABLE "lastword"."installation" ADD COLUMN "alerts_seen_at" timestamp (3) with time zone;--> statement-breakpoint
CREATE UNIQUE INDEX "alerts_open" ON "lastword"."alerts" USING btree ("kind","subject") WHERE "lastword"."alerts"."ended_at" IS NULL;--> statement-breakpoint
CREATE INDEX "alerts_untold" ON "lastword"."alerts" USING btree ("next_attempt_at") WHERE "lastword"."alerts"."next_attempt_at" IS NOT NULL;--> statement-breakpoint
CREATE INDEX "callbacks_failing" ON "lastword"."callbacks" USING btree ("receiver","first_due_at") WHERE "lastword"."callbacks"."last_error" IS NOT NULL AND "lastword"."callbacks"."next_attempt_at" IS NOT NULL;
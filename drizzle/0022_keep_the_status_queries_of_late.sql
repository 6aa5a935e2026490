-- side by side: it adds a table.
CREATE TABLE "lastword"."status_queries" (
	"at" timestamp (3) with time zone DEFAULT now() NOT NULL,
	"account" text NOT NULL,
	"lookup" text NOT NULL,
	"batch" uuid NOT NULL,
	"job" text,
	"ids" integer,
	"error" text,
	"messages" bigint[] NOT NULL,
	"words" text[],
	"asked_before" timestamp (3) with time zone[],
	"missing" bigint[]
);
--> statement-breakpoint
CREATE INDEX "status_queries_at" ON "lastword"."status_queries" USING btree ("at");--> statement-breakpoint
CREATE INDEX "status_queries_batch" ON "lastword"."status_queries" USING btree ("batch");--> statement-breakpoint
CREATE INDEX "status_queries_failed" ON "lastword"."status_queries" USING btree ("account","at") WHERE "lastword"."status_queries"."error" IS NOT NULL;
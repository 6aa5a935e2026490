CREATE TABLE "lastword"."installation" (
	"is_only" boolean PRIMARY KEY DEFAULT true NOT NULL,
	"id" uuid DEFAULT gen_random_uuid() NOT NULL,
	"worker_seen_at" timestamp (3) with time zone
);

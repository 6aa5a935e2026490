-- side by side: it changes how statements are planned. All callbacks may be outstanding a moment after none was, and statistics of
-- the one time made Postgres read a whole index for each callback at the other. Those that are there only go with the type.
ALTER TABLE "lastword"."callbacks" ALTER COLUMN "next_attempt_at" SET DATA TYPE timestamp (3) with time zone;--> statement-breakpoint
ALTER TABLE "lastword"."callbacks" ALTER COLUMN "next_attempt_at" SET STATISTICS 0;

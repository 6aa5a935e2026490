-- side by side: an index, which db/migrate.ts has built without locking the table of a database that was in use.
CREATE INDEX IF NOT EXISTS "callbacks_given_up" ON "lastword"."callbacks" USING btree ("account","first_due_at") WHERE "lastword"."callbacks"."next_attempt_at" IS NULL;

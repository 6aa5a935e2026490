-- side by side: it adds a column.
ALTER TABLE "lastword"."account_states" ADD COLUMN "has_callbacks" boolean DEFAULT true NOT NULL;
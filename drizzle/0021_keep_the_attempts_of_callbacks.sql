-- side by side: it adds a table.
CREATE TABLE "lastword"."callback_attempts" (
	"id" bigint GENERATED ALWAYS AS IDENTITY (sequence name "lastword"."callback_attempts_id_seq" INCREMENT BY 1 MINVALUE 1 MAXVALUE 9223372036854775807 START WITH 1 CACHE 1),
	"message" bigint NOT NULL,
	"change" bigint NOT NULL,
	"status" "lastword"."status",
	"receiver" text NOT NULL,
	"at" timestamp (3) with time zone NOT NULL,
	"took_ms" integer NOT NULL,
	"http_status" integer,
	"error" text,
	"answer" text,
	CONSTRAINT "callback_attempts_message_id_pk" PRIMARY KEY("message","id")
);
--> statement-breakpoint
DROP INDEX "lastword"."callbacks_message";--> statement-breakpoint
CREATE INDEX "callback_attempts_at" ON "lastword"."callback_attempts" USING btree ("at");--> statement-breakpoint
CREATE INDEX "callbacks_message" ON "lastword"."callbacks" USING btree ("message","change");
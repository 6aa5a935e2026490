-- side by side: it adds a table.
CREATE TABLE "lastword"."message_traces" (
	"message" bigint PRIMARY KEY NOT NULL,
	"tracked" text NOT NULL,
	"found" text
);

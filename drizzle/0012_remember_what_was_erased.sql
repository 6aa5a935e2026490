CREATE TABLE "lastword"."erased" (
	"key" bigint PRIMARY KEY NOT NULL,
	"until" timestamp (3) with time zone NOT NULL
);

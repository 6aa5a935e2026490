CREATE TABLE "lastword"."forgetting" (
	"account" text NOT NULL,
	"message_id" text NOT NULL,
	CONSTRAINT "forgetting_account_message_id_pk" PRIMARY KEY("account","message_id")
);

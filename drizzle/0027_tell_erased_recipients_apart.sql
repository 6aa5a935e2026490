ALTER TABLE "lastword"."forgetting" ADD COLUMN "recipient_key" text DEFAULT '' NOT NULL;--> statement-breakpoint
ALTER TABLE "lastword"."forgetting" DROP CONSTRAINT "forgetting_account_message_id_pk";--> statement-breakpoint
ALTER TABLE "lastword"."forgetting" ADD CONSTRAINT "forgetting_account_message_id_recipient_key_pk" PRIMARY KEY("account","message_id","recipient_key");

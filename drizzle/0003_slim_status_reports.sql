ALTER TABLE "lastword"."status_reports" DROP CONSTRAINT "status_reports_message_messages_id_fk";--> statement-breakpoint
ALTER TABLE "lastword"."status_reports" DROP CONSTRAINT "status_reports_pkey";--> statement-breakpoint
DROP INDEX "lastword"."status_reports_message";--> statement-breakpoint
ALTER TABLE "lastword"."status_reports" ADD CONSTRAINT "status_reports_message_id_pk" PRIMARY KEY("message","id");

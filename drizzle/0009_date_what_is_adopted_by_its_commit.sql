-- Retention goes by `changed_at`: it must not be older than the change that readers are told of.
CREATE OR REPLACE FUNCTION "lastword"."record_change"() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
	UPDATE lastword.messages SET changed_at = clock_timestamp() WHERE id = NEW.id;
	-- 'last' in ASCII, and 1 for changes.
	PERFORM pg_advisory_xact_lock(1818325876, 1);
	INSERT INTO lastword.changes (position, message, status, previous_status, source, occurred_at, changed_at)
	VALUES (
		nextval('lastword.change_positions'), NEW.id, NEW.status,
		CASE WHEN OLD.tracked_at IS NOT NULL THEN OLD.status END,
		coalesce(NEW.settled_by, 'webhook'), NEW.status_at, clock_timestamp()
	);
	PERFORM pg_notify('lastword_changes', '');
	RETURN NULL;
END $$;

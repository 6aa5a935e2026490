-- side by side: it changes a function. A message whose receipts are older than its sending begins anew when it is tracked, and
-- those say nothing of it.
CREATE OR REPLACE FUNCTION "lastword"."record_change"() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
	at timestamptz := clock_timestamp();
BEGIN
	IF EXISTS (SELECT FROM lastword.messages WHERE id = NEW.id AND life_since > NEW.status_at) THEN
		RETURN NULL;
	END IF;
	UPDATE lastword.messages SET changed_at = at WHERE id = NEW.id;
	INSERT INTO lastword.counts_pending (account, hour, measure, key, n)
	SELECT NEW.account, date_bin('1 hour', at, '2000-01-01Z'), c.* FROM (VALUES
		('ended', lastword.ended_key(NEW.status, NEW.settled_by, NEW.known_after, NEW.polls), NEW.final::int),
		('reason', left(NEW.error_code, 40), NEW.final::int),
		('ended', lastword.ended_key(OLD.status, OLD.settled_by, OLD.known_after, OLD.polls), -(OLD.tracked_at IS NOT NULL AND OLD.final)::int),
		('reason', left(OLD.error_code, 40), -(OLD.tracked_at IS NOT NULL AND OLD.final)::int)
	) c (measure, key, n) WHERE c.key IS NOT NULL AND c.n <> 0;
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

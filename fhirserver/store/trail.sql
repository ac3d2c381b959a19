-- name: append
-- A row of the journal of tenant $1; its commit does not wait for the disk if $2. The condition is always true.
INSERT INTO audit_journal (tenant, events, told)
SELECT $1, $3, $4
WHERE CASE WHEN $2::bool THEN set_config('synchronous_commit', 'off', true) END IS DISTINCT FROM 'on'

-- name: last
SELECT max(entry) FROM audit_journal WHERE tenant = $1

-- name: hold
SELECT pg_advisory_xact_lock($1, $2)

-- name: take
-- The oldest rows of tenant $1 up to the entry $2, as many as are needed for $3 events.
WITH oldest AS (
    SELECT entry, sum(events) OVER (ORDER BY entry) - events AS before
    FROM (SELECT entry, events FROM audit_journal
          WHERE tenant = $1 AND ($2::bigint IS NULL OR entry <= $2)
          ORDER BY entry LIMIT $3::int) AS first
)
DELETE FROM audit_journal j USING oldest o
WHERE j.tenant = $1 AND j.entry = o.entry AND o.before < $3
RETURNING j.entry, j.told

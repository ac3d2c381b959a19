-- name: append
-- Rows of the journal of tenant $1, which nobody takes if $3; their commit does not wait for the disk if $2. The
-- condition is always true.
INSERT INTO audit_journal (tenant, events, told, refused)
SELECT $1, events, told::json, $3 FROM unnest($4::int[], $5::text[]) AS r(events, told)
WHERE (SELECT CASE WHEN $2::bool THEN set_config('synchronous_commit', 'off', true) END) IS DISTINCT FROM 'on'

-- name: last
SELECT max(entry) FROM audit_journal WHERE tenant = $1 AND NOT refused

-- name: hold
SELECT pg_advisory_xact_lock($1, $2)

-- name: take
-- The oldest rows of tenant $1 up to the entry $2, as many as have no more than $3 events, and at least one.
WITH oldest AS (
    SELECT entry, sum(events) OVER (ORDER BY entry) AS events, row_number() OVER (ORDER BY entry) AS n
    FROM (SELECT entry, events FROM audit_journal
          WHERE tenant = $1 AND NOT refused AND ($2::bigint IS NULL OR entry <= $2)
          ORDER BY entry LIMIT $3::int) AS first
)
DELETE FROM audit_journal j USING oldest o
WHERE j.tenant = $1 AND j.entry = o.entry AND (o.n = 1 OR o.events <= $3)
RETURNING j.entry, j.told

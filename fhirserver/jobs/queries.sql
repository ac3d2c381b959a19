-- name: tick
INSERT INTO tick DEFAULT VALUES

-- name: months
-- The partitions of AuditEvents that are to come.
SELECT audit_months()

-- name: due
-- The newest tick that is older than the retention ($1, seconds) and not swept, and where the sweep
-- before it ended.
SELECT t.at, t.before, coalesce((SELECT max(s.before) FROM tick s WHERE s.swept), '0'::xid8) AS after
FROM tick t
WHERE NOT t.swept AND t.at < clock_timestamp() - make_interval(secs => $1)
ORDER BY t.at DESC LIMIT 1

-- name: dead_types
SELECT DISTINCT type FROM resource WHERE died >= $1 AND died < $2

-- name: sweep
-- Remove the index rows of versions that died in [$1, $2), and of what they contain; their content stays, it is
-- the history. $3: the types that have entries for patient and code together, whose keys are made of the row's.
WITH version AS (
    SELECT type, rid, ord, ptk, keys FROM {p} WHERE died >= $1 AND died < $2
), gone AS (
    SELECT type, rid, ord, ptk, keys FROM version
    UNION ALL
    SELECT c.type, c.rid, c.ord, c.ptk, c.keys FROM version v JOIN contained c ON c.container_rid = v.rid
), t AS (
    DELETE FROM tok USING (
        SELECT rid, ord, unnest(keys) AS key FROM gone
        UNION ALL SELECT rid, ord, unnest(keys) # ptk FROM gone WHERE type = ANY ($3::text[]) AND ptk IS NOT NULL
    ) g
    WHERE tok.key = g.key AND tok.ord = g.ord AND tok.rid = g.rid
), s AS (
    DELETE FROM str USING gone WHERE str.rid = gone.rid
), d AS (
    DELETE FROM dat USING gone WHERE dat.rid = gone.rid
), q AS (
    DELETE FROM qty USING gone WHERE qty.rid = gone.rid
), w AS (
    DELETE FROM words USING gone WHERE words.rid = gone.rid
), n AS (
    DELETE FROM consent_rule USING gone WHERE consent_rule.rid = gone.rid
), c AS (
    DELETE FROM contained USING version WHERE contained.container_rid = version.rid
)
SELECT count(*) FROM version

-- name: swept
UPDATE tick SET swept = true WHERE at = $1

-- name: forget_grants
-- Grants that are over, with the hashes of their codes and refresh tokens: nothing can be used again.
DELETE FROM auth.grant_ WHERE expires < clock_timestamp() - interval '1 day'

-- name: forget_pending
-- Clients that registered themselves, or changed what was approved, and that nobody has approved for 30 days; those
-- whom somebody has let in already stay until that is over.
DELETE FROM auth.client c
WHERE c.status = 'pending' AND c.changed < clock_timestamp() - interval '30 days'
  AND NOT EXISTS (SELECT FROM auth.grant_ g WHERE g.tenant = c.tenant AND g.client = c.id)

-- name: forget
-- Ticks before the one just swept have served.
DELETE FROM tick WHERE at < $1

-- name: forget_signing_in
-- Sessions that are over, what was used once and would have expired, failures that are made good for.
WITH s AS (
    DELETE FROM auth.session WHERE expires < clock_timestamp()
), o AS (
    DELETE FROM auth.once WHERE expires < clock_timestamp()
)
DELETE FROM auth.attempt WHERE failed < clock_timestamp() - interval '1 day'

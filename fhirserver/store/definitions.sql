-- name: load
-- The state of the index, and with it the definitions that are in force, in one snapshot.
SELECT s.version, s.writes, p.id, p.state, p.definition,
       EXISTS (SELECT FROM rebuild b WHERE b.tenant = s.tenant AND b.wanted > b.built) AS rebuilding,
       EXISTS (SELECT FROM merge m WHERE m.tenant = s.tenant AND (m.state = 'accepted' OR m.writers IS NOT NULL)) AS merging
FROM index_state s LEFT JOIN search_param p ON p.tenant = s.tenant AND p.state <> 'dropping'
WHERE s.tenant = $1

-- name: version
SELECT s.version, EXISTS (SELECT FROM rebuild b WHERE b.tenant = s.tenant AND b.wanted > b.built) AS rebuilding,
       EXISTS (SELECT FROM merge m WHERE m.tenant = s.tenant AND (m.state = 'accepted' OR m.writers IS NOT NULL)) AS merging
FROM index_state s WHERE s.tenant = $1

-- name: state
SELECT version, writes, holds, made::text AS made FROM index_state WHERE tenant = $1

-- name: found
-- The first of all processes on a tenant without resources: what will be written is in this format.
INSERT INTO index_state (tenant, version, writes, holds, made)
SELECT $1::int, 0, $2::int, $2::int, $3::json WHERE NOT EXISTS (SELECT FROM resource WHERE tenant = $1::int)
ON CONFLICT DO NOTHING

-- name: founded_empty
-- The same where the tenant has a state, of another format, but still no resources.
UPDATE index_state SET writes = $2::int, holds = $2::int, made = $3::json, version = version + 1
WHERE tenant = $1 AND NOT EXISTS (SELECT FROM resource WHERE tenant = $1)

-- name: record
UPDATE index_state SET made = $2 WHERE tenant = $1

-- name: lock
-- Held by whoever changes the definitions, until its transaction ends.
SELECT pg_advisory_xact_lock($1, $2)

-- name: all
SELECT id, url, since, state, definition FROM search_param WHERE tenant = $1 ORDER BY id

-- name: advance
UPDATE index_state SET version = version + 1 WHERE tenant = $1 RETURNING version

-- name: put
INSERT INTO search_param (tenant, id, url, since, state, types, definition)
VALUES ($1, $2, $3, $4, 'building', $5, $6)
ON CONFLICT (tenant, id) DO UPDATE SET url = excluded.url, since = excluded.since, state = excluded.state,
                                       types = excluded.types, around = excluded.around,
                                       definition = excluded.definition

-- name: drop
UPDATE search_param SET state = 'dropping', since = $3 WHERE tenant = $1 AND id = $2

-- name: want
-- Ask for the entries of types $2 to be brought to version $3, and, with $6, what contains such resources too.
-- What is asked for already stays asked for.
INSERT INTO rebuild (tenant, type, wanted, built, format, forced, spreads)
SELECT $1::int, t, $3::bigint, $3::bigint - 1, $4::int, $5::bool, $6::bool FROM unnest($2::text[]) AS t ORDER BY t
ON CONFLICT (tenant, type) DO UPDATE
SET wanted = excluded.wanted, format = excluded.format,
    forced = (rebuild.forced AND rebuild.built < rebuild.wanted) OR excluded.forced,
    spreads = rebuild.spreads OR excluded.spreads

-- name: spread
-- The types whose versions contain resources of those of $2 that spread: the entries of what is contained
-- are rebuilt with the version that contains it. Definitions are not complete until these are built as well.
WITH found AS (
    SELECT DISTINCT b.type, c.container_type AS container
    FROM rebuild b JOIN contained c ON c.tenant = b.tenant AND c.type = b.type
    WHERE b.tenant = $1 AND b.type = ANY ($2::text[]) AND b.spreads
), widened AS (
    UPDATE search_param p SET around = ARRAY(
        SELECT unnest(p.around) UNION SELECT f.container FROM found f WHERE f.type = ANY (p.types))
    WHERE p.tenant = $1 AND p.state <> 'complete' AND EXISTS (SELECT FROM found f WHERE f.type = ANY (p.types))
)
SELECT DISTINCT container FROM found

-- name: standing
-- A definition, and how far its types have come.
SELECT p.state, p.definition, b.*
FROM search_param p CROSS JOIN LATERAL (
    SELECT count(*) FILTER (WHERE running >= p.since) AS begun,
           coalesce(sum(total), 0)::bigint AS total,
           coalesce(sum(CASE WHEN built >= p.since THEN total WHEN running >= p.since THEN least(seen, total)
                        ELSE 0 END), 0)::bigint AS seen,
           min(error) FILTER (WHERE built < p.since) AS error
    FROM rebuild WHERE tenant = $1 AND type = ANY (p.types || p.around)
) b
WHERE p.tenant = $1 AND p.id = $2

-- name: settle
-- Definitions whose types are all built are complete, and those that are taken away from all are gone.
WITH open AS (
    SELECT p.id FROM search_param p
    WHERE p.tenant = $1 AND p.state <> 'complete'
      AND EXISTS (SELECT FROM rebuild b WHERE b.tenant = $1 AND b.type = ANY (p.types || p.around) AND b.built < p.since)
), gone AS (
    DELETE FROM search_param p
    WHERE p.tenant = $1 AND p.state = 'dropping' AND p.id NOT IN (SELECT id FROM open)
), done AS (
    UPDATE search_param p SET state = 'complete'
    WHERE p.tenant = $1 AND p.state = 'building' AND p.id NOT IN (SELECT id FROM open)
    RETURNING p.id
)
SELECT count(*) FROM done

-- name: demand
-- All of a tenant's entries are to be in format $2, made by settings $3; where `index_state` is new they are in
-- none yet.
INSERT INTO index_state (tenant, version, writes, holds, made) VALUES ($1::int, 1, $2::int, 0, $3::json)
ON CONFLICT (tenant) DO UPDATE SET writes = excluded.writes, made = excluded.made

-- name: outstanding
-- What was asked for by `fhirserver reindex` and is not done.
SELECT type FROM rebuild WHERE tenant = $1 AND forced AND wanted > built AND format = $2

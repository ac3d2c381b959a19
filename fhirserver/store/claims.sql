-- name: lock
SELECT pg_advisory_xact_lock($1, stripe) FROM (SELECT unnest($2::int[]) AS stripe ORDER BY 1) AS s

-- name: release
-- What the resources $3 claimed and, by the pairs of $4 and $5, do not claim any more.
DELETE FROM identifier_claim c
WHERE c.tenant = $1 AND c.type = $2 AND c.id = ANY ($3::text[]) AND NOT EXISTS (
    SELECT FROM unnest($4::bytea[], $5::text[]) AS x(key, id) WHERE x.key = c.key AND x.id = c.id)

-- name: take
INSERT INTO identifier_claim (tenant, type, key, id)
SELECT $1, $2, key, id FROM unnest($3::bytea[], $4::text[]) AS x(key, id) ORDER BY key
ON CONFLICT DO NOTHING

-- name: holders
SELECT key, id FROM identifier_claim WHERE tenant = $1 AND type = $2 AND key = ANY ($3::bytea[])

-- name: release_buried
DELETE FROM identifier_claim
WHERE tenant = $1 AND type = $2 AND id IN (SELECT id FROM {p} WHERE rid = ANY ($3::bigint[]))

-- name: release_all
DELETE FROM identifier_claim WHERE tenant = $1 AND type = $2

-- name: since
SELECT identifiers FROM index_state WHERE tenant = $1

-- name: systems
SELECT type, system, canonical, is_unique, "check" FROM identifier_system WHERE tenant = $1

-- name: naming_systems
SELECT r.id, r.content::text FROM resource_namingsystem r
WHERE r.tenant = $1 AND r.died IS NULL AND r.content @> '{"status": "active"}' AND r.content ? 'extension'
ORDER BY r.id

-- name: changed
UPDATE index_state SET identifiers = version WHERE tenant = $1

-- name: forget_systems
DELETE FROM identifier_system WHERE tenant = $1

-- name: add_system
INSERT INTO identifier_system (tenant, type, system, canonical, is_unique, "check") VALUES ($1, $2, $3, $4, $5, $6)

-- name: hold_writers
SELECT hold_writers($1)

-- name: wanted
-- The claims of all resources of a type that are current.
SELECT DISTINCT identifier_key(s.canonical, i->>'value') AS key, r.id, s.canonical
FROM {p} r CROSS JOIN LATERAL jsonb_array_elements(r.content->'identifier') AS i
JOIN identifier_system s
  ON s.tenant = r.tenant AND s.type = $2 AND s.system = i->>'system' AND s.is_unique
WHERE r.tenant = $1 AND r.died IS NULL AND r.content ? 'identifier' AND i ? 'value'
  AND NOT coalesce(r.content->'link' @> '[{"type": "replaced-by"}]', false)

-- name: doubled
-- The systems of whose identifiers several resources have the same.
SELECT DISTINCT min(canonical) FROM ({wanted}) w GROUP BY key HAVING count(DISTINCT id) > 1 ORDER BY 1

-- name: build
INSERT INTO identifier_claim (tenant, type, key, id)
SELECT $1, $2, key, id FROM ({wanted}) w GROUP BY key, id ORDER BY key, id
ON CONFLICT DO NOTHING

-- name: differences
-- Claims that lack and claims of nobody.
WITH wanted AS (SELECT DISTINCT key, id FROM ({wanted}) w),
     held AS (SELECT key, id FROM identifier_claim WHERE tenant = $1 AND type = $2)
SELECT (SELECT count(*) FROM (SELECT * FROM wanted EXCEPT SELECT * FROM held) a)
     + (SELECT count(*) FROM (SELECT * FROM held EXCEPT SELECT * FROM wanted) b)

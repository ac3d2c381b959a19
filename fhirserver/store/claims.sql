-- name: lock
SELECT pg_advisory_xact_lock($1, stripe) FROM (SELECT unnest($2::int[]) AS stripe ORDER BY 1) AS s

-- name: release
-- What the resources $3 claimed and, by the triples of $4, $5 and $6, do not claim so any more.
DELETE FROM identifier_claim c
WHERE c.tenant = $1 AND c.type = $2 AND c.id = ANY ($3::text[]) AND NOT EXISTS (
    SELECT FROM unnest($4::bytea[], $5::text[], $6::text[]) AS x(key, id, replaced_by)
    WHERE x.key = c.key AND x.id = c.id AND x.replaced_by IS NOT DISTINCT FROM c.replaced_by)

-- name: take
-- Claims what is not claimed so already, unless another one has it; gives who had claimed it before, and what
-- was taken.
WITH taken AS (
    INSERT INTO identifier_claim (tenant, type, key, id, replaced_by)
    SELECT $1, $2, key, id, replaced_by
    FROM unnest($3::bytea[], $4::text[], $5::text[]) AS x(key, id, replaced_by) ORDER BY key, id
    ON CONFLICT DO NOTHING RETURNING key, id, replaced_by
)
SELECT key, id, replaced_by FROM identifier_claim WHERE tenant = $1 AND type = $2 AND key = ANY ($3::bytea[])
UNION ALL SELECT key, id, replaced_by FROM taken

-- name: standing
-- Those of the resources that are there, with the ids of those that stand in their place.
SELECT id, replaced_by(id, content->'link') FROM {p} WHERE tenant = $1 AND id = ANY ($2::text[]) AND died IS NULL

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
SELECT DISTINCT identifier_key(s.canonical, i->>'value') AS key, r.id,
    replaced_by(r.id, r.content->'link') AS replaced_by, s.canonical
FROM {p} r CROSS JOIN LATERAL jsonb_array_elements(r.content->'identifier') AS i
JOIN identifier_system s
  ON s.tenant = r.tenant AND s.type = $2 AND s.system = i->>'system' AND s.is_unique
WHERE r.tenant = $1 AND r.died IS NULL AND r.content ? 'identifier' AND i ? 'value'

-- name: shared
-- Who has the identifiers that several resources have.
SELECT key, id, replaced_by, min(canonical) AS canonical FROM (
    SELECT *, count(*) OVER (PARTITION BY key) AS together FROM ({wanted}) w
) w WHERE together > 1 GROUP BY key, id, replaced_by ORDER BY key

-- name: build
INSERT INTO identifier_claim (tenant, type, key, id, replaced_by)
SELECT DISTINCT $1::int, $2::text, key, id, replaced_by FROM ({wanted}) w ORDER BY key, id
ON CONFLICT DO NOTHING

-- name: differences
-- Claims that lack and claims of nobody.
WITH wanted AS (SELECT DISTINCT key, id, replaced_by FROM ({wanted}) w),
     held AS (SELECT key, id, replaced_by FROM identifier_claim WHERE tenant = $1 AND type = $2)
SELECT (SELECT count(*) FROM (SELECT * FROM wanted EXCEPT SELECT * FROM held) a)
     + (SELECT count(*) FROM (SELECT * FROM held EXCEPT SELECT * FROM wanted) b)

-- name: lock
-- Held by whoever installs or removes, until its transaction ends.
SELECT pg_advisory_xact_lock($1, $2)

-- name: all
SELECT p.name, p.version, p.title, p.canonical, p.digest, p.whole, p.asked, p.examples, p.installed, p.needs,
       p.without, p.left_out,
       (SELECT count(*) FROM package_resource r
        WHERE r.tenant = p.tenant AND r.package = p.name AND r.version = p.version) AS resources
FROM package p WHERE p.tenant = $1 ORDER BY p.name, p.version

-- name: announced
SELECT announced::text AS announced FROM package WHERE tenant = $1 AND asked ORDER BY name, version

-- name: put
INSERT INTO package (tenant, name, version, title, canonical, digest, whole, asked, examples, needs, without,
                     left_out, announced)
VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13)
ON CONFLICT (tenant, name, version) DO UPDATE
SET title = excluded.title, canonical = excluded.canonical, digest = excluded.digest, whole = excluded.whole,
    asked = package.asked OR excluded.asked, examples = excluded.examples, installed = clock_timestamp(),
    needs = excluded.needs, without = excluded.without, left_out = excluded.left_out,
    announced = excluded.announced

-- name: ask
UPDATE package SET asked = true WHERE tenant = $1 AND name = $2 AND version = $3

-- name: delete
DELETE FROM package WHERE tenant = $1 AND name = $2 AND version = $3

-- name: owned
-- What belongs to any package, by its canonical URL.
SELECT DISTINCT canonical, type, id, written, found FROM package_resource
WHERE tenant = $1 AND canonical = ANY ($2::text[])

-- name: of
-- What belongs to a package; `shared`: to another one too.
SELECT r.type, r.id, r.canonical, r.written, r.found,
       EXISTS (SELECT FROM package_resource o WHERE o.tenant = r.tenant AND o.type = r.type AND o.id = r.id
               AND (o.package, o.version) <> (r.package, r.version)) AS shared
FROM package_resource r WHERE r.tenant = $1 AND r.package = $2 AND r.version = $3
ORDER BY r.type, r.id

-- name: own
INSERT INTO package_resource (tenant, package, version, type, id, canonical, written, found)
SELECT $1::int, $2, $3, x.* FROM unnest($4::text[], $5::text[], $6::text[], $7::bigint[], $8::bool[]) AS x
ON CONFLICT (tenant, package, version, type, id) DO UPDATE
SET canonical = excluded.canonical, written = excluded.written

-- name: written
-- For all packages, what is here now is what they brought.
UPDATE package_resource r SET written = x.written
FROM unnest($2::text[], $3::text[], $4::bigint[]) AS x(type, id, written)
WHERE r.tenant = $1 AND r.type = x.type AND r.id = x.id AND r.written <> x.written

-- name: disown
DELETE FROM package_resource r USING unnest($4::text[], $5::text[]) AS x(type, id)
WHERE r.tenant = $1 AND r.package = $2 AND r.version = $3 AND r.type = x.type AND r.id = x.id

-- name: idle
-- SearchParameters of packages that are not in force.
SELECT DISTINCT r.id FROM package_resource r
WHERE r.tenant = $1 AND r.type = 'SearchParameter'
  AND NOT EXISTS (SELECT FROM search_param s WHERE s.tenant = $1 AND s.id = r.id AND s.state <> 'dropping')
ORDER BY r.id

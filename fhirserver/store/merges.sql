-- name: put
INSERT INTO merge (tenant, id, kind, state, type, source, target, request, task, changed, versions, writers,
                   source_key, target_key)
VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14)
ON CONFLICT (tenant, id) DO UPDATE SET state = excluded.state, changed = excluded.changed, request = excluded.request,
                                       versions = excluded.versions, writers = excluded.writers

-- name: in_force
SELECT * FROM merge
WHERE tenant = $1 AND type = $2 AND source = ANY ($3::text[]) AND kind = 'merge' AND state = 'done'

-- name: undone_since
-- Those into the target of another merge that were made before it and undone after it, the last one first.
SELECT m.* FROM merge m JOIN merge later ON later.tenant = m.tenant AND later.id = $2
WHERE m.tenant = $1 AND m.type = later.type AND m.target = later.target AND m.kind = 'merge' AND m.state = 'undone'
  AND m.changed > later.changed AND m.versions[2] < later.versions[2]
ORDER BY m.versions[2] DESC

-- name: under_way
SELECT * FROM merge
WHERE tenant = $1 AND type = $2 AND state = 'accepted' AND (source = ANY ($3::text[]) OR target = ANY ($3::text[]))
LIMIT 1

-- name: next_accepted
SELECT * FROM merge WHERE tenant = $1 AND state = 'accepted' ORDER BY at, id LIMIT 1 FOR NO KEY UPDATE SKIP LOCKED

-- name: unsettled
SELECT * FROM merge WHERE tenant = $1 AND writers IS NOT NULL ORDER BY at, id

-- name: hold
SELECT * FROM merge WHERE tenant = $1 AND id = $2 FOR NO KEY UPDATE

-- name: set_state
UPDATE merge SET state = $3, changed = $4 WHERE tenant = $1 AND id = $2

-- name: record
INSERT INTO merge_move (tenant, merge, back, type, id, version, places) VALUES ($1, $2, $3, $4, $5, $6, $7)

-- name: record_followed
-- Also where the merge was undone while the writer was on its way: who undoes it waits for this one, and moves it
-- back.
INSERT INTO merge_move (tenant, merge, back, type, id, version, places)
SELECT $1, m.id, false, $5, $6, $7, $8 FROM (
    SELECT id FROM merge
    WHERE tenant = $1 AND type = $2 AND source = $3 AND target = $4 AND kind = 'merge' AND state IN ('done', 'undone')
    ORDER BY changed DESC LIMIT 1) m

-- name: moved
-- Where a merge moved something since nothing of it was moved back there.
SELECT type, id FROM (
    SELECT DISTINCT ON (type, id) type, id, back FROM merge_move
    WHERE tenant = $1 AND merge = $2 ORDER BY type, id, seq DESC) last
WHERE NOT back ORDER BY type, id

-- name: facts
SELECT id, version, merge, back, places FROM merge_move
WHERE tenant = $1 AND type = $2 AND id = ANY ($3::text[]) ORDER BY id, version, seq

-- name: standing
-- Those of the ids that stand for others.
SELECT source, target FROM merge
WHERE tenant = $1 AND type = $2 AND target = ANY ($3::text[]) AND kind = 'merge' AND state = 'done'
ORDER BY source LIMIT 1

-- name: since
-- The merges that came into force, or ceased to be, after version $2 of the definitions; of a source in order.
SELECT type, source, target, state FROM merge
WHERE tenant = $1 AND changed > $2 AND kind = 'merge' AND state IN ('done', 'undone') ORDER BY changed

-- name: set_writers
UPDATE merge SET writers = $3 WHERE tenant = $1 AND id = $2

-- name: types_by_key
-- Of the types, those with one of their keys in `tok`.
SELECT DISTINCT w.type FROM unnest($1::bigint[], $2::text[]) AS w(key, type)
WHERE EXISTS (SELECT FROM tok t WHERE t.key = w.key OFFSET 0)

-- name: types_of_patient
SELECT DISTINCT type FROM resource WHERE tenant = $1 AND ptk = $2 AND died IS NULL

-- name: referring
SELECT r.id FROM tok t JOIN {p} r ON r.rid = t.rid
WHERE t.key = ANY ($2::bigint[]) AND r.tenant = $1 AND r.died IS NULL
UNION
SELECT r.id FROM {p} r WHERE r.tenant = $1 AND r.ptk = $3 AND r.died IS NULL
ORDER BY 1

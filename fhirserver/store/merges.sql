-- name: put
INSERT INTO merge (tenant, id, kind, state, type, source, target, request, task, changed, versions, writers)
VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12)
ON CONFLICT (tenant, id) DO UPDATE SET state = excluded.state, changed = excluded.changed, request = excluded.request,
                                       versions = excluded.versions, writers = excluded.writers

-- name: in_force
SELECT * FROM merge
WHERE tenant = $1 AND type = $2 AND source = ANY ($3::text[]) AND kind = 'merge' AND state = 'done'

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
INSERT INTO merge_move (tenant, merge, type, id, places, beside) VALUES ($1, $2, $3, $4, $5, $6)
ON CONFLICT (tenant, merge, type, id) DO UPDATE SET places = excluded.places, beside = excluded.beside

-- name: record_followed
-- Also where the merge was undone while the writer was on its way: who undoes it waits for this one, and moves it
-- back.
INSERT INTO merge_move (tenant, merge, type, id, places, beside)
SELECT $1, m.id, $4, $5, $6, $7 FROM (
    SELECT id FROM merge
    WHERE tenant = $1 AND type = $2 AND source = $3 AND kind = 'merge' AND state IN ('done', 'undone')
    ORDER BY changed DESC LIMIT 1) m
ON CONFLICT (tenant, merge, type, id) DO UPDATE SET places = excluded.places, beside = excluded.beside

-- name: moved
-- `others` are the places that other merges into the same target moved in the same resource.
SELECT m.type, m.id, m.places, m.beside, ARRAY(
    SELECT place ->> 0
    FROM merge_move o JOIN merge g ON g.tenant = o.tenant AND g.id = o.merge
    CROSS JOIN LATERAL json_array_elements(o.places) AS place
    WHERE o.tenant = m.tenant AND o.type = m.type AND o.id = m.id AND o.merge <> m.merge
      AND g.state = 'done' AND g.target = $3) AS others
FROM merge_move m WHERE m.tenant = $1 AND m.merge = $2 ORDER BY m.type, m.id

-- name: no_longer_beside
-- What is moved back does not refer to the target any more, for other merges into it.
UPDATE merge_move o
SET beside = ARRAY(SELECT unnest(o.beside) EXCEPT SELECT place ->> 0 FROM json_array_elements(m.places) AS place)
FROM merge_move m JOIN unnest($3::text[], $4::text[]) AS x(type, id) ON m.type = x.type AND m.id = x.id
WHERE m.tenant = $1 AND m.merge = $2
  AND o.tenant = m.tenant AND o.type = m.type AND o.id = m.id AND o.merge <> m.merge

-- name: forget_moved
DELETE FROM merge_move m USING unnest($3::text[], $4::text[]) AS x(type, id)
WHERE m.tenant = $1 AND m.merge = $2 AND m.type = x.type AND m.id = x.id

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

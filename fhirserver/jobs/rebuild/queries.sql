-- name: mine
-- Whether this transaction is the one that rebuilds for tenant $2.
SELECT pg_try_advisory_xact_lock($1, $2)

-- name: share_rows
SELECT pg_advisory_xact_lock_shared($1, 0)

-- name: waiting
-- Types whose pass has not begun.
SELECT type FROM rebuild
WHERE tenant = $1 AND wanted > built AND running IS NULL AND format = $2 ORDER BY type

-- name: task
-- The pass under way, one after the other; those that fail come last.
SELECT type, after, upto, error IS NOT NULL AS failed FROM rebuild
WHERE tenant = $1 AND running IS NOT NULL AND format = $2 ORDER BY failed, type LIMIT 1

-- name: last
SELECT coalesce(max(rid), 0) FROM {p}

-- name: estimate
EXPLAIN (FORMAT JSON) SELECT FROM {p}

-- name: begin
UPDATE rebuild SET running = $3, spreads = false, after = 0, upto = $4, seen = 0, total = $5, mended = 0, error = NULL
WHERE tenant = $1 AND type = $2 AND running IS NULL

-- name: chunk
-- The next $4 versions of the type after $2, of whichever tenant, or fewer if they hold more than $5 bytes as
-- they are stored. What is derived is given of those that have index entries: no deletions, and nothing that
-- the janitor has swept.
SELECT c.rid AS at, k.*
FROM (
    SELECT rid, sum(size) OVER (ORDER BY rid) - size AS before
    FROM (
        SELECT rid, coalesce(pg_column_size(content), 0) AS size
        FROM {p} WHERE rid > $2 AND rid <= $3 ORDER BY rid LIMIT $4
    ) l
) c
LEFT JOIN LATERAL (
    SELECT r.type, r.id, r.version, r.updated, r.method, r.meta, coalesce(r.written, r.content::text) AS content,
           r.rid, r.ptk, r.ord, r.d_lo, r.d_hi, r.compartments, r.keys
    FROM {p} r
    WHERE r.rid = c.rid AND r.tenant = $1 AND r.method <> 'DELETE'
      AND (r.died IS NULL OR r.died >= coalesce((SELECT max(before) FROM tick WHERE swept), '0'::xid8))
    OFFSET 0
) k ON true
WHERE c.before <= $5
ORDER BY c.rid

-- name: tok
-- Those of the rows (rid, ord, key) that there are, as often as they are.
SELECT t.rid, t.key, t.ord
FROM unnest($1::bigint[], $2::bigint[], $3::bigint[]) AS w(rid, ord, key)
CROSS JOIN LATERAL (
    SELECT x.rid, x.key, x.ord FROM tok x WHERE x.key = w.key AND x.ord = w.ord AND x.rid = w.rid OFFSET 0
) t

-- name: str
SELECT rid, key, val FROM str WHERE rid = ANY ($1::bigint[])

-- name: dat
SELECT rid, key, lo, hi FROM dat WHERE rid = ANY ($1::bigint[])

-- name: qty
SELECT rid, key, lo, hi FROM qty WHERE rid = ANY ($1::bigint[])

-- name: words
-- Whether the words of the rows that have any are the ones given.
SELECT w.rid, coalesce(w.document = x.document::tsvector, false) AS equal
FROM unnest($1::bigint[], $2::text[]) AS x(rid, document) JOIN words w ON w.rid = x.rid

-- name: missing_terms
-- The numbers of the terms that the dictionary lacks.
SELECT a.number
FROM unnest($1::bigint[], $2::text[], $3::bigint[], $4::bigint[])
    WITH ORDINALITY AS a(key, val, text_key, tok_key, number)
WHERE NOT EXISTS (
    SELECT FROM term t
    WHERE t.key = a.key AND t.val = a.val AND t.text_key = a.text_key AND t.tok_key IS NOT DISTINCT FROM a.tok_key
    OFFSET 0)

-- name: inside
-- What versions contain, and whether it does not begin and end with them.
SELECT c.*, (c.tenant, c.born, c.died) IS DISTINCT FROM (r.tenant, r.born, r.died) AS shifted
FROM contained c JOIN {p} r ON r.rid = c.container_rid
WHERE c.container_rid = ANY ($1::bigint[]) AND c.container_type = r.type
ORDER BY c.rid

-- name: known
SELECT version, writes FROM index_state WHERE tenant = $1

-- name: hold
-- Hold the versions, as far as nobody else does: whoever is waited for here may wait for one of these in turn.
SELECT rid FROM {p} WHERE rid = ANY ($1::bigint[]) FOR NO KEY UPDATE SKIP LOCKED

-- name: hold_waiting
-- The same for a single one that somebody held before.
SELECT rid FROM {p} WHERE rid = ANY ($1::bigint[]) FOR NO KEY UPDATE

-- name: remove_tok
DELETE FROM tok WHERE ctid = ANY (ARRAY(
    SELECT t.ctid FROM unnest($1::bigint[], $2::bigint[], $3::bigint[]) AS w(rid, key, ord)
    CROSS JOIN LATERAL (
        SELECT x.ctid FROM tok x WHERE x.key = w.key AND x.ord = w.ord AND x.rid = w.rid OFFSET 0
    ) t))

-- name: remove_str
DELETE FROM str WHERE ctid = ANY (ARRAY(
    SELECT t.ctid FROM unnest($1::bigint[], $2::bigint[], $3::text[]) AS w(rid, key, val)
    CROSS JOIN LATERAL (
        SELECT x.ctid FROM str x WHERE x.rid = w.rid AND x.key = w.key AND x.val = w.val OFFSET 0
    ) t))

-- name: remove_dat
DELETE FROM dat WHERE ctid = ANY (ARRAY(
    SELECT t.ctid FROM unnest($1::bigint[], $2::bigint[], $3::bigint[], $4::bigint[]) AS w(rid, key, lo, hi)
    CROSS JOIN LATERAL (
        SELECT x.ctid FROM dat x WHERE x.rid = w.rid AND x.key = w.key AND x.lo = w.lo AND x.hi = w.hi OFFSET 0
    ) t))

-- name: remove_qty
DELETE FROM qty WHERE ctid = ANY (ARRAY(
    SELECT t.ctid FROM unnest($1::bigint[], $2::bigint[], $3::numeric[], $4::numeric[]) AS w(rid, key, lo, hi)
    CROSS JOIN LATERAL (
        SELECT x.ctid FROM qty x WHERE x.rid = w.rid AND x.key = w.key AND x.lo = w.lo AND x.hi = w.hi OFFSET 0
    ) t))

-- name: remove_words
DELETE FROM words WHERE rid = ANY ($1::bigint[]) AND cardinality($2::text[]) > 0

-- name: remove_consent_rule
DELETE FROM consent_rule WHERE rid = $1 AND node = $2

-- name: remove_contained
DELETE FROM contained WHERE rid = ANY ($1::bigint[])

-- name: contain
INSERT INTO contained (tenant, type, rid, id, version, updated, method, idk, ptk, ord, d_lo, d_hi, compartments, keys,
                       meta, content, written, container_type, container_rid, container_id, container_ptk,
                       container_ord, container_d_lo, container_d_hi, container_compartments, container_keys,
                       born, died)
SELECT $1::int, $2::text, $3::bigint, $4::text, $5::int, $6::timestamptz, $7::text, $8::bigint, $9::bigint,
       $10::bigint, $11::bigint, $12::bigint, $13::bigint[], $14::bigint[], $15::json, $16::jsonb, $17::text,
       $18::text, $19::bigint, $20::text, $21::bigint, $22::bigint, $23::bigint, $24::bigint, $25::bigint[],
       $26::bigint[], born, died
FROM {p} WHERE rid = $19

-- name: derive
UPDATE {p} SET ptk = $2, ord = $3, d_lo = $4, d_hi = $5, compartments = $6, keys = $7 WHERE rid = $1

-- name: advance
UPDATE rebuild SET after = $3, seen = seen + $4, mended = mended + $5, error = NULL
WHERE tenant = $1 AND type = $2

-- name: fail
UPDATE rebuild SET error = $3 WHERE tenant = $1 AND type = $2

-- name: finish
-- The pass has come to its end.
UPDATE rebuild SET built = running, running = NULL, forced = forced AND wanted > running
WHERE tenant = $1 AND type = $2 AND running IS NOT NULL AND after >= upto

-- name: hold_format
-- When nothing is left to rebuild, all entries have the format in which they are written.
UPDATE index_state s SET holds = writes
WHERE s.tenant = $1 AND s.holds <> s.writes
  AND NOT EXISTS (SELECT FROM rebuild b WHERE b.tenant = $1 AND b.wanted > b.built)

-- name: state_of_types
SELECT count(*) FILTER (WHERE wanted > built) AS open, coalesce(sum(seen), 0)::bigint AS seen,
       coalesce(sum(total), 0)::bigint AS total, coalesce(sum(mended), 0)::bigint AS mended
FROM rebuild WHERE tenant = $1 AND type = ANY ($2::text[])

-- name: is_open
SELECT EXISTS (SELECT FROM rebuild WHERE tenant = $1 AND type = $2 AND wanted > built)

-- name: stray_contained
-- What is contained in no version that should have index entries.
SELECT t.ctid AS place FROM contained t WHERE NOT EXISTS (
    SELECT FROM resource r
    WHERE r.rid = t.container_rid AND r.type = t.container_type AND r.method <> 'DELETE'
      AND (r.died IS NULL OR r.died >= coalesce((SELECT max(before) FROM tick WHERE swept), '0'::xid8)))

-- name: stray_tok
-- Rows of `tok` that belong to no version that should have any, and to nothing that one contains, or under keys
-- that it does not have. $1: the types whose rows for patient and code have keys made of the version's.
SELECT t.ctid AS place FROM tok t
WHERE NOT EXISTS (
    SELECT FROM resource r
    WHERE r.rid = t.rid AND r.ord = t.ord AND r.method <> 'DELETE'
      AND (r.died IS NULL OR r.died >= coalesce((SELECT max(before) FROM tick WHERE swept), '0'::xid8))
      AND (t.key = ANY (r.keys[2:]) OR (r.type = ANY ($1::text[]) AND (t.key # r.ptk) = ANY (r.keys[2:]))))
  AND NOT EXISTS (
    SELECT FROM contained r
    WHERE r.rid = t.rid AND r.ord = t.ord
      AND (t.key = ANY (r.keys[2:]) OR (r.type = ANY ($1::text[]) AND (t.key # r.ptk) = ANY (r.keys[2:]))))

-- name: stray_str
SELECT t.ctid AS place FROM str t
WHERE NOT EXISTS (
    SELECT FROM resource r
    WHERE r.rid = t.rid AND r.method <> 'DELETE'
      AND (r.died IS NULL OR r.died >= coalesce((SELECT max(before) FROM tick WHERE swept), '0'::xid8)))
  AND NOT EXISTS (SELECT FROM contained r WHERE r.rid = t.rid)

-- name: stray_dat
SELECT t.ctid AS place FROM dat t
WHERE NOT EXISTS (
    SELECT FROM resource r
    WHERE r.rid = t.rid AND r.method <> 'DELETE'
      AND (r.died IS NULL OR r.died >= coalesce((SELECT max(before) FROM tick WHERE swept), '0'::xid8)))
  AND NOT EXISTS (SELECT FROM contained r WHERE r.rid = t.rid)

-- name: stray_qty
SELECT t.ctid AS place FROM qty t
WHERE NOT EXISTS (
    SELECT FROM resource r
    WHERE r.rid = t.rid AND r.method <> 'DELETE'
      AND (r.died IS NULL OR r.died >= coalesce((SELECT max(before) FROM tick WHERE swept), '0'::xid8)))
  AND NOT EXISTS (SELECT FROM contained r WHERE r.rid = t.rid)

-- name: stray_words
SELECT t.ctid AS place FROM words t
WHERE NOT EXISTS (
    SELECT FROM resource r
    WHERE r.rid = t.rid AND r.method <> 'DELETE'
      AND (r.died IS NULL OR r.died >= coalesce((SELECT max(before) FROM tick WHERE swept), '0'::xid8)))
  AND NOT EXISTS (SELECT FROM contained r WHERE r.rid = t.rid)

-- name: stray_consent_rule
SELECT t.ctid AS place FROM consent_rule t
WHERE NOT EXISTS (
    SELECT FROM resource_consent r
    WHERE r.rid = t.rid AND r.tenant = t.tenant AND r.method <> 'DELETE'
      AND (r.died IS NULL OR r.died >= coalesce((SELECT max(before) FROM tick WHERE swept), '0'::xid8)))

-- Statements over one type's partition: {p} is replaced by its name, which comes from the structure
-- tables and never from a request. `{words}` is the part of this name where a version has words, and nothing
-- elsewhere.

-- name: insert
-- A new resource, or one that is created again after its deletion; no row if the definitions are not those
-- of version $26 any more. The order of the first two steps matters: whoever computes the horizon must see
-- this transaction's id before its instant is taken.
WITH writer AS MATERIALIZED (
    SELECT pg_current_xact_id() AS born
    WHERE coalesce((SELECT version FROM index_state WHERE tenant = $1), 0) = $26
), clock AS MATERIALIZED (
    SELECT born, greatest(clock_timestamp(), $11::timestamptz + interval '1 microsecond') AS updated FROM writer
), v AS (
    INSERT INTO {p} (tenant, type, id, version, method, idk, ptk, ord, d_lo, d_hi, compartments, keys,
                     born, updated, meta, content, written)
    SELECT $1, $2, $3, $4, $5, $6, $7, coalesce($8, (extract(epoch FROM updated) * 1000000)::bigint),
           $9, $10, $12, $13, born, updated, $14, $15, $16
    FROM clock
    RETURNING rid, ord, updated
), t AS (
    INSERT INTO tok SELECT k, v.ord, v.rid FROM v, unnest($17::bigint[]) AS k
), s AS (
    INSERT INTO str SELECT k, val, v.rid FROM v, unnest($18::bigint[], $19::text[]) AS x(k, val)
), d AS (
    INSERT INTO dat SELECT k, lo, hi, v.rid FROM v, unnest($20::bigint[], $21::bigint[], $22::bigint[]) AS x(k, lo, hi)
), q AS (
    INSERT INTO qty SELECT k, lo, hi, v.rid FROM v, unnest($23::bigint[], $24::numeric[], $25::numeric[]) AS x(k, lo, hi)
){words}
SELECT updated, rid FROM v

-- name: replace
-- The version after $4 - 1, if that one is still current and the definitions are those of version $26: else
-- `updated` is null. `known` is the version of the definitions.
WITH dead AS (
    UPDATE {p} SET died = pg_current_xact_id()
    WHERE tenant = $1 AND id = $3 AND version = $4 - 1 AND died IS NULL
      AND coalesce((SELECT version FROM index_state WHERE tenant = $1), 0) = $26
    RETURNING rid, greatest(clock_timestamp(), updated + interval '1 microsecond', $11::timestamptz) AS updated
), v AS (
    INSERT INTO {p} (tenant, type, id, version, method, idk, ptk, ord, d_lo, d_hi, compartments, keys,
                     updated, meta, content, written)
    SELECT $1, $2, $3, $4, $5, $6, $7, coalesce($8, (extract(epoch FROM updated) * 1000000)::bigint),
           $9, $10, $12, $13, updated, $14, $15, $16
    FROM dead
    RETURNING rid, ord, updated
), t AS (
    INSERT INTO tok SELECT k, v.ord, v.rid FROM v, unnest($17::bigint[]) AS k
), s AS (
    INSERT INTO str SELECT k, val, v.rid FROM v, unnest($18::bigint[], $19::text[]) AS x(k, val)
), d AS (
    INSERT INTO dat SELECT k, lo, hi, v.rid FROM v, unnest($20::bigint[], $21::bigint[], $22::bigint[]) AS x(k, lo, hi)
), q AS (
    INSERT INTO qty SELECT k, lo, hi, v.rid FROM v, unnest($23::bigint[], $24::numeric[], $25::numeric[]) AS x(k, lo, hi)
){words}
SELECT (SELECT updated FROM v) AS updated, (SELECT rid FROM v) AS rid, (SELECT rid FROM dead) AS ended,
       coalesce((SELECT version FROM index_state WHERE tenant = $1), 0) AS known

-- name: words
, w AS (
    INSERT INTO words SELECT v.rid, $27::tsvector FROM v
)

-- name: writer
-- This transaction's id first (see `horizon`); its instant is taken by the next statement. Whoever waits for
-- the writers by older definitions sees either this statement's snapshot or the id.
SELECT pg_current_xact_id(), coalesce((SELECT version FROM index_state WHERE tenant = $1), 0) AS known

-- name: bury
-- A deletion is a version of its own, born dead, with the keys and compartments of what it ended.
WITH dead AS (
    UPDATE {p} SET died = pg_current_xact_id()
    WHERE tenant = $1 AND id = $2 AND version = $3 AND died IS NULL
    RETURNING *
)
INSERT INTO {p} (tenant, type, id, version, method, idk, ptk, ord, d_lo, d_hi, compartments, keys, died, updated)
SELECT tenant, type, id, version + 1, 'DELETE', idk, ptk, ord, d_lo, d_hi, compartments, keys,
       pg_current_xact_id(), greatest(clock_timestamp(), updated + interval '1 microsecond')
FROM dead
RETURNING updated, (SELECT rid FROM dead) AS ended, (SELECT content ? 'contained' FROM dead) AS contains

-- name: end_contained
UPDATE contained SET died = pg_current_xact_id() WHERE container_rid = $1 AND died IS NULL

-- name: lock_latest
-- The latest version of each id, deletions too, held until the end of the transaction.
SELECT r.id, r.version, r.rid, r.updated, r.method = 'DELETE' AS deleted,
       r.died IS NOT NULL AND r.method <> 'DELETE' AS overtaken
FROM {p} r
WHERE r.tenant = $1 AND r.rid = ANY (
    SELECT (SELECT l.rid FROM {p} l WHERE l.tenant = $1 AND l.id = i ORDER BY l.version DESC LIMIT 1)
    FROM unnest($2::text[]) AS i)
ORDER BY r.id COLLATE "C"
FOR UPDATE

-- name: end_many
WITH c AS (
    UPDATE contained SET died = pg_current_xact_id() WHERE container_rid = ANY ($1::bigint[]) AND died IS NULL
)
UPDATE {p} SET died = pg_current_xact_id() WHERE rid = ANY ($1::bigint[]) AND died IS NULL

-- name: bury_many
INSERT INTO {p} (tenant, type, id, version, method, idk, ptk, ord, d_lo, d_hi, compartments, keys, died, updated)
SELECT tenant, type, id, version + 1, 'DELETE', idk, ptk, ord, d_lo, d_hi, compartments, keys,
       pg_current_xact_id(), greatest($2, updated + interval '1 microsecond')
FROM {p} WHERE rid = ANY ($1::bigint[])

-- name: lock_stripes
-- Advisory locks of class $1 until the end of the transaction, alone or shared with other readers. The
-- ORDER BY is inside, so that they are taken in that order.
SELECT CASE WHEN alone THEN pg_advisory_xact_lock($1, stripe)::text
            ELSE pg_advisory_xact_lock_shared($1, stripe)::text END
FROM (SELECT stripe, alone FROM unnest($2::int[], $3::bool[]) AS x(stripe, alone) ORDER BY stripe) AS s

-- name: add_words
INSERT INTO words SELECT rid, document::tsvector FROM unnest($1::bigint[], $2::text[]) AS x(rid, document)

-- name: add_terms
-- The terms that are not there yet; the numbers of those that were, by a transaction that has ended.
WITH asked AS (
    SELECT * FROM unnest($1::bigint[], $2::text[], $3::bigint[], $4::bigint[])
        WITH ORDINALITY AS x(key, val, text_key, tok_key, number)
), there AS (
    SELECT a.number, t.born FROM asked a
    JOIN term t ON t.key = a.key AND t.val = a.val AND t.text_key = a.text_key
               AND t.tok_key IS NOT DISTINCT FROM a.tok_key
), added AS (
    INSERT INTO term (key, val, text_key, tok_key)
    SELECT DISTINCT key, val, text_key, tok_key FROM asked WHERE number NOT IN (SELECT number FROM there)
)
SELECT DISTINCT number FROM there WHERE born <> pg_current_xact_id()

-- name: put
-- New versions of type $2 with their index rows; none if the definitions are not those of version $4 any more.
-- This transaction's id comes before its instant, as in `insert`. What a row has several of stands in one array
-- for all rows, where the row's part ends at `c` and `k` and begins after the end of the row before it.
WITH writer AS MATERIALIZED (
    SELECT pg_current_xact_id() AS born,
           CASE WHEN $3::bool THEN set_config('synchronous_commit', 'off', true) END AS asynchronous
    WHERE coalesce((SELECT version FROM index_state WHERE tenant = $1), 0) = $4
), clock AS MATERIALIZED (
    SELECT born, clock_timestamp() AS updated FROM writer
), e AS MATERIALIZED (
    SELECT nextval('rid') AS rid, born, updated,
           coalesce(x.ord, (extract(epoch FROM updated) * 1000000)::bigint) AS ord,
           x.id, x.idk, x.ptk, x.d_lo, x.d_hi, x.meta, x.content, x.n,
           x.c, lag(x.c, 1, 0) OVER (ORDER BY x.n) AS c0, x.k, lag(x.k, 1, 0) OVER (ORDER BY x.n) AS k0
    FROM clock, unnest($5::text[], $6::bigint[], $7::bigint[], $8::bigint[], $9::bigint[], $10::bigint[],
                       $11::int[], $13::int[], $15::text[], $16::text[])
        WITH ORDINALITY AS x(id, idk, ptk, ord, d_lo, d_hi, c, k, meta, content, n)
), v AS (
    INSERT INTO {p} (tenant, type, rid, id, version, method, idk, ptk, ord, d_lo, d_hi, compartments, keys,
                     born, updated, meta, content)
    SELECT $1, $2, rid, id, 1, 'POST', idk, ptk, ord, d_lo, d_hi, ($12::bigint[])[c0 + 1:c],
           ($14::bigint[])[k0 + 1:k], born, updated, meta::json, content::jsonb
    FROM e
), t AS (
    INSERT INTO tok SELECT x.key, e.ord, e.rid FROM unnest($17::bigint[], $18::int[]) AS x(key, n) JOIN e USING (n)
), s AS (
    INSERT INTO str SELECT x.key, x.val, e.rid
    FROM unnest($19::bigint[], $20::text[], $21::int[]) AS x(key, val, n) JOIN e USING (n)
), d AS (
    INSERT INTO dat SELECT x.key, x.lo, x.hi, e.rid
    FROM unnest($22::bigint[], $23::bigint[], $24::bigint[], $25::int[]) AS x(key, lo, hi, n) JOIN e USING (n)
), q AS (
    INSERT INTO qty SELECT x.key, x.lo, x.hi, e.rid
    FROM unnest($26::bigint[], $27::numeric[], $28::numeric[], $29::int[]) AS x(key, lo, hi, n) JOIN e USING (n)
), w AS (
    INSERT INTO words SELECT e.rid, x.document::tsvector
    FROM unnest($30::text[], $31::int[]) AS x(document, n) JOIN e USING (n)
)
SELECT count(*) FROM e

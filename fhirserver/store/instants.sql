-- name: horizon
-- The clock is looked at first: what is not running then gets a later instant.
SELECT clock_timestamp() AS now, horizon() AS reached

-- name: kept
-- The second leaves room for a clock that is set back a little between two ticks.
SELECT coalesce((SELECT before FROM tick WHERE at <= $1::timestamptz - interval '1 second' ORDER BY at DESC LIMIT 1),
                '0'::xid8)::text AS since,
       (SELECT max(at) FROM tick WHERE swept) AS swept

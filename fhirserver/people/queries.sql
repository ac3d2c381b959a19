-- name: session
-- The session of a cookie, if it and its account still hold: $1 hash, $2 tenant, $3 idle seconds at most.
SELECT s.hash, s.account, s.created, a.person, a.login,
       s.used < clock_timestamp() - interval '1 minute' AS stale
FROM auth.session s JOIN auth.account a ON a.id = s.account
WHERE s.hash = $1 AND a.tenant = $2 AND NOT a.disabled AND NOT a.must_change
  AND s.expires > clock_timestamp() AND s.used > clock_timestamp() - make_interval(secs => $3)

-- name: session_used
UPDATE auth.session SET used = clock_timestamp() WHERE hash = $1

-- name: session_begin
-- $1 hash, $2 account, $3 tenant, $4 seconds it lasts at most.
INSERT INTO auth.session (hash, account, expires)
SELECT $1, a.id, clock_timestamp() + make_interval(secs => $4)
FROM auth.account a WHERE a.id = $2 AND a.tenant = $3 AND NOT a.disabled AND NOT a.must_change
RETURNING created, (SELECT person FROM auth.account WHERE id = $2) AS person,
          (SELECT login FROM auth.account WHERE id = $2) AS login

-- name: session_end
DELETE FROM auth.session WHERE hash = $1

-- name: sessions_end
-- All of an account but one ($2, which may be null).
DELETE FROM auth.session WHERE account = $1 AND hash IS DISTINCT FROM $2

-- name: session_moves
-- What was granted for as long as a session goes on with the one that takes its place.
UPDATE auth.grant_ SET session = $2 WHERE session = $1

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
-- $1 hash, $2 account, $3 tenant, $4 seconds it lasts at most. The account has been seen.
WITH a AS (
    UPDATE auth.account SET seen = clock_timestamp(), seen_before = seen
    WHERE id = $2 AND tenant = $3 AND NOT disabled AND NOT must_change
    RETURNING id, person, login
), s AS (
    INSERT INTO auth.session (hash, account, expires)
    SELECT $1, id, clock_timestamp() + make_interval(secs => $4) FROM a
    RETURNING created
)
SELECT s.created, a.person, a.login FROM a, s

-- name: session_end
DELETE FROM auth.session WHERE hash = $1

-- name: sessions_end
-- All of an account but one ($2, which may be null).
DELETE FROM auth.session WHERE account = $1 AND hash IS DISTINCT FROM $2

-- name: session_moves
-- What was granted for as long as a session goes on with the one that takes its place.
UPDATE auth.grant_ SET session = $2 WHERE session = $1

-- name: attempt
-- Count a try ($1 tenant, $2 key) unless it comes too early: after $3 failures the wait is $4 seconds, twice
-- as long for each one more, at most $5. No row: too early. A quiet day makes good for all.
INSERT INTO auth.attempt AS a (tenant, key, failures, failed) VALUES ($1, $2, 1, clock_timestamp())
ON CONFLICT (tenant, key) DO UPDATE
SET failures = CASE WHEN a.failed < clock_timestamp() - interval '1 day' THEN 1 ELSE a.failures + 1 END,
    failed = clock_timestamp()
WHERE a.failures < $3::int OR clock_timestamp() >= a.failed
    + make_interval(secs => least($5::int, $4::int * 2.0 ^ least(a.failures - $3::int, 16)))
RETURNING failures

-- name: attempt_right
DELETE FROM auth.attempt WHERE tenant = $1 AND key = $2

-- name: once_put
INSERT INTO auth.once (kind, hash, tenant, value, expires)
VALUES ($1, $2, $3, $4::jsonb, clock_timestamp() + make_interval(secs => $5))

-- name: once_look
SELECT value FROM auth.once
WHERE kind = $1 AND hash = $2 AND tenant = $3 AND used IS NULL AND expires > clock_timestamp()

-- name: once_take
UPDATE auth.once SET used = clock_timestamp()
WHERE kind = $1 AND hash = $2 AND tenant = $3 AND used IS NULL AND expires > clock_timestamp()
RETURNING value

-- name: once_drop
UPDATE auth.once SET used = clock_timestamp()
WHERE kind = $1 AND tenant = $2 AND value = $3::jsonb AND used IS NULL

-- name: totp
SELECT totp FROM auth.account WHERE id = $1

-- name: totp_on
UPDATE auth.account SET totp = $2, totp_at = $3 WHERE id = $1 AND totp IS NULL RETURNING id

-- name: totp_off
UPDATE auth.account SET totp = NULL, totp_at = NULL WHERE id = $1

-- name: totp_use
UPDATE auth.account SET totp_at = $2
WHERE id = $1 AND totp = $3 AND (totp_at IS NULL OR totp_at < $2) RETURNING id

-- name: account
SELECT id, login, person, password, totp IS NOT NULL AS totp, disabled, must_change, seen, seen_before, created
FROM auth.account WHERE tenant = $1 AND id = $2

-- name: account_by_login
SELECT id, login, person, password, totp IS NOT NULL AS totp, disabled, must_change, seen, seen_before, created
FROM auth.account WHERE tenant = $1 AND login = $2

-- name: account_by_person
SELECT id, login, person, password, totp IS NOT NULL AS totp, disabled, must_change, seen, seen_before, created
FROM auth.account WHERE tenant = $1 AND person = $2

-- name: accounts
SELECT id, login, person, password, totp IS NOT NULL AS totp, disabled, must_change, seen, seen_before, created
FROM auth.account WHERE tenant = $1 ORDER BY login COLLATE "C" LIMIT $2

-- name: account_any
SELECT EXISTS (SELECT FROM auth.account WHERE tenant = $1)

-- name: account_add
-- $1 tenant, $2 login, $3 person, $4 password hash or null, $5 whether it is a first one to be changed. The
-- Person has to be there; a name that is taken gives no row.
INSERT INTO auth.account (tenant, login, person, password, must_change, links, disabled)
SELECT $1, $2, $3, $4, $5, auth.links_of(p.content), coalesce(p.content -> 'active' = 'false', false)
FROM resource_person p WHERE p.tenant = $1 AND p.id = $3 AND p.died IS NULL
ON CONFLICT (tenant, login) DO NOTHING
RETURNING id

-- name: password_set
-- Unless it was changed meanwhile ($4 is what it was).
UPDATE auth.account SET password = $2, must_change = $3
WHERE id = $1 AND password IS NOT DISTINCT FROM $4 RETURNING id

-- name: password_rehashed
-- Unless it was changed meanwhile.
UPDATE auth.account SET password = $3 WHERE id = $1 AND password = $2

-- name: grants_end
UPDATE auth.grant_ SET revoked = clock_timestamp() WHERE account = $1 AND revoked IS NULL

-- name: sessions_of
SELECT count(*) FROM auth.session WHERE account = $1 AND hash <> $2 AND expires > clock_timestamp()
  AND used > clock_timestamp() - make_interval(secs => $3)

-- name: running
-- The transactions of servers that are running now and may have compared an earlier version of the
-- definitions. Those of other programs and of builders write no versions.
SELECT DISTINCT l.virtualtransaction AS transaction
FROM pg_locks l JOIN pg_stat_activity a ON a.pid = l.pid
WHERE l.locktype = 'virtualxid' AND l.granted AND l.pid <> pg_backend_pid()
  AND a.datname = current_database() AND a.application_name = $1

-- name: left
SELECT count(DISTINCT virtualtransaction) FROM pg_locks
WHERE locktype = 'virtualxid' AND granted AND virtualtransaction = ANY ($1::text[])

"""PostgreSQL: connections, statements, retries."""

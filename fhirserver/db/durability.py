"""Whether the database keeps the promise that a 2xx means: it is on disk."""

from __future__ import annotations

from collections.abc import Mapping

PROMISES = ("fsync", "full_page_writes", "synchronous_commit")
"""PostgreSQL settings without any of which a crash may lose what was acknowledged, or break a page."""


def lapses(shown: Mapping[str, str]) -> tuple[str, ...]:
    """Those of PROMISES that are off, given what SHOW says for each.

    `synchronous_commit` may be weaker than `on` in what it asks of replicas: `local` and above all wait for
    this server's own disk.
    """
    return tuple(name for name in PROMISES if shown[name] == "off")


def durability(dsn: str) -> tuple[str, ...]:
    """The lapses of a database as the role of `dsn` would write to it. Raises psycopg.OperationalError."""
    import psycopg

    with psycopg.connect(dsn, connect_timeout=10) as connection:
        return lapses({name: show(connection, name) for name in PROMISES})


def show(connection: object, name: str) -> str:
    """One setting of the session as PostgreSQL writes it; `connection` is psycopg's."""
    import psycopg

    assert isinstance(connection, psycopg.Connection)
    row = connection.execute("SELECT current_setting(%s)", (name,)).fetchone()
    assert row is not None
    return str(row[0])

"""Bring a database to the schema of this release: plain SQL files, forward only.

`migrations/sql/NNNN.sql` holds the statements, `migrations/versions/NNNN.py` tells alembic their order. Every
file runs in a transaction of its own under one advisory lock, so that servers which start together do not
meet. When there is nothing to do, and that is nearly always, alembic is not even imported.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

import psycopg

from fhirserver.observe.shown import masked
from fhirserver.settings import data_path

if TYPE_CHECKING:
    from alembic.config import Config

VERSION_TABLE = "alembic_version"
SERVER_VERSION_MIN = 150000  # as PostgreSQL writes 15.0
CONNECT_TIMEOUT_S = 10
_LOCK = int.from_bytes(b"fhirmigr", "big")


class MigrationError(RuntimeError):
    """The database cannot be brought to this release's schema; the text says why and what to do."""


def revisions() -> tuple[str, ...]:
    """The revisions of this release, oldest first: the names of the SQL files."""
    return tuple(sorted(path.stem for path in (data_path("migrations") / "sql").glob("[0-9]*.sql")))


def statements(revision: str) -> str:
    """The SQL text of one revision."""
    return (data_path("migrations") / "sql" / f"{revision}.sql").read_text(encoding="utf-8")


def current(dsn: str) -> str | None:
    """The revision a database is at; None when it is empty. Raises MigrationError."""
    with _connected(dsn) as connection:
        return _current(connection)


def pending(dsn: str) -> tuple[str, ...]:
    """The revisions a database still lacks, oldest first. Raises MigrationError."""
    return _after(current(dsn))


def migrate(dsn: str) -> tuple[str, ...]:
    """Apply what is pending and return it. Raises MigrationError, having changed nothing in that revision."""
    with _connected(dsn) as connection:
        if not _after(_current(connection)):
            return ()
        connection.execute("SELECT pg_advisory_lock(%s)", (_LOCK,))
        connection.commit()
        todo = _after(_current(connection))  # another server may have done it while we waited
        connection.commit()
        if todo:
            _upgrade(connection)
        return todo


def sql() -> str:
    """All revisions as one script, for those who let only a person change a database."""
    begin = f"CREATE TABLE {VERSION_TABLE} (version_num varchar(32) NOT NULL PRIMARY KEY);\n"
    return begin + "".join(
        f"\n-- {revision}\nBEGIN;\n{statements(revision).strip()}\n"
        f"TRUNCATE {VERSION_TABLE};\nINSERT INTO {VERSION_TABLE} VALUES ('{revision}');\nCOMMIT;\n"
        for revision in revisions()
    )


@contextmanager
def _connected(dsn: str) -> Iterator[psycopg.Connection]:
    try:
        connection = psycopg.connect(
            dsn, connect_timeout=CONNECT_TIMEOUT_S, application_name="fhirserver-migrate"
        )
    except psycopg.OperationalError as error:
        raise MigrationError(f"cannot reach {masked(dsn)}: {str(error).strip()}") from error
    with connection:
        if connection.info.server_version < SERVER_VERSION_MIN:
            raise MigrationError(
                f"{masked(dsn)} is PostgreSQL {connection.info.server_version // 10000}: "
                f"{SERVER_VERSION_MIN // 10000} or later is needed."
            )
        yield connection


def _current(connection: psycopg.Connection) -> str | None:
    found = connection.execute("SELECT to_regclass(%s)", (VERSION_TABLE,)).fetchone()
    if found is None or found[0] is None:
        return None
    row = connection.execute(f"SELECT version_num FROM {VERSION_TABLE}").fetchone()  # noqa: S608 (a constant)
    return None if row is None else row[0]


def _after(revision: str | None) -> tuple[str, ...]:
    known = revisions()
    if revision is None:
        return known
    if revision not in known:
        raise MigrationError(
            f"the database is at revision {revision}, which this release ({known[-1]}) does not know: "
            "a newer release has migrated it. Start that one, or restore a backup from before."
        )
    return known[known.index(revision) + 1 :]


def _upgrade(connection: psycopg.Connection) -> None:
    """Let alembic run the revisions over our own connection, which holds the lock."""
    from alembic import command
    from sqlalchemy import create_engine
    from sqlalchemy.pool import StaticPool

    engine = create_engine("postgresql+psycopg://", creator=lambda: connection, poolclass=StaticPool)
    try:
        with engine.connect() as bound:
            command.upgrade(configuration(bound), "head")
    except psycopg.Error as error:
        raise MigrationError(
            f"a migration failed, and nothing of it was kept: {str(error).strip()}"
        ) from error


def configuration(connection: object = None) -> Config:
    """The alembic configuration of `migrations/`, running over `connection` (a SQLAlchemy one)."""
    from alembic.config import Config

    config = Config()
    config.set_main_option("script_location", str(data_path("migrations")).replace("%", "%%"))
    config.attributes["connection"] = connection
    return config


def run(revision: str) -> None:
    """Execute one SQL file; called by its alembic revision.

    The text goes to the server as it is (several statements, no parameters), past SQLAlchemy's own reading
    of colons and percent signs.
    """
    from alembic import op

    driver = op.get_bind().connection.driver_connection
    assert isinstance(driver, psycopg.Connection)
    driver.execute(statements(revision).encode())

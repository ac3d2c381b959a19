"""Migrations: forward only, once, under a lock, and nothing kept of one that fails."""

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from shutil import copytree

import psycopg
import pytest

from fhirserver.db import migrate
from fhirserver.settings import data_path


def tables(dsn: str) -> set[str]:
    with psycopg.connect(dsn) as connection:
        return {
            name
            for (name,) in connection.execute("SELECT tablename FROM pg_tables WHERE schemaname='public'")
        }


@pytest.fixture
def revisions(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of the migrations that a test may add to."""
    folder = copytree(data_path("migrations"), tmp_path / "migrations")
    monkeypatch.setattr(migrate, "data_path", lambda _: folder)
    return folder


def add(folder: Path, revision: str, after: str, text: str) -> None:
    (folder / "sql" / f"{revision}.sql").write_text(text)
    (folder / "versions" / f"{revision}.py").write_text(
        f"from fhirserver.db.migrate import run\nrevision = {revision!r}\ndown_revision = {after!r}\n"
        "def upgrade():\n    run(revision)\n"
    )


def test_every_sql_file_has_its_revision_in_one_line() -> None:
    from alembic.script import ScriptDirectory

    script = ScriptDirectory.from_config(migrate.configuration())
    assert tuple(reversed([found.revision for found in script.walk_revisions()])) == migrate.revisions()


def test_an_empty_database_gets_everything_once(empty_database: str) -> None:
    assert migrate.current(empty_database) is None
    assert migrate.pending(empty_database) == migrate.revisions()
    assert migrate.migrate(empty_database) == migrate.revisions()
    assert migrate.current(empty_database) == migrate.revisions()[-1]
    assert migrate.pending(empty_database) == migrate.migrate(empty_database) == ()


def test_servers_that_start_together_migrate_once(empty_database: str) -> None:
    with ThreadPoolExecutor(4) as threads:
        done = list(threads.map(migrate.migrate, [empty_database] * 4))
    assert sorted(done, key=len) == [(), (), (), migrate.revisions()]


def test_the_script_gives_the_same_database(empty_database: str, new_database) -> None:
    migrate.migrate(empty_database)
    with new_database(empty=True) as by_hand:
        with psycopg.connect(by_hand, autocommit=True) as connection:
            connection.execute(migrate.sql().encode())
        assert tables(by_hand) == tables(empty_database)
        assert migrate.pending(by_hand) == ()


def test_a_failing_revision_leaves_nothing_and_the_one_before_it_stays(
    empty_database: str, revisions: Path
) -> None:
    last = migrate.revisions()[-1]
    add(revisions, "9001", last, "CREATE TABLE good (x int); COMMENT ON TABLE good IS '100% :fine';")
    add(revisions, "9002", "9001", "CREATE TABLE half (x int); SELECT 1/0;")
    with pytest.raises(migrate.MigrationError, match="division by zero"):
        migrate.migrate(empty_database)
    assert migrate.current(empty_database) == "9001"
    assert {"good"} == tables(empty_database) & {"good", "half"}
    (revisions / "sql" / "9002.sql").write_text("CREATE TABLE half (x int);")
    assert migrate.migrate(empty_database) == ("9002",)


def test_a_database_of_a_newer_release_is_refused(empty_database: str) -> None:
    migrate.migrate(empty_database)
    with psycopg.connect(empty_database) as connection:
        connection.execute("UPDATE alembic_version SET version_num = '9999'")
    with pytest.raises(migrate.MigrationError, match="newer release"):
        migrate.migrate(empty_database)


def test_an_unreachable_database_is_named_without_its_password() -> None:
    with pytest.raises(migrate.MigrationError) as caught:
        migrate.current("postgresql://someone:secret@127.0.0.1:1/nothing")
    assert "someone:***@127.0.0.1:1" in str(caught.value)
    assert "secret" not in str(caught.value)

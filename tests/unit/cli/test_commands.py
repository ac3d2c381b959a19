"""The commands as a person meets them: what they print, and with which exit code they end."""

import re
import subprocess
import sys
from pathlib import Path

import psycopg
import pytest
from typer.testing import CliRunner

from fhirserver.cli import doctor, serve
from fhirserver.cli.app import app
from fhirserver.cli.settings import GROUPS, reference
from fhirserver.db import migrate
from fhirserver.settings import Settings, version

ROOT = Path(__file__).parents[3]
COMMANDS = [command.name for command in app.registered_commands]
GROUPS_OF_COMMANDS = {
    group.typer_instance.info.name: [
        command.name or command.callback.__name__ for command in group.typer_instance.registered_commands
    ]
    for group in app.registered_groups
    if group.typer_instance is not None
}
SLOW = ("pydantic", "psycopg", "asyncpg", "starlette", "uvicorn", "sqlalchemy", "alembic", "lxml", "msgspec")


@pytest.fixture(autouse=True)
def _plain(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "200")
    monkeypatch.setenv("NO_COLOR", "1")


def run(*arguments: str, **environment: str) -> tuple[int, str]:
    done = CliRunner().invoke(app, list(arguments), env=environment)
    return done.exit_code, done.output


def test_the_command_lists_its_commands() -> None:
    code, text = run("--help")
    assert code == 0
    assert {"serve", "migrate", "doctor", "settings"} <= set(COMMANDS)
    assert all(f" {name} " in text for name in COMMANDS)
    assert run("--version") == (0, f"{version()}\n")


@pytest.mark.parametrize(
    "name",
    [*COMMANDS, *(f"{group} {name}" for group, names in GROUPS_OF_COMMANDS.items() for name in names)],
)
def test_every_command_and_option_has_help(name: str) -> None:
    code, text = run(*name.split(), "--help")
    assert code == 0
    options = [line for line in text.splitlines() if re.match(r"│ \*? *--", line)]
    assert options
    assert all(line.rstrip("│ ").endswith((".", "]")) for line in options), options


def test_help_waits_for_nothing_slow() -> None:
    script = f"import sys, fhirserver.cli.app; print([name for name in {SLOW!r} if name in sys.modules])"
    done = subprocess.run(
        [sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "[]"


def test_settings_shows_values_and_where_they_came_from() -> None:
    code, text = run("settings", FHIRSERVER_PORT="9090", DATABASE_URL="postgresql://me:secret@db/fhir")
    assert code == 0
    rows = {row[0]: row[1:] for line in text.splitlines() if (row := line.split())}
    assert rows["FHIRSERVER_PORT"] == ["9090", "environment"]
    assert rows["DATABASE_URL"] == ["postgresql://me:***@db/fhir", "environment"]
    assert rows["FHIRSERVER_HOST"] == ["127.0.0.1", "default"]
    assert "secret" not in text


def test_the_reference_has_every_setting_once() -> None:
    code, text = run("settings", "--markdown")
    assert (code, text) == (0, reference())
    assert text.count("\n| `") == len(Settings.model_fields)
    assert set(GROUPS) <= set(Settings.model_fields)


def test_a_wrong_setting_is_named_as_it_was_given() -> None:
    code, text = run("serve", "--workers", "0", FHIRSERVER_PORT="many")
    assert code == 2
    assert "--workers: Input should be greater than or equal to 1" in text
    assert "FHIRSERVER_PORT: Input should be a valid integer" in text


@pytest.mark.parametrize(
    ("values", "reason"),
    [
        ({}, None),
        ({"host": "::1"}, None),
        ({"host": "0.0.0.0"}, None),
        ({"host": "0.0.0.0", "auth": "off"}, "--insecure"),
        ({"host": "10.0.0.1", "auth": "off"}, "--insecure"),
        ({"host": "0.0.0.0", "insecure": True}, None),
    ],
)
def test_nobody_is_let_in_by_accident(values: dict[str, object], reason: str | None) -> None:
    said = serve.refusal(Settings.load(**values))
    assert said is None if reason is None else reason in (said or "")


def test_serve_refuses_an_open_address_before_it_touches_anything() -> None:
    code, text = run("serve", "--host", "0.0.0.0", "--auth", "off")
    assert code == 1
    assert "--insecure" in text
    assert not Path(".data").exists()


def test_migrate_applies_what_is_missing_and_says_so(empty_database: str) -> None:
    last = migrate.revisions()[-1]
    assert run("migrate", DATABASE_URL=empty_database) == (0, f"applied {', '.join(migrate.revisions())}\n")
    assert run("migrate", DATABASE_URL=empty_database) == (0, f"nothing to do: at {last}\n")


def test_migrate_prints_the_statements() -> None:
    assert run("migrate", "--sql") == (0, migrate.sql())


def test_migrate_names_the_database_it_cannot_reach() -> None:
    code, text = run("migrate", DATABASE_URL="postgresql://me:secret@127.0.0.1:1/fhir")
    assert code == 1
    assert "cannot reach postgresql://me:***@127.0.0.1:1/fhir" in text
    assert "secret" not in text


def findings(dsn: str, **values: object) -> dict[str, doctor.Line]:
    return {line.subject: line for line in doctor.diagnose(Settings.load(database_url=dsn, **values))}


def test_the_doctor_finds_a_database_in_order(database: str) -> None:
    found = findings(database)
    well = ("Python", "Definitions", "Access", "PostgreSQL", "Encoding", "Migrations", "Tenants", "Clock")
    well += ("Connections",)
    assert {name: found[name].status for name in well} == dict.fromkeys(well, "ok")
    assert not any(found[name].advice for name in well)


def test_the_doctor_sees_what_is_missing(empty_database: str) -> None:
    found = findings(empty_database, workers=200, pool_max=50, host="0.0.0.0", insecure=True)
    assert {name: found[name].status for name in ("Migrations", "Connections", "Access")} == {
        "Migrations": "warn",
        "Connections": "warn",
        "Access": "warn",
    }
    assert all(line.advice for line in found.values() if line.status != "ok")


def test_the_doctor_tells_who_is_not_behind_row_level_security(database: str) -> None:
    """A login that was not given the roles of the server works as itself."""
    with psycopg.connect(database, autocommit=True) as connection:
        connection.execute("CREATE ROLE lonely LOGIN")
        try:
            found = findings(database.replace(f"//{connection.info.user}@", "//lonely@"))
        finally:
            connection.execute("DROP ROLE lonely")
    assert found["Tenants"].status == "warn" and found["Migrations"].status == "fail"
    assert "GRANT fhirserver_app, fhirserver_jobs TO lonely" in found["Tenants"].advice


def test_a_database_that_forgets_is_found_and_not_served(empty_database: str) -> None:
    name = empty_database.partition("?")[0].rpartition("/")[2]
    with psycopg.connect(empty_database, autocommit=True) as connection:
        connection.execute(f"ALTER DATABASE {name} SET synchronous_commit = off")
    assert findings(empty_database)["Durability"].status == "fail"
    code, text = run("doctor", DATABASE_URL=empty_database)
    assert code == 1
    assert "fail  Durability" in text
    code, text = run("serve", "--port", "0", DATABASE_URL=empty_database)
    assert code == 1
    assert "synchronous_commit" in text and "acknowledged writes would be lost" in text


def test_the_doctor_says_where_it_knocked_in_vain() -> None:
    code, text = run("doctor", DATABASE_URL="postgresql://me:secret@127.0.0.1:1/fhir")
    assert code == 1
    assert "fail  PostgreSQL       cannot reach postgresql://me:***@127.0.0.1:1/fhir" in text
    assert "secret" not in text


def test_without_any_database_the_doctor_makes_none(tmp_path: Path) -> None:
    code, text = run("doctor", "--data-dir", str(tmp_path / "none"))
    assert code == 0
    assert "warn  PostgreSQL" in text
    assert not (tmp_path / "none").exists()


def test_missing_definitions_are_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("fhirserver.settings.PACKAGE", tmp_path / "fhirserver")
    line = doctor.definitions()
    assert line.status == "fail"
    assert "structures.json" in line.found

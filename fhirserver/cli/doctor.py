"""`fhirserver doctor`: what a server needs, looked at one by one, each with what to do about it."""

from __future__ import annotations

import platform
import shutil
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from fhirserver.cli.console import FAILED, DataDir, out, read_settings

if TYPE_CHECKING:
    from psycopg import Connection

    from fhirserver.settings import Settings

PYTHON_MIN = (3, 11)
POSTGRESQL_MIN = 15
DEFINITIONS = {
    "conformance": ("structures.json", "valuesets.json", "compartments.json", "operations.json"),
    "search_params": ("r4.json",),
}
DISK_FAIL_BYTES = 512 * 1024**2
DISK_WARN_BYTES = 8 * 1024**3  # twice the largest write-ahead log
SKEW_WARN_S = 1.0
SKEW_FAIL_S = 60.0
STYLES = {"ok": "green", "warn": "yellow", "fail": "bold red"}


@dataclass(frozen=True, slots=True)
class Line:
    """One finding; `advice` says what to do and is empty when all is well."""

    status: Literal["ok", "warn", "fail"]
    subject: str
    found: str
    advice: str = ""


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command(name="doctor")(doctor)


def doctor(
    data_dir: DataDir = None,
    smart: Annotated[
        str | None,
        typer.Option(
            metavar="URL", help="Check the SMART on FHIR server of this FHIR base instead of this machine."
        ),
    ] = None,
    client_id: Annotated[str | None, typer.Option(help="--smart: a client registered there.")] = None,
    client_secret: Annotated[str | None, typer.Option(help="--smart: its secret, if it has one.")] = None,
    key: Annotated[
        Path | None,
        typer.Option(help="--smart: its private key (JWK or PEM); without --user as a backend service."),
    ] = None,
    redirect_uri: Annotated[
        str | None, typer.Option(help="--smart: its redirect_uri, which is never called.")
    ] = None,
    user: Annotated[str | None, typer.Option(help="--smart: who signs in there and lets the app in.")] = None,
    password: Annotated[
        str | None,
        typer.Option(envvar="FHIRSERVER_SMART_PASSWORD", help="--smart: the password of --user."),
    ] = None,
    patient: Annotated[str | None, typer.Option(help="--smart: id of the patient to choose.")] = None,
    scope: Annotated[str | None, typer.Option(help="--smart: scopes to ask for.")] = None,
    launch: Annotated[
        str | None, typer.Option(help="--smart: launch parameter of an EHR launch that was begun there.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="--smart: the findings as JSON.")] = False,
) -> None:
    """Check everything a server needs and say what to do about the rest.

    Ends with exit code 1 when something must be mended before [bold]serve[/] can work.

    With [bold]--smart URL[/] it asks a running server what certification asks: discovery, errors, and with
    a client, a key or a person also launches, tokens, scopes, refresh and backend services.
    """
    if smart is not None:
        from fhirserver.cli.smart import command

        command.check(
            smart,
            command.client(client_id, client_secret, key, redirect_uri),
            command.person(user, password, patient),
            scopes=scope,
            launch_context=launch,
            as_json=as_json,
        )
        return
    settings = read_settings(data_dir=data_dir)
    failed = False
    for line in diagnose(settings):
        failed |= line.status == "fail"
        out.print(f"[{STYLES[line.status]}]{line.status:<4}[/]  {line.subject:<15}  ", end="")
        out.print(line.found, markup=False)
        if line.advice:
            out.print(f"{'':<23}[dim]->[/] ", end="")
            out.print(line.advice, markup=False)
    if failed:
        raise typer.Exit(FAILED)


def diagnose(settings: Settings) -> Iterator[Line]:
    """All findings, those that need no database first."""
    yield python()
    yield definitions()
    yield exposure(settings)
    yield disk(settings)
    yield from _database(settings)


def python() -> Line:
    """The interpreter is one the packages are built for."""
    found = f"{platform.python_implementation()} {platform.python_version()}"
    if sys.version_info < PYTHON_MIN:
        return Line("fail", "Python", found, f"install Python {'.'.join(map(str, PYTHON_MIN))} or later")
    return Line("ok", "Python", found)


def definitions() -> Line:
    """The tables made from the FHIR R4 definitions are there."""
    from fhirserver.settings import data_path

    paths = [data_path(folder) / name for folder, names in DEFINITIONS.items() for name in names]
    missing = [path for path in paths if not path.is_file() or path.stat().st_size == 0]
    if missing:
        return Line(
            "fail",
            "Definitions",
            f"missing: {', '.join(str(path) for path in missing)}",
            "install the package again, or check the files out again",
        )
    return Line("ok", "Definitions", f"FHIR R4 (4.0.1), {len(paths)} tables")


def exposure(settings: Settings) -> Line:
    """Nobody gets in who need not sign in."""
    from fhirserver.cli.serve import refusal

    where = f"{settings.host}:{settings.port}"
    if reason := refusal(settings):
        return Line("fail", "Access", f"{where}, auth {settings.auth}", reason)
    if not settings.loopback and not settings.sign_in:
        advice = "let only a proxy that checks who comes reach this address"
        return Line("warn", "Access", f"{where} is open to everybody who can reach it (insecure)", advice)
    return Line("ok", "Access", f"{where}, authorization {'on' if settings.sign_in else 'off'}")


def disk(settings: Settings) -> Line:
    """There is room where the embedded PostgreSQL writes; that of another server cannot be seen from here."""
    if settings.database_url is not None:
        return Line("ok", "Disk", "on the database server, not looked at from here")
    folder = (settings.data_dir.expanduser() / "postgres").resolve()
    while not folder.exists():
        folder = folder.parent
    free = shutil.disk_usage(folder).free
    found = f"{free / 1024**3:.1f} GiB free at {folder}"
    if free < DISK_FAIL_BYTES:
        return Line("fail", "Disk", found, "make room, or move the data with --data-dir")
    if free < DISK_WARN_BYTES:
        return Line("warn", "Disk", found, "make room: the write-ahead log alone may take 4 GiB")
    return Line("ok", "Disk", found)


def _database(settings: Settings) -> Iterator[Line]:
    """What can be asked of the database, or one line that says why it cannot."""
    import psycopg

    from fhirserver.db.embedded import EmbeddedError, database
    from fhirserver.settings import masked

    if settings.database_url is None and not (settings.data_dir.expanduser() / "postgres").exists():
        found = f"none in {settings.data_dir} yet"
        yield Line("warn", "PostgreSQL", found, "`fhirserver serve` makes it; or set DATABASE_URL")
        return
    try:
        with (
            database(settings) as dsn,
            psycopg.connect(dsn, connect_timeout=10, autocommit=True) as connection,
        ):
            yield server(connection, masked(dsn))
            yield durable(connection)
            yield encoding(connection)
            yield isolation(connection)
            yield migrations(dsn)
            yield clock(connection)
            yield connections(connection, settings)
    except psycopg.errors.InsufficientPrivilege as error:
        advice = "let DATABASE_URL name the login that migrated this database"
        yield Line("fail", "Migrations", str(error).strip(), advice)
    except EmbeddedError as error:
        yield Line("fail", "PostgreSQL", "the embedded one does not start", str(error))
    except psycopg.OperationalError as error:
        place = masked(settings.database_url) if settings.database_url else str(settings.data_dir)
        yield Line("fail", "PostgreSQL", f"cannot reach {place}", str(error).strip())


def server(connection: Connection, place: str) -> Line:
    """The version is one this release is tested on."""
    number = connection.info.server_version
    found = f"{number // 10000}.{number % 10000} at {place}"
    if number // 10000 < POSTGRESQL_MIN:
        return Line("fail", "PostgreSQL", found, f"upgrade it to {POSTGRESQL_MIN} or later")
    return Line("ok", "PostgreSQL", found)


def durable(connection: Connection) -> Line:
    """A 2xx means that it is on disk."""
    from fhirserver.db.durability import PROMISES, lapses, show

    shown = {name: show(connection, name) for name in PROMISES}
    found = ", ".join(f"{name} {value}" for name, value in shown.items())
    if lapses(shown):
        return Line(
            "fail", "Durability", found, f"turn on {' and '.join(lapses(shown))}: `serve` refuses to start"
        )
    if show(connection, "data_checksums") == "off":
        advice = "stop PostgreSQL and run pg_checksums --enable, so that a failing disk is noticed"
        return Line("warn", "Durability", f"{found}, data_checksums off", advice)
    return Line("ok", "Durability", f"{found}, data_checksums on")


def encoding(connection: Connection) -> Line:
    """FHIR is Unicode."""
    from fhirserver.db.durability import show

    found = show(connection, "server_encoding")
    if found != "UTF8":
        return Line("fail", "Encoding", found, "create the database with ENCODING 'UTF8'")
    return Line("ok", "Encoding", found)


def migrations(dsn: str) -> Line:
    """The schema is this release's."""
    from fhirserver.db.migrate import MigrationError, pending, revisions

    try:
        todo = pending(dsn)
    except MigrationError as error:
        return Line("fail", "Migrations", "the schema is not this release's", str(error))
    if todo:
        advice = "`fhirserver serve` applies them, or `fhirserver migrate`"
        return Line("warn", "Migrations", f"pending: {', '.join(todo)}", advice)
    return Line("ok", "Migrations", f"at {revisions()[-1]}")


def isolation(connection: Connection) -> Line:
    """Requests work under a role to which the database itself shows no other tenant's rows."""
    from fhirserver.db.pool import APPLICATION_ROLE, JOBS_ROLE, MAY_ISOLATE

    row = connection.execute(MAY_ISOLATE).fetchone()
    assert row is not None
    if not row[0]:
        advice = (
            f"GRANT {APPLICATION_ROLE}, {JOBS_ROLE} TO {connection.info.user}; `fhirserver migrate` makes the"
            " roles where it may"
        )
        found = "by the conditions of statements only, not by row-level security"
        return Line("warn", "Tenants", found, advice)
    return Line("ok", "Tenants", f"row-level security, as {APPLICATION_ROLE} and {JOBS_ROLE}")


def clock(connection: Connection) -> Line:
    """This machine and the database agree on the time, which stands in every version and every token."""
    before = time.time()
    row = connection.execute("SELECT extract(epoch FROM clock_timestamp())::float8").fetchone()
    assert row is not None
    skew_s = abs(float(row[0]) - (before + time.time()) / 2)
    found = f"{skew_s:.3f} s from the database's"
    if skew_s > SKEW_FAIL_S:
        return Line("fail", "Clock", found, "synchronise both machines by NTP")
    if skew_s > SKEW_WARN_S:
        return Line("warn", "Clock", found, "synchronise both machines by NTP")
    return Line("ok", "Clock", found)


def connections(connection: Connection, settings: Settings) -> Line:
    """The workers' pools together fit what the database allows."""
    from fhirserver.db.durability import show

    allowed = int(show(connection, "max_connections"))
    used = settings.workers * settings.pool_limit(allowed)
    found = f"{settings.workers} x {settings.pool_limit(allowed)} of {allowed}"
    wanted = settings.workers * (settings.pool_max or 1)
    if wanted > used:
        advice = (
            f"pool_max asks for {wanted}: raise max_connections, or lower FHIRSERVER_POOL_MAX or the workers"
        )
        return Line("warn", "Connections", found, advice)
    return Line("ok", "Connections", found)

"""`fhirserver tenant`: who shares a server without seeing one another."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from fhirserver.cli.console import USAGE, DataDir, fail, out, read_settings

if TYPE_CHECKING:
    from fhirserver.db.pool import Connection
    from fhirserver.settings import Settings

NAME: Final = re.compile(r"[a-z][a-z0-9-]{0,62}")

group = typer.Typer(
    name="tenant",
    help="Tenants: parts of one server that do not see one another, each with a FHIR base of its own.",
    no_args_is_help=True,
)


def register(app: typer.Typer) -> None:
    """Add the commands."""
    app.add_typer(group)


@group.command()
def add(
    name: Annotated[str, typer.Argument(help="Lower-case letters, digits and hyphens; stands in addresses.")],
    data_dir: DataDir = None,
) -> None:
    """Make a tenant; running servers serve it at once, at /t/NAME/fhir."""
    from fhirserver.store import tenants

    if NAME.fullmatch(name) is None:
        fail(
            f"{name!r} is no name of a tenant: a letter, then letters, digits and hyphens, 63 at most.", USAGE
        )
    settings = read_settings(data_dir=data_dir)
    try:
        made = _with(settings, lambda connection: tenants.add(connection, name))
    except tenants.Taken as error:
        fail(f"{error}.")
    out.print(f"tenant {made.id}: {settings.of_tenant(made.id, made.name).fhir_base}", markup=False)


@group.command(name="list")
def list_(data_dir: DataDir = None) -> None:
    """List the tenants: number, name, FHIR base."""
    from fhirserver.store import tenants

    settings = read_settings(data_dir=data_dir)
    for one in _with(settings, tenants.everyone):
        here = settings if one.id == settings.tenant else settings.of_tenant(one.id, one.name)
        out.print(f"{one.id:>6}  {one.name:<20}  {here.fhir_base}", markup=False)


def _with(settings: Settings, work: Callable[[Connection], Awaitable[Any]]) -> Any:
    """Do the work on a connection as the login of DATABASE_URL. Ends the command where there is none."""
    import asyncpg

    async def done(dsn: str) -> Any:
        connection = await asyncpg.connect(dsn)
        try:
            return await work(connection)
        finally:
            await connection.close()

    with _database(settings) as dsn:
        try:
            return asyncio.run(done(dsn))
        except asyncpg.UndefinedTableError:
            fail("the database is older than tenants: run fhirserver migrate.")
        except asyncpg.InsufficientPrivilegeError as error:
            fail(f"{error}: tenants are made by the role that migrates.")
        except OSError as error:
            fail(f"the database cannot be reached: {error}")


@contextmanager
def _database(settings: Settings) -> Iterator[str]:
    from fhirserver.db.embedded import EmbeddedError, database

    try:
        with database(settings) as dsn:
            yield dsn
    except EmbeddedError as error:
        fail(str(error))

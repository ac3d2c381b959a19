"""`fhirserver keys`: the keys that sign id tokens."""

from __future__ import annotations

from typing import TYPE_CHECKING

import typer

from fhirserver.cli.console import TENANT, DataDir, out
from fhirserver.cli.user import with_services

if TYPE_CHECKING:
    from fhirserver.db.pool import Connection
    from fhirserver.interactions.call import Services
    from fhirserver.oauth.keys import Key

group = typer.Typer(name="keys", help="The keys that sign id tokens: list, rotate.", no_args_is_help=True)


@group.callback()
def of_server() -> None:
    """See the help of the group."""
    TENANT.set(None)


def register(app: typer.Typer) -> None:
    """Add the commands."""
    app.add_typer(group)


@group.command()
def rotate(data_dir: DataDir = None) -> None:
    """Let the next key sign, and publish another.

    The next one was published all along, so apps know it already; the one before stays published for two
    days, until the tokens that it signed are over.
    """

    async def work(connection: Connection, services: Services) -> list[Key]:
        from fhirserver.oauth import keys
        from fhirserver.oauth.context import Server

        await keys.rotate(connection, Server.of(services))
        return await keys.listed(connection)

    _print(with_services(data_dir, work))


@group.command("list")
def list_(data_dir: DataDir = None) -> None:
    """The published keys: kid, since when, and whether it signs, is next, or is retired."""

    async def work(connection: Connection, services: Services) -> list[Key]:
        from fhirserver.oauth import keys

        return await keys.listed(connection)

    _print(with_services(data_dir, work))


def _print(found: list[Key]) -> None:
    for number, key in enumerate(found):
        state = "retired" if key.retired else "signs" if number == 0 else "next"
        out.print(f"{key.kid}  {key.created:%Y-%m-%d %H:%M}  {state}", markup=False)

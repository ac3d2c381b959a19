"""`fhirserver migrate`: bring the database to the schema of this release."""

from __future__ import annotations

from typing import Annotated

import typer

from fhirserver.cli.console import DataDir, fail, out, read_settings


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command(name="migrate")(migrate)


def migrate(
    sql: Annotated[bool, typer.Option("--sql", help="Print the statements instead of running them.")] = False,
    data_dir: DataDir = None,
) -> None:
    """Bring the database to the schema of this release.

    [bold]serve[/] does this by itself when it starts. Run it on its own where the role of the server may not
    change tables, or print the statements with --sql for somebody who may. It only goes forward.
    """
    import asyncio

    from fhirserver.db import migrate as migrations
    from fhirserver.db.embedded import EmbeddedError, database
    from fhirserver.errors import FhirError
    from fhirserver.store.index_state import fault_of, look

    if sql:
        typer.echo(migrations.sql(), nl=False)
        return
    settings = read_settings(data_dir=data_dir)
    try:
        with database(settings) as dsn:
            done = migrations.migrate(dsn)
            fault = fault_of(asyncio.run(look(dsn, settings)))
    except (migrations.MigrationError, EmbeddedError, FhirError) as error:
        fail(str(error))
    out.print(f"applied {', '.join(done)}" if done else f"nothing to do: at {migrations.revisions()[-1]}")
    if fault is not None:
        out.print(fault, markup=False)

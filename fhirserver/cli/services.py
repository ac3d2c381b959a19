"""For commands that work on the database as the server does: its services, while the command runs."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from fhirserver.cli.console import fail, read_settings

if TYPE_CHECKING:
    from fhirserver.db.pool import Connection
    from fhirserver.interactions.call import Services

T = TypeVar("T")


def with_services(data_dir: Path | None, work: Callable[[Connection, Services], Awaitable[T]]) -> T:
    """What `work` gives. Ends the command where there is no database, or one that is not migrated."""
    import asyncio

    from fhirserver.app import open_services
    from fhirserver.db import migrate as migrations
    from fhirserver.db.embedded import EmbeddedError, database
    from fhirserver.errors import FhirError

    settings = read_settings(data_dir=data_dir)

    async def run(dsn: str) -> T:
        services = await open_services(settings.model_copy(update={"database_url": dsn}))
        try:
            async with services.pool.acquire() as connection:
                return await work(connection, services)
        finally:
            await services.pool.close()

    try:
        with database(settings) as dsn:
            migrations.migrate(dsn)
            return asyncio.run(run(dsn))
    except (migrations.MigrationError, EmbeddedError, FhirError) as error:
        fail(str(error))

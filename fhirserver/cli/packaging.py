"""The work of `fhirserver package`, with its progress shown: in the database, beside the servers that run."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Final, TypeVar

from rich.progress import BarColumn, Progress, TaskID, TextColumn

from fhirserver.app import open_services
from fhirserver.cli.console import err
from fhirserver.db.pool import Connection
from fhirserver.fhir.package.archive import Archive
from fhirserver.fhir.package.versions import LATEST
from fhirserver.interactions.call import Call
from fhirserver.interactions.packages.install import Report, install, install_named
from fhirserver.interactions.packages.plan import Options
from fhirserver.interactions.packages.release import Removed, remove
from fhirserver.interactions.packages.sources import sources
from fhirserver.settings import Settings
from fhirserver.store import packages
from fhirserver.store.index_state import WrongFormat
from fhirserver.store.packages import Installed

CONNECTIONS_MAX: Final = 2

T = TypeVar("T")

Work = Callable[[Connection, Call], Awaitable[T]]


class Refused(RuntimeError):
    """Nothing was done; the text says why and what would be right."""


async def run(dsn: str, settings: Settings, tenant: str | None, work: Work[T]) -> T:
    """Do the work for a tenant, on a database with the current schema. Raises Refused, and what the work
    raises."""
    try:
        services = await open_services(
            settings.model_copy(update={"database_url": dsn, "pool_max": CONNECTIONS_MAX}), tenant
        )
    except (WrongFormat, ValueError) as error:
        raise Refused(str(error)) from None
    try:
        call = Call(services, "operation", settings.fhir_base, datetime.now(UTC))
        async with services.pool.acquire() as connection:
            return await work(connection, call)
    finally:
        await services.pool.close()


def installing(what: str, paths: list[Path], options: Options, *, offline: bool, shown: bool) -> Work[Report]:
    """Install a file, or a package by its name."""

    async def work(connection: Connection, call: Call) -> Report:
        with (
            _meter(shown) as meter,
            sources(call.services.settings, paths, offline=offline, received=meter.received) as found,
        ):
            if (file := _file(what)) is not None:
                archive = Archive.of_path(file, found.limits)
                return await install(connection, call, archive, found, options, meter.done)
            name, _, version = what.replace("#", "@").partition("@")
            return await install_named(connection, call, name, version or LATEST, found, options, meter.done)

    return work


def _file(what: str) -> Path | None:
    """The file that is meant; None where it is the name of a package. Raises Refused."""
    path = Path(what)
    if path.is_file():
        return path
    if path.suffix == ".tgz":
        raise Refused(f"there is no file {what}")
    return None


def listing() -> Work[list[Installed]]:
    async def work(connection: Connection, call: Call) -> list[Installed]:
        return await packages.everything(connection, call.services.tenant)

    return work


def removing(what: str, *, force: bool, dependencies: bool) -> Work[Removed]:
    async def work(connection: Connection, call: Call) -> Removed:
        name, _, version = what.replace("#", "@").partition("@")
        return await remove(connection, call, name, version or None, force=force, dependencies=dependencies)

    return work


class _Meter:
    """A bar for each thing that is being done."""

    def __init__(self, progress: Progress) -> None:
        self._progress = progress
        self._tasks: dict[str, TaskID] = {}

    def done(self, what: str, done: int, total: int) -> None:
        self._show(what, done, total or None, f"{done:,}/{total:,}" if total else "")

    def received(self, label: str, read: int, total: int | None) -> None:
        self._show(f"fetching {label}", read, total, f"{read / 1e6:.1f} MB")

    def _show(self, what: str, done: int, total: int | None, figure: str) -> None:
        if what not in self._tasks:
            self._tasks[what] = self._progress.add_task(what, total=total, figure=figure)
        self._progress.update(self._tasks[what], completed=done, total=total, figure=figure)


@contextmanager
def _meter(shown: bool) -> Iterator[_Meter]:
    columns = TextColumn("{task.description}"), BarColumn(), TextColumn("{task.fields[figure]}")
    with Progress(*columns, console=err, transient=True, disable=not (shown and err.is_terminal)) as progress:
        yield _Meter(progress)

"""The work of `fhirserver package`, with its progress shown: in the database, beside the servers that run."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import TypeVar

from rich.progress import BarColumn, Progress, TaskID, TextColumn

from fhirserver.app import connect, services_of
from fhirserver.cli.console import err
from fhirserver.db.migrate import MigrationError, pending
from fhirserver.db.pool import Connection
from fhirserver.fhir.package.archive import Archive
from fhirserver.fhir.package.versions import LATEST
from fhirserver.interactions.call import Call
from fhirserver.interactions.packages.install import Report, install, install_named
from fhirserver.interactions.packages.plan import Options
from fhirserver.interactions.packages.release import Removed, remove
from fhirserver.interactions.packages.sources import sources
from fhirserver.policy.rates import UNLIMITED
from fhirserver.settings import Settings
from fhirserver.store import packages
from fhirserver.store.index_state import WrongFormat
from fhirserver.store.packages import Installed
from fhirserver.store.tenants import everyone

T = TypeVar("T")

Work = Callable[[Connection, Call], Awaitable[T]]


class Refused(RuntimeError):
    """Nothing was done; the text says why and what would be right."""


async def run(dsn: str, settings: Settings, tenant: str | None, work: Work[T]) -> T:
    """Do the work for a tenant. Raises Refused, and what the work raises."""
    try:
        if missing := pending(dsn):
            raise Refused(f"the database lacks {', '.join(missing)}: run fhirserver migrate first")
    except MigrationError as error:
        raise Refused(str(error)) from None
    settings = settings.model_copy(update={"database_url": dsn, "pool_max": 2})
    common = await connect(settings, UNLIMITED)
    try:
        async with common.pool.acquire() as connection:
            settings = settings if tenant is None else await _of(connection, settings, tenant)
        services = await services_of(common, settings)
        call = Call(services, "operation", settings.fhir_base, datetime.now(UTC))
        async with services.pool.acquire() as connection:
            return await work(connection, call)
    except WrongFormat as error:
        raise Refused(str(error)) from None
    finally:
        await common.pool.close()


async def _of(connection: Connection, settings: Settings, name: str) -> Settings:
    """The settings of the tenant of that name. Raises Refused."""
    tenants = await everyone(connection)
    for one in tenants:
        if one.name == name:
            return settings if one.id == settings.tenant else settings.of_tenant(one.id, one.name)
    raise Refused(f"there is no tenant {name!r}; there is {', '.join(one.name for one in tenants)}")


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

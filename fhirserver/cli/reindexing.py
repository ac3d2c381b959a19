"""The work of `fhirserver reindex`, with its progress shown."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from time import monotonic
from typing import Any, Final

from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeRemainingColumn

from fhirserver.cli.console import err
from fhirserver.db.migrate import MigrationError, pending
from fhirserver.db.pool import Connection, Pool
from fhirserver.fhir.keys import Keys
from fhirserver.fhir.structure import ENDPOINT_TYPES
from fhirserver.fhir.suggest import nearest
from fhirserver.jobs.rebuild import identifiers, strays, whole
from fhirserver.params.index import FORMAT
from fhirserver.params.registry import Registry
from fhirserver.settings import Settings, tenant_prefix
from fhirserver.store import index_state
from fhirserver.store.definitions import Definitions
from fhirserver.store.index_state import MadeBy
from fhirserver.store.tenants import everyone

DIFFERENCES_KEPT_MAX: Final = 1_000


class Refused(RuntimeError):
    """Nothing was done; the text says why and what would be right."""


@dataclass(slots=True)
class Report:
    """What came of it. `differences` are the first of `different`; `strays` are index rows, by table."""

    seen: int = 0
    mended: int = 0
    different: int = 0
    differences: list[str] = field(default_factory=list)
    strays: dict[str, int] = field(default_factory=dict)
    skipped: list[str] = field(default_factory=list)
    seconds: float = 0.0

    def add(self, other: Report, of: str) -> None:
        """Take in that of another tenant, whose differences are shown as those `of` it."""
        self.seen += other.seen
        self.mended += other.mended
        self.different += other.different
        room = DIFFERENCES_KEPT_MAX - len(self.differences)
        self.differences += [of + one for one in other.differences[:room]]
        self.skipped += [of + one for one in other.skipped]


async def run(
    dsn: str, settings: Settings, types: Sequence[str], codes: Sequence[str], *, verifying: bool, shown: bool
) -> Report:
    """Rebuild or verify the types, or all, of all tenants. Raises Refused."""
    begun, everything, report = monotonic(), not types and not codes, Report()
    _require_known(types)
    async with _pool(dsn, settings) as pool, pool.acquire() as connection:
        tenants = [_Of(one, place) for one, place in await _tenants(connection, settings)]
        for one in tenants:
            await one.look(connection, verifying, everything)
        if everything and not verifying:  # before definitions are loaded: from now on this format is written
            for one in tenants:
                await whole.demand(connection, one.settings.tenant, sorted(ENDPOINT_TYPES), one.made)
        for one in tenants:
            await one.choose(connection, pool, types, codes)
        if not any(one.types for one in tenants):
            raise Refused(f"no such type has a search parameter {' or '.join(codes)}")
        for one in tenants:
            if verifying:
                found = await _verify(connection, one.definitions, one.settings.tenant, one.types, shown)
                wrong = await identifiers.verify(connection, one.settings.tenant, one.types)
                found.different += sum(wrong.values())
                found.differences += [
                    f"{type_}: {count} unique identifiers" for type_, count in wrong.items()
                ]
            else:
                if not everything:
                    await whole.demand(connection, one.settings.tenant, one.types, None)
                found = await _rebuild(connection, one.definitions, one.settings.tenant, one.types, shown)
                wrong = await identifiers.mend(connection, one.settings.tenant, one.types)
                found.mended += sum(wrong.values())
            report.add(found, one.place)
        if not verifying:
            report.strays = await strays.remove(connection) if everything else {}
        elif not report.skipped and all(set(one.types) == ENDPOINT_TYPES for one in tenants):
            report.strays = await strays.count(connection)
    report.seconds = monotonic() - begun
    return report


async def _tenants(connection: Connection, settings: Settings) -> list[tuple[Settings, str]]:
    """The settings of each tenant, with the beginning of its paths; that of the settings comes first."""
    others = [one for one in await everyone(connection) if one.id != settings.tenant]
    return [
        (settings, ""),
        *((settings.of_tenant(one.id, one.name), f"{tenant_prefix(one.name)}: ") for one in others),
    ]


class _Of:
    """A tenant, and what is to be done for it."""

    def __init__(self, settings: Settings, place: str) -> None:
        self.settings, self.place = settings, place
        self.made = MadeBy.of(settings)
        self.types: list[str] = []

    async def look(self, connection: Connection, verifying: bool, everything: bool) -> None:
        """Raise Refused where it makes no sense in the state that the index is in."""
        state = await index_state.state_of(connection, self.settings.tenant) or await index_state.found(
            connection, self.settings
        )
        _require_ours(state, verifying, everything)
        if state is not None:
            self.made = MadeBy.recorded(state).but(self.settings)

    async def choose(
        self, connection: Connection, pool: Pool, types: Sequence[str], codes: Sequence[str]
    ) -> None:
        """Load the definitions, and find the types that are meant."""
        secret: Any = await connection.fetchval("SELECT value FROM server WHERE name = 'key_secret'")
        keys, made = Keys(secret, self.settings.tenant), self.made
        self.definitions = await Definitions.open(pool, keys, made.registry, made.indexing(keys))
        self.types = _chosen(self.definitions, types, codes)


@asynccontextmanager
async def _pool(dsn: str, settings: Settings) -> AsyncIterator[Pool]:
    try:
        if missing := pending(dsn):
            raise Refused(f"the database lacks {', '.join(missing)}: run fhirserver migrate first")
    except MigrationError as error:
        raise Refused(str(error)) from None
    pool = Pool(dsn, size_max=2, timeout_s=10, statement_timeout_s=settings.statement_timeout_s)
    try:
        yield pool
    finally:
        await pool.close()


def _require_ours(state: Any, verifying: bool, everything: bool) -> None:
    """Refuse what makes no sense in the state that the index is in."""
    fault = index_state.fault_of(state)
    if fault is None:
        return
    if state is not None and max(state["writes"], state["holds"]) > FORMAT:
        raise Refused(fault)
    if verifying:
        raise Refused(f"there is nothing to compare yet: {fault}")
    if not everything:
        raise Refused(f"all types have to be rebuilt, so leave out --type and --param: {fault}")


def _require_known(types: Sequence[str]) -> None:
    for name in types:
        if name not in ENDPOINT_TYPES:
            near = nearest(name, ENDPOINT_TYPES)
            raise Refused(f"{name} is no resource type" + (f"; alike: {', '.join(near)}" if near else ""))


def _chosen(definitions: Definitions, types: Sequence[str], codes: Sequence[str]) -> list[str]:
    """The types that are meant, in the order of their names."""
    found = set(types) or set(ENDPOINT_TYPES)
    if codes:
        registry = definitions.known.registry
        found = {of for of in found if any(_has(registry, of, code) for code in codes)}
    return sorted(found)


def _has(registry: Registry, of: str, code: str) -> bool:
    return registry.get(of, code) is not None or (of, code) in registry.building


async def _rebuild(
    connection: Connection, definitions: Definitions, tenant: int, types: Sequence[str], shown: bool
) -> Report:
    with _bar("rebuilding", shown) as (bar, task):
        found = whole.Progress(0, 0, 0, 0)
        async for found in whole.rebuild(connection, definitions, tenant, types):
            bar.update(task, total=max(found.total, found.seen, 1), completed=found.seen, seen=found.seen)
    return Report(seen=found.seen, mended=found.mended)


async def _verify(
    connection: Connection, definitions: Definitions, tenant: int, types: Sequence[str], shown: bool
) -> Report:
    report = Report()
    total = await whole.estimate(connection, types)
    with _bar("verifying", shown) as (bar, task):
        async for part in whole.verify(connection, definitions, tenant, types):
            report.seen += part.seen
            report.skipped += [part.type] if part.skipped else []
            report.different += len(part.differences)
            room = DIFFERENCES_KEPT_MAX - len(report.differences)
            report.differences += [str(one) for one in part.differences[:room]]
            bar.update(task, total=max(total, report.seen, 1), completed=report.seen, seen=report.seen)
    return report


@contextmanager
def _bar(title: str, shown: bool) -> Iterator[tuple[Progress, TaskID]]:
    """A bar on a terminal, nothing elsewhere."""
    bar = Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        TextColumn("{task.percentage:>3.0f} %"),
        TextColumn("{task.fields[seen]:,} versions", style="cyan"),
        TimeRemainingColumn(),
        console=err,
        disable=not shown or not err.is_terminal,
    )
    with bar:
        yield bar, bar.add_task(title, total=None, seen=0)

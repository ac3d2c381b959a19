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
from fhirserver.jobs.rebuild import strays, whole
from fhirserver.params.index import FORMAT
from fhirserver.params.registry import Registry
from fhirserver.settings import Settings
from fhirserver.store import index_state
from fhirserver.store.definitions import Definitions
from fhirserver.store.index_state import MadeBy

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


async def run(
    dsn: str, settings: Settings, types: Sequence[str], codes: Sequence[str], *, verifying: bool, shown: bool
) -> Report:
    """Rebuild or verify the types, or all. Raises Refused."""
    begun, tenant, everything = monotonic(), settings.tenant, not types and not codes
    async with _pool(dsn, settings) as pool, pool.acquire() as connection:
        state = await index_state.state_of(connection, tenant) or await index_state.found(
            connection, settings
        )
        _require_ours(state, verifying, everything)
        made = MadeBy.of(settings) if state is None else MadeBy.recorded(state).but(settings)
        if everything and not verifying:  # before definitions are loaded: from now on this format is written
            await whole.demand(connection, tenant, sorted(ENDPOINT_TYPES), made)
        secret: Any = await connection.fetchval("SELECT value FROM server WHERE name = 'key_secret'")
        keys = Keys(secret, tenant)
        definitions = await Definitions.open(pool, keys, made.registry, made.indexing(keys))
        chosen = _chosen(definitions, types, codes)
        if verifying:
            report = await _verify(connection, definitions, tenant, chosen, shown)
        else:
            if not everything:
                await whole.demand(connection, tenant, chosen, None)
            report = await _rebuild(connection, definitions, tenant, chosen, shown)
            report.strays = await strays.remove(connection) if everything else {}
    report.seconds = monotonic() - begun
    return report


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


def _chosen(definitions: Definitions, types: Sequence[str], codes: Sequence[str]) -> list[str]:
    """The types that are meant, in the order of their names."""
    for name in types:
        if name not in ENDPOINT_TYPES:
            near = nearest(name, ENDPOINT_TYPES)
            raise Refused(f"{name} is no resource type" + (f"; alike: {', '.join(near)}" if near else ""))
    found = set(types) or set(ENDPOINT_TYPES)
    if codes:
        registry = definitions.known.registry
        found = {of for of in found if any(_has(registry, of, code) for code in codes)}
        if not found:
            raise Refused(f"no such type has a search parameter {' or '.join(codes)}")
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
        if not report.skipped and set(types) == ENDPOINT_TYPES:
            report.strays = await strays.count(connection)
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

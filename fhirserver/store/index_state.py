"""Whether a tenant's index can be searched by this release: the format of its entries, and the settings
that they were made by.

Who writes or searches in another format than the entries have would find too little and say nothing.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from typing import Any
from zoneinfo import ZoneInfo

from fhirserver.db.pool import Connection, Pool
from fhirserver.fhir import json
from fhirserver.fhir.keys import Keys
from fhirserver.params.fulltext import Mode, offered
from fhirserver.params.index import FORMAT, Index, indexer
from fhirserver.params.registry import Registry, r4
from fhirserver.settings import Settings
from fhirserver.store.definitions import QUERIES


class WrongFormat(RuntimeError):
    """The database's index entries are not of this release's format; the text says what to do."""


@dataclass(frozen=True, slots=True)
class MadeBy:
    """The settings that decide what is written for a resource."""

    time_zone: str
    referential_integrity: bool
    own_bases: tuple[str, ...]
    full_text: Mode = "none"

    @classmethod
    def of(cls, settings: Settings) -> MadeBy:
        return cls(
            settings.time_zone, settings.referential_integrity, settings.fhir_bases, settings.full_text
        )

    @classmethod
    def recorded(cls, state: Any) -> MadeBy:
        """Those of a row of index_state."""
        made = json.loads(state["made"].encode())
        return cls(**(made | {"own_bases": tuple(made["own_bases"])}))

    def but(self, settings: Settings) -> MadeBy:
        """These, but for what is set: a command is not always given what its server is."""
        given = settings.model_fields_set
        own = MadeBy.of(settings)
        return MadeBy(
            own.time_zone if "time_zone" in given else self.time_zone,
            own.referential_integrity if "referential_integrity" in given else self.referential_integrity,
            own.own_bases if given & {"base_url", "base_url_aliases"} else self.own_bases,
            own.full_text if "full_text" in given else self.full_text,
        )

    def json(self) -> str:
        return json.dumps(asdict(self)).decode()

    @property
    def registry(self) -> Registry:
        """R4's parameters, without those for which nothing is written."""
        return offered(r4(), self.full_text)

    def indexing(self, keys: Keys) -> Callable[[Registry], Index]:
        """What makes the indexer of a registry."""
        zone = ZoneInfo(self.time_zone)
        return lambda registry: indexer(
            registry, keys, self.own_bases, zone, integrity=self.referential_integrity
        )


async def state_of(connection: Connection, tenant: int) -> Any:
    """The row of index_state; None where there is none."""
    return await connection.fetchrow(QUERIES["state"], tenant)


async def found(connection: Connection, settings: Settings) -> Any:
    """The state, made for a tenant that has no resources yet; None where there are some, older than it."""
    tenant, made = settings.tenant, MadeBy.of(settings)
    await connection.execute(QUERIES["found"], tenant, FORMAT, made.json())
    state = await state_of(connection, tenant)
    if state is not None and (fault_of(state) or MadeBy.recorded(state) != made):
        await connection.execute(QUERIES["founded_empty"], tenant, FORMAT, made.json())
        state = await state_of(connection, tenant)
    return state


async def look(dsn: str, settings: Settings) -> Any:
    """`found`, over a connection of its own. Raises Unavailable."""
    pool = Pool(dsn, size_max=1, timeout_s=10, statement_timeout_s=settings.statement_timeout_s)
    try:
        async with pool.acquire() as connection:
            return await found(connection, settings)
    finally:
        await pool.close()


async def require_format(connection: Connection, settings: Settings) -> None:
    """Raise WrongFormat where this release must not search; record by which addresses it is reached."""
    state = await found(connection, settings)
    if (fault := fault_of(state)) is not None:
        raise WrongFormat(fault)
    recorded, now = MadeBy.recorded(state), MadeBy.of(settings)
    if recorded.own_bases != now.own_bases:
        made = replace(recorded, own_bases=now.own_bases)
        await connection.execute(QUERIES["record"], settings.tenant, made.json())


def fault_of(state: Any) -> str | None:
    """Why this release must not search; None when it may. `state` is a row of index_state, or None."""
    holds, writes = (0, 0) if state is None else (state["holds"], state["writes"])
    if writes == holds == FORMAT:
        return None
    if max(holds, writes) > FORMAT:
        return (
            f"the index entries of this database are of format {max(holds, writes)}; this release knows"
            f" {FORMAT} and would search them wrongly: start the newer release"
        )
    if writes == FORMAT:
        return (
            f"the index entries of this database are being brought to format {FORMAT}, and this is not done"
            " yet. Run: fhirserver reindex"
        )
    return (
        f"the index entries of this database are of format {holds}, this release needs {FORMAT}: it would"
        " find too little. Stop all servers of it and run: fhirserver reindex"
    )


def changed(state: Any, settings: Settings) -> list[str]:
    """The names of settings that are not those by which the entries were made."""
    recorded, now = MadeBy.recorded(state), MadeBy.of(settings)
    names = ("time_zone", "referential_integrity", "full_text")
    return [name for name in names if getattr(recorded, name) != getattr(now, name)]

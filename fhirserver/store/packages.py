"""The packages that are here, and what belongs to them: tables `package` and `package_resource`."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any, Final

import msgspec

from fhirserver.db.pool import Connection
from fhirserver.db.queries import Queries
from fhirserver.store.write import waiting

QUERIES = Queries(Path(__file__).with_name("packages.sql"))
LOCK_CLASS: Final = 0x46485047
"""Advisory locks of those who install and remove, one for each tenant."""


@dataclass(frozen=True, slots=True)
class Installed:
    """A package that is here: see migration 0007. `resources` is how many belong to it."""

    name: str
    version: str
    title: str | None
    canonical: str | None
    digest: str
    whole: bool
    asked: bool
    examples: bool
    installed: datetime
    needs: Sequence[str]
    without: Sequence[str]
    left_out: Sequence[str]
    resources: int

    @property
    def label(self) -> str:
        return f"{self.name}@{self.version}"


@dataclass(frozen=True, slots=True)
class Owned:
    """A resource that belongs to a package. `written` is the version that an installation left."""

    type: str
    id: str
    canonical: str
    written: int
    found: bool
    shared: bool = False

    @property
    def identity(self) -> tuple[str, str]:
        return self.type, self.id


@dataclass(frozen=True, slots=True)
class Announced:
    """What the CapabilityStatement says of the packages: canonical URLs with their versions, profiles by the
    type that they constrain."""

    guides: tuple[str, ...] = ()
    instantiates: tuple[str, ...] = ()
    profiles: tuple[tuple[str, tuple[str, ...]], ...] = ()

    @classmethod
    def of(
        cls, guides: Iterable[str], instantiates: Iterable[str], profiles: dict[str, list[str]]
    ) -> Announced:
        sorted_profiles = tuple((of, tuple(sorted(set(profiles[of])))) for of in sorted(profiles))
        return cls(tuple(sorted(set(guides))), tuple(sorted(set(instantiates))), sorted_profiles)


@dataclass(frozen=True, slots=True)
class Record:
    """What is written of a package that is being installed."""

    name: str
    version: str
    title: str | None
    canonical: str | None
    digest: str
    whole: bool
    asked: bool
    examples: bool
    needs: Sequence[str] = ()
    without: Sequence[str] = ()
    left_out: Sequence[str] = ()
    announced: Announced = field(default_factory=Announced)


_announced: Final = msgspec.json.Decoder(Announced)


async def lock(connection: Connection, tenant: int) -> None:
    """Wait until nobody else installs or removes, until the transaction ends."""
    with waiting():
        await connection.execute(QUERIES["lock"], LOCK_CLASS, tenant)


async def everything(connection: Connection, tenant: int) -> list[Installed]:
    """All packages, by name and version as text."""
    return [Installed(*row) for row in await connection.fetch(QUERIES["all"], tenant)]


async def announced(connection: Connection, tenant: int) -> Announced:
    """What all packages together announce that were installed for themselves."""
    rows = await connection.fetch(QUERIES["announced"], tenant)
    found = [_announced.decode(row["announced"]) for row in rows]
    profiles: dict[str, list[str]] = {}
    for one in found:
        for of, urls in one.profiles:
            profiles.setdefault(of, []).extend(urls)
    return Announced.of(
        (url for one in found for url in one.guides),
        (url for one in found for url in one.instantiates),
        profiles,
    )


async def put(connection: Connection, tenant: int, record: Record) -> None:
    """Write a package, or what has changed of it."""
    await connection.execute(
        QUERIES["put"],
        *(tenant, record.name, record.version, record.title, record.canonical, record.digest, record.whole),
        *(
            record.asked,
            record.examples,
            sorted(record.needs),
            sorted(record.without),
            sorted(record.left_out),
        ),
        msgspec.json.encode(record.announced).decode(),
    )


async def ask(connection: Connection, tenant: int, name: str, version: str) -> None:
    """From now on it is here for itself, not only for others."""
    await connection.execute(QUERIES["ask"], tenant, name, version)


async def delete(connection: Connection, tenant: int, name: str, version: str) -> None:
    """Forget a package and what belonged to it; the resources stay."""
    await connection.execute(QUERIES["delete"], tenant, name, version)


async def owned(
    connection: Connection, tenant: int, canonicals: Sequence[str]
) -> dict[tuple[str, str], Owned]:
    """What belongs to any package, by type and canonical URL."""
    rows = await connection.fetch(QUERIES["owned"], tenant, canonicals)
    return {
        (row["type"], row["canonical"]): Owned(
            row["type"], row["id"], row["canonical"], row["written"], row["found"]
        )
        for row in rows
    }


async def of(connection: Connection, tenant: int, name: str, version: str) -> list[Owned]:
    """What belongs to a package."""
    return [Owned(*row) for row in await connection.fetch(QUERIES["of"], tenant, name, version)]


async def own(connection: Connection, tenant: int, name: str, version: str, rows: Sequence[Owned]) -> None:
    """Let resources belong to a package, as they are now."""
    types, ids = [row.type for row in rows], [row.id for row in rows]
    written = [row.written for row in rows]
    await connection.execute(
        QUERIES["own"],
        *(tenant, name, version, types, ids, [row.canonical for row in rows], written),
        [row.found for row in rows],
    )
    await connection.execute(QUERIES["written"], tenant, types, ids, written)


async def disown(
    connection: Connection, tenant: int, name: str, version: str, identities: Sequence[tuple[str, str]]
) -> None:
    """Let resources belong to a package no longer."""
    types, ids = [type_ for type_, _ in identities], [id_ for _, id_ in identities]
    await connection.execute(QUERIES["disown"], tenant, name, version, types, ids)


async def idle_parameters(connection: Connection, tenant: int) -> list[str]:
    """The ids of the SearchParameters of packages that are not in force."""
    rows: Any = await connection.fetch(QUERIES["idle"], tenant)
    return [row["id"] for row in rows]

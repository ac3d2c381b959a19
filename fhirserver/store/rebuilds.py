"""The state of definitions, and what is to be rebuilt for them: tables `search_param` and `rebuild`.

A definition is `building` until all entries of its types are as it says; then it is `complete`. One that is
taken away is `dropping` until none of its entries are left; then its row goes.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from fhirserver.db.pool import Connection
from fhirserver.fhir import json
from fhirserver.fhir.structure import ENDPOINT_TYPES
from fhirserver.params.definition import restored, stored
from fhirserver.params.index import FORMAT
from fhirserver.params.registry import SearchParam, concrete_types
from fhirserver.store.definitions import QUERIES

State = Literal["pending", "building", "complete", "failed", "dropping"]


@dataclass(frozen=True, slots=True)
class Standing:
    """How far a definition has come. `seen` of `total` versions were looked at; `total` is an estimate.

    `failed`: the last try ended with `error`; it is tried again.
    """

    id: str
    param: SearchParam
    state: State
    seen: int
    total: int
    error: str | None

    @property
    def percentage(self) -> int:
        """0 to 99 on the way, 100 at its end."""
        if self.state == "complete":
            return 100
        return min(99, self.seen * 100 // self.total) if self.total else 0


def types_of(param: SearchParam) -> set[str]:
    """The types whose entries a definition changes."""
    return set(concrete_types(param) & ENDPOINT_TYPES)


async def standing(connection: Connection, tenant: int, id_: str) -> Standing | None:
    """How far the definition of a SearchParameter resource has come; None where it has none."""
    row: Any = await connection.fetchrow(QUERIES["standing"], tenant, id_)
    if row is None:
        return None
    param = restored(json.loads(row["definition"].encode()))
    return Standing(id_, param, _state(row), row["seen"], row["total"], row["error"])


def _state(row: Any) -> State:
    if row["state"] == "building" and row["error"] is not None:
        return "failed"
    if row["state"] == "building" and not row["begun"] and row["seen"] == 0:
        return "pending"
    return row["state"]


async def change(
    connection: Connection,
    tenant: int,
    put: Mapping[str, SearchParam],
    dropped: Sequence[str],
    types: Iterable[str],
) -> None:
    """Begin a new version of the definitions, by which `types` are to be rebuilt.

    The caller holds the lock of definitions; the definitions of `put` and `dropped` are by the ids of their
    resources.
    """
    version = await advance(connection, tenant)
    for id_, param in put.items():
        text = json.dumps(stored(param)).decode()
        types_ = sorted(types_of(param))
        await connection.execute(QUERIES["put"], tenant, id_, param.url, version, types_, text)
    for id_ in dropped:
        await connection.execute(QUERIES["drop"], tenant, id_, version)
    await connection.execute(QUERIES["want"], tenant, sorted(types), version, FORMAT, False, True)
    await connection.execute(QUERIES["settle"], tenant)


async def spread(connection: Connection, tenant: int, types: Sequence[str], version: int) -> list[str]:
    """Ask for what contains resources of these types to be rebuilt by `version` too, where definitions of
    them changed; its types.

    The caller holds the lock of definitions. What was written by older definitions has to be committed.
    """
    found = await connection.fetch(QUERIES["spread"], tenant, types)
    more = sorted({record["container"] for record in found} - set(types))
    if more:
        await connection.execute(QUERIES["want"], tenant, more, version, FORMAT, False, False)
    return more


async def settle(connection: Connection, tenant: int) -> None:
    """Let definitions whose entries are complete be searched by, and those that are gone be forgotten.

    The caller holds the lock of definitions.
    """
    if await connection.fetchval(QUERIES["settle"], tenant):
        await advance(connection, tenant)


async def advance(connection: Connection, tenant: int) -> int:
    """The next version of the definitions, which all processes have to load before they write."""
    version: Any = await connection.fetchval(QUERIES["advance"], tenant)
    return int(version)

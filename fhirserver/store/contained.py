"""Contained resources as rows of their own, for searches that ask for them alone.

https://hl7.org/fhir/R4/search.html#contained

A row of `contained` belongs to one version of its container, begins and ends with it, and repeats of it
what its visibility and its order depend on. It has index rows like any other.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from fhirserver.db.pool import Connection
from fhirserver.fhir import json
from fhirserver.fhir.keys import Keys
from fhirserver.fhir.structure import ENDPOINT_TYPES, Resource
from fhirserver.params.entries import Entries

_APART = ("resourceType", "id", "meta")


@dataclass(frozen=True, slots=True)
class Inner:
    """A contained resource about to be written with its container; JSON texts as in a Draft."""

    type: str
    id: str
    idk: int
    meta: str | None
    content: str
    written: str | None
    entries: Entries


def inners(
    keys: Keys,
    index: Callable[[str, str, Resource], Entries],
    resource_type: str,
    id_: str,
    resource: Resource,
) -> tuple[Inner, ...]:
    """The contained resources of a valid resource."""
    return tuple(
        _inner(keys, index, f"{resource_type}/{id_}", part)
        for part in resource.get("contained", ())
        if part["resourceType"] in ENDPOINT_TYPES
    )


def _inner(
    keys: Keys, index: Callable[[str, str, Resource], Entries], container: str, resource: Resource
) -> Inner:
    type_, id_ = resource["resourceType"], resource["id"]
    content = json.dumps({name: value for name, value in resource.items() if name not in _APART})
    entries = index(type_, id_, resource)
    # It is not the resource that has its id: nothing refers to it, and its compartment is not that one's.
    own = keys.target(type_, id_)
    entries.compartments = [target for target in entries.compartments if target != own]
    entries.rules = ()  # nobody gave it as a Consent
    return Inner(
        type_,
        id_,
        keys.of("contained", container, id_),
        json.dumps(resource["meta"]).decode() if "meta" in resource else None,
        content.decode(),
        content.decode() if json.has_exponent(content) else None,
        entries,
    )


@dataclass(frozen=True, slots=True)
class Container:
    """The version that contains: its row without what searches do not ask of it."""

    type: str
    rid: int
    id: str
    version: int
    updated: datetime
    method: str
    ord: int
    entries: Entries


Placed = tuple[Inner, int, int, Container]
"""With its `rid` and `ord`, and what contains it."""

COLUMNS = (
    *("type", "rid", "id", "version", "updated", "method", "idk", "ptk", "ord", "d_lo", "d_hi"),
    *("compartments", "keys", "meta", "content", "written", "container_type", "container_rid"),
    *("container_id", "container_ptk", "container_ord", "container_d_lo", "container_d_hi"),
    *("container_compartments", "container_keys"),
)


# Rows under row-level security cannot be copied into a table.
_INSERT: Final = "INSERT INTO contained (tenant, {}) VALUES ({})".format(  # noqa: S608 (names of ours)
    ", ".join(COLUMNS), ", ".join(f"${number}" for number in range(1, len(COLUMNS) + 2))
)


async def put(connection: Connection, tenant: int, placed: Sequence[Placed]) -> None:
    """Write the rows of `contained`; their index rows are written with all others."""
    await connection.executemany(_INSERT, [(tenant, *record_of(*one)) for one in placed])


def record_of(inner: Inner, rid: int, ord_: int, around: Container) -> tuple[Any, ...]:
    """The row, in the order of COLUMNS."""
    own, outer = inner.entries, around.entries
    return (
        *(inner.type, rid, inner.id, around.version, around.updated, around.method),
        *(inner.idk, own.ptk, ord_, own.d_lo, own.d_hi, own.compartments, own.keys),
        *(inner.meta, inner.content, inner.written, around.type, around.rid, around.id),
        *(outer.ptk, around.ord, outer.d_lo, outer.d_hi, outer.compartments, outer.keys),
    )

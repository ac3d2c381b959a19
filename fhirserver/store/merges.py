"""Merges as they are stored: tables `merge` and `merge_move`. docs/adr/0019-a-merge-is-one-transaction.md"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from fhirserver.db.pool import Connection
from fhirserver.db.queries import Queries
from fhirserver.fhir import json
from fhirserver.fhir.keys import Keys
from fhirserver.identity.moving import Identity, Moves, Place
from fhirserver.identity.origins import Fact
from fhirserver.store.version import Draft

QUERIES: Final = Queries(Path(__file__).with_name("merges.sql"))


@dataclass(frozen=True, slots=True)
class Merge:
    """A row of `merge`: what was asked for, and how far it is."""

    id: str
    kind: str
    state: str
    type: str
    source: str
    target: str
    request: dict[str, Any]
    task: str | None
    versions: tuple[int, ...]
    writers: tuple[str, ...] | None

    @classmethod
    def of(cls, row: Any) -> Merge:
        return cls(
            id=row["id"],
            kind=row["kind"],
            state=row["state"],
            type=row["type"],
            source=row["source"],
            target=row["target"],
            request=json.loads(row["request"].encode()),
            task=row["task"],
            versions=tuple(row["versions"] or ()),
            writers=None if row["writers"] is None else tuple(row["writers"]),
        )

    @property
    def identities(self) -> tuple[Identity, Identity]:
        """Source and target."""
        return (self.type, self.source), (self.type, self.target)


async def put(connection: Connection, keys: Keys, merge: Merge, changed: int = 0) -> None:
    """Write the row, over the one that there may be; `changed` is the version of the definitions since which
    it is in force."""
    await connection.execute(
        QUERIES["put"],
        *(keys.tenant, merge.id, merge.kind, merge.state, merge.type, merge.source, merge.target),
        *(json.dumps(merge.request).decode(), merge.task, changed, list(merge.versions)),
        None if merge.writers is None else list(merge.writers),
        *(keys.target(*identity) for identity in merge.identities),
    )


async def in_force(connection: Connection, tenant: int, type_: str, ids: Sequence[str]) -> dict[str, Merge]:
    """The merges of these sources that hold, by the source."""
    rows = await connection.fetch(QUERIES["in_force"], tenant, type_, ids)
    return {row["source"]: Merge.of(row) for row in rows}


async def undone_since(connection: Connection, tenant: int, id_: str) -> list[Merge]:
    """Those into the target of a merge that were made before it and undone after it, the last one first."""
    return [Merge.of(row) for row in await connection.fetch(QUERIES["undone_since"], tenant, id_)]


async def under_way(connection: Connection, tenant: int, type_: str, ids: Sequence[str]) -> Merge | None:
    """One that was accepted, is not done and is about any of the resources."""
    row: Any = await connection.fetchrow(QUERIES["under_way"], tenant, type_, ids)
    return Merge.of(row) if row else None


async def next_accepted(connection: Connection, tenant: int) -> Merge | None:
    """The oldest that waits to be done and that nobody else does, held until the transaction ends."""
    row: Any = await connection.fetchrow(QUERIES["next_accepted"], tenant)
    return Merge.of(row) if row else None


async def unsettled(connection: Connection, tenant: int) -> list[Merge]:
    """Those that are done, but by which somebody may not have gone yet."""
    return [Merge.of(row) for row in await connection.fetch(QUERIES["unsettled"], tenant)]


async def hold(connection: Connection, tenant: int, id_: str) -> Merge | None:
    """The row, held until the transaction ends."""
    row: Any = await connection.fetchrow(QUERIES["hold"], tenant, id_)
    return Merge.of(row) if row else None


async def set_state(connection: Connection, tenant: int, id_: str, state: str, changed: int) -> None:
    await connection.execute(QUERIES["set_state"], tenant, id_, state, changed)


# -- what was moved


Moved = tuple[str, str, int, tuple[Place, ...]]
"""Type, id and version in which places were moved."""


async def record(
    connection: Connection, tenant: int, id_: str, moved: Iterable[Moved], *, back: bool = False
) -> None:
    """Remember what a merge moved in versions that it wrote or, going back, its undoing."""
    rows = [(tenant, id_, back, type_, of, version, _text(places)) for type_, of, version, places in moved]
    await connection.executemany(QUERIES["record"], rows)


async def record_followed(connection: Connection, tenant: int, drafts: Iterable[Draft]) -> None:
    """Remember what was moved in drafts because their writers referred to what has been merged away."""
    rows = [
        (tenant, *move.source, move.target, draft.type, draft.id, draft.version, _text(move.places))
        for draft in drafts
        for move in draft.followed
    ]
    if rows:
        await connection.executemany(QUERIES["record_followed"], rows)


def _text(places: tuple[Place, ...]) -> str:
    return json.dumps([list(place) for place in places]).decode()


async def moved(connection: Connection, tenant: int, id_: str) -> list[Identity]:
    """Where a merge moved something that has not been moved back."""
    return [(row["type"], row["id"]) for row in await connection.fetch(QUERIES["moved"], tenant, id_)]


async def facts(
    connection: Connection, tenant: int, type_: str, ids: Sequence[str]
) -> dict[str, dict[int, list[Fact]]]:
    """All that merges did to resources of a type, by id and version, each in order."""
    found: dict[str, dict[int, list[Fact]]] = {}
    for row in await connection.fetch(QUERIES["facts"], tenant, type_, ids):
        places = tuple(Place(*pair) for pair in json.loads(row["places"].encode()))
        versions = found.setdefault(row["id"], {})
        versions.setdefault(row["version"], []).append(Fact(row["merge"], places, row["back"]))
    return found


async def standing(
    connection: Connection, tenant: int, type_: str, ids: Sequence[str]
) -> tuple[str, str] | None:
    """The ids of one that was merged and of its target, which is any of these; None if there is none."""
    row: Any = await connection.fetchrow(QUERIES["standing"], tenant, type_, ids)
    return (row["source"], row["target"]) if row else None


# -- what others go by


async def moves_since(connection: Connection, tenant: int, before: Moves, version: int) -> Moves:
    """What stands in for what, from what it was at a version of the definitions."""
    rows = await connection.fetch(QUERIES["since"], tenant, version)
    if not rows:
        return before
    targets = dict(before.targets)
    for row in rows:
        if row["state"] == "undone":
            targets.pop((row["type"], row["source"]), None)
    targets |= {(row["type"], row["source"]): row["target"] for row in rows if row["state"] == "done"}
    return Moves(targets)


async def set_writers(connection: Connection, tenant: int, id_: str, writers: Sequence[str] | None) -> None:
    """Remember who may yet write by what held before a merge; None once nobody may."""
    await connection.execute(QUERIES["set_writers"], tenant, id_, writers)


# -- what refers to a resource


async def referring_types(connection: Connection, keys: Sequence[int], types: Sequence[str]) -> set[str]:
    """Those of the types, each beside one of its keys, under which `tok` has rows."""
    rows = await connection.fetch(QUERIES["types_by_key"], keys, types)
    return {row[0] for row in rows}


async def types_of_patient(connection: Connection, tenant: int, patient: int) -> set[str]:
    """The types of rows whose patient is the one with this key."""
    return {row[0] for row in await connection.fetch(QUERIES["types_of_patient"], tenant, patient)}


async def referring(
    connection: Connection, tenant: int, type_: str, keys: Sequence[int], patient: int
) -> list[str]:
    """The ids of the current resources of a type under any of the keys, or whose patient it is, in order."""
    rows = await connection.fetch(QUERIES.on("referring", type_), tenant, keys, patient)
    return [row[0] for row in rows]

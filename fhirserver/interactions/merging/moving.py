"""Finding all that refers to a resource, and moving it, in the caller's transaction."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final, TypeVar

from fhirserver.db.pool import Connection
from fhirserver.db.sql import TRUE
from fhirserver.errors import Issue
from fhirserver.fhir.structure import ENDPOINT_TYPES, Resource
from fhirserver.identity.moving import STAYING, Identity, Move, Unclear, redirected, returned
from fhirserver.interactions.call import Call, Services
from fhirserver.interactions.draft import draft_of_move
from fhirserver.interactions.merging.asked import require_writable
from fhirserver.params import referenced
from fhirserver.store import merges, read
from fhirserver.store import write as store
from fhirserver.store.merges import Merge
from fhirserver.store.version import Draft, Version
from fhirserver.store.write import Latest, Writer

LOCKED_MAX: Final = 500
"""Rows that one statement locks."""
CHUNK: Final = 200
"""Resources that are in memory, decoded, at a time."""
BETWEEN_PAUSES: Final = 20
"""Resources that are worked on before other requests of this process get their turn."""

T = TypeVar("T")
LatestOf = dict[Identity, Latest]
Progress = Callable[[int, int], Awaitable[None]]
"""Told how many resources are moved, and how many there are."""


async def nobody(done: int, total: int) -> None:
    """Nobody wants to know how far it is."""


@dataclass(slots=True)
class Work:
    """What is done for one merge. `guard` is the call of who asks for it now, None where it was decided
    before that they may."""

    connection: Connection
    services: Services
    merge: Merge
    guard: Call | None = None
    progress: Progress = nobody
    written: list[str] = field(default_factory=list)
    """Paths of the versions that were written."""
    total: int = 0

    @property
    def tenant(self) -> int:
        return self.services.tenant

    async def write(self, drafts: Sequence[Draft], latest: LatestOf, writer: Writer) -> list[Version]:
        """Write versions after those of `latest`. Raises Forbidden unless the guard may, before and after."""
        identities = [(draft.type, draft.id) for draft in drafts]
        await self._require_writable(identities)
        ended: dict[str, list[int]] = defaultdict(list)
        for identity in identities:
            ended[identity[0]].append(latest[identity].rid)
        versions = await store.write_many(self.connection, self.tenant, drafts, writer, ended, {})
        await self._require_writable(identities)
        self.written += [version.versioned_path for version in versions]
        return versions

    async def _require_writable(self, identities: Iterable[Identity]) -> None:
        if self.guard is not None:
            what = f"{self.merge.type}/{self.merge.source} and all that refers to it"
            await require_writable(self.connection, self.guard, identities, what)


async def referring(connection: Connection, services: Services, merge: Merge) -> list[Identity]:
    """What refers to the source and can be moved, but for source and target; in order."""
    keys, target = services.keys, services.keys.target(merge.type, merge.source)
    types = sorted(ENDPOINT_TYPES - STAYING)
    pairs = [(key, type_) for type_ in types for key in referenced.moving_keys(keys, type_, target)]
    there = await merges.referring_types(connection, [key for key, _ in pairs], [type_ for _, type_ in pairs])
    if merge.type == "Patient":
        there |= await merges.types_of_patient(connection, services.tenant, target) - STAYING
    found: list[Identity] = []
    for type_ in sorted(there):
        own = referenced.moving_keys(keys, type_, target)
        ids = await merges.referring(connection, services.tenant, type_, own, target)
        found += [(type_, id_) for id_ in ids]
    return [identity for identity in found if identity not in merge.identities]


async def locked(connection: Connection, tenant: int, identities: Iterable[Identity]) -> LatestOf:
    """The latest versions of resources, whose rows are locked until the transaction ends, in the order in
    which all writers of several lock."""
    ids: dict[str, list[str]] = defaultdict(list)
    for type_, id_ in sorted(set(identities)):
        ids[type_].append(id_)
    latest: LatestOf = {}
    for type_ in sorted(ids):
        for some in _chunks(ids[type_], LOCKED_MAX):
            wanted = list(some)
            while wanted:
                rows = await store.lock_latest(connection, tenant, type_, wanted)
                latest |= {(type_, row.id): row for row in rows.values() if not row.overtaken}
                # Somebody else wrote one while it was waited for: the version after that is the latest.
                wanted = [row.id for row in rows.values() if row.overtaken]
    return latest


async def move(work: Work, latest: LatestOf, writer: Writer) -> None:
    """Let what refers to the source refer to the target, and remember what did."""
    merge, own_bases = work.merge, work.services.own_bases

    def drafted(version: Version) -> tuple[Draft, Move] | None:
        made = redirected(version.resource(), version.id, merge.identities[0], merge.target, own_bases)
        return None if made is None else (draft_of_move(work.services, made[0], version), made[1])

    async for found in _by_chunks(work, latest, drafted):
        await work.write([draft for draft, _ in found], latest, writer)
        if merge.kind == "merge":
            await merges.record(work.connection, work.tenant, merge.id, found)


async def move_back(
    work: Work, of: Merge, moved: Mapping[Identity, Move], latest: LatestOf, writer: Writer, back: bool | None
) -> list[Issue]:
    """Let what a merge moved refer to its source again; where that cannot be told any more."""
    unclear: list[Issue] = []

    def drafted(version: Version) -> Draft | None:
        made = restored_in(work.services, of, moved, version, back)
        if isinstance(made, Issue):
            unclear.append(made)
            return None
        return None if made is None else draft_of_move(work.services, made, version)

    async for found in _by_chunks(work, {key: latest[key] for key in moved if key in latest}, drafted):
        await work.write(found, latest, writer)
    await merges.forget_moved(work.connection, work.tenant, of.id, moved)
    return unclear


async def moving_back(
    connection: Connection, services: Services, of: Merge, back: bool | None
) -> tuple[list[Identity], list[Issue]]:
    """What undoing a merge would move back, and where it could not tell what; nothing is locked."""
    moved = await merges.moved(connection, services.tenant, of)
    found: list[Identity] = []
    unclear: list[Issue] = []
    for some in _chunks(sorted(moved), CHUNK):
        for version in await latest_of(connection, services.tenant, some):
            made = restored_in(services, of, moved, version, back)
            if isinstance(made, Issue):
                unclear.append(made)
            elif made is not None:
                found.append((version.type, version.id))
        await asyncio.sleep(0)
    return found, unclear


def restored_in(
    services: Services, of: Merge, moved: Mapping[Identity, Move], version: Version, back: bool | None
) -> Resource | Issue | None:
    """A version as it is without a merge; None where nothing is to be done; or why nobody knows."""
    move_ = moved[version.type, version.id]
    try:
        return returned(version.resource(), move_, of.target, services.own_bases, back)
    except Unclear:
        return Issue(
            "error",
            "conflict",
            f"{version.path} was changed since the merge: which of its references to {of.type}/{of.target}"
            f" were to {of.type}/{of.source} cannot be told",
        )


async def latest_of(connection: Connection, tenant: int, identities: Iterable[Identity]) -> list[Version]:
    """The current versions of resources, as far as there are any; nothing is locked."""
    ids: dict[str, list[str]] = defaultdict(list)
    for type_, id_ in identities:
        ids[type_].append(id_)
    found = [await read.latest_of(connection, tenant, type_, ids[type_], TRUE) for type_ in sorted(ids)]
    return [version for some in found for version in some.values() if not version.deleted]


async def current(connection: Connection, latest: LatestOf) -> list[Version]:
    """The versions of `latest` that are no deletions."""
    rids: dict[str, list[int]] = defaultdict(list)
    for (type_, _), row in latest.items():
        if not row.deleted:
            rids[type_].append(row.rid)
    return [
        version for type_ in sorted(rids) for version in await read.by_rid(connection, type_, rids[type_])
    ]


async def _by_chunks(
    work: Work, latest: LatestOf, make: Callable[[Version], T | None]
) -> AsyncIterator[list[T]]:
    """What is made of the current versions, some at a time."""
    done = 0
    for some in _chunks(sorted(latest), CHUNK):
        made: list[T] = []
        for number, version in enumerate(await current(work.connection, {key: latest[key] for key in some})):
            if number % BETWEEN_PAUSES == BETWEEN_PAUSES - 1:
                await asyncio.sleep(0)
            one = make(version)
            if one is not None:
                made.append(one)
        if made:
            yield made
        done += len(some)
        await work.progress(done, len(latest))


def _chunks(items: Sequence[T], size: int) -> Iterator[Sequence[T]]:
    for start in range(0, len(items), size):
        yield items[start : start + size]

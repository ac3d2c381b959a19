"""Finding all that refers to a resource, and moving it, in the caller's transaction."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Final, TypeVar

from fhirserver.db.pool import Connection
from fhirserver.errors import Issue
from fhirserver.fhir.structure import ENDPOINT_TYPES, Resource
from fhirserver.identity.moving import STAYING, Identity, Move, Place, kept_beside, redirected
from fhirserver.identity.origins import Origins, Unclear, returned
from fhirserver.interactions.call import Call, Services
from fhirserver.interactions.draft import draft_of_move
from fhirserver.interactions.merging.asked import require_writable
from fhirserver.interactions.merging.tracing import origins_of, turn
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

T = TypeVar("T")
LatestOf = dict[Identity, Latest]
Progress = Callable[[int, int], Awaitable[None]]
"""Told how many resources are moved, and how many there are."""


async def nobody(done: int, total: int) -> None:
    """Nobody wants to know how far it is."""


@dataclass(slots=True)
class Work:
    """What is done for one merge. `guard` is the call of who asks for it, None for what others wrote while it
    was done; not `whole`: what refers to the two is left as it is."""

    connection: Connection
    services: Services
    merge: Merge
    guard: Call | None = None
    progress: Progress = nobody
    whole: bool = True
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

    async for some in _by_chunks(work, latest):
        found: list[tuple[Draft, Move]] = []
        for version in await current(work.connection, {key: latest[key] for key in some}):
            before = version.resource()
            made = redirected(before, version.id, merge.identities[0], merge.target, own_bases)
            if made is not None:
                # Who was merged is another's from now on; where references alone move, both are still there.
                after = made[0] if merge.kind == "merge" else kept_beside(before, made[0])
                if after != before:
                    found.append((draft_of_move(work.services, after, version), made[1]))
            await turn(len(found))
        if not found:
            continue
        await work.write([draft for draft, _ in found], latest, writer)
        if merge.kind == "merge":
            rows = [(draft.type, draft.id, draft.version, move.places) for draft, move in found]
            await merges.record(work.connection, work.tenant, merge.id, rows)


async def move_back(
    work: Work, of: Merge, latest: LatestOf, writer: Writer, back: bool | None
) -> list[Issue]:
    """Let what a merge moved refer to its source again; where that cannot be told any more."""
    unclear: list[Issue] = []
    async for some in _by_chunks(work, latest):
        drafts: list[Draft] = []
        rows: list[merges.Moved] = []
        for version, origins in await origins_of(work.connection, work.services, some):
            made = _without(of, version, origins, back)
            row = (version.type, version.id, version.version, ())
            if isinstance(made, Issue):
                unclear.append(made)
            elif made is not None:
                drafts.append(draft_of_move(work.services, made[0], version))
                row = (version.type, version.id, version.version + 1, made[1])
            rows.append(row)
            await turn(len(drafts))
        if drafts:
            await work.write(drafts, latest, writer)
        await merges.record(work.connection, work.tenant, of.id, rows, back=True)
    return unclear


async def moving_back(
    connection: Connection, services: Services, of: Merge, back: bool | None
) -> tuple[list[Identity], list[Issue]]:
    """What undoing a merge would move back, and where it could not tell what; nothing is locked."""
    found: list[Identity] = []
    unclear: list[Issue] = []
    for some in _chunks(await merges.moved(connection, services.tenant, of.id), CHUNK):
        for version, origins in await origins_of(connection, services, some):
            made = _without(of, version, origins, back)
            if isinstance(made, Issue):
                unclear.append(made)
            elif made is not None:
                found.append((version.type, version.id))
        await asyncio.sleep(0)
    return found, unclear


def _without(
    of: Merge, version: Version, origins: Origins, back: bool | None
) -> tuple[Resource, tuple[Place, ...]] | Issue | None:
    """A version as it is without a merge, and what changes; None where nothing does; or why nobody knows."""
    if version.deleted:
        return None
    try:
        return returned(version.resource(), origins, of.id, of.identities[0], back)
    except Unclear:
        return Issue(
            "error",
            "conflict",
            f"{version.path} was changed since the merge: which of its references to {of.type}/{of.target}"
            f" were to {of.type}/{of.source} cannot be told",
        )


async def current(connection: Connection, latest: LatestOf) -> list[Version]:
    """The versions of `latest` that are no deletions."""
    rids: dict[str, list[int]] = defaultdict(list)
    for (type_, _), row in latest.items():
        if not row.deleted:
            rids[type_].append(row.rid)
    return [
        version for type_ in sorted(rids) for version in await read.by_rid(connection, type_, rids[type_])
    ]


async def _by_chunks(work: Work, latest: LatestOf) -> AsyncIterator[Sequence[Identity]]:
    """Some of the resources at a time, in order; what is done with them shows."""
    done = 0
    for some in _chunks(sorted(latest), CHUNK):
        yield some
        done += len(some)
        await work.progress(done, len(latest))


def _chunks(items: Sequence[T], size: int) -> Iterator[Sequence[T]]:
    for start in range(0, len(items), size):
        yield items[start : start + size]

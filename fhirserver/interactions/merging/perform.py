"""A merge, its undoing, or moving references, in one transaction, which the caller begins.

Locks are taken in the order of all writers of several: stripes of the two, rows by type and id, and those of
the definitions last.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from fhirserver.db.pool import Connection
from fhirserver.errors import Unprocessable
from fhirserver.interactions.call import Services
from fhirserver.interactions.draft import draft, draft_of_move, draft_of_ours, new_id
from fhirserver.interactions.merging import plan
from fhirserver.interactions.merging.moving import LatestOf, Work, current, locked, move, move_back, referring
from fhirserver.interactions.merging.told import provenances
from fhirserver.store import definitions, merges, rebuilds
from fhirserver.store import write as store
from fhirserver.store.merges import Merge
from fhirserver.store.version import Draft, Version
from fhirserver.store.write import Writer


@dataclass(frozen=True, slots=True)
class Done:
    """What was done: the row of the merge, how many resources were moved, the merge that it undoes, and the
    target where that changed."""

    merge: Merge
    count: int
    undone: Merge | None = None
    target: Version | None = None


async def perform(work: Work) -> Done:
    """Do what is asked for; `announce` then ends it.

    Raises Unprocessable where that cannot be, Conflict and Taken, and Forbidden where the guard may not.
    """
    keys = [work.services.keys.target(*identity) for identity in work.merge.identities]
    await store.lock_merging(work.connection, keys)
    await plan.require_free(work.connection, work.services, work.merge)
    match work.merge.kind:
        case "merge":
            return await _merge(work)
        case "undo":
            return await _undo(work)
        case _:
            return await _replace(work)


async def announce(connection: Connection, services: Services, done: Done) -> None:
    """Let everybody who writes go by what was done, once the transaction is committed.

    Nothing can be written in the transaction after it: there is another version of the definitions in it.
    """
    if done.merge.kind == "replace":
        return
    tenant = services.tenant
    await connection.execute(definitions.QUERIES["lock"], definitions.LOCK_CLASS, tenant)
    changed = await rebuilds.advance(connection, tenant)
    await merges.put(connection, services.keys, done.merge, changed)
    if done.undone is not None:
        await merges.set_state(connection, tenant, done.undone.id, "undone", changed)


async def _merge(work: Work) -> Done:
    connection, services, merge = work.connection, work.services, work.merge
    await plan.require_distinct(connection, services, merge)
    identities = await referring(connection, services, merge) if work.whole else []
    latest = await locked(connection, work.tenant, [*identities, *merge.identities])
    source, target = await _two(connection, merge, latest)
    plan.require_based(merge, target)
    pair = plan.merged(services, merge, source, target)
    writer = await store.begin(connection, work.tenant)
    # First, as what is moved is recorded for it.
    await merges.put(connection, work.services.keys, replace(merge, state="done", writers=()))
    count = await _move(work, latest, identities, writer)
    made = draft_of_move(services, pair.target, target)
    if merge.request.get("result") is not None:
        made = draft(services, pair.target, target.id, "PUT", target)
    written = await work.write([draft_of_move(services, pair.source, source), made], latest, writer)
    await _tell(work, written, writer)
    versions = tuple(one.version for one in written)
    done = replace(merge, state="done", versions=versions, writers=())
    return Done(done, count, None, written[1])


async def _undo(work: Work) -> Done:
    connection, services, merge = work.connection, work.services, work.merge
    of = await plan.require_undoable(connection, services, merge)
    moved = await merges.moved(connection, work.tenant, of.id) if work.whole else []
    latest = await locked(connection, work.tenant, [*moved, *merge.identities])
    source, target = await _two(connection, merge, latest)
    back: bool | None = merge.request.get("back")
    pair = await plan.unmerged(connection, services, of, source, target, back)
    writer = await store.begin(connection, work.tenant)
    work.total = len(moved)
    unclear = await move_back(work, of, {one: latest[one] for one in moved}, writer, back)
    if back is None:
        plan.require_no_conflicts([*pair.conflicts, *unclear])
    plan.require_valid(services, pair.source, source)
    plan.require_valid(services, pair.target, target)
    count = len(work.written)
    drafts = [
        draft_of_move(services, pair.source, source),
        draft_of_move(services, pair.target, target),
    ]
    written = await work.write(drafts, latest, writer)
    await _tell(work, written, writer)
    done = replace(merge, state="done", request={**merge.request, "of": of.id}, writers=())
    return Done(done, count, of, written[1])


async def _replace(work: Work) -> Done:
    connection, merge = work.connection, work.merge
    identities = await referring(connection, work.services, merge) if work.whole else []
    latest = await locked(connection, work.tenant, [*identities, *merge.identities])
    await _two(connection, merge, latest)
    writer = await store.begin(connection, work.tenant)
    count = await _move(work, latest, identities, writer)
    done = replace(merge, state="done")
    await merges.put(connection, work.services.keys, done)
    if work.written:
        await _tell(work, [], writer)
    return Done(done, count)


async def _two(connection: Connection, merge: Merge, latest: LatestOf) -> tuple[Version, Version]:
    """Source and target as they are, their rows locked. Raises Unprocessable where one is gone."""
    own = {identity: latest[identity] for identity in merge.identities if identity in latest}
    found = {(one.type, one.id): one for one in await current(connection, own)}
    for identity in merge.identities:
        if identity not in found:
            raise Unprocessable(f"there is no {'/'.join(identity)} any more")
    return found[merge.identities[0]], found[merge.identities[1]]


async def _move(work: Work, latest: LatestOf, identities: list[tuple[str, str]], writer: Writer) -> int:
    """How many resources were moved."""
    there = {identity: latest[identity] for identity in identities if identity in latest}
    work.total = len(there)
    await move(work, there, writer)
    return len(work.written)


async def _tell(work: Work, written: list[Version], writer: Writer) -> None:
    merged = [version.versioned_path for version in (written[1], written[0])] if written else []
    resources = provenances(work.merge, merged, work.written, writer.updated)
    drafts: list[Draft] = [draft_of_ours(work.services, one, new_id()) for one in resources]
    await store.write_many(work.connection, work.tenant, drafts, writer, {}, {})

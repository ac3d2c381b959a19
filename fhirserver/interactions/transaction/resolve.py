"""Which resources the entries of a transaction are about: searches, locks, deletes.

https://hl7.org/fhir/R4/http.html#trules
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence

from fhirserver.db.pool import Connection
from fhirserver.db.retry import Again
from fhirserver.errors import Invalid, MultipleMatches, NotFound
from fhirserver.interactions.call import Call
from fhirserver.interactions.conditions import require_match
from fhirserver.interactions.create import exists
from fhirserver.interactions.delete import DELETED_MAX, gone
from fhirserver.interactions.matching import matches, require_one
from fhirserver.interactions.own import own_identities
from fhirserver.interactions.permission import is_restricted, outside, permitted_rids
from fhirserver.interactions.transaction.item import Item
from fhirserver.interactions.update import chosen_id
from fhirserver.store import read
from fhirserver.store import write as store
from fhirserver.store.version import Version
from fhirserver.store.write import Latest, Writer

Identity = tuple[str, str]
LatestOf = dict[Identity, Latest]


async def resolve(connection: Connection, writes: Sequence[Item]) -> dict[Identity, int]:
    """Every entry gets its identity; the version numbers of what searches found, to be locked.

    What is deleted goes first, so no search of the other entries finds it.
    """
    seen: dict[Identity, int] = {}
    doomed: set[Identity] = set()
    for item in writes:
        if item.deletes:
            with item.located():
                await _resolve_delete(connection, item, seen)
            doomed.update(item.identities)
    first: dict[tuple[str, str], Item] = {}
    for item in writes:
        with item.located():
            if item.interaction == "create":
                await _resolve_create(connection, item, first, doomed)
            elif item.puts and item.criteria is not None:
                await _resolve_update(connection, item, seen, doomed)
    return seen


async def _resolve_delete(connection: Connection, item: Item, seen: dict[Identity, int]) -> None:
    if item.criteria is None:
        item.doomed = [item.call.resource_id]
        return
    many = item.call.services.settings.conditional_delete == "multiple"
    maximum = DELETED_MAX if many else 1
    found = await matches(connection, item.call, item.criteria, maximum + 1)
    if len(found) > maximum:
        raise MultipleMatches(f"the criteria match more than {maximum} {item.call.type}")
    item.doomed = [version.id for version in found]
    seen.update(_seen(found))


async def _resolve_create(
    connection: Connection, item: Item, first: dict[tuple[str, str], Item], doomed: set[Identity]
) -> None:
    """A conditional create that finds a resource is that resource, unwritten; one with the criteria of
    an earlier entry is what that one creates."""
    item.id = item.new_id
    if item.criteria is None:
        return
    earlier = first.setdefault((item.call.resource_type, item.criteria.text), item)
    if earlier is not item:
        item.id = earlier.id
        return
    existing = await _one_left(connection, item, doomed)
    if existing is not None:
        item.id = existing.id
        item.answer = exists(item.call, existing)


async def _resolve_update(
    connection: Connection, item: Item, seen: dict[Identity, int], doomed: set[Identity]
) -> None:
    existing = await _one_left(connection, item, doomed)
    item.unmatched = existing is None
    if existing is not None:
        seen.update(_seen([existing]))
    if item.interaction == "update_conditional":
        item.id = chosen_id(item.call, item.call.resource, existing) or item.new_id
    elif existing is None:
        raise NotFound(f"no {item.call.type} matches the criteria")
    else:
        item.id = existing.id


async def _one_left(connection: Connection, item: Item, doomed: set[Identity]) -> Version | None:
    """The one match of the item's criteria beside what the transaction deletes."""
    assert item.criteria is not None
    most = 2 + sum(type_ == item.call.type for type_, _ in doomed)
    found = await matches(connection, item.call, item.criteria, most)
    return require_one([version for version in found if (version.type, version.id) not in doomed])


def _seen(found: Sequence[Version]) -> dict[Identity, int]:
    return {(version.type, version.id): version.version for version in found}


async def lock_all(
    connection: Connection, call: Call, writes: Sequence[Item], seen: dict[Identity, int]
) -> LatestOf:
    """Lock the latest versions of all that is updated or deleted, by type and id.

    Raises Again where another writer came in between, since criteria may no longer match.
    """
    by_type: dict[str, set[str]] = defaultdict(set)
    for item in writes:
        for resource_type, id_ in item.identities:
            by_type[resource_type].add(id_)
    latest: LatestOf = {}
    for resource_type in sorted(by_type):
        found = await store.lock_latest(
            connection, call.services.tenant, resource_type, sorted(by_type[resource_type])
        )
        if any(row.overtaken for row in found.values()):
            raise Again
        found = await _seen_by(connection, writes, resource_type, found, seen)
        latest |= {(resource_type, id_): row for id_, row in found.items()}
    if any(identity not in latest or latest[identity].version != seen[identity] for identity in seen):
        raise Again
    return latest


async def _seen_by(
    connection: Connection,
    writes: Sequence[Item],
    resource_type: str,
    found: dict[str, Latest],
    seen: dict[Identity, int],
) -> dict[str, Latest]:
    """Without those that an entry's caller may not change or delete: to them they are not there.

    Raises Forbidden for those of `seen`, which they found by criteria.
    """
    kept = dict(found)
    for action, deletes in (("u", False), ("d", True)):
        items = [item for item in writes if item.deletes is deletes and item.identities]
        ids = {id_ for item in items for type_, id_ in item.identities if type_ == resource_type}
        rids = [row.rid for id_, row in found.items() if id_ in ids]
        if not rids:
            continue
        permitted = await permitted_rids(connection, items[0].call, resource_type, rids, action)
        for id_ in ids & kept.keys():
            if kept[id_].rid not in permitted:
                if (resource_type, id_) in seen:
                    item = next(item for item in items if (resource_type, id_) in item.identities)
                    with item.located():
                        raise await outside(connection, item.call, resource_type)
                del kept[id_]
    return kept


def verify_identities(writes: Sequence[Item]) -> None:
    """No resource may be written by two entries; a conditional create that finds one does not write it."""
    written: dict[Identity, int] = {}
    for item in writes:
        for identity in item.identities:
            other = written.setdefault(identity, item.index)
            if other != item.index:
                with item.located():
                    raise Invalid(f"{'/'.join(identity)} is also written by entry {other}")


async def delete_all(
    connection: Connection, call: Call, writes: Sequence[Item], latest: LatestOf, writer: Writer
) -> None:
    """The deletes, and their answers."""
    buried: dict[str, list[int]] = defaultdict(list)
    for item in writes:
        if not item.deletes:
            continue
        item.answer = gone(item.call, 0)
        for identity in item.identities:
            current = latest.get(identity)
            with item.located():
                require_match(item.call, current)
            if current is None or current.deleted:
                continue
            buried[item.call.resource_type].append(current.rid)
            if call.services.trail is not None or call.services.settings.provenance:
                item.before += await read.by_rid(connection, item.call.resource_type, [current.rid])
            item.answer = gone(item.call, len(item.doomed))
            item.answer.headers["ETag"] = f'W/"{current.version + 1}"'
    if buried:
        await store.write_many(connection, call.services.tenant, [], writer, {}, buried)
    if is_restricted(call):
        doomed = [(item, identity) for item in writes if item.deletes for identity in item.identities]
        own = await own_identities(connection, call, [identity for _, identity in doomed])
        for item, identity in doomed:
            with item.located():
                if identity in own:
                    raise own[identity]


async def verify_criteria(connection: Connection, writes: Sequence[Item]) -> None:
    """What conditional writes searched for must be what they wrote, or nothing, after all entries: else
    the outcome would depend on the order in which entries are processed."""
    if sum(item.puts for item in writes) < 2:
        return
    for item in writes:
        if item.criteria is None or item.interaction not in ("create", "update_conditional"):
            continue
        found = await matches(connection, item.call, item.criteria, 2)
        other = next((version for version in found if version.id != item.id), None)
        if other is not None:
            with item.located():
                raise MultipleMatches(
                    f"after this transaction the criteria would match {other.path}, written by another entry"
                )

"""Which resources the entries of a transaction are about: locks, deletes, conditions.

https://hl7.org/fhir/R4/http.html#trules
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from datetime import datetime

from fhirserver.db.pool import Connection
from fhirserver.db.retry import Again
from fhirserver.errors import Invalid, MultipleMatches, NotFound
from fhirserver.interactions.call import Call
from fhirserver.interactions.conditions import require_match
from fhirserver.interactions.create import exists
from fhirserver.interactions.delete import DELETED_MAX, gone
from fhirserver.interactions.matching import matches, one_match
from fhirserver.interactions.transaction.item import Item
from fhirserver.interactions.update import chosen_id
from fhirserver.store import write as store
from fhirserver.store.write import Latest

Identity = tuple[str, str]
LatestOf = dict[Identity, Latest]


async def lock_named(connection: Connection, call: Call, writes: Sequence[Item]) -> LatestOf:
    """Lock everything that entries name by id, and what conditional deletes find."""
    for item in writes:
        if item.interaction == "delete":
            item.doomed = [item.identity[1]]
        elif item.interaction == "delete_conditional":
            with item.located():
                item.doomed = await _doomed(connection, item)
    named = [item.identity for item in writes if item.interaction in ("update", "patch")]
    named += [(item.call.resource_type, id_) for item in writes for id_ in item.doomed]
    return await _lock(connection, call, named)


async def _doomed(connection: Connection, item: Item) -> list[str]:
    assert item.criteria is not None
    many = item.call.services.settings.conditional_delete == "multiple"
    maximum = DELETED_MAX if many else 1
    found = await matches(connection, item.call, item.criteria, maximum + 1)
    if len(found) > maximum:
        raise MultipleMatches(f"the criteria match more than {maximum} {item.call.type}")
    return [version.id for version in found]


async def _lock(connection: Connection, call: Call, identities: Iterable[Identity]) -> LatestOf:
    by_type: dict[str, set[str]] = defaultdict(set)
    for resource_type, id_ in identities:
        by_type[resource_type].add(id_)
    latest: LatestOf = {}
    for resource_type in sorted(by_type):
        found = await store.lock_latest(
            connection, call.services.tenant, resource_type, sorted(by_type[resource_type])
        )
        if any(row.overtaken for row in found.values()):
            raise Again
        latest |= {(resource_type, id_): row for id_, row in found.items()}
    return latest


async def delete_all(
    connection: Connection, call: Call, writes: Sequence[Item], latest: LatestOf, updated: datetime
) -> None:
    """The deletes, so that the searches of creates and updates no longer find what they remove."""
    buried: dict[str, list[int]] = defaultdict(list)
    for item in writes:
        if not item.deletes:
            continue
        item.answer = gone(item.call, 0)
        for id_ in item.doomed:
            current = latest.get((item.call.resource_type, id_))
            with item.located():
                require_match(item.call, current)
            if current is None or current.deleted:
                continue
            buried[item.call.resource_type].append(current.rid)
            item.answer = gone(item.call, len(item.doomed))
            item.answer.headers["ETag"] = f'W/"{current.version + 1}"'
    if buried:
        await store.write_many(connection, call.services.tenant, [], updated, {}, buried)


async def resolve_creates(connection: Connection, writes: Sequence[Item]) -> None:
    """Creates get their ids; a conditional one that finds a resource is that resource, unwritten."""
    first: dict[tuple[str, str], Item] = {}
    for item in writes:
        if item.interaction != "create":
            continue
        item.id = item.new_id
        if item.criteria is None:
            continue
        earlier = first.setdefault((item.call.resource_type, item.criteria.text), item)
        if earlier is not item:
            item.id = earlier.id
            continue
        with item.located():
            existing = await one_match(connection, item.call, item.criteria)
        if existing is not None:
            item.id = existing.id
            item.answer = exists(item.call, existing)


async def resolve_updates(
    connection: Connection, call: Call, writes: Sequence[Item], latest: LatestOf
) -> None:
    """Conditional updates and patches find their resource, which is locked; `latest` grows by them."""
    found: list[Identity] = []
    for item in writes:
        if item.interaction not in ("update_conditional", "patch_conditional"):
            continue
        assert item.criteria is not None
        with item.located():
            existing = await one_match(connection, item.call, item.criteria)
            if item.interaction == "update_conditional":
                item.id = chosen_id(item.call, item.call.resource, existing)
                item.unmatched = existing is None
            elif existing is None:
                raise NotFound(f"no {item.call.type} matches the criteria")
            else:
                item.id = existing.id
        found.append(item.identity)
    latest |= await _lock(connection, call, [identity for identity in found if identity not in latest])


def verify_identities(writes: Sequence[Item]) -> None:
    """No resource may be written by two entries; a conditional create that finds one does not write it."""
    written: dict[Identity, int] = {}
    for item in writes:
        for identity in item.identities:
            other = written.setdefault(identity, item.index)
            if other != item.index:
                with item.located():
                    raise Invalid(f"{'/'.join(identity)} is also written by entry {other}")


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

"""Which resource of this server an item of a package is, or under which id it comes to be.

It is what belongs to a package under the same canonical URL and version, or what has them; a new one has the
id that it has in the package, unless that is somebody else's.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import blake2b
from typing import Any, Final

from fhirserver.db.pool import Connection
from fhirserver.db.sql import sql
from fhirserver.fhir.package.content import Item
from fhirserver.fhir.structure import STRUCTURES
from fhirserver.interactions.call import Call
from fhirserver.interactions.packages.plan import Plan
from fhirserver.interactions.searching import context_of
from fhirserver.params.uri import UriValue
from fhirserver.search.compile import versions_statement
from fhirserver.search.query import Clause, SearchQuery
from fhirserver.store import packages
from fhirserver.store import write as store
from fhirserver.store.packages import Owned
from fhirserver.store.write import Latest

ID_LENGTH_MAX: Final = 64
_NOT_IN_IDS: Final = re.compile(r"[^A-Za-z0-9.-]+")
_URLS_AT_ONCE: Final = 50
_COLUMNS: Final = sql("r.id, r.content->>'url' AS url, r.content->>'version' AS version")


@dataclass(frozen=True, slots=True)
class Place:
    """The id of an item here. `latest` is the last version, if there ever was one; `owned` what packages know
    of it; `found`: it is here, and no package brought it."""

    id: str
    latest: Latest | None
    owned: Owned | None
    found: bool

    @property
    def is_new(self) -> bool:
        return self.latest is None or self.latest.deleted

    @property
    def is_changed(self) -> bool:
        """Whether somebody wrote it after the packages did."""
        if self.is_new or self.latest is None:
            return False
        return self.owned is None or self.latest.version != self.owned.written


Key = tuple[str, str]
"""Type and canonical URL."""


async def places(connection: Connection, call: Call, plan: Plan) -> dict[Key, Place]:
    """The places of all items, their rows locked until the transaction ends: types and ids in order."""
    items = {(item.type, item.canonical): item for part in plan.parts for item in part.items.values()}
    canonicals = sorted({canonical for _, canonical in items})
    owned = await packages.owned(connection, call.services.tenant, canonicals)
    held = await _held(connection, call, [item for key, item in items.items() if key not in owned])
    wanted: dict[str, set[str]] = defaultdict(set)
    for key, item in items.items():
        ids = [owned[key].id] if key in owned else [held[key]] if key in held else _ids(item)
        wanted[item.type].update(ids)
    latest: dict[str, dict[str, Latest]] = {}
    for type_ in sorted(wanted):
        latest[type_] = await store.lock_latest(
            connection, call.services.tenant, type_, sorted(wanted[type_])
        )
    taken = {(one.type, one.id) for one in owned.values()} | {(key[0], id_) for key, id_ in held.items()}
    found: dict[Key, Place] = {}
    for key, item in sorted(items.items()):
        rows = latest[item.type]
        if key in owned:
            found[key] = Place(owned[key].id, rows.get(owned[key].id), owned[key], owned[key].found)
        elif key in held:
            found[key] = Place(held[key], rows.get(held[key]), None, True)
        else:
            found[key] = _free(item, rows, taken)
    return found


def _free(item: Item, rows: dict[str, Latest], taken: set[tuple[str, str]]) -> Place:
    """The first of its ids that nothing has. An example is known by its id: there, it is that resource."""
    for id_ in _ids(item):
        latest = rows.get(id_)
        if not item.url and latest is not None and not latest.deleted:
            return Place(id_, latest, None, True)
        if (item.type, id_) not in taken and (latest is None or latest.deleted):
            taken.add((item.type, id_))
            return Place(id_, latest, None, False)
    raise AssertionError("two resources have the same hash")


def _ids(item: Item) -> list[str]:
    """Ids that it may have, in this order: its own, with the version, and one that nothing else has."""
    if not item.url:
        return [item.id]
    versioned = _NOT_IN_IDS.sub("-", f"{item.id}-{item.version}" if item.version else item.id)
    own = blake2b(item.canonical.encode(), digest_size=16).hexdigest()
    return [item.id, *([versioned] if item.version and len(versioned) <= ID_LENGTH_MAX else []), own]


async def _held(connection: Connection, call: Call, items: Sequence[Item]) -> dict[Key, str]:
    """The ids of resources that have the canonical URL and version of an item and belong to no package."""
    by_type: dict[str, dict[tuple[str, str], Item]] = defaultdict(dict)
    for item in items:
        if item.url and "url" in STRUCTURES[item.type].elements:
            by_type[item.type][item.url, item.version] = item
    found: dict[Key, str] = {}
    for type_, wanted in sorted(by_type.items()):
        urls = sorted({url for url, _ in wanted})
        for start in range(0, len(urls), _URLS_AT_ONCE):
            for row in await _rows(connection, call, type_, urls[start : start + _URLS_AT_ONCE]):
                item = wanted.get((row["url"], row["version"] or ""))
                if item is not None:
                    found.setdefault((type_, item.canonical), row["id"])
    return found


async def _rows(connection: Connection, call: Call, type_: str, urls: Sequence[str]) -> list[Any]:
    context = context_of(call)
    param = context.registry.get(type_, "url")
    if param is None:
        return []
    limit = 100 * len(urls)
    query = SearchQuery({type_: (Clause(param, None, tuple(UriValue(url) for url in urls)),)}, limit)
    text, args = versions_statement(query, context, _COLUMNS, limit).numbered()
    return await connection.fetch(text, *args)

"""The code systems and value sets that are stored, as far as the caller may see them.

They are found like anything else, by the search index; what they say is read once per version.
https://hl7.org/fhir/R4/references.html#canonical
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final, NamedTuple

import asyncpg

from fhirserver.db.pool import Connection
from fhirserver.db.sql import sql, table
from fhirserver.errors import Invalid
from fhirserver.fhir.structure import Resource
from fhirserver.params.uri import UriValue
from fhirserver.search.compile import versions_statement
from fhirserver.search.context import Context
from fhirserver.search.query import Clause, Condition, Ids, SearchQuery
from fhirserver.store import read
from fhirserver.store.version import Version
from fhirserver.terminology.cache import Cache
from fhirserver.terminology.codesystem import CodeSystem
from fhirserver.terminology.valueset import ValueSet

CANDIDATES_MAX: Final = 100
"""Resources with one canonical URL that are looked at, the latest."""
_LONG: Final = 256 * 1024
"""Characters of a definition beyond which reading it is left to a thread."""
_CODE_CHARS: Final = 200
"""Characters of a resource that weigh in the cache as much as a code."""
_RID: Final = sql("r.rid")
_STATUSES: Final = ("retired", "unknown", "draft", "active")
"""From what is used least willingly to what is used first."""
_NUMBERS: Final = re.compile(r"[0-9]+|[^0-9.\-+]+")


class _Head(NamedTuple):
    """What a version of a definition says about itself."""

    rid: int
    url: str | None
    version: str | None
    status: str | None
    date: str | None


@dataclass(frozen=True, slots=True)
class Stored:
    """The library of one caller, at one instant. Cached is what does not depend on who asks."""

    connection: Connection
    context: Context
    cache: Cache

    async def code_system(self, url: str, version: str | None) -> CodeSystem | None:
        rid = await self._by_url("CodeSystem", url, version)
        return None if rid is None else await self._read("CodeSystem", rid, _code_system)

    async def value_set(self, url: str, version: str | None) -> ValueSet | None:
        rid = await self._by_url("ValueSet", url, version)
        return None if rid is None else await self._read("ValueSet", rid, _value_set)

    async def questionnaire(self, url: str, version: str | None) -> Resource | None:
        rid = await self._by_url("Questionnaire", url, version)
        return None if rid is None else await self._read("Questionnaire", rid, _questionnaire)

    async def code_system_at(self, id_: str) -> CodeSystem | None:
        """The code system with an id, where the caller may see one."""
        rids = await self._rids("CodeSystem", Ids((id_,)), 1)
        return await self._read("CodeSystem", rids[0], _code_system) if rids else None

    async def value_set_at(self, id_: str) -> ValueSet | None:
        """As `code_system_at`."""
        rids = await self._rids("ValueSet", Ids((id_,)), 1)
        return await self._read("ValueSet", rids[0], _value_set) if rids else None

    async def canonical_urls(self, resource_type: str, id_: str) -> list[str]:
        """The canonical URL of the resource with an id; none where there is none or it has none."""
        heads = await self._heads(resource_type, await self._rids(resource_type, Ids((id_,)), 1))
        return [head.url for head in heads if head.url]

    async def matching(self, pattern: str, values: Sequence[str]) -> frozenset[str]:
        """By PostgreSQL, whose expressions take no exponential time, and which can be stopped."""
        try:
            async with self.connection.transaction():  # a savepoint in one that must live on
                rows = await self.connection.fetch(
                    "SELECT v FROM unnest($1::text[]) v WHERE v ~ $2", list(values), f"^(?:{pattern})$"
                )
        except asyncpg.DataError as error:
            raise Invalid(f"'{pattern}' in a value set is not a regular expression: {error}") from None
        return frozenset(row["v"] for row in rows)

    async def _by_url(self, resource_type: str, url: str, version: str | None) -> int | None:
        """The row of the definition to use: of those in use the latest version, if none is named."""
        param = self.context.registry.get(resource_type, "url")
        assert param is not None
        name = url if version is None else f"{url}|{version}"
        clause = Clause(param, None, (UriValue(name),))
        heads = await self._heads(resource_type, await self._rids(resource_type, clause, CANDIDATES_MAX))
        fitting = [head for head in heads if head.url == url and version in (None, head.version)]
        return max(fitting, key=_preference).rid if fitting else None

    async def _heads(self, resource_type: str, rids: Sequence[int]) -> list[_Head]:
        """What tells versions apart. Kept, as only reading one takes long in a resource of many megabytes."""
        found = [self.cache.get((_Head, resource_type, rid)) for rid in rids]
        if None in found:
            text, args = sql(
                "SELECT r.rid, r.content->>'url', r.content->>'version', r.content->>'status',"
                " r.content->>'date' FROM {} r WHERE r.rid = any({}::bigint[])",
                table(resource_type),
                [rid for rid, head in zip(rids, found, strict=True) if head is None],
            ).numbered()
            fresh = [_Head(*row) for row in await self.connection.fetch(text, *args)]
            for head in fresh:
                self.cache.put((_Head, resource_type, head.rid), head, 1)
            found = [*fresh, *(head for head in found if head is not None)]
        return found

    async def _rids(self, resource_type: str, condition: Condition, limit: int) -> list[int]:
        """The rows that match and that the caller may see."""
        query = SearchQuery({resource_type: (condition,)}, limit)
        text, args = versions_statement(query, self.context, _RID, limit).numbered()
        return [row["rid"] for row in await self.connection.fetch(text, *args)]

    async def _read(self, resource_type: str, rid: int, build: Callable[[Version], tuple[Any, int]]) -> Any:
        known = self.cache.get((resource_type, rid))
        if known is not None:
            return known
        (version,) = await read.by_rid(self.connection, resource_type, [rid])
        if len(version.content or "") > _LONG:
            found, weight = await asyncio.to_thread(build, version)
        else:
            found, weight = build(version)
        self.cache.put((resource_type, rid), found, weight)
        return found


def _code_system(version: Version) -> tuple[CodeSystem, int]:
    found = CodeSystem(version.resource())
    return found, len(found.concepts) + 1


def _questionnaire(version: Version) -> tuple[Resource, int]:
    return version.resource(), len(version.content or "") // _CODE_CHARS


def _value_set(version: Version) -> tuple[ValueSet, int]:
    found = ValueSet.of(version.resource())
    return found, found.listed + 1


def _preference(head: _Head) -> tuple[int, list[tuple[bool, int, str]], str, int]:
    """Higher for what is used first: by status, then by version, number by number, then by date."""
    status = _STATUSES.index(head.status) if head.status in _STATUSES else -1
    parts = _NUMBERS.findall(head.version or "")
    version = [(part.isdigit(), int(part) if part.isdigit() else 0, part) for part in parts]
    return status, version, head.date or "", head.rid

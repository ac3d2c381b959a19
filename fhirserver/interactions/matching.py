"""Criteria of conditional interactions: what they search for, its locks and its matches.

https://hl7.org/fhir/R4/http.html#ccreate, #cond-update, #3.1.0.7.1, and conditional references in #trules
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from urllib.parse import parse_qsl

from fhirserver.db.pool import Connection
from fhirserver.errors import Invalid, MultipleMatches
from fhirserver.interactions.call import Call, Params
from fhirserver.interactions.searching import context_of, limits_of
from fhirserver.search.compile import versions_statement
from fhirserver.search.parse import parse
from fhirserver.search.query import SearchQuery
from fhirserver.store import write as store
from fhirserver.store.version import COLUMNS, Version

_SHAPING = frozenset({"_format", "_pretty", "_summary", "_elements", "_count", "_sort", "_total"})
"""Parameters about the answer; they decide nothing."""


@dataclass(frozen=True, slots=True)
class Criteria:
    """A search that decides whether something is written. `text` is the same for equal criteria;
    `stripes` are keys of its parts, so criteria that overlap share a lock."""

    query: SearchQuery
    text: str
    stripes: tuple[int, ...]


def criteria(call: Call, resource_type: str, given: str | Params, expression: str | None = None) -> Criteria:
    """The criteria of a query string or of decoded parameters; always strict.

    Raises Invalid when there are none: a condition on nothing would match everything.
    """
    if isinstance(given, str):
        given = tuple(parse_qsl(given.removeprefix("?"), keep_blank_values=True))
    decisive = tuple(sorted((name, value) for name, value in given if name not in _SHAPING))
    if not decisive:
        raise Invalid(f"the criteria for {resource_type} name no search parameter", expression)
    services = call.services
    query = parse(services.registry, limits_of(services), resource_type, decisive)
    return Criteria(
        query,
        "&".join(f"{name}={value}" for name, value in decisive),
        tuple(services.keys.of("criteria", resource_type, name, value) for name, value in decisive),
    )


async def lock_criteria(
    connection: Connection, call: Call, *searched: Criteria, keys: Sequence[int] = ()
) -> None:
    """Hold the stripes of all criteria, and of further `keys`, until the transaction ends."""
    await store.lock_stripes(connection, [key for one in searched for key in one.stripes] + list(keys))


async def matches(connection: Connection, call: Call, searched: Criteria, limit: int) -> list[Version]:
    """Up to `limit` resources that match."""
    text, args = versions_statement(searched.query, context_of(call), COLUMNS, limit).numbered()
    return [Version.of(record) for record in await connection.fetch(text, *args)]


async def one_match(connection: Connection, call: Call, searched: Criteria) -> Version | None:
    """The only match, or None. Raises MultipleMatches (412)."""
    found = await matches(connection, call, searched, 2)
    if len(found) > 1:
        raise MultipleMatches(
            f"the criteria are not selective enough: they match {found[0].path} and {found[1].path}"
        )
    return found[0] if found else None

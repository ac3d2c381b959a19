"""Criteria of conditional interactions: what they search for, its locks and its matches.

https://hl7.org/fhir/R4/http.html#ccreate, #cond-update, #3.1.0.7.1, and conditional references in #trules
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Final

from fhirserver.db.pool import Connection
from fhirserver.errors import FhirError, Invalid, MultipleMatches
from fhirserver.interactions.call import Call, Params, Services
from fhirserver.interactions.definitions import require_current
from fhirserver.interactions.following import followed
from fhirserver.interactions.meaning import understood
from fhirserver.interactions.query import parameters
from fhirserver.interactions.searching import context_of, limits_of
from fhirserver.interactions.spellings import first_spelling, spelled
from fhirserver.params.text import split
from fhirserver.search.compile import versions_statement
from fhirserver.search.parse import RESULT_PARAMS, parse
from fhirserver.search.query import SearchQuery
from fhirserver.search.recheck import holds
from fhirserver.search.snapshot import AS_OF
from fhirserver.store import write as store
from fhirserver.store.definitions import Known
from fhirserver.store.version import COLUMNS, Version

MERGED_MAX: Final = 20
"""Matches that are left out because they were merged into another one, at most."""


@dataclass(frozen=True, slots=True)
class Criteria:
    """A search that decides whether something is written. `text` is the same for equal criteria;
    `stripes` are keys of its parts, so criteria that overlap share a lock. `known` are the definitions that
    have to be in force still when it has been searched, where it may use more than R4's."""

    query: SearchQuery
    text: str
    stripes: tuple[int, ...]
    known: Known | None = None


def criteria(call: Call, resource_type: str, given: str | Params, expression: str | None = None) -> Criteria:
    """The criteria of a query string or of decoded parameters; always strict.

    Raises Invalid when there are none, or one has no value: what a search may leave out would here
    match everything. Errors name `expression`, the element or header that holds the criteria.
    """
    services = call.services
    known = services.definitions.known
    try:
        if isinstance(given, str):
            # The specification's own examples also write the type before the question mark.
            given = parameters(given.removeprefix(resource_type).removeprefix("?"), services.settings)
        if any(name == AS_OF for name, _ in given):
            raise Invalid(f"criteria are of what is current: they take no {AS_OF}")
        decisive = tuple(sorted((name, value) for name, value in given if _decides(name)))
        empty = next((name for name, value in decisive if not all(_alternatives(name, value))), None)
        if empty is not None:
            raise Invalid(f"'{empty}' in the criteria for {resource_type} has no value")
        if not decisive:
            raise Invalid(f"the criteria for {resource_type} name no search parameter")
        query = spelled(parse(known.registry, limits_of(services), resource_type, decisive), known.systems)
    except FhirError as error:
        error.issues = tuple(replace(issue, expression=expression) for issue in error.issues)
        raise
    return Criteria(
        query,
        "&".join(f"{name}={value}" for name, value in decisive),
        tuple(
            services.keys.of("criteria", resource_type, name, first_spelling(value, known.systems))
            for name, value in decisive
        ),
        known if known.concern(decisive) else None,
    )


def _alternatives(name: str, value: str) -> list[str]:
    """The values of a parameter; in a filter a comma is no separator."""
    return [value] if name == "_filter" else split(value, ",")


def require_no_criteria(call: Call) -> None:
    """Raise Invalid for a create whose URL carries criteria: left unread, they would make a duplicate."""
    if any(_decides(name) for name, _ in call.query):
        raise Invalid("criteria of a conditional create stand in If-None-Exist, not in the URL")


def _decides(name: str) -> bool:
    """Whether a parameter says what matches; `_include` and the like only say how results are given."""
    return name.partition(":")[0] not in RESULT_PARAMS


async def lock_criteria(
    connection: Connection, searched: Iterable[Criteria], read: Iterable[Criteria] = ()
) -> None:
    """Hold the stripes of all criteria until the transaction ends: alone those of what is written by
    what they match, together with other readers those of `read`, which are only looked up."""
    await store.lock_stripes(
        connection,
        {stripe for one in searched for stripe in one.stripes},
        {stripe for one in read for stripe in one.stripes},
    )


async def matches(connection: Connection, call: Call, searched: Criteria, limit: int) -> list[Version]:
    """Up to `limit` resources that match. Raises Redefined where what they match is no longer defined so."""
    services, context = call.services, context_of(call)
    moves = services.definitions.known.moves
    # Who deletes what refers to a merged resource does not mean what refers to the other one.
    asked = searched.query if call.interaction == "delete_conditional" else followed(searched.query, moves)
    query = await understood(connection, services, context, asked)
    merged = bool(moves.targets)
    text, args = versions_statement(query, context, COLUMNS, limit + (MERGED_MAX if merged else 0)).numbered()
    found = [Version.of(record) for record in await connection.fetch(text, *args)]
    await require_current(connection, services, searched.known)
    return _standing(
        services,
        [
            version
            for version in found
            if holds(query, services.registry, services.own_bases, version.resource())
        ],
    )[:limit]


def _standing(services: Services, found: list[Version]) -> list[Version]:
    """Without those that were merged into another one that is found as well: it has their identifiers."""
    moves, there = services.definitions.known.moves, {(version.type, version.id) for version in found}
    return [version for version in found if (version.type, moves.of((version.type, version.id))) not in there]


async def one_match(connection: Connection, call: Call, searched: Criteria) -> Version | None:
    """The only match, or None. Raises MultipleMatches (412)."""
    return require_one(await matches(connection, call, searched, 2))


def require_one(found: list[Version]) -> Version | None:
    """The only one found, or None. Raises MultipleMatches (412)."""
    if len(found) > 1:
        raise MultipleMatches(
            f"the criteria are not selective enough: they match {found[0].path} and {found[1].path}"
        )
    return found[0] if found else None

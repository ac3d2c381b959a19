"""The resources that a page includes: https://hl7.org/fhir/R4/search.html#revinclude"""

from __future__ import annotations

from collections.abc import Sequence

from fhirserver.db.pool import Connection
from fhirserver.interactions.call import Call
from fhirserver.interactions.searching import context_of
from fhirserver.search.included import Rounds
from fhirserver.search.query import SearchQuery
from fhirserver.store.version import COLUMNS, Version

INCLUDED_MAX = 10_000
"""Resources that includes add to one page at most; a warning says so when there are more."""


async def included(
    connection: Connection, call: Call, query: SearchQuery, matches: Sequence[Version], snapshot: str | None
) -> tuple[list[Version], list[str]]:
    """What the matches of a page include, and remarks on what was left out.

    `snapshot` is that of the first page: all pages show the same versions. None on the first one.
    """
    if not query.includes or not matches:
        return [], []
    rounds_max = call.services.settings.include_iterate_max
    rounds = Rounds(query.includes, context_of(call, snapshot), INCLUDED_MAX, rounds_max)
    rounds.start(matches)
    found: list[Version] = []
    while (made := rounds.statement(COLUMNS)) is not None:
        text, args = made.numbered()
        found += rounds.take([Version.of(record) for record in await connection.fetch(text, *args)])
    return found, rounds.remarks

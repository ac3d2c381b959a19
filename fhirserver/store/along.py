"""Versions that are written because of something else: AuditEvents and Provenances, many in one statement.

They are new, contain nothing, claim nothing and follow nothing. Whoever calls in a transaction writes them
with it; otherwise the statement commits by itself.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from itertools import groupby
from operator import attrgetter
from pathlib import Path
from typing import Any

import asyncpg

from fhirserver.db.pool import UNREACHABLE, Connection, unavailable
from fhirserver.db.queries import Queries
from fhirserver.db.retry import REFUSED, RETRIED, Outdated
from fhirserver.errors import Unavailable
from fhirserver.observe import log
from fhirserver.store import terms
from fhirserver.store.version import Draft

QUERIES = Queries(Path(__file__).with_name("along.sql"))
_TYPE = attrgetter("type")
_logger: Any = log.get("audit")


async def put(
    connection: Connection, tenant: int, drafts: Sequence[Draft], *, asynchronous: bool = False
) -> None:
    """Write the drafts, all made by the same definitions, with their index rows: a statement for each type.

    `asynchronous`: the statement's own commit does not wait for the disk. Raises Outdated if the definitions
    are no longer in force, Unavailable where it cannot be written.
    """
    if drafts:
        with recording():
            await _put(connection, tenant, drafts, asynchronous)


class Unrecordable(Unavailable):
    """The database does not take the content, now or ever."""


@contextmanager
def recording() -> Iterator[None]:
    """Around statements that record: what the database refuses then is no fault of who asks: Unavailable."""
    try:
        yield
    except (*RETRIED, *UNREACHABLE):
        raise
    except asyncpg.PostgresError as error:
        _logger.error("not_recorded", error=type(error).__name__, reason=str(error))
        known = unavailable("what is done here has to be recorded, and cannot be at the moment")
        kind = Unrecordable if isinstance(error, REFUSED) else Unavailable
        raise kind(issues=known.issues, headers=known.headers) from error


async def _put(connection: Connection, tenant: int, drafts: Sequence[Draft], asynchronous: bool) -> None:
    await terms.add(connection, drafts)
    for type_, group in groupby(sorted(drafts, key=_TYPE), _TYPE):
        of_type = list(group)
        text = QUERIES.on("put", type_)
        written = await connection.fetchval(text, tenant, type_, asynchronous, *_columns(of_type))
        if written != len(of_type):
            raise Outdated


def _columns(drafts: Sequence[Draft]) -> list[Any]:
    """The arguments of `put`: rows by columns; what a row has several of in one array, with the place of its
    row, counted from 1."""
    entries = [draft.entries for draft in drafts]
    compartments = [key for one in entries for key in one.compartments]
    keys = [key for one in entries for key in one.keys]
    numbered = list(enumerate(entries, 1))
    tok = [(key, n) for n, one in numbered for key in one.tok]
    strings = [(key, value, n) for n, one in numbered for key, value in one.str]
    dates = [(key, low, high, n) for n, one in numbered for key, low, high in one.dat]
    quantities = [(key, low, high, n) for n, one in numbered for key, low, high in one.qty]
    words = [(one.words, n) for n, one in numbered if one.words is not None]
    return [
        drafts[0].known,
        [draft.id for draft in drafts],
        [draft.idk for draft in drafts],
        [one.ptk for one in entries],
        [one.ord for one in entries],
        [one.d_lo for one in entries],
        [one.d_hi for one in entries],
        _ends([one.compartments for one in entries]),
        compartments,
        _ends([one.keys for one in entries]),
        keys,
        [draft.meta for draft in drafts],
        [draft.content for draft in drafts],
        *_turned(tok, 2),
        *_turned(strings, 3),
        *_turned(dates, 4),
        *_turned(quantities, 4),
        *_turned(words, 2),
    ]


def _ends(lists: Sequence[Sequence[int]]) -> list[int]:
    """Where each list ends in all of them together."""
    ends, end = [], 0
    for one in lists:
        end += len(one)
        ends.append(end)
    return ends


def _turned(rows: Sequence[tuple[Any, ...]], width: int) -> list[list[Any]]:
    """The columns of rows of a width, of which there may be none."""
    return [list(column) for column in zip(*rows, strict=True)] if rows else [[] for _ in range(width)]

"""Advisory locks of writers, and what it means that one waits too long."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

import asyncpg

from fhirserver.db.pool import unavailable

STRIPES: Final = 1_024
"""Advisory locks in use at most: 200,000 in one transaction would exhaust PostgreSQL's lock table."""

CRITERIA_CLASS: Final = 0x46484952
LINE_CLASS: Final = 0x46484C4E
CLAIM_CLASS: Final = 0x4648434C
MERGE_CLASS: Final = 0x46484D47
JOURNAL_CLASS: Final = 0x46484A4C
"""Kinds of advisory locks. Whoever needs several takes those of the line, or of what is merged, first, then
those of criteria, and those of identifiers when its rows are written.
That of a tenant's journal comes first where others are needed with it."""


@contextmanager
def waiting() -> Iterator[None]:
    """Around statements that name their rows: what takes them long is another writer's lock, so they
    end in Unavailable and not in an error of the client's."""
    try:
        yield
    except asyncpg.QueryCanceledError as error:
        raise unavailable("another writer holds what this request needs; try again") from error

"""Writing the dictionary of texts (`params/wording`): what it lacks, before the rows that need it.

Nothing here waits for another writer: the dictionary has no unique index, and what two write at once is
there twice, which changes no answer. A term counts as known once somebody else's commit, or an earlier
one of this process, has been seen; until then it is looked up with each write.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

from fhirserver.db.pool import Connection
from fhirserver.db.queries import Queries
from fhirserver.params.entries import Term
from fhirserver.store.version import Draft

QUERIES = Queries(Path(__file__).with_name("queries.sql"))


async def add(connection: Connection, drafts: Iterable[Draft]) -> None:
    """Make sure that the dictionary has the terms of what is about to be written."""
    found = (term for draft in drafts for entries in draft.every_entries() for term in entries.terms)
    await put(connection, list(dict.fromkeys(term for term in found if not term.known)))


async def put(connection: Connection, terms: Sequence[Term]) -> None:
    """Write those of the terms that are missing."""
    if not terms:
        return
    committed = await connection.fetch(
        QUERIES["add_terms"],
        [term.key for term in terms],
        [term.val for term in terms],
        [term.text_key for term in terms],
        [term.tok_key for term in terms],
    )
    for record in committed:
        terms[record[0] - 1].known = True

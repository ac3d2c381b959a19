"""What stored documents refer to, read from the documents: the index knows search parameters, not all of it.

https://hl7.org/fhir/R4/references.html#literal
"""

from __future__ import annotations

import json
from functools import lru_cache
from typing import Final

from fhirserver.db.sql import Fragment, join, sql

REFERENCES: Final = sql("'strict $.**.reference'")
"""The JSON path of literal references, wherever they stand."""


@lru_cache(maxsize=8)
def attached(own_bases: tuple[str, ...]) -> str:
    """The JSON path of URLs that lead to a Binary of this server."""
    starts = (json.dumps(f"{start}Binary/") for start in _starts(own_bases))
    return f"strict $.**.url ? ({' || '.join(f'@ starts with {start}' for start in starts)})"


def names_others(content: Fragment, patient: Fragment, own_bases: tuple[str, ...]) -> Fragment:
    """Whether a document names a patient other than `patient`, an expression for `Patient/[id]` or NULL.

    It does by references to those of this server, wherever they stand, and by a Patient in a Bundle.
    """
    variables = [
        sql("{}::text, {}::text || o.path || {}::text", name, start, end)
        for number, start in enumerate(_starts(own_bases))
        for name, end in ((f"is{number}", ""), (f"of{number}", "/"), (f"in{number}", "#"))
    ]
    return sql(
        "(SELECT jsonb_path_exists({}, {}::text::jsonpath,"
        " jsonb_build_object('id', substr(o.path, 9), {})) FROM (SELECT coalesce({}::text, '') AS path) o)",
        *(content, _others(own_bases), join(", ", variables), patient),
    )


@lru_cache(maxsize=8)
def _others(own_bases: tuple[str, ...]) -> str:
    """The JSON path for it. Lax: what has no id is nobody's that is known."""
    tests = [
        f"(@.reference starts with {json.dumps(f'{start}Patient/')} && !(@.reference == $is{number}"
        f" || @.reference starts with $of{number} || @.reference starts with $in{number}))"
        for number, start in enumerate(_starts(own_bases))
    ]
    tests.append('(@.resource.resourceType == "Patient" && !(@.resource.id == $id))')
    return f"lax $.** ? ({' || '.join(tests)})"


def _starts(own_bases: tuple[str, ...]) -> list[str]:
    """What a literal reference to a resource of this server can begin with."""
    return ["", *(f"{base}/" for base in own_bases)]


@lru_cache(maxsize=8)
def relative(own_bases: tuple[str, ...]) -> Fragment:
    """The literal reference `l.literal` without the address of this server."""
    found = sql("l.literal")
    for base in own_bases:
        start = f"{base}/"
        found = sql(
            "CASE WHEN starts_with(l.literal, {}) THEN substr(l.literal, {}) ELSE {} END",
            *(start, len(start) + 1, found),
        )
    return found

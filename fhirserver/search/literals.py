"""What stored documents refer to, read from the documents: the index knows search parameters, not all of it.

https://hl7.org/fhir/R4/references.html#literal
"""

from __future__ import annotations

import json
from functools import lru_cache
from typing import Final

from fhirserver.db.sql import Fragment, sql

REFERENCES: Final = sql("'strict $.**.reference'")
"""The JSON path of literal references, wherever they stand."""


@lru_cache(maxsize=8)
def attached(own_bases: tuple[str, ...]) -> str:
    """The JSON path of URLs that lead to a Binary of this server."""
    return f"strict $.**.url ? ({_leads_to(own_bases, '@', 'Binary/')})"


@lru_cache(maxsize=8)
def naming_patients(own_bases: tuple[str, ...]) -> str:
    """The JSON path of what names a patient: references to one of this server, a Patient within a Bundle."""
    leads = _leads_to(own_bases, "@.reference", "Patient/")
    return f'strict $.** ? ({leads} || @.resource.resourceType == "Patient")'


def _leads_to(own_bases: tuple[str, ...], where: str, path: str) -> str:
    """The JSON path condition that the text at `where` leads to what begins with `path` on this server."""
    starts = (json.dumps(f"{base}{path}") for base in ("", *(f"{base}/" for base in own_bases)))
    return " || ".join(f"{where} starts with {start}" for start in starts)


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

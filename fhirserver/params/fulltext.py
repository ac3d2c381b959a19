"""`_text` and `_content`: words in the narrative of a resource, and in all of it.

https://hl7.org/fhir/R4/search.html#content

The table `words` holds one document for each version: its words with their places, those of the narrative
marked, and a word for tenant and type, a second one where there is a narrative, so that the index finds
the rows of one type and passes over what has no narrative. Between two texts a place stays empty: no phrase
begins in one and ends in the other.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import lru_cache
from typing import Final, Literal

from fhirserver.db.sql import FALSE, sql
from fhirserver.fhir.structure import Resource, supertypes
from fhirserver.params import words
from fhirserver.params.condition import Condition, Rank, Rids, Scope, exists, indexed
from fhirserver.params.registry import Registry
from fhirserver.params.textquery import TextQuery, tsquery

Mode = Literal["none", "narrative", "content"]
"""The setting `full_text`: which of the two parameters there are."""

NARRATIVE: Final = "_text"
CONTENT: Final = "_content"
CODES: Final = frozenset({NARRATIVE, CONTENT})

_MARK: Final = "A"
_PLACE_MAX: Final = 16_383
_PLACES_OF_WORD_MAX: Final = 255
_DOCUMENT_BYTES_MAX: Final = 900_000
"""PostgreSQL takes 1 MiB. What comes later in a text with so many different words is not found by them."""
_REMEMBERED_LENGTH_MAX: Final = 200


def offered(registry: Registry, mode: Mode) -> Registry:
    """The registry without the parameters that the setting turns off."""
    off = {"none": CODES, "narrative": frozenset({CONTENT}), "content": frozenset[str]()}[mode]
    return Registry(param for param in registry.params if param.code not in off) if off else registry


def mode_of(registry: Registry) -> Mode:
    """What has to be written for the parameters that there are."""
    if registry.get("Resource", CONTENT) is not None:
        return "content"
    return "none" if registry.get("DomainResource", NARRATIVE) is None else "narrative"


def has_narrative(resource_type: str) -> bool:
    """https://hl7.org/fhir/R4/domainresource.html"""
    return "DomainResource" in supertypes(resource_type)


# -- writing


def document(tenant: int, resource_type: str, resource: Resource, mode: Mode) -> str | None:
    """The resource as PostgreSQL reads a tsvector; None where there is nothing to be found by."""
    told = words.narrative(resource) if mode != "none" else None
    said = words.strings(resource_type, resource) if mode == "content" else []
    if told is None and not said:
        return None
    found = _Document()
    if told is not None:
        found.add(words.words(told), _MARK)
    # The store does not keep the order of elements; the document is the same when it is made again.
    for text in sorted(said):
        found.add(_remembered(text) if len(text) <= _REMEMBERED_LENGTH_MAX else words.words(text), "")
    if not found.places:
        return None
    codes = (CONTENT,) if told is None else (CONTENT, NARRATIVE)
    kinds = (f"'{_kind(tenant, resource_type, code)}'" for code in codes)
    return f"{' '.join(kinds)} {found}"


@lru_cache(maxsize=16_384)
def _remembered(text: str) -> tuple[str, ...]:
    return tuple(words.words(text))


def _kind(tenant: int, resource_type: str, code: str) -> str:
    """The word of all documents of a type, or of those with a narrative; no word of a text begins so."""
    return f"/{tenant}/{resource_type}/{code}"


class _Document:
    """Words and the places where they stand, within what PostgreSQL takes."""

    def __init__(self) -> None:
        self.places: dict[str, list[str]] = {}
        self._next = 1
        self._room = _DOCUMENT_BYTES_MAX

    def add(self, text: Iterable[str], mark: str) -> None:
        places = self.places
        at = self._next
        for word in text:
            known = places.get(word)
            place = f"{at if at < _PLACE_MAX else _PLACE_MAX}{mark}"
            if known is None:
                self._room -= len(word.encode()) + 6
                if self._room < 0:
                    break
                places[word] = [place]
            elif at < _PLACE_MAX and len(known) < _PLACES_OF_WORD_MAX:
                known.append(place)
            at += 1
        self._next = at + 1

    def __str__(self) -> str:
        return " ".join(f"'{word}':{','.join(places)}" for word, places in self.places.items())


# -- searching


def compile(scope: Scope, code: str, queries: Sequence[TextQuery]) -> Condition:
    """The condition of one clause; its queries are alternatives."""
    if code == NARRATIVE and not has_narrative(scope.resource_type):
        return Condition(FALSE)
    mark = _MARK if code == NARRATIVE else ""
    wanted = " | ".join(f"({tsquery(query, mark)})" for query in queries)
    asked = f"'{_kind(scope.keys.tenant, scope.resource_type, code)}' & ({wanted})"
    rids = sql("SELECT x.rid FROM words x WHERE x.document @@ {}::text::tsquery", asked)
    return indexed(
        scope.alias,
        lambda rid: exists(
            sql("FROM words x WHERE x.rid = {} AND x.document @@ {}::text::tsquery", rid, asked)
        ),
        (Rids(rids, once=True),),
        Rank.STRING,
    )

"""Invariants: the constraints of every type and element, each stated once.

https://hl7.org/fhir/R4/conformance-rules.html#constraints. A snapshot repeats on every element what its
type already demands (``ele-1`` alone some 6,700 times), naming the type as source; such repetitions are
left out: who checks an element applies the rows of its path and those of its type and supertypes.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from .structures import PREFIX

Json = dict[str, Any]
Row = list[str]


def invariants(definitions: Iterable[Json], table: Mapping[str, Json]) -> list[Row]:
    """Rows ``[path, key, severity, expression]``, in the order of the structure table."""
    by_url = {d["url"]: d for d in definitions}
    return [row for name in table if (found := by_url.get(PREFIX + name)) for row in _rows(found, by_url)]


def _rows(definition: Json, by_url: Mapping[str, Json]) -> Iterator[Row]:
    """The definition's own constraints, and on each element those of the profiles its type must meet."""
    root, *elements = definition["snapshot"]["element"]
    yield from _own(root, root["path"], {None, definition["url"]})
    for element in elements:
        path = element["path"].removesuffix("[x]")
        yield from _own(element, path, {None})
        for url in (p for t in element.get("type", []) for p in t.get("profile", [])):
            yield from _own(by_url[url]["snapshot"]["element"][0], path, {None, url})


def _own(element: Json, path: str, sources: set[str | None]) -> Iterator[Row]:
    for constraint in element.get("constraint", []):
        if constraint.get("source") in sources and "expression" in constraint:
            yield [path, constraint["key"], constraint["severity"], constraint["expression"]]

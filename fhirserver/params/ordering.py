"""What tokens, references and URIs are sorted by: https://hl7.org/fhir/R4/search.html#sort

The specification does not say. Here it is a coding's code (a concept's text where nothing is coded), an
identifier's value, and what a reference or URI is written as, character by character. The values come
from the document, by the paths of the parameter. Where those are no mere paths, as of Patient.deceased,
the values are in `str` under a key of their own.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from functools import lru_cache
from typing import Any, Final

from fhirserver.fhir.fhirpath.routes import Route
from fhirserver.fhir.fhirpath.tree import Binary, Call, Expr, Literal, Member, TypeTest
from fhirserver.fhir.fhirpath.types import type_name
from fhirserver.fhir.keys import Keys
from fhirserver.params.entries import Entries, Indexer, Node
from fhirserver.params.facts import INLINE, routes_of
from fhirserver.params.registry import SearchParam

LENGTH_MAX: Final = 128
"""Characters that count; a page link carries them."""

_TYPES: Final = frozenset({"token", "reference", "uri"})
_MEMBERS: Final[dict[str, tuple[tuple[str, ...], ...]]] = {
    "CodeableConcept": (("coding", "code"), ("text",)),
    "Coding": (("code",), ("display",)),
    "Identifier": (("value",),),
    "ContactPoint": (("value",),),
    "Reference": (("reference",), ("identifier", "value"), ("display",)),
}
"""Where the text is within a value of a type; the first that is there."""

Way = tuple[str, str, tuple[tuple[str, ...], ...]]
"""The column that holds the document (`content` or `meta`), the JSON path to the values, and where the
text is within each of them: the first that is there."""


@lru_cache(maxsize=8_192)
def paths(param: SearchParam, resource_type: str) -> tuple[Way, ...] | None:
    """Where in a stored resource the values are; None when no JSON path says it."""
    found: list[Way] = []
    for route in routes_of(param, resource_type) or ():
        steps = _steps(route)
        if steps is None:
            return None
        column = "meta" if route[0].key == "meta" else "content"
        found.append((column, steps, _MEMBERS.get(route[-1].type, ((),))))
    return tuple(dict.fromkeys(found)) or None


def _steps(route: Route) -> str | None:
    """The route as a lax JSON path to each value, from the definitions alone."""
    if not route:
        return None
    path = "$"
    for hop in route[1:] if route[0].key == "meta" else route:
        path += f'."{hop.key}"'
        for criterion in hop.criteria:
            test = _filter(criterion)
            if test is None:
                return None
            path += f" ? ({test})"
    return path + "[*]"


def _filter(criterion: Expr) -> str | None:
    """`where(resolve() is Patient)` and `where(system = 'email')` as filters of a JSON path."""
    match criterion:
        case TypeTest("is", Call(None, "resolve", ()), specifier):
            return f'@."reference" like_regex "(^|/){type_name(specifier)}/"'
        case Binary("=", Member(None, name), Literal(str(text), "String")):
            return f'@."{name}" == {json.dumps(text)}'
        case _:
            return None


# -- what no path finds


def is_stored(param: SearchParam, resource_type: str) -> bool:
    """Whether the values to sort by have rows in `str`. Part of the stored format."""
    if param.type not in _TYPES or param.expression is None or (resource_type, param.code) in INLINE:
        return False
    return paths(param, resource_type) is None


def key_of(keys: Keys, resource_type: str, code: str) -> int:
    """The key of those rows."""
    return keys.of("sort", resource_type, code)


def indexer(keys: Keys, resource_type: str, code: str, further: Indexer | None) -> Indexer:
    """Writes them, after what else there is to be written of the parameter."""
    key = key_of(keys, resource_type, code)

    def index(nodes: Sequence[Node], entries: Entries) -> None:
        if further is not None:
            further(nodes, entries)
        entries.str.extend((key, text[:LENGTH_MAX]) for node in nodes for text in texts(node))

    return index


def texts(node: Node) -> list[str]:
    """What a value is sorted by, as `paths` finds it."""
    for tail in _MEMBERS.get(node.type, ((),)):
        found = [_text(value) for value in _within(node.value, tail)]
        if found:
            return found
    return []


def _within(value: Any, tail: Sequence[str]) -> Iterator[Any]:
    if isinstance(value, list):
        for item in value:
            yield from _within(item, tail)
    elif not tail:
        yield value
    elif isinstance(value, dict) and tail[0] in value:
        yield from _within(value[tail[0]], tail[1:])


def _text(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    return str(value).replace("\x00", "")

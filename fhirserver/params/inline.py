"""Resources within a resource, whose contents chained parameters search: `Bundle?composition.date=...`

https://hl7.org/fhir/R4/bundle.html#search: the first entry of a document or message. What there is to
find in it is written with the Bundle's row, under keys of its own (`Keys.inside`). The row's columns are
about the Bundle alone, so that dates, patients and presence, which others have there, are keys and rows
of index tables here.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from fhirserver.fhir.keys import Keys
from fhirserver.params import presence
from fhirserver.params.entries import Entries
from fhirserver.params.extract import Found, extractor
from fhirserver.params.facts import INLINE
from fhirserver.params.registry import Registry, SearchParam

Run = Callable[[Sequence[Any], Entries], None]
"""Writes the values of one parameter."""
Writer = Callable[[Found, Entries], None]


def place(resource_type: str, code: str) -> str:
    """The name of where a parameter finds a resource, for `Keys.inside`."""
    return f"{resource_type}.{code}"


def writer(
    registry: Registry,
    keys: Keys,
    resource_type: str,
    make: Callable[[SearchParam, Keys, str], Run | None],
) -> Writer | None:
    """What writes the contents of the resources within one of the type; None where there are none.

    `make` gives what writes a parameter of a type under some keys. From what was found the writer takes
    those resources that are not of the parameter's type.
    """
    inner = {code: type_ for (of, code), type_ in INLINE.items() if of == resource_type}
    writers = {
        code: _contents(registry, keys.inside(place(resource_type, code)), t, make)
        for code, t in inner.items()
    }

    def write(found: Found, entries: Entries) -> None:
        for code, type_ in inner.items():
            nodes = [node for node in found.pop(code, ()) if node.value.get("resourceType") == type_]
            if nodes:
                found[code] = nodes
                writers[code](nodes[0].value, entries)

    return write if inner else None


def _contents(
    registry: Registry, keys: Keys, type_: str, make: Callable[[SearchParam, Keys, str], Run | None]
) -> Callable[[dict[str, Any], Entries], None]:
    extract = extractor(registry, type_)
    steps = {
        code: (presence.key_of(keys, type_, code), make(param, keys, type_))
        for code, param in registry.for_type(type_).items()
    }

    def write(resource: dict[str, Any], entries: Entries) -> None:
        word = entries.word
        for code, nodes in extract(resource).items():
            key, run = steps[code]
            entries.keys.append(key)
            if run is not None:
                run(nodes, entries)
        entries.word = word  # its bits stand for values of the row's own resource

    return write

"""URI parameters: equal, character by character, or a canonical URL with its version.

https://hl7.org/fhir/R4/search.html#uri
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from fhirserver.errors import Invalid
from fhirserver.fhir.keys import Keys
from fhirserver.params import hot, word
from fhirserver.params import text as syntax
from fhirserver.params.condition import Condition, Rank, Scope, Tokens, has_keys, unsupported_modifier
from fhirserver.params.entries import Entries, Indexer, Node

MODIFIERS: Final = ("missing",)


@dataclass(frozen=True, slots=True)
class UriValue:
    """The URI as asked."""

    uri: str


def parse(text: str) -> UriValue:
    """A search value. Raises Invalid when empty."""
    value = syntax.unescape(text)
    if not value:
        raise Invalid("a URI to search for must not be empty")
    return UriValue(value)


def key_of(keys: Keys, resource_type: str, code: str, uri: str) -> int:
    """The key of one value."""
    return keys.of("uri", resource_type, code, uri)


def indexer(keys: Keys, resource_type: str, code: str) -> Indexer:
    """Writes what `compile` asks for. A canonical with a version is found without it, too."""

    def index(nodes: Sequence[Node], entries: Entries) -> None:
        for node in nodes:
            if not isinstance(node.value, str):
                continue
            forms = {node.value, node.value.partition("|")[0]} if node.type == "canonical" else (node.value,)
            for uri in forms:
                key = key_of(keys, resource_type, code, uri)
                entries.keys.append(key)
                if not hot.is_hot_uri(code, uri):
                    entries.tok.append(key)

    return index


def put_version(
    keys: Keys,
    resource_type: str,
    code: str,
    urls: Sequence[Node],
    versions: Sequence[Node],
    entries: Entries,
) -> None:
    """What finds a resource by its canonical URL with its version, `url|version`.

    https://hl7.org/fhir/R4/references.html#canonical
    """
    for url in urls:
        for version in versions:
            key = key_of(keys, resource_type, code, f"{url.value}|{version.value}")
            entries.keys.append(key)
            entries.tok.append(key)


def compile(scope: Scope, code: str, modifier: str | None, values: Sequence[UriValue]) -> Condition:
    """The condition of one clause; its values are alternatives."""
    if modifier is not None:
        raise unsupported_modifier(code, modifier, MODIFIERS)
    wanted = [key_of(scope.keys, scope.resource_type, code, value.uri) for value in values]
    filter_ = has_keys(scope.alias, wanted)
    if any(hot.is_hot_uri(code, value.uri) for value in values):
        present = word.present_bit(scope.resource_type, code)
        return Condition(filter_, words=(word.Bits(present),) if present else ())
    return Condition(filter_, (Tokens(tuple(wanted)),), Rank.URI)

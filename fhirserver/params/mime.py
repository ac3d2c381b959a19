"""`:below` and `:above` of MIME types: with or without their parameters, such as the charset.

https://hl7.org/fhir/R4/search.html#mimetype
"""

from __future__ import annotations

from collections.abc import Sequence

from fhirserver.db.sql import or_
from fhirserver.fhir.keys import Keys
from fhirserver.params.condition import Condition, Rank, Scope, has_keys, under_keys
from fhirserver.params.entries import Entries, Indexer, Node
from fhirserver.params.token import TokenValue
from fhirserver.params.token import compile as compile_token


def base(mime_type: str) -> str:
    """Type and subtype without parameters, folded."""
    return mime_type.partition(";")[0].strip().casefold()


def key_of(keys: Keys, resource_type: str, code: str, base_: str) -> int:
    """The key of MIME types that have parameters."""
    return keys.of("mime", resource_type, code, base_)


def indexer(keys: Keys, resource_type: str, code: str, plain: Indexer) -> Indexer:
    """What a token parameter writes, and beside it the types without their parameters."""

    def index(nodes: Sequence[Node], entries: Entries) -> None:
        plain(nodes, entries)
        for node in nodes:
            if isinstance(node.value, str) and ";" in node.value:
                key = key_of(keys, resource_type, code, base(node.value))
                entries.keys.append(key)
                entries.tok.append(key)

    return index


def is_below(mime_type: str, asked: str) -> bool:
    """Whether a type is the one asked for, or that one with parameters."""
    return mime_type.casefold() == asked.casefold() or base(mime_type) == asked.casefold()


def compile(
    scope: Scope, code: str, modifier: str, values: Sequence[TokenValue], types: frozenset[str]
) -> Condition:
    """`:below` finds a type with any parameters or none, `:above` itself and its type without them."""
    codes = [value.code for value in values if value.code is not None]
    if modifier == "above":
        both = dict.fromkeys(name for code_ in codes for name in (code_, base(code_)))
        return compile_token(scope, code, None, [TokenValue(None, name) for name in both], types)
    itself = compile_token(scope, code, None, [TokenValue(None, code_) for code_ in codes], types)
    keys = [key_of(scope.keys, scope.resource_type, code, code_.casefold()) for code_ in dict.fromkeys(codes)]
    filter_ = or_(itself.filter, has_keys(scope.alias, keys))
    drivers = (*itself.drivers, under_keys(keys)) if itself.drivers else ()
    return Condition(filter_, drivers, Rank.TOKEN)

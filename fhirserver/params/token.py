"""Token parameters: codes and identifiers with or without their system, and `:not`.

https://hl7.org/fhir/R4/search.html#token

A code has up to three keys in its row: code, system and code, system. `tok` holds the first alone,
and only where it narrows (see `hot`); the others are checked on the row. Codes compare whatever their
case, as R4 asks for when a system does not say; identifiers, ids and URIs as they are written.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from fhirserver.db.sql import not_
from fhirserver.errors import Invalid
from fhirserver.fhir.keys import Keys
from fhirserver.params import hot, spelling
from fhirserver.params import text as syntax
from fhirserver.params.condition import Condition, Rank, Scope, Tokens, has_keys, unsupported_modifier
from fhirserver.params.entries import Entries, Indexer, Node

MODIFIERS: Final = ("not", "missing")
EXACT_TYPES: Final = frozenset({"Identifier", "id", "uri"})
"""Types of values whose case counts."""

FOLDED_SPACE: Final = "tok"
EXACT_SPACE: Final = "tok="
_CACHE_MAX: Final = 4_096


@dataclass(frozen=True, slots=True)
class TokenValue:
    """`code` (system None), `system|code`, `|code` (system ""), `system|` (code None)."""

    system: str | None
    code: str | None


def parse(text: str) -> TokenValue:
    """A search value. Raises Invalid when neither a system nor a code is there."""
    parts = [syntax.unescape(part) for part in syntax.split(text, "|")]
    match parts:
        case [code] if code:
            return TokenValue(None, code)
        case [system, ""] if system:
            return TokenValue(system, None)
        case [system, code] if code:
            return TokenValue(system, code)
        case _:
            raise Invalid(f"'{text}' is not code, system|code, |code or system|{spelling.of_token(text)}")


Pair = tuple[str | None, str | None]
"""System and code of a value, either of them absent."""


def pairs(value: Any, type_: str, systems: Mapping[str, str]) -> Sequence[Pair]:
    """The systems and codes of a node; `systems` are those that a code element's value set implies."""
    match type_:
        case "CodeableConcept":
            return [(coding.get("system"), coding.get("code")) for coding in value.get("coding", ())]
        case "code":
            return [(systems.get(value), value)]
        case "Coding":
            return [(value.get("system"), value.get("code"))]
        case "Identifier":
            return [(value.get("system"), value.get("value"))]
        case "ContactPoint":
            return [(None, value.get("value"))]
        case _ if isinstance(value, bool):
            return [(None, "true" if value else "false")]
        case _:
            return [(None, value)] if isinstance(value, str) else ()


def key_of(keys: Keys, space: str, resource_type: str, code: str, value: TokenValue) -> int:
    """The key that finds a value as asked; the code must be folded already where case does not count."""
    if value.system is None:
        assert value.code is not None
        return keys.of(space, resource_type, code, value.code)
    if value.code is None:
        return keys.of(space, resource_type, code, value.system, "|")
    return keys.of(space, resource_type, code, value.system, "|", value.code)


def row_keys(keys: Keys, space: str, resource_type: str, code: str, pair: Pair) -> tuple[int, ...]:
    """All keys under which a system and code are found, the bare code's first."""
    system, value = pair
    found: list[int] = []
    if value:
        found.append(key_of(keys, space, resource_type, code, TokenValue(None, value)))
        found.append(key_of(keys, space, resource_type, code, TokenValue(system or "", value)))
    if system:
        found.append(key_of(keys, space, resource_type, code, TokenValue(system, None)))
    return tuple(found)


def indexer(keys: Keys, resource_type: str, code: str, systems: Mapping[str, str]) -> Indexer:
    """Writes what `compile` asks for."""
    common = hot.hot_codes(resource_type, code)
    known: dict[Pair, tuple[tuple[int, ...], int | None]] = {}

    def folded(pair: Pair) -> tuple[tuple[int, ...], int | None]:
        system, value = pair
        value = value.casefold() if value else None
        found = row_keys(keys, FOLDED_SPACE, resource_type, code, (system, value))
        if len(known) >= _CACHE_MAX:
            known.clear()
        known[pair] = found, found[0] if value and value not in common else None
        return known[pair]

    def index(nodes: Sequence[Node], entries: Entries) -> None:
        for value, type_ in nodes:
            if type_ in EXACT_TYPES:
                put_exact(keys, resource_type, code, pairs(value, type_, systems), entries)
                continue
            for pair in pairs(value, type_, systems):
                found, selective = known.get(pair) or folded(pair)
                entries.keys.extend(found)
                if selective is not None:
                    entries.tok.append(selective)

    return index


def put_exact(keys: Keys, resource_type: str, code: str, found: Iterable[Pair], entries: Entries) -> None:
    """The keys of identifiers and the like, which hardly ever repeat."""
    for pair in found:
        of = row_keys(keys, EXACT_SPACE, resource_type, code, pair)
        entries.keys.extend(of)
        if pair[1]:
            entries.tok.append(of[0])


def _forms(value: TokenValue, types: frozenset[str]) -> list[tuple[str, TokenValue]]:
    """The spaces in which a value is looked up: what the parameter's values can be decides."""
    forms: list[tuple[str, TokenValue]] = []
    if types & EXACT_TYPES:
        forms.append((EXACT_SPACE, value))
    if not types or types - EXACT_TYPES:
        folded = TokenValue(value.system, None if value.code is None else value.code.casefold())
        forms.append((FOLDED_SPACE, folded))
    return forms


def compile(
    scope: Scope, code: str, modifier: str | None, values: Sequence[TokenValue], types: frozenset[str]
) -> Condition:
    """The condition of one clause; its values are alternatives. `types` are those of the values.

    `:not` holds where no value matches, and where there is none.
    """
    forms = [form for value in values for form in _forms(value, types)]
    wanted = [key_of(scope.keys, space, scope.resource_type, code, value) for space, value in forms]
    filter_ = has_keys(scope.alias, list(dict.fromkeys(wanted)))
    if modifier == "not":
        return Condition(not_(filter_))
    if modifier is not None:
        raise unsupported_modifier(code, modifier, MODIFIERS)
    common = hot.hot_codes(scope.resource_type, code)
    if any(v.code is None or (space == FOLDED_SPACE and v.code in common) for space, v in forms):
        return Condition(filter_)
    drivers = dict.fromkeys(
        key_of(scope.keys, space, scope.resource_type, code, TokenValue(None, v.code)) for space, v in forms
    )
    rank = Rank.IDENTIFIER if types == {"Identifier"} else Rank.TOKEN
    return Condition(filter_, (Tokens(tuple(drivers)),), rank)

"""Token parameters: codes and identifiers with or without their system, and their modifiers.

https://hl7.org/fhir/R4/search.html#token

What `:in`, `:not-in`, `:above` and `:below` stand for, definitions say: before a search is compiled
they become plain codes, `:not-in` by `:not`. A code has up to three keys in its row: code, system and
code, system. `tok` holds the first and the last, and only where they narrow (see `hot`); the other is
checked on the row. Codes compare whatever their case, as R4 asks for when a system does not say;
identifiers, ids and URIs as they are written.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import reduce
from operator import or_
from typing import Any, Final, NamedTuple, TypeVar

from fhirserver.db.sql import not_
from fhirserver.errors import Invalid
from fhirserver.fhir.keys import Keys
from fhirserver.params import every, hot, spelling, word, wording
from fhirserver.params import text as syntax
from fhirserver.params.condition import (
    Condition,
    Rank,
    Scope,
    has_keys,
    under_keys,
    unsupported_modifier,
)
from fhirserver.params.entries import Entries, Indexer, Node, Term

MODIFIERS: Final = ("not", "text", "in", "not-in", "above", "below", "of-type", "missing")
COMPARISONS: Final = ("eq", "ne")
"""What `_filter` compares by: whatever the case, even that of identifiers."""
EXACT_TYPES: Final = frozenset({"Identifier", "id", "uri"})
"""Types of values whose case counts."""

FOLDED_SPACE: Final = "tok"
EXACT_SPACE: Final = "tok="
CASELESS_SPACE: Final = "tok~"
"""Where `_filter` finds, folded, those values whose case counts elsewhere."""
_CACHE_MAX: Final = 4_096


@dataclass(frozen=True, slots=True)
class TokenValue:
    """`code` (system None), `system|code`, `|code` (system ""), `system|` (code None)."""

    system: str | None
    code: str | None


@dataclass(frozen=True, slots=True)
class ValueSetValue:
    """What names a value set: its canonical URL, perhaps with a version, or where it is, `ValueSet/id`."""

    reference: str


@dataclass(frozen=True, slots=True)
class TypedValue:
    """An identifier by its type, not its system; `system` and `code` are those of the type."""

    system: str
    code: str
    value: str


def parse_value_set(text: str) -> ValueSetValue:
    """A value of `:in` and `:not-in`. Raises Invalid when it can name no value set."""
    value = syntax.unescape(text)
    if not any(mark in value for mark in "/:"):
        raise Invalid(f"'{text}' is neither the URL of a value set nor ValueSet/[id]")
    return ValueSetValue(value)


def parse_concept(text: str) -> TokenValue:
    """A value of `:above` and `:below`. Raises Invalid for a system without a code."""
    value = parse(text)
    if value.code is None or value.system == "":
        raise Invalid(f"'{text}' is not a concept: :above and :below take system|code")
    return value


def parse_typed(text: str) -> TypedValue:
    """A value of `:of-type`. Raises Invalid unless all three parts are there."""
    parts = [syntax.unescape(part) for part in syntax.split(text, "|")]
    if len(parts) != 3 or not all(parts):
        raise Invalid(f"'{text}' is not system|code|value, the first two of the type of the identifier")
    return TypedValue(*parts)


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


def type_key(keys: Keys, resource_type: str, code: str, value: TypedValue) -> int:
    """The key of an identifier under one of its types, whose case does not count."""
    return keys.of(
        "tok:type", resource_type, code, value.system, "|", value.code.casefold(), "|", value.value
    )


def types_of(identifier: Mapping[str, Any]) -> Iterator[TypedValue]:
    """What `:of-type` finds an identifier by."""
    value: str = identifier.get("value", "")
    for coding in identifier.get("type", {}).get("coding", ()) if value else ():
        system, code = coding.get("system"), coding.get("code")
        if system and code:
            yield TypedValue(system, code, value)


_T = TypeVar("_T")


class _Found(NamedTuple):
    """What a row and the dictionary hold of one value; `codes` are the keys of its codes alone, `bits` are
    those of the word."""

    keys: tuple[int, ...]
    tok: tuple[int, ...]
    terms: tuple[Term, ...]
    codes: frozenset[int]
    bits: int


def indexer(keys: Keys, resource_type: str, code: str, systems: Mapping[str, str]) -> Indexer:
    """Writes what `compile` and `wording.compile` ask for."""
    name = wording.namer(keys, resource_type, code)
    find = _finder(keys, resource_type, code, systems, name)
    known: dict[object, _Found] = {}

    def of(value: Any, type_: str) -> _Found:
        mark = _mark(value, type_)
        found = known.get(mark)
        if found is None:
            found = find(value, type_)
            if len(known) >= _CACHE_MAX:
                known.clear()
            known[mark] = found
        return found

    def item(node: Node) -> frozenset[int]:
        if node.type not in EXACT_TYPES:
            return of(node.value, node.type).codes
        return frozenset(_folded_keys(keys, resource_type, code, pairs(node.value, node.type, systems)))

    def index(nodes: Sequence[Node], entries: Entries) -> None:
        for value, type_ in nodes:
            if type_ in EXACT_TYPES:
                exact = pairs(value, type_, systems)
                put_exact(keys, resource_type, code, exact, entries)
                put_folded(keys, resource_type, code, exact, entries)
                if type_ == "Identifier" and "type" in value:
                    _put_typed(keys, resource_type, code, value, entries)
                    _put_named(name, value, entries)
                continue
            found = of(value, type_)
            entries.keys.extend(found.keys)
            entries.tok.extend(found.tok)
            entries.terms.extend(term for term in found.terms if not term.known)
            entries.word |= found.bits
        if len(nodes) > 1:
            every.put(keys, resource_type, code, map(item, nodes), entries)

    return index


def _mark(value: Any, type_: str) -> object:
    """Equal for values of which the same is found."""
    if type_ == "CodeableConcept":
        coding = [(c.get("system"), c.get("code"), c.get("display")) for c in value.get("coding", ())]
        return (value.get("text"), *coding)
    if type_ == "Coding":
        return value.get("system"), value.get("code"), value.get("display")
    one = value.get("value") if type_ == "ContactPoint" else value
    return type_, one if isinstance(one, (str, bool)) else None


def _finder(
    keys: Keys, resource_type: str, code: str, systems: Mapping[str, str], name: wording.Name
) -> Callable[[Any, str], _Found]:
    common = hot.hot_codes(resource_type, code)

    def selective(pair: Pair) -> int | None:
        folded = pair[1].casefold() if pair[1] else ""
        return keys.of(FOLDED_SPACE, resource_type, code, folded) if folded and folded not in common else None

    def selective_system(system: str | None) -> int | None:
        if not system or hot.is_hot_system(resource_type, code, system):
            return None
        return key_of(keys, FOLDED_SPACE, resource_type, code, TokenValue(system, None))

    def find(value: Any, type_: str) -> _Found:
        coded = pairs(value, type_, systems)
        codes = list(_folded_keys(keys, resource_type, code, coded))
        narrow = [key for pair in coded if (key := selective(pair)) is not None]
        whole = [key for system, _ in coded if (key := selective_system(system)) is not None]
        found = Entries(keys=list(codes), tok=[*narrow, *whole])
        leading = narrow[0] if narrow else None
        for text, coding in wording.texts(value, type_):
            own = selective((None, coding.get("code"))) if coding is not None else None
            wording.put(name(text, leading if own is None else own), found)
        lists = _distinct(found.keys), _distinct(found.tok), _distinct(found.terms)
        return _Found(*lists, frozenset(codes), _bits(resource_type, code, coded))

    return find


def _folded_keys(keys: Keys, resource_type: str, code: str, found: Iterable[Pair]) -> Iterator[int]:
    for system, value in found:
        yield from row_keys(keys, FOLDED_SPACE, resource_type, code, (system, value and value.casefold()))


def _bits(resource_type: str, code: str, found: Iterable[Pair]) -> int:
    """The bits of the word that stand for what is hot among them."""
    bits = 0
    for system, value in found:
        bits |= word.value_bit(resource_type, code, value.casefold()) if value else 0
        bits |= word.value_bit(resource_type, code, f"{system}|") if system else 0
    return bits


def _distinct(values: Iterable[_T]) -> tuple[_T, ...]:
    return tuple(dict.fromkeys(values))


def _put_typed(keys: Keys, resource_type: str, code: str, value: Any, entries: Entries) -> None:
    """What `:of-type` finds an identifier by."""
    for typed in types_of(value):
        key = type_key(keys, resource_type, code, typed)
        entries.keys.append(key)
        entries.tok.append(key)


def _put_named(name: wording.Name, value: Any, entries: Entries) -> None:
    """The text of an identifier's type. Its values hardly ever repeat, so the text leads to them itself."""
    for text, _ in wording.texts(value, "Identifier"):
        wording.put(name(text, None), entries)


def put_exact(keys: Keys, resource_type: str, code: str, found: Iterable[Pair], entries: Entries) -> None:
    """The keys of identifiers and the like, which hardly ever repeat, and of their systems."""
    for pair in found:
        of = row_keys(keys, EXACT_SPACE, resource_type, code, pair)
        entries.keys.extend(of)
        if pair[1]:
            entries.tok.append(of[0])
        if pair[0]:
            entries.tok.append(of[-1])


def put_folded(keys: Keys, resource_type: str, code: str, found: Iterable[Pair], entries: Entries) -> None:
    """The further keys by which `_filter` finds what is written with capitals, whatever their case."""
    for system, value in found:
        if value and value != value.casefold():
            first, second = row_keys(keys, CASELESS_SPACE, resource_type, code, (system, value.casefold()))[
                :2
            ]
            entries.keys.extend((first, second))
            entries.tok.append(first)


def is_exact(types: frozenset[str]) -> bool:
    """Whether values of these types, or of types unknown, can be such that their case counts."""
    return not types or not EXACT_TYPES.isdisjoint(types)


Form = tuple[str, TokenValue]
"""A space of keys, and a value as it is looked up there."""


def _forms(value: TokenValue, types: frozenset[str]) -> list[Form]:
    """The spaces in which a value is looked up: what the parameter's values can be decides."""
    forms: list[Form] = []
    if is_exact(types):
        forms.append((EXACT_SPACE, value))
    if not types or types - EXACT_TYPES:
        forms.append((FOLDED_SPACE, _folded(value)))
    return forms


def _folded(value: TokenValue) -> TokenValue:
    return TokenValue(value.system, None if value.code is None else value.code.casefold())


def compile(
    scope: Scope, code: str, modifier: str | None, values: Sequence[TokenValue], types: frozenset[str]
) -> Condition:
    """The condition of one clause; its values are alternatives. `types` are those of the values.

    `:not` holds where no value matches, and where there is none.
    """
    if modifier in COMPARISONS:
        values = [_folded(value) for value in values]
        spaces = (EXACT_SPACE, CASELESS_SPACE, FOLDED_SPACE) if is_exact(types) else (FOLDED_SPACE,)
        forms = [(space, value) for value in values for space in spaces]
    else:
        forms = [form for value in values for form in _forms(value, types)]
    wanted = [key_of(scope.keys, space, scope.resource_type, code, value) for space, value in forms]
    filter_ = has_keys(scope.alias, list(dict.fromkeys(wanted)))
    bits = [_bit(scope.resource_type, code, form) for form in forms]
    mask = reduce(or_, bits, 0) if all(bits) else 0
    plain = all(value.system is None for _, value in forms)
    if mask and plain and scope.has_word:
        # The bit says the same as the key.
        filter_ = word.Bits(mask).test(word.of_row(scope.alias))
    if modifier == "not":
        return Condition(not_(filter_), words=scope.words(mask, absent=True) if plain else ())
    if modifier == "ne":
        keys, of = scope.keys, scope.resource_type
        alike = [key_of(keys, FOLDED_SPACE, of, code, value) for value in values]
        return Condition(every.unequal(scope.alias, keys, of, code, filter_, alike))
    if modifier not in (None, *COMPARISONS):
        # among them those that stand for codes, where nobody has asked which
        raise unsupported_modifier(code, modifier, MODIFIERS)
    if any(_is_hot(scope.resource_type, code, form) for form in forms):
        mask = mask or word.present_bit(scope.resource_type, code)
        return Condition(filter_, words=scope.words(mask))
    driver = under_keys(_driving(scope, code, form) for form in forms)
    systems = any(value.code is None for _, value in forms)
    rank = Rank.IDENTIFIER if types == {"Identifier"} and not systems else Rank.TOKEN
    return Condition(filter_, (driver,), rank)


def compile_typed(scope: Scope, code: str, values: Sequence[TypedValue]) -> Condition:
    """`:of-type`: the identifiers of a type, whatever their system."""
    wanted = [type_key(scope.keys, scope.resource_type, code, value) for value in values]
    return Condition(has_keys(scope.alias, wanted), (under_keys(wanted),), Rank.IDENTIFIER)


def _is_hot(of: str, code: str, form: Form) -> bool:
    """Whether `tok` does not have it."""
    space, value = form
    if value.code is None:
        assert value.system is not None
        return space == FOLDED_SPACE and hot.is_hot_system(of, code, value.system)
    return space == FOLDED_SPACE and value.code in hot.hot_codes(of, code)


def _driving(scope: Scope, code: str, form: Form) -> int:
    """The key in `tok` that leads to all that match: of the code whatever its system, or of the system."""
    space, value = form
    asked = value if value.code is None else TokenValue(None, value.code)
    return key_of(scope.keys, space, scope.resource_type, code, asked)


def _bit(of: str, code: str, form: Form) -> int:
    """The bit that every row with the value has; 0 when there is none."""
    space, value = form
    if space != FOLDED_SPACE:
        return 0
    return word.value_bit(of, code, value.code if value.code is not None else f"{value.system}|")

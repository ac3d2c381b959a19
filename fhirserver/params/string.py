"""String parameters: starts-with whatever case, accents and punctuation, `:exact` and `:contains`.

https://hl7.org/fhir/R4/search.html#string

`str` holds the folded text up to VALUE_LENGTH_MAX characters (btree entries are bounded); what is
longer continues under a second key in overlapping pieces, which only `:contains` reads. Under a third
stand the other beginnings by which a text is found: the later parts of a family name, and what
dashes join without them.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Final
from unicodedata import category, combining, normalize

from fhirserver.db.sql import Fragment, or_, sql
from fhirserver.errors import Invalid
from fhirserver.fhir.keys import Keys
from fhirserver.params import text as syntax
from fhirserver.params.condition import (
    Condition,
    Rank,
    Rids,
    Scope,
    exists,
    has_keys,
    indexed,
    unsupported_modifier,
)
from fhirserver.params.entries import Entries, Indexer, Node

MODIFIERS: Final = ("exact", "contains", "missing")
COMPARISONS: Final = ("eq", "ne", "sw", "ew", "gt", "lt", "ge", "le")
"""What `_filter` compares by, beside `:contains`."""
VALUE_LENGTH_MAX: Final = 600
CONTAINS_LENGTH_MAX: Final = 100
_PARTS_MAX: Final = 8
LAST: Final = "\U0010ffff"

_HUMAN_NAME: Final = ("family", "given", "text", "prefix", "suffix")
"""Any string type but Address; what has none of these elements has no text to search."""
_ADDRESS: Final = ("line", "city", "district", "state", "postalCode", "country", "text")


@dataclass(frozen=True, slots=True)
class StringValue:
    """The text as asked; `folded` is what is compared, except by `:exact`."""

    text: str
    folded: str


class _Base(dict[int, str]):
    """Code point -> its base characters: nothing for marks and punctuation, a blank for what separates."""

    def __missing__(self, point: int) -> str:
        char = chr(point)
        if combining(char):
            found = ""
        elif char in _SEPARATORS or category(char) == "Pd":
            found = " "
        else:
            found = "" if category(char).startswith("P") else char
        self[point] = found
        return found


_SEPARATORS: Final = frozenset("-_/,;:|")
_APOSTROPHES: Final = dict.fromkeys(map(ord, "`\u00b4\u02b9\u02bb\u02bc\u02bd"), "")
"""Those that Unicode does not count as punctuation."""
STROKES: Final = {
    "ł": "l",
    "ø": "o",
    "đ": "d",
    "æ": "ae",
    "œ": "oe",
    "ð": "d",
    "þ": "th",
    "ħ": "h",
    "ŧ": "t",
}
"""Letters that do not decompose into a base letter and a mark: https://www.unicode.org/reports/tr30/"""
_BASE: Final = _Base({ord("ı"): "i", **{ord(char): base for char, base in STROKES.items()}})


@lru_cache(maxsize=16_384)
def fold(text: str) -> str:
    """Lower case, without accents, other combining marks and punctuation, white space as single blanks.

    Dashes and the like separate words, other punctuation is as if it were not there.
    """
    if not text.isascii():
        text = normalize("NFKD", text.translate(_APOSTROPHES)).translate(_BASE)
        text = normalize("NFKD", text.casefold())
    return " ".join(text.lower().translate(_APOSTROPHES).translate(_BASE).split())


def parse(text: str) -> StringValue:
    """A search value. Raises Invalid when it is empty or too long to be decided by the index."""
    value = syntax.unescape(text)
    folded = fold(value)
    if not value.strip():
        raise Invalid("a string to search for must not be empty")
    if len(folded) > VALUE_LENGTH_MAX:
        raise Invalid(f"a string to search for has at most {VALUE_LENGTH_MAX} characters")
    return StringValue(value, folded)


def texts(value: Any, type_: str) -> Iterator[str]:
    """The strings of a node: itself, or the parts of a name or an address."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        for name in _ADDRESS if type_ == "Address" else _HUMAN_NAME:
            part = value.get(name)
            if isinstance(part, str):
                yield part
            elif isinstance(part, list):
                yield from (item for item in part if isinstance(item, str))


def families(value: Any, type_: str, code: str) -> Iterator[str]:
    """The family names of a node, whose parts are found independently."""
    if type_ == "HumanName" and isinstance(value.get("family"), str):
        yield value["family"]
    elif code == "family" and isinstance(value, str):
        yield value


def keys_of(keys: Keys, resource_type: str, code: str) -> tuple[int, int, int]:
    """The keys of a parameter's texts, of their continuations, and of their other beginnings."""
    return (
        keys.of("str", resource_type, code),
        keys.of("str+", resource_type, code),
        keys.of("str/", resource_type, code),
    )


def exact_key(keys: Keys, resource_type: str, code: str, text: str) -> int:
    """The key of a text with its case and accents, among the row's keys."""
    return keys.of("exact", resource_type, code, text)


def rows(first: int, more: int, text: str) -> list[tuple[int, str]]:
    """The rows of `str` for one text. The one that holds its end is shorter than VALUE_LENGTH_MAX."""
    folded = fold(text)
    found = [(first, folded[:VALUE_LENGTH_MAX])]
    step = VALUE_LENGTH_MAX - CONTAINS_LENGTH_MAX
    for start in range(step, len(folded) - CONTAINS_LENGTH_MAX + 1, step):
        found.append((more, folded[start : start + VALUE_LENGTH_MAX]))
    return found


def joined(text: str) -> str | None:
    """The folded text as if dashes were not there; None where there are none."""
    if text.isascii() and _SEPARATORS.isdisjoint(text):
        return None
    words = text.split()
    if not any(" " in fold(word) for word in words):
        return None
    squeezed = (fold(word).replace(" ", "") for word in words)
    return " ".join(word for word in squeezed if word)[:VALUE_LENGTH_MAX]


def later_parts(text: str) -> list[str]:
    """A folded family name from its second word on, from its third on, and so forth."""
    words = fold(text).split()
    return [" ".join(words[start:])[:VALUE_LENGTH_MAX] for start in range(1, min(len(words), _PARTS_MAX))]


def indexer(keys: Keys, resource_type: str, code: str) -> Indexer:
    """Writes what `compile` asks for: an exact key per text, and its rows of `str`."""
    first, more, other = keys_of(keys, resource_type, code)

    def index(nodes: Sequence[Node], entries: Entries) -> None:
        for node in nodes:
            for text in texts(node.value, node.type):
                entries.keys.append(exact_key(keys, resource_type, code, text))
                entries.str.extend(rows(first, more, text))
                whole = joined(text)
                if whole is not None:
                    entries.str.append((other, whole))
            for family in families(node.value, node.type, code):
                entries.str.extend((other, part) for part in later_parts(family))

    return index


def compile(scope: Scope, code: str, modifier: str | None, values: Sequence[StringValue]) -> Condition:
    """The condition of one clause; its values are alternatives."""
    first, more, other = keys_of(scope.keys, scope.resource_type, code)
    if modifier != "exact" and not all(value.folded for value in values):
        raise Invalid(f"a value of '{code}' has no letter or digit to search for; :exact takes what has none")
    match modifier:
        case None:
            starts = or_(*(_starts(value.folded) for value in values))
            return _search(scope, [first, other], starts, Rank.STRING)
        case "exact":
            hashes = [exact_key(scope.keys, scope.resource_type, code, value.text) for value in values]
            equal = _search(
                scope, [first], sql("x.val = any({}::text[])", [v.folded for v in values]), Rank.STRING_EXACT
            )
            if not all(value.folded for value in values):
                return Condition(has_keys(scope.alias, hashes))
            return Condition(has_keys(scope.alias, hashes), equal.drivers, equal.rank)
        case "contains":
            return _contains(scope, first, more, values)
        case _ if modifier in COMPARISONS:
            return _compared(scope, first, more, modifier, values)
        case _:
            raise unsupported_modifier(code, modifier, MODIFIERS)


def _starts(folded: str) -> Fragment:
    """A range that a btree in code point order answers; nothing to escape, unlike LIKE."""
    return sql("x.val >= {} AND x.val < {}", folded, folded + LAST)


def _search(scope: Scope, keys: Sequence[int], test: Fragment, rank: int) -> Condition:
    """Under any of the keys. `+ 0` keeps the filter, which has the row already, off the index by key."""
    selects = [sql("SELECT x.rid FROM str x WHERE x.key = {} AND ({})", key, test) for key in keys]
    return _indexed(scope, keys, test, [Rids(select) for select in selects], rank)


def _indexed(
    scope: Scope, keys: Sequence[int], test: Fragment, drivers: Sequence[Rids], rank: int
) -> Condition:
    return indexed(
        scope.alias,
        lambda rid: exists(
            sql(
                "FROM str x WHERE x.rid = {} AND x.key + 0 = any({}::bigint[]) AND ({})",
                rid,
                list(keys),
                test,
            )
        ),
        tuple(drivers),
        rank,
    )


def _compared(scope: Scope, first: int, more: int, operator: str, values: Sequence[StringValue]) -> Condition:
    """An operator of `_filter`: https://hl7.org/fhir/R4/search_filter.html#ops

    Folded texts, by code points. What is longer than a row is decided by its beginning alone, so the
    text asked for has to be shorter. A text that ends in a row leaves room in it.
    """
    length_max = CONTAINS_LENGTH_MAX if operator == "ew" else VALUE_LENGTH_MAX - 1
    if any(len(value.folded) > length_max for value in values):
        raise Invalid(f"'{operator}' takes at most {length_max} characters")
    tests = or_(*(_comparison(operator, value.folded) for value in values))
    match operator:
        case "eq":
            return _search(scope, [first], tests, Rank.STRING_EXACT)
        case "sw":
            return _search(scope, [first], tests, Rank.STRING)
        case "ew":
            return _search(scope, [first, more], tests, Rank.CONTAINS)
        case _:
            return _search(scope, [first], tests, Rank.OPEN_RANGE)


def _comparison(operator: str, folded: str) -> Fragment:
    match operator:
        case "eq":
            return sql("x.val = {}", folded)
        case "ne":
            return sql("x.val <> {}", folded)
        case "sw":
            return _starts(folded)
        case "ew":
            return sql("length(x.val) < {} AND right(x.val, {}) = {}", VALUE_LENGTH_MAX, len(folded), folded)
        case "gt":
            return sql("x.val > {}", folded)
        case "lt":
            return sql("x.val < {}", folded)
        case "ge":
            return sql("x.val >= {}", folded)
        case "le":
            return sql("x.val <= {}", folded)
        case _:
            raise AssertionError(operator)


def _contains(scope: Scope, first: int, more: int, values: Sequence[StringValue]) -> Condition:
    if any(len(value.folded) > CONTAINS_LENGTH_MAX for value in values):
        raise Invalid(f":contains takes at most {CONTAINS_LENGTH_MAX} characters")
    test = or_(*(sql("strpos(x.val, {}) > 0", value.folded) for value in values))
    both = [first, more]
    select = sql("SELECT x.rid FROM str x WHERE x.key = any({}::bigint[]) AND {}", both, test)
    return _indexed(scope, both, test, [Rids(select)], Rank.CONTAINS)
